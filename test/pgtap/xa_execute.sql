-- Contracts of braid.execute(), braid.query() and braid.execute_all(), as far as one node shows them.
BEGIN;
SELECT plan(20);

SELECT function_returns('braid', 'execute', ARRAY['name', 'text'], 'bigint', 'braid.execute() returns a number of rows');
SELECT function_returns('braid', 'query', ARRAY['name', 'text'], 'setof jsonb', 'braid.query() returns objects');
SELECT function_returns('braid', 'execute_all', ARRAY['text', 'boolean'], 'setof record', 'braid.execute_all() returns rows');

SELECT throws_ok($$SELECT braid.execute(NULL, 'SELECT 1')$$, '22004', NULL, 'no server: 22004');
SELECT throws_ok($$SELECT braid.execute('s', NULL)$$, '22004', NULL, 'no command: 22004');
SELECT throws_ok($$SELECT braid.query('s', NULL)$$, '22004', NULL, 'query, no command: 22004');
SELECT throws_ok($$SELECT braid.execute_all(NULL)$$, '22004', NULL, 'all, no command: 22004');
SELECT throws_ok($$SELECT braid.execute_all('SELECT 1', NULL)$$, '22004', NULL, 'all, null option: 22004');
SELECT throws_ok($$SELECT braid.execute('nowhere', 'SELECT 1')$$, '42704', NULL, 'an unknown server: 42704');

CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SERVER plain FOREIGN DATA WRAPPER postgres_fdw;
SELECT throws_ok($$SELECT braid.execute('plain', 'SELECT 1')$$, '42809',
	'server "plain" does not take part in global transactions', 'a server of another wrapper: 42809');
SELECT results_eq($$SELECT server, rows FROM braid.execute_all('CREATE TABLE here (a int)')$$,
	$$VALUES (NULL::name, 0::bigint)$$, 'it is not among all servers; the local one is');
SELECT has_table('here', 'where the command is run');
SELECT is_empty($$SELECT * FROM braid.execute_all('CREATE TABLE here (a int)', false)$$, 'unless it is not to be');

CREATE SERVER s FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'x');
SET LOCAL braid.xa_ready_timeout = 0;
SELECT throws_ok($$SELECT braid.execute('s', 'SELECT 1')$$, '55000', 'server "s" is not ready for atomic transactions',
	'a server that is not ready: 55000');
SELECT throws_ok($$SELECT braid.execute_all('SELECT 1')$$, '55000', NULL, 'the same for all');

-- The participant's side.
SELECT throws_ok($$UPDATE braid_internal.execute SET command = NULL$$, '22004', NULL, 'participant, no command: 22004');
SELECT throws_ok($$UPDATE braid_internal.execute SET command = ';'$$, '22023', NULL, 'participant, an empty command: 22023');
SELECT throws_ok($$UPDATE braid_internal.execute SET command = 'ROLLBACK'$$, '0A000', NULL, 'participant, transaction control: 0A000');
PREPARE run AS UPDATE braid_internal.execute SET command = 'SELECT 1 AS a UNION SELECT 2', want_rows = true RETURNING processed, result;
SELECT results_eq('run', $$VALUES (2::bigint, '[{"a":1},{"a":2}]')$$, 'rows and their number');
SELECT throws_ok('SET LOCAL ROLE braid_resolver; SELECT braid.execute(''s'', ''SELECT 1'')', '42501', NULL, 'without USAGE: 42501');

SELECT * FROM finish();
ROLLBACK;
