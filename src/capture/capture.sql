
-- ---------------------------------------------------------------- capture

-- What braid changed on the tables that it captures; dumped, so that it can
-- still be undone after a restore.
CREATE TABLE braid_internal.sources (
	relation regclass NOT NULL,
	identity "char" NOT NULL,
	identity_index name
);
COMMENT ON TABLE braid_internal.sources IS
'Tables on which braid has set REPLICA IDENTITY FULL, and the replica identity that they had before.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.sources', '');
GRANT SELECT ON braid_internal.sources TO PUBLIC; -- so that whoever owns a database can dump it

-- Not dumped: a frontier means something only together with its slot.
CREATE TABLE braid_internal.frontiers (
	relation oid PRIMARY KEY,
	slot name NOT NULL,
	frontier pg_snapshot NOT NULL,
	members oid[] NOT NULL,
	advanced timestamptz NOT NULL
);
COMMENT ON TABLE braid_internal.frontiers IS
'For each captured table: the snapshot that continuous views on it stand for, the replication slot that goes on from there, and the partitions that it is made of.';

CREATE FUNCTION braid_internal.capture_status(
	OUT pid int, OUT "position" pg_lsn, OUT snapshot_time timestamptz, OUT held_back oid[]) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_capture_status' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.capture_status() IS
'The capture worker of this database: its process id (null: none runs), the WAL position that views have reached, the time of its last snapshot, and the tables that it could not lock then.';

CREATE FUNCTION braid_internal.capture_lag(OUT lag interval, OUT lag_bytes bigint) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_capture_lag' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.capture_lag() IS
'How far the capture worker of this database is behind, as braid.max_lag sees it: the time since the oldest commit that no cycle has brought into views, and the WAL that is not decoded; zero where nothing is known.';

CREATE FUNCTION braid_internal.capture_problem() RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_capture_problem' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.capture_problem() IS
'Why no capture worker runs in this database: the error that has ended it, or what keeps it from being started. Null if one runs, or nothing is wrong.';
