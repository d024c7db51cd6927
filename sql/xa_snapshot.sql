-- One snapshot over servers: two that both lead back to this database, which takes part itself.
SET client_min_messages = notice;

CREATE SCHEMA snap;
CREATE TABLE snap.east (id int PRIMARY KEY, amount int);
CREATE TABLE snap.west (id int PRIMARY KEY, amount int);
CREATE TABLE snap.home (id int PRIMARY KEY, amount int);
INSERT INTO snap.east VALUES (1, 10);
INSERT INTO snap.west VALUES (1, 20);
INSERT INTO snap.home VALUES (1, 30);

DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['snap_east', 'snap_west', 'Snap "3"'] LOOP
		EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER braid_fdw OPTIONS (host %L, port %L, dbname %L)',
			name, split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database());
		EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (user %L)', name, current_user);
	END LOOP;
END $$;
CREATE FOREIGN TABLE far_east (id int, amount int) SERVER snap_east OPTIONS (schema_name 'snap', table_name 'east');
CREATE FOREIGN TABLE far_west (id int, amount int) SERVER snap_west OPTIONS (schema_name 'snap', table_name 'west');

-- The servers get ready in the background; the first snapshot waits for them.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east, snap_west';
SHOW braid.snapshot;
SELECT (SELECT sum(amount) FROM far_east) + (SELECT sum(amount) FROM far_west) + (SELECT sum(amount) FROM snap.home) AS total;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
SELECT (SELECT sum(amount) FROM far_east) + (SELECT sum(amount) FROM far_west) + (SELECT sum(amount) FROM snap.home) AS total;
COMMIT;
SHOW braid.snapshot;

-- Names are identifiers.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = SNAP_EAST, '"Snap ""3"""', snap_east;
SELECT count(*) FROM far_east;
ROLLBACK;
-- Reading and writing: what has changed since is a conflict, as on one server.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
UPDATE far_east SET amount = amount - 1;
UPDATE far_west SET amount = amount + 1;
COMMIT;
TABLE snap.east;
TABLE snap.west;

-- It needs a transaction block,
SET LOCAL braid.snapshot = 'all';
-- which has one snapshot for all its queries,
BEGIN;
SET LOCAL braid.snapshot = 'all';
ROLLBACK;
-- and none yet.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 AS one;
SET LOCAL braid.snapshot = 'all';
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east';
SET LOCAL braid.snapshot = 'snap_west';
ROLLBACK;
-- SERIALIZABLE promises less than its name.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SET LOCAL braid.snapshot = 'all';
SELECT count(*) FROM far_west;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SET LOCAL braid.snapshot = 'all';
ROLLBACK;

-- Servers that there are not, or that are not braid's.
CREATE FOREIGN DATA WRAPPER plain;
CREATE SERVER plain FOREIGN DATA WRAPPER plain;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'nowhere';
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'plain';
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east,,';
ROLLBACK;
-- A server that is not ready.
CREATE SERVER snap_down FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nowhere');
CREATE USER MAPPING FOR CURRENT_USER SERVER snap_down;
SET braid.xa_ready_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ;
\set VERBOSITY terse
SET LOCAL braid.snapshot = 'snap_east, snap_down';
\set VERBOSITY default
ROLLBACK;
RESET braid.xa_ready_timeout;
DROP USER MAPPING FOR CURRENT_USER SERVER snap_down;
-- "all" are those to which the user can connect.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_down';
ROLLBACK;
DROP SERVER snap_down;

-- What the snapshot does not cover is not read,
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east';
SELECT count(*) FROM far_east;
SELECT count(*) FROM far_west;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east';
UPDATE far_west SET amount = 0;
ROLLBACK;
-- nor by the mapping of another user.
CREATE ROLE regress_snap_reader;
CREATE USER MAPPING FOR regress_snap_reader SERVER snap_east OPTIONS (user 'regress_snap_reader');
GRANT SELECT ON far_east TO regress_snap_reader;
CREATE VIEW theirs AS SELECT count(*) FROM far_east;
ALTER VIEW theirs OWNER TO regress_snap_reader;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east';
SELECT * FROM theirs;
ROLLBACK;
DROP VIEW theirs;
DROP USER MAPPING FOR regress_snap_reader SERVER snap_east;
REVOKE SELECT ON far_east FROM regress_snap_reader;
DROP ROLE regress_snap_reader;

