# Shapes of queries that users of other systems bring along: those of the regression
# tests of pg_ivm, and of TimescaleDB's continuous aggregates, as cases of ours.
#
# A suite has tables, views, and steps, each of which is one transaction. After each
# step every view equals its query, both ways, and braid.verify() agrees now and then;
# results that depend on the order of rows in the last digits are rounded. A view that is not a query but a pair
# is refused, with a message that matches.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Views;
use Test::More;

my @suites;

push @suites, {
	name => 'two tables',
	setup => <<'SQL',
CREATE TABLE a (x int, i int, y int, j int);
CREATE TABLE b (x int, i int, y int, k int);
ALTER TABLE a DROP COLUMN x, DROP COLUMN y;
ALTER TABLE b DROP COLUMN x, DROP COLUMN y;
INSERT INTO a VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50);
INSERT INTO b VALUES (1, 101), (2, 102), (3, 103), (4, 104);
CREATE VIEW b_view AS SELECT i, k FROM b WHERE k <> 104;
CREATE VIEW b_sums AS SELECT i, sum(k) AS k FROM b GROUP BY i;
SQL
	views => [
		join_using => 'SELECT i, j, k FROM a INNER JOIN b USING (i)',
		join_where => 'SELECT a.i, j, k FROM a, b WHERE a.i = b.i AND j > 10',
		join_unequal => 'SELECT a.i AS ai, b.i AS bi FROM a JOIN b ON a.i < b.i',
		join_cross => 'SELECT j, k FROM a CROSS JOIN b',
		join_grouped => 'SELECT b.i, count(*), sum(j), max(k) FROM a JOIN b USING (i) GROUP BY b.i',
		join_total => 'SELECT count(*), sum(j + k) FROM a JOIN b USING (i)',
		join_distinct => 'SELECT DISTINCT a.j / 20 AS d FROM a JOIN b USING (i)',
		join_on_expression => 'SELECT a.i, k FROM a JOIN b ON a.j / 10 = b.i AND b.k % 2 = a.i % 2',
		join_three => 'SELECT a.i, b.k, c.j FROM a JOIN b USING (i) JOIN a c ON c.i = b.i + 1',
		self_join => 'SELECT t1.j AS v1, t2.j AS v2 FROM a t1 JOIN a t2 ON t1.i = t2.i',
		self_join_next => 'SELECT t1.i, t2.j - t1.j AS step FROM a t1 JOIN a t2 ON t2.i = t1.i + 1',
		duplicates => 'SELECT j FROM a',
		filtered => 'SELECT i, j FROM a WHERE j BETWEEN 15 AND 45 OR i IS NULL',
		distinct_rows => 'SELECT DISTINCT j FROM a',
		distinct_on => 'SELECT DISTINCT ON (i) i, j FROM a ORDER BY i, j DESC',
		sums => 'SELECT i, sum(j), count(i), avg(j) FROM a GROUP BY i',
		counts => 'SELECT i, sum(j), count(*) FROM a GROUP BY i',
		total => 'SELECT sum(j), count(j), avg(j) FROM a',
		extremes => 'SELECT i, min(j), max(j) FROM a GROUP BY i',
		extremes_total => 'SELECT min(j), max(j) FROM a',
		group_only => 'SELECT i, j FROM a GROUP BY i, j',
		group_hidden => 'SELECT count(i) FROM a GROUP BY i',
		having_sum => 'SELECT i, j, k FROM a JOIN b USING (i) GROUP BY i, j, k HAVING sum(i) > 2',
		having_alone => 'SELECT i FROM a GROUP BY i HAVING count(*) > 1 AND max(j) > min(j)',
		of_aggregates => 'SELECT sum(i) * 0.5 AS half, sum(i) / nullif(sum(j), 0) AS ratio FROM a',
		filter => 'SELECT count(*) FILTER (WHERE i < 3), sum(j) FILTER (WHERE i > 1) FROM a',
		filter_guards => 'SELECT a.i, sum(100 / (a.j - 20)) FILTER (WHERE a.j <> 20), max(100 / (b.k - 101)) FILTER (WHERE b.k <> 101) FROM a LEFT JOIN b USING (i) GROUP BY a.i',
		count_distinct => 'SELECT count(DISTINCT i), count(DISTINCT j) AS dj, count(*) AS n FROM a',
		sum_distinct => 'SELECT i % 2 AS odd, sum(DISTINCT j) FROM a GROUP BY 1',
		one_array => [ 'SELECT array_agg(j ORDER BY i DESC, j) FROM a', qr/aggregate array_agg[(]integer[)] without GROUP BY/ ],
		arrays => q{SELECT i, array_agg(j ORDER BY j), string_agg(j::text, ',' ORDER BY j DESC) FROM a GROUP BY i},
		grouping_sets => 'SELECT i, sum(j) FROM a GROUP BY GROUPING SETS ((i), ())',
		rollup => 'SELECT i % 2 AS odd, i, grouping(i % 2, i), count(*) FROM a GROUP BY ROLLUP (i % 2, i)',
		cube => 'SELECT i, j, count(*) FROM a GROUP BY CUBE (i, j)',
		exists => 'SELECT a.i, a.j FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i)',
		exists_and => 'SELECT a.i, a.j FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i) AND a.i > 2',
		exists_or => 'SELECT a.i, a.j FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i) OR a.i > 2',
		exists_hidden => 'SELECT a.j FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i)',
		exists_distinct => 'SELECT DISTINCT a.i, a.j FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i)',
		exists_nested => 'SELECT a.j FROM a WHERE EXISTS (SELECT 1 FROM a a2 WHERE a2.i = a.i + 1 AND EXISTS (SELECT 1 FROM b WHERE a2.i = b.i))',
		exists_uncorrelated => 'SELECT a.j FROM a WHERE EXISTS (SELECT 1 FROM a a2 WHERE EXISTS (SELECT 1 FROM b WHERE a2.i = b.i))',
		exists_column => 'SELECT i, EXISTS (SELECT 1 FROM b WHERE b.i = a.i) AS has FROM a',
		exists_column_uncorrelated => 'SELECT false OR EXISTS (SELECT 1 FROM a) AS has, k FROM b',
		exists_case => 'SELECT * FROM a WHERE CASE EXISTS (SELECT 1 FROM b WHERE a.i = b.i) WHEN true THEN false ELSE true END',
		exists_aggregated => 'SELECT count(*), sum(j) FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.i = b.i AND k > 101)',
		exists_counted => 'SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM b WHERE b.i = a.i)), sum(CASE WHEN i IN (SELECT i FROM b WHERE k > 102) THEN j END) FROM a',
		exists_in_group => 'SELECT i % 2 AS odd, count(*) FILTER (WHERE i IN (SELECT i FROM b)) AS n, max((SELECT sum(k) FROM b WHERE b.i = a.i)) AS most FROM a GROUP BY 1 HAVING count(*) FILTER (WHERE EXISTS (SELECT FROM b WHERE b.i = a.i)) > 0',
		exists_as_key => 'SELECT NOT EXISTS (SELECT FROM b WHERE b.i = a.i) AS alone, (SELECT max(k) FROM b WHERE b.i = a.i) % 2 AS odd, count(*) FROM a GROUP BY 1, 2',
		not_exists => 'SELECT i, j FROM a WHERE NOT EXISTS (SELECT FROM b WHERE a.i = b.i)',
		in_list => 'SELECT i, j FROM a WHERE i IN (SELECT i FROM b WHERE k < 103)',
		not_in_list => 'SELECT i, j FROM a WHERE i NOT IN (SELECT i FROM b WHERE k < 103)',
		in_rows => 'SELECT i, j FROM a WHERE (i, j / 10) IN (SELECT i, k - 100 FROM b)',
		any_array => 'SELECT i, j FROM a WHERE j > ANY (SELECT k - 80 FROM b)',
		scalar => 'SELECT i, j, (SELECT max(k) FROM b) AS most FROM a',
		scalar_added => 'SELECT i, j, (SELECT max(k) FROM b) + 1 AS more FROM a',
		scalar_correlated => 'SELECT i, j, (SELECT sum(k) FROM b WHERE a.i = b.i) AS k FROM a',
		scalar_where => 'SELECT i, j FROM a WHERE j > (SELECT avg(j) FROM a)',
		scalar_count => 'SELECT i, (SELECT count(*) FROM b WHERE b.i = a.i) AS n FROM a',
		scalar_having => 'SELECT i, sum(j) FROM a GROUP BY i HAVING sum(j) > (SELECT avg(k) / 4 FROM b)',
		subquery => 'SELECT a.i, a.j FROM a, (SELECT * FROM b) b WHERE a.i = b.i',
		subquery_join => 'SELECT i, j, k FROM (SELECT i, a.j, b.k FROM b INNER JOIN a USING (i)) tmp',
		subquery_nested => 'SELECT i, j, k FROM (SELECT i, a.j, b.k FROM b INNER JOIN (SELECT * FROM a) a USING (i)) tmp',
		subquery_grouped => 'SELECT a.i, a.j, b.n FROM a, (SELECT i, count(*) AS n FROM b GROUP BY i) b WHERE a.i = b.i',
		subquery_distinct => 'SELECT a.i, a.j FROM a, (SELECT DISTINCT i FROM b) b WHERE a.i = b.i',
		grouped_twice => 'SELECT n, count(*) FROM (SELECT i, count(*) AS n FROM a GROUP BY i) s GROUP BY n',
		cte => 'WITH b AS (SELECT * FROM b) SELECT a.i, a.j FROM a, b WHERE a.i = b.i',
		cte_two => 'WITH a AS (SELECT * FROM a), b AS (SELECT * FROM b) SELECT a.i, a.j FROM a, b WHERE a.i = b.i',
		cte_inner => 'WITH b AS (SELECT * FROM b) SELECT v.i, v.j FROM (WITH a AS (SELECT * FROM a) SELECT a.i, a.j FROM a, b WHERE a.i = b.i) v',
		cte_nested => 'WITH v AS (WITH a AS (SELECT * FROM a) SELECT i, a.j, b.k FROM b INNER JOIN a USING (i)) SELECT * FROM v',
		cte_twice => 'WITH t AS (SELECT * FROM a) SELECT t1.j AS v1, t2.j AS v2 FROM t t1 JOIN t t2 ON t1.i = t2.i',
		cte_grouped => 'WITH b AS (SELECT i, count(*) FROM b GROUP BY i) SELECT a.i, a.j FROM a, b WHERE a.i = b.i',
		cte_grouped_twice => 'WITH s AS (SELECT i, sum(k) AS k FROM b GROUP BY i) SELECT i, k FROM s WHERE k = (SELECT max(k) FROM s)',
		cte_in_exists => 'WITH a AS (SELECT i, j FROM a) SELECT a.i, a.j FROM a WHERE EXISTS (WITH b AS (SELECT i FROM b) SELECT 1 FROM b WHERE a.i = b.i)',
		cte_unused => 'WITH b AS (SELECT * FROM b) SELECT * FROM a',
		cte_materialized => 'WITH s AS MATERIALIZED (SELECT i, j FROM a WHERE j > 10) SELECT s.i, j, k FROM s JOIN b USING (i)',
		ordinary_view => 'SELECT a.i, a.j, b.k FROM a, b_view b WHERE a.i = b.i',
		ordinary_view_grouped => 'SELECT a.i, a.j, b.k FROM a JOIN b_sums b USING (i)',
		on_view => 'SELECT i, count(*), sum(k) FROM join_using GROUP BY i',
		on_view_and_table => 'SELECT s.i, s.sum, b.k FROM sums s JOIN b USING (i)',
		on_view_on_view => 'SELECT count(*), max(sum) FROM on_view',
		on_two_views => 'SELECT sums.i, sums.sum, extremes.max FROM sums JOIN extremes USING (i)',
		on_total => 'SELECT i, j, total.sum FROM a, total',
		on_filtered => 'SELECT count(*) FROM filtered',
		ordered => 'SELECT i, j, k FROM a JOIN b USING (i) ORDER BY i, j, k',
		top => 'SELECT i, j FROM a ORDER BY j DESC NULLS LAST, i LIMIT 3',
		top_offset => 'SELECT i, j FROM a ORDER BY i, j LIMIT 2 OFFSET 1',
		top_grouped => 'SELECT i, sum(j) FROM a GROUP BY i ORDER BY 2 DESC NULLS LAST, 1 LIMIT 2',
		top_of_each => 'SELECT x.i, l.k FROM (SELECT DISTINCT i FROM a) x, LATERAL (SELECT k FROM b WHERE b.i = x.i ORDER BY k DESC LIMIT 2) l',
		ranked => 'SELECT i, j FROM (SELECT i, j, row_number() OVER (PARTITION BY i ORDER BY j DESC) AS rank FROM a) s WHERE rank <= 2',
		windows => 'SELECT i, j, rank() OVER (PARTITION BY i ORDER BY j), sum(j) OVER (PARTITION BY i) FROM a',
		window_two => [ 'SELECT i, j, lag(j) OVER (PARTITION BY i ORDER BY j), count(*) OVER (PARTITION BY j) FROM a', qr/PARTITION BY/ ],
		window_grouped => 'SELECT i % 2 AS odd, i, sum(j) AS s, sum(sum(j)) OVER (PARTITION BY i % 2) FROM a GROUP BY i',
		union_all => 'SELECT i, j FROM a UNION ALL SELECT i, k FROM b',
		union_distinct => 'SELECT i, j FROM a UNION SELECT i, k - 90 FROM b',
		union_three => 'SELECT i FROM a UNION ALL (SELECT i FROM b UNION SELECT j / 10 FROM a)',
		union_grouped => 'SELECT i, count(*) FROM (SELECT i FROM a UNION ALL SELECT i FROM b) u GROUP BY i',
		union_constants => q{SELECT 'a' AS t, i FROM a UNION ALL SELECT 'b', i FROM b},
		intersect_rows => 'SELECT i FROM a INTERSECT SELECT i FROM b',
		intersect_all => 'SELECT i FROM a INTERSECT ALL SELECT i FROM b',
		except_rows => 'SELECT i FROM a EXCEPT SELECT i FROM b',
		except_all => 'SELECT i FROM a EXCEPT ALL SELECT i FROM b',
		values_list => 'SELECT a.i, a.j, v.name FROM a JOIN (VALUES (1, $$one$$), (2, $$two$$), (NULL, $$none$$)) v (n, name) ON a.i = v.n',
		series => 'SELECT i, n FROM a, generate_series(1, a.i) n',
		series_cross => 'SELECT i, n FROM a, generate_series(1, 3) n',
		series_left => 'SELECT i, n FROM a LEFT JOIN LATERAL generate_series(1, a.i - 2) n ON true',
		series_select => 'SELECT i, generate_series(1, i) AS n FROM a',
		unnested => 'SELECT i, e FROM a, unnest(ARRAY[i, j]) e',
		unnested_ordinality => 'SELECT i, e, o FROM a, unnest(ARRAY[i, j]) WITH ORDINALITY u (e, o)',
		lateral_values => 'SELECT i, v FROM a, LATERAL (VALUES (i), (j)) s (v)',
		lateral_subquery => 'SELECT a.i, s.k FROM a, LATERAL (SELECT k FROM b WHERE b.i = a.i) s',
		lateral_grouped => 'SELECT a.i, s.n FROM a, LATERAL (SELECT count(*) AS n FROM b WHERE b.i = a.i) s',
		whole_row => 'SELECT a.i, a AS r FROM a',
		constant_false => 'SELECT i FROM a WHERE false',
		boolean_sides => 'SELECT i FROM a WHERE i IS NOT DISTINCT FROM 1 OR NOT j < 40',
	],
	steps => [
		'insert into both' => 'INSERT INTO a VALUES (2, 100), (6, 60); INSERT INTO b VALUES (5, 105)',
		'update one side' => 'UPDATE a SET j = 0 WHERE i = 1',
		'update a key' => 'UPDATE b SET i = 3 WHERE k = 101; UPDATE a SET i = 1 WHERE j = 60',
		'duplicates' => 'INSERT INTO a VALUES (1, 0), (1, 0), (2, 30), (2, 30), (3, 30); INSERT INTO b VALUES (1, 111), (3, 103), (3, 133)',
		'delete some' => 'DELETE FROM a WHERE (i, j) = (1, 0); DELETE FROM b WHERE i = 4',
		'nulls' => 'INSERT INTO a VALUES (NULL, 1), (NULL, NULL), (7, NULL), (NULL, 1); INSERT INTO b VALUES (NULL, 107), (NULL, NULL), (7, NULL)',
		'nulls change' => 'UPDATE a SET i = 2 WHERE i IS NULL AND j IS NULL; UPDATE b SET k = 108 WHERE k IS NULL AND i IS NOT NULL',
		'many commands in one statement' => <<'SQL',
WITH ai AS (INSERT INTO a VALUES (1, 11), (2, 22) RETURNING 0),
	bi AS (INSERT INTO b VALUES (1, 112), (3, 134) RETURNING 0),
	au AS (UPDATE a SET j = j + 1000 WHERE i = 3 RETURNING 0),
	bd AS (DELETE FROM b WHERE i = 2 RETURNING 0)
SELECT
SQL
		'one row again and again' => 'UPDATE a SET j = j + 1 WHERE i = 5; UPDATE a SET j = j + 1 WHERE i = 5; UPDATE a SET i = 8 WHERE i = 5; UPDATE a SET i = 5 WHERE i = 8',
		'savepoints' => 'SAVEPOINT p; INSERT INTO a VALUES (7, 70); RELEASE p; SAVEPOINT q; DELETE FROM a; DELETE FROM b; ROLLBACK TO q; INSERT INTO a VALUES (7, 77)',
		'in and out again' => 'INSERT INTO a VALUES (9, 90); INSERT INTO b VALUES (9, 109); DELETE FROM a WHERE i = 9; DELETE FROM b WHERE i = 9',
		'nothing changes' => 'UPDATE a SET j = j; UPDATE b SET k = k',
		'no nulls' => 'DELETE FROM b WHERE i IS NULL; DELETE FROM a WHERE i IS NULL OR j IS NULL',
		'truncate one' => 'TRUNCATE a',
		'fill again' => 'INSERT INTO a SELECT n % 7, n FROM generate_series(1, 40) n',
		'truncate and fill' => 'TRUNCATE b; INSERT INTO b SELECT n % 5, 100 + n FROM generate_series(1, 20) n',
		'most goes' => 'DELETE FROM a WHERE j > 3; DELETE FROM b WHERE k > 102',
		'all goes' => 'DELETE FROM a; DELETE FROM b',
		'and comes back' => 'INSERT INTO b VALUES (1, 101); INSERT INTO a VALUES (1, 10), (NULL, NULL)',
		'columns are renamed' => q{ALTER TABLE a RENAME j TO "J"; UPDATE a SET "J" = 7; COMMIT; SELECT braid.wait('sums'); BEGIN;
			INSERT INTO a VALUES (1, 12); ALTER TABLE a RENAME "J" TO j},
		'columns are added' => 'ALTER TABLE b ADD COLUMN extra int DEFAULT 3; INSERT INTO b VALUES (1, 109, 4)',
	],
};

