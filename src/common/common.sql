-- complain if the script is sourced in psql, rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION braid" to load this file. \quit

-- ---------------------------------------------------------------- common

CREATE SCHEMA braid;
COMMENT ON SCHEMA braid IS 'braid: atomic transactions and continuous views over several servers; the public interface';
GRANT USAGE ON SCHEMA braid TO PUBLIC;

CREATE SCHEMA braid_internal;
COMMENT ON SCHEMA braid_internal IS 'braid: internal objects; nothing here is for direct use';
GRANT USAGE ON SCHEMA braid_internal TO PUBLIC;

CREATE FUNCTION braid.version() RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_version' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.version() IS
'Version of the loaded library of braid, such as 0.1.0; differs from pg_extension.extversion until ALTER EXTENSION braid UPDATE is run.';

CREATE FUNCTION braid_internal.failpoint_set(name text, action text, pid int DEFAULT 0) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_failpoint_set' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.failpoint_set(text, text, int) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.failpoint_set(text, text, int) IS
'For tests: what happens at a named point (off, wait, error, crash), in one process or (0) in all; 0A000 in a release build.';

CREATE FUNCTION braid_internal.failpoint_waiting(name text) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_failpoint_waiting' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.failpoint_waiting(text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.failpoint_waiting(text) IS
'For tests: number of processes that wait at the named point now; 0A000 in a release build.';

CREATE FUNCTION braid_internal.percentiles(us bigint[], shares double precision[]) RETURNS bigint[]
AS 'MODULE_PATHNAME', 'braid_sql_percentiles' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION braid_internal.percentiles(bigint[], double precision[]) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.percentiles(bigint[], double precision[]) IS
'What the statistics would say of these durations in microseconds: for each share (0 to 1) the duration that it does not exceed, at most 1/32 off (log-linear buckets as in HdrHistogram); null if there are none.';
