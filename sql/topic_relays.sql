-- Relays, as one node shows them: from one topic of a database to another one.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
RESET client_min_messages;
CREATE SCHEMA topic_relays;
SET search_path = topic_relays;
CREATE ROLE regress_relay_owner;
GRANT CREATE, USAGE ON SCHEMA topic_relays TO regress_relay_owner;
SELECT current_setting('port') AS port, split_part(current_setting('unix_socket_directories'), ',', 1) AS host,
	current_user AS me, current_database() AS db \gset

-- Example of docs/reference.md.
SELECT braid.create_topic('orders', partitions => 4, retain => '1 day');
CREATE SERVER shop FOREIGN DATA WRAPPER braid_fdw OPTIONS (host :'host', port :'port', dbname :'db');
CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (user :'me');
SELECT braid.create_topic('orders_here', partitions => 2, retain => '1 day');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', name => 'orders');

-- Returns when a relay is in that state, and has nothing more to bring.
CREATE PROCEDURE wait_for(relay_name name, wanted text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		IF EXISTS (SELECT FROM braid.relays WHERE relay = relay_name AND state = wanted AND coalesce(lag_messages, 0) = 0) THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION 'relay % is not %', relay_name, wanted;
END
$$;
CREATE PROCEDURE wait_for_messages(topic regclass, wanted int) LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXECUTE format('SELECT count(*) FROM %s', topic) INTO n;
		IF n >= wanted THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION '% has % messages', topic, n;
END
$$;

-- All of a message comes along but what is the topic's own: id, partition, time.
INSERT INTO orders (key, headers, payload, priority) VALUES ('anna', '{"from": "web"}', '{"n": 1}', 7), ('anna', NULL, NULL, 0), (NULL, NULL, '[2]', -1);
SELECT braid.send('orders', '{"n": 3}'::jsonb, key => 'bob', deliver_at => '2100-01-01 00:00 UTC') IS NOT NULL AS sent;
CALL wait_for_messages('orders_here', 4);
SELECT key, headers, payload, deliver_at AT TIME ZONE 'UTC' AS deliver_at, priority FROM orders_here ORDER BY key, id;
CALL wait_for('orders', 'streaming');
SELECT relay, topic, server, target, state, reason, advice, last_id, messages, looped, lag_messages, lag, batch_rows, batch_bytes, target_limit FROM braid.relays;
SELECT name LIKE 'relay orders %' AS name, is_work, holds FROM braid_internal.groups WHERE topic = (SELECT id FROM braid_internal.topics WHERE view = 'orders'::regclass);

-- Topics of text and bytea.
SELECT braid.create_topic('texts', payload => 'text', retain => '1 day'), braid.create_topic('texts_here', payload => 'text', retain => '1 day');
SELECT braid.create_topic('bytes', payload => 'bytea', retain => '1 day'), braid.create_topic('bytes_here', payload => 'bytea', retain => '1 day');
SELECT braid.create_relay('topic_relays.texts', 'shop', 'texts_here'), braid.create_relay('topic_relays.bytes', 'shop', 'bytes_here');
INSERT INTO texts (payload, key) VALUES (U&'gr\00fc\00dfe', 'k'), ('', ''), (NULL, NULL), (repeat('x', 100000), 'long');
INSERT INTO bytes (payload) VALUES ('\x00ff00'), ('\x');
CALL wait_for_messages('texts_here', 4);
CALL wait_for_messages('bytes_here', 2);
SELECT key, length(payload), left(payload, 5) FROM texts_here ORDER BY id;
SELECT payload FROM bytes_here ORDER BY id;

-- There and back: nothing goes round.
SELECT braid.create_relay('topic_relays.orders_here', 'shop', 'orders', name => 'back');
CALL wait_for('back', 'streaming');
INSERT INTO orders_here (payload) VALUES ('"back"');
CALL wait_for_messages('orders', 5);
CALL wait_for('orders', 'streaming');
SELECT count(*) FROM orders;
SELECT count(*) FROM orders_here;

-- A batch that cannot be stored is tried again, and others are not held up.
SELECT braid.create_relay('topic_relays.texts', 'shop', 'bytes_here', name => 'wrong');
CALL wait_for('wrong', 'failing');
SELECT reason, advice FROM braid.relays WHERE relay = 'wrong';
SELECT braid.create_relay('topic_relays.nothing', 'shop', 'bytes_here', name => 'none');
CALL wait_for('none', 'failing');
SELECT reason, advice FROM braid.relays WHERE relay = 'none';
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders', name => 'itself');
CALL wait_for('itself', 'failing');
SELECT reason, advice FROM braid.relays WHERE relay = 'itself';
SELECT braid.drop_relay('wrong', at_source => false), braid.drop_relay('none'), braid.drop_relay('itself');

-- Paused, altered, resumed.
SELECT braid.alter_relay('orders', batch_rows => 10, batch_bytes => 2000, target_limit => 1000000000, paused => true);
SELECT state, advice, batch_rows, batch_bytes, target_limit FROM braid.relays WHERE relay = 'orders';
INSERT INTO orders (payload) VALUES ('"later"');
SELECT braid.resume_relay('orders');
CALL wait_for_messages('orders_here', 6);
SELECT braid.resume_relay('orders', 'beginning');
CALL wait_for_messages('orders_here', 11);
CALL wait_for('orders', 'streaming');
-- What came from there before is not brought back; the rest is here twice.
SELECT payload, count(*) FROM orders_here GROUP BY 1 ORDER BY 1;

-- Wrong arguments.
SELECT braid.create_relay(NULL, 'shop', 'orders_here');
SELECT braid.create_relay('orders', 'shop', 'orders_here');
SELECT braid.create_relay('"my orders"', 'shop', 'orders_here');
SELECT braid.create_relay('regression.topic_relays.orders', 'shop', 'orders_here');
SELECT braid.create_relay('', 'shop', 'orders_here');
SELECT braid.create_relay('topic_relays.orders', 'nowhere', 'orders_here');
SELECT braid.create_relay('topic_relays.orders', 'braid_stream', 'orders_here');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'braid.relays');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', name => 'orders');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', name => '');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', start => 'position', name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', start => 'soon', name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', start => 'infinity', name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', batch_rows => 0, name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', batch_bytes => 100, name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', target_limit => -1, name => 'x');
SELECT braid.alter_relay('nothing', paused => true);
SELECT braid.resume_relay('orders', '-1');
SELECT braid.drop_relay('nothing');
CALL braid_internal.relay_fetch(0, 1, 1, 0, NULL);
BEGIN;
CALL braid_internal.relay_fetch(0, 1, 1, 0, NULL);
ROLLBACK;

