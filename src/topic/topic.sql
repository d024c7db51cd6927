
-- ---------------------------------------------------------------- topics

CREATE SEQUENCE braid_internal.topic_ids AS int;
COMMENT ON SEQUENCE braid_internal.topic_ids IS 'Ids of topics; part of the names topic_<id>, topic_<id>_<segment>, topic_<id>_ids and topic_<id>_keys.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.topic_ids', '');

-- The messages are in braid_internal.topic_<id>, partitioned by column segment into topic_<id>_<segment>:
--	id int8, xid xid8, sent_at timestamptz, segment int2, part int2, priority int2 (all not null),
--	deliver_at timestamptz, key text, headers jsonb, dedup_key text, path bytea, payload of the topic's type;
--	index topic_<id>_<segment>_order (part, xid, id). Rows with part -1 are ticks (see topic.h).
-- Keys of de-duplication are in braid_internal.topic_<id>_keys (key text, id int8, segment int2), partitioned likewise.
CREATE TABLE braid_internal.topics (
	id int PRIMARY KEY,
	view regclass NOT NULL,
	payload regtype NOT NULL CHECK (payload::oid IN ('jsonb'::regtype::oid, 'text'::regtype::oid, 'bytea'::regtype::oid)),
	partitions smallint NOT NULL CHECK (partitions BETWEEN 1 AND 1024),
	segments smallint NOT NULL CHECK (segments BETWEEN 2 AND 32),
	retain interval CHECK (retain >= '0'),
	retain_size bigint CHECK (retain_size >= 0),
	dedup_window interval CHECK (dedup_window > '0'),
	notify boolean NOT NULL DEFAULT false,
	generation int NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 65535),
	created timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX topics_view ON braid_internal.topics (view);
COMMENT ON TABLE braid_internal.topics IS
'Topics. generation: how often the topic was restored from a dump; transaction ids in its messages have it in their upper 16 bits.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.topics', '');

-- One segment of each topic is open: it is the one with the latest time in opened.
CREATE TABLE braid_internal.topic_segments (
	topic int NOT NULL,
	is_keys boolean NOT NULL,
	number smallint NOT NULL,
	opened timestamptz,
	sealed timestamptz,
	removed xid8,
	PRIMARY KEY (topic, is_keys, number)
);
COMMENT ON TABLE braid_internal.topic_segments IS
'Segments of topics, and of the keys of de-duplication: since when messages are written into it (null: it is empty), and since when surely none are any more; removed: the last transaction that had messages in it when it was last emptied. The one that was opened last takes new messages.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.topic_segments', '');

REVOKE ALL ON braid_internal.topics, braid_internal.topic_segments FROM PUBLIC;
-- So that whoever owns a database can dump it.
GRANT SELECT ON braid_internal.topic_ids, braid_internal.topics, braid_internal.topic_segments TO PUBLIC;

CREATE FUNCTION braid_internal.topic_restored() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_topic_restored' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.topic_restored() IS 'Begins a new generation of a topic that comes from a dump.';
REVOKE ALL ON FUNCTION braid_internal.topic_restored() FROM PUBLIC;
CREATE TRIGGER topic_restored BEFORE INSERT ON braid_internal.topics
	FOR EACH ROW EXECUTE FUNCTION braid_internal.topic_restored();
ALTER TABLE braid_internal.topics ENABLE ALWAYS TRIGGER topic_restored;

-- Whoever restores a dump makes the trigger anew; it checks that it is one of a topic.
CREATE FUNCTION braid_internal.topic_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_topic_write' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.topic_write() IS
'What INSERT and COPY into the view of a topic do. Errors: 0A000 UPDATE or DELETE, 428C9 a column that is set by sending, 42809 not a topic.';

CREATE FUNCTION braid_internal.topic_dropped() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'braid_sql_topic_dropped' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.topic_dropped() IS 'Drops topics whose views are dropped.';
REVOKE ALL ON FUNCTION braid_internal.topic_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER braid_topic_dropped ON sql_drop EXECUTE FUNCTION braid_internal.topic_dropped();
COMMENT ON EVENT TRIGGER braid_topic_dropped IS 'braid: drops topics whose views are dropped';

