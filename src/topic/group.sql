
-- ---------------------------------------------------------------- groups

CREATE SEQUENCE braid_internal.group_ids AS int;
COMMENT ON SEQUENCE braid_internal.group_ids IS 'Ids of consumer groups.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.group_ids', '');

CREATE TABLE braid_internal.groups (
	id int NOT NULL,
	topic int NOT NULL,
	name name NOT NULL,
	owner regrole NOT NULL,
	is_work boolean NOT NULL,
	holds boolean NOT NULL,
	options jsonb NOT NULL DEFAULT '{}',
	created timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT groups_id PRIMARY KEY (id)
);
CREATE UNIQUE INDEX groups_name ON braid_internal.groups (topic, name);
COMMENT ON TABLE braid_internal.groups IS
'Consumer groups. is_work: a queue whose consumers compete for single messages, and not a log; holds: messages that the group has not consumed are retained; options: of groups of mode work.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.groups', '');

CREATE TYPE braid_internal.position AS (done pg_snapshot, todo pg_snapshot, upto bigint, below bigint, as_of pg_snapshot);
COMMENT ON TYPE braid_internal.position IS
'How far somebody has come in a partition: a message has been consumed if its transaction is visible in done, or in todo if its id is not above upto, or in as_of if its id is less than below.';

-- Rows are inserted and never updated, so that a position costs the same however often it moves and
-- whoever holds back vacuum: the one with the highest number counts. Which segment is written to is known in
-- shared memory alone; readers look at all.
CREATE TABLE braid_internal.positions (
	group_id int NOT NULL,
	part smallint NOT NULL,
	segment smallint NOT NULL,
	number bigint NOT NULL,
	consumed bigint NOT NULL,
	moved_at timestamptz NOT NULL,
	done pg_snapshot NOT NULL,
	todo pg_snapshot,
	upto bigint,
	below bigint,
	as_of pg_snapshot
) PARTITION BY LIST (segment);
COMMENT ON TABLE braid_internal.positions IS
'Positions of consumer groups in partitions; the one with the highest number counts. consumed: how many messages the group has had of the partition.';
CREATE TABLE braid_internal.positions_0 PARTITION OF braid_internal.positions FOR VALUES IN (0);
CREATE TABLE braid_internal.positions_1 PARTITION OF braid_internal.positions FOR VALUES IN (1);
CREATE TABLE braid_internal.positions_2 PARTITION OF braid_internal.positions FOR VALUES IN (2);
COMMENT ON TABLE braid_internal.positions_0 IS 'A segment of braid_internal.positions, which is filled and truncated in turn.';
COMMENT ON TABLE braid_internal.positions_1 IS 'A segment of braid_internal.positions, which is filled and truncated in turn.';
COMMENT ON TABLE braid_internal.positions_2 IS 'A segment of braid_internal.positions, which is filled and truncated in turn.';
CREATE INDEX positions_0_order ON braid_internal.positions_0 (group_id, part, number);
CREATE INDEX positions_1_order ON braid_internal.positions_1 (group_id, part, number);
CREATE INDEX positions_2_order ON braid_internal.positions_2 (group_id, part, number);
ALTER TABLE braid_internal.positions_0 SET (autovacuum_enabled = off);
ALTER TABLE braid_internal.positions_1 SET (autovacuum_enabled = off);
ALTER TABLE braid_internal.positions_2 SET (autovacuum_enabled = off);
SELECT pg_catalog.pg_extension_config_dump('braid_internal.positions_0', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.positions_1', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.positions_2', '');

REVOKE ALL ON braid_internal.groups, braid_internal.positions, braid_internal.positions_0, braid_internal.positions_1, braid_internal.positions_2 FROM PUBLIC;
-- So that whoever owns a database can dump it.
GRANT SELECT ON braid_internal.group_ids, braid_internal.groups, braid_internal.positions, braid_internal.positions_0, braid_internal.positions_1,
	braid_internal.positions_2 TO PUBLIC;

CREATE FUNCTION braid.create_group(topic regclass, group_name text, mode text DEFAULT 'log', start text DEFAULT 'end',
	holds boolean DEFAULT true, options jsonb DEFAULT '{}') RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_group_create' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.create_group(regclass, text, text, text, boolean, jsonb) IS
'Makes a consumer group of a topic. mode: log (positions, order within a key) or work (a queue whose consumers compete for single messages); start: beginning (all that is retained), end (what is sent from now on), or the time from which messages were sent; holds: messages that the group has not consumed are retained, for which the caller has to own the topic (otherwise SELECT on it suffices); options: of groups of mode work. 42710, 42501, 42704, 22023.';

