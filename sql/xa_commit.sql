-- Atomic transactions: two servers that both lead back to this database.
\set VERBOSITY terse
SET client_min_messages = warning;

CREATE SCHEMA xa_test;
CREATE TABLE xa_test.accounts (id int PRIMARY KEY, owner text, balance numeric CHECK (balance >= 0));
CREATE TABLE xa_test.ledger (id int PRIMARY KEY, amount numeric);

DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['bank', 'books'] LOOP
		EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER braid_fdw OPTIONS (host %L, port %L, dbname %L)',
			name, split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database());
		EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (user %L)', name, current_user);
	END LOOP;
END $$;

-- All PREPAREs of a commit go out at once, unless the user wants otherwise.
SELECT srvname, 'parallel_commit=true' = ANY (srvoptions) AS parallel_commit
FROM pg_foreign_server WHERE srvname IN ('bank', 'books') ORDER BY 1;
CREATE SERVER serial FOREIGN DATA WRAPPER braid_fdw OPTIONS (parallel_commit 'false');
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'serial';
DROP SERVER serial;

-- Options are those of postgres_fdw, and checked by it.
CREATE SERVER wrong FOREIGN DATA WRAPPER braid_fdw OPTIONS (no_such_option 'x');
CREATE SERVER wrong FOREIGN DATA WRAPPER braid_fdw OPTIONS (fetch_size 'x');

CREATE FOREIGN TABLE accounts (id int, owner text, balance numeric)
	SERVER bank OPTIONS (schema_name 'xa_test', table_name 'accounts');
CREATE FOREIGN TABLE ledger (id int, amount numeric)
	SERVER books OPTIONS (schema_name 'xa_test', table_name 'ledger');
INSERT INTO accounts VALUES (1, 'ann', 100), (2, 'bob', 0);

-- A transaction over both.
BEGIN;
UPDATE accounts SET balance = balance - 30 WHERE id = 1;
INSERT INTO ledger VALUES (1, 30);
COMMIT;
TABLE accounts ORDER BY id;
TABLE ledger;

-- Neither of them keeps what the other one refuses.
BEGIN;
INSERT INTO ledger VALUES (2, 500);
UPDATE accounts SET balance = balance - 500 WHERE id = 1;
COMMIT;
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE id = 1;
INSERT INTO ledger VALUES (1, 1);
COMMIT;
BEGIN;
UPDATE accounts SET balance = 0 WHERE id = 1;
INSERT INTO ledger VALUES (3, 3);
ROLLBACK;
TABLE accounts ORDER BY id;
TABLE ledger;

-- What a savepoint takes back is taken back on all servers.
BEGIN;
UPDATE accounts SET balance = balance - 10 WHERE id = 1;
SAVEPOINT s;
UPDATE accounts SET balance = balance - 20 WHERE id = 1;
INSERT INTO ledger VALUES (4, 20);
ROLLBACK TO s;
INSERT INTO ledger VALUES (4, 10);
COMMIT;
SELECT balance, amount FROM accounts, ledger WHERE accounts.id = 1 AND ledger.id = 4;

-- Push-down is postgres_fdw's.
EXPLAIN (VERBOSE, COSTS OFF) UPDATE accounts SET balance = balance + 1 WHERE id = 1;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT count(*), sum(balance) FROM accounts WHERE owner = 'ann';

-- The session's own name for a branch cannot be anything.
BEGIN;
UPDATE braid_internal.enlist SET gid = 'not one of ours';
ROLLBACK;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0';
BEGIN;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0' RETURNING gid IS NULL AS was_none;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0' RETURNING gid IS NULL AS was_none;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:1';
ROLLBACK;

-- A transaction that wrote nothing commits; one that did is prepared, and can
-- be finished by braid_resolver, who may do nothing else.
BEGIN;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0';
COMMIT;
SELECT count(*) AS prepared FROM pg_prepared_xacts;
BEGIN;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0';
INSERT INTO xa_test.ledger VALUES (5, 5);
COMMIT;
SELECT gid FROM pg_prepared_xacts;
BEGIN;
INSERT INTO xa_test.ledger VALUES (6, 6);
PREPARE TRANSACTION 'somebody else''s';
SET SESSION AUTHORIZATION braid_resolver;
SELECT count(*) FROM xa_test.ledger;
COMMIT PREPARED 'somebody else''s';
COMMIT PREPARED 'braid:0000000000000001:1:1:0';
RESET SESSION AUTHORIZATION;
ROLLBACK PREPARED 'somebody else''s';
SELECT count(*) AS ledger_rows FROM xa_test.ledger;

-- A gid of this form that is nobody's stays with its owner.
CREATE ROLE xa_test_user;
BEGIN;
UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0';
INSERT INTO xa_test.ledger VALUES (7, 7);
COMMIT;
SET ROLE xa_test_user;
ROLLBACK PREPARED 'braid:0000000000000001:1:1:0';
RESET ROLE;
ROLLBACK PREPARED 'braid:0000000000000001:1:1:0';

-- What the operator sees when all is well.
SELECT server, ready, reason, advice, in_doubt FROM braid.participants ORDER BY server;
SELECT count(*) FROM braid.transactions;
SELECT * FROM braid.xa_recover();

-- Only who may monitor sees it.
SET ROLE xa_test_user;
SELECT * FROM braid.participants;
SELECT * FROM braid.transactions;
SELECT * FROM braid.xa_recover();
SELECT * FROM braid_internal.decisions;
RESET ROLE;
GRANT pg_monitor TO xa_test_user;
SET ROLE xa_test_user;
SELECT count(*) FROM braid.participants;
SELECT count(*) FROM braid.transactions;
RESET ROLE;
DROP ROLE xa_test_user;

-- A server takes its hidden table along, and leaves the extension alone.
DROP SERVER bank;
DROP SERVER bank, books CASCADE;
SELECT count(*) AS hidden_tables FROM pg_class WHERE relname LIKE 'enlist\__%';
SELECT count(*) AS extensions FROM pg_extension WHERE extname = 'braid';
DROP SCHEMA xa_test CASCADE;
