
-- ---------------------------------------------------------------- work

-- What becomes of messages in groups of mode work. Rows are only inserted; the two tables of each kind
-- take turns, and one is truncated when what is still wanted of it was copied into the other. Which one
-- is written to is a hint in shared memory; readers look at both. Neither has more than what was
-- done since the positions of the groups were moved.
CREATE TABLE braid_internal.work_done_0 (
	group_id int NOT NULL,
	kind "char" NOT NULL CHECK (kind IN ('d', 't')),
	numbers bigint[] NOT NULL
);
CREATE TABLE braid_internal.work_done_1 (LIKE braid_internal.work_done_0 INCLUDING ALL);
COMMENT ON TABLE braid_internal.work_done_0 IS
'Messages of groups of mode work that are done (d), or were taken for some time (t), by their numbers: ids, or the numbers in work_carried.';
COMMENT ON TABLE braid_internal.work_done_1 IS 'As braid_internal.work_done_0, in turn.';

-- The payload is as it is stored, of whatever type the topic's payloads are.
CREATE TABLE braid_internal.work_carried_0 (
	group_id int NOT NULL,
	number bigint NOT NULL,
	due timestamptz NOT NULL,
	attempts int NOT NULL,
	error text,
	id bigint NOT NULL,
	part smallint NOT NULL,
	priority smallint NOT NULL,
	sent_at timestamptz NOT NULL,
	deliver_at timestamptz,
	key text,
	headers jsonb,
	payload bytea
);
CREATE TABLE braid_internal.work_carried_1 (LIKE braid_internal.work_carried_0 INCLUDING ALL);
CREATE INDEX work_carried_0_number ON braid_internal.work_carried_0 (group_id, number);
CREATE INDEX work_carried_1_number ON braid_internal.work_carried_1 (group_id, number);
CREATE INDEX work_carried_0_due ON braid_internal.work_carried_0 (group_id, due, number);
CREATE INDEX work_carried_1_due ON braid_internal.work_carried_1 (group_id, due, number);
COMMENT ON TABLE braid_internal.work_carried_0 IS
'Messages that a group of mode work has still to do although its positions are past them, with all that they have: they were rejected, or are to be delivered later, or were not done when the positions moved.';
COMMENT ON TABLE braid_internal.work_carried_1 IS 'As braid_internal.work_carried_0, in turn.';

CREATE TABLE braid_internal.dead_letters (
	group_id int NOT NULL,
	number bigint NOT NULL,
	died_at timestamptz NOT NULL,
	attempts int NOT NULL,
	error text,
	id bigint NOT NULL,
	part smallint NOT NULL,
	priority smallint NOT NULL,
	sent_at timestamptz NOT NULL,
	deliver_at timestamptz,
	key text,
	headers jsonb,
	payload bytea
);
CREATE INDEX dead_letters_id ON braid_internal.dead_letters (group_id, id);
COMMENT ON TABLE braid_internal.dead_letters IS 'What braid.dead_letters shows.';

ALTER TABLE braid_internal.work_done_0 SET (autovacuum_enabled = off);
ALTER TABLE braid_internal.work_done_1 SET (autovacuum_enabled = off);
SELECT pg_catalog.pg_extension_config_dump('braid_internal.work_done_0', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.work_done_1', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.work_carried_0', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.work_carried_1', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.dead_letters', '');
REVOKE ALL ON braid_internal.work_done_0, braid_internal.work_done_1, braid_internal.work_carried_0, braid_internal.work_carried_1,
	braid_internal.dead_letters FROM PUBLIC;
-- They have messages, which are not for everybody; but whoever owns the database can dump it.
GRANT SELECT ON braid_internal.work_done_0, braid_internal.work_done_1, braid_internal.work_carried_0, braid_internal.work_carried_1,
	braid_internal.dead_letters TO pg_database_owner;

-- ---- taking

CREATE FUNCTION braid.take(topic regclass, group_name text, max_rows int DEFAULT 1, wait interval DEFAULT '0',
	visible_for interval DEFAULT NULL)
