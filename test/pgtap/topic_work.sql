-- Contracts of groups of mode work: who may, what is refused and by which SQLSTATE, what is returned.
BEGIN;
SELECT no_plan();

SELECT has_function('braid', f, ARRAY['regclass', 'text', 'integer', 'interval', 'interval']) FROM unnest(ARRAY['take', 'take_text', 'take_bytea']) f;
SELECT has_function('braid', 'acknowledge', ARRAY['regclass', 'text', 'bigint[]', 'integer[]']);
SELECT has_function('braid', 'reject', ARRAY['regclass', 'text', 'bigint[]', 'text', 'interval', 'integer[]']);
SELECT has_function('braid', 'extend', ARRAY['regclass', 'text', 'bigint[]', 'interval', 'integer[]']);
SELECT has_function('braid', f, ARRAY['regclass', 'text', 'bigint[]']) FROM unnest(ARRAY['redeliver', 'discard_dead_letters']) f;
SELECT columns_are('braid', 'work', ARRAY['topic', 'group_name', 'ready', 'delayed', 'held', 'taken', 'prepared', 'done', 'retried', 'dead']);
SELECT columns_are('braid', 'dead_letters', ARRAY['topic', 'group_name', 'id', 'attempts', 'error', 'died_at', 'partition', 'key', 'headers', 'payload', 'sent_at', 'priority']);
SELECT table_privs_are('braid', v, 'public', ARRAY['SELECT']) FROM unnest(ARRAY['work', 'dead_letters']) v;
SELECT table_privs_are('braid_internal', t, 'public', ARRAY[]::text[]) FROM unnest(ARRAY['work_done_0', 'work_done_1', 'work_carried_0', 'work_carried_1', 'dead_letters']) t;
SELECT is(has_function_privilege('public', 'braid_internal.work_tidy()', 'EXECUTE'), false, 'tidying up is not for everybody');

CREATE SCHEMA tw;
CREATE ROLE tw_reader;
CREATE ROLE tw_stranger;
GRANT USAGE ON SCHEMA tw TO tw_reader, tw_stranger;
SELECT lives_ok($$SELECT braid.create_topic('tw.t')$$);
SELECT lives_ok($$SELECT braid.create_topic('tw.b', payload => 'bytea')$$);
SELECT lives_ok($$SELECT braid.create_group('tw.t', 'w', 'work', options => '{"max_attempts": 1}')$$);
SELECT lives_ok($$SELECT braid.create_group('tw.b', 'w', 'work')$$);
SELECT lives_ok($$SELECT braid.create_group('tw.t', 'log')$$);
CREATE VIEW tw.plain AS SELECT 1;
GRANT SELECT ON tw.t TO tw_reader;

