
-- ---------------------------------------------------------------- capture: statistics

CREATE FUNCTION braid_internal.wal_end() RETURNS pg_lsn
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END;
COMMENT ON FUNCTION braid_internal.wal_end() IS 'Where WAL ends now; on a standby, up to where it was replayed';

CREATE FUNCTION braid_internal.capture_statistics(OUT datid oid, OUT pid int, OUT "position" pg_lsn, OUT snapshot_time timestamptz,
	OUT starts bigint, OUT cycles bigint, OUT changing_cycles bigint, OUT transactions bigint, OUT rows bigint, OUT wal_decoded bigint,
	OUT cycle_time double precision, OUT decode_time double precision, OUT apply_time double precision, OUT max_cycle_time double precision,
	OUT held_transactions bigint, OUT held_since timestamptz, OUT held_back bigint, OUT memory bigint, OUT max_memory bigint, OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_capture_statistics' LANGUAGE C VOLATILE STRICT ROWS 2;
COMMENT ON FUNCTION braid_internal.capture_statistics() IS
'What capture workers have done since stats_reset, one row for each database that has or had one; times in milliseconds, the rest in bytes and numbers';

CREATE VIEW braid.stat_capture AS
	SELECT c.datid, d.datname, c.pid, r.slot_name, c."position", c.snapshot_time,
		pg_catalog.pg_wal_lsn_diff(braid_internal.wal_end(), r.restart_lsn)::bigint AS wal_kept,
		r.wal_status, r.safe_wal_size,
		c.starts, c.cycles, c.changing_cycles, c.transactions, c.rows, c.wal_decoded,
		c.cycle_time, c.decode_time, c.apply_time, c.max_cycle_time,
		c.held_transactions, c.held_since, c.held_back AS held_back_tables,
		coalesce(t.spill_txns, 0) AS spill_transactions, coalesce(t.spill_count, 0) AS spill_count, coalesce(t.spill_bytes, 0) AS spill_bytes,
		coalesce(t.stream_txns, 0) AS large_transactions, coalesce(t.stream_count, 0) AS large_count, coalesce(t.stream_bytes, 0) AS large_bytes,
		c.memory, c.max_memory, c.stats_reset
	FROM braid_internal.capture_statistics() c
	JOIN pg_catalog.pg_database d ON d.oid = c.datid
	LEFT JOIN LATERAL (
		SELECT s.slot_name, s.restart_lsn, s.wal_status, s.safe_wal_size FROM pg_catalog.pg_replication_slots s
		WHERE s.datoid = c.datid AND s.plugin = 'braid' ORDER BY s.active DESC, s.slot_name LIMIT 1) r ON true
	LEFT JOIN pg_catalog.pg_stat_replication_slots t ON t.slot_name = r.slot_name;
REVOKE ALL ON braid.stat_capture FROM PUBLIC;
GRANT SELECT ON braid.stat_capture TO PUBLIC;
COMMENT ON VIEW braid.stat_capture IS
'What the capture workers have done, one row for each database that has or had one since the server''s start: from write-ahead log to what continuous views merge. Counted since stats_reset; the server''s start, if there was none. Times in milliseconds.';
COMMENT ON COLUMN braid.stat_capture.pid IS 'The worker; null: none runs';
COMMENT ON COLUMN braid.stat_capture."position" IS 'WAL was decoded up to here';
COMMENT ON COLUMN braid.stat_capture.snapshot_time IS 'All that was visible then has been taken in: begin of the last cycle, or when the worker last found nothing to do';
COMMENT ON COLUMN braid.stat_capture.wal_kept IS 'Bytes of WAL that the replication slot keeps from being removed; safe_wal_size, as in pg_replication_slots, is how much more may be written before it is lost';
COMMENT ON COLUMN braid.stat_capture.starts IS 'How often the worker has begun to follow tables';
COMMENT ON COLUMN braid.stat_capture.cycles IS 'Cycles; changing_cycles of them have brought changes of tables that are captured';
COMMENT ON COLUMN braid.stat_capture.transactions IS 'Transactions that have changed a captured table, and rows that they have put into deltas: an update puts two';
COMMENT ON COLUMN braid.stat_capture.wal_decoded IS 'Bytes of WAL that were read, whatever is in them';
COMMENT ON COLUMN braid.stat_capture.cycle_time IS 'Time of all cycles; decode_time is spent in reading WAL, apply_time in merging into views';
COMMENT ON COLUMN braid.stat_capture.held_transactions IS 'Transactions that are decoded and wait, since held_since, to become visible or for their tables'' locks; held_back_tables could not be locked in the last cycle';
COMMENT ON COLUMN braid.stat_capture.spill_transactions IS 'Transactions that did not fit into their part of braid.capture_memory when they were decoded, and went to disk in spill_count pieces of spill_bytes together; since pg_stat_reset_replication_slot()';
COMMENT ON COLUMN braid.stat_capture.large_transactions IS 'Transactions that did not fit either, and were decoded while they were in progress, in large_count parts of large_bytes together; since pg_stat_reset_replication_slot()';
COMMENT ON COLUMN braid.stat_capture.memory IS 'Bytes allocated by the worker at the end of its last cycle but those of the last tenth of a second; max_memory is the most';

CREATE FUNCTION braid.stat_capture_reset() RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_capture_statistics_reset' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid.stat_capture_reset() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.stat_capture_reset() TO braid_operator;
COMMENT ON FUNCTION braid.stat_capture_reset() IS
'Sets what is counted in braid.stat_capture for this database to zero. For members of braid_operator.';
