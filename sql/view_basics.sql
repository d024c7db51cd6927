-- What a continuous view does: it is an ordinary view that always shows its
-- query's result, as of a moment ago.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE sales (id int PRIMARY KEY, shop text, amount numeric(10,2), items int, at timestamp);
INSERT INTO sales VALUES
	(1, 'north', 10.00, 1, '2024-01-01 10:00'),
	(2, 'north', 20.50, NULL, '2024-01-01 10:30'),
	(3, 'south', 5.25, 3, '2024-01-01 11:00'),
	(4, NULL, NULL, 4, '2024-01-01 11:10');
RESET client_min_messages;

CREATE MATERIALIZED VIEW per_shop WITH (braid.continuous) AS
	SELECT shop, count(*), count(items) AS with_items, sum(items) AS items,
		sum(amount) AS amount, avg(amount) AS average, min(at) AS first, max(amount) AS highest
	FROM sales GROUP BY shop;

-- It is populated once the creating transaction has committed.
SELECT braid.wait('per_shop');
SELECT * FROM per_shop ORDER BY shop;

-- Result types are those of the query.
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'per_shop'::regclass AND attnum > 0 ORDER BY attnum;

-- It follows inserts, updates that move rows between groups, and deletes.
INSERT INTO sales VALUES (5, 'east', 1.00, 1, '2024-01-02'), (6, 'north', 99.99, 2, '2023-12-31');
UPDATE sales SET shop = 'south' WHERE id = 1;
DELETE FROM sales WHERE id = 4;
SELECT braid.wait('per_shop');
SELECT * FROM per_shop ORDER BY shop;

-- Taking away an extreme value brings back the next one.
DELETE FROM sales WHERE id = 6;
SELECT braid.wait('per_shop');
SELECT shop, first, highest FROM per_shop ORDER BY shop;

-- What was rolled back is never seen.
BEGIN;
INSERT INTO sales VALUES (7, 'west', 7, 7, now());
SAVEPOINT s;
INSERT INTO sales VALUES (8, 'west', 8, 8, now());
ROLLBACK TO s;
COMMIT;
BEGIN;
INSERT INTO sales VALUES (9, 'west', 9, 9, now());
ROLLBACK;
SELECT braid.wait('per_shop');
SELECT shop, count, items FROM per_shop WHERE shop = 'west';

-- TRUNCATE.
BEGIN;
TRUNCATE sales;
INSERT INTO sales VALUES (1, 'new', 1, 1, '2024-02-01');
COMMIT;
SELECT braid.wait('per_shop');
SELECT shop, count, amount FROM per_shop;

-- One group of all rows: there is a row even if the table is empty.
CREATE MATERIALIZED VIEW total (n, amount) WITH (braid.continuous = true) AS
	SELECT count(*), sum(amount) FROM sales;
SELECT braid.wait('total');
SELECT * FROM total;
TRUNCATE sales;
SELECT braid.wait('total');
SELECT * FROM total;

-- WHERE, HAVING, FILTER, expressions over keys and aggregates.
CREATE MATERIALIZED VIEW busy WITH (braid.continuous) AS
	SELECT date_trunc('hour', at) AS hour, upper(shop) || '$1' AS shop,
		sum(amount) / count(*) AS mean, count(*) FILTER (WHERE items > 1) AS large, 'it''s $2' AS note
	FROM sales WHERE amount > 0
	GROUP BY date_trunc('hour', at), upper(shop)
	HAVING count(*) > 1;
INSERT INTO sales VALUES
	(1, 'a', 1, 1, '2024-01-01 10:01'), (2, 'A', 2, 2, '2024-01-01 10:02'),
	(3, 'a', 3, 3, '2024-01-01 11:02'), (4, 'a', -1, 3, '2024-01-01 11:02');
SELECT braid.wait('busy');
SELECT * FROM busy;

-- Sums of numerics without a scale show the scale that their rows have, and
-- infinities go away with theirs.
CREATE TABLE measures (k int, n numeric, f float8, i interval, b bigint, d date);
CREATE MATERIALIZED VIEW exact WITH (braid.continuous) AS
	SELECT k, sum(n), avg(n), count(*) FROM measures GROUP BY k;
CREATE MATERIALIZED VIEW recomputed WITH (braid.continuous) AS
	SELECT k, sum(f) AS f, avg(i) AS i, sum(b) AS b, max(d) AS d FROM measures GROUP BY k;
INSERT INTO measures VALUES
	(1, 1.5, 0.5, '1 day', 9223372036854775807, '2024-01-01'), (1, 2.25, 0.25, '2 days', 1, NULL),
	(2, 'Infinity', 'Infinity', NULL, NULL, '2024-01-03'), (2, 1, 1, '1 hour', 1, '2024-01-02');
SELECT braid.wait('exact'), braid.wait('recomputed');
SELECT * FROM exact ORDER BY k;
SELECT * FROM recomputed ORDER BY k;
DELETE FROM measures WHERE n IN (2.25, 'Infinity');
SELECT braid.wait('exact'), braid.wait('recomputed');
SELECT * FROM exact ORDER BY k;
SELECT * FROM recomputed ORDER BY k;

-- Verification compares the view with its query, under one snapshot.
SELECT * FROM braid.verify('exact');

-- A view may be verified at any time; a difference is shown as it is.
SELECT state FROM braid.explain('exact') WHERE state IS NOT NULL \gset
\set VERBOSITY sqlstate
UPDATE :state SET a2 = 1000 WHERE k1 = 1; -- which nobody but the worker may do
\set VERBOSITY default
SET allow_system_table_mods = on;
UPDATE :state SET a2 = 1000 WHERE k1 = 1;
RESET allow_system_table_mods;
SELECT * FROM braid.verify('exact');
REFRESH MATERIALIZED VIEW exact;
SELECT braid.wait('exact');
SELECT * FROM braid.verify('exact');

-- A partitioned table is one table.
CREATE TABLE parted (k int, x int) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE MATERIALIZED VIEW over_parts WITH (braid.continuous) AS SELECT k, sum(x) FROM parted GROUP BY k;
CREATE TABLE parted_2 (x int, k int);
INSERT INTO parted_2 VALUES (20, 2);
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
INSERT INTO parted VALUES (1, 10), (2, 5);
SELECT braid.wait('over_parts');
SELECT * FROM over_parts ORDER BY k;
UPDATE parted SET x = x + 1, k = 3 - k;
ALTER TABLE parted DETACH PARTITION parted_1;
SELECT braid.wait('over_parts');
SELECT * FROM over_parts ORDER BY k;

SELECT name, owner = current_user::regrole AS mine, state, strategy, base_tables, last_error FROM braid.views ORDER BY id;

SET client_min_messages = warning;
DROP TABLE sales, measures, parted, parted_1 CASCADE;
SELECT count(*) FROM braid.views;
