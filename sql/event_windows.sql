-- Windows of event time. What docs/reference.md shows, and then what happens at the
-- edges: clocks that change, short months, times before 2000, infinity, nulls, errors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO, DMY';
SET intervalstyle = 'postgres';

-- The examples.
CREATE TABLE clicks (id int PRIMARY KEY, user_id int, ts timestamptz);
INSERT INTO clicks VALUES
	(1, 7, '2024-05-15 13:01'), (2, 7, '2024-05-15 13:08'), (3, 8, '2024-05-15 13:09'), (4, 7, '2024-05-15 13:40'),
	(5, 8, '2024-05-15 22:30'), (6, 7, '2024-05-15 13:17'), (7, 8, NULL);

SELECT braid.tumble(ts, '15 min') AS window_start, braid.tumble_end(ts, '15 min') AS window_end, count(*)
FROM clicks GROUP BY 1, 2 ORDER BY 1;

SELECT braid.tumble(ts, '1 day', timezone => 'Europe/Paris') AS day, count(*) FROM clicks GROUP BY 1 ORDER BY 1;

SELECT window_start, window_end, count(*)
FROM clicks, braid.hop(ts, '1 hour', '30 min') WHERE user_id = 7 GROUP BY 1, 2 ORDER BY 1;

SELECT window_start, window_end, count(*)
FROM clicks, braid.cumulate(ts, '20 min', '1 hour') GROUP BY 1, 2 ORDER BY 1, 2;

SELECT user_id, session_start, session_end, count(*)
FROM (SELECT user_id, braid.session(ts, '10 min') OVER w AS session_start, braid.session_end(ts, '10 min') OVER w AS session_end
	FROM clicks WINDOW w AS (PARTITION BY user_id ORDER BY ts)) s
GROUP BY 1, 2, 3 ORDER BY 1, 2;

-- The same as continuous views. A late click joins two sessions, a delete splits one.
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW quarters WITH (braid.continuous) AS
	SELECT braid.tumble(ts, '15 min') AS window_start, count(*) FROM clicks GROUP BY 1;
CREATE MATERIALIZED VIEW hours WITH (braid.continuous) AS
	SELECT window_start, window_end, count(*) FROM clicks, braid.hop(ts, '1 hour', '30 min') GROUP BY 1, 2;
CREATE MATERIALIZED VIEW so_far WITH (braid.continuous) AS
	SELECT window_start, window_end, count(*) FROM clicks, braid.cumulate(ts, '20 min', '1 hour') GROUP BY 1, 2;
CREATE MATERIALIZED VIEW sessions WITH (braid.continuous) AS
	SELECT user_id, session_start, session_end, count(*)
	FROM (SELECT user_id, braid.session(ts, '10 min') OVER w AS session_start, braid.session_end(ts, '10 min') OVER w AS session_end
		FROM clicks WINDOW w AS (PARTITION BY user_id ORDER BY ts)) s
	GROUP BY 1, 2, 3;
RESET client_min_messages;
INSERT INTO clicks VALUES (8, 7, '2024-05-15 13:26'), (9, 7, '2024-05-15 13:35');
DELETE FROM clicks WHERE id = 2;
UPDATE clicks SET ts = ts - interval '9 hours 20 min' WHERE id = 5;
SELECT braid.wait('quarters', '60 s'), braid.wait('hours', '60 s'), braid.wait('so_far', '60 s'), braid.wait('sessions', '60 s');
SELECT * FROM quarters ORDER BY 1;
SELECT * FROM hours ORDER BY 1;
SELECT * FROM so_far ORDER BY 1, 2;
SELECT * FROM sessions ORDER BY 1, 2;
DROP MATERIALIZED VIEW quarters;
DROP MATERIALIZED VIEW hours;
DROP MATERIALIZED VIEW so_far;
DROP MATERIALIZED VIEW sessions;