-- Privileges: a relay is its target's owner's.
SET ROLE regress_relay_owner;
SELECT braid.create_topic('his');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'orders_here', name => 'x');
SELECT braid.create_relay('topic_relays.orders', 'shop', 'his');
SELECT braid.alter_relay('orders', paused => true);
SELECT braid.resume_relay('orders');
SELECT braid.drop_relay('orders');
SELECT count(*) FROM braid.relays;
RESET ROLE;
SET ROLE pg_monitor;
SELECT count(*) FROM braid.relays;
SET ROLE regress_relay_owner;
SELECT verdict FROM braid_internal.relay_open('topic_relays.orders', 'mine', 'beginning', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0');
RESET ROLE;
GRANT SELECT ON orders TO regress_relay_owner;
SET ROLE regress_relay_owner;
SELECT verdict FROM braid_internal.relay_open('topic_relays.orders', 'mine', 'beginning', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0');
SELECT name AS group_name FROM braid_internal.groups WHERE name LIKE 'relay orders %' \gset
\set VERBOSITY sqlstate
SELECT verdict FROM braid_internal.relay_open('topic_relays.orders', :'group_name', 'beginning', 0, '{}', '{}', 0, 0, 0, 0, 0, '0/0');
SELECT braid_internal.relay_close('topic_relays.orders', :'group_name');
\set VERBOSITY default
RESET ROLE;

-- A topic that relays bring messages to is not dropped by accident.
SELECT braid.drop_topic('bytes_here');
DROP VIEW texts_here CASCADE;
SELECT braid.drop_relay('orders'), braid.drop_relay('back'), braid.drop_relay('bytes_here_shop');
DO $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM braid_internal.relays);
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;
SELECT relay FROM braid.relays;
SELECT count(*) AS groups FROM braid_internal.groups g JOIN braid_internal.topics t ON t.id = g.topic WHERE t.view IN ('orders'::regclass, 'orders_here'::regclass);
SET client_min_messages = warning;
DROP SERVER shop CASCADE;
DROP SCHEMA topic_relays CASCADE;
DROP OWNED BY regress_relay_owner;
DROP ROLE regress_relay_owner;
