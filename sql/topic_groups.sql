-- Consumer groups of mode log.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
RESET client_min_messages;
CREATE SCHEMA topic_groups;
SET search_path = topic_groups;
CREATE ROLE regress_group_owner;
CREATE ROLE regress_group_reader;
CREATE ROLE regress_group_stranger;
GRANT CREATE, USAGE ON SCHEMA topic_groups TO regress_group_owner;
GRANT USAGE ON SCHEMA topic_groups TO regress_group_reader, regress_group_stranger;

-- Example of docs/reference.md: work that is done exactly once.
SELECT braid.create_topic('orders', partitions => 4);
SELECT braid.create_group('orders', 'billing');
CREATE TABLE bills (customer text, amount int);
SELECT braid.send('orders', '{"amount": 10}'::jsonb, key => 'alice');
SELECT braid.send('orders', '{"amount": 20}'::jsonb, key => 'alice');
BEGIN;
INSERT INTO bills SELECT key, (payload->>'amount')::int FROM braid.receive('orders', 'billing');
ROLLBACK;
BEGIN;
INSERT INTO bills SELECT key, (payload->>'amount')::int FROM braid.receive('orders', 'billing');
COMMIT;
SELECT * FROM bills;
SELECT * FROM braid.receive('orders', 'billing');

-- Batches are bounded by rows and by bytes; one message always comes.
SELECT braid.send_batch('orders', $$SELECT jsonb_build_object('i', i, 'pad', repeat('x', 100)) AS payload, 'bob' AS key FROM generate_series(1, 10) i$$);
SELECT key, payload->'i' AS i FROM braid.receive('orders', 'billing', max_rows => 3);
SELECT key, payload->'i' AS i FROM braid.receive('orders', 'billing', max_bytes => 300);
SELECT key, payload->'i' AS i FROM braid.receive('orders', 'billing', max_bytes => 1);
SELECT count(*) FROM braid.receive('orders', 'billing');

-- Within one transaction the position moves on, and back with a savepoint.
SELECT braid.send_batch('orders', ARRAY['{"i": 1}', '{"i": 2}', '{"i": 3}'], ARRAY['carol', 'carol', 'carol']);
BEGIN;
SELECT payload FROM braid.receive('orders', 'billing', max_rows => 1);
SAVEPOINT s;
SELECT payload FROM braid.receive('orders', 'billing', max_rows => 1);
ROLLBACK TO s;
SELECT payload FROM braid.receive('orders', 'billing', max_rows => 1);
COMMIT;
SELECT payload FROM braid.receive('orders', 'billing', max_rows => 1);

-- What a transaction sends it does not receive itself; what is rolled back nobody does.
BEGIN;
SELECT braid.send('orders', '{"i": 4}'::jsonb, key => 'carol') > 0 AS sent;
SELECT * FROM braid.receive('orders', 'billing');
ROLLBACK;
SELECT * FROM braid.receive('orders', 'billing');

-- Each group has its own position; one begins where it is told to.
SELECT braid.create_group('orders', 'audit', start => 'beginning');
SELECT count(*) FROM (SELECT (braid.receive('orders', 'audit', from_partition => p)).* FROM generate_series(0, 3) p) r;
SELECT partition, lag_messages, lag_time, consumed FROM braid.group_positions WHERE group_name = 'audit' ORDER BY 1;
SELECT topic, group_name, mode, holds, members, lag_messages, lag_time FROM braid.groups WHERE topic = 'orders'::regclass ORDER BY group_name;

-- Seek: to the beginning, the end, a message, a time.
SELECT braid.seek('orders', 'audit', 'beginning');
SELECT sum(lag_messages) FROM braid.group_positions WHERE group_name = 'audit';
SELECT braid.seek('orders', 'audit', 'end');
SELECT sum(lag_messages) FROM braid.group_positions WHERE group_name = 'audit';
SELECT braid.seek('orders', 'audit', 14);
SELECT key, payload FROM braid.receive('orders', 'audit', from_partition => (SELECT DISTINCT partition FROM orders WHERE key = 'carol'));
SELECT braid.seek('orders', 'audit', (SELECT sent_at FROM orders WHERE id = 12));
SELECT sum(lag_messages) FROM braid.group_positions WHERE group_name = 'audit';
SELECT braid.seek('orders', 'audit', clock_timestamp());
SELECT sum(lag_messages) FROM braid.group_positions WHERE group_name = 'audit';
SELECT braid.seek('orders', 'audit', 'beginning', partition => 0);
SELECT braid.seek('orders', 'audit', 'tomorrow or so');
SELECT braid.seek('orders', 'audit', 'beginning', partition => 4);
SELECT braid.seek('orders', 'audit', NULL::text);

-- Waiting for what does not come.
SELECT * FROM braid.receive('orders', 'billing', wait => '100 ms');

-- Waiting by LISTEN.
SELECT braid.alter_topic('orders', '{"notify": true}');
SELECT braid.topic_channel('orders') = 'braid_topic_' || (SELECT id FROM braid_internal.topics WHERE view = 'orders'::regclass) AS named, braid.topic_channel('bills');
BEGIN;
SELECT braid.send('orders', '1') > 0 AS sent;
SELECT braid.send('orders', '2') > 0 AS sent;
PREPARE TRANSACTION 'notifies';
SELECT braid.alter_topic('orders', '{"notify": false}');