-- Every type. Without an origin windows are counted from the year 2000, weeks from a Monday.
SELECT braid.tumble(timestamptz '2024-05-15 13:47:12+02', '1 hour') AS timestamptz, braid.tumble(timestamp '2024-05-15 13:47:12', '1 hour') AS timestamp,
	braid.tumble(date '2024-05-15', '2 weeks') AS date, braid.tumble(47, 10) AS int, braid.tumble(47000000000, 10) AS bigint;
SELECT braid.tumble_end(timestamptz '2024-05-15 13:47:12+02', '1 hour') AS timestamptz, braid.tumble_end(timestamp '2024-05-15 13:47:12', '1 hour') AS timestamp,
	braid.tumble_end(date '2024-05-15', '2 weeks') AS date, braid.tumble_end(47, 10) AS int, braid.tumble_end(47000000000, 10) AS bigint;
SELECT braid.tumble(timestamptz '2024-05-15 13:47:12', '1 hour', origin => '2024-01-01 00:20') AS timestamptz,
	braid.tumble(timestamp '2024-05-15 13:47:12', '1 week', origin => '2024-01-07') AS timestamp, braid.tumble(date '2024-05-15', '10 days', origin => '2024-05-14') AS date,
	braid.tumble(47, 10, origin => 5) AS int, braid.tumble(47::bigint, 10, origin => -1) AS bigint;
SELECT size, braid.tumble(timestamp '2024-02-29 12:34:56.789', size), braid.tumble_end(timestamp '2024-02-29 12:34:56.789', size)
FROM unnest('{100 ms,1 s,7 min,1 hour,90 min,1 day,3 days,1 week,1 month,1 quarter,1 year,10 years,1 century}'::text[]) s, LATERAL (SELECT replace(s, '1 quarter', '3 months')::interval AS size) i;
SELECT pg_typeof(braid.tumble(date '2024-05-15', '1 day')), pg_typeof(braid.tumble(1::smallint, 10)), pg_typeof(braid.tumble(1, 10::bigint));

-- Before 2000, and below zero.
SELECT braid.tumble(timestamptz '1969-12-31 23:59:59', '1 day') AS day, braid.tumble(timestamptz '1969-12-31 23:59:59', '1 week') AS week,
	braid.tumble(timestamptz '1969-12-31 23:59:59', '1 month') AS month, braid.tumble(timestamptz '0044-03-15 BC', '1 year') AS year;
SELECT n, braid.tumble(n, 10), braid.tumble_end(n, 10), braid.tumble(n, 10, 3) AS from_3 FROM unnest('{-21,-20,-11,-10,-1,0,9,10}'::int[]) n;

-- Months are counted from the day of the origin, or the last one of a shorter month.
SELECT d::date, braid.tumble(d::date, '1 month', origin => '2001-01-31'), braid.tumble_end(d::date, '1 month', origin => '2001-01-31')
FROM unnest('{2024-01-30,2024-01-31,2024-02-28,2024-02-29,2024-03-30,2024-03-31,2023-02-27,2023-02-28,1999-02-28}'::date[]) d;
SELECT y, braid.tumble_end(make_date(y, 2, 20), '1 month') - braid.tumble(make_date(y, 2, 20), '1 month') AS days FROM unnest('{1900,2000,2023,2024}'::int[]) y;

-- A day in Paris has 23, 24 or 25 hours. The window's start is in it, its end is not.
SELECT ts, braid.tumble(ts, '1 day', 'Europe/Paris') AS day, braid.tumble_end(ts, '1 day', 'Europe/Paris') - braid.tumble(ts, '1 day', 'Europe/Paris') AS length,
	braid.tumble(ts, '1 month', 'Europe/Paris') AS month, braid.tumble(ts, '1 week', 'Europe/Paris') AS week
