
-- ---------------------------------------------------------------- event: sessions that are kept

CREATE FUNCTION braid_internal.session_reach(last timestamptz, gap interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_session_reach_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_reach(timestamptz, interval) IS
'The latest event time at which a row would belong to a session whose last row is at this one; see braid.session().';
CREATE FUNCTION braid_internal.session_end_after(last timestamptz, gap interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_session_end_after_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_end_after(timestamptz, interval) IS
'What braid.session_end() returns for a session whose last row is at this event time. Continuous views call it when they are read. Errors: 22008, 22003 the end is outside the range of the type.';

CREATE FUNCTION braid_internal.session_reach(last timestamp, gap interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_session_reach_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_reach(timestamp, interval) IS
'The latest event time at which a row would belong to a session whose last row is at this one; see braid.session().';
CREATE FUNCTION braid_internal.session_end_after(last timestamp, gap interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_session_end_after_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_end_after(timestamp, interval) IS
'What braid.session_end() returns for a session whose last row is at this event time. Continuous views call it when they are read. Errors: 22008, 22003 the end is outside the range of the type.';

CREATE FUNCTION braid_internal.session_reach(last date, gap interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_session_reach_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_reach(date, interval) IS
'The latest event time at which a row would belong to a session whose last row is at this one; see braid.session().';
CREATE FUNCTION braid_internal.session_end_after(last date, gap interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_session_end_after_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_end_after(date, interval) IS
'What braid.session_end() returns for a session whose last row is at this event time. Continuous views call it when they are read. Errors: 22008, 22003 the end is outside the range of the type.';

CREATE FUNCTION braid_internal.session_reach(last int, gap int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_session_reach_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_reach(int, int) IS
'The latest event time at which a row would belong to a session whose last row is at this one; see braid.session().';
CREATE FUNCTION braid_internal.session_end_after(last int, gap int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_session_end_after_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_end_after(int, int) IS
'What braid.session_end() returns for a session whose last row is at this event time. Continuous views call it when they are read. Errors: 22008, 22003 the end is outside the range of the type.';

CREATE FUNCTION braid_internal.session_reach(last bigint, gap bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_session_reach_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_reach(bigint, bigint) IS
'The latest event time at which a row would belong to a session whose last row is at this one; see braid.session().';
CREATE FUNCTION braid_internal.session_end_after(last bigint, gap bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_session_end_after_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.session_end_after(bigint, bigint) IS
'What braid.session_end() returns for a session whose last row is at this event time. Continuous views call it when they are read. Errors: 22008, 22003 the end is outside the range of the type.';
