-- What braid counts for continuous views, and how a part of a view is verified.
SET client_min_messages = warning;
CREATE TABLE orders (id int PRIMARY KEY, shop text, amount int);
CREATE MATERIALIZED VIEW revenue WITH (braid.continuous) AS
	SELECT shop, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY shop;
SELECT braid.wait('revenue');

-- From a reset on, each transaction that changes a table of the view counts, and each row.
SELECT braid.stat_views_reset('revenue');
INSERT INTO orders VALUES (1, 'a', 10), (2, 'b', 20);
UPDATE orders SET amount = 11 WHERE id = 1;
SELECT braid.wait('revenue');
SELECT name, transactions, rows, rebuilds,
	avg_response_time = total_response_time / transactions AS average,
	p50 <= p95 AND p95 <= p99 AND p99 <= max_response_time AS percentiles,
	merge_time > 0 AS merged, last_change > stats_reset AS changed
FROM braid.stat_views;

-- What the worker does that keeps all of them.
SELECT pid IS NOT NULL AS runs, wal_status, held_transactions, held_back_tables, cycles > 0 AS cycles,
	wal_decoded > 0 AS decoded, decode_time + apply_time <= cycle_time AS times
FROM braid.stat_capture WHERE datname = current_database();

-- How far they are.
SELECT name, state, lag_ms >= 0 AS lag_ms, lag_bytes >= 0 AS lag_bytes, last_error FROM braid.views;

-- Populating it anew is counted.
REFRESH MATERIALIZED VIEW revenue;
SELECT braid.wait('revenue');
SELECT rebuilds, transactions FROM braid.stat_views;

-- A sample is chosen by the keys, the same ones on both sides.
INSERT INTO orders SELECT g, 'shop ' || g % 500, 1 FROM generate_series(1000, 2999) g;
SELECT braid.wait('revenue');
SELECT * FROM braid.verify('revenue', 0.1);
SELECT * FROM braid.verify('revenue', sample => 1, timeout => '1 min');
SELECT state FROM braid.explain('revenue') WHERE state IS NOT NULL \gset
SET allow_system_table_mods = on;
UPDATE :state SET n = n + 1;
RESET allow_system_table_mods;
SELECT count(*) FILTER (WHERE difference = 'missing') = count(*) FILTER (WHERE difference = 'surplus') AS both_sides,
	count(*) / 2 BETWEEN 40 AND 170 AS about_a_fifth
FROM braid.verify('revenue', 0.2);
SELECT difference, count(*) FROM braid.verify('revenue') GROUP BY difference;
REFRESH MATERIALIZED VIEW revenue;
SELECT braid.wait('revenue');

-- Views without keys are sampled by their rows, floats and what has no equality included.
CREATE TABLE facts (id int, x float8, j json, tags text[]);
INSERT INTO facts SELECT g, g / 7.0, '{}', ARRAY[g::text] FROM generate_series(1, 300) g;
CREATE MATERIALIZED VIEW filtered WITH (braid.continuous) AS SELECT id, x, j, tags FROM facts WHERE id > 5;
CREATE MATERIALIZED VIEW floats WITH (braid.continuous) AS SELECT x FROM facts;
CREATE MATERIALIZED VIEW ranked WITH (braid.continuous) AS SELECT tags, id, rank() OVER (PARTITION BY tags ORDER BY id) FROM facts;
CREATE MATERIALIZED VIEW firsts WITH (braid.continuous) AS SELECT DISTINCT ON (tags) tags, id, x FROM facts ORDER BY tags, id;
SELECT name, braid.wait(name), (SELECT count(*) FROM braid.verify(name, 0.3)) AS differences
FROM unnest(ARRAY['filtered', 'floats', 'ranked', 'firsts']::regclass[]) name;

-- Errors
SELECT * FROM braid.verify('revenue', 0);
SELECT * FROM braid.verify('revenue', 1.5);
SELECT * FROM braid.verify('revenue', 'NaN');
SELECT * FROM braid.verify('orders', 0.5);
SELECT braid.stat_views_reset('orders');

-- The doctor looks at views as well.
SELECT item, status FROM braid.doctor()
WHERE item IN ('wal_level', 'capture worker', 'replication slot', 'replica identities', 'states', 'continuous views') ORDER BY item;

DROP MATERIALIZED VIEW revenue, filtered, floats, ranked, firsts;
DROP TABLE orders, facts;
