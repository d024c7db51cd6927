
-- ---------------------------------------------------------------- restore points

CREATE FUNCTION braid_internal.create_restore_point(name text) RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'braid_sql_create_restore_point_here' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.create_restore_point(text) FROM PUBLIC;
-- It writes a name into the log and flushes it, and nothing else.
GRANT EXECUTE ON FUNCTION braid_internal.create_restore_point(text) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.create_restore_point(text) IS
'Participants: makes a restore point on this server alone, as pg_create_restore_point() does, and flushes it; returns its position; 55000, 22023.';

CREATE FUNCTION braid_internal.switch_wal() RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'braid_sql_switch_wal' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.switch_wal() FROM PUBLIC;
-- It lets the log segment be archived now that would be some time.
GRANT EXECUTE ON FUNCTION braid_internal.switch_wal() TO braid_resolver;
COMMENT ON FUNCTION braid_internal.switch_wal() IS
'Participants: ends the log segment with a restore point, as pg_switch_wal() does, so that it is archived; 25006 on a standby.';

CREATE FUNCTION braid.create_restore_point(name text, timeout interval DEFAULT '10 seconds',
	OUT server name, OUT lsn pg_lsn)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_create_restore_point' LANGUAGE C VOLATILE ROWS 10;
REVOKE ALL ON FUNCTION braid.create_restore_point(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.create_restore_point(text, interval) TO braid_operator;
COMMENT ON FUNCTION braid.create_restore_point(text, interval) IS
'Makes a restore point of this name (1 to 63 bytes, never used before) on this server (null in the result) and on all of braid''s servers of this database, at which no global transaction of this database is committed on some of them only. If all are restored to it by recovery_target_name, they agree. Commits with two phases wait meanwhile, at most for the time-out. Returns the position of the point in the log of each server. Errors: 22004 for nulls, 22023 for the name, 55000 if a server is not ready, does not answer or has unfinished branches, 55P03 if the lock is not to be had in time, 25006 on a standby.';
