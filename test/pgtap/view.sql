-- Contracts of the public functions on continuous views. Needs the extensions
-- braid and pgtap, and a server with wal_level = logical. It commits, because a
-- view is populated only then, and clears up after itself.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE EXTENSION IF NOT EXISTS pgtap;
SET search_path = public;
SELECT plan(64);

SELECT has_function('braid', 'create_view', ARRAY['text', 'text', 'jsonb']);
SELECT has_function('braid', 'drop_view', ARRAY['regclass']);
SELECT has_function('braid', 'wait', ARRAY['regclass', 'interval']);
SELECT has_function('braid', 'verify', ARRAY['regclass', 'double precision', 'interval']);
SELECT function_returns('braid', 'create_view', ARRAY['text', 'text', 'jsonb'], 'regclass');
SELECT function_returns('braid', 'wait', ARRAY['regclass', 'interval'], 'boolean');
SELECT has_function('braid', 'explain', ARRAY['regclass']);
SELECT has_function('braid', 'explain_text', ARRAY['regclass']);
SELECT has_function('braid', 'explain_json', ARRAY['regclass']);
SELECT function_returns('braid', 'explain_text', ARRAY['regclass'], 'setof text');
SELECT function_returns('braid', 'explain_json', ARRAY['regclass'], 'jsonb');
SELECT has_function('braid', 'diverted', ARRAY['regclass']);
SELECT has_function('braid', 'merge_diverted', ARRAY['regclass']);
SELECT function_returns('braid', 'diverted', ARRAY['regclass'], 'setof record');
SELECT function_returns('braid', 'merge_diverted', ARRAY['regclass'], 'bigint');
SELECT has_view('braid', 'views', 'braid.views exists');
SELECT columns_are('braid', 'views', ARRAY['name', 'owner', 'state', 'since', 'base_tables', 'strategy', 'frontier', 'lag_bytes', 'lag', 'lag_ms', 'rows', 'bytes', 'last_error', 'new_query', 'watermark', 'late', 'dropped', 'diverted', 'valid_since', 'gaps', 'last_gap', 'gap_reason', 'options', 'feed', 'id']);
SELECT table_privs_are('braid', 'views', 'public', ARRAY['SELECT'], 'everybody may see which views there are');
SELECT columns_are('braid', 'feeds', ARRAY['relation', 'topic', 'key', 'state', 'since', 'last_error']);
SELECT table_privs_are('braid', 'feeds', 'public', ARRAY['SELECT'], 'and which changefeeds');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	WHERE pronamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL
$$, 'every function has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE relnamespace = 'braid_internal'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('public', c.oid,
		CASE WHEN relname IN ('views', 'sources') THEN 'INSERT, UPDATE, DELETE, TRUNCATE' ELSE 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE' END)
		AND relname IN ('views', 'view_states', 'differences', 'sources', 'frontiers')
$$, 'internal tables are closed to the public; what dumps carry can be read');

CREATE TABLE pgtap_base (k int, x int);
CREATE VIEW pgtap_plain AS SELECT 1 AS one;
INSERT INTO pgtap_base VALUES (1, 1), (1, 2), (2, 3);
SELECT is(braid.create_view('pgtap_view', 'SELECT k, sum(x) FROM pgtap_base GROUP BY k')::text, 'pgtap_view', 'create_view returns the view');
SELECT ok(braid.wait('pgtap_view'), 'wait returns true when the view is caught up');
SELECT results_eq('SELECT * FROM pgtap_view', 'SELECT k, sum(x) FROM pgtap_base GROUP BY k', 'the view is populated');
SELECT is(state, 'live', 'its state is live') FROM braid.views WHERE name = 'pgtap_view'::regclass;
SELECT is_empty($$SELECT * FROM braid.verify('pgtap_view')$$, 'verify returns nothing for a view that is right');

SELECT results_eq($$SELECT depth, operator, strategy, state IS NULL FROM braid.explain('pgtap_view')$$,
	$$VALUES (0, 'group by 1 key, 2 accumulators', 'algebraic', false), (1, 'table public.pgtap_base', NULL, true)$$, 'explain shows the operators, from the top');
