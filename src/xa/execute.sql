
-- ---------------------------------------------------------------- execute

-- ---- participant

CREATE FUNCTION braid_internal.execute() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_execute_here' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.execute() IS
'Runs the command given, as the current user, in the current transaction; RETURNING shows the rows processed, and the rows as a JSON array if they are wanted; 22004, 22023, 0A000, and what the command raises.';

CREATE VIEW braid_internal.execute AS
	SELECT ''::text AS command, false AS want_rows, 0::bigint AS processed, NULL::text AS result;
CREATE TRIGGER execute INSTEAD OF UPDATE ON braid_internal.execute
	FOR EACH ROW EXECUTE FUNCTION braid_internal.execute();
REVOKE ALL ON braid_internal.execute FROM PUBLIC;
-- It only does what the same session could do by sending the command itself.
GRANT SELECT, UPDATE ON braid_internal.execute TO PUBLIC;
COMMENT ON VIEW braid_internal.execute IS
'Participants: a coordinator updates it to run a command in the current transaction';

-- ---- coordinator
-- These are open to PUBLIC: what they do needs USAGE on the server and a user
-- mapping, with which one could do the same through a foreign table of one's
-- own over the view above.

CREATE FUNCTION braid.execute(server name, command text) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_execute' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION braid.execute(name, text) IS
'Runs a command, or several with semicolons between them, on a server as part of the current transaction: in the transaction there that foreign tables of the current user have, as the remote user of his user mapping, with that user''s own settings (search_path among them). Returns the number of rows that the last statement has processed. Needs USAGE on the server. Errors: 22004 for nulls, 22023 for an empty command, 42704 for an unknown server, 42809 for one that is not braid''s, 42501, 55000 if it is not ready, 0A000 for transaction control and COPY from or to the client, and those of the command.';

CREATE FUNCTION braid_internal.query(server name, command text) RETURNS jsonb
AS 'MODULE_PATHNAME', 'braid_sql_query' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION braid_internal.query(name, text) IS
'braid.query() as one array';

CREATE FUNCTION braid.query(server name, command text) RETURNS SETOF jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT value FROM jsonb_array_elements(braid_internal.query(server, command)) $$;
COMMENT ON FUNCTION braid.query(name, text) IS
'Like braid.execute(), but returns the rows of the last statement (SELECT, RETURNING, EXPLAIN, SHOW), each as an object by column names. For answers that fit into memory; foreign tables are for more. Errors as braid.execute().';

CREATE FUNCTION braid.execute_all(command text, include_local boolean DEFAULT true,
	OUT server name, OUT rows bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_execute_all' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION braid.execute_all(text, boolean) IS
'Runs a command as braid.execute() does: first on this server (include_local; as the current user, with the settings of the session), then on each server of braid in this database, in the order of their names. Returns a row for each, the server being null for this one, with the number of rows processed. The first error ends it, and all is rolled back. Errors as braid.execute().';
