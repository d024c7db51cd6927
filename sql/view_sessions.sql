-- Continuous views of sessions: grouped by braid.session() and its keys.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE TABLE clicks (id int PRIMARY KEY, user_id text, at timestamp, amount int);

CREATE MATERIALIZED VIEW visits WITH (braid.continuous) AS
	SELECT user_id, started, ended, count(*) AS clicks, sum(amount) AS amount
	FROM (
		SELECT user_id, amount,
			braid.session(at, '10 min') OVER w AS started, braid.session_end(at, '10 min') OVER w AS ended
		FROM clicks WINDOW w AS (PARTITION BY user_id ORDER BY at)) s
	GROUP BY user_id, started, ended;
CREATE MATERIALIZED VIEW visits_per_user WITH (braid.continuous) AS
	SELECT user_id, count(*) AS visits, max(clicks) AS most, max(ended - started) AS longest FROM visits GROUP BY user_id;

INSERT INTO clicks VALUES
	(1, 'ann', '2026-03-01 08:00', 10), (2, 'ann', '2026-03-01 08:07', 20), (3, 'ann', '2026-03-01 08:25', 30),
	(4, 'bob', '2026-03-01 08:05', 1), (5, 'bob', '2026-03-01 08:15', 2), (6, NULL, '2026-03-01 08:00', 5);
SELECT braid.wait('visits_per_user');
SELECT * FROM visits ORDER BY user_id, started;
SELECT * FROM visits_per_user ORDER BY user_id;

-- A late row joins two sessions, others lengthen one at either end.
INSERT INTO clicks VALUES (7, 'ann', '2026-03-01 08:16', 40), (8, 'bob', '2026-03-01 08:24:59', 3), (9, NULL, '2026-03-01 07:51', 6);
SELECT braid.wait('visits_per_user');
SELECT * FROM visits ORDER BY user_id, started;

-- Without it they are two again; a row that moves takes its clicks along.
DELETE FROM clicks WHERE id = 7;
UPDATE clicks SET at = at + interval '1 day' WHERE id = 5;
SELECT braid.wait('visits_per_user');
SELECT * FROM visits ORDER BY user_id, started;
SELECT * FROM visits_per_user ORDER BY user_id;

-- Rows without an event time are in no session.
INSERT INTO clicks VALUES (10, 'ann', NULL, 7), (11, 'ann', NULL, 8);
SELECT braid.wait('visits_per_user');
SELECT * FROM visits WHERE started IS NULL;
DELETE FROM clicks WHERE id = 10;
SELECT braid.wait('visits_per_user');
SELECT * FROM visits WHERE started IS NULL;
SELECT count(*) FROM braid.verify('visits');
SELECT count(*) FROM braid.verify('visits_per_user');

-- One row for each session is kept, and none of the clicks.
SELECT regexp_replace(line, '(bytes=|rows=|time=|state_)[0-9._]+', '\1N', 'g') FROM braid.explain_text('visits') line;

-- Keys in any order, one of start and end, conditions and expressions over them; dates, numbers.
CREATE MATERIALIZED VIEW long_visits WITH (braid.continuous) AS
	WITH s AS (SELECT *, braid.session_end(at, interval '1 h' / 6) OVER (PARTITION BY user_id ORDER BY at, id) AS ended FROM clicks WHERE amount > 1)
	SELECT ended - interval '10 min' AS last_click, upper(user_id) AS who, avg(amount), string_agg(id::text, ' ' ORDER BY id) AS ids
	FROM s GROUP BY ended, user_id HAVING count(*) > 1 ORDER BY who, last_click;
CREATE MATERIALIZED VIEW days WITH (braid.continuous) AS
	SELECT since, NOT unknown AS known, count(*) FROM (
		SELECT user_id IS NULL AS unknown, braid.session(at::date, '1 day') OVER (PARTITION BY user_id IS NULL ORDER BY at::date) AS since FROM clicks) s
	GROUP BY since, unknown;
CREATE MATERIALIZED VIEW runs WITH (braid.continuous) AS
	SELECT run, high, count(*), min(amount), max(amount) FROM (
		SELECT amount, braid.session(id, 2) OVER (PARTITION BY amount > 5 ORDER BY id) AS run, amount > 5 AS high FROM clicks) s
	GROUP BY run, high;
