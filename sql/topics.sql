-- Topics: what can be sent, by whom, and what becomes of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
RESET client_min_messages;
CREATE SCHEMA topics;
SET search_path = topics;
CREATE ROLE regress_topic_owner;
CREATE ROLE regress_topic_sender;
CREATE ROLE regress_topic_reader;
GRANT CREATE, USAGE ON SCHEMA topics TO regress_topic_owner;
GRANT USAGE ON SCHEMA topics TO regress_topic_sender, regress_topic_reader;

-- A topic is a view.
SELECT braid.create_topic('orders', partitions => 4);
SELECT braid.send('orders', '{"id": 1, "amount": 10}', key => 'alice');
SELECT braid.send('orders', '{"id": 2, "amount": 20}'::jsonb, key => 'bob', headers => '{"trace": "x1"}');
INSERT INTO orders (key, payload, priority) VALUES ('alice', '{"id": 3}', 5) RETURNING id, partition, key, payload, priority, sent_at <= clock_timestamp() AS sent;
SELECT id, partition, key, headers, payload, deliver_at, priority, dedup_key FROM orders ORDER BY id;
SELECT count(DISTINCT partition) FROM orders WHERE key = 'alice';

-- Many at once.
SELECT braid.send_batch('orders', ARRAY['{"id": 4}', '{"id": 5}', NULL], ARRAY['carol', NULL, 'dave']);
SELECT braid.send_batch('orders', ARRAY['{"id": 7}', '{"id": 8}']::jsonb[], headers => ARRAY[NULL, '{"h": 1}']::jsonb[], priorities => ARRAY[1, NULL],
	deliver_at => ARRAY['2100-01-01 00:00+00', NULL]::timestamptz[]);
SELECT braid.send_batch('orders', $$SELECT jsonb_build_object('id', i) AS payload, 'k' || i AS key, i AS priority FROM generate_series(9, 11) i$$);
SELECT braid.send_batch('orders', '{}'::text[]);
COPY orders (key, payload) FROM PROGRAM 'printf ''erin\t{"id": 12}\nfrank\t{"id": 13}\n''';
SELECT id, key, headers, payload, deliver_at = '2100-01-01 00:00+00' AS late, priority FROM orders WHERE id > 3 ORDER BY id;

-- Messages without a key are spread over the partitions.
SELECT braid.send_batch('orders', array_agg('{}'::text)) FROM generate_series(1, 100);
SELECT partition, count(*) FROM orders WHERE payload = '{}' GROUP BY 1 ORDER BY 1;

-- Sending is part of the transaction, and of its savepoints.
BEGIN;
SELECT braid.send('orders', '{"id": 100}') IS NOT NULL AS sent;
SAVEPOINT s;
SELECT braid.send('orders', '{"id": 101}') IS NOT NULL AS sent;
ROLLBACK TO s;
SELECT braid.send('orders', '{"id": 102}') IS NOT NULL AS sent;
COMMIT;
BEGIN;
SELECT braid.send('orders', '{"id": 103}') IS NOT NULL AS sent;
ROLLBACK;
SELECT payload FROM orders WHERE (payload->>'id')::int >= 100 ORDER BY id;

-- Payloads of other types.
SELECT braid.create_topic('notes', payload => 'text');
SELECT braid.create_topic('blobs', payload => 'bytea');
SELECT braid.send('notes', 'not { json'), braid.send('notes', '{"a": 1}'::jsonb), braid.send('blobs', '\x00ff'), braid.send('blobs', '\x01'::bytea);
SELECT payload FROM notes ORDER BY id;
SELECT payload FROM blobs ORDER BY id;
SELECT braid.send('blobs', '{}'::jsonb);
SELECT braid.send('orders', 'no json');
-- Large ones are stored out of line.
SELECT braid.send('notes', repeat('x', 1000000)) IS NOT NULL AS sent;
SELECT max(length(payload)) FROM notes;

