-- Every kind of aggregate, followed through inserts, updates and deletes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
SET timezone = 'UTC';
CREATE TYPE pair AS (a text, b int);
CREATE TYPE mood AS ENUM ('bad', 'fair', 'good');
CREATE TABLE m (id int PRIMARY KEY, k text, s int2, i int, b int8, n numeric, d numeric(8,2), f float8,
	o bool, bits bit(4), t text, at timestamptz, iv interval, price money, span int4range, how mood, j jsonb);
CREATE FUNCTION sample(first int, last int) RETURNS SETOF m LANGUAGE sql AS $$
	SELECT g, (ARRAY['a', 'b', 'c', NULL])[g % 4 + 1], (g % 7 - 3)::int2, nullif(g * 37 % 101, 50), g::int8 * 4611686018427387,
		nullif((g * 7919 % 1000)::numeric, 0) / (10 ^ (g % 4))::numeric(10,0), round((g * 31 % 97) / 8.0, 2), sqrt(g), g % 3 = 0,
		(g % 16)::bit(4), 't' || g * 13 % 29, '2024-02-28 12:00'::timestamptz + g * interval '7 hours',
		g * interval '1 day 3 hours', g::int::money, int4range(-g, 100 - g), (ARRAY['bad', 'fair', 'good', NULL])[g % 4 + 1]::mood,
		jsonb_build_object('g', g % 5)
	FROM generate_series(first, last) g
$$;

