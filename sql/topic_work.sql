-- Groups of mode work: queues whose consumers compete for single messages.
CREATE TABLE done (id bigint, what text);
SELECT braid.create_topic('mails', partitions => 2);
SELECT braid.create_group('mails', 'senders', 'work', start => 'beginning', options => '{"max_attempts": 3, "backoff": "0", "one_per_key": false}');
SELECT count(braid.send('mails', jsonb_build_object('to', t), key => t)) FROM unnest('{ann,bob,cid,dan,eve,fay}'::text[]) t;

-- Within a transaction: done with its commit, back with its rollback.
BEGIN;
INSERT INTO done SELECT id, payload->>'to' FROM braid.take('mails', 'senders', max_rows => 2);
COMMIT;
BEGIN;
SELECT id, attempt, key, payload FROM braid.take('mails', 'senders');
ROLLBACK;
BEGIN;
SELECT id, attempt FROM braid.take('mails', 'senders');
SAVEPOINT s;
SELECT id, attempt FROM braid.take('mails', 'senders');
ROLLBACK TO s;
SELECT braid.reject('mails', 'senders', '{3}', 'mailbox full');
COMMIT;
SELECT id, attempt FROM braid.take('mails', 'senders', 2) ORDER BY id;
TABLE done;

-- For some time: the next transactions acknowledge, reject or extend it.
SELECT id, attempt FROM braid.take('mails', 'senders', visible_for => '1 min');
SELECT id, attempt FROM braid.take('mails', 'senders', visible_for => '1 min');
SELECT count(*) FROM braid.take('mails', 'senders');
SELECT braid.acknowledge('mails', 'senders', '{3}', attempts => '{2}') AS another_attempt, braid.acknowledge('mails', 'senders', '{3}') AS yes,
	braid.acknowledge('mails', 'senders', '{3}') AS gone;
SELECT braid.extend('mails', 'senders', '{6}', '2 min');
SELECT ready, delayed, held, taken FROM braid.work WHERE topic = 'mails'::regclass;
SELECT braid.reject('mails', 'senders', '{6}', 'no answer');
SELECT id, attempt FROM braid.take('mails', 'senders', wait => '10 s', visible_for => '0.01 s');
-- Its time passes.
SELECT id, attempt FROM braid.take('mails', 'senders', wait => '10 s', visible_for => '1 min');

-- Taken too often: dead letters, and the way back.
SELECT braid.reject('mails', 'senders', '{6}', 'still no answer');
SELECT topic, group_name, id, attempts, error, key, payload FROM braid.dead_letters;
SELECT braid.redeliver('mails', 'senders');
SELECT count(*) FROM braid.dead_letters;
SELECT id, attempt FROM braid.take('mails', 'senders', wait => '10 s', visible_for => '1 min');
SELECT braid.reject('mails', 'senders', '{6}') FROM generate_series(1, 2);
SELECT id, attempt FROM braid.take('mails', 'senders', wait => '10 s', visible_for => '1 min');
SELECT braid.reject('mails', 'senders', '{6}');
SELECT id, attempt FROM braid.take('mails', 'senders', wait => '10 s');

-- Priority, and delay.
SELECT braid.send('mails', '{"n": 1}'::jsonb, priority => -1), braid.send('mails', '{"n": 2}'::jsonb), braid.send('mails', '{"n": 3}'::jsonb, priority => 5),
	braid.send('mails', '{"n": 4}'::jsonb, deliver_at => now() + interval '1 day') IS NOT NULL AS later;
SELECT payload, priority FROM braid.take('mails', 'senders');
SELECT payload, priority FROM braid.take('mails', 'senders');
SELECT payload, priority FROM braid.take('mails', 'senders');
SELECT count(*) FROM braid.take('mails', 'senders');
SELECT ready, delayed, done, retried, dead FROM braid.work WHERE topic = 'mails'::regclass;
SELECT braid_internal.work_tidy();
SELECT payload->'n' AS n, deliver_at > now() AS later FROM mails ORDER BY id DESC LIMIT 1;

-- One of a key at a time.
SELECT braid.create_group('mails', 'keyed', 'work', options => '{"one_per_key": true}');
SELECT count(braid.send('mails', jsonb_build_object('n', n), key => k)) FROM generate_series(1, 2) n, unnest('{x,y}'::text[]) k;
SELECT key, payload FROM braid.take('mails', 'keyed', 10, visible_for => '1 min') ORDER BY key;
SELECT count(*) FROM braid.take('mails', 'keyed', 10);
SELECT braid.acknowledge('mails', 'keyed', array_agg(id)) FROM mails WHERE key = 'x' AND payload @> '{"n": 1}';
SELECT key, payload FROM braid.take('mails', 'keyed', 10);

-- Prepared transactions keep what they have taken.
BEGIN;
SELECT count(*) FROM braid.take('mails', 'senders', 3);
PREPARE TRANSACTION 'taken';
SELECT taken, prepared FROM braid.work WHERE topic = 'mails'::regclass AND group_name = 'senders';
ROLLBACK PREPARED 'taken';
SELECT key, attempt FROM braid.take('mails', 'senders', 3) ORDER BY id;

-- What is refused.
SELECT braid.create_group('mails', 'wrong', 'work', options => '{"max_attempts": -1}');
SELECT braid.create_group('mails', 'wrong', 'work', options => '{"backoff": 5}');
SELECT braid.create_group('mails', 'wrong', 'work', options => '{"color": "red"}');
SELECT braid.take('mails', 'nobody');
SELECT braid.take('mails', 'senders', max_rows => 0);
SELECT braid.take('mails', 'senders', wait => '-1 s');
SELECT braid.take('mails', 'senders', visible_for => '0');
SELECT braid.take('mails', NULL);
SELECT braid.take_text('mails', 'senders');
SELECT braid.receive('mails', 'senders');
SELECT braid.create_group('mails', 'log');
SELECT braid.take('mails', 'log');
SELECT braid.acknowledge('mails', 'senders', '{1,2}', '{1}');
SELECT braid.acknowledge('mails', 'senders', '{1,NULL}');
SELECT braid.reject('mails', 'senders', '{1}', delay => '-1 s');
BEGIN READ ONLY;
SELECT braid.take('mails', 'senders');
ROLLBACK;
CREATE ROLE topic_work_stranger;
SET ROLE topic_work_stranger;
SELECT braid.take('mails', 'senders');
SELECT braid.acknowledge('mails', 'senders', '{1}');
SELECT braid.redeliver('mails', 'senders');
SELECT count(*) FROM braid.dead_letters;
RESET ROLE;
DROP ROLE topic_work_stranger;
SELECT braid.drop_topic('mails', cascade => true);
DROP TABLE done;
