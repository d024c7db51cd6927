
-- ---------------------------------------------------------------- relays

-- ---- the receiving side

CREATE SEQUENCE braid_internal.relay_ids AS int;
COMMENT ON SEQUENCE braid_internal.relay_ids IS 'Ids of relays.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.relay_ids', '');

CREATE TABLE braid_internal.relays (
	id int NOT NULL,
	name name NOT NULL,
	source text NOT NULL,
	server name NOT NULL,
	target int NOT NULL,
	batch_rows int NOT NULL,
	batch_bytes int NOT NULL,
	target_limit bigint,
	paused boolean NOT NULL DEFAULT false,
	dropped boolean NOT NULL DEFAULT false,
	CONSTRAINT relays_id PRIMARY KEY (id),
	CONSTRAINT relays_name UNIQUE (name)
);
COMMENT ON TABLE braid_internal.relays IS
'Relays into topics of this database: from topic source of server, a name there, into the topic with id target here. dropped: it goes when the source has let go of it.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.relays', '');

-- start is what it is to begin with, until it has begun; then it is null.
CREATE TABLE braid_internal.relay_states (
	relay int NOT NULL,
	start text,
	stopped text,
	advice text,
	since timestamptz NOT NULL DEFAULT now(),
	system bigint,
	database oid,
	topic int,
	CONSTRAINT relay_states_relay PRIMARY KEY (relay)
);
COMMENT ON TABLE braid_internal.relay_states IS
'Relays: where to begin, if it has not begun; why it was stopped for good, and what to do; which topic of which database of which cluster it reads.';

-- Rows are inserted and never updated: the one with the highest number counts. One table is written,
-- and emptied when the newest rows have gone to the other one.
CREATE TABLE braid_internal.relay_positions_0 (
	relay int NOT NULL,
	part smallint NOT NULL,
	number bigint NOT NULL,
	position text NOT NULL,
	timeline int NOT NULL,
	lsn pg_lsn NOT NULL,
	confirmed bigint NOT NULL,
	last_id bigint,
	messages bigint NOT NULL,
	bytes bigint NOT NULL,
	looped bigint NOT NULL,
	moved_at timestamptz NOT NULL
);
CREATE TABLE braid_internal.relay_positions_1 (LIKE braid_internal.relay_positions_0 INCLUDING ALL);
CREATE UNIQUE INDEX relay_positions_0_order ON braid_internal.relay_positions_0 (relay, part, number);
CREATE UNIQUE INDEX relay_positions_1_order ON braid_internal.relay_positions_1 (relay, part, number);
ALTER TABLE braid_internal.relay_positions_0 SET (autovacuum_enabled = off);
ALTER TABLE braid_internal.relay_positions_1 SET (autovacuum_enabled = off);
CREATE VIEW braid_internal.relay_positions AS
	SELECT * FROM braid_internal.relay_positions_0 UNION ALL SELECT * FROM braid_internal.relay_positions_1;
COMMENT ON TABLE braid_internal.relay_positions_0 IS
'How far relays have come in the partitions of their sources, inserted with the messages: number counts batches; position is the source''s to understand, timeline and lsn are where its WAL was; confirmed is what it has said of its own account.';
COMMENT ON TABLE braid_internal.relay_positions_1 IS 'As relay_positions_0: the two are filled and truncated in turn.';
COMMENT ON VIEW braid_internal.relay_positions IS 'Both tables of positions of relays.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.relay_positions_0', '');
SELECT pg_catalog.pg_extension_config_dump('braid_internal.relay_positions_1', '');

REVOKE ALL ON braid_internal.relays, braid_internal.relay_states, braid_internal.relay_positions_0,
	braid_internal.relay_positions_1, braid_internal.relay_positions FROM PUBLIC;
-- So that whoever owns a database can dump it.
GRANT SELECT ON braid_internal.relay_ids, braid_internal.relays, braid_internal.relay_positions_0,
	braid_internal.relay_positions_1 TO PUBLIC;

CREATE FUNCTION braid.create_relay(topic text, server name, target regclass, name name DEFAULT NULL, start text DEFAULT 'beginning',
	batch_rows int DEFAULT 5000, batch_bytes int DEFAULT 1048576, target_limit bigint DEFAULT NULL) RETURNS name
