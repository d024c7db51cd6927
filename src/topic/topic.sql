
-- ---------------------------------------------------------------- topics

CREATE SEQUENCE braid_internal.topic_ids AS int;
COMMENT ON SEQUENCE braid_internal.topic_ids IS 'Ids of topics; part of the names topic_<id>, topic_<id>_<segment>, topic_<id>_ids and topic_<id>_keys.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.topic_ids', '');

-- The messages are in braid_internal.topic_<id>, partitioned by column segment into topic_<id>_<segment>:
--	id int8, xid xid8, sent_at timestamptz, segment int2, part int2, priority int2 (all not null),
--	deliver_at timestamptz, key text, headers jsonb, dedup_key text, payload of the topic's type;
--	index topic_<id>_<segment>_order (part, xid, id). Rows with part -1 are ticks (see topic.h).
-- Keys of de-duplication are in braid_internal.topic_<id>_keys (key text, id int8, segment int2), partitioned likewise.
CREATE TABLE braid_internal.topics (
	id int PRIMARY KEY,
	view regclass NOT NULL,
	payload regtype NOT NULL CHECK (payload IN ('jsonb'::regtype, 'text'::regtype, 'bytea'::regtype)),
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
	PRIMARY KEY (topic, is_keys, number)
);
COMMENT ON TABLE braid_internal.topic_segments IS
'Segments of topics, and of the keys of de-duplication: since when messages are written into it (null: it is empty), and since when surely none are any more. The one that was opened last takes new messages.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.topic_segments', '');

REVOKE ALL ON braid_internal.topics, braid_internal.topic_segments FROM PUBLIC;
-- So that whoever owns a database can dump it.
GRANT SELECT ON braid_internal.topic_ids, braid_internal.topics, braid_internal.topic_segments TO PUBLIC;