-- Members divide the partitions.
SELECT braid.create_group('orders', 'team');
SELECT member AS first, partitions FROM braid.join_group('orders', 'team') \gset
SELECT :'partitions' AS partitions;
SELECT member AS second, partitions FROM braid.join_group('orders', 'team', session_timeout => '1 min') \gset
SELECT :'partitions' AS partitions;
SELECT partitions FROM braid.heartbeat(:first);
SELECT topic, group_name, role = current_user::regrole AS mine, partitions, session_timeout FROM braid.group_members ORDER BY since, partitions;
SELECT * FROM braid.receive('orders', 'team');
SELECT * FROM braid.receive('orders', 'team', member => :first);
SELECT braid.send_batch('orders', $$SELECT to_jsonb(i) AS payload, 'k' || i AS key FROM generate_series(1, 40) i$$);
SELECT DISTINCT partition FROM braid.receive('orders', 'team', member => :first) ORDER BY 1;
SELECT DISTINCT partition FROM braid.receive('orders', 'team', member => :second) ORDER BY 1;
SELECT braid.leave_group(:second);
SELECT braid.leave_group(:second);
SELECT partitions FROM braid.heartbeat(:first);
SELECT * FROM braid.receive('orders', 'team', member => :second);
SELECT * FROM braid.heartbeat(1);
SELECT braid.leave_group(:first);

-- Types of payload.
SELECT braid.create_topic('notes', payload => 'text');
SELECT braid.create_topic('blobs', payload => 'bytea');
SELECT braid.create_group('notes', 'g'), braid.create_group('blobs', 'g');
SELECT braid.send('notes', 'hello'), braid.send('blobs', '\x00ff'), braid.send('notes', repeat('x', 100000));
SELECT length(payload) FROM braid.receive_text('notes', 'g');
SELECT payload FROM braid.receive_bytea('blobs', 'g');
SELECT * FROM braid.receive('notes', 'g');
SELECT * FROM braid.receive_text('orders', 'billing');

-- Absurd arguments.
SELECT * FROM braid.receive('bills', 'g');
SELECT * FROM braid.receive('orders', 'nobody');
SELECT * FROM braid.receive('orders', 'billing', max_rows => 0);
SELECT * FROM braid.receive('orders', 'billing', max_bytes => -1);
SELECT * FROM braid.receive('orders', 'billing', max_rows => NULL);
SELECT * FROM braid.receive('orders', 'billing', wait => '-1 s');
SELECT * FROM braid.receive('orders', 'billing', from_partition => 4);
SELECT * FROM braid.receive('orders', 'billing', member => 0);
SELECT braid.create_group('orders', 'billing');
SELECT braid.create_group('orders', '');
SELECT braid.create_group('orders', repeat('x', 64));
SELECT braid.create_group('orders', 'x', mode => 'queue');
SELECT braid.create_group('orders', 'x', options => '{"limit": 3}');
SELECT braid.create_group('orders', NULL);
SELECT braid.join_group('orders', 'billing', '1 ms');
SELECT braid.alter_group('orders', 'billing', new_name => 'audit');
BEGIN READ ONLY;
SELECT * FROM braid.receive('orders', 'billing');
ROLLBACK;

-- Groups can be altered and dropped; a topic with groups is kept.
SELECT braid.alter_group('orders', 'billing', new_name => 'invoices', holds => false);
SELECT group_name, holds FROM braid.groups WHERE topic = 'orders'::regclass ORDER BY 1;
SELECT braid.drop_topic('orders');
SELECT braid.drop_group('orders', 'team');
SELECT braid.drop_group('orders', 'team');

-- Who may read a topic may have groups that hold nothing back, and receive.
SET ROLE regress_group_owner;
SELECT braid.create_topic('mine');
SELECT braid.create_group('mine', 'shared');
GRANT SELECT ON mine TO regress_group_reader;
SELECT braid.send('mine', '1');
SET ROLE regress_group_reader;
SELECT payload FROM braid.receive('mine', 'shared');
SELECT braid.create_group('mine', 'own');
SELECT braid.create_group('mine', 'own', holds => false);
SELECT braid.alter_group('mine', 'own', holds => true);
SELECT braid.seek('mine', 'own', 'beginning');
SELECT payload FROM braid.receive('mine', 'own');
SELECT braid.seek('mine', 'shared', 'beginning');
SELECT braid.drop_group('mine', 'shared');
SELECT member FROM braid.join_group('mine', 'shared') \gset
SET ROLE regress_group_stranger;
SELECT * FROM braid.receive('mine', 'shared');
SELECT braid.join_group('mine', 'shared');
SELECT braid.create_group('mine', 'other', holds => false);
SELECT braid.leave_group(:member);
SELECT topic, group_name, lag_messages, lag_time FROM braid.groups WHERE topic = 'mine'::regclass ORDER BY 2;
SELECT p.* FROM braid_internal.groups g, braid_internal.group_position(g.topic, g.id, 0) p WHERE g.name = 'shared';
SET ROLE regress_group_owner;
SELECT braid.drop_group('mine', 'own');
RESET ROLE;

-- With the topic go its groups, if they are told to.
DROP VIEW mine CASCADE;
DROP VIEW orders;
DROP VIEW orders CASCADE;
SELECT braid.drop_topic('notes', cascade => true), braid.drop_topic('blobs', cascade => true);
SELECT count(*) FROM braid.groups WHERE group_name IN ('shared', 'invoices', 'audit', 'g');
SET client_min_messages = warning;
DROP SCHEMA topic_groups CASCADE;
DROP ROLE regress_group_owner, regress_group_reader, regress_group_stranger;