my @kinds = ('INNER', 'LEFT', 'RIGHT', 'FULL');
my @outer = map { my $x = $_; map { (lc "${x}_$_" => "SELECT r.i AS ri, s.i AS si, s.j AS sj, t.j AS tj FROM r $x JOIN s ON r.i = s.i $_ JOIN t ON s.j = t.j") } @kinds } @kinds;
push @suites, {
	name => 'outer joins',
	setup => <<'SQL',
CREATE TABLE r (i int);
CREATE TABLE s (i int, j int);
CREATE TABLE t (j int);
INSERT INTO r VALUES (1), (2), (3), (3);
INSERT INTO s VALUES (2, 1), (2, 2), (3, 1), (4, 1), (4, 2);
INSERT INTO t VALUES (2), (3), (3);
SQL
	views => [
		@outer,
		full_distinct => 'SELECT DISTINCT r.i AS ri, s.i AS si, s.j AS sj, t.j AS tj FROM r FULL JOIN s ON r.i = s.i FULL JOIN t ON s.j = t.j',
		full_using => 'SELECT i, j FROM r FULL JOIN s USING (i) FULL JOIN t USING (j)',
		left_condition => 'SELECT r.i AS ri, s.j AS sj FROM r LEFT JOIN s ON r.i = s.i AND s.j > 1',
		left_own_condition => 'SELECT r.i AS ri, s.j AS sj FROM r LEFT JOIN s ON r.i = s.i AND r.i > 2',
		left_where => 'SELECT r.i AS ri, s.j AS sj FROM r LEFT JOIN s ON r.i = s.i WHERE coalesce(s.j, 1) = 1',
		left_null => 'SELECT r.i AS ri FROM r LEFT JOIN s ON r.i = s.i WHERE s.i IS NULL',
		left_unequal => 'SELECT r.i AS ri, s.i AS si FROM r LEFT JOIN s ON r.i < s.i',
		left_true => 'SELECT r.i AS ri, t.j AS tj FROM r LEFT JOIN t ON true',
		left_nested => 'SELECT r.i AS ri, s.i AS si, t.j AS tj FROM r LEFT JOIN (s JOIN t ON s.j = t.j) ON r.i = s.i',
		left_subquery => 'SELECT r.i AS ri, q.n FROM r LEFT JOIN (SELECT i, count(*) AS n FROM s GROUP BY i) q ON q.i = r.i',
		left_self => 'SELECT x.i, y.j FROM s x LEFT JOIN s y ON y.i = x.i + 1',
		left_grouped => 'SELECT r.i AS ri, count(s.i), sum(s.j), count(*) AS n FROM r LEFT JOIN s ON r.i = s.i GROUP BY r.i',
		left_total => 'SELECT count(*), count(s.i) AS matched FROM r LEFT JOIN s ON r.i = s.i',
		left_expression => q{SELECT r.i AS ri, coalesce(s.j::text, 'none') AS sj, CASE WHEN s.i IS NULL THEN 0 ELSE 1 END AS matched FROM r LEFT JOIN s ON r.i = s.i},
		left_constant => q{SELECT r.i AS ri, q.c FROM r LEFT JOIN (SELECT i, 'found' AS c FROM s) q ON q.i = r.i},
		left_exists => 'SELECT r.i AS ri, s.j AS sj FROM r LEFT JOIN s ON r.i = s.i WHERE EXISTS (SELECT FROM t WHERE t.j = s.j)',
		left_window => 'SELECT ri, sj FROM (SELECT r.i AS ri, s.j AS sj, row_number() OVER (PARTITION BY r.i ORDER BY s.j) AS n FROM r LEFT JOIN s ON r.i = s.i) q WHERE n = 1',
		left_of_full => 'SELECT q.a, q.b, t.j FROM (SELECT r.i AS a, s.j AS b FROM r FULL JOIN s ON r.i = s.i) q LEFT JOIN t ON t.j = q.b',
		full_unmatched => 'SELECT r.i AS ri, s.i AS si FROM r FULL JOIN s ON r.i = s.i WHERE r.i IS NULL OR s.i IS NULL',
		full_grouped => 'SELECT coalesce(r.i, s.i) AS i, count(r.i), count(s.i) AS n FROM r FULL JOIN s ON r.i = s.i GROUP BY 1',
		on_outer => 'SELECT ri, count(*) FROM left_left GROUP BY ri',
		outer_on_view => 'SELECT r.i, o.count FROM r LEFT JOIN on_outer o ON o.ri = r.i',
	],
	steps => [
		'more of the first' => 'INSERT INTO r VALUES (1), (2), (3)',
		'unmatched in the first' => 'INSERT INTO r VALUES (4), (5)',
		'matches in the middle' => 'INSERT INTO s VALUES (1, 3)',
		'more matches in the middle' => 'INSERT INTO s VALUES (2, 3)',
		'matches in the last' => 'INSERT INTO t VALUES (1), (2)',
		'unmatched in the last' => 'INSERT INTO t VALUES (3), (4)',
		'first goes' => 'DELETE FROM r WHERE i = 1',
		'middle goes' => 'DELETE FROM s WHERE i = 2',
		'last goes' => 'DELETE FROM t WHERE j = 2',
		'all sides at once' => 'INSERT INTO r VALUES (6), (2); INSERT INTO s VALUES (6, 6), (2, 2), (7, 6); INSERT INTO t VALUES (6), (2)',
		'keys move' => 'UPDATE r SET i = i + 1; UPDATE t SET j = j - 1',
		'nulls' => 'INSERT INTO r VALUES (NULL), (NULL); INSERT INTO s VALUES (NULL, 1), (3, NULL), (NULL, NULL); INSERT INTO t VALUES (NULL)',
		'nulls match' => 'UPDATE s SET i = 3 WHERE i IS NULL; UPDATE r SET i = 3 WHERE i IS NULL',
		'last matches go and others come' => 'DELETE FROM s WHERE i = 3; INSERT INTO s VALUES (3, 9), (3, 9)',
		'middle is truncated' => 'TRUNCATE s',
		'middle again' => 'INSERT INTO s SELECT n % 6, n % 4 FROM generate_series(1, 12) n',
		'first is truncated' => 'TRUNCATE r; INSERT INTO r VALUES (1), (5)',
		'last is truncated' => 'TRUNCATE t',
		'all goes' => 'DELETE FROM r; DELETE FROM s',
		'first alone' => 'INSERT INTO r VALUES (1), (1)',
		'then the middle' => 'INSERT INTO s VALUES (1, 1)',
		'then the last' => 'INSERT INTO t VALUES (1)',
	],
};