FROM unnest('{2024-03-30 22:59:59,2024-03-30 23:00,2024-03-31 21:59:59,2024-03-31 22:00,2024-10-26 22:00,2024-10-27 22:59:59,2024-10-27 23:00}'::timestamptz[]) ts;
-- So six hours can be five or seven; the hour that is shown twice is two windows.
SELECT DISTINCT braid.tumble(ts, '6 hours', 'Europe/Paris') AT TIME ZONE 'Europe/Paris' AS six_hours, braid.tumble_end(ts, '6 hours', 'Europe/Paris') - braid.tumble(ts, '6 hours', 'Europe/Paris') AS length
FROM generate_series(timestamptz '2024-10-26 18:00', '2024-10-27 08:00', '30 min') ts ORDER BY 1;
SELECT braid.tumble(ts, '1 hour', 'Europe/Paris') AS hour, braid.tumble_end(ts, '1 hour', 'Europe/Paris') - braid.tumble(ts, '1 hour', 'Europe/Paris') AS length,
	braid.tumble(ts, '1 hour', 'Europe/Paris') AT TIME ZONE 'Europe/Paris' AS local
FROM generate_series(timestamptz '2024-10-26 23:30', '2024-10-27 02:30', '1 hour') ts;
-- Half an hour from UTC; a midnight that is skipped; one that is shown twice; a day that never was.
SELECT zone, braid.tumble(ts::timestamptz, size::interval, zone) AS start, braid.tumble_end(ts::timestamptz, size::interval, zone) AS "end"
FROM (VALUES ('Asia/Kolkata', '2024-05-15 13:47', '1 hour'), ('Asia/Kolkata', '2024-05-15 13:47', '1 day'), ('Asia/Beirut', '2024-03-31 10:00', '1 day'),
	('America/Havana', '2023-11-05 04:30', '1 day'), ('America/Havana', '2023-11-05 05:30', '1 day'), ('Pacific/Apia', '2011-12-30 09:59', '1 day'), ('Pacific/Apia', '2011-12-30 10:01', '1 day'),
	('UTC', '2024-05-15 13:47', '1 day'), ('<+03>-03', '2024-05-15 13:47', '1 day')) v(zone, ts, size);
SELECT braid.tumble(timestamptz '2024-05-15 13:47', '1 day', '2024-05-01 06:00+02', 'Europe/Paris'), braid.tumble(timestamptz '2024-12-15 13:47', '1 day', '2024-05-01 06:00+02', 'Europe/Paris');
-- Nothing depends on the session's time zone.
SET timezone = 'Asia/Tokyo';
SELECT braid.tumble(timestamptz '2024-05-15 23:47+00', '1 day') AT TIME ZONE 'UTC' AS day, braid.tumble(timestamptz '2024-05-31 23:47+00', '1 month') AT TIME ZONE 'UTC' AS month;
SET timezone = 'UTC';

-- Hopping windows: the slide need not divide the size; months may slide by days.
SELECT * FROM braid.hop(timestamptz '2024-05-15 13:47:12', '1 hour', '25 min');
SELECT * FROM braid.hop(date '2024-02-29', '1 month', '2 weeks');
SELECT * FROM braid.hop(date '2024-02-29', '1 month', '28 days');
SELECT * FROM braid.hop(date '2024-02-29', '2 months', '1 month', origin => '2024-01-31');
SELECT * FROM braid.hop(7, 10, 5), braid.hop(7::bigint, 10, 5, origin => 1) WITH ORDINALITY AS w(a, b, nth);
SELECT window_start, window_end - window_start AS length FROM braid.hop(timestamptz '2024-03-31 12:00', '2 days', '1 day', 'Europe/Paris');
SELECT window_start, window_end - window_start AS length FROM braid.hop(timestamptz '2024-03-31 01:30', '1 day', '12 hours', origin => '2024-03-30 05:00+00', timezone => 'Europe/Paris');
SELECT braid.hop(ts, '1 day', '12 hours') FROM clicks WHERE id < 3;

-- Cumulative windows: months by days, years by months.
SELECT * FROM braid.cumulate(timestamp '2024-05-15 13:47:12', '15 min', '1 hour');
SELECT * FROM braid.cumulate(timestamp '2024-05-15 13:17:12', '15 min', '1 hour');
SELECT count(*), min(window_end), max(window_end) FROM braid.cumulate(date '2024-02-20', '1 day', '1 month');
SELECT * FROM braid.cumulate(date '2024-05-20', '3 months', '1 year');
SELECT * FROM braid.cumulate(-7, 2, 6), braid.cumulate(7::bigint, 3, 9, origin => 1) AS c(a, b);
SELECT window_end FROM braid.cumulate(timestamptz '2024-03-31 00:30', '1 hour', '6 hours', 'Europe/Paris');

