-- Changefeeds: what is told of continuous views and tables, and what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE SCHEMA feeds;
SET search_path = feeds;
CREATE ROLE regress_feed_owner;
GRANT CREATE, USAGE ON SCHEMA feeds TO regress_feed_owner;
SELECT braid.create_topic('changes');
SELECT braid.create_group('changes', 'audit', start => 'beginning');
CREATE TABLE sales (id int PRIMARY KEY, shop text, amount numeric(10, 2));
INSERT INTO sales VALUES (1, 'north', 10), (2, 'north', 5), (3, 'south', 7);
-- What has come, but for the position in WAL, which all have.
CREATE FUNCTION told() RETURNS TABLE (key text, op text, old jsonb, new jsonb, more jsonb) LANGUAGE sql AS
	$$SELECT key, payload->>'op', payload->'old', payload->'new', payload - '{op, old, new, lsn}'::text[] FROM braid.receive('changes', 'audit') WHERE payload ? 'lsn' ORDER BY id$$;

-- ---- a view
CREATE MATERIALIZED VIEW totals WITH (braid.continuous, braid.feed = 'changes') AS SELECT shop, count(*) AS n, sum(amount) AS total FROM sales GROUP BY shop;
SELECT braid.wait('totals');
SELECT * FROM told();
INSERT INTO sales VALUES (4, 'south', 1), (5, 'west', 2);
SELECT braid.wait('totals');
SELECT * FROM told();
-- Nothing is told of what is as it was.
BEGIN;
UPDATE sales SET amount = amount + 1 WHERE id = 1;
UPDATE sales SET amount = amount - 1 WHERE id = 1;
COMMIT;
UPDATE sales SET id = 6 WHERE id = 5;
SELECT braid.wait('totals');
REFRESH MATERIALIZED VIEW totals;
SELECT braid.wait('totals');
SELECT * FROM told();
DELETE FROM sales WHERE shop = 'west';
SELECT braid.wait('totals');
TRUNCATE sales;
SELECT braid.wait('totals');
SELECT * FROM told();
SELECT relation, topic, key, state, last_error FROM braid.feeds;
SELECT name, feed FROM braid.views WHERE name = 'totals'::regclass;
SELECT braid.definition('totals');

-- ---- keys: of groups, given, of none
INSERT INTO sales VALUES (1, 'north', 10), (2, 'north', 5);
ALTER MATERIALIZED VIEW totals RESET (braid.feed);
CREATE MATERIALIZED VIEW large WITH (braid.continuous, braid.feed = 'changes', braid.feed_key = 'id') AS SELECT id, shop, amount FROM sales WHERE amount > 5;
SELECT braid.wait('large');
SELECT count(*) FROM told();
UPDATE sales SET amount = amount + 1;
SELECT braid.wait('large');
SELECT * FROM told();
ALTER MATERIALIZED VIEW large RESET (braid.feed_key);
SELECT braid.wait('large');
SELECT op, count(*) FROM told() GROUP BY op;
UPDATE sales SET shop = 'east' WHERE id = 1;
SELECT braid.wait('large');
SELECT length(key), op, old, new FROM told();
ALTER MATERIALIZED VIEW large SET (braid.feed_key = 'shop, "id"');
SELECT braid.wait('large');
UPDATE sales SET shop = 'west' WHERE id = 1;
SELECT braid.wait('large');
SELECT * FROM told() WHERE op NOT IN ('snapshot', 'read');
SELECT relation, topic, key, state, last_error FROM braid.feeds;
DROP MATERIALIZED VIEW large;
CREATE MATERIALIZED VIEW one WITH (braid.continuous, braid.feed = 'changes') AS SELECT count(*) FROM sales;
SELECT braid.create_view('best', 'SELECT id, amount FROM feeds.sales ORDER BY amount DESC LIMIT 1', '{"feed": "feeds.changes", "feed_key": "id"}');
SELECT braid.wait('one'), braid.wait('best');
INSERT INTO sales VALUES (3, 'south', 7);
SELECT braid.wait('one'), braid.wait('best');
SELECT * FROM told() WHERE op NOT IN ('snapshot', 'read');
INSERT INTO sales VALUES (4, 'south', 700);
SELECT braid.wait('one'), braid.wait('best');
SELECT * FROM told();
DROP MATERIALIZED VIEW one, best;

-- ---- windows, when they are closed
CREATE TABLE clicks (ts timestamptz, page text);
SET timezone = 'UTC';
CREATE MATERIALIZED VIEW by_minute WITH (braid.continuous, braid.feed = 'changes', braid.watermark = 'ts', braid.emit = 'close') AS
	SELECT braid.tumble(ts, '1 min') AS minute, count(*) AS n FROM clicks GROUP BY 1;
SELECT braid.wait('by_minute');
INSERT INTO clicks VALUES ('2026-01-01 00:00:10', 'a'), ('2026-01-01 00:00:50', 'b');
SELECT braid.wait('by_minute');
INSERT INTO clicks VALUES ('2026-01-01 00:01:10', 'a');
SELECT braid.wait('by_minute');
INSERT INTO clicks VALUES ('2026-01-01 00:00:20', 'late'), ('2026-01-01 00:01:20', 'b');
SELECT braid.wait('by_minute');
SELECT key, op, old, new FROM told();
DROP TABLE clicks CASCADE;
DROP MATERIALIZED VIEW totals;

