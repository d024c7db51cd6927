-- Streams: foreign tables whose rows are kept by nothing but the continuous views on them. What
-- docs/reference.md shows, and all else that one may do with a table.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
RESET client_min_messages;

CREATE FOREIGN TABLE clicks (
	at timestamptz NOT NULL DEFAULT now(),
	page text NOT NULL,
	visitor int CHECK (visitor > 0),
	ms double precision
) SERVER braid_stream;

CREATE MATERIALIZED VIEW per_page WITH (braid.continuous) AS
	SELECT page, count(*), avg(ms) AS ms FROM clicks GROUP BY page;
SELECT braid.wait('per_page');

-- What is written is in the view as soon as it has committed, and nowhere else.
INSERT INTO clicks (page, visitor, ms) VALUES ('/', 1, 12.5), ('/', 2, 37.5), ('/help', 1, 80);
COPY clicks (page, visitor, ms) FROM PROGRAM 'printf "/,3,10\n/help,,\n"' (FORMAT csv);
INSERT INTO clicks (page, visitor) SELECT '/news', g FROM generate_series(1, 1000) g;
SELECT braid.wait('per_page');
SELECT * FROM per_page ORDER BY page;
SELECT page FROM clicks;

-- Rows that were rolled back are never seen.
BEGIN;
INSERT INTO clicks (page) VALUES ('/first');
SAVEPOINT s;
INSERT INTO clicks (page) VALUES ('/second');
ROLLBACK TO s;
INSERT INTO clicks (page) VALUES ('/third');
RELEASE s;
COMMIT;
BEGIN;
INSERT INTO clicks (page) VALUES ('/fourth');
ROLLBACK;
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		BEGIN
			INSERT INTO clicks (page, visitor) VALUES ('/loop', i);
			PERFORM 1 / (i % 10);
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT braid.wait('per_page');
SELECT page, count FROM per_page WHERE page NOT IN ('/', '/help', '/news') ORDER BY page;

-- Two-phase commit.
BEGIN;
INSERT INTO clicks (page) VALUES ('/kept');
PREPARE TRANSACTION 'stream kept';
BEGIN;
INSERT INTO clicks (page) VALUES ('/given up');
PREPARE TRANSACTION 'stream given up';
SELECT braid.wait('per_page');
SELECT count(*) FROM per_page WHERE page IN ('/kept', '/given up');
COMMIT PREPARED 'stream kept';
ROLLBACK PREPARED 'stream given up';
SELECT braid.wait('per_page');
SELECT page, count FROM per_page WHERE page IN ('/kept', '/given up');

-- Constraints are checked, as those of a table are.
INSERT INTO clicks (at, page, visitor) VALUES ('2026-03-01 12:00', '/', 0);
INSERT INTO clicks (at, visitor) VALUES ('2026-03-01 12:00', 1);
COPY clicks (at, page, visitor) FROM PROGRAM 'printf "2026-03-01\t/\t1\n2026-03-01\t/\t-1\n"';

-- There is nothing to read, to change or to remove.
SELECT * FROM clicks;
EXPLAIN SELECT count(*) FROM clicks JOIN per_page USING (page);
UPDATE clicks SET page = '/';
DELETE FROM clicks;
TRUNCATE clicks;
COPY clicks TO STDOUT;
COPY (SELECT * FROM clicks) TO STDOUT;
CREATE MATERIALIZED VIEW snapshot AS SELECT * FROM clicks;
MERGE INTO clicks USING (VALUES ('/')) v (p) ON page = p WHEN NOT MATCHED THEN INSERT (page) VALUES (p);
ANALYZE clicks;
CREATE INDEX ON clicks (page);
ALTER FOREIGN TABLE clicks ADD PRIMARY KEY (visitor);
INSERT INTO clicks (page) VALUES ('/') ON CONFLICT (page) DO NOTHING;

-- Nor is there anything to choose.
CREATE FOREIGN TABLE wrong (a int) SERVER braid_stream OPTIONS (table_name 'x');
CREATE FOREIGN TABLE wrong (a int OPTIONS (column_name 'x')) SERVER braid_stream;
ALTER SERVER braid_stream OPTIONS (host 'x');

