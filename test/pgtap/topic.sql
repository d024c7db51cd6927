-- Contracts of topics: who may, what is refused and by which SQLSTATE.
BEGIN;
SELECT no_plan();

SELECT has_function('braid', 'create_topic', ARRAY['text', 'integer', 'regtype', 'interval', 'bigint', 'interval', 'boolean', 'integer']);
SELECT function_returns('braid', 'create_topic', ARRAY['text', 'integer', 'regtype', 'interval', 'bigint', 'interval', 'boolean', 'integer'], 'regclass');
SELECT has_function('braid', 'alter_topic', ARRAY['regclass', 'jsonb']);
SELECT has_function('braid', 'drop_topic', ARRAY['regclass', 'boolean']);
SELECT has_function('braid', 'rotate_topic', ARRAY['regclass']);
SELECT has_function('braid', 'send', ARRAY['regclass', t, 'text', 'jsonb', 'timestamp with time zone', 'integer', 'text']) FROM unnest(ARRAY['text', 'jsonb', 'bytea']) t;
SELECT has_function('braid', 'send_batch', ARRAY['regclass', t || '[]', 'text[]', 'jsonb[]', 'timestamp with time zone[]', 'integer[]', 'text[]']) FROM unnest(ARRAY['text', 'jsonb', 'bytea']) t;
SELECT has_function('braid', 'send_batch', ARRAY['regclass', 'text']);
SELECT table_privs_are('braid', 'topics', 'public', ARRAY['SELECT']);
SELECT table_privs_are('braid_internal', t, 'public', ARRAY['SELECT']) FROM unnest(ARRAY['topics', 'topic_segments']) t;
SELECT is(has_function_privilege('public', p.oid, 'EXECUTE'), p.proname IN ('topic_write', 'segment_name'), p.proname || ' is not for everybody')
FROM pg_proc p WHERE pronamespace = 'braid_internal'::regnamespace AND proname IN ('topic_write', 'topic_restored', 'topic_dropped', 'topic_altered', 'topic_hold', 'try_lock',
	'segment_name', 'open_segment', 'topic_changed', 'lock_briefly', 'segment_last_xid', 'empty_segment', 'rotate_keys', 'rotate', 'topics_to_rotate', 'lock_topic', 'topic_step');
SELECT isnt(obj_description(evt.oid, 'pg_event_trigger'), NULL, evtname || ' has a comment') FROM pg_event_trigger evt WHERE evtname LIKE 'braid_topic%';

CREATE SCHEMA tt;
SELECT is(braid.create_topic('tt.t', partitions => 4)::text, 'tt.t', 'create_topic returns the view');
SELECT has_view('tt', 't', 'which is one');
SELECT columns_are('tt', 't', ARRAY['id', 'partition', 'key', 'headers', 'payload', 'sent_at', 'deliver_at', 'priority', 'dedup_key']);
SELECT col_type_is('tt', 't', 'payload', 'jsonb', 'payloads are jsonb');
SELECT view_owner_is('tt', 't', current_user);
SELECT lives_ok($$SELECT braid.create_topic('tt.b', payload => 'bytea', dedup_window => '1 h')$$);
SELECT col_type_is('tt', 'b', 'payload', 'bytea', 'or bytea');
CREATE VIEW tt.plain AS SELECT 1;

