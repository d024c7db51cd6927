
-- ---------------------------------------------------------------- xa: fail-over

-- ---- participant

CREATE TABLE braid_internal.coordinators (
	id bigint PRIMARY KEY,
	epoch bigint NOT NULL,
	line bigint NOT NULL,
	since timestamptz NOT NULL DEFAULT clock_timestamp()
);
REVOKE ALL ON braid_internal.coordinators FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON braid_internal.coordinators TO braid_resolver;
COMMENT ON TABLE braid_internal.coordinators IS
'Participants: the coordinators that have acted here, and which line of history of each of them may: a promoted standby supersedes its primary';

CREATE FUNCTION braid_internal.line_key(coordinator bigint, line bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('braid line ' || coordinator || ' ' || line, 0) $$;
CREATE FUNCTION braid_internal.server_key(coordinator bigint, server oid) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('braid server ' || coordinator || ' ' || server, 0) $$;
REVOKE ALL ON FUNCTION braid_internal.line_key(bigint, bigint), braid_internal.server_key(bigint, oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.line_key(bigint, bigint), braid_internal.server_key(bigint, oid) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.line_key(bigint, bigint) IS
'Key of the advisory lock that all connections of one line of a coordinator share';
COMMENT ON FUNCTION braid_internal.server_key(bigint, oid) IS
'Key of the advisory lock that the connection of one server of a coordinator has alone';

-- An epoch only grows, so that who is superseded stays so. The row lock puts all
-- claims of a coordinator's lines in order. The advisory locks that are kept go
-- with the session.
CREATE FUNCTION braid_internal.claim(coordinator bigint, epoch bigint, line bigint, server oid) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fence CONSTANT bigint := braid_internal.server_key(claim.coordinator, claim.server);
	seen record;
BEGIN
	IF EXISTS (SELECT FROM braid_internal.coordinators c
			WHERE c.id = claim.coordinator AND c.line <> claim.line AND c.epoch >= claim.epoch) THEN
		RETURN 'superseded';
	ELSIF NOT pg_try_advisory_lock(fence) THEN
		RETURN 'fenced';
	END IF;
	IF current_setting('synchronous_commit') = 'off' THEN
		PERFORM set_config('synchronous_commit', 'local', true);
	END IF;
	INSERT INTO braid_internal.coordinators AS c (id, epoch, line)
		VALUES (claim.coordinator, claim.epoch, claim.line) ON CONFLICT (id) DO NOTHING;
	SELECT c.epoch, c.line INTO STRICT seen FROM braid_internal.coordinators c WHERE c.id = claim.coordinator FOR UPDATE;
	IF seen.line <> claim.line THEN
		IF seen.epoch >= claim.epoch THEN
			PERFORM pg_advisory_unlock(fence);
			RETURN 'superseded';
		ELSIF NOT pg_try_advisory_lock(braid_internal.line_key(claim.coordinator, seen.line)) THEN
			PERFORM pg_advisory_unlock(fence);
			RETURN 'fenced';
		END IF;
		PERFORM pg_advisory_unlock(braid_internal.line_key(claim.coordinator, seen.line));
		UPDATE braid_internal.coordinators AS c SET epoch = claim.epoch, line = claim.line, since = clock_timestamp()
			WHERE c.id = claim.coordinator;
	END IF;
	PERFORM pg_advisory_lock_shared(braid_internal.line_key(claim.coordinator, claim.line));
	RETURN 'granted';
END
$$;
REVOKE ALL ON FUNCTION braid_internal.claim(bigint, bigint, bigint, oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.claim(bigint, bigint, bigint, oid) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.claim(bigint, bigint, bigint, oid) IS
'Participants: a resolver asks whether its coordinator may act here. Answers granted; fenced: another server with that identity is connected; superseded: one has taken over. Locks are held while the session lives.';

-- ---- coordinator

CREATE TABLE braid_internal.server_nodes (
	server oid PRIMARY KEY,
	system_identifier bigint NOT NULL,
	dbid oid NOT NULL,
	since timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON braid_internal.server_nodes FROM PUBLIC;
GRANT SELECT, DELETE ON braid_internal.server_nodes TO braid_operator;
COMMENT ON TABLE braid_internal.server_nodes IS
'Coordinators: which node each server was when it was connected to last; see verify.c';

CREATE FUNCTION braid.accept_node(server name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost record;
BEGIN
	IF NOT EXISTS (SELECT FROM braid.participants p WHERE p.server = accept_node.server) THEN
		RAISE undefined_object USING MESSAGE = format('server "%s" does not take part in global transactions', server);
	END IF;
	FOR lost IN SELECT t.gid FROM braid.transactions t, unnest(t.servers, t.branch_states) b(server, state)
		WHERE b.server = accept_node.server AND b.state IN ('in doubt', 'unchecked') ORDER BY 1
	LOOP
		RAISE WARNING 'branch of transaction "%" on server "%" is given up', lost.gid, server
			USING DETAIL = 'The transaction is committed here. If the branch is still prepared on the node that the server was, it has to be committed there by hand.';
	END LOOP;
	DELETE FROM braid_internal.server_nodes n WHERE n.server = (SELECT s.oid FROM pg_foreign_server s WHERE s.srvname = accept_node.server);
END
$$;
REVOKE ALL ON FUNCTION braid.accept_node(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.accept_node(name) TO braid_operator;
COMMENT ON FUNCTION braid.accept_node(name) IS
'For a server that another database answers for than the one on which branches may be prepared, when that is lost for good: takes the new one for the server from now on. A WARNING names each transaction that was committed here and whose branch there is given up. 42704: no such server.';

CREATE FUNCTION braid.take_over() RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	-- the time makes this epoch later than any that was reached by counting
	UPDATE braid_internal.coordinator SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp())::bigint),
		line = braid_internal.random_id(), incarnation = braid_internal.random_incarnation(), system_identifier = NULL;
	-- its successor waits for our commit
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE backend_type = 'braid resolver' AND datname = current_database();
$$;
REVOKE ALL ON FUNCTION braid.take_over() FROM PUBLIC;
COMMENT ON FUNCTION braid.take_over() IS
'Makes this server the only heir of its identity: for a copy of a coordinator that is lost for good, where no standby was promoted. All other copies are refused by the participants from then on; one that is still connected to a participant has to be stopped first.';
