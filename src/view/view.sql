
-- ---------------------------------------------------------------- view

CREATE SEQUENCE braid_internal.view_ids;
COMMENT ON SEQUENCE braid_internal.view_ids IS 'Ids of continuous views; part of the names state_<id> and query_<id>.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.view_ids', '');

-- What the user has defined. Written by users' commands, read by the worker,
-- so that neither waits for the other. The query itself is that of the ordinary
-- view braid_internal.query_<id>.
CREATE TABLE braid_internal.views (
	id int PRIMARY KEY,
	view regclass NOT NULL,
	settings text[] NOT NULL,
	options jsonb NOT NULL,
	rebuilds int NOT NULL DEFAULT 0
);
COMMENT ON TABLE braid_internal.views IS
'Continuous views: settings are those under which expressions are evaluated, as name and value in turn; rebuilds counts the requests to populate anew.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.views', '');

-- What the worker has made of it. Not dumped: after a restore each view is
-- populated anew.
CREATE TABLE braid_internal.view_states (
	id int PRIMARY KEY,
	state text NOT NULL CHECK (state IN ('populating', 'live', 'rebuilding', 'broken')),
	since timestamptz NOT NULL,
	rebuilds int NOT NULL,
	error text
);
COMMENT ON TABLE braid_internal.view_states IS
'State of each continuous view, and the rebuild request that it has come up to.';

-- Rows that verification found to differ; the last few requests.
CREATE TABLE braid_internal.differences (
	request bigint NOT NULL,
	difference text,
	"row" jsonb,
	error text
);
COMMENT ON TABLE braid_internal.differences IS
'Answers of the capture worker to braid.verify(): a row with neither difference nor error ends each answer.';

CREATE FUNCTION braid_internal.views_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_views_changed' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.views_changed() IS 'Starts the capture worker when definitions change, be it by a restore.';
REVOKE ALL ON FUNCTION braid_internal.views_changed() FROM PUBLIC;

CREATE TRIGGER views_changed AFTER INSERT OR UPDATE OR DELETE ON braid_internal.views
	FOR EACH STATEMENT EXECUTE FUNCTION braid_internal.views_changed();

CREATE FUNCTION braid.create_view(name text, query text, options jsonb DEFAULT '{}') RETURNS regclass
AS 'MODULE_PATHNAME', 'braid_sql_create_view' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.create_view(text, text, jsonb) IS
'Makes a continuous view, as CREATE MATERIALIZED VIEW name WITH (braid.continuous) AS query does. name may be qualified; no options exist yet. Returns the view. Errors: 0A000 what cannot be kept up to date, 42809 not a table, 42501 missing privilege, 42P07 name taken, 55000 wal_level is not logical.';

CREATE FUNCTION braid.drop_view(view regclass) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_drop_view' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.drop_view(regclass) IS
'Drops a continuous view, as DROP MATERIALIZED VIEW does. Errors: 42809 not a continuous view, 42501 not its owner, 2BP01 something depends on it.';

CREATE FUNCTION braid.wait(view regclass, timeout interval DEFAULT '10 s') RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_wait' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.wait(regclass, interval) IS
'Waits until the view contains all that was committed before the call; true then, false if that took longer than the timeout. Below REPEATABLE READ the next statement sees it. Errors: 42809 not a continuous view, 42501 no SELECT privilege, 55000 the view is broken.';

CREATE FUNCTION braid.verify(view regclass, timeout interval DEFAULT '10 min', OUT difference text, OUT "row" jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_verify' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.verify(regclass, interval) IS
'Runs the view''s query and returns the rows that the view lacks (missing) or should not have (surplus), both as of one snapshot: no rows if the view is right. Errors: 42809 not a continuous view, 42501 no SELECT privilege, 55000 the view is broken, 57014 no answer within the timeout.';

CREATE VIEW braid.views AS
SELECT c.oid::regclass AS name,
	c.relowner::regrole AS owner,
	CASE WHEN w.pid IS NULL AND coalesce(s.state, '') <> 'broken' THEN 'stopped'
		WHEN s.state IS NULL THEN 'populating'
		WHEN s.rebuilds <> v.rebuilds THEN 'rebuilding'
		WHEN s.state = 'live' AND b.relation = ANY (w.held_back) THEN 'held back'
		ELSE s.state END AS state,
	s.since,
	b.relation::regclass AS base_table,
	f.frontier,
	CASE WHEN s.state = 'live' THEN greatest(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), w."position"), 0) END AS lag_bytes,
	CASE WHEN s.state <> 'live' THEN NULL
		WHEN pg_current_wal_insert_lsn() <= w."position" THEN interval '0'
		ELSE clock_timestamp() - w.snapshot_time END AS lag,
	pg_stat_get_live_tuples(d.refobjid) AS rows,
	s.error AS last_error,
	v.options,
	v.id
FROM braid_internal.views v
	JOIN pg_class c ON c.oid = v.view
	CROSS JOIN braid_internal.capture_status() w
	LEFT JOIN braid_internal.view_states s ON s.id = v.id
	CROSS JOIN LATERAL (SELECT to_regclass('braid_internal.state_' || v.id)::oid AS refobjid) d
	LEFT JOIN LATERAL (
		SELECT p.refobjid AS relation
		FROM pg_rewrite r JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = r.oid
			AND p.refclassid = 'pg_class'::regclass AND p.refobjid <> r.ev_class
		WHERE r.ev_class = to_regclass('braid_internal.query_' || v.id)
		LIMIT 1) b ON true
	LEFT JOIN braid_internal.frontiers f ON f.relation = b.relation;
COMMENT ON VIEW braid.views IS
'Continuous views. state: populating (new), live, held back (the table cannot be locked just now), rebuilding, broken (see last_error; REFRESH MATERIALIZED VIEW starts anew), stopped (no capture worker runs). frontier: the snapshot whose rows the view shows.';
COMMENT ON COLUMN braid.views.lag_bytes IS 'WAL, of the whole server, that was written since the view''s worker last looked';
COMMENT ON COLUMN braid.views.lag IS 'Time since then; zero if nothing was written';
COMMENT ON COLUMN braid.views.rows IS 'Estimated number of groups';
COMMENT ON COLUMN braid.views.options IS 'Options as given to braid.create_view()';
REVOKE ALL ON braid.views FROM PUBLIC;
GRANT SELECT ON braid.views TO PUBLIC;

CREATE FUNCTION braid_internal.deviation(variance numeric) RETURNS numeric
AS 'MODULE_PATHNAME', 'braid_sql_deviation' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.deviation(numeric) IS
'Square root of a variance, with the digits of PostgreSQL''s stddev aggregates. Continuous views call it when they are read.';