-- The set begins anew wherever a query has stopped reading it.
SELECT s, (SELECT n FROM (SELECT (braid.hop(s, 10, 2)).window_start AS n LIMIT 2) w ORDER BY n DESC LIMIT 1) FROM generate_series(10, 12) s;

-- Sessions: a distance of the gap or more ends one, in every type. Without a time there is none.
SELECT t, braid.session(t, 10) OVER w AS start, braid.session_end(t, 10) OVER w AS "end" FROM unnest('{1,5,14,24,33,NULL,43,43,44}'::int[]) t WINDOW w AS (ORDER BY t);
SELECT t, braid.session(t, 10) OVER (ORDER BY t NULLS FIRST) AS start, braid.session_end(t, 10) OVER (ORDER BY t NULLS FIRST) AS "end" FROM unnest('{NULL,1,20}'::bigint[]) t;
SELECT t, braid.session(t, '1 day') OVER w AS start, braid.session_end(t, '1 day') OVER w AS "end"
FROM unnest('{2024-02-28 12:00,2024-02-29 11:59:59,2024-03-01 12:00,infinity,infinity,-infinity}'::timestamptz[]) t WINDOW w AS (ORDER BY t);
SELECT t, braid.session(t, '26 hours') OVER w AS start, braid.session_end(t, '26 hours') OVER w AS "end" FROM unnest('{2024-02-28,2024-02-29 02:00,2024-03-01 02:00}'::timestamp[]) t WINDOW w AS (ORDER BY t);
SELECT t, braid.session(t, '2 days') OVER w AS start, braid.session_end(t, '2 days') OVER w AS "end" FROM unnest('{2024-02-28,2024-02-29,2024-03-02,infinity}'::date[]) t WINDOW w AS (ORDER BY t);
-- The gap may differ between partitions.
SELECT k, t, braid.session(t, k) OVER (PARTITION BY k ORDER BY t) FROM generate_series(2, 3) k, unnest('{1,3,6}'::int[]) t;
SELECT braid.session(t, NULL) OVER (ORDER BY t), braid.session_end(t, NULL) OVER (ORDER BY t) FROM unnest('{1,3}'::int[]) t;
-- The end is computed even if the rows of a session are many.
SELECT start, "end", count(*) FROM (SELECT braid.session(t, 3) OVER (ORDER BY t) AS start, braid.session_end(t, 3) OVER (ORDER BY t) AS "end"
	FROM generate_series(1, 100000) t WHERE t % 30000 > 5) s GROUP BY 1, 2 ORDER BY 1;

-- Infinity is in a window of its own; null is in none.
SELECT braid.tumble(timestamptz 'infinity', '1 day'), braid.tumble_end(timestamp '-infinity', '1 month'), braid.tumble(date '-infinity', '1 day'), braid.tumble(timestamptz 'infinity', '1 day', 'Europe/Paris');
SELECT * FROM braid.hop(timestamptz 'infinity', '1 day', '1 hour'), braid.cumulate(date '-infinity', '1 day', '1 month') AS c(a, b);
SELECT braid.tumble(NULL::timestamptz, '1 day') IS NULL AS a, braid.tumble(now(), NULL::interval) IS NULL AS b, braid.tumble(now(), '1 day', NULL::text) IS NULL AS c;
SELECT count(*) FROM braid.hop(NULL::timestamptz, '1 day', '1 hour'), braid.cumulate(now(), NULL, '1 hour');