SELECT ok(bytes > 0 AND last_rows = 2 AND last_ms > 0, 'and the size and the figures of a state') FROM braid.explain('pgtap_view') WHERE depth = 0;
SELECT matches(string_agg(line, ' | '), '^group by 1 key, 2 accumulators  [(]algebraic[)]  state=braid_internal[.]state_\d+_\d+ bytes=\d+ rows=\d+  last: rows=2 time=[0-9.]+ ms [|]   ->  table public.pgtap_base', 'so does explain_text')
FROM braid.explain_text('pgtap_view') line;
SELECT is(jsonb_path_query_array(braid.explain_json('pgtap_view'), '$[*].depth'), '[0, 1]', 'and explain_json');
SELECT is(base_tables, ARRAY['pgtap_base']::regclass[], 'views names the base tables') FROM braid.views WHERE name = 'pgtap_view'::regclass;
SELECT is(strategy, 'algebraic', 'and the strategy') FROM braid.views WHERE name = 'pgtap_view'::regclass;

SELECT throws_ok($$SELECT braid.create_view('pgtap_view', 'SELECT count(*) FROM pgtap_base')$$, '42P07');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT random() FROM pgtap_base')$$, '0A000');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT count(*) FROM pgtap_plain')$$, '0A000');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'VACUUM')$$, '42601');
SELECT throws_ok($$SELECT braid.create_view('pgtap_bad', 'SELECT count(*) FROM pgtap_base', '{"x": 1}')$$, '22023');
SELECT throws_ok($$SELECT braid.wait('pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT * FROM braid.verify('pgtap_base')$$, '42809');
SELECT throws_ok($$SELECT * FROM braid.explain('pgtap_base')$$, '42809');
SELECT throws_ok($$SELECT braid.explain_json('pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT braid.drop_view('pgtap_plain')$$, '42809');

SELECT ok(braid.alter_view('pgtap_view', 'SELECT k, sum(x), sum(x) * 2 AS twice FROM pgtap_base GROUP BY k'), 'alter_view returns true if nothing has to be recomputed');
SELECT results_eq('SELECT * FROM pgtap_view', 'SELECT k, sum(x), sum(x) * 2 AS twice FROM pgtap_base GROUP BY k', 'and the view shows its new query');
BEGIN;
SELECT ok(NOT braid.alter_view('pgtap_view', 'SELECT k, sum(x), sum(x) * 2 AS twice, max(x) FROM pgtap_base GROUP BY k'), 'and false if another state is populated');
SELECT throws_ok($$SELECT braid.pause('pgtap_view')$$, '55000');
COMMIT;
SELECT ok(braid.alter_view('pgtap_view'), 'without a query it takes that of the view, and gives up what was on its way');
SELECT throws_ok($$SELECT braid.alter_view('pgtap_view', 'SELECT k FROM pgtap_base')$$, '42P16');
SELECT throws_ok($$SELECT braid.alter_view('pgtap_view', 'SELECT * FROM pgtap_view')$$, '42P17');
SELECT throws_ok($$SELECT braid.alter_view('pgtap_plain')$$, '42809');
SELECT braid.wait('pgtap_view');
SELECT braid.pause('pgtap_view');
SELECT is(state, 'paused', 'a view is paused') FROM braid.views WHERE name = 'pgtap_view'::regclass;
SELECT throws_ok($$SELECT braid.wait('pgtap_view')$$, '55000');
SELECT throws_ok($$SELECT braid.alter_view('pgtap_view')$$, '55000');
SELECT throws_ok($$SELECT braid.resume('pgtap_plain')$$, '42809');
SELECT braid.resume('pgtap_view');
SELECT ok(braid.wait('pgtap_view'), 'and resumed');

BEGIN;
LOCK TABLE pgtap_base IN ACCESS EXCLUSIVE MODE;
SELECT ok(NOT braid.wait('pgtap_view', '50 ms'), 'wait returns false at the timeout');
ROLLBACK;

SELECT throws_ok($$SELECT * FROM braid.diverted('pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT braid.merge_diverted('pgtap_plain')$$, '42809');
SELECT throws_ok($$SELECT * FROM braid.diverted('pgtap_view')$$, '55000');
SELECT throws_ok($$SELECT braid.merge_diverted('pgtap_view')$$, '55000');
SELECT throws_ok($$ALTER MATERIALIZED VIEW pgtap_view SET (braid.late = 'drop')$$, '22023');

SELECT lives_ok($$SELECT braid.drop_view('pgtap_view')$$, 'drop_view drops');
SELECT hasnt_view('public', 'pgtap_view', 'the view has gone');

DROP VIEW pgtap_plain;
DROP TABLE pgtap_base;
SELECT * FROM finish();
