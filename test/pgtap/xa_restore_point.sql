-- Contracts of braid.create_restore_point(), as far as one node shows them.
BEGIN;
SELECT plan(12);

SELECT function_returns('braid', 'create_restore_point', ARRAY['text', 'interval'], 'setof record', 'braid.create_restore_point() returns rows');
SELECT throws_ok($$SELECT braid.create_restore_point(NULL)$$, '22004', NULL, 'no name: 22004');
SELECT throws_ok($$SELECT braid.create_restore_point('p', NULL)$$, '22004', NULL, 'no time-out: 22004');
SELECT throws_ok($$SELECT braid.create_restore_point('')$$, '22023', NULL, 'an empty name: 22023');
SELECT throws_ok($$SELECT braid.create_restore_point(repeat('x', 64))$$, '22023', NULL, 'a long name: 22023');
SELECT results_eq($$SELECT server, lsn <= pg_current_wal_flush_lsn() FROM braid.create_restore_point(repeat('x', 63))$$,
	$$VALUES (NULL::name, true)$$, 'without servers it is a point of this one, and flushed');

CREATE SERVER s FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent');
SET LOCAL braid.xa_ready_timeout = 0;
SELECT throws_ok($$SELECT braid.create_restore_point('p')$$, '55000', 'server "s" is not ready for atomic transactions',
	'a server that is not ready: 55000');

SELECT is(has_function_privilege('braid_operator', 'braid.create_restore_point(text, interval)', 'EXECUTE'), true, 'braid_operator may');
SELECT is(has_function_privilege('braid_resolver', 'braid_internal.create_restore_point(text)', 'EXECUTE'), true, 'the resolver may, on a participant');
SET LOCAL ROLE braid_resolver;
SELECT throws_ok($$SELECT braid.create_restore_point('p')$$, '42501', NULL, 'others may not: 42501');
RESET ROLE;
SELECT is(has_function_privilege('braid_operator', 'braid_internal.create_restore_point(text)', 'EXECUTE'), false, 'nor others on a participant');
SELECT is(current_setting('braid.xa_resolver'), 'on', 'resolvers connect unless they are not to');

SELECT * FROM finish();
ROLLBACK;
