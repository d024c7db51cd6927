-- Views that are recomputed as a whole, because nothing else can be done.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE laps (driver text, seconds int);
INSERT INTO laps VALUES ('ann', 61), ('bob', 64), ('cid', 62);
CREATE PROCEDURE wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
	met boolean := false;
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXECUTE 'SELECT ' || condition INTO met;
		EXIT WHEN met;
		PERFORM pg_sleep(0.05);
		COMMIT;
	END LOOP;
	RAISE NOTICE '%: %', condition, met;
END
$$;
RESET client_min_messages;

-- Without being told so, never.
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous) AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = '1 s') AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps;
SET braid.allow_recompute = on;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = '1 ms') AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = 'soon') AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps;
CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.pace = 'slow') AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps;
SELECT braid.create_view('ranks', 'SELECT 1', '{"schedule": 5}');

CREATE MATERIALIZED VIEW ranks WITH (braid.continuous, braid.schedule = '1 s') AS
	SELECT driver, rank() OVER (ORDER BY seconds) FROM laps ORDER BY 2 LIMIT 2;
SELECT braid.wait('ranks');
TABLE ranks;
SELECT name, state, strategy, base_tables, options FROM braid.views;
SELECT node, depth, operator, strategy FROM braid.explain('ranks');

-- Another view can read it; it follows when the other is recomputed.
CREATE MATERIALIZED VIEW winners WITH (braid.continuous) AS
	SELECT count(*), min(driver), max(driver) FROM ranks;
SELECT braid.wait('winners');
INSERT INTO laps VALUES ('dot', 60);
CALL wait_for($$(SELECT min || ',' || max FROM winners) = 'ann,dot'$$);
TABLE ranks;

-- Whether it is right cannot be asked: it is right only once in a while.
SELECT * FROM braid.verify('ranks');

-- REFRESH computes it now, whatever the schedule.
SELECT braid.create_view('numbers', 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < (SELECT count(*) FROM laps)) SELECT i FROM n', '{"schedule": "1 day"}');
SELECT braid.wait('numbers');
SELECT count(*) FROM numbers;
DELETE FROM laps WHERE driver IN ('dot', 'cid');
REFRESH MATERIALIZED VIEW numbers;
SELECT braid.wait('numbers');
SELECT count(*) FROM numbers;

RESET braid.allow_recompute;
SET client_min_messages = warning;
DROP TABLE laps CASCADE;
DROP PROCEDURE wait_for;