-- What cannot be sent.
SELECT braid.send('orders', '1', headers => '[]');
SELECT braid.send('orders', '1', priority => 40000);
SELECT braid.send('orders', '1', deliver_at => 'infinity');
SELECT braid.send('orders', '1', dedup_key => 'x');
SELECT braid.send(NULL, '1'::text);
SELECT braid.send('pg_class', '1');
SELECT braid.send('no_such_topic', '1');
SELECT braid.send_batch('orders', ARRAY['1', '2'], ARRAY['a']);
SELECT braid.send_batch('orders', ARRAY[['1'], ['2']]);
SELECT braid.send_batch('orders', 'SELECT 1 AS price');
SELECT braid.send_batch('orders', 'SELECT 1 AS key');
SELECT braid.send_batch('orders', 'SELECT 1 AS payload');
SELECT braid.send_batch('orders', 'CREATE TABLE x ()');
INSERT INTO orders (id, payload) VALUES (1, '1');
INSERT INTO orders (sent_at, payload) VALUES (now(), '1');
INSERT INTO orders (partition, payload) VALUES (4, '1');
INSERT INTO orders (partition, payload) VALUES (2, '"two"') RETURNING partition;
UPDATE orders SET payload = '1';
DELETE FROM orders;
TRUNCATE orders;
BEGIN READ ONLY;
SELECT braid.send('orders', '1');
ROLLBACK;

-- De-duplication.
SELECT braid.create_topic('payments', dedup_window => '1 hour');
SELECT braid.send('payments', '1', dedup_key => 'a') AS first, braid.send('payments', '2', dedup_key => 'b') AS other,
	braid.send('payments', '3', dedup_key => 'a') AS again;
SELECT braid.send_batch('payments', ARRAY['4', '5', '6', '7'], dedup_keys => ARRAY['b', 'c', 'c', NULL]);
INSERT INTO payments (payload, dedup_key) VALUES ('8', 'c'), ('9', 'd') RETURNING payload;
BEGIN;
SELECT braid.send('payments', '10', dedup_key => 'e') IS NOT NULL AS sent;
ROLLBACK;
SELECT braid.send('payments', '11', dedup_key => 'e') IS NOT NULL AS sent;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM payments;
SELECT braid.send('payments', '12', dedup_key => 'e') = max(id) AS is_first FROM payments;
COMMIT;
SELECT payload, dedup_key FROM payments ORDER BY id;
SELECT braid.send('payments', '1', dedup_key => repeat('x', 1025));
SELECT braid.alter_topic('payments', '{"dedup_window": null}');
SELECT braid.send('payments', '13', dedup_key => 'e');
SELECT braid.alter_topic('payments', '{"dedup_window": "5 minutes"}');
SELECT braid.send('payments', '14', dedup_key => 'e') IS NOT NULL AS sent;

-- Options.
SELECT braid.create_topic('t', partitions => 0);
SELECT braid.create_topic('t', partitions => 1025);
SELECT braid.create_topic('t', segments => 1);
SELECT braid.create_topic('t', payload => 'int');
SELECT braid.create_topic('t', retain => '-1 s');
SELECT braid.create_topic('t', retain_size => -1);
SELECT braid.create_topic('t', dedup_window => '0');
SELECT braid.create_topic('t', notify => NULL);
SELECT braid.create_topic(NULL);
SELECT braid.create_topic('pg_temp.t');
SELECT braid.create_topic('no_such_schema.t');
SELECT braid.create_topic('orders');
SELECT braid.alter_topic('orders', '{"retain": "7 days", "retain_size": 1000000000, "notify": true}');
SELECT braid.alter_topic('orders', '{"retain_size": null}');
SELECT braid.alter_topic('orders', '{"partitions": 8}');
\set SHOW_CONTEXT never
SELECT braid.alter_topic('orders', '{"retain": "yes"}');
\set SHOW_CONTEXT errors
SELECT braid.alter_topic('orders', '{"retain": "-1 day"}');
SELECT braid.alter_topic('orders', '[]');
SELECT topic, partitions, payload, retain, retain_size, dedup_window, notify, segments FROM braid.topics ORDER BY topic::text COLLATE "C";

