-- Branches of another coordinator, which does not come back, finished by hand.
\set SHOW_CONTEXT never
CREATE SCHEMA xa_operator_test;
CREATE TABLE xa_operator_test.ledger (id int);
CREATE FUNCTION xa_operator_test.prepare(number int) RETURNS text LANGUAGE sql
AS $$ SELECT format('BEGIN; UPDATE braid_internal.enlist SET gid = ''braid:00000000000000aa:1:1:%s''; INSERT INTO xa_operator_test.ledger VALUES (%s); COMMIT', number, number) $$;
SELECT xa_operator_test.prepare(n) FROM generate_series(0, 4) n \gexec

SELECT gid, coordinator, coordinator_connected, state, relations, blocked_pids, xmin_age >= 0 AS xmin_held,
	locks_held > 0 AS locks_held FROM braid.branches ORDER BY gid;
SELECT advice FROM braid.branches WHERE gid = 'braid:00000000000000aa:1:1:0';

-- By the statements, which are not possible in a transaction, or in a function.
COMMIT PREPARED 'braid:00000000000000aa:1:1:0';
ROLLBACK PREPARED 'braid:00000000000000aa:1:1:1';
BEGIN;
COMMIT PREPARED 'braid:00000000000000aa:1:1:2';
ROLLBACK;
DO $$ BEGIN EXECUTE 'COMMIT PREPARED ''braid:00000000000000aa:1:1:2'''; END $$;
COMMIT PREPARED 'braid:00000000000000aa:1:1:99';
SELECT gid, state, decided_by = session_user AS by_us FROM braid.branches ORDER BY gid;

-- Also in a session that only reads by default.
SET default_transaction_read_only = on;
COMMIT PREPARED 'braid:00000000000000aa:1:1:2';
RESET default_transaction_read_only;

-- By functions: one branch, then all that are left, even if the transaction is rolled back.
SELECT * FROM braid.xa_rollback('braid:00000000000000aa:1:1:3');
BEGIN;
SELECT * FROM braid.xa_commit('braid:00000000000000aa:1:1');
ROLLBACK;
SELECT * FROM braid.xa_commit('braid:00000000000000aa:1:1');
SELECT id FROM xa_operator_test.ledger ORDER BY id;
SELECT gid, state, decided_by = session_user AS by_us, advice FROM braid.branches ORDER BY gid;

-- Forgotten here, because the coordinator is not connected.
SELECT braid.xa_forget('braid:00000000000000aa:1:1:0');
SELECT gid FROM braid.branches ORDER BY gid;
SELECT braid.xa_forget('braid:00000000000000aa:1:1');
SELECT gid FROM braid.branches;
SELECT braid.xa_forget('braid:00000000000000aa:1:1');

DROP SCHEMA xa_operator_test CASCADE;
