
-- ---------------------------------------------------------------- snapshots

CREATE FUNCTION braid_internal.snapshot_is_fixed() RETURNS bool
AS 'MODULE_PATHNAME', 'braid_sql_snapshot_is_fixed' LANGUAGE C STABLE STRICT;
REVOKE ALL ON FUNCTION braid_internal.snapshot_is_fixed() FROM PUBLIC;
-- Of the caller's own session.
GRANT EXECUTE ON FUNCTION braid_internal.snapshot_is_fixed() TO PUBLIC;
COMMENT ON FUNCTION braid_internal.snapshot_is_fixed() IS
'Participants: did the current transaction take its snapshot when postgres_fdw released a savepoint?';

CREATE VIEW braid_internal.snapshot AS SELECT braid_internal.snapshot_is_fixed() AS fixed;
REVOKE ALL ON braid_internal.snapshot FROM PUBLIC;
-- It says something about the session that asks.
GRANT SELECT ON braid_internal.snapshot TO PUBLIC;
COMMENT ON VIEW braid_internal.snapshot IS
'Participants: a coordinator reads it to learn whether the current transaction has its part of a snapshot over servers';

CREATE VIEW braid_internal.exported_snapshot AS SELECT pg_catalog.pg_export_snapshot() AS id;
REVOKE ALL ON braid_internal.exported_snapshot FROM PUBLIC;
-- Everybody may export the snapshot of a transaction of his own.
GRANT SELECT ON braid_internal.exported_snapshot TO PUBLIC;
COMMENT ON VIEW braid_internal.exported_snapshot IS
'Participants: a coordinator reads it to export the snapshot of the current transaction';

CREATE FUNCTION braid.export_snapshot(OUT server name, OUT snapshot text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_export_snapshot' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
REVOKE ALL ON FUNCTION braid.export_snapshot() FROM PUBLIC;
-- As pg_export_snapshot(): it is the caller's own.
GRANT EXECUTE ON FUNCTION braid.export_snapshot() TO PUBLIC;
COMMENT ON FUNCTION braid.export_snapshot() IS
'Exports the snapshot over servers of the current transaction (SET LOCAL braid.snapshot): for this server (null) and each of the others, the name for SET TRANSACTION SNAPSHOT or pg_dump --snapshot on that server, good until the transaction ends. Such a transaction cannot commit in two phases. Errors: 55000 without a snapshot over servers, 25001 in a subtransaction.';

CREATE FUNCTION braid_internal.xa_snapshot_statistics(datid oid,
	OUT what text, OUT requests bigint, OUT total_time double precision, OUT mean_time double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision, OUT max_time double precision)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_snapshot_statistics' LANGUAGE C VOLATILE STRICT ROWS 3;
REVOKE ALL ON FUNCTION braid_internal.xa_snapshot_statistics(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_snapshot_statistics(oid) TO pg_read_all_stats, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_snapshot_statistics(oid) IS
'Durations of snapshots over servers in a database, and of what they keep waiting, in milliseconds; no rows if nothing was counted';

CREATE VIEW braid.stat_snapshots AS
	SELECT d.oid AS datid, d.datname, s.what, s.requests, s.total_time, s.mean_time, s.p50, s.p95, s.p99, s.max_time
	FROM pg_catalog.pg_database d, LATERAL braid_internal.xa_snapshot_statistics(d.oid) s;
REVOKE ALL ON braid.stat_snapshots FROM PUBLIC;
GRANT SELECT ON braid.stat_snapshots TO pg_read_all_stats, braid_operator;
COMMENT ON VIEW braid.stat_snapshots IS
'Snapshots over servers, three rows per database, in milliseconds: snapshot, how long it took to get one; gate closed, how long commits were kept out for it; gate wait, how long commits that came meanwhile have waited. Percentiles are at most 1/32 off, the rest is exact. Set to zero by braid.stat_xa_reset().';