-- Anybody with a mapping may have one, and nobody keeps commits waiting for longer than others.
CREATE ROLE regress_snap_user;
GRANT SELECT ON far_east, far_west TO regress_snap_user;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR regress_snap_user SERVER snap_east OPTIONS (user %L, password_required ''false'')', current_user); END $$;
SET ROLE regress_snap_user;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
SELECT count(*) FROM far_east;
SELECT server, snapshot IS NOT NULL AS exported FROM braid.export_snapshot();
SELECT count(*) FROM far_west;
ROLLBACK;
SET braid.snapshot_timeout = '1 h';
RESET ROLE;
DROP USER MAPPING FOR regress_snap_user SERVER snap_east;
REVOKE SELECT ON far_east, far_west FROM regress_snap_user;
DROP ROLE regress_snap_user;
-- Parallel workers know the setting.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_east';
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SELECT current_setting('braid.snapshot') AS setting, count(*) FROM snap.home;
COMMIT;

-- With a savepoint: the snapshot stays when the setting goes.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SAVEPOINT s;
SET LOCAL braid.snapshot = 'snap_east';
ROLLBACK TO s;
SHOW braid.snapshot;
SELECT count(*) FROM far_east;
SELECT count(*) FROM far_west;
ROLLBACK;
-- After an error it can be tried again in the same transaction, if it had not come far.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SAVEPOINT s;
SET LOCAL braid.snapshot = 'nowhere';
ROLLBACK TO s;
SET LOCAL braid.snapshot = 'snap_west';
SELECT count(*) FROM far_west;
COMMIT;

-- The parameter is not for other ways to set it.
SET braid.snapshot = 'all';
SELECT set_config('braid.snapshot', 'all', true);
ALTER ROLE CURRENT_USER SET braid.snapshot = 'all';
CREATE FUNCTION snap.f() RETURNS int LANGUAGE sql SET braid.snapshot = 'all' AS 'SELECT 1';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = '';
SET LOCAL braid.snapshot TO DEFAULT;
RESET braid.snapshot;
COMMIT;
-- Statements have no snapshot of their own.
BEGIN;
SET LOCAL braid.snapshot = 'statement';
ROLLBACK;
SET braid.default_snapshot = 'statement';
SET braid.default_snapshot = 'a,,b';

-- Each transaction of REPEATABLE READ, without being asked.
SET braid.default_snapshot = 'snap_east, snap_west';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
ROLLBACK;
BEGIN;
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT (SELECT sum(amount) FROM far_east) + (SELECT sum(amount) FROM far_west) AS total;
COMMIT;
BEGIN;
SELECT count(*) FROM far_east;
COMMIT;
SET default_transaction_isolation = 'repeatable read';
BEGIN;
SELECT count(*) FROM far_east;
COMMIT;
SELECT count(*) FROM far_east;
SELECT count(*) FROM snap.east;
-- A BEGIN that cannot have it has begun a transaction, which has failed.
SET braid.default_snapshot = 'nowhere';
BEGIN;
SELECT 1 AS one;
ROLLBACK;
-- Not in sessions of postgres_fdw, and of pg_dump, which see no schema of users.
SET search_path = pg_catalog;
BEGIN;
SELECT count(*) FROM public.far_east;
COMMIT;
SELECT set_config('search_path', '', false);
BEGIN;
SELECT count(*) FROM public.far_east;
COMMIT;
RESET search_path;
SET braid.default_snapshot = '';
SELECT count(*) FROM far_east;
RESET default_transaction_isolation;

-- For other sessions, on each server by itself.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM braid.export_snapshot();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'snap_west, snap_east';
SELECT server, snapshot ~ '^[0-9A-F-]+$' AS exported FROM braid.export_snapshot();
COMMIT;

-- What is counted.
SELECT what, requests > 0 AS counted, p50 <= p95 AND p95 <= p99 AND p99 <= max_time AS ordered
FROM braid.stat_snapshots WHERE datname = current_database();

DROP FOREIGN TABLE far_east, far_west;
DROP SERVER plain;
DROP FOREIGN DATA WRAPPER plain;
DROP SERVER snap_east CASCADE;
DROP SERVER snap_west CASCADE;
DROP SERVER "Snap ""3""" CASCADE;
DROP SCHEMA snap CASCADE;