-- Defaults, identities, generated columns and domains; RETURNING.
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE FOREIGN TABLE readings (
	id bigint GENERATED ALWAYS AS IDENTITY,
	sensor text DEFAULT 'none',
	value numeric NOT NULL,
	twice numeric GENERATED ALWAYS AS (value * 2) STORED,
	humidity percent
) SERVER braid_stream;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW all_readings WITH (braid.continuous) AS SELECT * FROM readings;
RESET client_min_messages;
SELECT braid.wait('all_readings');
INSERT INTO readings (sensor, value, humidity) VALUES ('a', 1.5, 50), (DEFAULT, 2, NULL) RETURNING *;
INSERT INTO readings (value, humidity) VALUES (3, 101);
INSERT INTO readings (value, twice) VALUES (3, 3);
PREPARE put (text, numeric) AS INSERT INTO readings (sensor, value) VALUES ($1, $2);
EXECUTE put('p', 10);
EXECUTE put('p', 20);
DEALLOCATE put;
WITH put AS (INSERT INTO readings (sensor, value) VALUES ('with', 30) RETURNING id) SELECT id FROM put;
SELECT braid.wait('all_readings');
SELECT sensor, value, twice, humidity FROM all_readings ORDER BY id;

-- A view through which one writes to a stream.
CREATE VIEW kitchen AS SELECT sensor, value FROM readings WHERE sensor = 'kitchen' WITH CHECK OPTION;
INSERT INTO kitchen VALUES ('kitchen', 21);
INSERT INTO kitchen VALUES ('cellar', 12);

-- Triggers.
CREATE FUNCTION clean_reading() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.value < 0 THEN
		RETURN NULL;
	END IF;
	new.sensor := upper(new.sensor);
	RETURN new;
END $$;
CREATE TABLE audit (sensor text, value numeric);
CREATE FUNCTION note_reading() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO audit VALUES (new.sensor, new.value);
	RETURN NULL;
END $$;
CREATE TRIGGER clean BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION clean_reading();
CREATE TRIGGER note AFTER INSERT ON readings FOR EACH ROW EXECUTE FUNCTION note_reading();
INSERT INTO readings (sensor, value) VALUES ('t', 1), ('t', -1);
COPY readings (sensor, value) FROM PROGRAM 'printf "u\t2\nu\t-2\n"';
SELECT braid.wait('all_readings');
SELECT sensor, value, twice FROM all_readings WHERE sensor IN ('T', 'U', 't', 'u') ORDER BY 1;
TABLE audit;

-- From a table: what its trigger puts into a stream is that transaction's.
CREATE TABLE orders (id int PRIMARY KEY, state text);
CREATE FOREIGN TABLE order_changes (id int, before text, after text) SERVER braid_stream;
CREATE FUNCTION note_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO order_changes VALUES (new.id, CASE tg_op WHEN 'UPDATE' THEN old.state END, new.state);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE ON orders DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION note_order();
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW order_flow WITH (braid.continuous) AS
	SELECT before, after, count(*) FROM order_changes GROUP BY 1, 2;
RESET client_min_messages;
SELECT braid.wait('order_flow');
BEGIN;
INSERT INTO orders SELECT g, 'new' FROM generate_series(1, 3) g;
UPDATE orders SET state = 'paid' WHERE id < 3;
COMMIT;
SELECT braid.wait('order_flow');
SELECT * FROM order_flow ORDER BY 1, 2;

-- Partitions of a table: some kept, others only passing by.
CREATE TABLE events (kind text, n int, doubled int GENERATED ALWAYS AS (n * 2) STORED) PARTITION BY LIST (kind);
CREATE TABLE events_kept PARTITION OF events FOR VALUES IN ('sale');
CREATE FOREIGN TABLE events_passing PARTITION OF events (CONSTRAINT positive CHECK (n > 0))
	FOR VALUES IN ('click', 'view') SERVER braid_stream;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW passing WITH (braid.continuous) AS
	SELECT kind, count(*), sum(n) AS n, sum(doubled) AS doubled FROM events_passing GROUP BY kind;
