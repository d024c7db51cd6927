-- Statements on continuous views, and what cannot be one.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE t (k int PRIMARY KEY, x int, s text, j json);
INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b');
CREATE TABLE u (k int);
CREATE VIEW plain_view AS SELECT 1 AS one;
CREATE UNLOGGED TABLE quick (k int);
CREATE TABLE parent (k int);
CREATE TABLE child () INHERITS (parent);
CREATE ROLE regress_view_alice;
CREATE ROLE regress_view_bob;
CREATE SCHEMA elsewhere;
GRANT ALL ON SCHEMA public, elsewhere TO regress_view_alice, regress_view_bob;
RESET client_min_messages;

-- The same by statement and by function.
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT x, count(*) FROM t GROUP BY x;
CREATE MATERIALIZED VIEW IF NOT EXISTS v WITH (braid.continuous) AS SELECT x, count(*) FROM t GROUP BY x;
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT x, count(*) FROM t GROUP BY x;
SELECT braid.create_view('elsewhere.w', 'SELECT sum(x) FROM t');

-- Renaming, moving, commenting; the query follows its table's names.
SELECT braid.wait('v');
ALTER MATERIALIZED VIEW v RENAME TO "V 2";
ALTER MATERIALIZED VIEW "V 2" RENAME COLUMN count TO n;
ALTER MATERIALIZED VIEW "V 2" SET SCHEMA elsewhere;
COMMENT ON MATERIALIZED VIEW elsewhere."V 2" IS 'counts';
ALTER TABLE t RENAME COLUMN x TO "X y";
ALTER TABLE t RENAME TO "T t";
INSERT INTO "T t" VALUES (3, 20);
SELECT braid.wait('elsewhere."V 2"');
SELECT * FROM elsewhere."V 2" ORDER BY 1;
SELECT obj_description('elsewhere."V 2"'::regclass);
ALTER TABLE "T t" RENAME TO t;
ALTER TABLE t RENAME COLUMN "X y" TO x;

-- A column or table that is used cannot go without the view; a part of the view cannot go alone.
ALTER TABLE t DROP COLUMN x;
DROP TABLE t;
SELECT state FROM braid.explain('elsewhere."V 2"') WHERE state IS NOT NULL \gset
\set VERBOSITY sqlstate
DROP TABLE :state;
\set VERBOSITY default
ALTER TABLE t DROP COLUMN s;
DROP MATERIALIZED VIEW elsewhere."V 2", elsewhere.w;
SELECT count(*) FROM braid.views;

-- Dropped with the transaction that made it.
SET client_min_messages = warning;
BEGIN;
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT count(*) FROM t;
ROLLBACK;
RESET client_min_messages;
SELECT to_regclass('v');

-- What cannot be kept up to date says what it is and where.
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM quick;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM parent;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM pg_class;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM generate_series(1, 3);
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT x FROM t TABLESAMPLE SYSTEM (10);
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM t, (SELECT k FROM u LIMIT 1) one;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS
	WITH RECURSIVE c AS (SELECT k FROM t UNION SELECT u.k FROM u JOIN c ON u.k > c.k) SELECT count(*) FROM c;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT x, rank() OVER (ORDER BY x) FROM t GROUP BY x;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT x FROM t FOR UPDATE;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM t WHERE x > random();
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM t WHERE now() > '2024-01-01';
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT max(ctid) FROM t;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*), count(*) FROM t;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM t WITH NO DATA;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous, fillfactor = 10) AS SELECT count(*) FROM t;
CREATE MATERIALIZED VIEW bad WITH (braid.sometimes) AS SELECT count(*) FROM t;
SELECT braid.create_view('bad', 'SELECT sum(x), clock_timestamp() FROM t');
SELECT braid.create_view('bad', 'DELETE FROM t');
SELECT braid.create_view('bad', 'SELECT count(*) FROM t', '{"fast": true}');
SELECT braid.wait('t'), braid.wait('plain_view');
SELECT braid.drop_view('plain_view');

-- Privileges: SELECT on the table, and its ownership, for the replica identity.
CREATE TABLE p (k int, x int);
INSERT INTO p VALUES (1, 10), (2, 20), (3, 20);
SET ROLE regress_view_alice;
CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT sum(x) FROM p;
RESET ROLE;
GRANT SELECT (x) ON p TO regress_view_alice;
SET ROLE regress_view_alice;
CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT sum(x) FROM p;
RESET ROLE;
ALTER TABLE p REPLICA IDENTITY FULL;
SET ROLE regress_view_alice;
CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT sum(x) FROM p;
SELECT braid.wait('hers');
SELECT * FROM hers;
RESET ROLE;
SET ROLE regress_view_bob;
SELECT braid.wait('hers');
SELECT * FROM braid.verify('hers');
REFRESH MATERIALIZED VIEW hers;
DROP MATERIALIZED VIEW hers;
SELECT name FROM braid.views;
RESET ROLE;

-- A new owner has the parts as well; rights that were taken away break the view.
ALTER MATERIALIZED VIEW hers OWNER TO regress_view_bob;
SELECT regexp_replace(relname, '\d+', 'N', 'g') AS part, relowner::regrole FROM pg_class
WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^(state|query)_\d' AND relkind IN ('r', 'v') ORDER BY relname;
SELECT braid.wait('hers');
GRANT SELECT ON p TO regress_view_bob;
REFRESH MATERIALIZED VIEW hers;
SELECT braid.wait('hers');
SELECT * FROM braid.verify('hers');

-- An expression that fails breaks its view, which keeps its last state; other views go on.
CREATE MATERIALIZED VIEW fragile WITH (braid.continuous) AS SELECT 100 / x AS q, count(*) FROM p GROUP BY 100 / x;
SELECT braid.wait('fragile');
INSERT INTO p VALUES (4, 0);
SELECT braid.wait('hers');
SELECT braid.wait('fragile');
SELECT name, state, last_error FROM braid.views ORDER BY id;
SELECT * FROM fragile ORDER BY q;
-- What it failed of may be known to whoever may read the rows, and to operators.
GRANT SELECT ON fragile TO regress_view_bob;
SET ROLE regress_view_bob;
SELECT name, state, last_error FROM braid.views WHERE name = 'fragile'::regclass;
SELECT * FROM fragile ORDER BY q;
SELECT braid.wait('fragile');
SET braid.read = strict;
SELECT * FROM fragile ORDER BY q;
RESET braid.read;
RESET ROLE;
DELETE FROM p WHERE x = 0;
REFRESH MATERIALIZED VIEW fragile;
SELECT braid.wait('fragile');
SELECT * FROM braid.verify('fragile');

-- A replica identity that was changed is set again, and the views are rebuilt.
ALTER TABLE p REPLICA IDENTITY DEFAULT;
UPDATE p SET x = x + 1;
SELECT braid.wait('fragile');
SELECT relreplident FROM pg_class WHERE oid = 'p'::regclass;
SELECT * FROM braid.verify('fragile');

SET client_min_messages = warning;
DROP TABLE t, p, u, quick, parent CASCADE;
DROP VIEW plain_view;
DROP SCHEMA elsewhere;
REVOKE ALL ON SCHEMA public FROM regress_view_alice, regress_view_bob;
DROP ROLE regress_view_alice, regress_view_bob;
SELECT count(*) FROM braid.views;
