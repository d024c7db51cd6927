-- Event time in continuous views: watermarks, late rows, groups that are shown when they
-- close, retention. What docs/reference.md shows, and then what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
SET timezone = 'UTC';
SET datestyle = 'ISO, DMY';
CREATE ROLE regress_event_time;

-- The examples: payments by minute. Rows may come 10 s late.
CREATE TABLE payments (id int PRIMARY KEY, ts timestamptz, shop int, amount int);
CREATE MATERIALIZED VIEW by_minute WITH (braid.continuous,
	braid.watermark = 'ts - interval ''10 s''', braid.late = 'divert') AS
	SELECT braid.tumble(ts, '1 min') AS minute, shop, count(*), sum(amount)
	FROM payments GROUP BY 1, 2;
CREATE MATERIALIZED VIEW final WITH (braid.continuous,
	braid.watermark = 'ts - interval ''10 s''', braid.emit = 'close') AS
	SELECT braid.tumble(ts, '1 min') AS minute, count(*), sum(amount)
	FROM payments GROUP BY 1;
SELECT braid.wait('by_minute'), braid.wait('final');
INSERT INTO payments VALUES (1, '2026-05-01 12:00:10', 1, 5), (2, '2026-05-01 12:00:50', 1, 7), (3, '2026-05-01 12:01:05', 2, 1);
SELECT braid.wait('by_minute'), braid.wait('final');
SELECT * FROM by_minute ORDER BY minute, shop;
SELECT * FROM final;

-- The watermark passes 12:01.
INSERT INTO payments VALUES (4, '2026-05-01 12:01:20', 1, 2);
SELECT braid.wait('by_minute'), braid.wait('final');
SELECT * FROM final;

-- What comes for that minute now is late.
INSERT INTO payments VALUES (5, '2026-05-01 12:00:59', 1, 100);
DELETE FROM payments WHERE id = 1;
SELECT braid.wait('by_minute'), braid.wait('final');
SELECT * FROM by_minute ORDER BY minute, shop;
SELECT * FROM final;
SELECT "row", weight, reason, watermark FROM braid.diverted('by_minute');
SELECT name, watermark, late, dropped, diverted FROM braid.views ORDER BY name::text;
SELECT * FROM braid.verify('by_minute');

-- And can be merged.
SELECT braid.merge_diverted('by_minute');
SELECT braid.wait('by_minute');
SELECT * FROM by_minute ORDER BY minute, shop;
SELECT count(*) FROM braid.diverted('by_minute');

-- Options can be changed.
ALTER MATERIALIZED VIEW by_minute SET (braid.late = 'update');
SELECT braid.wait('by_minute');
SELECT options FROM braid.views WHERE name = 'by_minute'::regclass;
ALTER MATERIALIZED VIEW final SET (braid.emit = 'change', braid.late = 'drop');
SELECT * FROM final ORDER BY minute;
ALTER MATERIALIZED VIEW final RESET (braid.emit, braid.late);
SELECT braid.wait('final');
SELECT * FROM final ORDER BY minute;
SELECT operator, state IS NOT NULL AS has_state FROM braid.explain('final');

-- Rows that are aside are given up with the policy; a NOTICE says so.
ALTER MATERIALIZED VIEW by_minute SET (braid.late = 'divert');
DO $$ BEGIN
	WHILE (SELECT new_query IS NOT NULL FROM braid.views WHERE name = 'by_minute'::regclass) LOOP
		PERFORM pg_sleep(0.01);
		COMMIT;
	END LOOP;
END $$;
INSERT INTO payments VALUES (6, '2026-05-01 12:00:01', 2, 50);
SELECT braid.wait('by_minute');
SELECT "row", weight, reason FROM braid.diverted('by_minute');
SET client_min_messages = notice;
ALTER MATERIALIZED VIEW by_minute SET (braid.late = 'update');
SET client_min_messages = warning;
SELECT braid.wait('by_minute');
SELECT * FROM by_minute ORDER BY minute, shop;

-- Sessions: rushes of a shop, shown when they have ended. What is more than the gap behind
-- the watermark is late, unless it is within a session that is open.
CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, shop int, amount int);
CREATE MATERIALIZED VIEW rushes WITH (braid.continuous,
	braid.watermark = 'ts - interval ''10 s''', braid.emit = 'close', braid.late = 'divert') AS
	SELECT shop, started, ended, count(*), sum(amount)
	FROM (SELECT shop, amount, braid.session(ts, '1 min') OVER w AS started, braid.session_end(ts, '1 min') OVER w AS ended
		FROM orders WINDOW w AS (PARTITION BY shop ORDER BY ts)) s
	GROUP BY shop, started, ended;
INSERT INTO orders VALUES (1, '2026-05-01 12:00:10', 1, 5), (2, '2026-05-01 12:00:50', 1, 7), (3, '2026-05-01 12:02:00', 2, 1);
SELECT braid.wait('rushes');
TABLE rushes;
INSERT INTO orders VALUES (4, '2026-05-01 12:02:50', 2, 2), (5, '2026-05-01 12:04:00', 2, 3), (6, '2026-05-01 12:03:40', 2, 3);
SELECT braid.wait('rushes');
TABLE rushes;

