-- Joins of every kind, set operations, window functions and views of plain rows,
-- followed through changes on every side.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE customers (id int PRIMARY KEY, name text, region int);
CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric, note json, at point);
CREATE TABLE regions (region int, name text);
INSERT INTO customers SELECT g, 'c' || g, nullif(g % 4, 3) FROM generate_series(1, 9) g;
INSERT INTO orders SELECT g, nullif(g % 8, 0), (ARRAY[1.0, 1.00, 2.5, 7])[g % 4 + 1], '{"n": 1}', point(g % 2, 0) FROM generate_series(1, 24) g;
INSERT INTO regions VALUES (0, 'north'), (1, 'east'), (1, 'orient');

CREATE TABLE lines (name text PRIMARY KEY, query text NOT NULL);
INSERT INTO lines VALUES
	-- Rows as they are, with duplicates, and types that have no equality.
	('filtered', 'SELECT customer, total, note, at FROM orders WHERE total < 5'),
	-- Inner joins.
	('joined', 'SELECT o.id, c.name, r.name AS region FROM orders o JOIN customers c ON c.id = o.customer JOIN regions r USING (region) WHERE o.total > 1'),
	('noted', 'SELECT c.name, o.total, o.note, o.at FROM customers c JOIN orders o ON o.customer = c.id'),
	('crossed', 'SELECT c.id, r.name FROM customers c, regions r WHERE c.id < 4'),
	('unequal', 'SELECT c.id, o.id AS "order" FROM customers c JOIN orders o ON o.customer < c.region OR o.total = c.id'),
	('self', 'SELECT a.id, b.id AS other FROM orders a JOIN orders b ON a.customer = b.customer AND a.id < b.id'),
	('self3', 'SELECT a.customer, count(*), max(c.id) FROM orders a JOIN orders b ON b.customer = a.customer JOIN orders c ON c.total = b.total GROUP BY a.customer'),
	('many', 'SELECT r.name, count(*), sum(o.total) FROM regions r, customers c, orders o, customers d WHERE c.region = r.region AND o.customer = c.id AND d.id = o.customer + 1 GROUP BY r.name'),
	-- Outer joins.
	('lefts', 'SELECT c.id, c.name, o.id AS "order", o.note, r.name AS region FROM customers c LEFT JOIN orders o ON o.customer = c.id AND o.total > 2 LEFT JOIN regions r ON r.region = c.region'),
	('rights', 'SELECT o.id, c.name FROM customers c RIGHT JOIN orders o ON o.customer = c.id'),
	('fulls', 'SELECT c.id, o.id AS "order" FROM customers c FULL JOIN orders o ON o.customer = c.id AND o.id % 2 = 0'),
	('nested', 'SELECT c.id, x.id AS "order", x.name FROM customers c LEFT JOIN (orders o JOIN regions r ON r.region = o.customer) x (id, customer) ON x.customer = c.id'),
	('left_unequal', 'SELECT c.id, o.id AS "order" FROM customers c LEFT JOIN orders o ON o.customer > c.id AND o.total > c.region'),
	('left_self', 'SELECT a.id, b.id AS next FROM customers a LEFT JOIN customers b ON b.id = a.id + 1 AND b.region = a.region'),
	('left_counts', 'SELECT c.id, count(o.id), sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer = c.id GROUP BY c.id'),
	('left_nothing', 'SELECT c.name FROM customers c LEFT JOIN orders o ON o.customer = c.id WHERE o.id IS NULL'),
	-- Semi and anti joins, and conditions on EXISTS.
	('with_orders', 'SELECT id, name FROM customers c WHERE EXISTS (SELECT FROM orders o WHERE o.customer = c.id AND o.total > 2)'),
	('without', 'SELECT id, name FROM customers c WHERE NOT EXISTS (SELECT FROM orders o WHERE o.customer = c.id)'),
	('among', 'SELECT id, total FROM orders WHERE customer IN (SELECT id FROM customers WHERE region = 1)'),
	('not_among', 'SELECT id FROM orders WHERE customer NOT IN (SELECT region FROM regions WHERE region IS NOT NULL)'),
	('not_among_nulls', 'SELECT id FROM customers WHERE region NOT IN (SELECT region FROM regions)'),
	('either', 'SELECT id FROM customers c WHERE region = 2 OR EXISTS (SELECT FROM orders o WHERE o.customer = c.id AND o.total > 5)'),
	('shown', 'SELECT id, EXISTS (SELECT FROM orders o WHERE o.customer = c.id) AS buys, region IN (SELECT region FROM regions) AS known FROM customers c'),
	('deep', 'SELECT name FROM regions r WHERE NOT EXISTS (SELECT FROM customers c WHERE c.region = r.region AND NOT EXISTS (SELECT FROM orders o WHERE o.customer = c.id))'),
	-- Scalar subqueries.
	('latest', 'SELECT name, (SELECT max(id) FROM orders o WHERE o.customer = c.id) AS latest, (SELECT count(*) FROM regions) AS regions FROM customers c'),
	('above', 'SELECT id FROM orders o WHERE total >= (SELECT avg(total) FROM orders p WHERE p.customer = o.customer)'),
	-- LATERAL.
	('series', 'SELECT o.id, g FROM orders o, LATERAL generate_series(1, o.customer) g'),
	('left_series', 'SELECT o.id, g FROM orders o LEFT JOIN LATERAL generate_series(2, o.customer) g ON g > 3'),
	('best', 'SELECT c.id, o.id AS "order", o.total FROM customers c, LATERAL (SELECT id, total FROM orders WHERE customer = c.id ORDER BY total DESC, id LIMIT 2) o'),
	-- Window functions, DISTINCT ON, the first rows of all and of each key.
	('windows', 'SELECT id, row_number() OVER w, sum(total) OVER w, lag(id) OVER w FROM orders WINDOW w AS (PARTITION BY customer ORDER BY id)'),
	('ranked', 'SELECT * FROM (SELECT id, customer, rank() OVER (PARTITION BY customer ORDER BY total DESC) AS rank FROM orders) x WHERE rank = 1'),
	('shares', 'SELECT customer, sum(total), rank() OVER (PARTITION BY customer % 2 ORDER BY sum(total), customer) FROM orders GROUP BY customer'),
	('firsts', 'SELECT DISTINCT ON (customer) customer, id, total FROM orders ORDER BY customer, total, id'),
	('top', 'SELECT id, total FROM orders ORDER BY total DESC, id LIMIT 4 OFFSET 1'),
	-- Set operations and DISTINCT.
	('union_all', 'SELECT customer, total FROM orders UNION ALL SELECT id, region FROM customers'),
	('unions', 'SELECT customer FROM orders UNION SELECT region FROM customers UNION SELECT region FROM regions'),
	('intersects', 'SELECT customer FROM orders INTERSECT SELECT region FROM customers'),
	('intersects_all', 'SELECT customer FROM orders INTERSECT ALL SELECT region FROM customers'),
	('excepts', 'SELECT id FROM customers EXCEPT SELECT customer FROM orders'),
	('excepts_all', 'SELECT customer FROM orders EXCEPT ALL SELECT region FROM customers'),
	('distincts', 'SELECT DISTINCT customer, at IS NULL FROM orders'),
	-- CTEs, VALUES, subqueries in FROM.
	('ctes', 'WITH t AS (SELECT customer, sum(total) AS total FROM orders GROUP BY customer) SELECT a.customer, b.customer AS other FROM t a JOIN t b ON a.total < b.total'),
	('listed', 'SELECT o.id, v.name FROM orders o JOIN (VALUES (1.0, ''one''), (7, ''seven'')) v (total, name) USING (total)'),
	('of_groups', 'SELECT c.name, t.n FROM customers c LEFT JOIN (SELECT customer, count(*) AS n FROM orders GROUP BY customer HAVING count(*) > 2) t ON t.customer = c.id');
