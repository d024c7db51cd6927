
-- ---------------------------------------------------------------- streams

CREATE FUNCTION braid.braid_stream_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'braid_sql_stream_handler' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION braid.braid_stream_handler() FROM PUBLIC;
COMMENT ON FUNCTION braid.braid_stream_handler() IS
'Handler of streams: foreign tables whose rows go into the WAL, and from there to the continuous views on them.';

CREATE FUNCTION braid.braid_stream_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_stream_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION braid.braid_stream_validator(text[], oid) FROM PUBLIC;
COMMENT ON FUNCTION braid.braid_stream_validator(text[], oid) IS
'Validates options of streams, of which there are none; HV00D.';

CREATE FOREIGN DATA WRAPPER braid_stream
	HANDLER braid.braid_stream_handler VALIDATOR braid.braid_stream_validator;
COMMENT ON FOREIGN DATA WRAPPER braid_stream IS 'Streams: rows that are kept by nothing but the views on them';

CREATE SERVER braid_stream FOREIGN DATA WRAPPER braid_stream;
COMMENT ON SERVER braid_stream IS 'For CREATE FOREIGN TABLE ... SERVER braid_stream, which makes a stream';
-- As with tables: who may create in a schema may create streams there.
GRANT USAGE ON FOREIGN SERVER braid_stream TO PUBLIC;
