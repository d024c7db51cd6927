-- What a statement that reads a continuous view is promised of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE orders (id int PRIMARY KEY, shop text, amount numeric);
CREATE MATERIALIZED VIEW revenue WITH (braid.continuous) AS
	SELECT shop, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY shop;
SELECT braid.wait('revenue');
RESET client_min_messages;
SHOW braid.read;
SHOW braid.read_timeout;
SHOW braid.read_max_age;

-- strict: all that anybody had committed before the statement.
SET braid.read = 'strict';
INSERT INTO orders VALUES (1, 'a', 10), (2, 'b', 5);
SELECT * FROM revenue ORDER BY shop;
UPDATE orders SET amount = 7 WHERE id = 2;
SELECT * FROM revenue ORDER BY shop;

-- A transaction's own rows are not committed, so they are not in the view.
BEGIN;
INSERT INTO orders VALUES (3, 'a', 20);
SELECT * FROM revenue ORDER BY shop;
COMMIT;
SELECT * FROM revenue ORDER BY shop;

-- In REPEATABLE READ, what was committed before the transaction began.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM revenue ORDER BY shop;
COMMIT;
SET braid.read = 'eventual';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM revenue;
SET LOCAL braid.read = 'strict';
SELECT * FROM revenue;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.read = 'strict';
SELECT * FROM revenue ORDER BY shop;
COMMIT;
SET default_transaction_isolation = 'serializable';
SET braid.read = 'strict';
SELECT * FROM revenue;
BEGIN;
SELECT * FROM revenue ORDER BY shop;
COMMIT;
RESET default_transaction_isolation;

-- own: all that this session has committed.
SET braid.read = 'own';
INSERT INTO orders VALUES (4, 'b', 1);
SELECT * FROM revenue WHERE shop = 'b';

-- Not further behind than that.
SET braid.read = 'eventual';
SET braid.read_max_age = '1ms';
INSERT INTO orders VALUES (5, 'b', 1);
SELECT pg_sleep(0.01);
SELECT * FROM revenue WHERE shop = 'b';
RESET braid.read_max_age;

-- A view's own default, for sessions that do not say otherwise.
RESET braid.read;
ALTER MATERIALIZED VIEW revenue SET (braid.read = 'strict');
SELECT options FROM braid.views WHERE name = 'revenue'::regclass;
INSERT INTO orders VALUES (6, 'c', 1);
SELECT * FROM revenue WHERE shop = 'c';
ALTER MATERIALIZED VIEW revenue RESET (braid.read);
SELECT options FROM braid.views WHERE name = 'revenue'::regclass;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW total WITH (braid.continuous, braid.read = 'own') AS SELECT count(*) FROM orders;
SELECT braid.create_view('largest', 'SELECT shop, max(amount) FROM orders GROUP BY shop', '{"read": "strict"}');
RESET client_min_messages;
SELECT name, options FROM braid.views ORDER BY name::text;
SELECT * FROM largest ORDER BY shop;

-- What is no such option, and what cannot be one.
CREATE MATERIALIZED VIEW wrong WITH (braid.continuous, braid.read = 'always') AS SELECT count(*) FROM orders;
ALTER MATERIALIZED VIEW revenue SET (braid.read = 'default');
ALTER MATERIALIZED VIEW revenue SET (braid.schedule = '1 min');
SET braid.read = 'always';
SET braid.read_timeout = 0;
CREATE ROLE reads_nothing;
SET ROLE reads_nothing;
ALTER MATERIALIZED VIEW revenue SET (braid.read = 'own');
RESET ROLE;
DROP ROLE reads_nothing;
SET braid.allow_recompute = on;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = '1 h', braid.read = 'strict') AS
	SELECT id, rank() OVER (ORDER BY amount) FROM orders;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = '1 h') AS
	SELECT id, rank() OVER (ORDER BY amount) FROM orders;
ALTER MATERIALIZED VIEW ranks SET (braid.read = 'strict');
SELECT braid.wait('ranks');
SELECT count(*) FROM ranks;
SET braid.read = 'strict';
SELECT count(*) FROM ranks;
DROP MATERIALIZED VIEW ranks;
RESET client_min_messages;

-- A reader that is in his own way.
BEGIN;
LOCK TABLE orders;
SELECT * FROM revenue;
ROLLBACK;

-- Readers are told.
RESET braid.read;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW shares WITH (braid.continuous) AS SELECT id, 100 / amount AS share FROM orders;
SELECT braid.wait('shares');
RESET client_min_messages;
INSERT INTO orders VALUES (7, 'c', 0);
SELECT braid.wait('shares');
SELECT count(*) FROM shares;
SET braid.read = 'strict';
SELECT count(*) FROM shares;
DELETE FROM orders WHERE id = 7;
REFRESH MATERIALIZED VIEW shares;
SELECT count(*) FROM shares;
SELECT braid.pause('shares');
SELECT count(*) FROM shares;
SET braid.read = 'eventual';
SELECT count(*) FROM shares;

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE MATERIALIZED VIEW latest WITH (braid.continuous) AS SELECT max(id) FROM orders;
SELECT * FROM latest;
ROLLBACK;

SET client_min_messages = warning;
DROP TABLE orders CASCADE;
