-- Continuous views on streams.
SET client_min_messages = warning;
SET TIME ZONE 'UTC';
CREATE FOREIGN TABLE clicks (id int, usr int, url text, ms int, price numeric(8,2), weight float8, at timestamptz) SERVER braid_stream;
CREATE TABLE users (id int PRIMARY KEY, name text, country text);
INSERT INTO users VALUES (1, 'ada', 'uk'), (2, 'bob', 'us'), (3, 'eve', 'uk');

-- What a view makes of rows as they pass: groups, distinct rows, rows as they are.
CREATE MATERIALIZED VIEW by_user WITH (braid.continuous) AS
	SELECT usr, count(*), sum(ms) AS ms, avg(price) AS price, min(at) AS first, max(weight) AS heaviest, count(*) FILTER (WHERE ms > 100) AS slow
	FROM clicks GROUP BY usr;
CREATE MATERIALIZED VIEW urls WITH (braid.continuous) AS SELECT DISTINCT url FROM clicks;
CREATE MATERIALIZED VIEW slow WITH (braid.continuous) AS SELECT id, url, ms FROM clicks WHERE ms > 100;
CREATE MATERIALIZED VIEW total WITH (braid.continuous) AS SELECT count(*), count(DISTINCT usr) AS users, sum(weight) AS weight FROM clicks;
CREATE MATERIALIZED VIEW minutes WITH (braid.continuous, braid.watermark = 'at - interval ''1 min''', braid.late = 'drop', braid.emit = 'close') AS
	SELECT braid.tumble(at, '1 min') AS minute, count(*) FROM clicks GROUP BY 1;
CREATE MATERIALIZED VIEW visits WITH (braid.continuous) AS
	SELECT usr, since, count(*) FROM (SELECT usr, braid.session(at, '10 min') OVER (PARTITION BY usr ORDER BY at) AS since FROM clicks) s GROUP BY usr, since;
-- Joins with tables, and single values of them: as they are when the row comes.
CREATE MATERIALIZED VIEW named WITH (braid.continuous) AS
	SELECT c.id, u.name, (SELECT count(*) FROM users) AS of FROM clicks c JOIN users u ON u.id = c.usr;
CREATE MATERIALIZED VIEW countries WITH (braid.continuous) AS
	SELECT u.country, count(*) FROM clicks c LEFT JOIN users u ON u.id = c.usr GROUP BY 1;
CREATE MATERIALIZED VIEW strangers WITH (braid.continuous) AS
	SELECT id, usr FROM clicks c WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = c.usr);
-- What is made of a stream can be joined as tables are, and is kept up to date from both sides.
CREATE MATERIALIZED VIEW everybody WITH (braid.continuous) AS
	SELECT u.name, coalesce(c.n, 0) AS n FROM users u LEFT JOIN (SELECT usr, count(*) AS n FROM clicks GROUP BY usr) c ON c.usr = u.id;
-- UNION ALL of what passes by, views on such views.
CREATE MATERIALIZED VIEW both_ends WITH (braid.continuous) AS
	SELECT usr AS number FROM clicks UNION ALL SELECT id FROM clicks WHERE ms < 50;
CREATE MATERIALIZED VIEW sizes WITH (braid.continuous) AS SELECT count AS size, count(*) AS users FROM by_user GROUP BY count;

SELECT name, braid.wait(name, '1 min') FROM braid.views ORDER BY name::text;

INSERT INTO clicks VALUES
	(1, 1, '/', 40, 1.50, 0.5, '2026-01-01 10:00:10'), (2, 2, '/a', 140, 2.25, 0.25, '2026-01-01 10:00:20'), (3, 1, '/a', 20, NULL, 1e300, '2026-01-01 10:01:10'),
	(4, NULL, '/', 300, 3, -1e300, '2026-01-01 10:02:10'), (5, 7, NULL, NULL, 1, 1, NULL);
SELECT bool_and(braid.wait(name, '1 min')) FROM braid.views;
SELECT * FROM by_user ORDER BY usr;
SELECT * FROM urls ORDER BY url;
SELECT * FROM slow ORDER BY id;
SELECT * FROM total;
SELECT * FROM minutes ORDER BY minute;
SELECT * FROM visits ORDER BY usr, since;
SELECT * FROM named ORDER BY id;
SELECT * FROM countries ORDER BY country;
SELECT * FROM strangers ORDER BY id;
SELECT * FROM everybody ORDER BY name;
SELECT * FROM both_ends ORDER BY number;
SELECT * FROM sizes ORDER BY size;

