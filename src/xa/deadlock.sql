
-- ---------------------------------------------------------------- deadlocks over several servers

-- ---- participant

CREATE FUNCTION braid_internal.local_lock_waits(min_age_ms int,
	OUT waiter_pid int, OUT waiter text, OUT blocker_pid int, OUT blocker text, OUT blocker_vxid text,
	OUT since timestamptz, OUT age_ms bigint, OUT lock text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_local_lock_waits' LANGUAGE C VOLATILE STRICT ROWS 10;
REVOKE ALL ON FUNCTION braid_internal.local_lock_waits(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.local_lock_waits(int) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.local_lock_waits(int) IS
'Participants: which process has waited for a lock for at least so many milliseconds, and for whom; each with all names by which it is known on other servers';

-- since as a number: it is compared with itself, and shown to nobody
CREATE FUNCTION braid_internal.lock_waits(min_age_ms int,
	OUT waiter_pid int, OUT waiter text, OUT blocker_pid int, OUT blocker text, OUT blocker_gid text,
	OUT since bigint, OUT age_ms bigint, OUT lock text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
	SELECT w.waiter_pid, w.waiter, w.blocker_pid, w.blocker,
		-- a prepared transaction holds the lock on its own xid
		CASE WHEN w.blocker_pid IS NULL THEN (
			SELECT p.gid FROM pg_locks l JOIN pg_prepared_xacts p ON p.transaction = l.transactionid
			WHERE l.pid IS NULL AND l.locktype = 'transactionid' AND l.virtualtransaction = w.blocker_vxid
			LIMIT 1)
		END,
		(extract(epoch FROM w.since) * 1000000)::bigint, w.age_ms, w.lock
	FROM braid_internal.local_lock_waits(min_age_ms) w
$$;
REVOKE ALL ON FUNCTION braid_internal.lock_waits(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.lock_waits(int) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.lock_waits(int) IS
'Participants: the waits for locks of this server, as a coordinator asks for them; prepared transactions with their gids';

-- ---- coordinator

CREATE FUNCTION braid_internal.xa_lock_waits(
	OUT server oid, OUT waiter_pid int, OUT waiter text, OUT blocker_pid int, OUT blocker text,
	OUT lock text, OUT age_ms bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_lock_waits' LANGUAGE C VOLATILE STRICT ROWS 10;
REVOKE ALL ON FUNCTION braid_internal.xa_lock_waits() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_lock_waits() TO pg_monitor;
COMMENT ON FUNCTION braid_internal.xa_lock_waits() IS
'Asks the resolver for the waits for locks on all servers of this database, and waits for the answer; 55000 if there is none in time';

CREATE VIEW braid.lock_waits AS
	SELECT s.srvname AS server, w.waiter_pid, w.waiter, w.blocker_pid, w.blocker, w.lock,
		w.age_ms * interval '1 millisecond' AS waiting
	FROM braid_internal.xa_lock_waits() w
	LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = w.server;
REVOKE ALL ON braid.lock_waits FROM PUBLIC;
GRANT SELECT ON braid.lock_waits TO pg_monitor;
COMMENT ON VIEW braid.lock_waits IS
'Who waits for a lock, and for whom, on all servers of this database that are ready and on this one (server is null): processes, and the global transactions that they work for';