SELECT braid.wait('long_visits'), braid.wait('days'), braid.wait('runs');
TABLE long_visits;
SELECT * FROM days ORDER BY since, known;
SELECT * FROM runs ORDER BY run;
SELECT v, string_agg(operator, ', ' ORDER BY depth) FILTER (WHERE operator LIKE 'sessions%') AS kept_by
FROM unnest(ARRAY['long_visits', 'days', 'runs']) v, braid.explain(v::regclass) GROUP BY v ORDER BY v;

-- What is asked beside the sessions is computed for each key from all of its rows.
CREATE MATERIALIZED VIEW starts WITH (braid.continuous) AS
	SELECT started, count(*) FROM (SELECT braid.session(at, '10 min') OVER (PARTITION BY user_id ORDER BY at) AS started FROM clicks) s
	GROUP BY started;
CREATE MATERIALIZED VIEW clicks_of_visits WITH (braid.continuous) AS
	SELECT user_id, started, count(*), max(at - started) AS lasted FROM (
		SELECT user_id, at, braid.session(at, '10 min') OVER (PARTITION BY user_id ORDER BY at) AS started FROM clicks) s
	GROUP BY user_id, started;
SELECT braid.wait('starts'), braid.wait('clicks_of_visits');
SELECT * FROM starts ORDER BY started;
SELECT * FROM clicks_of_visits ORDER BY user_id, started;
SELECT v, string_agg(operator, ', ' ORDER BY depth) FILTER (WHERE state IS NOT NULL) AS kept_by
FROM unnest(ARRAY['starts', 'clicks_of_visits']) v, braid.explain(v::regclass) GROUP BY v ORDER BY v;

-- Another query over the same sessions is shown at once; another gap is another state.
SELECT braid.alter_view('days', $$
	SELECT since, NOT unknown AS known, count(*), until - since AS days FROM (
		SELECT user_id IS NULL AS unknown, braid.session(at::date, '1 day') OVER w AS since, braid.session_end(at::date, '1 day') OVER w AS until
		FROM clicks WINDOW w AS (PARTITION BY user_id IS NULL ORDER BY at::date)) s
	GROUP BY since, until, unknown HAVING count(*) > 1$$);
SELECT * FROM days ORDER BY since, known;
SELECT braid.alter_view('days', $$
	SELECT since, NOT unknown AS known, count(*), until - since AS days FROM (
		SELECT user_id IS NULL AS unknown, braid.session(at::date, '2 days') OVER w AS since, braid.session_end(at::date, '2 days') OVER w AS until
		FROM clicks WINDOW w AS (PARTITION BY user_id IS NULL ORDER BY at::date)) s
	GROUP BY since, until, unknown HAVING count(*) > 1$$);

-- Sessions of all rows can be kept if they are grouped; one by one the rows would all be computed each time.
CREATE MATERIALIZED VIEW busy WITH (braid.continuous) AS
	SELECT started, max(at) AS until, count(*) FROM (SELECT at, braid.session(at, '10 min') OVER (ORDER BY at) AS started FROM clicks) s GROUP BY started;
SELECT braid.wait('busy');
SELECT * FROM busy ORDER BY started;
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT id, braid.session(at, '10 min') OVER (ORDER BY at) AS started FROM clicks;
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT started, max(at - started) FROM (SELECT at, braid.session(at, '10 min') OVER (ORDER BY at) AS started FROM clicks) s GROUP BY started;

-- What would break the view with its first rows is refused: gaps that are none, and rows from late to early.
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT user_id, started, count(*) FROM (SELECT user_id, braid.session(at, '0 s') OVER (PARTITION BY user_id ORDER BY at) AS started FROM clicks) s GROUP BY 1, 2;
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT id, braid.session_end(id, -1) OVER (PARTITION BY user_id ORDER BY id) AS until FROM clicks;
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT id, braid.session(at, '1 month') OVER (PARTITION BY user_id ORDER BY at) AS started FROM clicks;
CREATE MATERIALIZED VIEW refused WITH (braid.continuous) AS
	SELECT user_id, started, count(*) FROM (SELECT user_id, braid.session(at, '10 min') OVER (PARTITION BY user_id ORDER BY at DESC) AS started FROM clicks) s GROUP BY 1, 2;

DROP MATERIALIZED VIEW visits CASCADE;
DROP TABLE clicks CASCADE;
