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
