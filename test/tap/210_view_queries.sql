-- Queries that were once not kept right, found by random queries, as 210_view_queries.pl
-- prints them: a statement on every line.

-- case: the sum of a group with other scales left
-- exact
CREATE TABLE t (k int, n numeric);
INSERT INTO t VALUES (1, 1.50), (1, 2), (2, 1.0);
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS SELECT k, sum(n), avg(n), count(*) FROM t GROUP BY k;
-- step 1
DELETE FROM t WHERE n = 1.50;
-- step 2
INSERT INTO t VALUES (3, NULL), (2, 2.250);

-- case: ORDER BY a column that has the name of another one in the output
-- exact
CREATE TABLE t (a int, b text);
INSERT INTO t VALUES (1, 'y'), (1, 'x'), (2, 'x'), (3, NULL), (NULL, 'x');
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS SELECT DISTINCT ON (2) b AS a, a AS c FROM t ORDER BY 2, 1 DESC NULLS LAST;
CREATE MATERIALIZED VIEW kept_2 WITH (braid.continuous) AS SELECT DISTINCT ON (o4) o1, o2, o4 FROM (SELECT t.b AS o1, t.a AS o2, 0 AS o3, t.a % 2 AS o4 FROM t) s ORDER BY 3, 2 DESC, 1;
-- step 1
INSERT INTO t VALUES (3, 'z'), (1, 'z'), (0, NULL);
-- step 2
DELETE FROM t WHERE b = 'z';

-- case: DISTINCT over groups whose key is not selected
CREATE TABLE t (k int, a int, b text);
INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (2, 3, NULL), (NULL, 4, 'c');
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS SELECT DISTINCT string_agg(b, ',' ORDER BY b) FILTER (WHERE a > 10) AS o1 FROM t GROUP BY k;
CREATE MATERIALIZED VIEW kept_2 WITH (braid.continuous) AS SELECT DISTINCT count(*) AS o1 FROM t GROUP BY k ORDER BY 1;
-- step 1
INSERT INTO t VALUES (3, 11, 'b'), (4, 12, NULL), (1, 20, 'z');
-- step 2
DELETE FROM t WHERE a = 3;

-- case: WITH before a set operation, and in subqueries
-- exact
CREATE TABLE t (k int, a int, b text);
INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (2, 3, NULL), (NULL, 4, 'c');
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS WITH c AS (SELECT k, a FROM t) SELECT DISTINCT x AS o1 FROM c CROSS JOIN LATERAL generate_series(1, c.k) x UNION ALL SELECT a FROM c EXCEPT SELECT k FROM t;
CREATE MATERIALIZED VIEW kept_2 WITH (braid.continuous) AS WITH c AS (SELECT k, a FROM t), d AS (SELECT a AS o1, k AS o2 FROM c) SELECT DISTINCT c.k FROM c WHERE c.a IN (SELECT e.a FROM t e WHERE e.k = c.k) AND EXISTS (SELECT FROM d JOIN t f ON d.o1 = f.k WHERE f.k = c.a);
-- step 1
INSERT INTO t VALUES (3, 3, 'b'), (4, 2, NULL), (1, 20, 'z');
-- step 2
DELETE FROM t WHERE a = 3;

-- case: an aggregate with an initial state in subqueries that find no rows
CREATE AGGREGATE plus_of(int) (SFUNC = int4pl, STYPE = int, INITCOND = 0, COMBINEFUNC = int4pl, PARALLEL = SAFE);
CREATE TABLE t (k int, a int);
CREATE TABLE u (k int, b int);
INSERT INTO t VALUES (1, 0), (2, 5), (3, 7);
INSERT INTO u VALUES (2, 5), (2, NULL), (3, 1);
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS SELECT k FROM t WHERE a = (SELECT plus_of(u.b) FROM u WHERE u.k = t.k);
CREATE MATERIALIZED VIEW kept_2 WITH (braid.continuous) AS SELECT t.k, l.p FROM t CROSS JOIN LATERAL (SELECT plus_of(u.b) AS p FROM u WHERE u.k = t.k) l;
CREATE MATERIALIZED VIEW kept_3 WITH (braid.continuous) AS SELECT plus_of(b), count(b) FROM u WHERE k > 9;
-- step 1
DELETE FROM u WHERE k = 2;
-- step 2
INSERT INTO u VALUES (1, 0), (10, 2);
-- step 3
DELETE FROM u;

-- case: a kept table of rows is joined with a single value, and read by another view
-- exact
CREATE TABLE t1 (a int, c int);
CREATE TABLE t2 (d int);
CREATE TABLE t3 (c int, id int, e int);
INSERT INTO t1 VALUES (1, 1), (2, 2);
INSERT INTO t3 VALUES (1, 1, 1), (2, 2, 2), (2, 2, 2);
CREATE MATERIALIZED VIEW kept_1 WITH (braid.continuous) AS SELECT c, (SELECT max(d) FROM t2) AS o2, id AS o3, id AS o4 FROM t3;
CREATE MATERIALIZED VIEW kept_2 WITH (braid.continuous) AS SELECT t2.a AS o1, t1.o2 FROM kept_1 t1, t1 t2 WHERE t1.o4 = t2.c GROUP BY t2.a, t1.o2;
-- step 1
DELETE FROM t3 WHERE e = 1;
-- step 2
INSERT INTO t2 VALUES (7);
-- step 3
UPDATE t3 SET e = 5;
UPDATE t2 SET d = 9;