-- Privileges are those of the view.
SET ROLE regress_topic_owner;
SELECT braid.create_topic('owned');
GRANT INSERT ON owned TO regress_topic_sender;
GRANT SELECT ON owned TO regress_topic_reader;
SELECT braid.send('owned', '1');
SET ROLE regress_topic_sender;
SELECT braid.send('owned', '2');
INSERT INTO owned (payload) VALUES ('3');
SELECT * FROM owned;
SELECT braid.rotate_topic('owned');
SELECT braid.alter_topic('owned', '{}');
SELECT braid.drop_topic('owned');
SET ROLE regress_topic_reader;
SELECT id, payload FROM owned ORDER BY id;
SELECT braid.send('owned', '4');
SELECT braid.send_batch('owned', ARRAY['4']);
SELECT braid.send_batch('owned', 'SELECT 1');
SELECT braid.create_topic('mine');
RESET ROLE;
SELECT has_table_privilege('regress_topic_owner', m.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes,
	has_table_privilege('regress_topic_sender', m.oid, 'SELECT') AS reads
FROM pg_class m JOIN braid_internal.topics t ON m.relname = 'topic_' || t.id WHERE t.view = 'owned'::regclass;

-- The view is altered as any other one, and the topic follows.
ALTER VIEW owned RENAME TO renamed;
ALTER VIEW renamed OWNER TO regress_topic_sender;
ALTER VIEW renamed RENAME COLUMN payload TO body;
SET ROLE regress_topic_sender;
SELECT id, body FROM renamed ORDER BY id;
INSERT INTO renamed (body) VALUES ('5') RETURNING id, body;
RESET ROLE;
REASSIGN OWNED BY regress_topic_sender TO regress_topic_owner;
DROP OWNED BY regress_topic_sender;
SET ROLE regress_topic_owner;
SELECT count(*) FROM renamed;
RESET ROLE;
CREATE OR REPLACE VIEW renamed AS SELECT id, partition, key, headers, body, sent_at, deliver_at, priority, dedup_key FROM renamed;
CREATE VIEW plain AS SELECT 1 AS a;
CREATE TRIGGER fake INSTEAD OF INSERT ON plain FOR EACH ROW EXECUTE FUNCTION braid_internal.topic_write();
INSERT INTO plain VALUES (2);
SELECT braid.drop_topic('plain');
DROP VIEW plain;

-- Rotation: nothing goes while nobody has read it, unless it is too old or too much.
SELECT braid.create_topic('brief', retain => '0');
SELECT braid.send_batch('brief', 'SELECT to_jsonb(i) AS payload FROM generate_series(1, 5000) i');
SELECT count(*) FROM brief;
SELECT braid.rotate_topic('brief');
SELECT count(*) FROM brief;
SELECT messages, bytes < 1000000 AS is_small FROM braid.topics WHERE topic = 'brief'::regclass;
SELECT braid.send('brief', '{}') > 5000 AS goes_on;
SELECT braid.create_topic('kept');
SELECT braid.send('kept', '1');
SELECT braid.rotate_topic('kept');
SELECT count(*) FROM kept;

-- Dropping.
CREATE TABLE names AS SELECT 'braid_internal.topic_' || id AS name, id FROM braid_internal.topics WHERE view IN ('kept'::regclass, 'brief'::regclass, 'notes'::regclass);
CREATE VIEW reader AS SELECT * FROM kept;
DROP VIEW kept;
SELECT braid.drop_topic('kept');
SELECT braid.drop_topic('kept', true);
DROP VIEW brief;
BEGIN;
DROP VIEW notes;
SELECT braid.send('notes', '1');
ROLLBACK;
SELECT braid.send('notes', 'again') IS NOT NULL AS sent;
SELECT braid.drop_topic('notes');
SELECT to_regclass(name) FROM names;
SELECT count(*) FROM braid_internal.topic_segments WHERE topic IN (SELECT id FROM names);
BEGIN;
SELECT braid.create_topic('passing');
SELECT braid.send('passing', '1');
ROLLBACK;
SELECT braid.send('passing', '1');
DO $$ BEGIN PERFORM braid.create_topic('topics.passing'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
SELECT braid.send('passing', '1');
SET client_min_messages = warning;
DROP SCHEMA topics CASCADE;
SELECT count(*) FROM braid_internal.topics;
SELECT count(*) FROM pg_class WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^topic_[0-9]';
DROP ROLE regress_topic_owner, regress_topic_sender, regress_topic_reader;
