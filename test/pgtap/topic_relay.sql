-- Contracts of relays: who may, what is refused and by which SQLSTATE.
BEGIN;
SELECT no_plan();

SELECT has_function('braid', 'create_relay', ARRAY['text', 'name', 'regclass', 'name', 'text', 'integer', 'integer', 'bigint']);
SELECT function_returns('braid', 'create_relay', ARRAY['text', 'name', 'regclass', 'name', 'text', 'integer', 'integer', 'bigint'], 'name');
SELECT has_function('braid', 'alter_relay', ARRAY['name', 'integer', 'integer', 'bigint', 'boolean', 'name']);
SELECT has_function('braid', 'resume_relay', ARRAY['name', 'text']);
SELECT has_function('braid', 'drop_relay', ARRAY['name', 'boolean']);
SELECT columns_are('braid', 'relays', ARRAY['relay', 'topic', 'server', 'target', 'state', 'reason', 'advice', 'since', 'last_id', 'messages', 'bytes', 'looped',
	'last_batch', 'last_contact', 'lag_messages', 'lag', 'batch_rows', 'batch_bytes', 'target_limit']);
SELECT table_privs_are('braid', 'relays', 'public', ARRAY[]::text[], 'relays are not for everybody to see');
SELECT table_privs_are('braid', 'relays', r, ARRAY['SELECT'], 'but for ' || r) FROM unnest(ARRAY['pg_monitor', 'braid_operator']) r;
SELECT table_privs_are('braid_internal', 'relay_states', 'public', ARRAY[]::text[]);
SELECT is(has_function_privilege('public', p.oid, 'EXECUTE'), p.proname IN ('relay_open', 'relay_fetch', 'relay_close'), p.proname || ': for sessions of relays alone')
FROM pg_proc p WHERE pronamespace = 'braid_internal'::regnamespace AND proname LIKE 'relay\_%';

CREATE SCHEMA tr;
CREATE ROLE tr_owner;
GRANT USAGE, CREATE ON SCHEMA tr TO tr_owner;
SELECT lives_ok($$SELECT braid.create_topic('tr.t', partitions => 4)$$);
CREATE VIEW tr.plain AS SELECT 1;
CREATE SERVER tr_away FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent');
CREATE USER MAPPING FOR CURRENT_USER SERVER tr_away;
CREATE SERVER tr_unmapped FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent');

SELECT is(braid.create_relay('s.orders', 'tr_away', 'tr.t')::text, 't_tr_away', 'a relay is called after its target and its server');
SELECT is(braid.create_relay('"My schema"."My orders"', 'tr_away', 'tr.t', name => 'x; DROP VIEW tr.t')::text, 'x; DROP VIEW tr.t', 'or as is said');
SELECT has_view('tr', 't', 'names are nothing but names');
SELECT is((SELECT topic FROM braid.relays WHERE relay = 'x; DROP VIEW tr.t'), '"My schema"."My orders"', 'and shown as they were given');
SELECT lives_ok($$SELECT braid.drop_relay('x; DROP VIEW tr.t', at_source => false)$$);