CREATE FUNCTION braid_internal.topic_altered() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'braid_sql_topic_altered' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.topic_altered() IS 'Has the messages of a topic follow the owner of its view.';
REVOKE ALL ON FUNCTION braid_internal.topic_altered() FROM PUBLIC;
CREATE EVENT TRIGGER braid_topic_altered ON ddl_command_end
	WHEN TAG IN ('CREATE VIEW', 'ALTER VIEW', 'ALTER TABLE')
	EXECUTE FUNCTION braid_internal.topic_altered();
COMMENT ON EVENT TRIGGER braid_topic_altered IS 'braid: follows owners of topics';

-- ---- topics

CREATE FUNCTION braid.create_topic(name text, partitions int DEFAULT 1, payload regtype DEFAULT 'jsonb',
	retain interval DEFAULT NULL, retain_size bigint DEFAULT NULL, dedup_window interval DEFAULT NULL,
	notify boolean DEFAULT false, segments int DEFAULT 3) RETURNS regclass
AS 'MODULE_PATHNAME', 'braid_sql_create_topic' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.create_topic(text, int, regtype, interval, bigint, interval, boolean, int) IS
'Makes a topic, which is a view: INSERT on it is the privilege to send, SELECT to receive, its owner administrates it. name may be qualified. partitions: from 1 to 1024; messages of one key are in one, and in order. payload: jsonb, text or bytea. Messages are retained as long as a group that holds them back has not consumed them, and besides that until they are older than retain or all together have more than retain_size bytes; with neither they go once all groups have consumed them. dedup_window: a message whose dedup_key was sent within it is not sent again. notify: each commit that sends also notifies clients that listen. segments: from 2 to 32, in how many steps messages go. Returns the view. Errors: 22004, 22023 and 42804 wrong arguments, 42501 no CREATE privilege on the schema, 42P07 name taken.';

