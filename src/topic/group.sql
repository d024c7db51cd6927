
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