-- The last windows of each type, and those beyond.
SELECT braid.tumble(2147483647, 10), braid.tumble(9223372036854775807, 1000), braid.tumble(9223372036854775807, 9223372036854775807, origin => -5);
SELECT braid.tumble(timestamp '294276-12-31 23:59:59', '1 day'), braid.tumble(date '5874897-12-31', '1 day'), braid.tumble(timestamp '4714-11-24 BC', '1 day');
SELECT braid.tumble_end(2147483647, 10);
SELECT braid.tumble((-2147483648)::int, 10);
SELECT braid.tumble_end(9223372036854775807, 1000);
SELECT braid.tumble_end(timestamp '294276-12-31 23:59:59', '1 day');
SELECT braid.tumble_end(timestamptz '294276-12-31 23:59:59', '1 month', 'Asia/Tokyo');
SELECT braid.tumble(timestamp '4714-11-24 BC', '1 month');
SELECT braid.tumble(date '4714-11-24 BC', '1 week');
SELECT * FROM braid.hop(timestamptz '4714-11-24 BC', '2 days', '1 day');
SELECT braid.session_end(t, '1 day') OVER (ORDER BY t) FROM (VALUES (timestamp '294276-12-31 23:59:59')) v(t);

-- What is wrong with arguments is said.
SELECT braid.tumble(now(), '0');
SELECT braid.tumble(now(), '-1 day');
SELECT braid.tumble(now(), '1 month 1 day');
SELECT braid.tumble(now(), '1 year -1 second');
SELECT braid.tumble(date '2024-05-15', '1 hour');
SELECT braid.tumble(5, 0);
SELECT braid.tumble(5::bigint, -3);
SELECT braid.tumble(now(), '1 day', origin => 'infinity');
SELECT braid.tumble(now(), '1 day', 'Europe/Atlantis');
SELECT braid.tumble(now(), '1 day', '2000-01-01');
SELECT braid.tumble(now(), '1 day', 'PST');
SELECT * FROM braid.hop(now(), '1 hour', '2 hours');
SELECT * FROM braid.hop(now(), '1 month', '28 days 1 second');
SELECT * FROM braid.hop(now(), '30 days', '1 month');
SELECT * FROM braid.hop(1, 3, 0);
SELECT * FROM braid.cumulate(now(), '25 min', '1 hour');
SELECT * FROM braid.cumulate(now(), '2 days', '1 month');
SELECT * FROM braid.cumulate(now(), '1 month', '90 days');
SELECT * FROM braid.cumulate(now(), '2 months', '1 year 1 month');
SELECT braid.session(t, 0) OVER (ORDER BY t) FROM unnest('{1,3}'::int[]) t;
SELECT braid.session(t, '1 month') OVER (ORDER BY t) FROM unnest('{2024-01-01}'::date[]) t;
SELECT braid.session(t, t) OVER (ORDER BY t) FROM unnest('{1,3}'::int[]) t;
SELECT braid.session(t, 5) OVER (ORDER BY t DESC) FROM unnest('{1,3}'::int[]) t;
SELECT braid.session_end(t, 5) OVER (ORDER BY t DESC) FROM unnest('{1,3}'::int[]) t;
SELECT braid.session(1, 5);
-- Sessions of everybody together cannot be kept.
CREATE MATERIALIZED VIEW of_all WITH (braid.continuous) AS SELECT braid.session(ts, '10 min') OVER (ORDER BY ts) FROM clicks;

-- The planner knows how many windows there are.
EXPLAIN SELECT * FROM braid.hop(now(), '1 day', '1 hour');
EXPLAIN SELECT * FROM braid.hop(now(), '1 month', '1 day');
EXPLAIN SELECT * FROM generate_series(1, 3) g, braid.hop(g, 10, g);
EXPLAIN SELECT * FROM braid.cumulate(1, 5, 100);
-- Windows can be indexed, with a time zone too.
CREATE INDEX ON clicks (braid.tumble(ts, '1 day', 'Europe/Paris'));
SELECT DISTINCT p.provolatile, p.proparallel FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'braid' AND p.proname IN ('tumble', 'tumble_end', 'hop', 'cumulate', 'session', 'session_end');
DROP TABLE clicks;
