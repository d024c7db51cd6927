
-- ---------------------------------------------------------------- event

-- Immutable with a time zone, as AT TIME ZONE is.

CREATE FUNCTION braid_internal.hop_support(internal) RETURNS internal
AS 'MODULE_PATHNAME', 'braid_sql_hop_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.hop_support(internal) IS 'Tells the planner how many rows braid.hop() returns.';
CREATE FUNCTION braid_internal.cumulate_support(internal) RETURNS internal
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.cumulate_support(internal) IS 'Tells the planner how many rows braid.cumulate() returns.';

CREATE FUNCTION braid.tumble(ts timestamptz, size interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamptz, interval) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts timestamptz, size interval, origin timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamptz, interval, timestamptz) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts timestamptz, size interval, timezone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamptz, interval, text) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. The local clock of the time zone decides where they begin and end. Errors: 22023 size that is not positive or mixes months and days, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts timestamptz, size interval, origin timestamptz, timezone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamptz, interval, timestamptz, text) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. The local clock of the time zone decides where they begin and end. Errors: 22023 size that is not positive or mixes months and days, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts timestamp, size interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_tumble_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamp, interval) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts timestamp, size interval, origin timestamp) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_tumble_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(timestamp, interval, timestamp) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts date, size interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_tumble_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(date, interval) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts date, size interval, origin date) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_tumble_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(date, interval, date) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. Errors: 22023 size that is not positive or mixes months and days, 22008 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts int, size int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_tumble_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(int, int) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Errors: 22023 size that is not positive, 22003 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts int, size int, origin int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_tumble_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(int, int, int) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. Errors: 22023 size that is not positive, 22003 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts bigint, size bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_tumble_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(bigint, bigint) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Errors: 22023 size that is not positive, 22003 window outside the range of the type.';
CREATE FUNCTION braid.tumble(ts bigint, size bigint, origin bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_tumble_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble(bigint, bigint, bigint) IS
'Start of the tumbling window that the event time is in: windows of this size follow one another without gaps. Windows are counted from origin. Errors: 22023 size that is not positive, 22003 window outside the range of the type.';

CREATE FUNCTION braid.tumble_end(ts timestamptz, size interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamptz, interval) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble().';
CREATE FUNCTION braid.tumble_end(ts timestamptz, size interval, origin timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamptz, interval, timestamptz) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin.';
CREATE FUNCTION braid.tumble_end(ts timestamptz, size interval, timezone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamptz, interval, text) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). The local clock of the time zone decides where they begin and end.';
CREATE FUNCTION braid.tumble_end(ts timestamptz, size interval, origin timestamptz, timezone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamptz, interval, timestamptz, text) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin. The local clock of the time zone decides where they begin and end.';
CREATE FUNCTION braid.tumble_end(ts timestamp, size interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamp, interval) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble().';
CREATE FUNCTION braid.tumble_end(ts timestamp, size interval, origin timestamp) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(timestamp, interval, timestamp) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin.';
CREATE FUNCTION braid.tumble_end(ts date, size interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(date, interval) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble().';
CREATE FUNCTION braid.tumble_end(ts date, size interval, origin date) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(date, interval, date) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin.';
CREATE FUNCTION braid.tumble_end(ts int, size int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(int, int) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble().';
CREATE FUNCTION braid.tumble_end(ts int, size int, origin int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(int, int, int) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin.';
CREATE FUNCTION braid.tumble_end(ts bigint, size bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(bigint, bigint) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble().';
CREATE FUNCTION braid.tumble_end(ts bigint, size bigint, origin bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_tumble_end_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid.tumble_end(bigint, bigint, bigint) IS
'End, exclusive, of the tumbling window that the event time is in; see braid.tumble(). Windows are counted from origin.';

CREATE FUNCTION braid.hop(ts timestamptz, size interval, slide interval, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamptz, interval, interval) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts timestamptz, size interval, slide interval, origin timestamptz, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamptz, interval, interval, timestamptz) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts timestamptz, size interval, slide interval, timezone text, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamptz, interval, interval, text) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. The local clock of the time zone decides where they begin and end. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts timestamptz, size interval, slide interval, origin timestamptz, timezone text, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamptz, interval, interval, timestamptz, text) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. The local clock of the time zone decides where they begin and end. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts timestamp, size interval, slide interval, OUT window_start timestamp, OUT window_end timestamp) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamp, interval, interval) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts timestamp, size interval, slide interval, origin timestamp, OUT window_start timestamp, OUT window_end timestamp) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(timestamp, interval, interval, timestamp) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts date, size interval, slide interval, OUT window_start date, OUT window_end date) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(date, interval, interval) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts date, size interval, slide interval, origin date, OUT window_start date, OUT window_end date) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(date, interval, interval, date) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, slide that is longer than size, 22008 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts int, size int, slide int, OUT window_start int, OUT window_end int) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(int, int, int) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Errors: 22023 argument that is not positive, slide that is longer than size, 22003 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts int, size int, slide int, origin int, OUT window_start int, OUT window_end int) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(int, int, int, int) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. Errors: 22023 argument that is not positive, slide that is longer than size, 22003 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts bigint, size bigint, slide bigint, OUT window_start bigint, OUT window_end bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(bigint, bigint, bigint) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Errors: 22023 argument that is not positive, slide that is longer than size, 22003 window outside the range of the type.';
CREATE FUNCTION braid.hop(ts bigint, size bigint, slide bigint, origin bigint, OUT window_start bigint, OUT window_end bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_hop_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.hop_support;
COMMENT ON FUNCTION braid.hop(bigint, bigint, bigint, bigint) IS
'Windows that the event time is in: one of this size begins at every multiple of slide. Windows are counted from origin. Errors: 22023 argument that is not positive, slide that is longer than size, 22003 window outside the range of the type.';

CREATE FUNCTION braid.cumulate(ts timestamptz, step interval, size interval, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamptz, interval, interval) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts timestamptz, step interval, size interval, origin timestamptz, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamptz, interval, interval, timestamptz) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts timestamptz, step interval, size interval, timezone text, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamptz, interval, interval, text) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. The local clock of the time zone decides where they begin and end. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts timestamptz, step interval, size interval, origin timestamptz, timezone text, OUT window_start timestamptz, OUT window_end timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_zone' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamptz, interval, interval, timestamptz, text) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. The local clock of the time zone decides where they begin and end. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, no such time zone, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts timestamp, step interval, size interval, OUT window_start timestamp, OUT window_end timestamp) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamp, interval, interval) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts timestamp, step interval, size interval, origin timestamp, OUT window_start timestamp, OUT window_end timestamp) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(timestamp, interval, interval, timestamp) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts date, step interval, size interval, OUT window_start date, OUT window_end date) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(date, interval, interval) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts date, step interval, size interval, origin date, OUT window_start date, OUT window_end date) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(date, interval, interval, date) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. Errors: 22023 argument that is not positive or mixes months and days, size that is no multiple of step, 22008 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts int, step int, size int, OUT window_start int, OUT window_end int) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(int, int, int) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Errors: 22023 argument that is not positive, size that is no multiple of step, 22003 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts int, step int, size int, origin int, OUT window_start int, OUT window_end int) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(int, int, int, int) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. Errors: 22023 argument that is not positive, size that is no multiple of step, 22003 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts bigint, step bigint, size bigint, OUT window_start bigint, OUT window_end bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(bigint, bigint, bigint) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Errors: 22023 argument that is not positive, size that is no multiple of step, 22003 window outside the range of the type.';
CREATE FUNCTION braid.cumulate(ts bigint, step bigint, size bigint, origin bigint, OUT window_start bigint, OUT window_end bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_cumulate_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 SUPPORT braid_internal.cumulate_support;
COMMENT ON FUNCTION braid.cumulate(bigint, bigint, bigint, bigint) IS
'Windows that the event time is in: in each tumbling window of this size one after every step, all from its start. Windows are counted from origin. Errors: 22023 argument that is not positive, size that is no multiple of step, 22003 window outside the range of the type.';

CREATE FUNCTION braid.session(ts timestamptz, gap interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_session_timestamptz' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session(timestamptz, interval) IS
'Window function, OVER (PARTITION BY ... ORDER BY ts): event time of the first row of the session that the row is in. A distance of gap or more between two rows that follow one another ends a session. Null without an event time. Errors: 22023 gap that is not positive, has months, or differs between rows of a partition, 42P20 rows in another order.';
CREATE FUNCTION braid.session(ts timestamp, gap interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_session_timestamp' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session(timestamp, interval) IS
'Window function, OVER (PARTITION BY ... ORDER BY ts): event time of the first row of the session that the row is in. A distance of gap or more between two rows that follow one another ends a session. Null without an event time. Errors: 22023 gap that is not positive, has months, or differs between rows of a partition, 42P20 rows in another order.';
CREATE FUNCTION braid.session(ts date, gap interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_session_date' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session(date, interval) IS
'Window function, OVER (PARTITION BY ... ORDER BY ts): event time of the first row of the session that the row is in. A distance of gap or more between two rows that follow one another ends a session. Null without an event time. Errors: 22023 gap that is not positive, has months, or differs between rows of a partition, 42P20 rows in another order.';
CREATE FUNCTION braid.session(ts int, gap int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_session_int4' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session(int, int) IS
'Window function, OVER (PARTITION BY ... ORDER BY ts): event time of the first row of the session that the row is in. A distance of gap or more between two rows that follow one another ends a session. Null without an event time. Errors: 22023 gap that is not positive or differs between rows of a partition, 42P20 rows in another order.';
CREATE FUNCTION braid.session(ts bigint, gap bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_session_int8' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session(bigint, bigint) IS
'Window function, OVER (PARTITION BY ... ORDER BY ts): event time of the first row of the session that the row is in. A distance of gap or more between two rows that follow one another ends a session. Null without an event time. Errors: 22023 gap that is not positive or differs between rows of a partition, 42P20 rows in another order.';

CREATE FUNCTION braid.session_end(ts timestamptz, gap interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'braid_sql_session_end_timestamptz' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session_end(timestamptz, interval) IS
'Window function: end of the session that the row is in, which is the event time of its last row plus gap; see braid.session().';
CREATE FUNCTION braid.session_end(ts timestamp, gap interval) RETURNS timestamp
AS 'MODULE_PATHNAME', 'braid_sql_session_end_timestamp' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session_end(timestamp, interval) IS
'Window function: end of the session that the row is in, which is the event time of its last row plus gap; see braid.session().';
CREATE FUNCTION braid.session_end(ts date, gap interval) RETURNS date
AS 'MODULE_PATHNAME', 'braid_sql_session_end_date' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session_end(date, interval) IS
'Window function: end of the session that the row is in, which is the event time of its last row plus gap; see braid.session().';
CREATE FUNCTION braid.session_end(ts int, gap int) RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_session_end_int4' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session_end(int, int) IS
'Window function: end of the session that the row is in, which is the event time of its last row plus gap; see braid.session().';
CREATE FUNCTION braid.session_end(ts bigint, gap bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_session_end_int8' LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid.session_end(bigint, bigint) IS
'Window function: end of the session that the row is in, which is the event time of its last row plus gap; see braid.session().';
