-- Contracts of the functions for windows of event time.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE types (type text, span text);
INSERT INTO types VALUES ('timestamp with time zone', 'interval'), ('timestamp without time zone', 'interval'), ('date', 'interval'), ('integer', 'integer'), ('bigint', 'bigint');

-- Every function for every type, with and without an origin; with a time zone where it makes sense.
CREATE TEMPORARY TABLE expected AS
SELECT name, ARRAY[type] || array_fill(span, ARRAY[spans]) || optional AS arguments, type, kind
FROM (VALUES ('tumble', 1, 'start'), ('tumble_end', 1, 'start'), ('hop', 2, 'set'), ('cumulate', 2, 'set')) f(name, spans, kind), types,
	LATERAL (VALUES ('{}'::text[]), (ARRAY[type]), ('{text}'), (ARRAY[type, 'text'])) o(optional)
WHERE NOT 'text' = ANY (optional) OR type = 'timestamp with time zone'
UNION ALL SELECT name, ARRAY[type, span], type, 'window' FROM unnest('{session,session_end}'::text[]) name, types;

SELECT has_function('braid', name, arguments) FROM expected;
SELECT volatility_is('braid', name, arguments, 'immutable') FROM expected;
SELECT is_strict('braid', name, arguments) FROM expected WHERE kind <> 'window';
SELECT is_window('braid', name, arguments) FROM expected WHERE kind = 'window';
SELECT function_returns('braid', name, arguments, CASE kind WHEN 'set' THEN 'setof record' ELSE type END) FROM expected;
SELECT is((SELECT count(*)::int FROM pg_proc WHERE pronamespace = 'braid'::regnamespace AND proname IN (SELECT name FROM expected)),
	(SELECT count(*)::int FROM expected), 'and there are no others');
SELECT is((SELECT count(*)::int FROM pg_proc WHERE pronamespace = 'braid'::regnamespace AND proname IN (SELECT name FROM expected)
	AND (obj_description(oid, 'pg_proc') IS NULL OR proparallel <> 's')), 0, 'all have a comment and are parallel safe');

-- What is true of every window.
CREATE TEMPORARY TABLE times AS
SELECT timestamptz '2024-10-26' + random() * interval '48 hours' AS t FROM generate_series(1, 300);
CREATE TEMPORARY TABLE sizes AS SELECT s::interval AS size, z AS zone
FROM unnest('{10 min,1 hour,5 hours,6 hours,1 day,1 week,1 month}'::text[]) s, unnest('{UTC,Europe/Paris,Asia/Kathmandu,America/New_York}'::text[]) z;

SELECT is((SELECT count(*)::int FROM times, sizes WHERE NOT (braid.tumble(t, size, zone) <= t AND t < braid.tumble_end(t, size, zone))), 0, 'a time is in its window');
SELECT is((SELECT count(*)::int FROM times, sizes WHERE braid.tumble(braid.tumble(t, size, zone), size, zone) <> braid.tumble(t, size, zone)), 0, 'a window''s start is in it');
SELECT is((SELECT count(*)::int FROM times, sizes WHERE braid.tumble(braid.tumble_end(t, size, zone), size, zone) <> braid.tumble_end(t, size, zone)), 0, 'a window''s end begins the next one');
SELECT is((SELECT count(*)::int FROM times, sizes WHERE braid.tumble_end(braid.tumble(t, size, zone), size, zone) <> braid.tumble_end(t, size, zone)), 0, 'the end follows from the start');
SELECT is((SELECT count(*)::int FROM times, sizes LEFT JOIN LATERAL (SELECT w.* FROM braid.hop(t, size, size, zone) w) w ON true
	WHERE (w.window_start, w.window_end) IS DISTINCT FROM (braid.tumble(t, size, zone), braid.tumble_end(t, size, zone))), 0, 'hopping by the size is tumbling');
SELECT is((SELECT count(*)::int FROM times, sizes LEFT JOIN LATERAL (SELECT w.* FROM braid.cumulate(t, size, size, zone) w) w ON true
	WHERE (w.window_start, w.window_end) IS DISTINCT FROM (braid.tumble(t, size, zone), braid.tumble_end(t, size, zone))), 0, 'one step is tumbling');
SELECT is((SELECT count(*)::int FROM times, sizes WHERE zone = 'UTC' AND (braid.tumble(t, size, zone), braid.tumble_end(t, size, zone))
	IS DISTINCT FROM (braid.tumble(t, size), braid.tumble_end(t, size))), 0, 'without a time zone it is UTC');

-- Anybody may use them.
CREATE ROLE window_user;
SET ROLE window_user;
SELECT lives_ok($$SELECT braid.tumble(now(), '1 day', 'Europe/Paris'), braid.session(1, 5) OVER () FROM braid.hop(1, 2, 1), braid.cumulate(1, 1, 2) c$$, 'PUBLIC may call them');
RESET ROLE;

SELECT finish();
ROLLBACK;