-- A table that changes does so for the rows to come; what is made of a stream follows it.
BEGIN;
UPDATE users SET name = 'bert', country = 'fr' WHERE id = 2;
DELETE FROM users WHERE id = 1;
INSERT INTO users VALUES (7, 'zoe', 'fr'), (8, 'max', 'fr');
COMMIT;
SELECT bool_and(braid.wait(name, '1 min')) FROM braid.views;
SELECT * FROM named ORDER BY id;
SELECT * FROM countries ORDER BY country;
SELECT * FROM everybody ORDER BY name;
BEGIN;
INSERT INTO clicks SELECT g, g % 9, '/b', g, g, g, timestamptz '2026-01-01 10:05' + g * interval '1 s' FROM generate_series(100, 103) g;
SAVEPOINT s;
INSERT INTO clicks VALUES (104, 1, '/never', 1, 1, 1, '2026-01-01 10:06');
ROLLBACK TO s;
COMMIT;
SELECT bool_and(braid.wait(name, '1 min')) FROM braid.views;
SELECT * FROM by_user ORDER BY usr;
SELECT * FROM urls ORDER BY url;
SELECT * FROM total;
SELECT * FROM minutes ORDER BY minute;
SELECT * FROM visits ORDER BY usr, since;
SELECT * FROM named ORDER BY id;
SELECT * FROM countries ORDER BY country;
SELECT * FROM strangers ORDER BY id;
SELECT * FROM everybody ORDER BY name;
SELECT * FROM sizes ORDER BY size;
TRUNCATE users;
SELECT bool_and(braid.wait(name, '1 min')) FROM braid.views;
SELECT * FROM countries ORDER BY country;
SELECT * FROM everybody ORDER BY name;

-- How they are kept.
SELECT repeat('  ', depth) || operator AS operator, strategy FROM braid.explain('countries');
SELECT repeat('  ', depth) || operator AS operator, strategy FROM braid.explain('everybody');
SELECT name, base_tables, strategy, gaps, last_error FROM braid.views WHERE name IN ('countries'::regclass, 'sizes'::regclass) ORDER BY name::text;

-- A stream has no past: what would need it is refused.
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT usr, array_agg(url) FROM clicks GROUP BY usr;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM clicks;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT a.id FROM clicks a JOIN clicks b ON a.id = b.id + 1;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT u.name, c.url FROM users u LEFT JOIN clicks c ON c.usr = u.id;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT u.name, c.url FROM clicks c RIGHT JOIN users u ON c.usr = u.id;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT u.name, c.url FROM clicks c FULL JOIN users u ON c.usr = u.id;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT c.id FROM clicks c JOIN (SELECT usr, max(ms) AS ms FROM clicks GROUP BY usr) m USING (usr, ms);
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT id, ms - (SELECT avg(ms) FROM clicks) AS above FROM clicks;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT name FROM users WHERE id IN (SELECT usr FROM clicks);
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT usr FROM clicks UNION SELECT id FROM users;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT id, rank() OVER (PARTITION BY usr ORDER BY ms) FROM clicks;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT DISTINCT ON (usr) usr, url FROM clicks ORDER BY usr, at DESC;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT min(x) FROM (SELECT ms AS x FROM clicks UNION ALL SELECT sum(ms)::int FROM clicks) s;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT ctid FROM clicks;
SET braid.allow_recompute = on;
CREATE MATERIALIZED VIEW r WITH (braid.continuous, braid.schedule = '1 min') AS SELECT usr, array_agg(url) FROM clicks GROUP BY usr;
RESET braid.allow_recompute;
CREATE TABLE parts (id int, k int) PARTITION BY LIST (k);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
CREATE FOREIGN TABLE part_2 PARTITION OF parts FOR VALUES IN (2) SERVER braid_stream;
CREATE MATERIALIZED VIEW r WITH (braid.continuous) AS SELECT k, count(*) FROM parts GROUP BY k;
-- The way out: its rows in a view of their own.
CREATE MATERIALIZED VIEW kept WITH (braid.continuous) AS SELECT id, usr, ms FROM clicks;
CREATE MATERIALIZED VIEW ranked WITH (braid.continuous) AS SELECT id, usr, rank() OVER (PARTITION BY usr ORDER BY ms) FROM kept;
SELECT braid.wait('ranked', '1 min');
INSERT INTO clicks (id, usr, ms) VALUES (201, 1, 5), (202, 1, 3), (203, 2, 9);
INSERT INTO clicks (id, usr, ms) VALUES (204, 1, 4);
SELECT braid.wait('ranked', '1 min');
SELECT * FROM ranked ORDER BY id;
SELECT * FROM braid.verify('ranked');

-- It cannot be computed again.
REFRESH MATERIALIZED VIEW by_user;
SELECT * FROM braid.verify('by_user');
REFRESH MATERIALIZED VIEW ranked;
SELECT braid.wait('ranked', '1 min');
SELECT * FROM ranked ORDER BY id;

