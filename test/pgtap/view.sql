-- Contracts of the public functions on continuous views. Needs the extensions
-- braid and pgtap, and a server with wal_level = logical. It commits, because a
-- view is populated only then, and clears up after itself.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE EXTENSION IF NOT EXISTS pgtap;
SET search_path = public;
SELECT plan(26);

SELECT has_function('braid', 'create_view', ARRAY['text', 'text', 'jsonb']);
SELECT has_function('braid', 'drop_view', ARRAY['regclass']);
SELECT has_function('braid', 'wait', ARRAY['regclass', 'interval']);
SELECT has_function('braid', 'verify', ARRAY['regclass', 'interval']);
SELECT function_returns('braid', 'create_view', ARRAY['text', 'text', 'jsonb'], 'regclass');
SELECT function_returns('braid', 'wait', ARRAY['regclass', 'interval'], 'boolean');
SELECT has_view('braid', 'views', 'braid.views exists');
SELECT table_privs_are('braid', 'views', 'public', ARRAY['SELECT'], 'everybody may see which views there are');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	WHERE pronamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL
$$, 'every function has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE relnamespace = 'braid_internal'::regnamespace AND relkind IN ('r', 'v') AND relname IN ('views', 'view_states', 'differences', 'sources', 'frontiers')
		AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE')
$$, 'internal tables are closed to the public');

CREATE TABLE pgtap_base (k int, x int);
CREATE VIEW pgtap_plain AS SELECT 1 AS one;
INSERT INTO pgtap_base VALUES (1, 1), (1, 2), (2, 3);
SELECT is(braid.create_view('pgtap_view', 'SELECT k, sum(x) FROM pgtap_base GROUP BY k')::text, 'pgtap_view', 'create_view returns the view');
SELECT ok(braid.wait('pgtap_view'), 'wait returns true when the view is caught up');
SELECT results_eq('SELECT * FROM pgtap_view', 'SELECT k, sum(x) FROM pgtap_base GROUP BY k', 'the view is populated');
SELECT is(state, 'live', 'its state is live') FROM braid.views WHERE name = 'pgtap_view'::regclass;
SELECT is_empty($$SELECT * FROM braid.verify('pgtap_view')$$, 'verify returns nothing for a view that is right');

SELECT throws_ok($$SELECT braid.create_view('pgtap_view', 'SELECT count(*) FROM pgtap_base')$$, '42P07');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT stddev(x) FROM pgtap_base')$$, '0A000');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT count(*) FROM pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'VACUUM')$$, '42601');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT count(*) FROM pgtap_base', '{"x": 1}')$$, '22023');
SELECT throws_ok($$SELECT braid.wait('pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT * FROM braid.verify('pgtap_base')$$, '42809');
SELECT throws_ok($$SELECT braid.drop_view('pgtap_plain')$$, '42809');

BEGIN;
LOCK TABLE pgtap_base IN ACCESS EXCLUSIVE MODE;
SELECT ok(NOT braid.wait('pgtap_view', '50 ms'), 'wait returns false at the timeout');
ROLLBACK;

SELECT lives_ok($$SELECT braid.drop_view('pgtap_view')$$, 'drop_view drops');
SELECT hasnt_view('public', 'pgtap_view', 'the view has gone');

DROP VIEW pgtap_plain;
DROP TABLE pgtap_base;
SELECT * FROM finish();
