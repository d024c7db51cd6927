-- Contracts of streams: who may, what is refused and by which SQLSTATE.
BEGIN;
SELECT no_plan();

SELECT has_function('braid', 'braid_stream_handler', '{}'::name[]);
SELECT has_function('braid', 'braid_stream_validator', ARRAY['text[]', 'oid']);
SELECT function_privs_are('braid', 'braid_stream_handler', '{}'::name[], 'public', '{}'::name[]);
SELECT function_privs_are('braid', 'braid_stream_validator', ARRAY['text[]', 'oid'], 'public', '{}'::name[]);
SELECT server_privs_are('braid_stream', 'public', ARRAY['USAGE']);
SELECT fdw_privs_are('braid_stream', 'public', '{}'::name[]);
SELECT isnt(obj_description(oid, 'pg_foreign_server'), NULL, 'the server has a comment') FROM pg_foreign_server WHERE srvname = 'braid_stream';
SELECT isnt(obj_description(oid, 'pg_foreign_data_wrapper'), NULL, 'the wrapper has a comment') FROM pg_foreign_data_wrapper WHERE fdwname = 'braid_stream';

CREATE FOREIGN TABLE clicks (id int NOT NULL CHECK (id > 0), page text DEFAULT '/', twice int GENERATED ALWAYS AS (id * 2) STORED) SERVER braid_stream;
CREATE TABLE parted (id int, page text) PARTITION BY RANGE (id);
CREATE TABLE parted_kept PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE FOREIGN TABLE parted_passing PARTITION OF parted FOR VALUES FROM (10) TO (20) SERVER braid_stream;

SELECT foreign_table_owner_is('clicks', current_user);
SELECT lives_ok('INSERT INTO clicks VALUES (1), (2)');
SELECT results_eq('INSERT INTO clicks VALUES (3) RETURNING page, twice', $$VALUES ('/', 6)$$, 'RETURNING has what was computed');
SELECT lives_ok('INSERT INTO clicks VALUES (1) ON CONFLICT DO NOTHING', 'there is no conflict');
SELECT lives_ok('SELECT * FROM clicks WHERE false', 'what needs no row can be run');
SELECT is(pg_relation_size('clicks'), 0::bigint, 'it takes no space');

SELECT throws_ok(statement, state, NULL, statement) FROM (VALUES
	('SELECT * FROM clicks', '0A000'),
	('SELECT count(*) FROM clicks c1 JOIN clicks c2 USING (id)', '0A000'),
	('INSERT INTO clicks (id) SELECT id FROM clicks', '0A000'),
	('INSERT INTO parted SELECT 1 WHERE EXISTS (SELECT FROM clicks)', '0A000'),
	('EXPLAIN SELECT * FROM clicks', '0A000'),
	('SELECT * FROM clicks FOR UPDATE', '0A000'),
	('UPDATE clicks SET page = page', '0A000'),
	('UPDATE parted SET page = clicks.page FROM clicks', '0A000'),
	('DELETE FROM clicks', '0A000'),
	('DELETE FROM parted', '0A000'),
	('TRUNCATE clicks', '0A000'),
	('TRUNCATE parted', '0A000'),
	('SELECT * FROM parted', '0A000'),
	('CREATE TABLE copied AS SELECT * FROM clicks', '0A000'),
	('CREATE FOREIGN TABLE x (a int) SERVER braid_stream OPTIONS (a ''b'')', 'HV00D'),
	('CREATE FOREIGN TABLE x (a int OPTIONS (a ''b'')) SERVER braid_stream', 'HV00D'),
	('CREATE USER MAPPING FOR PUBLIC SERVER braid_stream OPTIONS (a ''b'')', 'HV00D'),
	('ALTER SERVER braid_stream OPTIONS (a ''b'')', 'HV00D'),
	('ALTER FOREIGN DATA WRAPPER braid_stream OPTIONS (a ''b'')', 'HV00D'),
	('INSERT INTO clicks (id) VALUES (0)', '23514'),
	('INSERT INTO clicks (page) VALUES (''/'')', '23502'),
	('INSERT INTO clicks (id, twice) VALUES (1, 1)', '428C9'),
	('INSERT INTO parted_passing VALUES (1)', '23514'),
	('INSERT INTO clicks (id) VALUES (1) ON CONFLICT (id) DO NOTHING', '42P10')) refused(statement, state);

SELECT is_empty('DELETE FROM parted WHERE id = 5 RETURNING 1', 'a stream that is pruned is not in the way');
SELECT lives_ok('INSERT INTO parted VALUES (5), (15)', 'rows are routed');
SELECT results_eq('UPDATE parted SET id = 16 WHERE id = 5 RETURNING id', 'VALUES (16)', 'and move from a table to a stream');

CREATE ROLE stream_tester;
GRANT INSERT (id) ON clicks TO stream_tester;
SET LOCAL ROLE stream_tester;
SELECT lives_ok('INSERT INTO clicks (id) VALUES (7)', 'INSERT on a column is enough for it');
SELECT throws_ok('INSERT INTO clicks (id, page) VALUES (7, ''/'')', '42501', NULL, 'but not for others');
SELECT throws_ok('INSERT INTO clicks (id) VALUES (7) RETURNING id', '42501', NULL, 'RETURNING needs SELECT');
SELECT throws_ok('CREATE SERVER s FOREIGN DATA WRAPPER braid_stream', '42501', NULL, 'servers of their own are for those whom the wrapper is granted to');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