SELECT throws_ok(statement, state, NULL, statement) FROM (VALUES
	($$SELECT braid.create_topic(NULL)$$, '22004'),
	($$SELECT braid.create_topic('')$$, '42602'),
	($$SELECT braid.create_topic('a.b.c.d')$$, '42601'),
	($$SELECT braid.create_topic('tt.t')$$, '42P07'),
	($$SELECT braid.create_topic('nowhere.t')$$, '3F000'),
	($$SELECT braid.create_topic('pg_temp.t')$$, '42P16'),
	($$SELECT braid.create_topic('tt.x', partitions => NULL)$$, '22023'),
	($$SELECT braid.create_topic('tt.x', partitions => 0)$$, '22023'),
	($$SELECT braid.create_topic('tt.x', partitions => 1025)$$, '22023'),
	($$SELECT braid.create_topic('tt.x', segments => 33)$$, '22023'),
	($$SELECT braid.create_topic('tt.x', payload => 'json')$$, '42804'),
	($$SELECT braid.create_topic('tt.x', retain => '-1 s')$$, '22023'),
	($$SELECT braid.create_topic('tt.x', retain_size => -1)$$, '22023'),
	($$SELECT braid.create_topic('tt.x', dedup_window => '-1 s')$$, '22023'),
	($$SELECT braid.create_topic('tt.x', notify => NULL)$$, '22004'),
	($$SELECT braid.alter_topic('tt.t', '{"x": 1}')$$, '22023'),
	($$SELECT braid.alter_topic('tt.t', '1')$$, '22023'),
	($$SELECT braid.alter_topic('tt.t', '{"retain": "x"}')$$, '22007'),
	($$SELECT braid.alter_topic('tt.t', '{"retain": "-1 s"}')$$, '22023'),
	($$SELECT braid.alter_topic('tt.t', '{"notify": null}')$$, '22004'),
	($$SELECT braid.alter_topic('tt.plain', '{}')$$, '42809'),
	($$SELECT braid.drop_topic('tt.plain')$$, '42809'),
	($$SELECT braid.rotate_topic('tt.plain')$$, '42809'),
	($$SELECT braid.rotate_topic(0)$$, '42P01'),
	($$SELECT braid.send('tt.plain', '1')$$, '42809'),
	($$SELECT braid.send('pg_class', '1')$$, '42809'),
	($$SELECT braid.send(0, '1')$$, '42P01'),
	($$SELECT braid.send(NULL, '1')$$, '22004'),
	($$SELECT braid.send('tt.t', '{')$$, '22P02'),
	($$SELECT braid.send('tt.t', '\x00'::bytea)$$, '42804'),
	($$SELECT braid.send('tt.b', '1'::jsonb)$$, '42804'),
	($$SELECT braid.send('tt.b', '\xzz')$$, '22023'),
	($$SELECT braid.send('tt.t', '1', headers => '1')$$, '22023'),
	($$SELECT braid.send('tt.t', '1', priority => 32768)$$, '22003'),
	($$SELECT braid.send('tt.t', '1', priority => -32769)$$, '22003'),
	($$SELECT braid.send('tt.t', '1', deliver_at => 'infinity')$$, '22008'),
	($$SELECT braid.send('tt.t', '1', dedup_key => 'x')$$, '55000'),
	($$SELECT braid.send('tt.b', '1', dedup_key => repeat('x', 1025))$$, '22001'),
	($$SELECT braid.send_batch('tt.t', ARRAY['1', '2'], ARRAY['a'])$$, '2202E'),
	($$SELECT braid.send_batch('tt.t', ARRAY[['1']])$$, '2202E'),
	($$SELECT braid.send_batch('tt.t', NULL::text[], ARRAY['a'])$$, '2202E'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 1 AS payload')$$, '42804'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 1 AS headers')$$, '42804'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 1 AS id')$$, '42703'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 1/0 AS priority')$$, '22012'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 1 AS priority; SELECT 2')$$, '42P11'),
	($$SELECT braid.send_batch('tt.t', 'COMMIT')$$, '42P11'),
	($$SELECT braid.send_batch('tt.t', 'SELECT 9 AS partition')$$, '22023'),
	($$INSERT INTO tt.t (id) VALUES (1)$$, '428C9'),
	($$INSERT INTO tt.t (sent_at) VALUES (now())$$, '428C9'),
	($$INSERT INTO tt.t (partition) VALUES (-2)$$, '22023'),
	($$INSERT INTO tt.t (payload) VALUES ('1') ON CONFLICT (id) DO NOTHING$$, '42P10'),
	($$UPDATE tt.t SET key = 'x'$$, '0A000'),
	($$DELETE FROM tt.t$$, '0A000'),
	($$CREATE OR REPLACE VIEW tt.t AS SELECT id, partition, key, headers, payload, sent_at, deliver_at, priority, dedup_key FROM tt.t$$, '42809'),
	($$DROP TABLE braid_internal.topics$$, '2BP01')) v (statement, state)
-- What changes nothing while there are no rows is refused once there are.
WHERE (SELECT braid.send('tt.t', '1')) > 0;

SELECT is(braid.send_batch('tt.t', NULL::text[]), 0::bigint, 'no array, no messages');
SELECT is(braid.send_batch('tt.t', 'SELECT 1 AS priority WHERE false'), 0::bigint, 'no rows, no messages');
SELECT is(braid.send_batch('tt.t', 'SELECT 1::int2 AS priority, 2::int2 AS partition, ''k''::varchar AS key'), 1::bigint, 'types that are near');
SELECT results_eq('SELECT priority::int, partition::int, key, payload FROM tt.t ORDER BY id DESC LIMIT 1', $$VALUES (1, 2, 'k', NULL::jsonb)$$);
SELECT is(braid.send_batch('tt.t', 'SELECT 1 AS priority FROM braid.send(''tt.t'', ''"inner"'')'), 1::bigint, 'a query may send, too');
SELECT is((SELECT count(*) FROM tt.t WHERE payload = '"inner"'), 1::bigint);
SELECT is(braid.send('tt.t', NULL::jsonb, key => 'gone') > 0, true, 'a payload may be null');

-- Names are nothing but names.
SELECT is(braid.create_topic('tt."x; DROP VIEW tt.t"')::text, 'tt."x; DROP VIEW tt.t"');
SELECT lives_ok($$SELECT braid.send('tt."x; DROP VIEW tt.t"', '1')$$);
SELECT lives_ok($$SELECT braid.drop_topic('tt."x; DROP VIEW tt.t"')$$);
SELECT has_view('tt', 't', 'it is still there');

-- Nobody's functions are called by mistake.
CREATE FUNCTION tt.equals(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE OPERATOR tt.= (LEFTARG = text, RIGHTARG = text, FUNCTION = tt.equals);
CREATE FUNCTION tt.equals(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE OPERATOR tt.= (LEFTARG = int, RIGHTARG = int, FUNCTION = tt.equals);
CREATE FUNCTION tt.with_trap(statement text) RETURNS void LANGUAGE plpgsql SET search_path = tt, pg_catalog AS $$ BEGIN EXECUTE statement; END $$;
SELECT lives_ok(format('SELECT tt.with_trap(%L)', statement), statement) FROM (VALUES
	($$SELECT braid.send('tt.b', '\x01', dedup_key => 'a')$$),
	($$SELECT braid.rotate_topic('tt.b')$$),
	($$SELECT braid.alter_topic('tt.b', '{"retain": "1 s"}')$$),
	($$SELECT braid.create_topic('c', dedup_window => '1 s')$$),
	($$DROP VIEW tt.b$$)) v (statement);

SELECT * FROM finish();
ROLLBACK;