push @suites, {
	name => 'partitions, constraints, triggers',
	setup => <<'SQL',
CREATE TABLE p (id int, region text, amount numeric, at date, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('de', 'fr');
CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us') PARTITION BY HASH (id);
CREATE TABLE p_us_0 PARTITION OF p_us FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p_us_1 PARTITION OF p_us FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE p_rest (note text, at date, amount numeric, region text NOT NULL, id int NOT NULL);
ALTER TABLE p_rest DROP COLUMN note;
ALTER TABLE p ATTACH PARTITION p_rest DEFAULT;
INSERT INTO p SELECT n, (ARRAY['de', 'fr', 'us', 'jp'])[1 + n % 4], n * 1.5, date '2024-01-01' + n FROM generate_series(1, 40) n;
CREATE TABLE regions (region text PRIMARY KEY, name text, parent text REFERENCES regions ON UPDATE CASCADE ON DELETE SET NULL);
INSERT INTO regions VALUES ('world', 'World', NULL), ('de', 'Germany', 'world'), ('fr', 'France', 'world'), ('us', 'America', 'world');
CREATE TABLE heads (i int PRIMARY KEY);
CREATE TABLE details (i int PRIMARY KEY REFERENCES heads ON UPDATE CASCADE ON DELETE CASCADE, v int);
INSERT INTO heads VALUES (1), (2), (3);
INSERT INTO details VALUES (1, 10), (2, 20), (3, 30);
CREATE TABLE counted (i int);
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE counted SET i = i + 1; RETURN NEW; END';
CREATE TRIGGER count_up AFTER INSERT ON counted FOR EACH ROW EXECUTE FUNCTION count_up();
CREATE TABLE kept (k int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED);
SQL
	views => [
		by_region => 'SELECT region, count(*), sum(amount), max(at) FROM p GROUP BY region',
		region_names => 'SELECT r.name, count(*), sum(p.amount) FROM p JOIN regions r USING (region) GROUP BY r.name',
		unnamed_regions => 'SELECT DISTINCT region FROM p WHERE NOT EXISTS (SELECT FROM regions r WHERE r.region = p.region)',
		region_rows => 'SELECT p.id, p.region, r.name FROM p LEFT JOIN regions r USING (region)',
		last_of_region => 'SELECT DISTINCT ON (region) region, id, at FROM p ORDER BY region, at DESC, id',
		region_parents => 'SELECT c.name, p.name AS parent FROM regions c LEFT JOIN regions p ON p.region = c.parent',
		partition_alone => 'SELECT region, count(*) FROM p_eu GROUP BY region',
		cascaded => 'SELECT h.i AS h, d.i AS d, d.v FROM heads h JOIN details d USING (i)',
		triggered => 'SELECT i FROM counted',
		triggered_sum => 'SELECT count(*), sum(i) FROM counted',
		upserted => 'SELECT v, count(*), sum(g) FROM kept GROUP BY v',
	],
	steps => [
		'rows of all partitions' => q{INSERT INTO p SELECT n, (ARRAY['de', 'fr', 'us', 'jp'])[1 + n % 4], n, '2024-06-01' FROM generate_series(41, 60) n},
		'rows move to other partitions' => q{UPDATE p SET region = 'us' WHERE region = 'fr' AND id % 3 = 0; UPDATE p SET region = 'jp' WHERE id % 10 = 7},
		'names change' => q{UPDATE regions SET name = 'Deutschland' WHERE region = 'de'; INSERT INTO regions VALUES ('jp', 'Japan', 'world')},
		'keys cascade' => q{UPDATE regions SET region = 'all' WHERE region = 'world'; UPDATE heads SET i = 10 WHERE i = 1; DELETE FROM heads WHERE i = 2},
		'a parent goes' => q{DELETE FROM regions WHERE region = 'all'},
		'triggers write' => 'INSERT INTO counted VALUES (1); INSERT INTO counted VALUES (1), (5)',
		'upsert' => 'INSERT INTO kept VALUES (1, 1), (2, 1) ON CONFLICT (k) DO UPDATE SET v = kept.v + 1; INSERT INTO kept VALUES (2, 5), (3, 1) ON CONFLICT (k) DO UPDATE SET v = kept.v + excluded.v',
		'nothing upserted' => 'INSERT INTO kept VALUES (1, 9) ON CONFLICT DO NOTHING',
		'merge' => 'MERGE INTO kept USING (VALUES (1, 7), (4, 7)) s (k, v) ON s.k = kept.k WHEN MATCHED AND kept.v > 100 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)',
		'copied' => q{COPY kept (k, v) FROM PROGRAM 'printf "7\t1\n8\t2\n"'},
		'a new partition' => q{CREATE TABLE p_cn PARTITION OF p FOR VALUES IN ('cn'); INSERT INTO p VALUES (100, 'cn', 1, '2024-01-01')},
		'attached' => q{CREATE TABLE p_in (LIKE p INCLUDING ALL); INSERT INTO p_in VALUES (200, 'in', 3, '2024-01-02'); ALTER TABLE p ATTACH PARTITION p_in FOR VALUES IN ('in')},
		'detached' => 'ALTER TABLE p DETACH PARTITION p_cn',
		'a partition is truncated' => 'TRUNCATE p_us_1',
		'a partition is dropped' => 'DROP TABLE p_in',
		'all is truncated' => 'TRUNCATE p, regions, heads, details, kept, counted',
		'and comes back' => q{INSERT INTO p VALUES (1, 'de', 2, '2024-01-01'); INSERT INTO regions VALUES ('de', 'Germany', NULL); INSERT INTO kept VALUES (1, 1)},
	],
};

push @suites, {
	name => 'types',
	setup => <<'SQL',
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE mytype;
CREATE FUNCTION mytype_in(cstring) RETURNS mytype AS 'int4in' LANGUAGE internal STRICT IMMUTABLE;
CREATE FUNCTION mytype_out(mytype) RETURNS cstring AS 'int4out' LANGUAGE internal STRICT IMMUTABLE;
CREATE TYPE mytype (LIKE = int4, INPUT = mytype_in, OUTPUT = mytype_out);
CREATE TABLE things (id int, j json, b jsonb, m mood, p pair, d positive, r int4range, a int[], f float8, n numeric, t text COLLATE "C",
	c char(5), v varchar(5), i interval, z timestamptz, u uuid, y bytea, bits bit(4), mine mytype, money money, x xml);
INSERT INTO things (id, j, b, m, p, d, r, a, f, n, t, c, v, i, z, u, y, bits, mine) SELECT n, '{"a": 1}', jsonb_build_object('k', n % 3), (ARRAY['sad', 'ok', 'happy']::mood[])[1 + n % 3],
	(n % 2, 'y')::pair, 1 + n % 4, int4range(n, n + 3), ARRAY[n, n % 2], n / 4.0, (n || '.' || repeat('0', n % 4))::numeric, chr(65 + n % 4), 'c' || n % 3, 'v' || n % 3,
	n % 3 * interval '1 day', timestamptz '2024-01-01 00:00+00' + n * interval '7 hours', ('00000000-0000-0000-0000-00000000000' || n % 5)::uuid, ('\x0' || n % 5)::bytea, (n % 4)::bit(4), ('{0,1,2}'::mytype[])[1 + n % 3]
FROM generate_series(1, 20) n;
SQL
	views => [
		plain_rows => 'SELECT * FROM things',
		by_enum => 'SELECT m, count(*), min(d), max(n) FROM things GROUP BY m',
		by_composite => 'SELECT p, count(*) FROM things GROUP BY p',
		by_range => 'SELECT lower(r) % 3 AS k, count(*) FROM things WHERE r && int4range(3, 9) GROUP BY 1',
		by_array => 'SELECT a[2] AS k, count(*), max(a) FROM things GROUP BY a[2]',
		by_jsonb => 'SELECT b, count(*) FROM things GROUP BY b',
		by_json_field => q{SELECT j->>'a' AS k, b->>'k' AS bk, count(*) FROM things GROUP BY 1, 2},
		by_numeric => 'SELECT n, count(*) FROM things GROUP BY n',
		by_char => 'SELECT c, v, count(*) FROM things GROUP BY c, v',
		by_interval => 'SELECT i, count(*), sum(i) FROM things GROUP BY i',
		by_day => q{SELECT date_trunc('day', z) AS day, count(*), avg(n), sum(f) FROM things GROUP BY 1},
		by_uuid => 'SELECT u, y, bits, count(*) FROM things GROUP BY u, y, bits',
		by_collation => 'SELECT t COLLATE "und-x-icu" AS t, max(t), count(*) FROM things GROUP BY 1',
		distinct_types => 'SELECT DISTINCT m, p, r, i FROM things',
		statistics => 'SELECT m, variance(d), stddev(id), stddev_pop(d), var_samp(id), round(covar_pop(f, d)::numeric, 9) AS c, round(regr_slope(f, id)::numeric, 9) AS s, round(corr(id, d)::numeric, 9) AS r FROM things GROUP BY m',
		logic => 'SELECT m, bool_and(d > 1), bool_or(d > 3), every(d > 0), bit_and(d), bit_or(d), bit_xor(d) FROM things GROUP BY m',
		ordered_sets => 'SELECT m, percentile_cont(0.5) WITHIN GROUP (ORDER BY f), percentile_disc(0.5) WITHIN GROUP (ORDER BY n), mode() WITHIN GROUP (ORDER BY d) FROM things GROUP BY m',
		collections => q{SELECT m, string_agg(t, '-' ORDER BY id), array_agg(d ORDER BY id), jsonb_agg(b ORDER BY id), json_object_agg(id, d ORDER BY id) FROM things GROUP BY m},
		json_rows => 'SELECT id, j, b FROM things WHERE id % 2 = 0',
		own_type => 'SELECT id, mine FROM things',
		joined_types => 'SELECT x.id, y.id AS other FROM things x JOIN things y ON x.r && y.r AND x.m = y.m AND x.id < y.id',
		ranked_types => 'SELECT id, m, n FROM (SELECT id, m, n, row_number() OVER (PARTITION BY m ORDER BY n DESC, id) AS k FROM things) s WHERE k <= 2',
		null_rows => 'SELECT id FROM things WHERE (p).x IS NULL OR f IS NULL',
		texts => q{SELECT upper(t) || c AS k, length(v), to_char(n, 'FM990.00') AS f FROM things},
	],
	steps => [
		'rows' => q{INSERT INTO things (id, j, b, m, p, d, n, f) VALUES (21, '{"a":2}', '{"k": 1.0}', 'happy', (1, NULL), 2, 1.000, 0.5), (22, NULL, NULL, NULL, NULL, NULL, NULL, NULL)},
		'equal, but not the same' => q{INSERT INTO things (id, n, i, c) VALUES (23, 1.0, '24 hours', 'c1   '), (24, 1.00, '1 day', 'c1')},
		'updates' => q{UPDATE things SET m = 'sad', p = (9, 'z'), n = n + 0.10, z = z + interval '1 day' WHERE id % 4 = 0},
		'extremes go' => 'DELETE FROM things WHERE n = (SELECT max(n) FROM things) OR d = 1',
		'special numbers' => q{INSERT INTO things (id, m, n, f, d) VALUES (30, 'ok', 'NaN', 'Infinity', 3), (31, 'ok', 'Infinity', '-Infinity', 2), (32, 'sad', -0.0, '-0', 1)},
		'and they go' => 'DELETE FROM things WHERE id BETWEEN 30 AND 31',
		'long values' => q{INSERT INTO things (id, t, y, a, b) SELECT 40 + n, repeat('t', 3000 * n), decode(repeat('ab', 3000), 'hex'), array_agg(s), jsonb_build_object('k', repeat('x', 9000)) FROM generate_series(1, 2) n, generate_series(1, 3000) s GROUP BY n;
			DELETE FROM things WHERE id = 41},
		'long values stay' => 'UPDATE things SET d = 4 WHERE id = 42',
		'all goes' => 'DELETE FROM things',
	],
};

push @suites, {
	name => 'continuous aggregates',
	setup => <<'SQL',
CREATE TABLE conditions (timec timestamptz NOT NULL, location text NOT NULL, device int, temperature numeric, humidity float8, lowp numeric, highp numeric)
	PARTITION BY RANGE (timec);
CREATE TABLE conditions_11 PARTITION OF conditions FOR VALUES FROM ('2018-11-01') TO ('2018-12-01');
CREATE TABLE conditions_12 PARTITION OF conditions FOR VALUES FROM ('2018-12-01') TO ('2019-01-01');
CREATE TABLE conditions_rest PARTITION OF conditions DEFAULT;
CREATE INDEX ON conditions (timec);
CREATE TABLE devices (device_id int PRIMARY KEY, name text, location text);
INSERT INTO devices VALUES (1, 'thermo_1', 'NYC'), (2, 'thermo_2', 'SFO'), (3, 'thermo_3', 'POR'), (4, 'thermo_4', 'LA');
INSERT INTO conditions SELECT t, 'POR', 1 + extract(day FROM t)::int % 4, 55 + extract(day FROM t)::int % 3, 75, 40, 70 FROM generate_series('2018-12-01 00:00'::timestamptz, '2018-12-20', '13 hours') t;
INSERT INTO conditions SELECT t, 'NYC', 2, 35, 45 + extract(hour FROM t) / 4, 50, 40 FROM generate_series('2018-11-01 00:00'::timestamptz, '2018-12-10', '17 hours') t;
INSERT INTO conditions SELECT t, 'LA', 4, NULL, NULL, 71, 28 FROM generate_series('2018-11-28 00:00'::timestamptz, '2018-12-05', '1 day') t;
CREATE VIEW devices_view AS SELECT * FROM devices;
CREATE TABLE cities (name text, currency text);
INSERT INTO cities VALUES ('NYC', 'USD'), ('SFO', 'USD'), ('POR', 'EUR');

-- The value of the earliest and of the latest row, as an aggregate of the user's.
CREATE FUNCTION keep_first(state jsonb, value anyelement, at timestamptz) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	$$SELECT CASE WHEN state IS NULL OR (state->>'at')::timestamptz > at THEN jsonb_build_object('at', at, 'value', value) ELSE state END$$;
CREATE FUNCTION final_first(state jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT state->>'value'$$;
CREATE AGGREGATE first_value_of(anyelement, timestamptz) (sfunc = keep_first, stype = jsonb, finalfunc = final_first);
CREATE FUNCTION add_squares(state numeric, value numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT coalesce(state, 0) + coalesce(value * value, 0)';
CREATE FUNCTION add_states(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT coalesce(a, 0) + coalesce(b, 0)';
CREATE AGGREGATE sum_squares(numeric) (sfunc = add_squares, stype = numeric, combinefunc = add_states);
SQL
	views => [
		daily => q{SELECT date_bin('1 day', timec, '2000-01-01') AS bucket, location, min(location) AS minl, sum(temperature) AS sumt, sum(humidity) AS sumh FROM conditions GROUP BY 1, 2},
		weekly => q{SELECT date_trunc('week', timec) AS bucket, min(location), sum(temperature) + sum(lowp) AS both, stddev(temperature) FROM conditions GROUP BY 1},
		weekly_where => q{SELECT date_bin('7 days', timec, '2000-01-03') AS bucket, count(*), stddev(temperature), variance(lowp) FROM conditions WHERE location = 'NYC' GROUP BY 1},
		having_mixed => q{SELECT date_bin('7 days', timec, '2000-01-03') AS bucket, location AS loc, sum(temperature) AS sumt FROM conditions
			GROUP BY bucket, loc HAVING min(location) >= 'NYC' AND avg(temperature) > 20 AND avg(lowp) > 10},
		having_null => q{SELECT date_trunc('week', timec) AS bucket, min(location) FROM conditions GROUP BY 1 HAVING stddev(temperature) IS NOT NULL},
		first_last => q{SELECT location, date_trunc('day', timec) AS day, (array_agg(humidity ORDER BY timec, humidity))[1] AS first, (array_agg(humidity ORDER BY timec DESC, humidity))[1] AS last,
			max(temperature), min(temperature) FROM conditions GROUP BY 1, 2},
		first_of_user => q{SELECT location, first_value_of(temperature, timec), sum_squares(lowp) FROM conditions GROUP BY 1},
		filters => q{SELECT date_trunc('month', timec) AS month, count(*) FILTER (WHERE temperature > 40) AS hot, avg(temperature) FILTER (WHERE location <> 'LA'), count(DISTINCT device) FROM conditions GROUP BY 1},
		percentiles => q{SELECT location, percentile_cont(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY humidity), mode() WITHIN GROUP (ORDER BY temperature) FROM conditions GROUP BY 1},
		local_days => q{SELECT date_trunc('day', timec, 'America/New_York') AS day, count(*), max(timec AT TIME ZONE 'America/New_York') FROM conditions GROUP BY 1},
		expressions => q{SELECT CASE WHEN temperature > 50 THEN 'hot' WHEN temperature IS NULL THEN 'none' ELSE 'cold' END AS class, date_trunc('week', timec) AS week, round(avg(highp - lowp), 2) AS spread FROM conditions GROUP BY 1, 2},
		with_devices => q{SELECT date_bin('1 day', timec, '2000-01-01') AS bucket, avg(temperature), d.name FROM conditions c, devices d WHERE c.device = d.device_id GROUP BY d.name, bucket},
		devices_with => q{SELECT date_bin('1 day', timec, '2000-01-01') AS bucket, avg(temperature), name FROM devices JOIN conditions ON device = device_id GROUP BY name, bucket ORDER BY bucket, name},
		more_conditions => q{SELECT date_trunc('day', timec) AS bucket, avg(temperature), name FROM conditions c JOIN devices d ON c.device = d.device_id AND c.location = d.location AND c.temperature > 28 GROUP BY name, bucket},
		other_devices => q{SELECT date_trunc('week', timec) AS bucket, avg(temperature), name FROM conditions, devices WHERE device <> device_id GROUP BY name, bucket},
		left_devices => q{SELECT date_trunc('week', timec) AS bucket, name, count(*), count(name) AS named FROM conditions LEFT JOIN devices ON device = device_id GROUP BY 1, 2},
		lateral_devices => q{SELECT q.name, count(*) FROM conditions, LATERAL (SELECT * FROM devices WHERE device_id = conditions.device) q GROUP BY 1},
		devices_of_view => q{SELECT date_trunc('day', timec) AS bucket, avg(temperature), device_id, name FROM conditions, devices_view WHERE device = device_id GROUP BY name, bucket, device_id},
		subselect_from => q{SELECT date_trunc('day', timec) AS bucket, avg(temperature), name FROM conditions JOIN (SELECT * FROM devices WHERE location IN (SELECT name FROM cities WHERE currency = 'USD')) d ON device = device_id GROUP BY name, bucket},
		subselect_where => q{SELECT date_trunc('day', timec) AS bucket, avg(temperature), d.name FROM conditions c, devices d WHERE c.location IN (SELECT location FROM devices WHERE location IN (SELECT name FROM cities WHERE currency = 'EUR')) AND c.device = d.device_id GROUP BY d.name, bucket},
		two_facts => q{SELECT date_trunc('week', x.timec) AS bucket, count(*) FROM conditions x JOIN conditions y ON y.device = x.device AND y.timec = x.timec GROUP BY 1},
		in_days => q{SELECT bucket::date AS day, sum(sumt) AS sumt, count(*) AS locations FROM daily GROUP BY 1},
		in_months => q{SELECT date_trunc('month', day) AS month, sum(sumt), max(locations) FROM in_days GROUP BY 1},
		in_total => 'SELECT sum(sum) AS sum, count(*) FROM in_months',
		daily_and_devices => q{SELECT d.name, sum(c.sumt), max(c.bucket) FROM daily c JOIN devices d USING (location) GROUP BY 1},
		two_aggregates => q{SELECT a.bucket, a.location, a.sumt, b.first FROM daily a RIGHT JOIN first_last b ON a.location = b.location AND a.bucket = b.day},
		hottest => q{SELECT bucket, location, sumt FROM daily ORDER BY sumt DESC NULLS LAST, bucket, location LIMIT 5},
		all_time => q{SELECT 'day' AS unit, count(*) FROM daily UNION ALL SELECT 'week', count(*) FROM weekly},
		moving => q{SELECT location, bucket, sumt, avg(sumt) OVER (PARTITION BY location ORDER BY bucket ROWS 2 PRECEDING) FROM daily},
		last_reading => q{SELECT DISTINCT ON (device) device, timec, temperature FROM conditions ORDER BY device, timec DESC, temperature, location},
	],
	steps => [
		'data at the end' => q{INSERT INTO conditions VALUES ('2018-12-21 10:00', 'NYC', 1, 28, 30, 1, 2), ('2018-12-21 11:00', 'SFO', 2, 65, 45, 3, 4), ('2019-02-01', 'NYC', 3, 7, 30, 1, 2)},
		'late data' => q{INSERT INTO conditions VALUES ('2018-11-03 10:00', 'NYC', 1, 128, 31, 1, 2), ('2018-12-02 11:00', 'LA', 4, 95, 41, 3, 4), ('2010-01-01', 'LA', 4, 1, 1, 1, 1)},
		'corrections' => q{UPDATE conditions SET temperature = temperature + 10 WHERE timec BETWEEN '2018-11-10' AND '2018-11-14'; UPDATE conditions SET humidity = 1 WHERE location = 'LA'},
		'to another bucket' => q{UPDATE conditions SET timec = timec + interval '10 days' WHERE location = 'POR' AND device = 2},
		'deleted' => q{DELETE FROM conditions WHERE timec BETWEEN '2018-12-03' AND '2018-12-05' OR location = 'SFO'},
		'a dimension changes' => q{UPDATE devices SET name = 'renamed' WHERE device_id = 2; UPDATE devices SET location = 'POR' WHERE device_id = 4},
		'a dimension grows and shrinks' => q{INSERT INTO devices VALUES (5, 'new', 'NYC'); UPDATE conditions SET device = 5 WHERE location = 'NYC' AND timec > '2018-12-01'; DELETE FROM devices WHERE device_id = 3},
		'a dimension of the dimension' => q{UPDATE cities SET currency = 'EUR' WHERE name = 'NYC'; DELETE FROM cities WHERE name = 'POR'},
		'facts and dimensions' => q{INSERT INTO devices VALUES (3, 'again', 'SFO'); INSERT INTO conditions VALUES ('2018-11-20', 'SFO', 3, 70, 20, 4, 5); DELETE FROM conditions WHERE device = 1; DELETE FROM devices WHERE device_id = 1},
		'an old chunk goes' => 'TRUNCATE conditions_11',
		'an old chunk is detached' => 'ALTER TABLE conditions DETACH PARTITION conditions_11',
		'an even older one' => q{DELETE FROM conditions WHERE timec < '2015-01-01'},
		'a row again and again' => q{UPDATE conditions SET temperature = 1000 WHERE location = 'LA'; UPDATE conditions SET temperature = 1 WHERE location = 'LA'; UPDATE conditions SET temperature = NULL WHERE location = 'LA'},
		'all goes' => 'TRUNCATE conditions; DELETE FROM devices WHERE device_id > 2',
		'and comes back' => q{INSERT INTO conditions SELECT '2018-12-01'::timestamptz + n * interval '5 hours', 'NYC', 1 + n % 3, n, n / 8.0, 1, 2 FROM generate_series(1, 50) n},
	],
};

push @suites, {
	name => 'refused',
	setup => <<'SQL',
CREATE TABLE t (i int PRIMARY KEY, j int, parent int, at timestamptz);
CREATE TABLE inherited (i int);
CREATE TABLE child (extra text) INHERITS (inherited);
CREATE UNLOGGED TABLE unlogged (i int);
CREATE MATERIALIZED VIEW ordinary AS SELECT * FROM t;
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE away (i int) SERVER elsewhere;
CREATE FUNCTION roll(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 + (random() * 6)::int';
SQL
	views => [
		volatile => [ 'SELECT i, j FROM t WHERE i = random()::int', qr/function whose result can change/ ],
		volatile_of_user => [ 'SELECT roll(i) AS r FROM t', qr/function whose result can change/ ],
		volatile_in_exists => [ 'SELECT i FROM t WHERE EXISTS (SELECT FROM t x WHERE x.i = random()::int)', qr/function whose result can change/ ],
		of_now => [ q{SELECT i FROM t WHERE at > now() - interval '1 hour'}, qr/function whose result can change/ ],
		of_user => [ 'SELECT i, current_user FROM t', qr/./ ],
		locked => [ 'SELECT i, j FROM t FOR UPDATE', qr/row locks/ ],
		locked_inside => [ 'SELECT * FROM (SELECT i, j FROM t FOR SHARE) s', qr/row locks/ ],
		system_column => [ 'SELECT i, xmin FROM t', qr/system column/ ],
		system_column_where => [ q{SELECT i FROM t WHERE ctid = '(0,1)'}, qr/system column/ ],
		system_column_inside => [ 'SELECT xidsend(x) AS x FROM (SELECT xmin AS x FROM t) s', qr/system column/ ],
		sampled => [ 'SELECT i FROM t TABLESAMPLE SYSTEM (50)', qr/TABLESAMPLE/ ],
		recursive => [ 'WITH RECURSIVE r AS (SELECT i FROM t WHERE parent IS NULL UNION ALL SELECT t.i FROM t JOIN r ON t.parent = r.i) SELECT * FROM r', qr/RECURSIVE/ ],
		parent_of_children => [ 'SELECT * FROM inherited', qr/inherit|child/ ],
		foreign_table => [ 'SELECT * FROM away', qr/away|foreign/ ],
		unlogged_table => [ 'SELECT * FROM unlogged', qr/unlogged/ ],
		ordinary_matview => [ 'SELECT * FROM ordinary', qr/materialized view|ordinary/ ],
		catalog => [ 'SELECT relname FROM pg_class', qr/system|pg_class/ ],
		parameters => [ 'SELECT i FROM t WHERE j = $1', qr/parameter/ ],
		function_of_rows => [ 'SELECT t.i, g FROM t, generate_series(1, (SELECT max(j) FROM t)) g', qr/a subquery in this place/ ],
		function_of_exists => [ 'SELECT g FROM t, generate_series(1, CASE EXISTS (SELECT FROM t) WHEN true THEN 100 ELSE 10 END) g', qr/a subquery in this place/ ],
		values_of_rows => [ 'SELECT t.i, v.x FROM t, (VALUES ((SELECT max(j) FROM t))) v (x)', qr/a subquery in this place/ ],
		frame_of_rows => [ 'SELECT i, sum(j) OVER (PARTITION BY parent ORDER BY i ROWS (SELECT count(*) FROM t) PRECEDING) FROM t', qr/a subquery in this place/ ],
		fraction_of_rows => [ 'SELECT i, percentile_cont((SELECT 1.0 / max(j) FROM t)) WITHIN GROUP (ORDER BY j) FROM t GROUP BY i', qr/direct argument/ ],
		no_table => [ 'SELECT * FROM (VALUES (1)) AS v (x)', qr/a query without a table/ ],
		no_columns => [ 'SELECT FROM t', qr/a query without columns/ ],
		limit_inside => [ 'SELECT i, (SELECT j FROM t ORDER BY j LIMIT 1) AS least FROM t', qr/LIMIT and OFFSET in a subquery/ ],
		window_of_all => [ 'SELECT i, cume_dist() OVER (ORDER BY i) FROM t', qr/PARTITION BY/ ],
		limit_by_rows => [ 'SELECT i FROM t ORDER BY i LIMIT (SELECT count(*) / 2 FROM t)', qr/LIMIT/ ],
	],
	steps => [],
};

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\n" });
my $views = Braid::Views->new($cluster, 'db');
my $number = 0;
for my $suite (@suites)
{
	my $schema = 'suite_' . ++$number;
	$cluster->sql('db', "CREATE SCHEMA $schema; ALTER DATABASE postgres SET search_path = $schema, public");
	$cluster->sql('db', $suite->{setup});
	my @list = @{ $suite->{views} };
	while (my ($name, $query) = splice @list, 0, 2)
	{
		my $expected = ref $query ? $query->[1] : qr/^$/;
		my $reason = $views->create($name, ref $query ? $query->[0] : $query);
		like($reason, $expected, "$suite->{name}: $name is " . (ref $query ? 'refused' : 'kept'));
	}
	is(join("\n", $views->differences), '', "$suite->{name}: populated");
	my @steps = @{ $suite->{steps} };
	while (my ($when, $sql) = splice @steps, 0, 2)
	{
		$cluster->sql('db', "BEGIN; $sql; COMMIT");
		is(join("\n", $views->differences), '', "$suite->{name}: $when");
		next if @steps % 6;
		is(join("\n", $views->unverified), '', "$suite->{name}: $when, and braid.verify() finds nothing");
	}
	$views->drop;
}
is(join("\n", $views->failures), '', 'no view had to be populated anew');
done_testing();