RESET client_min_messages;
SELECT braid.wait('passing');
INSERT INTO events (kind, n) VALUES ('sale', 1), ('click', 2), ('view', 3), ('click', 4) RETURNING *, tableoid::regclass;
COPY events (kind, n) FROM PROGRAM 'printf "sale\t5\nclick\t6\n"';
INSERT INTO events (kind, n) VALUES ('click', 0);
INSERT INTO events_passing (kind, n) VALUES ('sale', 1);
UPDATE events SET kind = 'view' WHERE kind = 'sale' AND n = 5;
SELECT braid.wait('passing');
SELECT * FROM passing ORDER BY kind;
SELECT * FROM events WHERE kind = 'sale';

-- One that was a stream before, with its columns in another order.
CREATE FOREIGN TABLE errors (n int, gone int, kind text, doubled int GENERATED ALWAYS AS (n * 2) STORED) SERVER braid_stream;
ALTER FOREIGN TABLE errors DROP COLUMN gone;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW error_rows WITH (braid.continuous) AS SELECT kind, n, doubled FROM errors;
RESET client_min_messages;
ALTER TABLE events ATTACH PARTITION errors FOR VALUES IN ('error');
SELECT braid.wait('error_rows');
INSERT INTO events (kind, n) VALUES ('error', 1), ('sale', 2), ('error', 3);
ALTER TABLE events DETACH PARTITION errors;
INSERT INTO errors (kind, n) VALUES ('free', 4);
SELECT braid.wait('error_rows');
SELECT * FROM error_rows ORDER BY n;
SELECT * FROM events;

-- Privileges, down to columns; who may create in a schema may create streams there.
CREATE ROLE stream_writer;
GRANT INSERT (page, visitor) ON clicks TO stream_writer;
SET ROLE stream_writer;
INSERT INTO clicks (page, visitor) VALUES ('/writer', 1);
INSERT INTO clicks (page, ms) VALUES ('/writer', 1);
INSERT INTO readings (value) VALUES (1);
CREATE SERVER theirs FOREIGN DATA WRAPPER braid_stream;
RESET ROLE;
CREATE SCHEMA writers AUTHORIZATION stream_writer;
SET ROLE stream_writer;
CREATE FOREIGN TABLE writers.own (a int) SERVER braid_stream;
INSERT INTO writers.own VALUES (1);
DROP FOREIGN TABLE writers.own;
RESET ROLE;
SELECT braid.wait('per_page');
SELECT page, count FROM per_page WHERE page = '/writer';

-- Columns come and go, also in the midst of a transaction.
BEGIN;
INSERT INTO order_changes VALUES (10, 'x', 'y');
ALTER FOREIGN TABLE order_changes ADD COLUMN who text DEFAULT 'somebody', DROP COLUMN id;
INSERT INTO order_changes VALUES ('x', 'y', 'me');
INSERT INTO order_changes VALUES ('x', 'y');
COMMIT;
ALTER FOREIGN TABLE order_changes DROP COLUMN after;
\set VERBOSITY terse
ALTER FOREIGN TABLE order_changes ALTER COLUMN after TYPE varchar;
\set VERBOSITY default
ALTER FOREIGN TABLE order_changes RENAME COLUMN after TO afterwards;
INSERT INTO order_changes (before, afterwards) VALUES ('x', 'z');
SELECT braid.wait('order_flow');
SELECT * FROM order_flow WHERE before = 'x' ORDER BY 2;

-- One that lives for a part of a transaction.
BEGIN;
CREATE FOREIGN TABLE brief (a int) SERVER braid_stream;
INSERT INTO brief VALUES (1);
INSERT INTO clicks (page) VALUES ('/brief');
DROP FOREIGN TABLE brief;
COMMIT;

-- Nobody can write to a stream what is not a row of it.
SELECT pg_logical_emit_message(true, 'braid.stream', 'forged') IS NOT NULL;
INSERT INTO clicks (page) VALUES ('/after');
SELECT braid.wait('per_page');
SELECT page, count FROM per_page WHERE page IN ('/brief', '/after') ORDER BY page;

DROP FOREIGN TABLE clicks;
SET client_min_messages = warning;
DROP FOREIGN TABLE clicks, readings, order_changes CASCADE;
DROP FOREIGN TABLE errors CASCADE;
DROP TABLE events, orders, audit CASCADE;
DROP FUNCTION clean_reading, note_reading, note_order;
DROP DOMAIN percent;
DROP SCHEMA writers CASCADE;
DROP OWNED BY stream_writer;
DROP ROLE stream_writer;
