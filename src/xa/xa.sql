
-- ---------------------------------------------------------------- xa

-- The role as which resolvers connect. It owns nothing and may do nothing but
-- finish prepared transactions that carry a gid of braid, and make restore points.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'braid_resolver') THEN
		CREATE ROLE braid_resolver LOGIN NOINHERIT;
		COMMENT ON ROLE braid_resolver IS 'braid: finishes branches of global transactions';
	END IF;
END
$$;

-- Who watches and mends. Its rights are granted beside the objects that they are on.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'braid_operator') THEN
		CREATE ROLE braid_operator NOLOGIN;
		COMMENT ON ROLE braid_operator IS 'braid: sees global transactions of all users, and finishes branches that are stuck';
	END IF;
END
$$;
GRANT USAGE ON SCHEMA braid, braid_internal TO braid_operator;

-- ---- foreign data wrapper

CREATE FUNCTION braid.braid_fdw_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'braid_sql_fdw_handler' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION braid.braid_fdw_handler() FROM PUBLIC;
COMMENT ON FUNCTION braid.braid_fdw_handler() IS
'Handler of foreign data wrappers with atomic commit: that of postgres_fdw, with two-phase commit added.';

CREATE FUNCTION braid.braid_fdw_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_fdw_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION braid.braid_fdw_validator(text[], oid) FROM PUBLIC;
COMMENT ON FUNCTION braid.braid_fdw_validator(text[], oid) IS
'Validates options of servers, user mappings and foreign tables: all those of postgres_fdw, and no others.';

CREATE FOREIGN DATA WRAPPER braid_fdw
	HANDLER braid.braid_fdw_handler VALIDATOR braid.braid_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER braid_fdw IS
'PostgreSQL servers as postgres_fdw reaches them, with atomic commit over all of them';

-- ---- participant

CREATE FUNCTION braid_internal.enlist() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_enlist' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.enlist() IS
'Makes the current transaction a branch: its COMMIT becomes PREPARE TRANSACTION of the given gid. RETURNING shows the gid if the transaction was a branch already, else null; 22023, 25P01, 25001.';

CREATE VIEW braid_internal.enlist AS SELECT ''::text AS gid;
CREATE TRIGGER enlist INSTEAD OF UPDATE ON braid_internal.enlist
	FOR EACH ROW EXECUTE FUNCTION braid_internal.enlist();
REVOKE ALL ON braid_internal.enlist FROM PUBLIC;
-- It only makes a session's own COMMIT a PREPARE, which it could send itself.
GRANT SELECT, UPDATE ON braid_internal.enlist TO PUBLIC;
COMMENT ON VIEW braid_internal.enlist IS
'Participants: a coordinator updates it to name the branch that the current transaction is';

-- ---- coordinator

CREATE FUNCTION braid_internal.random_id() RETURNS bigint
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint $$;
REVOKE ALL ON FUNCTION braid_internal.random_id() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.random_id() IS 'A new identity of a coordinator';

-- Far from what another line of the same history counts to; see identity.c.
CREATE FUNCTION braid_internal.random_incarnation() RETURNS int
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT 1 + floor(random() * 1073741824)::int $$;
REVOKE ALL ON FUNCTION braid_internal.random_incarnation() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.random_incarnation() IS 'First incarnation of a line of a coordinator';

CREATE TABLE braid_internal.coordinator (
	id bigint NOT NULL DEFAULT braid_internal.random_id(),
	incarnation int NOT NULL DEFAULT braid_internal.random_incarnation(),
	dbid oid NOT NULL,
	epoch bigint NOT NULL DEFAULT 1,
	line bigint NOT NULL DEFAULT braid_internal.random_id(),
	system_identifier bigint,
	timeline int,
	directory bigint
);
CREATE UNIQUE INDEX coordinator_one_row ON braid_internal.coordinator ((true));
REVOKE ALL ON braid_internal.coordinator FROM PUBLIC;
COMMENT ON TABLE braid_internal.coordinator IS
'Coordinators: the identity of this database, the line of its history, the number of its starts, and the server that it was on; see identity.c';
INSERT INTO braid_internal.coordinator (dbid)
	SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database();

CREATE TABLE braid_internal.decisions_0 (
	gid text NOT NULL,
	servers oid[] NOT NULL,
	decided timestamptz NOT NULL
) WITH (autovacuum_enabled = off);
CREATE TABLE braid_internal.decisions_1 (
	gid text NOT NULL,
	servers oid[] NOT NULL,
	decided timestamptz NOT NULL
) WITH (autovacuum_enabled = off);
CREATE VIEW braid_internal.decisions AS
	SELECT * FROM braid_internal.decisions_0 UNION ALL SELECT * FROM braid_internal.decisions_1;
REVOKE ALL ON braid_internal.decisions_0, braid_internal.decisions_1, braid_internal.decisions FROM PUBLIC;
COMMENT ON TABLE braid_internal.decisions_0 IS
'Coordinators: transactions decided to commit, whose branches may still be prepared; filled and truncated in turn';
COMMENT ON TABLE braid_internal.decisions_1 IS
'Coordinators: transactions decided to commit, whose branches may still be prepared; filled and truncated in turn';
COMMENT ON VIEW braid_internal.decisions IS 'Coordinators: all transactions decided to commit';

-- ---- what the operator sees

