
-- ---------------------------------------------------------------- statistics

CREATE FUNCTION braid_internal.xa_statistics(datid oid,
	OUT xact_begun bigint, OUT xact_commit_one_phase bigint, OUT xact_commit_two_phase bigint, OUT xact_rollback bigint,
	OUT left_to_recovery bigint, OUT recovery_commits bigint, OUT recovery_rollbacks bigint,
	OUT heuristic_commits bigint, OUT heuristic_rollbacks bigint, OUT heuristic_mixed bigint, OUT deadlocks bigint,
	OUT waits_canceled bigint, OUT waits_timed_out bigint, OUT waits_terminated bigint,
	OUT requests bigint, OUT total_time double precision, OUT last_minute bigint, OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_statistics' LANGUAGE C VOLATILE STRICT ROWS 1;
CREATE FUNCTION braid_internal.xa_phase_statistics(datid oid,
	OUT phase text, OUT requests bigint, OUT total_time double precision, OUT mean_time double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision, OUT max_time double precision)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_phase_statistics' LANGUAGE C VOLATILE STRICT ROWS 6;
CREATE FUNCTION braid_internal.xa_branch_statistics(
	OUT server oid, OUT prepared bigint, OUT committed bigint, OUT rolled_back bigint, OUT recovery_commits bigint,
	OUT failed_attempts bigint, OUT retries bigint,
	OUT requests bigint, OUT total_time double precision, OUT mean_time double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision, OUT max_time double precision,
	OUT last_error text, OUT last_error_time timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_branch_statistics' LANGUAGE C VOLATILE STRICT ROWS 10;
CREATE FUNCTION braid_internal.xa_count_in_doubt(datid oid) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_xa_count_in_doubt' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION braid_internal.xa_count_heuristic(decision text, outcome text) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_xa_count_heuristic' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION braid_internal.waits(OUT pid int, OUT wait_event text, OUT since timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_waits' LANGUAGE C VOLATILE STRICT ROWS 10;
REVOKE ALL ON FUNCTION braid_internal.xa_statistics(oid), braid_internal.xa_phase_statistics(oid),
	braid_internal.xa_branch_statistics(), braid_internal.xa_count_in_doubt(oid),
	braid_internal.xa_count_heuristic(text, text), braid_internal.waits() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_statistics(oid), braid_internal.xa_phase_statistics(oid),
	braid_internal.xa_branch_statistics(), braid_internal.xa_count_in_doubt(oid), braid_internal.waits()
	TO pg_read_all_stats, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_statistics(oid) IS
'Counters of global transactions of a database, times in milliseconds; 0: of the databases that found no entry of their own. No row if nothing was counted.';
COMMENT ON FUNCTION braid_internal.xa_phase_statistics(oid) IS
'Durations of the phases of COMMIT in a database, in milliseconds; no rows if nothing was counted';
COMMENT ON FUNCTION braid_internal.xa_branch_statistics() IS
'Counters of branches on each server of this database, and the round trips that committed them, in milliseconds';
COMMENT ON FUNCTION braid_internal.xa_count_in_doubt(oid) IS
'Global transactions of a database that have a branch left to recovery, or one that recovery could not finish';
COMMENT ON FUNCTION braid_internal.xa_count_heuristic(text, text) IS
'For the resolver: counts a branch that was finished by hand, given the decision (commit, rollback) and what became of it (commit, rollback, unknown)';
COMMENT ON FUNCTION braid_internal.waits() IS 'Processes that wait within braid now';

CREATE VIEW braid.stat_xa AS
	SELECT d.datid, d.datname,
		coalesce(s.xact_begun, 0) AS xact_begun,
		coalesce(s.xact_commit_one_phase, 0) AS xact_commit_one_phase,
		coalesce(s.xact_commit_two_phase, 0) AS xact_commit_two_phase,
		coalesce(s.xact_rollback, 0) AS xact_rollback,
		braid_internal.xa_count_in_doubt(d.datid) AS in_doubt,
		coalesce(s.left_to_recovery, 0) AS left_to_recovery,
		coalesce(s.recovery_commits, 0) AS recovery_commits,
		coalesce(s.recovery_rollbacks, 0) AS recovery_rollbacks,
		coalesce(s.heuristic_commits, 0) AS heuristic_commits,
		coalesce(s.heuristic_rollbacks, 0) AS heuristic_rollbacks,
		coalesce(s.heuristic_mixed, 0) AS heuristic_mixed,
		coalesce(s.deadlocks, 0) AS deadlocks,
		coalesce(s.waits_canceled, 0) AS waits_canceled,
		coalesce(s.waits_timed_out, 0) AS waits_timed_out,
		coalesce(s.waits_terminated, 0) AS waits_terminated,
		coalesce(s.requests, 0) AS requests,
		coalesce(s.total_time, 0) AS total_response_time,
		s.total_time / nullif(s.requests, 0) AS avg_response_time,
		coalesce(s.requests / nullif(extract(epoch FROM pg_catalog.clock_timestamp() - s.stats_reset)::double precision, 0), 0)
			AS throughput,
		coalesce(s.last_minute / greatest(1, least(60, extract(epoch FROM pg_catalog.clock_timestamp() - s.stats_reset)))::double precision, 0)
			AS throughput_last_minute,
		s.stats_reset
	FROM (SELECT 0::oid AS datid, NULL::name AS datname UNION ALL SELECT oid, datname FROM pg_catalog.pg_database) d
	LEFT JOIN LATERAL braid_internal.xa_statistics(d.datid) s ON true
	WHERE d.datid <> 0 OR s.xact_begun > 0;
REVOKE ALL ON braid.stat_xa FROM PUBLIC;
GRANT SELECT ON braid.stat_xa TO pg_read_all_stats, braid_operator;
COMMENT ON VIEW braid.stat_xa IS
'Global transactions, one row per database, since stats_reset (lost when the server restarts): begun, outcomes, in doubt now, what recovery and operators have finished (branches), COMMITs answered (requests) with their response time in milliseconds and their number per second. The row without a database counts those that came when 128 others had rows.';

CREATE VIEW braid.stat_xa_phase AS
	SELECT d.oid AS datid, d.datname, s.phase, s.requests, s.total_time, s.mean_time, s.p50, s.p95, s.p99, s.max_time
	FROM pg_catalog.pg_database d, LATERAL braid_internal.xa_phase_statistics(d.oid) s;
REVOKE ALL ON braid.stat_xa_phase FROM PUBLIC;
GRANT SELECT ON braid.stat_xa_phase TO pg_read_all_stats, braid_operator;
COMMENT ON VIEW braid.stat_xa_phase IS
'How long the phases of COMMIT take, one row per database and phase, in milliseconds: enlist, prepare, local commit, wait and, for both one and two phases, total, as the client sees them; finish: from the decision until all branches are committed. Percentiles are at most 1/32 off, the rest is exact.';

CREATE VIEW braid.stat_xa_branch AS
	SELECT s.oid AS serverid, s.srvname AS server, b.prepared, b.committed, b.rolled_back, b.recovery_commits,
		b.failed_attempts, b.retries, b.requests, b.total_time, b.mean_time, b.p50, b.p95, b.p99, b.max_time,
		b.last_error, b.last_error_time
	FROM pg_catalog.pg_foreign_server s JOIN braid_internal.xa_branch_statistics() b ON b.server = s.oid;
REVOKE ALL ON braid.stat_xa_branch FROM PUBLIC;
GRANT SELECT ON braid.stat_xa_branch TO pg_read_all_stats, braid_operator;
COMMENT ON VIEW braid.stat_xa_branch IS
'Branches of this database''s global transactions, one row per server: prepared, committed and rolled back by COMMIT / ROLLBACK PREPARED, commands that failed or had no answer, commands sent again, the round trip of COMMIT PREPARED in milliseconds, and the last error';

CREATE VIEW braid.activity AS
	SELECT a.datid, a.datname, a.pid, a.usename, a.backend_type, w.wait_event, w.since,
		pg_catalog.clock_timestamp() - w.since AS age, t.gid
	FROM braid_internal.waits() w JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
	LEFT JOIN braid_internal.xa_transactions() t ON t.pid = w.pid AND t.state IN ('active', 'committing');
REVOKE ALL ON braid.activity FROM PUBLIC;
GRANT SELECT ON braid.activity TO pg_monitor, braid_operator;
COMMENT ON VIEW braid.activity IS
'Processes that wait within braid now, the name of the wait (which pg_stat_activity shows from PostgreSQL 17 on), since when, and the global transaction that waits';

CREATE FUNCTION braid.stat_xa_reset() RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_xa_statistics_reset' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid.stat_xa_reset() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.stat_xa_reset() TO braid_operator;
COMMENT ON FUNCTION braid.stat_xa_reset() IS
'Sets the statistics of this database in braid.stat_xa, stat_xa_phase and stat_xa_branch to zero. What is under way meanwhile may or may not be counted. For members of braid_operator.';
