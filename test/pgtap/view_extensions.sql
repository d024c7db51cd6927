-- Continuous views with the aggregates of other extensions: hll and tdigest, of
-- Debian's packages postgresql-<version>-hll and -tdigest. What is missing is
-- skipped. It commits, because views are populated only then, and clears up.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA sketches;
SELECT set_config('search_path', 'public, sketches', false);
SELECT plan(20);

CREATE TABLE visits (id int PRIMARY KEY, page text, visitor int, seconds float8);

SELECT count(*) > 0 AS has_hll FROM pg_available_extensions WHERE name = 'hll' \gset
\if :has_hll
CREATE EXTENSION hll SCHEMA sketches;
CREATE VIEW visitors AS SELECT page, hll_add_agg(hll_hash_integer(visitor)) AS visitors,
	hll_add_agg(hll_hash_integer(visitor), 8) FILTER (WHERE seconds > 1000) AS patient,
	round(hll_cardinality(hll_add_agg(hll_hash_integer(visitor)))) AS n FROM visits GROUP BY page;
SELECT braid.create_view('visitors_kept', pg_get_viewdef('visitors'));
CREATE VIEW days AS SELECT hll_union_agg(hll_add(hll_empty(), hll_hash_integer(visitor))) AS visitors, count(*) FROM visits;
SELECT braid.create_view('days_kept', pg_get_viewdef('days'));
SELECT is((SELECT min(strategy) FROM braid.explain('visitors_kept') WHERE state IS NOT NULL), 'combine', 'hll is combined');
SELECT ok(braid.wait('visitors_kept') AND braid.wait('days_kept'), 'views with hll are populated');
INSERT INTO visits SELECT g, (ARRAY['a', 'b', NULL])[g % 3 + 1], g % 17, g FROM generate_series(1, 100) g;
SELECT ok(braid.wait('visitors_kept'), 'wait');
SELECT results_eq('SELECT page, visitors::text, patient::text, n FROM visitors_kept ORDER BY page', 'SELECT page, visitors::text, patient::text, n FROM visitors ORDER BY page', 'hll of few values');
INSERT INTO visits SELECT g, (ARRAY['a', 'b', NULL, 'c'])[g % 4 + 1], g, g FROM generate_series(101, 5000) g;
SELECT ok(braid.wait('visitors_kept'), 'wait');
SELECT results_eq('SELECT page, visitors::text, patient::text, n FROM visitors_kept ORDER BY page', 'SELECT page, visitors::text, patient::text, n FROM visitors ORDER BY page', 'hll of many values, united with what was there');
DELETE FROM visits WHERE page = 'b' OR id % 10 = 0;
UPDATE visits SET visitor = NULL WHERE page = 'c';
SELECT ok(braid.wait('visitors_kept') AND braid.wait('days_kept'), 'wait');
SELECT results_eq('SELECT page, visitors::text, patient::text, n FROM visitors_kept ORDER BY page', 'SELECT page, visitors::text, patient::text, n FROM visitors ORDER BY page', 'hll after deletes');
SELECT results_eq('SELECT visitors::text, count FROM days_kept', 'SELECT visitors::text, count FROM days', 'union of hll');
SELECT is_empty($$SELECT * FROM braid.verify('visitors_kept') UNION ALL SELECT * FROM braid.verify('days_kept')$$, 'hll: verify');
\else
SELECT skip('extension hll is not installed', 10);
\endif

TRUNCATE visits;
SELECT count(*) > 0 AS has_tdigest FROM pg_available_extensions WHERE name = 'tdigest' \gset
\if :has_tdigest
CREATE EXTENSION tdigest SCHEMA sketches;
-- A digest depends on the order of the rows, which is free; what is asked of it
-- is that counts are exact and percentiles close to the true ones.
CREATE VIEW times AS SELECT page, tdigest(seconds, 100) AS digest, tdigest_percentile(seconds, 100, 0.9) AS p90,
	tdigest_percentile(seconds, 100, ARRAY[0.1, 0.5]) FILTER (WHERE visitor > 5) AS busy FROM visits GROUP BY page;
SELECT braid.create_view('times_kept', pg_get_viewdef('times'));
CREATE VIEW exact AS SELECT page, count(seconds) AS n, max(seconds) - min(seconds) AS width,
	percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) AS p90,
	percentile_cont(ARRAY[0.1, 0.5]) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE visitor > 5) AS busy FROM visits GROUP BY page;
CREATE VIEW far_off AS SELECT page, digest, p90, true_p90, busy, true_busy
	FROM (SELECT coalesce(page, '') AS page, digest, p90, busy FROM times_kept) k
	FULL JOIN (SELECT coalesce(page, '') AS page, n, width, p90 AS true_p90, busy AS true_busy FROM exact) e USING (page)
	WHERE (tdigest_count(digest) = n AND abs(p90 - true_p90) <= 0.02 * width
		AND abs(busy[1] - true_busy[1]) <= 0.02 * width AND abs(busy[2] - true_busy[2]) <= 0.02 * width) IS NOT TRUE;
SELECT is((SELECT min(strategy) FROM braid.explain('times_kept') WHERE state IS NOT NULL), 'affected keys', 'tdigest is computed for the keys touched');
SELECT ok(braid.wait('times_kept'), 'a view with tdigest is populated');
INSERT INTO visits SELECT g, (ARRAY['a', 'b', NULL])[g % 3 + 1], g % 17, g FROM generate_series(1, 100) g;
SELECT ok(braid.wait('times_kept'), 'wait');
SELECT is((SELECT count(*) FROM times_kept), 3::bigint, 'tdigest of three groups');
SELECT is_empty('TABLE far_off', 'tdigest of few values');
INSERT INTO visits SELECT g, (ARRAY['a', 'b', NULL, 'c'])[g % 4 + 1], g, g FROM generate_series(101, 5000) g;
SELECT ok(braid.wait('times_kept'), 'wait');
SELECT is_empty('TABLE far_off', 'tdigest of many values');
DELETE FROM visits WHERE page = 'b' OR id % 10 = 0;
SELECT ok(braid.wait('times_kept'), 'wait');
SELECT is((SELECT count(*) FROM times_kept), 3::bigint, 'a group has gone');
SELECT is_empty('TABLE far_off', 'tdigest after deletes');
\else
SELECT skip('extension tdigest is not installed', 10);
\endif

SELECT * FROM finish();
DROP TABLE visits CASCADE;
DROP SCHEMA sketches CASCADE;
