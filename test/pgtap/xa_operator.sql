-- Contracts of what an operator of global transactions sees and runs.
BEGIN;
SELECT plan(32);

SELECT columns_are('braid', 'branches',
	ARRAY['gid', 'coordinator', 'coordinator_connected', 'state', 'owner', 'prepared', 'age', 'locks_held', 'relations',
		'blocked_pids', 'xmin_age', 'decided_by', 'decided_at', 'advice'],
	'columns of braid.branches');
SELECT is_empty('SELECT * FROM braid.branches', 'without branches it is empty');
SELECT function_returns('braid', 'xa_commit', ARRAY['text', 'interval'], 'setof record', 'braid.xa_commit() returns rows');
SELECT function_returns('braid', 'xa_rollback', ARRAY['text', 'interval'], 'setof record', 'braid.xa_rollback() returns rows');
SELECT function_returns('braid', 'xa_forget', ARRAY['text'], 'void', 'braid.xa_forget() returns nothing');
SELECT is_empty('SELECT * FROM braid.xa_commit(NULL)', 'xa_commit(null) is nothing');
SELECT is_empty('SELECT * FROM braid.xa_rollback(NULL)', 'xa_rollback(null) is nothing');
SELECT lives_ok('SELECT braid.xa_forget(NULL)', 'xa_forget(null) is nothing');

-- Names that are none.
SELECT throws_ok(format('SELECT braid.%s(%L)', f, gid), '22023', NULL, format('%s(%L): 22023', f, gid))
FROM unnest(ARRAY['xa_commit', 'xa_rollback', 'xa_forget']) f,
	unnest(ARRAY['', 'braid:1:1:1', 'braid:0000000000000001:1:1:1:1', 'braid:0000000000000001:1:1'';']) gid;

-- Names of nothing, of this coordinator and of another one.
CREATE TEMP TABLE own AS SELECT format('braid:%s:1:4711', lpad(to_hex(id), 16, '0')) AS gid FROM braid_internal.coordinator;
SELECT throws_ok(format('SELECT braid.xa_commit(%L)', gid), '55000', NULL, 'xa_commit() without a decision: 55000') FROM own;
SELECT throws_ok(format('SELECT braid.xa_rollback(%L)', gid), '42704', NULL, 'xa_rollback() of an unknown one: 42704') FROM own;
SELECT throws_ok(format('SELECT braid.xa_forget(%L)', gid), '42704', NULL, 'xa_forget() of an unknown one: 42704') FROM own;
SELECT throws_ok($$SELECT braid.xa_commit('braid:0000000000000001:1:1')$$, '42704', NULL, 'xa_commit() of another coordinator''s: 42704');
SELECT throws_ok($$SELECT braid.xa_rollback('braid:0000000000000001:1:1:0')$$, '42704', NULL, 'xa_rollback() of a branch of it: 42704');
SELECT throws_ok($$SELECT braid.xa_forget('braid:0000000000000001:1:1')$$, '42704', NULL, 'xa_forget() of it: 42704');

-- Whom they obey.
CREATE ROLE nobody ROLE CURRENT_USER;
CREATE ROLE dba ROLE CURRENT_USER IN ROLE braid_operator;
SET LOCAL ROLE nobody;
SELECT throws_ok('SELECT * FROM braid.branches', '42501', NULL, 'braid.branches is not for everybody');
SELECT throws_ok($$SELECT braid.xa_commit('braid:0000000000000001:1:1')$$, '42501', NULL, 'nor is xa_commit()');
SELECT throws_ok($$SELECT braid.xa_rollback('braid:0000000000000001:1:1')$$, '42501', NULL, 'nor xa_rollback()');
SELECT throws_ok($$SELECT braid.xa_forget('braid:0000000000000001:1:1')$$, '42501', NULL, 'nor xa_forget()');
SET LOCAL ROLE dba;
SELECT lives_ok('SELECT * FROM braid.branches', 'members of braid_operator read braid.branches');
SELECT throws_ok($$SELECT braid.xa_commit('braid:0000000000000001:1:1')$$, '42704', NULL, 'and may call xa_commit()');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
