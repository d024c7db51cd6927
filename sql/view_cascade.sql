-- Continuous views on continuous views, and what is told of how they are kept.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE orders (id int PRIMARY KEY, customer int, amount int);
CREATE TABLE customers (id int PRIMARY KEY, name text, country text);
INSERT INTO customers VALUES (1, 'ann', 'fr'), (2, 'bob', 'fr'), (3, 'cid', 'it'), (4, 'dan', NULL);
INSERT INTO orders SELECT i, 1 + i % 3, i * 10 FROM generate_series(1, 9) i;
CREATE ROLE regress_cascade_alice;
GRANT ALL ON SCHEMA public TO regress_cascade_alice;

CREATE MATERIALIZED VIEW per_customer WITH (braid.continuous) AS
	SELECT customer, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY customer;

-- One on a view and a table, one on an ordinary view over that one, and one on both.
CREATE MATERIALIZED VIEW per_country WITH (braid.continuous) AS
	SELECT c.country, count(*) AS customers, sum(p.amount) AS amount
	FROM customers c LEFT JOIN per_customer p ON p.customer = c.id GROUP BY c.country;
CREATE VIEW rich AS SELECT country, amount FROM per_country WHERE amount > 100;
CREATE MATERIALIZED VIEW rich_count WITH (braid.continuous) AS SELECT count(*) AS countries, max(amount) AS highest FROM rich;
CREATE MATERIALIZED VIEW shares WITH (braid.continuous) AS
	SELECT p.customer, p.amount, q.amount AS of_country
	FROM per_customer p JOIN customers c ON c.id = p.customer JOIN per_country q ON q.country = c.country;
RESET client_min_messages;
SELECT braid.wait('rich_count'), braid.wait('shares');
SELECT * FROM per_country ORDER BY country;
SELECT * FROM rich_count;
SELECT * FROM shares ORDER BY customer;

-- A change goes through all of them at once.
INSERT INTO orders VALUES (10, 3, 1000), (11, 4, 7);
UPDATE customers SET country = 'it' WHERE id = 2;
SELECT braid.wait('shares');
SELECT * FROM per_country ORDER BY country;
SELECT * FROM rich_count;
SELECT * FROM shares ORDER BY customer;
SELECT count(*) FROM braid.verify('per_country');
SELECT count(*) FROM braid.verify('rich_count');
SELECT count(*) FROM braid.verify('shares');
TRUNCATE orders;
SELECT braid.wait('shares');
SELECT * FROM per_country ORDER BY country;
SELECT * FROM rich_count;
SELECT count(*) FROM shares;
INSERT INTO orders SELECT i, 1 + i % 3, i * 10 FROM generate_series(1, 9) i;
SELECT braid.wait('shares');
SELECT * FROM rich_count;

-- How they are kept.
SELECT depth, operator, strategy, state IS NOT NULL AS keeps_state, last_rows IS NOT NULL AS has_figures
FROM braid.explain('per_country');
SELECT regexp_replace(line, '(bytes=|rows=|time=|state_)[0-9._]+', '\1N', 'g') FROM braid.explain_text('rich_count') line;
SELECT jsonb_array_length(braid.explain_json('shares')) > 0 AS nodes;
SELECT name, base_tables, strategy FROM braid.views ORDER BY id;

-- Rights: those on the view that is read, not those on what is below it.
SET ROLE regress_cascade_alice;
CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT sum(amount) FROM per_customer;
RESET ROLE;
GRANT SELECT ON per_customer TO regress_cascade_alice;
SET ROLE regress_cascade_alice;
CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT sum(amount) FROM per_customer;
SELECT braid.wait('hers');
SELECT * FROM hers;
RESET ROLE;
INSERT INTO orders VALUES (12, 1, 1);
SELECT braid.wait('hers');
SELECT * FROM hers;
REVOKE SELECT ON per_customer FROM regress_cascade_alice;
REFRESH MATERIALIZED VIEW hers;
SELECT braid.wait('hers');

-- A view that breaks holds back those that read it.
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW fragile WITH (braid.continuous) AS SELECT customer, sum(100 / amount) AS s FROM orders GROUP BY customer;
CREATE MATERIALIZED VIEW reader WITH (braid.continuous) AS SELECT count(*), sum(s) FROM fragile;
RESET client_min_messages;
SELECT braid.wait('reader');
INSERT INTO orders VALUES (13, 1, 0);
SELECT braid.wait('per_customer');
SELECT braid.wait('reader');
SELECT name, state, last_error FROM braid.views WHERE name IN ('fragile'::regclass, 'reader'::regclass) ORDER BY id;
DELETE FROM orders WHERE id = 13;
REFRESH MATERIALIZED VIEW fragile;
SELECT braid.wait('reader');
SELECT count(*) FROM braid.verify('reader');
SELECT name, state, last_error FROM braid.views WHERE name IN ('fragile'::regclass, 'reader'::regclass) ORDER BY id;

-- Indexes: on columns that a state has as they are shown.
CREATE INDEX per_customer_amount ON per_customer (orders);
SELECT indexname, indexdef ~ 'braid_internal.state_\d+_\d+ USING btree \(n\)' AS on_state FROM pg_indexes WHERE indexname = 'per_customer_amount';
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(line, 'state_\d+_\d+', 'state');
	END LOOP;
END $$;
SELECT plan_of('SELECT customer FROM per_customer WHERE orders = 3');
DROP INDEX braid_internal.per_customer_amount;
CREATE INDEX ON per_customer (amount);
CREATE UNIQUE INDEX ON per_customer (orders);
CREATE INDEX ON per_customer ((orders + 1));
CREATE INDEX ON per_customer (nothing);
CREATE INDEX CONCURRENTLY ON per_customer (orders);
SET ROLE regress_cascade_alice;
CREATE INDEX ON per_customer (orders);
RESET ROLE;

-- What is read is all that there is.
SELECT braid.alter_view('per_customer', 'SELECT customer, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY customer ORDER BY 3 DESC LIMIT 1');

-- What is read cannot go alone.
DROP MATERIALIZED VIEW per_customer;
SET client_min_messages = warning;
DROP MATERIALIZED VIEW per_customer CASCADE;
SELECT name FROM braid.views ORDER BY id;
DROP TABLE orders, customers CASCADE;
DROP FUNCTION plan_of(text);
REVOKE ALL ON SCHEMA public FROM regress_cascade_alice;
DROP ROLE regress_cascade_alice;
SELECT count(*) FROM braid.views;