CREATE FUNCTION braid.alter_topic(topic regclass, options jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_alter_topic' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.alter_topic(regclass, jsonb) IS
'Changes options of a topic: retain, retain_size, dedup_window, notify, as in braid.create_topic(); null resets one. Without dedup_window all keys are forgotten. The name, schema, owner and privileges are changed as those of any view. Errors: 22023 not an option or not a value of it, 42501 not the owner, 42809 not a topic.';

CREATE FUNCTION braid.drop_topic(topic regclass, cascade boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_drop_topic' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.drop_topic(regclass, boolean) IS
'Drops a topic with its messages, as DROP VIEW does. cascade: with what depends on it, groups of consumers and relays included. Errors: 2BP01 something depends on it, 42501 not the owner, 42809 not a topic.';

-- ---- sending

CREATE FUNCTION braid.send(topic regclass, payload text, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
	deliver_at timestamptz DEFAULT NULL, priority int DEFAULT 0, dedup_key text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send(regclass, text, text, jsonb, timestamptz, int, text) IS
'Sends a message, as part of the transaction. payload: of the topic''s type; a text is read as one of that type; may be null. key: decides on the partition; without one messages are spread. headers: an object. deliver_at: groups in work mode get it not before. priority: from -32768 to 32767, for groups in work mode. dedup_key: at most 1024 bytes; if it was sent within the topic''s dedup_window, nothing is sent. Returns the id, of the first one if it is a duplicate. Errors: 22003, 22004, 22008, 22023, 22001 wrong arguments, 22P02 not a payload of the type, 25006 read-only transaction, 42501 no INSERT privilege, 42804 payload of another type, 42809 not a topic, 55000 dedup_key without dedup_window.';

CREATE FUNCTION braid.send_batch(topic regclass, payloads text[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL,
	deliver_at timestamptz[] DEFAULT NULL, priorities int[] DEFAULT NULL, dedup_keys text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send_batch' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send_batch(regclass, text[], text[], jsonb[], timestamptz[], int[], text[]) IS
'Sends a message for each element of the arrays, as braid.send() does, and faster; each array that is given has as many. Returns how many were sent: duplicates are not. Errors: those of braid.send(), 2202E arrays of different lengths.';

CREATE FUNCTION braid.send(topic regclass, payload jsonb, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
	deliver_at timestamptz DEFAULT NULL, priority int DEFAULT 0, dedup_key text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send(regclass, jsonb, text, jsonb, timestamptz, int, text) IS
'Sends a message, as part of the transaction. payload: of the topic''s type; a text is read as one of that type; may be null. key: decides on the partition; without one messages are spread. headers: an object. deliver_at: groups in work mode get it not before. priority: from -32768 to 32767, for groups in work mode. dedup_key: at most 1024 bytes; if it was sent within the topic''s dedup_window, nothing is sent. Returns the id, of the first one if it is a duplicate. Errors: 22003, 22004, 22008, 22023, 22001 wrong arguments, 22P02 not a payload of the type, 25006 read-only transaction, 42501 no INSERT privilege, 42804 payload of another type, 42809 not a topic, 55000 dedup_key without dedup_window.';

CREATE FUNCTION braid.send_batch(topic regclass, payloads jsonb[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL,
	deliver_at timestamptz[] DEFAULT NULL, priorities int[] DEFAULT NULL, dedup_keys text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send_batch' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send_batch(regclass, jsonb[], text[], jsonb[], timestamptz[], int[], text[]) IS
'Sends a message for each element of the arrays, as braid.send() does, and faster; each array that is given has as many. Returns how many were sent: duplicates are not. Errors: those of braid.send(), 2202E arrays of different lengths.';

CREATE FUNCTION braid.send(topic regclass, payload bytea, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
	deliver_at timestamptz DEFAULT NULL, priority int DEFAULT 0, dedup_key text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send(regclass, bytea, text, jsonb, timestamptz, int, text) IS
'Sends a message, as part of the transaction. payload: of the topic''s type; a text is read as one of that type; may be null. key: decides on the partition; without one messages are spread. headers: an object. deliver_at: groups in work mode get it not before. priority: from -32768 to 32767, for groups in work mode. dedup_key: at most 1024 bytes; if it was sent within the topic''s dedup_window, nothing is sent. Returns the id, of the first one if it is a duplicate. Errors: 22003, 22004, 22008, 22023, 22001 wrong arguments, 22P02 not a payload of the type, 25006 read-only transaction, 42501 no INSERT privilege, 42804 payload of another type, 42809 not a topic, 55000 dedup_key without dedup_window.';

CREATE FUNCTION braid.send_batch(topic regclass, payloads bytea[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL,
	deliver_at timestamptz[] DEFAULT NULL, priorities int[] DEFAULT NULL, dedup_keys text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send_batch' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.send_batch(regclass, bytea[], text[], jsonb[], timestamptz[], int[], text[]) IS
'Sends a message for each element of the arrays, as braid.send() does, and faster; each array that is given has as many. Returns how many were sent: duplicates are not. Errors: those of braid.send(), 2202E arrays of different lengths.';

CREATE FUNCTION braid.send_batch(topic regclass, query text) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_send_query' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.send_batch(regclass, text) IS
'Sends a message for each row of a query, which runs with the caller''s privileges. Its columns are found by name: payload, key (text), headers (jsonb), deliver_at (timestamptz), priority (int), dedup_key (text), partition (int); all may be missing. Returns how many were sent: duplicates are not. Errors: those of braid.send(), 42703 another column, 42804 a column of another type, and those of the query.';

-- ---- rotation

CREATE FUNCTION braid_internal.topic_hold(topic int, OUT is_held boolean, OUT xid xid8) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_topic_hold' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.topic_hold(int) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_hold(int) IS
'Whether anybody holds back messages of the topic, and the first transaction whose messages are still wanted.';

CREATE FUNCTION braid_internal.try_lock(relation regclass, exclusive boolean) RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_try_lock' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.try_lock(regclass, boolean) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.try_lock(regclass, boolean) IS
'Locks a relation against writers, or against all, until the transaction ends, if nobody is in the way.';

CREATE FUNCTION braid_internal.segment_name(topic int, is_keys boolean, number int) RETURNS regclass
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_regclass(format(CASE WHEN is_keys THEN 'braid_internal.topic_%s_keys_%s' ELSE 'braid_internal.topic_%s_%s' END, topic, number)) $$;
COMMENT ON FUNCTION braid_internal.segment_name(int, boolean, int) IS 'The table that a segment is; null if there is none.';

CREATE FUNCTION braid_internal.open_segment(topic_id int, keys boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next_number int;
BEGIN
	-- In turn, so that segments are emptied in the order in which they were filled.
	SELECT s.number INTO next_number
		FROM braid_internal.topic_segments s,
			(SELECT o.number FROM braid_internal.topic_segments o
				WHERE o.topic = topic_id AND o.is_keys = keys AND o.opened IS NOT NULL
				ORDER BY o.opened DESC LIMIT 1) o
		WHERE s.topic = topic_id AND s.is_keys = keys AND s.opened IS NULL
		ORDER BY s.number <= o.number, s.number LIMIT 1;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE braid_internal.topic_segments s
		SET opened = greatest(clock_timestamp(), (SELECT max(o.opened) + interval '1 microsecond'
			FROM braid_internal.topic_segments o WHERE o.topic = topic_id AND o.is_keys = keys))
		WHERE s.topic = topic_id AND s.is_keys = keys AND s.number = next_number;
	PERFORM braid_internal.topic_changed(topic_id);
	RETURN true;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.open_segment(int, boolean) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.open_segment(int, boolean) IS
'Has new messages, or keys, of a topic go to the next segment, if one is empty.';

CREATE FUNCTION braid_internal.topic_changed(topic int) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_topic_changed' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.topic_changed(int) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_changed(int) IS 'Has all processes look at the topic''s rows in the catalogs again.';

CREATE FUNCTION braid_internal.lock_briefly(relation regclass) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE MODE', relation);
	RETURN true;
EXCEPTION WHEN lock_not_available THEN
	RETURN false;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.lock_briefly(regclass) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.lock_briefly(regclass) IS 'Locks a table against writers, unless that takes longer than 100 ms.';

CREATE FUNCTION braid_internal.segment_last_xid(segment regclass, partitions int) RETURNS xid8
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	last xid8;
BEGIN
	EXECUTE format('SELECT m.xid FROM generate_series(0, %s) p (part), LATERAL (
			SELECT s.xid FROM %s s WHERE s.part = p.part ORDER BY s.part DESC, s.xid DESC, s.id DESC LIMIT 1) m
		ORDER BY m.xid DESC LIMIT 1', partitions - 1, segment) INTO last;
	RETURN last;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.segment_last_xid(regclass, int) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.segment_last_xid(regclass, int) IS 'The last transaction that has messages in the segment; null without any.';

CREATE FUNCTION braid_internal.empty_segment(topic_id int, keys boolean, segment int) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name regclass := braid_internal.segment_name(topic_id, keys, segment);
	last xid8;
BEGIN
	IF NOT braid_internal.try_lock(name, true) THEN
		RETURN false;
	END IF;
	IF NOT keys THEN
		last := braid_internal.segment_last_xid(name, (SELECT t.partitions FROM braid_internal.topics t WHERE t.id = topic_id));
	END IF;
	EXECUTE format('TRUNCATE ONLY %s', name);
	UPDATE braid_internal.topic_segments s SET opened = NULL, sealed = NULL, removed = coalesce(last, s.removed)
		WHERE s.topic = topic_id AND s.is_keys = keys AND s.number = segment;
	RETURN true;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.empty_segment(int, boolean, int) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.empty_segment(int, boolean, int) IS 'Empties a segment, unless anybody reads or writes it.';

CREATE FUNCTION braid_internal.rotate_keys(topic_id int, window_length interval) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	name regclass;
BEGIN
	-- The next one is opened while nobody writes the present one: see dedup.c.
	SELECT o.number, o.opened INTO s FROM braid_internal.topic_segments o
		WHERE o.topic = topic_id AND o.is_keys AND o.opened IS NOT NULL
		ORDER BY o.opened DESC LIMIT 1;
	name := braid_internal.segment_name(topic_id, true, s.number);
	IF s.opened <= clock_timestamp() - window_length AND pg_relation_size(name) > 0
		AND EXISTS (SELECT FROM braid_internal.topic_segments o WHERE o.topic = topic_id AND o.is_keys AND o.opened IS NULL)
		AND (braid_internal.try_lock(name, false) OR (s.opened <= clock_timestamp() - window_length * 1.25
			AND braid_internal.lock_briefly(name)))
	THEN
		PERFORM braid_internal.open_segment(topic_id, true);
		UPDATE braid_internal.topic_segments k SET sealed = clock_timestamp()
			WHERE k.topic = topic_id AND k.is_keys AND k.number = s.number;
	END IF;
	FOR s IN SELECT k.number FROM braid_internal.topic_segments k
			WHERE k.topic = topic_id AND k.is_keys AND k.sealed <= clock_timestamp() - window_length
			ORDER BY k.opened
	LOOP
		PERFORM braid_internal.empty_segment(topic_id, true, s.number);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.rotate_keys(int, interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.rotate_keys(int, interval) IS
'Has keys of de-duplication go to the next table after a window''s time, and empties those that nobody needs.';

CREATE FUNCTION braid_internal.lock_topic(topic int, wait boolean) RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_lock_topic' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.lock_topic(int, boolean) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.lock_topic(int, boolean) IS
'Keeps others from rotating, altering or dropping the topic until the transaction ends; false if somebody does and is not to be waited for.';

CREATE FUNCTION braid_internal.topic_step(t braid_internal.topics, OUT age interval, OUT bytes bigint) RETURNS record
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(t.retain / (t.segments - 1), current_setting('braid.topic_segment_age')::interval),
		coalesce(t.retain_size / (t.segments - 1), pg_size_bytes(current_setting('braid.topic_segment_size')))
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_step(braid_internal.topics) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_step(braid_internal.topics) IS
'After which time, and from which size on, messages of the topic go to the next segment.';

CREATE FUNCTION braid_internal.rotate(topic_id int, at_once boolean) RETURNS int
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t braid_internal.topics;
	s record;
	hold record;
	bytes bigint;
	step_age interval;
	step_bytes bigint;
	emptied int := 0;
BEGIN
	IF NOT braid_internal.lock_topic(topic_id, at_once) THEN
		RETURN 0;
	END IF;
	SELECT * INTO t FROM braid_internal.topics WHERE id = topic_id;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	IF t.dedup_window IS NOT NULL THEN
		PERFORM braid_internal.rotate_keys(topic_id, t.dedup_window);
	END IF;

	-- Open the next segment.
	SELECT * INTO step_age, step_bytes FROM braid_internal.topic_step(t);
	SELECT o.number, o.opened, braid_internal.segment_name(topic_id, false, o.number) AS name INTO s
		FROM braid_internal.topic_segments o
		WHERE o.topic = topic_id AND NOT o.is_keys AND o.opened IS NOT NULL
		ORDER BY o.opened DESC LIMIT 1;
	IF pg_relation_size(s.name) > 0
		AND (at_once OR s.opened <= clock_timestamp() - step_age OR pg_total_relation_size(s.name) >= step_bytes)
	THEN
		PERFORM braid_internal.open_segment(topic_id, false);
	END IF;

	-- Those before it that nobody writes any more: a sender who waits for our lock finds the new one then.
	FOR s IN SELECT o.number FROM braid_internal.topic_segments o
			WHERE o.topic = topic_id AND NOT o.is_keys AND o.opened IS NOT NULL AND o.sealed IS NULL
				AND o.opened < (SELECT max(l.opened) FROM braid_internal.topic_segments l
					WHERE l.topic = topic_id AND NOT l.is_keys)
	LOOP
		IF braid_internal.try_lock(braid_internal.segment_name(topic_id, false, s.number), false) THEN
			UPDATE braid_internal.topic_segments o SET sealed = clock_timestamp()
				WHERE o.topic = topic_id AND NOT o.is_keys AND o.number = s.number;
		END IF;
	END LOOP;

	-- Those that nobody wants any more, the oldest first.
	hold := braid_internal.topic_hold(topic_id);
	SELECT sum(pg_total_relation_size(braid_internal.segment_name(topic_id, false, o.number))) INTO bytes
		FROM braid_internal.topic_segments o WHERE o.topic = topic_id AND NOT o.is_keys;
	FOR s IN SELECT o.number, o.sealed, braid_internal.segment_name(topic_id, false, o.number) AS name
			FROM braid_internal.topic_segments o
			WHERE o.topic = topic_id AND NOT o.is_keys AND o.sealed IS NOT NULL ORDER BY o.opened
	LOOP
		EXIT WHEN NOT coalesce(s.sealed <= clock_timestamp() - t.retain, false)
			AND NOT coalesce(bytes > t.retain_size, false)
			AND NOT (t.retain IS NULL AND t.retain_size IS NULL AND hold.is_held);
		EXIT WHEN hold.is_held AND braid_internal.segment_last_xid(s.name, t.partitions) >= hold.xid;
		bytes := bytes - pg_total_relation_size(s.name);
		EXIT WHEN NOT braid_internal.empty_segment(topic_id, false, s.number);
		emptied := emptied + 1;
	END LOOP;
	RETURN emptied;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.rotate(int, boolean) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.rotate(int, boolean) IS
'Opens the next segment of a topic if it is time, or at once, and empties those that nobody wants any more; returns how many.';

CREATE FUNCTION braid.rotate_topic(topic regclass) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_rotate_topic' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.rotate_topic(regclass) IS
'Gives back at once the space of messages that need not be retained any more, as the worker does from time to time. What is open in another transaction stays. Senders wait until the transaction ends, as with TRUNCATE. Returns how many segments were emptied. Errors: 42501 not the owner, 42809 not a topic.';

CREATE FUNCTION braid_internal.topics_to_rotate() RETURNS SETOF int
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	WITH segments AS (
		SELECT s.*, s.opened = max(s.opened) OVER w AS is_open, count(*) FILTER (WHERE s.opened IS NULL) OVER w > 0 AS has_room,
			braid_internal.segment_name(s.topic, s.is_keys, s.number) AS name
		FROM braid_internal.topic_segments s WINDOW w AS (PARTITION BY s.topic, s.is_keys))
	SELECT t.id FROM braid_internal.topics t CROSS JOIN LATERAL braid_internal.topic_step(t) step
	WHERE EXISTS (SELECT FROM segments s WHERE s.topic = t.id AND s.opened IS NOT NULL AND CASE
		WHEN s.is_keys AND s.is_open THEN s.has_room AND s.opened <= clock_timestamp() - t.dedup_window AND pg_relation_size(s.name) > 0
		WHEN s.is_keys THEN s.sealed <= clock_timestamp() - t.dedup_window
		WHEN s.is_open THEN s.has_room AND pg_relation_size(s.name) > 0
			AND (s.opened <= clock_timestamp() - step.age OR pg_total_relation_size(s.name) >= step.bytes)
		ELSE s.sealed IS NULL OR s.sealed <= clock_timestamp() - t.retain OR t.retain IS NULL END)
$$;
REVOKE ALL ON FUNCTION braid_internal.topics_to_rotate() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topics_to_rotate() IS 'Topics of which a segment may have to be opened, sealed or emptied.';

CREATE VIEW braid.topics AS
	SELECT t.view AS topic, t.partitions, t.payload, t.retain, t.retain_size, t.dedup_window, t.notify, t.segments,
		s.used AS used_segments, s.messages, s.bytes, k.bytes AS key_bytes, s.opened, t.created
	FROM braid_internal.topics t
	JOIN pg_catalog.pg_class c ON c.oid = t.view
	CROSS JOIN LATERAL (
		SELECT count(*) FILTER (WHERE n.opened IS NOT NULL) AS used,
			sum(pg_catalog.pg_stat_get_live_tuples(n.name))::bigint AS messages,
			sum(pg_catalog.pg_total_relation_size(n.name))::bigint AS bytes,
			min(n.opened) AS opened
		FROM (SELECT o.opened, braid_internal.segment_name(o.topic, o.is_keys, o.number) AS name
			FROM braid_internal.topic_segments o WHERE o.topic = t.id AND NOT o.is_keys) n) s
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(pg_catalog.pg_total_relation_size(braid_internal.segment_name(o.topic, o.is_keys, o.number))), 0)::bigint AS bytes
		FROM braid_internal.topic_segments o WHERE o.topic = t.id AND o.is_keys) k;
REVOKE ALL ON braid.topics FROM PUBLIC;
GRANT SELECT ON braid.topics TO PUBLIC;
COMMENT ON VIEW braid.topics IS
'Topics, with their options (see braid.create_topic()) and what they take. used_segments: how many have messages or are about to; messages: how many are retained, estimated; bytes: their size on disk, with indexes; key_bytes: of keys of de-duplication; opened: since when the oldest retained messages may have been sent.';