RETURNS TABLE (id bigint, attempt int, partition int, key text, headers jsonb, payload jsonb, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_take' LANGUAGE C VOLATILE ROWS 1;
COMMENT ON FUNCTION braid.take(regclass, text, int, interval, interval) IS
'Takes messages of a consumer group of mode work, which nobody else gets then: the first by priority and age, at most max_rows; waits for the first so long. Without visible_for they are done when the transaction commits, and come back when it is rolled back. With it they are the caller''s for that time after the transaction has committed, whose braid.acknowledge() or braid.reject() decides; they come back if neither comes in time. A message that was taken as often as the group''s max_attempts is given to nobody any more, and is among braid.dead_letters. Errors: 22004, 22023 wrong arguments, 25006 read-only transaction, 42501 no SELECT privilege, 42704 no such group, 42804 payloads are of another type, 42809 not a topic or a group of mode log, 53400 braid.topic_work_groups.';
CREATE FUNCTION braid.take_text(topic regclass, group_name text, max_rows int DEFAULT 1, wait interval DEFAULT '0',
	visible_for interval DEFAULT NULL)
RETURNS TABLE (id bigint, attempt int, partition int, key text, headers jsonb, payload text, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_take' LANGUAGE C VOLATILE ROWS 1;
COMMENT ON FUNCTION braid.take_text(regclass, text, int, interval, interval) IS 'As braid.take(), for topics with payloads of type text.';
CREATE FUNCTION braid.take_bytea(topic regclass, group_name text, max_rows int DEFAULT 1, wait interval DEFAULT '0',
	visible_for interval DEFAULT NULL)
RETURNS TABLE (id bigint, attempt int, partition int, key text, headers jsonb, payload bytea, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_take' LANGUAGE C VOLATILE ROWS 1;
COMMENT ON FUNCTION braid.take_bytea(regclass, text, int, interval, interval) IS 'As braid.take(), for topics with payloads of type bytea.';

CREATE FUNCTION braid.acknowledge(topic regclass, group_name text, ids bigint[], attempts int[] DEFAULT NULL) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_acknowledge' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.acknowledge(regclass, text, bigint[], int[]) IS
'Messages that were taken for some time are done, when the transaction commits. Returns how many of them still were the taker''s: fewer than were given if the time was over and somebody else has taken them; with attempts, as braid.take() has returned them, only those are that were not taken again since. Errors: those of braid.take(), 2202E arrays of different lengths.';

CREATE FUNCTION braid.reject(topic regclass, group_name text, ids bigint[], error text DEFAULT NULL, delay interval DEFAULT NULL,
	attempts int[] DEFAULT NULL) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_reject' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.reject(regclass, text, bigint[], text, interval, int[]) IS
'Gives back messages that were taken, for some time or in this transaction, when it commits. They come again after delay; without it after the group''s backoff, twice as long each time and at most max_backoff. Those that were taken as often as max_attempts are among braid.dead_letters then, with the error. Returns how many, as braid.acknowledge() does. Errors: those of braid.acknowledge().';

CREATE FUNCTION braid.extend(topic regclass, group_name text, ids bigint[], visible_for interval, attempts int[] DEFAULT NULL) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_extend' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.extend(regclass, text, bigint[], interval, int[]) IS
'Messages that were taken for some time are the taker''s for so long from now, at once and whatever becomes of the transaction. Returns how many, as braid.acknowledge() does. Errors: those of braid.acknowledge().';

-- ---- dead letters

CREATE FUNCTION braid_internal.dead_letters_now() RETURNS TABLE (topic regclass, group_name name, id bigint, attempts int, error text, died_at timestamptz,
	partition int, key text, headers jsonb, payload text, sent_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_dead_letters' LANGUAGE C STABLE;
COMMENT ON FUNCTION braid_internal.dead_letters_now() IS 'What braid.dead_letters shows: dead letters of the topics that the user may read.';

CREATE VIEW braid.dead_letters AS SELECT * FROM braid_internal.dead_letters_now();
COMMENT ON VIEW braid.dead_letters IS
'Messages that consumer groups of mode work have given up, of topics on which the user has SELECT: how often they were taken, and the error of the last time. braid.redeliver() gives them back, braid.discard_dead_letters() deletes them.';
REVOKE ALL ON braid.dead_letters FROM PUBLIC;
GRANT SELECT ON braid.dead_letters TO PUBLIC;

CREATE FUNCTION braid.redeliver(topic regclass, group_name text, ids bigint[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_redeliver' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.redeliver(regclass, text, bigint[]) IS
'Gives dead letters of a consumer group back to it, with no attempts, when the transaction commits; all of them if ids is null. Returns how many. Errors: 42704 no such group, 42501 not the owner of the group or the topic, 42809 not of mode work.';

CREATE FUNCTION braid.discard_dead_letters(topic regclass, group_name text, ids bigint[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_discard_dead_letters' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.discard_dead_letters(regclass, text, bigint[]) IS
'Deletes dead letters of a consumer group; all of them if ids is null. Returns how many. Errors: those of braid.redeliver().';

-- ---- what is going on

CREATE FUNCTION braid_internal.work_now(OUT group_id int, OUT ready int, OUT delayed int, OUT held int, OUT taken int, OUT prepared int,
	OUT nmessages_done bigint, OUT nretried bigint, OUT ndead bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_work_now' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid_internal.work_now() IS 'What braid.work shows of shared memory, of this database.';

CREATE VIEW braid.work AS
SELECT t.view AS topic, g.name AS group_name, w.ready, w.delayed, w.held, w.taken, w.prepared, w.nmessages_done AS done, w.nretried AS retried, w.ndead AS dead
FROM braid_internal.work_now() w JOIN braid_internal.groups g ON g.id = w.group_id JOIN braid_internal.topics t ON t.id = g.topic;
COMMENT ON VIEW braid.work IS
'Consumer groups of mode work that are in use: how many messages of those that are looked at (braid.topic_work_window) can be taken, wait for their time, are held for some time, or are taken by a transaction (of these: by a prepared one); and how many were done, came back by braid.reject() and became dead letters since the group was first used after the server has started, or gave way to another group.';
COMMENT ON COLUMN braid.work.ready IS 'Includes those of which another one with the same key is taken';
REVOKE ALL ON braid.work FROM PUBLIC;
GRANT SELECT ON braid.work TO PUBLIC;

CREATE FUNCTION braid_internal.work_tidy() RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_work_tidy' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION braid_internal.work_tidy() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.work_tidy() IS
'Moves the positions of groups of mode work and gives back the space of what is done, as the worker does from time to time; false if somebody was in the way.';