SELECT throws_ok(statement, state, NULL, statement) FROM (VALUES
	($$SELECT braid.create_relay('orders', 'tr_away', 'tr.t', 'y')$$, '42602'),
	($$SELECT braid.create_relay('a.b.c', 'tr_away', 'tr.t', 'y')$$, '42602'),
	($$SELECT braid.create_relay('1234', 'tr_away', 'tr.t', 'y')$$, '42602'),
	($$SELECT braid.create_relay('', 'tr_away', 'tr.t', 'y')$$, '42602'),
	($$SELECT braid.create_relay('s.', 'tr_away', 'tr.t', 'y')$$, '42602'),
	($$SELECT braid.create_relay('s.orders', 'tr_nowhere', 'tr.t', 'y')$$, '42704'),
	($$SELECT braid.create_relay('s.orders', 'tr_unmapped', 'tr.t', 'y')$$, '42704'),
	($$SELECT braid.create_relay('s.orders', 'braid_stream', 'tr.t', 'y')$$, '42809'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.plain', 'y')$$, '42809'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t')$$, '42710'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', '')$$, '42602'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', 'position')$$, '22023'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', 'infinity')$$, '22023'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', 'yesterday noon')$$, '22007'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', '99999999999999999999')$$, '22003'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', batch_rows => 0)$$, '22023'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', batch_rows => 1000001)$$, '22023'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', batch_bytes => 1023)$$, '22023'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'y', target_limit => -1)$$, '22023'),
	($$SELECT braid.create_relay(NULL, 'tr_away', 'tr.t')$$, '22004'),
	($$SELECT braid.create_relay('s.orders', NULL, 'tr.t')$$, '22004'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', NULL)$$, '22004'),
	($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', start => NULL)$$, '22004'),
	($$SELECT braid.alter_relay(NULL)$$, '22004'),
	($$SELECT braid.alter_relay('nobody', paused => true)$$, '42704'),
	($$SELECT braid.alter_relay('t_tr_away', batch_bytes => 1)$$, '22023'),
	($$SELECT braid.alter_relay('t_tr_away', server => 'tr_nowhere')$$, '42704'),
	($$SELECT braid.alter_relay('t_tr_away', server => 'braid_stream')$$, '42809'),
	($$SELECT braid.resume_relay(NULL)$$, '22004'),
	($$SELECT braid.resume_relay('nobody')$$, '42704'),
	($$SELECT braid.resume_relay('t_tr_away', '-1')$$, '22007'),
	($$SELECT braid.drop_relay('nobody')$$, '42704'),
	($$SELECT braid.drop_topic('tr.t')$$, '2BP01'),
	($$SELECT braid_internal.relay_open(NULL, 'g', 'end', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0')$$, '22004'),
	($$SELECT braid_internal.relay_open('tr.plain', 'g', 'end', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0')$$, '42809'),
	($$SELECT braid_internal.relay_open('tr.nothing', 'g', 'end', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0')$$, '42P01'),
	($$SELECT braid_internal.relay_open('tr.t', 'g', 'end', 0, '{0}', '{}', 0, 0, 0, 0, 0, '0/0')$$, '2202E'),
	($$SELECT braid_internal.relay_open('tr.t', 'g', NULL, 0, '{0}', '{nonsense}', 0, 0, 0, 0, 0, '0/0')$$, '22P02')) v (statement, state);

-- What each state says that is to be done.
SELECT lives_ok($$SELECT braid.alter_relay('t_tr_away', paused => true)$$);
SELECT results_eq($$SELECT state, advice FROM braid.relays$$, $$VALUES ('paused', 'braid.resume_relay(name) when it is to go on.')$$);
SELECT lives_ok($$SELECT braid.resume_relay('t_tr_away')$$);
SELECT results_eq($$SELECT state, advice ~ 'max_worker_processes' FROM braid.relays$$, $$VALUES ('connecting', true)$$, 'what no worker knows of is not connected');
SELECT lives_ok($$SELECT braid.drop_relay('t_tr_away')$$);
SELECT results_eq($$SELECT state, advice ~ 'at_source => false' FROM braid.relays$$, $$VALUES ('dropping', true)$$);
SELECT lives_ok($$SELECT braid.drop_relay('t_tr_away', false)$$);
SELECT is_empty($$SELECT * FROM braid.relays$$);

-- A relay is its target's owner's, who may use the server.
SET ROLE tr_owner;
SELECT lives_ok($$SELECT braid.create_topic('tr.his')$$);
SELECT throws_ok($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t')$$, '42501', NULL, 'not into what is somebody else''s');
SELECT throws_ok($$SELECT braid.create_relay('s.orders', 'tr_away', 'tr.his')$$, '42501', NULL, 'not without USAGE on the server');
RESET ROLE;
SELECT braid.create_relay('s.orders', 'tr_away', 'tr.t', 'ours') IS NOT NULL AS made;
SET ROLE tr_owner;
SELECT throws_ok($$SELECT braid.alter_relay('ours', paused => true)$$, '42501');
SELECT throws_ok($$SELECT braid.resume_relay('ours', 'beginning')$$, '42501');
SELECT throws_ok($$SELECT braid.drop_relay('ours')$$, '42501');
SELECT throws_ok($$SELECT * FROM braid.relays$$, '42501');
RESET ROLE;
SET ROLE pg_monitor;
SELECT is((SELECT relay FROM braid.relays), 'ours'::name, 'who watches may see');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