-- Another query, if what it needs is kept.
SELECT braid.alter_view('total', 'SELECT count(*), count(DISTINCT usr) AS users, sum(weight) AS weight, sum(weight) / count(*) AS mean FROM clicks');
SELECT * FROM total;
SELECT braid.alter_view('total', 'SELECT count(*), count(DISTINCT usr) AS users, sum(weight) AS weight, sum(weight) / count(*) AS mean, max(ms) FROM clicks');
ALTER MATERIALIZED VIEW minutes SET (braid.retain = '1 hour');
ALTER MATERIALIZED VIEW minutes SET (braid.late = 'divert');
INSERT INTO clicks (id, at) VALUES (205, '2026-01-01 10:00:30'), (206, '2026-01-01 10:30');
SELECT braid.wait('minutes', '1 min');
SELECT * FROM minutes ORDER BY minute;
SELECT reason, "row" FROM braid.diverted('minutes');
SELECT braid.merge_diverted('minutes');
SELECT braid.wait('minutes', '1 min');
SELECT * FROM minutes ORDER BY minute;
ALTER MATERIALIZED VIEW minutes SET (braid.emit = 'change');
ALTER MATERIALIZED VIEW minutes SET (braid.watermark = 'at - interval ''2 min''');
SELECT braid.pause('minutes'), braid.resume('minutes');
SELECT braid.wait('minutes', '1 min');
SELECT * FROM minutes ORDER BY minute;

-- The stream may be altered: columns come, and get other names.
ALTER FOREIGN TABLE clicks ADD COLUMN extra text DEFAULT 'x';
ALTER FOREIGN TABLE clicks RENAME COLUMN ms TO millis;
ALTER FOREIGN TABLE clicks RENAME TO hits;
INSERT INTO hits (id, usr, millis, price) VALUES (301, 1, 1000, 4);
SELECT braid.wait('by_user', '1 min');
SELECT usr, count, ms, price, slow FROM by_user WHERE usr = 1;
ALTER FOREIGN TABLE hits DROP COLUMN millis;
\set VERBOSITY terse
ALTER FOREIGN TABLE hits ALTER COLUMN usr TYPE bigint;
\set VERBOSITY default

-- An expression fails: the view is broken, keeps what it has, and can go on.
CREATE MATERIALIZED VIEW ratios WITH (braid.continuous) AS SELECT usr, sum(100 / id) AS ratio FROM hits GROUP BY usr;
SELECT braid.wait('ratios', '1 min');
INSERT INTO hits (id, usr) VALUES (10, 1);
SELECT braid.wait('ratios', '1 min');
INSERT INTO hits (id, usr) VALUES (0, 1);
SELECT braid.wait('ratios', '1 min');
SELECT state, last_error, gaps FROM braid.views WHERE name = 'ratios'::regclass;
INSERT INTO hits (id, usr) VALUES (20, 1);
SELECT braid.wait('total', '1 min');
RESET client_min_messages;
REFRESH MATERIALIZED VIEW ratios;
SELECT braid.wait('ratios', '1 min');
INSERT INTO hits (id, usr) VALUES (50, 1);
SELECT braid.wait('ratios', '1 min');
SELECT * FROM ratios;
SELECT state, last_error, gaps, last_gap IS NOT NULL AS timed, gap_reason FROM braid.views WHERE name = 'ratios'::regclass;

-- While it is paused rows pass by.
SELECT braid.pause('ratios');
INSERT INTO hits (id, usr) VALUES (25, 1);
SELECT braid.wait('total', '1 min');
SELECT braid.resume('ratios');
SELECT braid.wait('ratios', '1 min');
INSERT INTO hits (id, usr) VALUES (100, 1);
SELECT braid.wait('ratios', '1 min');
SELECT * FROM ratios;
SELECT state, gaps, gap_reason FROM braid.views WHERE name = 'ratios'::regclass;

-- A view needs the privilege to read the stream.
CREATE ROLE regress_stream_reader;
CREATE SCHEMA reader AUTHORIZATION regress_stream_reader;
SET ROLE regress_stream_reader;
CREATE MATERIALIZED VIEW reader.mine WITH (braid.continuous) AS SELECT count(*) FROM hits;
RESET ROLE;
GRANT SELECT (id) ON hits TO regress_stream_reader;
SET ROLE regress_stream_reader;
CREATE MATERIALIZED VIEW reader.mine WITH (braid.continuous) AS SELECT count(usr) FROM hits;
CREATE MATERIALIZED VIEW reader.mine WITH (braid.continuous) AS SELECT count(id) FROM hits;
SELECT braid.wait('reader.mine', '1 min');
RESET ROLE;
INSERT INTO hits (id, usr) VALUES (400, 1);
SELECT braid.wait('reader.mine', '1 min');
SELECT * FROM reader.mine;
REVOKE SELECT (id) ON hits FROM regress_stream_reader;
INSERT INTO hits (id, usr) VALUES (401, 1);
SELECT braid.wait('reader.mine', '1 min');
SELECT * FROM reader.mine;

SET client_min_messages = warning;
DROP SCHEMA reader CASCADE;
DROP ROLE regress_stream_reader;
DROP FOREIGN TABLE hits;
DROP FOREIGN TABLE hits CASCADE;
DROP TABLE users, parts;
SELECT count(*) FROM braid.views;