-- Aggregates of users: by a combine function, strict or not; with a final
-- function; with a sort operator; with any number of arguments.
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, combinefunc = int4pl, initcond = '0');
CREATE FUNCTION longer(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN length($1) > length($2) OR length($1) = length($2) AND $1 >= $2 OR $2 IS NULL THEN $1 ELSE $2 END';
CREATE AGGREGATE longest(text) (sfunc = longer, stype = text, combinefunc = longer);
CREATE FUNCTION half(int8) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2.0';
CREATE AGGREGATE half_sum(int8) (sfunc = int8pl, stype = int8, finalfunc = half, combinefunc = int8pl, initcond = '0');
CREATE AGGREGATE last(int) (sfunc = int4larger, stype = int, sortop = >);
CREATE FUNCTION add_lengths(int, VARIADIC text[]) RETURNS int LANGUAGE sql IMMUTABLE AS
	'SELECT $1 + coalesce(sum(length(x)), 0)::int FROM unnest($2) x';
CREATE AGGREGATE lengths(VARIADIC text[]) (sfunc = add_lengths, stype = int, initcond = '0');
CREATE FUNCTION careless(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2';
CREATE AGGREGATE careless_sum(int) (sfunc = careless, stype = int, initcond = '0');

-- A view per line, by k; and of all rows, unless that would be computed from all
-- of them each time.
CREATE TABLE lines (name text PRIMARY KEY, query text NOT NULL);
CREATE FUNCTION make_line(name text, aggregates text, of_all bool DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO lines VALUES (name, format('SELECT k, %s FROM m GROUP BY k', aggregates));
	INSERT INTO lines SELECT name || '_all', format('SELECT %s FROM m', aggregates) WHERE of_all;
	PERFORM braid.create_view(l.name, l.query) FROM lines l WHERE l.name IN ($1, $1 || '_all');
END $$;
SELECT make_line('counts', 'count(*) AS n, count(i) AS i, count(*) FILTER (WHERE o) AS f, count(i) FILTER (WHERE s > 0) AS g, count(m.j) AS h');
SELECT make_line('sums', 'sum(s) AS s, sum(i) AS i, sum(b) AS b, avg(s) AS s2, avg(i) AS i2, avg(b) AS b2, sum(i) FILTER (WHERE o) AS f, avg(i) FILTER (WHERE s > 2) AS g');
SELECT make_line('numerics', 'sum(n) AS n, avg(n) AS n2, sum(d) AS d, avg(d) AS d2, sum(n) FILTER (WHERE o) AS f, avg(n) FILTER (WHERE s > 2) AS g');
SELECT make_line('variances', 'var_pop(s) AS s, var_samp(i) AS i, variance(b) AS b, stddev_pop(s) AS s2, stddev_samp(i) AS i2, stddev(b) AS b2, stddev(i) FILTER (WHERE s > 2) AS f');
SELECT make_line('numeric_variances', 'var_pop(n) AS n, var_samp(n) AS n2, variance(d) AS d, stddev_pop(n) AS n3, stddev_samp(n) AS n4, stddev(d) AS d2, stddev_pop(n) FILTER (WHERE o) AS f');
SELECT make_line('extremes', 'min(i) AS i, max(i) AS i2, min(n) AS n, max(d) AS d, max(f) AS f, min(t) AS t, max(t COLLATE "C") AS t2, min(at) AS at, max(iv) AS iv, max(price) AS price, min(how) AS how, max(ARRAY[s, i]) AS a, max(i) FILTER (WHERE o) AS g, min(DISTINCT s) AS s');
SELECT make_line('booleans', 'bool_and(o) AS a, bool_or(o) AS o, every(o) AS e, bool_and(i > 3) FILTER (WHERE o) AS f, bool_or(DISTINCT i > 90) AS g');
SELECT make_line('bits', 'bit_and(i) AS a, bit_or(i) AS o, bit_xor(i) AS x, bit_xor(s) AS s, bit_xor(b) AS b, bit_and(bits) AS a2, bit_or(bits) AS o2, bit_xor(bits) AS x2, bit_xor(i) FILTER (WHERE o) AS f');
SELECT make_line('floats', 'sum(f) AS f, avg(f) AS f2, stddev(f) AS f3, var_pop(f) AS f4, stddev_pop(f) AS f5, var_samp(f) AS f6, avg(i::real) AS r, variance(i::real / 8) AS r2, avg(f) FILTER (WHERE o) AS g, sum(DISTINCT f) AS h');
SELECT make_line('single_floats', 'sum(i::real) AS r, sum(f::real) FILTER (WHERE o) AS r2', false);
SELECT make_line('regressions', 'covar_pop(f, i), covar_samp(f, i), corr(f, i), regr_avgx(f, i), regr_avgy(f, i), regr_count(f, i), regr_intercept(f, i), regr_r2(f, i), regr_slope(f, i), regr_sxx(f, i), regr_sxy(f, i), regr_syy(f, i), regr_count(i, f) FILTER (WHERE o) AS g');
SELECT make_line('lists', $$string_agg(t, '''") FROM x' ORDER BY t, id) AS t, array_agg(i ORDER BY i DESC NULLS LAST, id) AS i, json_agg(t ORDER BY id) AS j, jsonb_agg(at ORDER BY id) AS j2, json_object_agg(id, i ORDER BY id) AS o, jsonb_object_agg(id, n ORDER BY id) AS o2, string_agg(DISTINCT t, ', ' ORDER BY t) AS u, array_agg(how ORDER BY id) FILTER (WHERE o) AS f$$, false);
SELECT make_line('ordered', 'percentile_cont(0.5) WITHIN GROUP (ORDER BY f) AS c, percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY i DESC) AS d, mode() WITHIN GROUP (ORDER BY s) AS m, percentile_cont(0.25) WITHIN GROUP (ORDER BY iv) FILTER (WHERE o) AS f, rank(20) WITHIN GROUP (ORDER BY i) AS r, cume_dist(1, 2) WITHIN GROUP (ORDER BY s, i) AS u', false);
SELECT make_line('distincts', 'count(DISTINCT s) AS s, sum(DISTINCT s) AS s2, avg(DISTINCT i) AS i, count(DISTINCT how) AS h, count(DISTINCT n) FILTER (WHERE o) AS f, count(DISTINCT (s, o)) AS r', false);
SELECT make_line('distincts_algebraic', 'count(DISTINCT s) AS s, count(DISTINCT s) FILTER (WHERE o) AS f, sum(DISTINCT i) AS i, avg(DISTINCT b) AS b, count(DISTINCT how) AS h, count(DISTINCT n) FILTER (WHERE o) AS n, stddev(DISTINCT i) AS d, count(DISTINCT t) AS t, count(*) AS c, count(i) AS c2, sum(s) AS s2, bool_or(o) AS o, max(DISTINCT f) AS f2, avg(n) FILTER (WHERE o) AS a, total(i) AS u');
SELECT make_line('others', 'sum(iv) AS iv, avg(iv) AS iv2, sum(price) AS price, range_intersect_agg(span) AS span, range_agg(span) FILTER (WHERE i < 10) AS spans, xmlagg(xmlelement(name x, t) ORDER BY id)::text AS x', false);
SELECT make_line('of_users', 'total(i) AS t, total(i) FILTER (WHERE o) AS f, longest(t) AS l, last(i) AS i');
SELECT make_line('of_users_opaque', 'half_sum(b % 1000) AS h, lengths(t, k, i::text) AS v, lengths(VARIADIC ARRAY[t, k]) AS a', false);
INSERT INTO lines VALUES
	('having', 'SELECT k, max(i) - min(i) AS width FROM m GROUP BY k HAVING count(*) FILTER (WHERE o) > 2 AND sum(n) > 10'),
	('sets', 'SELECT k, how, grouping(k, how) AS g, count(*), sum(n), max(i) FROM m GROUP BY GROUPING SETS ((k, how), (k), (how), ())'),
	('sets_floats', 'SELECT k, how, count(f), sum(f), avg(f), stddev(f), regr_slope(f, i) FROM m GROUP BY CUBE (k, how)'),
	('sets_lists', 'SELECT k, how, max(i), array_agg(id ORDER BY id) AS ids FROM m GROUP BY GROUPING SETS ((k, how), (k), (how))'),
	('sets_distinct', 'SELECT k, how, grouping(k, how) AS g, count(DISTINCT i), sum(DISTINCT s), count(*) AS n FROM m GROUP BY CUBE (k, how) HAVING count(DISTINCT id) > 1'),
	('rolled', 'SELECT k, o, count(*), sum(n), max(i) FROM m GROUP BY ROLLUP (k, o)'),
	('row_keys', 'SELECT ROW(CASE WHEN i < 60 THEN k END, CASE WHEN o THEN 1 END)::pair AS key, count(*), max(i), array_agg(id ORDER BY id) AS ids FROM m GROUP BY ROW(CASE WHEN i < 60 THEN k END, CASE WHEN o THEN 1 END)::pair');
SELECT braid.create_view(name, query) FROM lines WHERE name IN ('having', 'sets', 'sets_floats', 'sets_lists', 'sets_distinct', 'rolled', 'row_keys');
RESET client_min_messages;

-- Rows, as they are printed, that are in the view or the query only. The last
-- digits of floats depend on where rows lie; braid.verify() looks at the others.
CREATE FUNCTION differing(name text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('WITH v AS (SELECT shown::text AS v FROM %I shown), q AS (SELECT shown::text AS q FROM (%s) shown)
		(SELECT $1 || '' has '' || v FROM (TABLE v EXCEPT ALL TABLE q) x) UNION ALL (SELECT $1 || '' lacks '' || q FROM (TABLE q EXCEPT ALL TABLE v) x)', name, query)
	USING name;
END $$;
CREATE VIEW wrong AS
	SELECT w.name, w.wrong FROM lines l, LATERAL (
		SELECT l.name, 'waited in vain' AS wrong WHERE NOT braid.wait(l.name::regclass)
		UNION ALL SELECT l.name, 'verify: ' || v::text FROM braid.verify(l.name::regclass) v
		UNION ALL SELECT l.name, differing(l.name, l.query) WHERE l.name !~ 'floats|regressions|^fl_') w;

-- How they are kept.
SELECT l.name, string_agg(DISTINCT e.strategy, ', ') AS strategy FROM lines l, braid.explain(l.name::regclass) e
WHERE e.state IS NOT NULL GROUP BY l.name ORDER BY l.name COLLATE "C";

-- Empty.
TABLE wrong;
-- Inserts, into groups that are new and that are there.
INSERT INTO m SELECT * FROM sample(1, 12);
TABLE wrong;
INSERT INTO m SELECT * FROM sample(13, 40);
TABLE wrong;
-- Updates within groups, and into others; to null and from it.
UPDATE m SET i = i + 1, n = n * 1.00, o = NOT o, t = t || id WHERE id % 3 = 0;
TABLE wrong;
UPDATE m SET k = 'b' WHERE id % 5 = 0;
TABLE wrong;
UPDATE m SET i = NULL, n = NULL, o = NULL, how = NULL, f = NULL WHERE id % 6 = 0;
TABLE wrong;
UPDATE m SET i = id, n = 1.5, o = true WHERE i IS NULL AND id % 4 = 0;
TABLE wrong;
-- Extremes and the highest scale go.
DELETE FROM m WHERE i = (SELECT max(i) FROM m) OR n = (SELECT n FROM m WHERE n IS NOT NULL ORDER BY scale(n) DESC, id LIMIT 1) OR t = (SELECT max(t) FROM m);
TABLE wrong;
-- Rows that come and go in one transaction, and one after the other.
BEGIN;
INSERT INTO m SELECT * FROM sample(100, 110);
UPDATE m SET i = 1000, n = 0.000001 WHERE id = 100;
UPDATE m SET i = 5, k = 'fleeting' WHERE id = 101;
DELETE FROM m WHERE id >= 100;
COMMIT;
INSERT INTO m (id, k, i, n) VALUES (200, 'new', 7, 1.2345), (201, NULL, -1000, 0.00001);
DELETE FROM m WHERE id >= 200;
TABLE wrong;
-- NaN and infinities come and go.
INSERT INTO m (id, k, n, d, f) VALUES (300, 'a', 'NaN', 'NaN', 'NaN'), (301, 'b', 'Infinity', 1, '-Infinity'), (302, NULL, '-Infinity', 2, 'Infinity');
TABLE wrong;
INSERT INTO m (id, k, n) VALUES (303, 'b', '-Infinity'), (304, 'c', 'NaN');
TABLE wrong;
DELETE FROM m WHERE id IN (300, 301, 304);
TABLE wrong;
DELETE FROM m WHERE id >= 300;
TABLE wrong;

-- As the views show it now, and the queries.
SELECT * FROM sums ORDER BY k;
SELECT k, sum(s) AS s, sum(i) AS i, sum(b) AS b, avg(s) AS s2, avg(i) AS i2, avg(b) AS b2, sum(i) FILTER (WHERE o) AS f, avg(i) FILTER (WHERE s > 2) AS g FROM m GROUP BY k ORDER BY k;
SELECT * FROM numerics ORDER BY k;
SELECT k, sum(n) AS n, avg(n) AS n2, sum(d) AS d, avg(d) AS d2, sum(n) FILTER (WHERE o) AS f, avg(n) FILTER (WHERE s > 2) AS g FROM m GROUP BY k ORDER BY k;
SELECT k, i, i2, b, b2 FROM variances ORDER BY k;
SELECT k, var_samp(i) AS i, stddev_samp(i) AS i2, variance(b) AS b, stddev(b) AS b2 FROM m GROUP BY k ORDER BY k;
SELECT k, i, i2, n, t, how FROM extremes ORDER BY k;
SELECT k, min(i) AS i, max(i) AS i2, min(n) AS n, min(t) AS t, min(how) AS how FROM m GROUP BY k ORDER BY k;
SELECT k, a, o, f, g FROM booleans ORDER BY k;
SELECT k, bool_and(o) AS a, bool_or(o) AS o, bool_and(i > 3) FILTER (WHERE o) AS f, bool_or(i > 90) AS g FROM m GROUP BY k ORDER BY k;
SELECT t, f, u FROM lists WHERE k = 'c';
SELECT string_agg(t, '''") FROM x' ORDER BY t, id) AS t, array_agg(how ORDER BY id) FILTER (WHERE o) AS f, string_agg(DISTINCT t, ', ' ORDER BY t) AS u FROM m WHERE k = 'c';
SELECT c, d, m, f, r, u FROM ordered WHERE k = 'c';
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) AS c, percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY i DESC) AS d, mode() WITHIN GROUP (ORDER BY s) AS m, percentile_cont(0.25) WITHIN GROUP (ORDER BY iv) FILTER (WHERE o) AS f, rank(20) WITHIN GROUP (ORDER BY i) AS r, cume_dist(1, 2) WITHIN GROUP (ORDER BY s, i) AS u FROM m WHERE k = 'c';
SELECT k, how, g, count, sum, max FROM sets WHERE g > 0 ORDER BY g, k, how;
SELECT k, how, grouping(k, how) AS g, count(*), sum(n), max(i) FROM m GROUP BY GROUPING SETS ((k), (how), ()) ORDER BY g, k, how;

-- Types are those of the query.
CREATE VIEW plain AS SELECT k, avg(i), sum(b), sum(d) AS d, min(t COLLATE "C") AS t, stddev(n), bool_and(o), max(how), array_agg(bits) AS bits FROM m GROUP BY k;
SELECT braid.create_view('kept', pg_get_viewdef('plain'));
SELECT attname, format_type(atttypid, atttypmod), attcollation::regcollation FROM pg_attribute WHERE attrelid = 'plain'::regclass
EXCEPT SELECT attname, format_type(atttypid, atttypmod), attcollation::regcollation FROM pg_attribute WHERE attrelid = 'kept'::regclass;

-- A group goes, then all rows; what is left is one row where there is no GROUP BY.
DELETE FROM m WHERE k = 'a' OR k IS NULL;
TABLE wrong;
DELETE FROM m;
TABLE wrong;
SELECT * FROM counts_all;
SELECT i, t FROM extremes_all;
SELECT n, n2 FROM numerics_all;
SELECT t, l FROM of_users_all;
SELECT * FROM sets;
SELECT * FROM floats_all;
INSERT INTO m SELECT * FROM sample(1, 30);
TABLE wrong;
TRUNCATE m;
TABLE wrong;

-- Variances and deviations have the very digits of PostgreSQL's, whatever the
-- numbers: tiny, huge, of different scales, all the same, one only.
SELECT setseed(0.42) \g /dev/null
CREATE TABLE r (g int, n numeric, i int8);
INSERT INTO r SELECT g, CASE WHEN g % 50 = 0 THEN 3.50 ELSE round((random() - 0.5)::numeric * 10::numeric ^ (g % 31 - 8), greatest(0, g % 12 - (random() < 0.3)::int)) END,
	((random() - 0.5) * 10 ^ (g % 19))::int8 FROM generate_series(1, 5000) g, LATERAL generate_series(1, g % 6 + 1);
INSERT INTO lines VALUES ('digits', 'SELECT g, var_pop(n) AS vp, var_samp(n) AS vs, stddev_pop(n) AS sp, stddev_samp(n) AS ss, var_pop(i) AS ip, stddev_pop(i) AS isp, stddev_samp(i) AS iss, avg(n) AS a, avg(i) AS ia FROM r GROUP BY g');
SELECT braid.create_view(name, query) FROM lines WHERE name = 'digits';
SELECT * FROM wrong WHERE name = 'digits';
SELECT count(*) FILTER (WHERE sp > 1e6) > 1000 AS large, count(*) FILTER (WHERE sp < 1) > 1000 AS small, count(*) FILTER (WHERE sp = 0) > 500 AS none FROM digits;
INSERT INTO r SELECT g, n / 7, i / 7 FROM r WHERE g % 3 = 0;
DELETE FROM r WHERE random() < 0.2;
SELECT * FROM wrong WHERE name = 'digits';

-- Floats are added exactly, so that they can be subtracted: tiny, huge, equal,
-- cancelling each other out, with an offset. braid.verify() compares digit by digit.
CREATE TABLE fl (g int, i int, x float8, y float8, r real);
INSERT INTO fl SELECT g, i, CASE g % 10 WHEN 0 THEN 0.1 WHEN 1 THEN 1e10 + random() WHEN 2 THEN random() * 10.0::float8 ^ (random() * 200 - 100)::int
		WHEN 3 THEN (i % 2 - 0.5) * g / 3.0 WHEN 4 THEN i WHEN 5 THEN round((random() * 100)::numeric, 2) WHEN 6 THEN 1e-200 * random()
		WHEN 7 THEN 1e150 * random() WHEN 8 THEN 5e-324 * i ELSE random() - 0.5 END,
	CASE g % 7 WHEN 0 THEN 7.7 WHEN 1 THEN nullif(i, 3) WHEN 2 THEN 1e-5 * random() ELSE random() * g END, random()
	FROM generate_series(1, 700) g, LATERAL generate_series(1, g % 17 + 1) i;
INSERT INTO lines VALUES
	('fl_one', 'SELECT g, sum(x) AS s, avg(x) AS a, var_pop(x) AS vp, var_samp(x) AS vs, stddev_pop(x) AS sp, stddev(x) AS ss, avg(r) AS ar, variance(r) AS vr, sum(DISTINCT y) AS sd FROM fl GROUP BY g'),
	('fl_two', 'SELECT g, regr_count(y, x) AS n, regr_avgx(y, x) AS ax, regr_avgy(y, x) AS ay, regr_sxx(y, x) AS sxx, regr_syy(y, x) AS syy, regr_sxy(y, x) AS sxy, covar_pop(y, x) AS cp, covar_samp(y, x) AS cs, corr(y, x) AS c, regr_r2(y, x) AS r2, regr_slope(y, x) AS slope, regr_intercept(y, x) AS intercept FROM fl GROUP BY g');
SELECT braid.create_view(name, query) FROM lines WHERE name ~ '^fl_';
SELECT w.name, w.wrong FROM wrong w WHERE name ~ '^fl_';
-- PostgreSQL's own are near where what they are made of is neither equal nor far apart.
CREATE FUNCTION far(name text, condition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT $1 || '': '' || v::text || '' is not '' || q::text FROM %I v JOIN (%s) q USING (g),
		jsonb_each(to_jsonb(v)) f(key, value), jsonb_each(to_jsonb(q)) e(key, value) WHERE e.key = f.key AND %s AND e.value <> f.value AND
		(jsonb_typeof(e.value) <> ''number'' OR jsonb_typeof(f.value) <> ''number'' OR abs(e.value::numeric - f.value::numeric) > 1e-9 * abs(e.value::numeric))',
		name, (SELECT l.query FROM lines l WHERE l.name = $1), condition) USING name;
END $$;
SELECT far('fl_one', 'g % 10 IN (2, 4, 5, 6, 7)'), far('fl_two', 'g % 10 IN (4, 5) AND g % 7 > 1 AND g % 17 > 2');
INSERT INTO fl SELECT g, -i, y, x, -r FROM fl WHERE g % 3 = 0 AND i % 2 = 0;
UPDATE fl SET x = x * 1.1, y = nullif(y, 7.7) WHERE g % 5 = 1;
SELECT w.name, w.wrong FROM wrong w WHERE name ~ '^fl_';
DELETE FROM fl WHERE random() < 0.5;
SELECT w.name, w.wrong FROM wrong w WHERE name ~ '^fl_';
SELECT count(*) FILTER (WHERE vp = 0) > 20 AS equal, count(*) FILTER (WHERE vp > 1e200) > 20 AS huge, count(*) FILTER (WHERE a < 1e-300) > 20 AS tiny FROM fl_one;
-- Infinities and NaN come and go; what no float is large enough for is an error when it is read.
INSERT INTO fl VALUES (-1, 1, 1, 1, 1), (-1, 2, 'Infinity', 2, 2), (-2, 1, '-Infinity', 1, 1), (-2, 2, '-Infinity', 2, 'Infinity'), (-3, 1, 'Infinity', 1, 1), (-3, 2, '-Infinity', 'Infinity', 2), (-4, 1, 'NaN', 1, 'NaN'), (-4, 2, 4, 2, 2);
SELECT w.name, w.wrong FROM wrong w WHERE name ~ '^fl_';
SELECT g, s, a, vp, ss, ar, sd FROM fl_one WHERE g < 0 ORDER BY g;
SELECT g, sum(x) AS s, avg(x) AS a, var_pop(x) AS vp, stddev(x) AS ss, avg(r) AS ar, sum(DISTINCT y) AS sd FROM fl WHERE g < 0 GROUP BY g ORDER BY g;
SELECT * FROM fl_two WHERE g < 0 ORDER BY g;
SELECT g, regr_count(y, x) AS n, regr_avgx(y, x) AS ax, regr_avgy(y, x) AS ay, regr_sxx(y, x) AS sxx, regr_syy(y, x) AS syy, regr_sxy(y, x) AS sxy, covar_pop(y, x) AS cp, covar_samp(y, x) AS cs, corr(y, x) AS c, regr_r2(y, x) AS r2, regr_slope(y, x) AS slope, regr_intercept(y, x) AS intercept FROM fl WHERE g < 0 GROUP BY g ORDER BY g;
DELETE FROM fl WHERE g < 0 AND i = 2;
INSERT INTO fl VALUES (-5, 1, 1.5e308, 1), (-5, 2, 1.5e308, 1);
SELECT braid.wait('fl_one');
SELECT g, s, a, vp, ar, sd FROM fl_one WHERE g BETWEEN -4 AND -1 ORDER BY g;
SELECT s FROM fl_one WHERE g = -5;
INSERT INTO fl VALUES (-5, 3, -1.6e308, 1);
SELECT braid.wait('fl_one');
SELECT s FROM fl_one WHERE g = -5;
SELECT vp FROM fl_one WHERE g = -5;
-- A view that adds up what cancels out forever has no drift.
CREATE TABLE ledger (amount float8);
INSERT INTO ledger VALUES (1e15), (0.1);
SELECT braid.create_view('balance', 'SELECT sum(amount) FROM ledger');
SELECT braid.wait('balance');
DELETE FROM ledger WHERE amount = 1e15;
SELECT braid.wait('balance');
TABLE balance;

-- What cannot be kept.
\set VERBOSITY terse
SELECT braid.create_view('bad', 'SELECT careless_sum(i) FROM m');
SELECT braid.create_view('bad', 'SELECT k, array_agg((i, s)) FROM m GROUP BY k');

-- What would be computed from all rows each time.
\set VERBOSITY default
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*), array_agg(i) FROM m;
\set VERBOSITY terse
SELECT braid.create_view('bad', 'SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM m');
SELECT braid.create_view('bad', 'SELECT k, string_agg(DISTINCT t, $$,$$) FROM m GROUP BY ROLLUP (k)');
SELECT braid.create_view('bad', 'SELECT id, i FROM m WHERE i > (SELECT mode() WITHIN GROUP (ORDER BY i) FROM m)');
SELECT braid.create_view('bad', 'SELECT sum(i::real) FROM m');

SET client_min_messages = warning;
DROP TABLE m, r, fl, ledger CASCADE;
DROP TABLE lines CASCADE;
DROP FUNCTION make_line, differing, far;
DROP AGGREGATE total(int), longest(text), half_sum(int8), last(int), lengths(VARIADIC text[]), careless_sum(int);
DROP FUNCTION longer, half, add_lengths, careless;
DROP TYPE mood, pair;
