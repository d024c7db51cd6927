-- Contracts of the public functions and views of the transaction half.
BEGIN;
SELECT plan(42);

SELECT has_function('braid', 'version', ARRAY[]::name[], 'braid.version() exists');
SELECT matches(braid.version(), '^\d+\.\d+\.\d+$', 'braid.version() is a version');
SELECT is(current_setting('braid.xa_protocol'), '3', 'participants say which protocol they speak');
SELECT throws_ok('SET braid.xa_protocol = 3', '55P02', NULL, 'and nobody can make them say something else');

SELECT columns_are('braid', 'participants',
	ARRAY['server', 'ready', 'reason', 'advice', 'version', 'since', 'in_doubt', 'round_trip', 'last_check'],
	'columns of braid.participants');
SELECT columns_are('braid', 'transactions',
	ARRAY['gid', 'state', 'pid', 'started', 'age', 'servers', 'branch_states', 'locks_held', 'xmin_age', 'seen',
		'attempts', 'last_error', 'advice'],
	'columns of braid.transactions');
SELECT function_returns('braid', 'xa_recover', ARRAY['interval'], 'setof record', 'braid.xa_recover() returns rows');
SELECT is_empty('SELECT * FROM braid.xa_recover()', 'without servers there is nothing to recover');
SELECT is_empty('SELECT * FROM braid.xa_recover(NULL)', 'xa_recover(null) is nothing');

SELECT throws_ok($$CREATE SERVER s FOREIGN DATA WRAPPER braid_fdw OPTIONS (nonsense '1')$$,
	'HV00D', NULL, 'options that postgres_fdw does not know are refused');
SELECT lives_ok($$CREATE SERVER s FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent')$$,
	'a server can be made before it can be reached');
SELECT is((SELECT ready FROM braid.participants WHERE server = 's'), false, 'but is not ready');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'x');
CREATE FOREIGN TABLE ft (a int) SERVER s;
SET LOCAL braid.xa_ready_timeout = 0;
SELECT throws_ok('INSERT INTO ft VALUES (1)', '55000', 'server "s" is not ready for atomic transactions',
	'a write to a server that is not ready: 55000');

SELECT throws_ok($$UPDATE braid_internal.enlist SET gid = 'x'$$, '22023', NULL, 'a wrong gid: 22023');
SELECT throws_ok(format('UPDATE braid_internal.enlist SET gid = %L', gid), '22023', NULL, format('the gid "%s": 22023', gid))
FROM unnest(ARRAY['', 'braid:', 'braid:0000000000000001', 'Braid:0000000000000001:1:1:0', 'braid:000000000000000A:1:1:0',
	'braid:0000000000000001:01:1:0', 'braid:0000000000000001:-1:1:0', 'braid:0000000000000001:4294967296:1:0',
	'braid:0000000000000001:1:18446744073709551616:0', 'braid:0000000000000001:1:1:', 'braid:0000000000000001:1:1:0 ']) gid;
SELECT throws_ok($$UPDATE braid_internal.enlist SET gid = NULL$$, '22004', NULL, 'no gid: 22004');
SELECT lives_ok($$UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0'$$, 'a gid');
SELECT lives_ok($$UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0'$$, 'the same again');
SELECT throws_ok($$UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:2:0'$$, '25001', NULL, 'two gids: 25001');

SELECT is((SELECT rolcanlogin AND NOT rolsuper AND NOT rolinherit AND NOT rolcreaterole AND NOT rolcreatedb
	FROM pg_roles WHERE rolname = 'braid_resolver'), true, 'the resolver''s role has no rights');
SELECT is((SELECT count(*)::int FROM pg_auth_members WHERE member = 'braid_resolver'::regrole), 0, 'and no memberships');

SELECT is((SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls
	FROM pg_roles WHERE rolname = 'braid_operator'), false, 'braid_operator can be granted, and is no superuser');
CREATE ROLE dba ROLE CURRENT_USER;
GRANT braid_operator TO dba;
SET LOCAL ROLE dba;
SELECT lives_ok('SELECT * FROM braid.transactions', 'its members read braid.transactions');
SELECT lives_ok('SELECT * FROM braid.participants', 'and braid.participants');
SELECT lives_ok($$SELECT * FROM braid.xa_recover('0 s')$$, 'and run braid.xa_recover()');
RESET ROLE;

SELECT function_returns('braid', 'adopt', ARRAY['name'], 'void', 'braid.adopt()');
SELECT function_returns('braid', 'release', ARRAY['name'], 'void', 'braid.release()');
SELECT throws_ok($$SELECT braid.adopt('no such wrapper')$$, '42704', NULL, 'adopt: no such wrapper: 42704');
SELECT throws_ok($$SELECT braid.release('braid_fdw')$$, '55000', NULL, 'release: braid''s own wrapper: 55000');
SELECT throws_ok('DROP EXTENSION braid CASCADE', '2BP01', NULL, 'DROP EXTENSION with servers: 2BP01');
SELECT is((SELECT array_agg(DISTINCT status ORDER BY status) <@ ARRAY['error', 'ok', 'warning'] FROM braid.doctor()), true, 'statuses of braid.doctor()');
SELECT is_empty('SELECT * FROM braid.doctor(NULL)', 'doctor(null) is nothing');

SELECT * FROM finish();
ROLLBACK;