CREATE FUNCTION braid.alter_group(topic regclass, group_name text, new_name text DEFAULT NULL, holds boolean DEFAULT NULL,
	options jsonb DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_group_alter' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.alter_group(regclass, text, text, boolean, jsonb) IS
'Changes what is not null of a consumer group, of which the caller owns the group or the topic. 42704, 42501, 42710.';

CREATE FUNCTION braid.drop_group(topic regclass, group_name text) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_group_drop' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.drop_group(regclass, text) IS
'Drops a consumer group, of which the caller owns the group or the topic. 42704, 42501.';

CREATE FUNCTION braid.receive(topic regclass, group_name text, max_rows int DEFAULT 100, max_bytes bigint DEFAULT 8388608,
	wait interval DEFAULT '0', from_partition int DEFAULT NULL, member bigint DEFAULT NULL)
RETURNS TABLE (partition int, id bigint, key text, headers jsonb, payload jsonb, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_receive' LANGUAGE C VOLATILE ROWS 100;
COMMENT ON FUNCTION braid.receive(regclass, text, int, bigint, interval, int, bigint) IS
'The next messages of a consumer group of mode log, whose position moves with the transaction. At most max_rows, and not more than max_bytes of key, headers and payload unless the first message has more; waits for the first so long (not in REPEATABLE READ). From one partition that no other transaction has taken, or from from_partition, or from those of the member that braid.join_group() has returned. 42501, 42704, 42804 (the payload is of another type), 42809, 22023, 55000 (not or no more a member), 40001.';
CREATE FUNCTION braid.receive_text(topic regclass, group_name text, max_rows int DEFAULT 100, max_bytes bigint DEFAULT 8388608,
	wait interval DEFAULT '0', from_partition int DEFAULT NULL, member bigint DEFAULT NULL)
RETURNS TABLE (partition int, id bigint, key text, headers jsonb, payload text, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_receive' LANGUAGE C VOLATILE ROWS 100;
COMMENT ON FUNCTION braid.receive_text(regclass, text, int, bigint, interval, int, bigint) IS
'As braid.receive(), for topics with payloads of type text.';
CREATE FUNCTION braid.receive_bytea(topic regclass, group_name text, max_rows int DEFAULT 100, max_bytes bigint DEFAULT 8388608,
	wait interval DEFAULT '0', from_partition int DEFAULT NULL, member bigint DEFAULT NULL)
RETURNS TABLE (partition int, id bigint, key text, headers jsonb, payload bytea, sent_at timestamptz, deliver_at timestamptz, priority int)
AS 'MODULE_PATHNAME', 'braid_sql_receive' LANGUAGE C VOLATILE ROWS 100;
COMMENT ON FUNCTION braid.receive_bytea(regclass, text, int, bigint, interval, int, bigint) IS
'As braid.receive(), for topics with payloads of type bytea.';

CREATE FUNCTION braid.topic_channel(topic regclass) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'braid_topic_' || t.id FROM braid_internal.topics t WHERE t.view = topic $$;
COMMENT ON FUNCTION braid.topic_channel(regclass) IS
'The channel to LISTEN on for messages of a topic that was made with notify => true; null if it is no topic.';

CREATE FUNCTION braid.seek(topic regclass, group_name text, target text, partition int DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_seek_text' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.seek(regclass, text, text, int) IS
'Puts a consumer group of mode log, of which the caller owns the group or the topic, to beginning, end, or the messages sent at a time and after it, in one partition or in all. Waits for transactions that have received there. 42704, 42501, 22007, 22023.';
CREATE FUNCTION braid.seek(topic regclass, group_name text, target timestamptz, partition int DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_seek_time' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.seek(regclass, text, timestamptz, int) IS
'Puts a consumer group of mode log to the messages that were sent at a time and after it; reads through what is retained.';
CREATE FUNCTION braid.seek(topic regclass, group_name text, target bigint, partition int DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_seek_id' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.seek(regclass, text, bigint, int) IS
'Puts a consumer group of mode log to the messages with this id and higher ones; reads through what is retained.';

CREATE FUNCTION braid.join_group(topic regclass, group_name text, session_timeout interval DEFAULT '30 s',
	OUT member bigint, OUT generation bigint, OUT partitions int[]) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_group_join' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.join_group(regclass, text, interval) IS
'Makes the caller a member of a consumer group of mode log, at once and whatever becomes of the transaction: its number for braid.receive(), and the partitions that are its own until the generation changes. A member that does not show up for session_timeout, by braid.receive() or braid.heartbeat(), is replaced. 42501, 42704, 42809, 22023, 53400.';

CREATE FUNCTION braid.leave_group(member bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_group_leave' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.leave_group(bigint) IS
'Ends a membership, at once and whatever becomes of the transaction; false if there was none. 42501.';

CREATE FUNCTION braid.heartbeat(member bigint, OUT generation bigint, OUT partitions int[]) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_group_heartbeat' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.heartbeat(bigint) IS
'Says that a member of a consumer group is alive, for those that work for longer than their session time-out without braid.receive(); returns what is its own now. 55000, 42501.';

CREATE FUNCTION braid_internal.members_now(OUT group_id int, OUT member bigint, OUT role regrole, OUT generation bigint, OUT partitions int[],
	OUT since timestamptz, OUT last_seen timestamptz, OUT session_timeout interval) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_members' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid_internal.members_now() IS 'What braid.group_members shows.';

CREATE FUNCTION braid_internal.group_position(topic int, group_id int, part int, OUT consumed bigint, OUT moved_at timestamptz,
	OUT "position" braid_internal.position, OUT lag_messages bigint, OUT oldest timestamptz) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_group_position' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.group_position(int, int, int) IS
'Position of a group in a partition, and how many messages there are after it; nulls for those who may not read the topic.';

CREATE VIEW braid.group_positions AS
SELECT t.view AS topic, g.name AS group_name, p.part AS partition, n.lag_messages, now() - n.oldest AS lag_time, n.consumed, n.moved_at,
	(n."position").done, (n."position").todo, (n."position").upto,
	ARRAY(SELECT l.pid FROM pg_catalog.pg_locks l
		WHERE l.locktype = 'advisory' AND l.objsubid IN (17, 18) AND l.classid = g.id::oid AND l.objid = p.part::oid AND l.granted
			AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
		GROUP BY l.pid) AS taken_by
FROM braid_internal.groups g JOIN braid_internal.topics t ON t.id = g.topic
	CROSS JOIN LATERAL generate_series(0, t.partitions - 1) p(part)
	CROSS JOIN LATERAL braid_internal.group_position(t.id, g.id, p.part) n
WHERE NOT g.is_work;
COMMENT ON VIEW braid.group_positions IS
'Where consumer groups of mode log are in each partition. Nulls where the topic may not be read.';
COMMENT ON COLUMN braid.group_positions.lag_messages IS 'Messages after the position: counted up to 10000, and estimated from there on';
COMMENT ON COLUMN braid.group_positions.lag_time IS 'How long ago the oldest of these was sent; null if there is none';
COMMENT ON COLUMN braid.group_positions.consumed IS 'How many messages the group has received';
COMMENT ON COLUMN braid.group_positions.done IS 'Messages visible in this snapshot have been consumed, and those visible in todo of which the id is not above upto';
COMMENT ON COLUMN braid.group_positions.taken_by IS 'Processes whose transaction has received from the partition, and not ended; null for one that is prepared';

CREATE VIEW braid.groups AS
SELECT t.view AS topic, g.name AS group_name, CASE WHEN g.is_work THEN 'work' ELSE 'log' END AS mode, g.holds, g.owner, g.options, g.created,
	(SELECT count(*) FROM braid_internal.members_now() m WHERE m.group_id = g.id)::int AS members,
	l.lag_messages, l.lag_time
FROM braid_internal.groups g JOIN braid_internal.topics t ON t.id = g.topic
	LEFT JOIN LATERAL (SELECT sum(n.lag_messages)::bigint AS lag_messages, max(now() - n.oldest) AS lag_time
		FROM generate_series(0, t.partitions - 1) p(part), braid_internal.group_position(t.id, g.id, p.part) n) l ON NOT g.is_work;
COMMENT ON VIEW braid.groups IS
'Consumer groups. lag_messages and lag_time: as in braid.group_positions, over all partitions; of groups of mode log.';

CREATE VIEW braid.group_members AS
SELECT t.view AS topic, g.name AS group_name, m.member, m.role, m.generation, m.partitions, m.since, m.last_seen, m.session_timeout
FROM braid_internal.members_now() m JOIN braid_internal.groups g ON g.id = m.group_id JOIN braid_internal.topics t ON t.id = g.topic;
COMMENT ON VIEW braid.group_members IS
'Members of consumer groups. partitions: those that are the member''s own in this generation, which began at since.';

REVOKE ALL ON braid.group_positions, braid.groups, braid.group_members FROM PUBLIC;
GRANT SELECT ON braid.group_positions, braid.groups, braid.group_members TO PUBLIC;