-- Of shop 1 a row comes a minute after its session has ended; one of shop 2 is as late, but within a session that goes on.
INSERT INTO orders VALUES (7, '2026-05-01 12:01:30', 1, 9), (8, '2026-05-01 12:02:30', 2, 4), (9, '2026-05-01 12:06:00', 3, 8);
SELECT braid.wait('rushes');
TABLE rushes;
SELECT "row", weight, reason, watermark FROM braid.diverted('rushes');
SELECT braid.merge_diverted('rushes');
SELECT braid.wait('rushes');
SELECT * FROM rushes ORDER BY shop, started;
SELECT watermark, late, dropped, diverted FROM braid.views WHERE name = 'rushes'::regclass;
SELECT * FROM braid.verify('rushes');

-- Who groups by the end of sessions groups by a window.
CREATE MATERIALIZED VIEW rushes_by_minute WITH (braid.continuous, braid.watermark = 'ended', braid.late = 'drop') AS
	SELECT date_trunc('minute', ended) AS minute, count(*), sum(sum) FROM rushes GROUP BY 1;
SELECT braid.wait('rushes_by_minute');
INSERT INTO orders VALUES (10, '2026-05-01 12:08:00', 3, 2);
SELECT braid.wait('rushes_by_minute');
SELECT * FROM rushes_by_minute ORDER BY minute;
SELECT watermark, late, dropped FROM braid.views WHERE name = 'rushes_by_minute'::regclass;
DROP TABLE orders CASCADE;

-- Several sources, by name. The watermark is the lowest.
CREATE TABLE refunds (id int, at timestamptz, amount int);
CREATE MATERIALIZED VIEW balance WITH (braid.continuous, braid.emit = 'close',
	braid.watermark = 'p.ts, refunds.at') AS
	SELECT date_trunc('minute', at) AS minute, sum(amount)
	FROM (SELECT p.ts AS at, p.amount FROM payments p UNION ALL SELECT at, -amount FROM refunds) b GROUP BY 1;
SELECT braid.wait('balance');
SELECT watermark FROM braid.views WHERE name = 'balance'::regclass;
INSERT INTO refunds VALUES (1, '2026-05-01 12:01:10', 3);
SELECT braid.wait('balance');
SELECT watermark FROM braid.views WHERE name = 'balance'::regclass;
SELECT * FROM balance;

-- Columns can be renamed; those of a watermark are not let go.
ALTER TABLE refunds RENAME COLUMN at TO happened;
INSERT INTO refunds VALUES (2, '2026-05-01 12:01:15', 1);
SELECT braid.wait('balance');
SELECT watermark FROM braid.views WHERE name = 'balance'::regclass;

SELECT braid.definition('balance');

-- What is refused.
\set VERBOSITY terse
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.late = 'drop') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.late = 'forget') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.late = 'update', braid.emit = 'close') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.retain = 'long') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.watermark_idle = 'soon') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
\set VERBOSITY default
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts - 5', braid.late = 'drop') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'when') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'amount') AS SELECT p.amount FROM payments p JOIN refunds USING (id);
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'p.amount + r.amount') AS SELECT p.amount FROM payments p JOIN refunds r USING (id);
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts, amount') AS SELECT count(*) FROM payments;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts::text') AS SELECT count(*) FROM payments;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'max(ts)') AS SELECT count(*) FROM payments;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'now()') AS SELECT count(*) FROM payments;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.late = 'drop') AS SELECT shop, count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'id', braid.late = 'drop') AS SELECT braid.tumble(ts, '1 min'), count(*) FROM payments GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.emit = 'close') AS
	SELECT since, count(*) FROM (SELECT braid.session(ts, '1 min') OVER (PARTITION BY shop ORDER BY ts) AS since FROM payments) s GROUP BY 1;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'id', braid.late = 'drop') AS
	SELECT shop, since, count(*) FROM (SELECT shop, braid.session(ts, '1 min') OVER (PARTITION BY shop ORDER BY ts) AS since FROM payments) s GROUP BY 1, 2;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.base_deletes = 'keep') AS
	SELECT shop, since, array_agg(id) FROM (SELECT id, shop, braid.session(ts, '1 min') OVER (PARTITION BY shop ORDER BY ts) AS since FROM payments) s GROUP BY 1, 2;
CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'ts', braid.base_deletes = 'keep') AS SELECT braid.tumble(ts, '1 min'), array_agg(amount) FROM payments GROUP BY 1;
ALTER MATERIALIZED VIEW final SET (braid.emit = 'close', braid.late = 'update');
ALTER MATERIALIZED VIEW final RESET (braid.watermark);
ALTER MATERIALIZED VIEW balance RESET (braid.watermark);
ALTER MATERIALIZED VIEW final SET (braid.schedule = '1 h');
SELECT * FROM braid.diverted('final');
SELECT braid.merge_diverted('payments');
SET ROLE regress_event_time;
SELECT braid.merge_diverted('by_minute');
ALTER MATERIALIZED VIEW final SET (braid.late = 'drop');
RESET ROLE;

SET client_min_messages = warning;
DROP TABLE payments, refunds CASCADE;
DROP ROLE regress_event_time;
