
-- ---------------------------------------------------------------- xa: adoption

-- A wrapper of somebody else that uses braid's handler. pg_dump carries this
-- record, but not the handler of a wrapper that belongs to an extension.
CREATE TABLE braid_internal.adoptions (
	wrapper name PRIMARY KEY,
	handler text NOT NULL,
	servers name[] NOT NULL DEFAULT '{}',
	adopted timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON braid_internal.adoptions FROM PUBLIC;
COMMENT ON TABLE braid_internal.adoptions IS
'Coordinators: wrappers that braid.adopt() has given braid''s handler, with the handler to give back, and the servers that got parallel_commit from it';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.adoptions', '');
GRANT SELECT ON braid_internal.adoptions TO PUBLIC; -- so that whoever owns a database can dump it

CREATE FUNCTION braid_internal.xa_doubt_on_server(server oid) RETURNS bool
AS 'MODULE_PATHNAME', 'braid_sql_xa_doubt_on_server' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.xa_doubt_on_server(oid) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.xa_doubt_on_server(oid) IS
'Has the server a branch that is not finished, or may it have one, as far as this database knows?';

CREATE FUNCTION braid_internal.xa_lost_adoptions(OUT wrapper name, OUT handler text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT a.wrapper, w.fdwhandler::regprocedure::text
	FROM braid_internal.adoptions a LEFT JOIN pg_foreign_data_wrapper w ON w.fdwname = a.wrapper
	WHERE w.fdwhandler IS DISTINCT FROM to_regprocedure('braid.braid_fdw_handler()')
	ORDER BY 1
$$;
REVOKE ALL ON FUNCTION braid_internal.xa_lost_adoptions() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.xa_lost_adoptions() IS
'Adopted wrappers that do not use braid''s handler now, as after the restore of a dump; with the handler that they use, null if there is no such wrapper';

-- What restores a dump says at once what is missing.
CREATE FUNCTION braid_internal.warn_of_lost_adoption() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM braid_internal.xa_lost_adoptions() l WHERE l.wrapper = NEW.wrapper) THEN
		RAISE WARNING 'foreign-data wrapper "%" is not adopted any more: writes through it are not atomic', NEW.wrapper
			USING HINT = format('Run SELECT braid.adopt(%L) when the restore is complete.', NEW.wrapper);
	END IF;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.warn_of_lost_adoption() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.warn_of_lost_adoption() IS
'Warns when an adoption is recorded that does not hold, as where a dump is restored';
CREATE TRIGGER warn AFTER INSERT ON braid_internal.adoptions
	FOR EACH ROW EXECUTE FUNCTION braid_internal.warn_of_lost_adoption();

CREATE FUNCTION braid_internal.set_wrapper_handler(wrapper name, handler text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
SET client_min_messages = error SET log_min_messages = error
AS $$
BEGIN
	-- PostgreSQL warns of what is the purpose here
	EXECUTE format('ALTER FOREIGN DATA WRAPPER %I HANDLER %s', wrapper, handler);
END
$$;
REVOKE ALL ON FUNCTION braid_internal.set_wrapper_handler(name, text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.set_wrapper_handler(name, text) IS
'Gives a wrapper a handler (a function''s qualified and quoted name), without the warning';

CREATE FUNCTION braid.adopt(wrapper name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ours CONSTANT oid := 'braid.braid_fdw_handler()'::regprocedure;
	fdw record;
	server name;
	changed name[] := '{}';
BEGIN
	IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('permission denied to adopt foreign-data wrapper "%s"', wrapper),
			HINT = 'Must be superuser, as to alter a foreign-data wrapper.';
	END IF;
	LOCK TABLE braid_internal.adoptions IN SHARE ROW EXCLUSIVE MODE;
	SELECT w.oid, w.fdwhandler, p.prosrc, p.probin, n.nspname, p.proname,
			EXISTS (SELECT FROM braid_internal.adoptions a WHERE a.wrapper = w.fdwname) AS recorded
		INTO fdw
		FROM pg_foreign_data_wrapper w LEFT JOIN pg_proc p ON p.oid = w.fdwhandler
		LEFT JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE w.fdwname = adopt.wrapper;
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('foreign-data wrapper "%s" does not exist', wrapper);
	ELSIF fdw.fdwhandler = ours THEN
		RAISE NOTICE 'foreign-data wrapper "%" uses the handler of braid already', wrapper;
		RETURN;
	ELSIF fdw.prosrc IS DISTINCT FROM 'postgres_fdw_handler' OR fdw.probin IS DISTINCT FROM '$libdir/postgres_fdw' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('foreign-data wrapper "%s" cannot be adopted', wrapper),
			DETAIL = CASE WHEN fdw.fdwhandler = 0 THEN 'It has no handler.'
				ELSE format('Its handler is %s, and not that of postgres_fdw.', fdw.fdwhandler::regprocedure) END;
	END IF;

	-- waits for transactions that have written with the old handler
	PERFORM braid_internal.set_wrapper_handler(wrapper, 'braid.braid_fdw_handler');
	FOR server IN SELECT s.srvname FROM pg_foreign_server s WHERE s.srvfdw = fdw.oid AND NOT EXISTS (
			SELECT FROM pg_options_to_table(s.srvoptions) o WHERE o.option_name = 'parallel_commit')
	LOOP
		EXECUTE format('ALTER SERVER %I OPTIONS (ADD parallel_commit ''true'')', server);
		changed := changed || server;
	END LOOP;

	-- what an earlier adoption, before a dump, has set is still to be taken back
	INSERT INTO braid_internal.adoptions AS a (wrapper, handler, servers)
		VALUES (adopt.wrapper, format('%I.%I', fdw.nspname, fdw.proname), changed)
		ON CONFLICT ON CONSTRAINT adoptions_pkey DO UPDATE
			SET handler = excluded.handler, servers = a.servers || excluded.servers, adopted = now();
END
$$;
REVOKE ALL ON FUNCTION braid.adopt(name) FROM PUBLIC;
COMMENT ON FUNCTION braid.adopt(name) IS
'Makes transactions over the servers of an existing wrapper atomic, such as postgres_fdw: gives it the handler of braid. Servers get parallel_commit unless they have that option. Waits for open transactions that have written through the wrapper. For superusers (42501). Errors: 42704 no such wrapper, 42809 its handler is not that of postgres_fdw.';

-- The handler that a wrapper had; another name of the same one if that has gone.
CREATE FUNCTION braid_internal.original_handler(recorded text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%I.%I', n.nspname, p.proname)
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE p.prosrc = 'postgres_fdw_handler' AND p.probin = '$libdir/postgres_fdw' AND p.pronargs = 0
	ORDER BY p.oid = to_regprocedure(recorded || '()') DESC NULLS LAST, p.oid LIMIT 1
$$;
REVOKE ALL ON FUNCTION braid_internal.original_handler(text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.original_handler(text) IS
'The handler to give back to an adopted wrapper: the recorded one, or that of postgres_fdw where it is now; null if there is none';

CREATE FUNCTION braid.release(wrapper name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	adoption record;
	fdw record;
	original text;
	server name;
BEGIN
	IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('permission denied to release foreign-data wrapper "%s"', wrapper),
			HINT = 'Must be superuser, as to alter a foreign-data wrapper.';
	END IF;
	LOCK TABLE braid_internal.adoptions IN SHARE ROW EXCLUSIVE MODE;
	SELECT a.* INTO adoption FROM braid_internal.adoptions a WHERE a.wrapper = release.wrapper;
	SELECT w.oid, w.fdwhandler = 'braid.braid_fdw_handler()'::regprocedure AS adopted, EXISTS (
			SELECT FROM pg_depend d WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e'
				AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'braid')) AS own
		INTO fdw FROM pg_foreign_data_wrapper w WHERE w.fdwname = release.wrapper;
	IF fdw.oid IS NULL AND adoption.wrapper IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('foreign-data wrapper "%s" does not exist', wrapper);
	ELSIF fdw.own OR (adoption.wrapper IS NULL AND NOT fdw.adopted) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('foreign-data wrapper "%s" is not adopted', wrapper);
	END IF;
	IF fdw.adopted THEN
		original := braid_internal.original_handler(adoption.handler);
		IF original IS NULL THEN
			RAISE undefined_function USING
				MESSAGE = format('cannot release foreign-data wrapper "%s"', wrapper),
				DETAIL = 'The handler of postgres_fdw does not exist.',
				HINT = 'Run CREATE EXTENSION postgres_fdw.';
		END IF;
		PERFORM braid_internal.set_wrapper_handler(wrapper, original);
		FOR server IN SELECT s.srvname FROM pg_foreign_server s
			WHERE s.srvfdw = fdw.oid AND s.srvname = ANY (adoption.servers) AND 'parallel_commit=true' = ANY (s.srvoptions)
		LOOP
			EXECUTE format('ALTER SERVER %I OPTIONS (DROP parallel_commit)', server);
		END LOOP;
		RAISE NOTICE 'foreign-data wrapper "%" is released: transactions over its servers are not atomic any more', wrapper;
	END IF;
	DELETE FROM braid_internal.adoptions a WHERE a.wrapper = release.wrapper;
END
$$;
REVOKE ALL ON FUNCTION braid.release(name) FROM PUBLIC;
COMMENT ON FUNCTION braid.release(name) IS
'Gives an adopted wrapper its own handler back, and drops parallel_commit where adoption has set it and nobody has changed it. Its servers and tables stay; transactions over them are not atomic any more. Waits for open transactions that have written through the wrapper. For superusers (42501). Errors: 42704 no such wrapper, 55000 it is not adopted, 55006 a transaction has an unfinished branch on one of its servers.';