AS 'MODULE_PATHNAME', 'braid_sql_create_relay' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION braid.create_relay(text, name, regclass, name, text, int, int, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.create_relay(text, name, regclass, name, text, int, int, bigint) TO PUBLIC;
COMMENT ON FUNCTION braid.create_relay(text, name, regclass, name, text, int, int, bigint) IS
'Relays the messages of a topic of another server, with its schema, into a topic here, exactly once: a worker pulls them in batches of up to batch_rows messages or batch_bytes, whichever is first, and stores how far it has come in the same transaction. name: of the relay; default: the target''s, and the server''s. start: beginning, end, a time, or the id of the last message that is not wanted. target_limit: no more is pulled while the target needs more than so many bytes. For the owner of the target, who needs USAGE on the server and a user mapping. Returns the name. 42501, 42602 topic is not a schema and a name, 42704, 42710, 42809, 22023.';

CREATE FUNCTION braid.alter_relay(name name, batch_rows int DEFAULT NULL, batch_bytes int DEFAULT NULL, target_limit bigint DEFAULT NULL,
	paused boolean DEFAULT NULL, server name DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_alter_relay' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION braid.alter_relay(name, int, int, bigint, boolean, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.alter_relay(name, int, int, bigint, boolean, name) TO PUBLIC;
COMMENT ON FUNCTION braid.alter_relay(name, int, int, bigint, boolean, name) IS
'Changes what is given of a relay: batch_rows, batch_bytes, target_limit (0: none), paused, server (another name for the same source, such as its promoted standby). 42501, 42704, 22023.';

CREATE FUNCTION braid.resume_relay(name name, "from" text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_resume_relay' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION braid.resume_relay(name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.resume_relay(name, text) TO PUBLIC;
COMMENT ON FUNCTION braid.resume_relay(name, text) IS
'Lets a relay go on that was paused or, with from, that has stopped because its source, or what it remembers of it, is not what it was: from its position (position), the beginning, the end, a time, or behind the message with an id. 42501, 42704, 55000: it is stopped, and from is missing; 22023.';

CREATE FUNCTION braid.drop_relay(name name, at_source boolean DEFAULT true) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_drop_relay' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid.drop_relay(name, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.drop_relay(name, boolean) TO PUBLIC;
COMMENT ON FUNCTION braid.drop_relay(name, boolean) IS
'Drops a relay; what it has brought stays. at_source: its group there, which holds messages, is dropped first, by the worker: until then the relay is in braid.relays, as dropping. Without, it goes at once, and the group at the source has to be dropped there with braid.drop_group(). 42501, 42704.';

CREATE FUNCTION braid_internal.relay_statuses(OUT relay int, OUT state text, OUT reason text, OUT since timestamptz,
	OUT contact timestamptz, OUT behind bigint, OUT oldest timestamptz, OUT failures int, OUT advice text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_relay_statuses' LANGUAGE C VOLATILE STRICT ROWS 10;
REVOKE ALL ON FUNCTION braid_internal.relay_statuses() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.relay_statuses() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.relay_statuses() IS
'What the worker says of the relays of this database. behind: messages that the source has and this side has not, about; oldest: when the first of them was sent.';

CREATE FUNCTION braid_internal.relay_problem() RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_relay_problem' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.relay_problem() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.relay_problem() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.relay_problem() IS 'Why no worker of relays runs in this database; null if one does, or if nothing is wrong.';

CREATE VIEW braid.relays AS
	SELECT r.name AS relay,
		r.source AS topic,
		r.server,
		t.view AS target,
		CASE WHEN r.dropped THEN 'dropping'
			WHEN s.relay IS NULL OR s.stopped IS NOT NULL THEN 'stopped'
			WHEN r.paused THEN 'paused'
			ELSE coalesce(w.state, 'connecting') END AS state,
		CASE WHEN r.dropped THEN w.reason
			WHEN s.relay IS NULL THEN 'it was restored from a dump'
			WHEN s.stopped IS NOT NULL THEN s.stopped
			WHEN r.paused THEN NULL
			WHEN w.relay IS NULL THEN coalesce(braid_internal.relay_problem(), 'the worker has not begun with it yet')
			ELSE w.reason END AS reason,
		CASE WHEN r.dropped THEN 'If the source does not come back: braid.drop_relay(name, at_source => false), and braid.drop_group() there.'
			WHEN s.relay IS NULL THEN 'braid.resume_relay(name, ...), from position if the source still has all that has come since, or from the id in last_id'
			WHEN s.stopped IS NOT NULL THEN s.advice
			WHEN r.paused THEN 'braid.resume_relay(name) when it is to go on.'
			WHEN w.relay IS NULL THEN 'See the server log for messages of "braid relay"; raise "max_worker_processes" and "braid.max_workers" if there is no room for it, and "braid.topic_max_relays" if others are shown.'
			ELSE w.advice END AS advice,
		coalesce(w.since, s.since) AS since,
		p.last_id,
		coalesce(p.messages, 0) AS messages,
		coalesce(p.bytes, 0) AS bytes,
		coalesce(p.looped, 0) AS looped,
		p.last_batch,
		w.contact AS last_contact,
		w.behind AS lag_messages,
		CASE WHEN w.behind > 0 THEN pg_catalog.clock_timestamp() - w.oldest WHEN w.behind = 0 AND w.state = 'streaming' THEN interval '0' END AS lag,
		r.batch_rows, r.batch_bytes, r.target_limit
	FROM braid_internal.relays r
	LEFT JOIN braid_internal.relay_states s ON s.relay = r.id
	LEFT JOIN braid_internal.topics t ON t.id = r.target
	LEFT JOIN braid_internal.relay_statuses() w ON w.relay = r.id
	LEFT JOIN LATERAL (
		SELECT max(l.last_id) AS last_id, sum(l.messages)::bigint AS messages, sum(l.bytes)::bigint AS bytes,
			sum(l.looped)::bigint AS looped, max(l.moved_at) AS last_batch
		FROM (SELECT DISTINCT ON (q.part) q.* FROM braid_internal.relay_positions q
			WHERE q.relay = r.id ORDER BY q.part, q.number DESC) l) p ON true;
REVOKE ALL ON braid.relays FROM PUBLIC;
GRANT SELECT ON braid.relays TO pg_monitor, braid_operator;
COMMENT ON VIEW braid.relays IS
'Relays into topics of this database: where they come from, whether they run and, if not, why and what to do, what they have brought, and how far behind they are.';
COMMENT ON COLUMN braid.relays.state IS 'connecting; streaming; held: the target is larger than target_limit; failing: it is tried again and again; paused; stopped: somebody has to decide, by braid.resume_relay(); dropping: the source has not let go of it yet';
COMMENT ON COLUMN braid.relays.advice IS 'What to do about the reason; null if there is none, or nothing to do but wait';
COMMENT ON COLUMN braid.relays.last_id IS 'The highest id, at the source, of a message that was received; messages were stored, of bytes, and looped were left out, since they had been in the target before';
COMMENT ON COLUMN braid.relays.last_contact IS 'When the source has last answered; null: not since the worker was started';
COMMENT ON COLUMN braid.relays.lag_messages IS 'How many messages were still to come then, about; lag: how old what has come last was, 0 if there is nothing to come';

-- ---- the side that is read from

CREATE FUNCTION braid_internal.relay_open(source text, group_name text, start text, number bigint, parts smallint[], positions text[],
	confirmed bigint, system bigint, database oid, topic int, timeline int, lsn pg_lsn,
	OUT verdict text, OUT detail text, OUT its_system bigint, OUT its_database oid, OUT its_topic int, OUT payload text, OUT identity bigint,
	OUT encoding text, OUT its_timeline int, OUT its_lsn pg_lsn, OUT its_confirmed bigint, OUT its_positions text[])
RETURNS record AS 'MODULE_PATHNAME', 'braid_sql_relay_open' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION braid_internal.relay_open(text, text, text, bigint, smallint[], text[], bigint, bigint, oid, int, int, pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.relay_open(text, text, text, bigint, smallint[], text[], bigint, bigint, oid, int, int, pg_lsn) TO PUBLIC;
COMMENT ON FUNCTION braid_internal.relay_open(text, text, text, bigint, smallint[], text[], bigint, bigint, oid, int, int, pg_lsn) IS
'Sources: a relay opens a session, at the positions that it has stored or, with start, anew. Answers ok, or why it must not go on from there: see relay_open.c. Needs SELECT on the topic; where the group of the relay, which holds messages, is made, the topic is to be owned.';

CREATE PROCEDURE braid_internal.relay_fetch(acknowledged bigint, max_rows int, max_bytes int, wait_ms int, INOUT batch bytea)
AS 'MODULE_PATHNAME', 'braid_sql_relay_fetch' LANGUAGE C;
REVOKE ALL ON PROCEDURE braid_internal.relay_fetch(bigint, int, int, int, bytea) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE braid_internal.relay_fetch(bigint, int, int, int, bytea) TO PUBLIC;
COMMENT ON PROCEDURE braid_internal.relay_fetch(bigint, int, int, int, bytea) IS
'Sources: the next batch of a session that relay_open() has opened, as relay_batch.h has it, after waiting for messages for up to wait_ms. acknowledged: the relay has stored all up to this batch durably. Not within a transaction block.';

CREATE FUNCTION braid_internal.relay_close(source text, group_name text) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_relay_close' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.relay_close(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.relay_close(text, text) TO PUBLIC;
COMMENT ON FUNCTION braid_internal.relay_close(text, text) IS
'Sources: a relay is dropped, and so is its group, if it is still there. For who owns the group.';