-- ---- a table
ALTER TABLE sales SET (braid.feed = 'changes');
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
BEGIN;
INSERT INTO sales VALUES (10, 'north', 1);
SAVEPOINT s;
INSERT INTO sales VALUES (11, 'north', 1);
ROLLBACK TO s;
UPDATE sales SET amount = 2 WHERE id = 10;
UPDATE sales SET id = 12 WHERE id = 10;
DELETE FROM sales WHERE id = 12;
UPDATE sales SET shop = NULL WHERE id = 1;
COMMIT;
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
BEGIN;
INSERT INTO sales VALUES (13, 'north', 1);
TRUNCATE sales;
INSERT INTO sales VALUES (14, 'north', 1);
COMMIT;
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
-- The key can be another one.
ALTER TABLE sales SET (braid.feed_key = 'shop', fillfactor = 90);
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
SELECT reloptions FROM pg_class WHERE oid = 'sales'::regclass;
-- And renamed. If it goes, the feed stops, and says so.
ALTER TABLE sales RENAME shop TO store;
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
ALTER TABLE sales DROP COLUMN store;
SELECT braid.create_view('counted', 'SELECT count(*) FROM feeds.sales');
SELECT braid.wait('counted');
INSERT INTO sales VALUES (20, 1);
SELECT braid.wait('counted');
SELECT relation, topic, key, state, last_error FROM braid.feeds;
ALTER TABLE sales RESET (braid.feed_key);
SELECT key, payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');
SELECT relation, topic, key, state, last_error FROM braid.feeds;

-- ---- topics that are sent to
DROP VIEW changes;
SELECT braid.drop_topic('changes');
SELECT braid.create_topic('others', 2);
ALTER TABLE sales SET (braid.feed = 'others');
SELECT braid.wait('counted');
SELECT partition, payload->>'op' AS op FROM others ORDER BY id;
ALTER VIEW others RENAME TO "Other Ones";
INSERT INTO sales VALUES (15, 1);
SELECT braid.wait('counted');
SELECT payload->>'op' AS op, payload->'new' AS new FROM "Other Ones" ORDER BY id DESC LIMIT 1;
RESET client_min_messages;
DROP VIEW "Other Ones" CASCADE;
SET client_min_messages = warning;
SELECT * FROM braid.feeds;
INSERT INTO sales VALUES (16, 1);
SELECT braid.wait('counted');

-- ---- what is refused
CREATE MATERIALIZED VIEW bad WITH (braid.continuous, braid.feed = 'nowhere') AS SELECT count(*) FROM sales;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous, braid.feed = 'sales') AS SELECT count(*) FROM sales;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous, braid.feed_key = 'count') AS SELECT count(*) FROM sales;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous, braid.feed = 'changes', braid.feed_key = 'store') AS SELECT count(*) FROM sales;
ALTER MATERIALIZED VIEW counted SET (braid.feed_key = 'count');
ALTER MATERIALIZED VIEW counted SET (braid.feed = 'changes', braid.feed_key = 'one two');
ALTER TABLE sales SET (braid.feed = 'changes', braid.feed_key = 'ctid');
ALTER TABLE sales SET (braid.read = 'strict');
ALTER TABLE sales RESET (braid.feed_key, braid.feed);
ALTER TABLE no_such_table SET (braid.feed = 'changes');
ALTER TABLE IF EXISTS no_such_table SET (braid.feed = 'changes');
SELECT braid.create_topic('texts', payload => 'text');
ALTER TABLE sales SET (braid.feed = 'texts');
CREATE UNLOGGED TABLE quick (id int);
ALTER TABLE quick SET (braid.feed = 'changes');
CREATE TEMPORARY TABLE short (id int);
ALTER TABLE short SET (braid.feed = 'changes');
CREATE FOREIGN TABLE flow (id int) SERVER braid_stream;
ALTER TABLE flow SET (braid.feed = 'changes');
CREATE TABLE guarded (id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE guarded SET (braid.feed = 'changes');
ALTER TABLE pg_class SET (braid.feed = 'changes');
CREATE VIEW plain AS SELECT 1 AS one;
ALTER TABLE plain SET (braid.feed = 'changes');
SET ROLE regress_feed_owner;
ALTER TABLE sales SET (braid.feed = 'changes');
CREATE TABLE mine (id int PRIMARY KEY);
ALTER TABLE mine SET (braid.feed = 'changes');
CREATE MATERIALIZED VIEW my_count WITH (braid.continuous, braid.feed = 'changes') AS SELECT count(*) FROM mine;
RESET ROLE;
-- Also if somebody else asks for it.
ALTER TABLE mine SET (braid.feed = 'changes');
GRANT INSERT ON changes TO regress_feed_owner;
SET ROLE regress_feed_owner;
ALTER TABLE mine SET (braid.feed = 'changes');
SELECT relation, topic, state IN ('waiting', 'live') AS is_fine FROM braid.feeds;
RESET ROLE;
SELECT payload - 'lsn' AS payload FROM braid.receive('changes', 'audit', wait => '10 s');

DROP TABLE mine;
SELECT * FROM braid.feeds;
DROP OWNED BY regress_feed_owner;
DROP ROLE regress_feed_owner;
DROP SCHEMA feeds CASCADE;
SELECT count(*) FROM braid_internal.feeds;
