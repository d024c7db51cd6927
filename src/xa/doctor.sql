
-- ---------------------------------------------------------------- xa: doctor

-- What can be seen of a server from within it, whatever it is used for. Also asked
-- for by resolvers, as a role without any rights: from what everybody may read.
CREATE FUNCTION braid_internal.xa_checkup(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH s AS (
		SELECT current_setting('max_prepared_transactions')::int AS max_prepared,
			current_setting('max_connections')::int AS max_connections,
			(SELECT extversion FROM pg_extension WHERE extname = 'braid') AS extension,
			(SELECT sum(numbackends) FROM pg_stat_database) AS backends,
			(SELECT r FROM pg_roles r WHERE r.rolname = 'braid_resolver') AS resolver
	), prepared AS (
		SELECT count(*) AS n,
			count(*) FILTER (WHERE ours AND old) AS old_ours, min(prepared) FILTER (WHERE ours AND old) AS ours_since,
			count(*) FILTER (WHERE NOT ours AND old) AS old_others, min(prepared) FILTER (WHERE NOT ours AND old) AS others_since
		FROM (SELECT prepared, starts_with(gid, 'braid:') AS ours, prepared < clock_timestamp() - interval '5 minutes' AS old
			FROM pg_prepared_xacts) p
	)
	SELECT c.item, coalesce(c.fault, 'ok'), c.detail, CASE WHEN c.fault IS NOT NULL THEN c.advice END
	FROM s, prepared, LATERAL (VALUES
		('library', CASE WHEN braid.version() <> extension THEN 'warning' END,
			format('library %s, extension %s, PostgreSQL %s', braid.version(), extension, current_setting('server_version')),
			'Install the same version of both: run ALTER EXTENSION braid UPDATE, or restart the server with the new library.'),
		('preloaded', CASE WHEN current_setting('braid.xa_protocol', true) IS NULL THEN 'error' END,
			CASE WHEN current_setting('braid.xa_protocol', true) IS NULL THEN 'it was not loaded at start' ELSE 'it was loaded at start' END,
			'Add braid to "shared_preload_libraries" and restart the server.'),
		('recovery', CASE WHEN pg_is_in_recovery() THEN 'error' END,
			CASE WHEN pg_is_in_recovery() THEN 'it is a standby' ELSE 'it is a primary' END,
			'Let servers point to the primary.'),
		('prepared transactions allowed', CASE WHEN max_prepared = 0 THEN 'error' WHEN max_prepared < max_connections THEN 'warning' END,
			format('max_prepared_transactions = %s, max_connections = %s', max_prepared, max_connections),
			'Set "max_prepared_transactions" to at least "max_connections" and restart the server, if it is to be written to by global transactions.'),
		('prepared transactions in use', CASE WHEN max_prepared > 0 AND n >= 0.8 * max_prepared THEN 'warning' END,
			format('%s of %s', n, max_prepared),
			'Find out who leaves them behind; raise "max_prepared_transactions".'),
		('old branches', CASE WHEN old_ours > 0 THEN 'error' END,
			CASE WHEN old_ours > 0 THEN format('%s prepared transactions of braid, the oldest since %s', old_ours, ours_since) ELSE 'none' END,
			'They hold locks and hold VACUUM back. See braid.transactions and braid.participants on their coordinators.'),
		('old prepared transactions of others', CASE WHEN old_others > 0 THEN 'warning' END,
			CASE WHEN old_others > 0 THEN format('%s, the oldest since %s', old_others, others_since) ELSE 'none' END,
			'They hold locks and hold VACUUM back. See pg_prepared_xacts.'),
		('role braid_resolver', CASE WHEN resolver IS NULL OR NOT (resolver).rolcanlogin OR (resolver).rolvaliduntil < clock_timestamp() THEN 'error'
				WHEN (resolver).rolsuper THEN 'warning' END,
			CASE WHEN resolver IS NULL THEN 'it does not exist' WHEN NOT (resolver).rolcanlogin THEN 'it may not log in'
				WHEN (resolver).rolvaliduntil < clock_timestamp() THEN 'its password has expired'
				WHEN (resolver).rolsuper THEN 'it is a superuser' ELSE 'it may log in, and do nothing else' END,
			CASE WHEN resolver IS NULL THEN 'Run CREATE ROLE braid_resolver LOGIN NOINHERIT.'
				WHEN (resolver).rolsuper THEN 'Run ALTER ROLE braid_resolver NOSUPERUSER.'
				ELSE 'Run ALTER ROLE braid_resolver LOGIN VALID UNTIL ''infinity''.' END),
		('connections', CASE WHEN backends >= 0.9 * max_connections THEN 'warning' END,
			format('%s of %s', backends, max_connections),
			'Raise "max_connections", or use fewer sessions: without a free one a resolver cannot connect.'),
		('fsync', CASE WHEN current_setting('fsync') = 'off' THEN 'error' END,
			format('fsync = %s', current_setting('fsync')),
			'Set "fsync" to on: what is prepared or decided can be lost in a crash of the machine.'),
		('full_page_writes', CASE WHEN current_setting('full_page_writes') = 'off' THEN 'warning' END,
			format('full_page_writes = %s', current_setting('full_page_writes')),
			'Set "full_page_writes" to on, unless the file system cannot tear pages.'),
		('replication', CASE WHEN current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') IN ('off', 'local') THEN 'warning' END,
			format('synchronous_standby_names = %L, synchronous_commit = %s', current_setting('synchronous_standby_names'), current_setting('synchronous_commit')),
			'Set "synchronous_commit" to on: transactions do not wait for the synchronous standby, and a fail-over can lose decisions.'),
		('idle sessions', CASE WHEN current_setting('idle_in_transaction_session_timeout') <> '0' THEN 'warning' END,
			format('idle_in_transaction_session_timeout = %s', current_setting('idle_in_transaction_session_timeout')),
			'Sessions of coordinators are ended while their client thinks for longer, and their transactions fail. Set it to 0 for the roles of user mappings, and limit clients on the coordinators.')
	) c(item, fault, detail, advice)
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_checkup() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_checkup() TO pg_monitor, braid_operator, braid_resolver;
COMMENT ON FUNCTION braid_internal.xa_checkup() IS
'Preconditions of atomic commit that can be checked within one server: ok, warning or error, with what is seen and what to do';

CREATE FUNCTION braid_internal.xa_checkup_report() RETURNS text
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT json_build_object('clock', extract(epoch FROM clock_timestamp()), 'version', braid.version(),
		'checks', (SELECT json_agg(c) FROM braid_internal.xa_checkup() c))::text
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_checkup_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_checkup_report() TO pg_monitor, braid_operator, braid_resolver;
COMMENT ON FUNCTION braid_internal.xa_checkup_report() IS
'Participants: what xa_checkup() says, in JSON; the resolver of a coordinator asks for it';

CREATE FUNCTION braid_internal.xa_checkups(timeout_ms int, OUT server oid, OUT report text, OUT error text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_checkups' LANGUAGE C VOLATILE STRICT ROWS 10;
REVOKE ALL ON FUNCTION braid_internal.xa_checkups(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_checkups(int) TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_checkups(int) IS
'Coordinators: asks all servers that are ready for their xa_checkup_report(), for so many milliseconds at most; neither report nor error: no answer';

GRANT SELECT ON braid_internal.adoptions TO pg_monitor, braid_operator;
GRANT EXECUTE ON FUNCTION braid_internal.xa_lost_adoptions() TO pg_monitor, braid_operator;

-- What a coordinator knows of itself.
CREATE FUNCTION braid_internal.xa_checkup_coordinator(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH s AS (
		SELECT (SELECT count(*) FROM braid.participants) AS servers,
			(SELECT count(*) FROM braid_internal.xa_nodes()) AS known,
			current_setting('braid.xa_max_servers')::int AS max_servers,
			pg_total_relation_size('braid_internal.decisions_0') + pg_total_relation_size('braid_internal.decisions_1') AS decisions
	), doubt AS (
		SELECT count(*) AS n, max(age) AS age FROM braid.transactions
		WHERE state NOT IN ('active', 'committing') AND age > interval '10 seconds'
	)
	SELECT c.item, coalesce(c.fault, 'ok'), c.detail, CASE WHEN c.fault IS NOT NULL THEN c.advice END
	FROM s, doubt, LATERAL (VALUES
		('resolver', CASE WHEN servers > 0 AND known = 0 THEN 'error' END,
			CASE WHEN known > 0 THEN 'it runs' WHEN servers > 0 THEN 'it does not run' ELSE 'it is not needed: there are no servers' END,
			'See the server log for messages of "braid resolver"; raise "max_worker_processes" and "braid.max_workers" if there is no room for it.'),
		('room for servers', CASE WHEN servers > known AND known > 0 THEN 'error' WHEN known >= 0.8 * max_servers THEN 'warning' END,
			format('%s servers of this database, braid.xa_max_servers = %s', servers, max_servers),
			'Raise "braid.xa_max_servers" and restart the server.'),
		('transactions in doubt', CASE WHEN n > 0 THEN 'error' END,
			CASE WHEN n > 0 THEN format('%s, for %s', n, age) ELSE 'none' END,
			'See braid.transactions.'),
		('decisions', CASE WHEN decisions > 256 * 1024 * 1024 THEN 'warning' END, pg_size_pretty(decisions),
			'They are kept while a server that they name is away: see braid.participants.')
	) c(item, fault, detail, advice)
	UNION ALL
	SELECT 'adoption', 'error', format('foreign-data wrapper "%s" is not adopted any more: writes through it are NOT atomic', wrapper),
		format('Run SELECT braid.adopt(%L).', wrapper)
	FROM braid_internal.xa_lost_adoptions()
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_checkup_coordinator() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_checkup_coordinator() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_checkup_coordinator() IS
'Preconditions of atomic commit that concern this database as a coordinator';

-- What a coordinator sees of its servers from here.
CREATE FUNCTION braid_internal.xa_checkup_servers(OUT node text, OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH s AS (
		SELECT p.*, (SELECT o.option_value FROM pg_options_to_table(f.srvoptions) o WHERE o.option_name = 'parallel_commit') AS parallel_commit,
			EXISTS (SELECT FROM pg_user_mappings m JOIN pg_roles r ON r.oid = m.umuser OR m.umuser = 0
				WHERE m.srvid = f.oid AND m.usename <> 'braid_resolver') AS is_mapped
		FROM braid.participants p JOIN pg_foreign_server f ON f.srvname = p.server
	)
	SELECT s.server::text, c.item, coalesce(c.fault, 'ok'), c.detail, CASE WHEN c.fault IS NOT NULL THEN c.advice END
	FROM s, LATERAL (VALUES
		('ready', CASE WHEN NOT ready THEN 'error' END, CASE WHEN ready THEN format('since %s', since) ELSE reason END, s.advice),
		('version', CASE WHEN version <> braid.version() THEN 'warning' END, coalesce(version, 'not known'),
			format('Install the same version of braid on both: here it is %s.', braid.version())),
		('parallel_commit', CASE WHEN coalesce(parallel_commit, 'off') NOT IN ('true', 'on', 'yes', '1') THEN 'warning' END,
			coalesce(parallel_commit, 'not set'),
			format('Run ALTER SERVER %I OPTIONS (%s parallel_commit ''true''): without it servers prepare one after the other.',
				s.server, CASE WHEN parallel_commit IS NULL THEN 'ADD' ELSE 'SET' END)),
		('user mappings', CASE WHEN NOT is_mapped THEN 'warning' END, CASE WHEN is_mapped THEN 'there are some' ELSE 'there is none' END,
			'Nobody can use the server: run CREATE USER MAPPING.')
	) c(item, fault, detail, advice)
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_checkup_servers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_checkup_servers() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_checkup_servers() IS
'Preconditions of atomic commit that the coordinator can check for each of its servers without asking them';

CREATE FUNCTION braid.doctor(timeout interval DEFAULT '5 seconds',
	OUT node text, OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here CONSTANT text := '(this server)';
	asked CONSTANT timestamptz := clock_timestamp();
	coordinates CONSTANT bool := EXISTS (SELECT FROM braid.participants);
	answer record;
BEGIN
	-- a server that coordinates need not be written to by others
	RETURN QUERY SELECT here, c.item, CASE WHEN c.item = 'prepared transactions allowed' AND coordinates THEN 'ok' ELSE c.status END,
		c.detail, CASE WHEN c.item = 'prepared transactions allowed' AND coordinates THEN NULL ELSE c.advice END
		FROM braid_internal.xa_checkup() c;
	RETURN QUERY SELECT here, c.* FROM braid_internal.xa_checkup_coordinator() c;
	RETURN QUERY SELECT here, c.* FROM braid_internal.view_checkup_server() c;
	RETURN QUERY SELECT here, c.* FROM braid_internal.view_checkup_views() c;
	RETURN QUERY SELECT here, c.* FROM braid_internal.view_checkup_tables() c;
	RETURN QUERY SELECT here, c.* FROM braid_internal.topic_checkup() c;
	RETURN QUERY SELECT c.* FROM braid_internal.xa_checkup_servers() c;
	FOR answer IN SELECT s.srvname::text AS server, a.report::json, a.error, clock_timestamp() AS at
		FROM braid_internal.xa_checkups(greatest(0, extract(epoch FROM timeout) * 1000)::int) a JOIN pg_foreign_server s ON s.oid = a.server
	LOOP
		IF answer.report IS NULL THEN
			node := answer.server;
			item := 'report';
			status := 'warning';
			detail := coalesce(answer.error, 'it does not answer');
			advice := 'Install the same version of braid there, and see its log.';
			RETURN NEXT;
			CONTINUE;
		END IF;
		RETURN QUERY SELECT answer.server, c.item, c.status, c.detail, c.advice
			FROM json_to_recordset(answer.report -> 'checks') c(item text, status text, detail text, advice text);

		-- the clock was read there between the question and now
		node := answer.server;
		item := 'clock';
		detail := format('between %s and %s ahead of this server''s',
			round((answer.report ->> 'clock')::numeric - extract(epoch FROM clock_timestamp()), 3) * interval '1 second',
			round((answer.report ->> 'clock')::numeric - extract(epoch FROM asked), 3) * interval '1 second');
		status := CASE WHEN (answer.report ->> 'clock')::numeric < extract(epoch FROM asked) - 1
			OR (answer.report ->> 'clock')::numeric > extract(epoch FROM clock_timestamp()) + 1 THEN 'warning' ELSE 'ok' END;
		advice := CASE WHEN status <> 'ok' THEN 'Synchronize the clocks: nothing depends on them but what times in logs and views mean.' END;
		RETURN NEXT;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION braid.doctor(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.doctor(interval) TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid.doctor(interval) IS
'Checks the preconditions of atomic commit on this server and, over the resolver''s connections, on the servers that it writes to; and the continuous views, topics and relays of this database. Returns a row for each check: node (a server, or "(this server)"), item, status (ok, warning, error), detail (what is seen) and advice (what to do, null if ok). timeout: how long to wait for other servers. On a participant it reports that server alone.';