SELECT braid.create_view(name, query) FROM lines;
-- Views on views.
INSERT INTO lines VALUES
	('on_rows', 'SELECT note::text, count(*) FROM lefts GROUP BY note::text'),
	('on_windows', 'SELECT a.id, b.row_number FROM fulls a LEFT JOIN windows b ON b.id = a."order"');
SELECT braid.create_view(name, query) FROM lines WHERE name LIKE 'on_%';
RESET client_min_messages;

-- Rows, as they are printed, that are in the view or the query only.
CREATE FUNCTION differing(name text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('WITH v AS (SELECT shown::text AS v FROM %I shown), q AS (SELECT shown::text AS q FROM (%s) shown)
		(SELECT ''has '' || v FROM (TABLE v EXCEPT ALL TABLE q) x) UNION ALL (SELECT ''lacks '' || q FROM (TABLE q EXCEPT ALL TABLE v) x)', name, query);
END $$;
CREATE VIEW wrong AS
	SELECT w.name, w.wrong FROM lines l, LATERAL (
		SELECT l.name, 'waited in vain' AS wrong WHERE NOT braid.wait(l.name::regclass)
		UNION ALL SELECT l.name, 'verify: ' || v::text FROM braid.verify(l.name::regclass) v
		UNION ALL SELECT l.name, differing(l.name, l.query)) w;

-- How they are kept.
SELECT l.name, string_agg(DISTINCT e.strategy, ', ') AS strategy FROM lines l, braid.explain(l.name::regclass) e
WHERE e.state IS NOT NULL GROUP BY l.name ORDER BY l.name COLLATE "C";

-- As they were populated.
TABLE wrong;
SELECT * FROM lefts ORDER BY id, "order", region;
-- A duplicate, 1.0 and 1.00, a json that is the same and one that is written otherwise.
INSERT INTO orders VALUES (100, 1, 1.0, '{"n": 1}', '(0,0)'), (101, 1, 1.0, '{"n": 1}', '(0,0)'), (102, 1, 1.00, '{"n":1}', '(0,0)');
TABLE wrong;
DELETE FROM orders WHERE id IN (100, 102);
TABLE wrong;
SELECT total, note, at, count(*) FROM (SELECT total::text, note::text, at::text FROM filtered WHERE customer = 1) f GROUP BY total, note, at ORDER BY 1, 2, 3;
-- A dimension changes what is shown, and its key.
UPDATE regions SET name = 'south' WHERE name = 'north';
TABLE wrong;
UPDATE customers SET region = region + 1 WHERE id < 5;
TABLE wrong;
UPDATE customers SET id = id + 50 WHERE id IN (2, 3);
TABLE wrong;
-- The last match goes, the first one comes, there are more or fewer of them.
DELETE FROM orders WHERE customer = 1;
TABLE wrong;
INSERT INTO orders VALUES (200, 1, 7), (201, 9, 7), (202, 9, 7);
TABLE wrong;
DELETE FROM orders WHERE id IN (200, 201);
TABLE wrong;
-- Nulls in keys.
UPDATE orders SET customer = NULL WHERE customer = 4;
TABLE wrong;
INSERT INTO regions VALUES (NULL, 'unknown');
TABLE wrong;
DELETE FROM regions WHERE region IS NULL;
TABLE wrong;
-- All sides in one transaction; rows that come and go within it.
BEGIN;
INSERT INTO customers VALUES (20, 'new', 1), (21, 'newer', 7), (22, 'gone', 7);
INSERT INTO orders VALUES (300, 20, 3), (301, 20, 4), (302, 22, 5), (303, 30, 2.5);
INSERT INTO regions VALUES (7, 'moon'), (8, 'mars');
UPDATE orders SET customer = 21 WHERE id = 301;
DELETE FROM customers WHERE id = 22;
DELETE FROM regions WHERE region IN (0, 8);
UPDATE customers SET name = upper(name), region = 7 WHERE region = 2;
COMMIT;
TABLE wrong;
-- Only inserts, on all sides, some of them twice the same.
BEGIN;
INSERT INTO orders SELECT g, 41 + g % 2, 1.0, '{"n": 1}', '(0,0)' FROM generate_series(400, 405) g;
INSERT INTO customers VALUES (41, 'twin', 1), (42, 'twin', 1);
INSERT INTO regions VALUES (1, 'oriental'), (1, 'oriental');
COMMIT;
TABLE wrong;
SELECT name, total, note, at::text, count(*) FROM (SELECT name, total, note::text, at::text FROM noted WHERE name = 'twin') n GROUP BY 1, 2, 3, 4;
-- More than a few rows.
INSERT INTO orders SELECT g, g % 40, g % 9, '{}' FROM generate_series(1000, 1299) g;
TABLE wrong;
UPDATE orders SET total = total + 1 WHERE id >= 1000 AND id % 3 = 0;
TABLE wrong;
DELETE FROM orders WHERE id >= 1100;
TABLE wrong;
-- An input that is empty, and that is not any more.
DELETE FROM customers;
TABLE wrong;
INSERT INTO customers SELECT g, 'c' || g, g % 3 FROM generate_series(1, 12) g;
TABLE wrong;
TRUNCATE orders;
TABLE wrong;
INSERT INTO orders SELECT g, g % 5, g / 2.0 FROM generate_series(1, 15) g;
TABLE wrong;

SELECT * FROM best ORDER BY id, "order";
SELECT * FROM left_counts ORDER BY id;
SELECT * FROM either ORDER BY id;

SET client_min_messages = warning;
DROP TABLE orders, customers, regions CASCADE;
DROP TABLE lines CASCADE;
DROP FUNCTION differing;