SELECT throws_ok(statement, state, NULL, statement) FROM (VALUES
	($$SELECT braid.take(NULL, 'w')$$, '22004'),
	($$SELECT braid.take('tw.t', NULL)$$, '22004'),
	($$SELECT braid.take('tw.t', 'w', NULL)$$, '22004'),
	($$SELECT braid.take('tw.t', 'w', wait => NULL)$$, '22004'),
	($$SELECT braid.take('tw.t', 'w', 0)$$, '22023'),
	($$SELECT braid.take('tw.t', 'w', -1)$$, '22023'),
	($$SELECT braid.take('tw.t', 'w', wait => '-1 s')$$, '22023'),
	($$SELECT braid.take('tw.t', 'w', visible_for => '-1 s')$$, '22023'),
	($$SELECT braid.take('tw.t', 'nobody')$$, '42704'),
	($$SELECT braid.take('tw.t', 'log')$$, '42809'),
	($$SELECT braid.take('tw.plain', 'w')$$, '42809'),
	($$SELECT braid.take('tw.b', 'w')$$, '42804'),
	($$SELECT braid.take_text('tw.t', 'w')$$, '42804'),
	($$SELECT braid.receive('tw.t', 'w')$$, '42809'),
	($$SELECT braid.join_group('tw.t', 'w')$$, '42809'),
	($$SELECT braid.seek('tw.t', 'w', 'end')$$, '42809'),
	($$SELECT braid.acknowledge('tw.t', 'w', NULL)$$, '22004'),
	($$SELECT braid.acknowledge('tw.t', 'w', ARRAY[NULL]::bigint[])$$, '22004'),
	($$SELECT braid.acknowledge('tw.t', 'w', '{{1}}')$$, '2202E'),
	($$SELECT braid.acknowledge('tw.t', 'w', '{1,2}', '{1}')$$, '2202E'),
	($$SELECT braid.acknowledge('tw.t', 'log', '{1}')$$, '42809'),
	($$SELECT braid.reject('tw.t', 'w', '{1}', delay => '-1 s')$$, '22023'),
	($$SELECT braid.extend('tw.t', 'w', '{1}', NULL)$$, '22004'),
	($$SELECT braid.extend('tw.t', 'w', '{1}', '-1 s')$$, '22023'),
	($$SELECT braid.redeliver(NULL, 'w')$$, '22004'),
	($$SELECT braid.redeliver('tw.t', NULL)$$, '22004'),
	($$SELECT braid.redeliver('tw.t', 'log')$$, '42809'),
	($$SELECT braid.discard_dead_letters('tw.t', 'nobody')$$, '42704'),
	($$SELECT braid.create_group('tw.t', 'x', 'queue')$$, '22023'),
	($$SELECT braid.create_group('tw.t', 'x', 'work', options => '{"max_attempt": 1}')$$, '22023'),
	($$SELECT braid.create_group('tw.t', 'x', 'work', options => '{"max_attempts": -1}')$$, '22023'),
	($$SELECT braid.create_group('tw.t', 'x', 'work', options => '{"backoff": "-1 s"}')$$, '22023'),
	($$SELECT braid.create_group('tw.t', 'w')$$, '42710')) v (statement, state);

-- What is taken, answered and given up.
SELECT is(braid.send_batch('tw.t', ARRAY['1', '2', '3']), 3::bigint);
SELECT is_empty($$SELECT * FROM braid.take('tw.t', 'w')$$, 'what is not committed is not there for anybody, its sender included');
SELECT is(braid.acknowledge('tw.t', 'w', '{}'), 0, 'nothing to acknowledge');
SELECT is(braid.acknowledge('tw.t', 'w', '{1,2,3}'), 0, 'what was not taken cannot be acknowledged');
SELECT is(braid.reject('tw.t', 'w', '{1,2,3}'), 0, 'nor rejected');
SELECT is(braid.extend('tw.t', 'w', '{1,2,3}', '1 h'), 0, 'nor extended');
SELECT is(braid.redeliver('tw.t', 'w'), 0::bigint, 'no dead letters');
SELECT is(braid.discard_dead_letters('tw.t', 'w', '{0,7,NULL}'), 0::bigint, 'absurd ids are none');

-- Who may.
SELECT results_eq($$SELECT count(*)::int FROM braid.dead_letters$$, ARRAY[0], 'no dead letters are shown');
SET ROLE tw_reader;
SELECT lives_ok($$SELECT braid.take('tw.t', 'w')$$, 'who may read may take');
SELECT throws_ok($$SELECT braid.redeliver('tw.t', 'w')$$, '42501', NULL, 'but not bring back dead letters');
SELECT throws_ok($$SELECT braid.discard_dead_letters('tw.t', 'w')$$, '42501', NULL, 'nor delete them');
SELECT throws_ok($$SELECT braid.take_bytea('tw.b', 'w')$$, '42501', NULL, 'who may not read may not take');
SET ROLE tw_stranger;
SELECT throws_ok($$SELECT braid.take('tw.t', 'w')$$, '42501', NULL, 'nor may a stranger');
SELECT throws_ok($$SELECT braid.acknowledge('tw.t', 'w', '{1}')$$, '42501');
SELECT throws_ok($$SELECT braid.create_group('tw.t', 'mine', 'work')$$, '42501');
RESET ROLE;
SET LOCAL transaction_read_only = on;
SELECT throws_ok($$SELECT braid.take('tw.t', 'w')$$, '25006', NULL, 'not in a read-only transaction');

SELECT * FROM finish();
ROLLBACK;