CREATE FUNCTION braid_internal.xa_nodes(
	OUT server oid, OUT ready bool, OUT reason text, OUT hint text, OUT version text,
	OUT since timestamptz, OUT round_trip_us bigint, OUT last_sweep timestamptz, OUT clean_before timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_nodes' LANGUAGE C VOLATILE STRICT ROWS 10;
CREATE FUNCTION braid_internal.xa_transactions(
	OUT gid text, OUT state text, OUT pid int, OUT started timestamptz, OUT decided timestamptz,
	OUT servers oid[], OUT branch_states text[], OUT attempts int, OUT last_error text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_transactions' LANGUAGE C VOLATILE STRICT ROWS 10;
CREATE FUNCTION braid_internal.xa_findings(
	OUT gid text, OUT server oid, OUT prepared timestamptz, OUT state text, OUT error text,
	OUT locks bigint, OUT xid_age int, OUT seen timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_xa_findings' LANGUAGE C VOLATILE STRICT ROWS 10;
CREATE FUNCTION braid_internal.xa_sweep(server oid, timeout_ms int) RETURNS bool
AS 'MODULE_PATHNAME', 'braid_sql_xa_sweep' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.xa_nodes(), braid_internal.xa_transactions(),
	braid_internal.xa_findings(), braid_internal.xa_sweep(oid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_nodes(), braid_internal.xa_transactions(),
	braid_internal.xa_findings() TO pg_monitor, braid_operator;
GRANT EXECUTE ON FUNCTION braid_internal.xa_sweep(oid, int) TO braid_operator;
COMMENT ON FUNCTION braid_internal.xa_nodes() IS 'Servers of this database as its resolver sees them';
COMMENT ON FUNCTION braid_internal.xa_transactions() IS 'Global transactions of this database in shared memory';
COMMENT ON FUNCTION braid_internal.xa_findings() IS 'Prepared branches that the last look at each server has found';
COMMENT ON FUNCTION braid_internal.xa_sweep(oid, int) IS
'Looks for prepared branches on a server and settles them; false if that took longer than the milliseconds given, or the server is not ready';

CREATE FUNCTION braid_internal.xa_unchecked_servers() RETURNS oid[]
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(s.oid), '{}')
	FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
	LEFT JOIN braid_internal.xa_nodes() n ON n.server = s.oid
	WHERE w.fdwhandler = 'braid.braid_fdw_handler()'::regprocedure AND n.clean_before IS NULL
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_unchecked_servers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.xa_unchecked_servers() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.xa_unchecked_servers() IS
'Servers that the resolver has not looked at completely since this server started';

CREATE VIEW braid.participants AS
	SELECT s.srvname AS server,
		coalesce(n.ready, false) AS ready,
		CASE WHEN w.fdwhandler IS DISTINCT FROM 'braid.braid_fdw_handler()'::regprocedure
				THEN pg_catalog.format('its foreign-data wrapper "%s" is not adopted any more: writes are NOT atomic', w.fdwname)
			WHEN n.server IS NULL THEN 'the resolver of this database does not run, or has not looked at it yet'
			ELSE n.reason END AS reason,
		CASE WHEN w.fdwhandler IS DISTINCT FROM 'braid.braid_fdw_handler()'::regprocedure
				THEN pg_catalog.format('Run SELECT braid.adopt(%L).', w.fdwname)
			ELSE n.hint END AS advice,
		n.version,
		n.since,
		(SELECT count(*) FROM braid_internal.xa_transactions() t, unnest(t.servers, t.branch_states) b(server, state)
			WHERE b.server = s.oid AND b.state = 'in doubt') AS in_doubt,
		n.round_trip_us * interval '1 microsecond' AS round_trip,
		n.last_sweep AS last_check
	FROM pg_catalog.pg_foreign_server s
	JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
	LEFT JOIN braid_internal.xa_nodes() n ON n.server = s.oid
	WHERE w.fdwhandler = 'braid.braid_fdw_handler()'::regprocedure
		OR EXISTS (SELECT FROM braid_internal.adoptions a WHERE a.wrapper = w.fdwname);
REVOKE ALL ON braid.participants FROM PUBLIC;
GRANT SELECT ON braid.participants TO pg_monitor, braid_operator;
COMMENT ON VIEW braid.participants IS
'Servers that take part in global transactions of this database: whether they can be written to, and if not, why and what to do; also those whose wrapper was adopted and, as after the restore of a dump, is not any more';

CREATE FUNCTION braid.xa_recover(timeout interval DEFAULT '10 seconds',
	OUT gid text, OUT server name, OUT prepared timestamptz, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	node record;
	deadline timestamptz := clock_timestamp() + timeout;
	left_ms int;
BEGIN
	FOR node IN SELECT s.oid, s.srvname, n.ready, n.reason
			FROM braid_internal.xa_nodes() n JOIN pg_foreign_server s ON s.oid = n.server ORDER BY s.srvname
	LOOP
		left_ms := greatest(0, extract(epoch FROM deadline - clock_timestamp()) * 1000);
		IF NOT braid_internal.xa_sweep(node.oid, left_ms) THEN
			SELECT n.reason INTO node.reason FROM braid_internal.xa_nodes() n WHERE n.server = node.oid;
			RAISE WARNING 'server "%" could not be checked', node.srvname
				USING DETAIL = coalesce(node.reason, 'It did not answer in time.'),
					HINT = 'See braid.participants.';
		END IF;
	END LOOP;
	RETURN QUERY SELECT f.gid, s.srvname, f.prepared, f.state, f.error
		FROM braid_internal.xa_findings() f JOIN pg_foreign_server s ON s.oid = f.server
		ORDER BY f.gid;
END
$$;
REVOKE ALL ON FUNCTION braid.xa_recover(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.xa_recover(interval) TO braid_operator;
COMMENT ON FUNCTION braid.xa_recover(interval) IS
'Looks for prepared branches of this database''s transactions on all servers (as xa_recover() of the X/Open XA specification lists them) and finishes those that nobody else does. Returns each one found, with what became of it: active (under way), committed, rolled back, or in doubt, with the error. timeout: how long to wait for all servers; a WARNING names each that could not be checked.';
