
-- ---------------------------------------------------------------- view

CREATE SEQUENCE braid_internal.view_ids;
COMMENT ON SEQUENCE braid_internal.view_ids IS 'Ids of continuous views; part of the names state_<id>_<node> and query_<id>.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.view_ids', '');

-- What the user has defined. Written by users' commands, read by the worker,
-- so that neither waits for the other. The query itself is that of the ordinary
-- view braid_internal.query_<id>.
CREATE TABLE braid_internal.views (
	id int PRIMARY KEY,
	view regclass NOT NULL,
	settings text[] NOT NULL,
	options jsonb NOT NULL,
	rebuilds int NOT NULL DEFAULT 0,
	paused boolean NOT NULL DEFAULT false,
	replaces int,
	made_for text NOT NULL,
	made_from text,
	merges int NOT NULL DEFAULT 0,
	valid_since jsonb
);
COMMENT ON TABLE braid_internal.views IS
'Continuous views: settings are those under which expressions are evaluated, as name and value in turn; rebuilds counts the requests to populate anew; replaces is the id of the view that this one is to take the place of, once it is populated; made_for is the fingerprint of the plan that the view was made for; if made_from is set, the states are older, and were made for a plan of that fingerprint; merges counts the requests to merge rows that came late; valid_since has for each column that closed groups do not have the watermark since which they do.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.views', '');

-- What the worker has made of it. Not dumped: after a restore each view is
-- populated anew.
CREATE TABLE braid_internal.view_states (
	id int PRIMARY KEY,
	state text NOT NULL CHECK (state IN ('populating', 'live', 'rebuilding', 'broken', 'paused')),
	since timestamptz NOT NULL,
	rebuilds int NOT NULL,
	error text,
	fingerprint text,
	strategy text,
	frontier pg_snapshot,
	gaps int NOT NULL DEFAULT 0,
	last_gap timestamptz,
	gap_reason text
);
COMMENT ON TABLE braid_internal.view_states IS
'State of each continuous view, the rebuild request that it has come up to, and the fingerprint and the dearest strategy of the plan that has made its state tables; of a paused one, the snapshot that it shows; how often it went on although rows of its streams may be missing, when last, and why.';

-- What processes that populate views have done, until the capture worker goes
-- on from there. Not dumped.
CREATE TABLE braid_internal.populations (
	id int PRIMARY KEY,
	token bigint NOT NULL,
	frontier pg_snapshot NOT NULL,
	error text
);
COMMENT ON TABLE braid_internal.populations IS
'Views that were populated beside the capture worker: the attempt, the snapshot that the state stands for, or why there is none.';

CREATE FUNCTION braid_internal.populations_now(OUT id int, OUT phase text, OUT step int, OUT steps int, OUT blocks_done bigint,
	OUT blocks_total bigint, OUT rows_done bigint, OUT rows_estimated bigint, OUT started timestamptz, OUT pid int) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_populations' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid_internal.populations_now() IS 'What braid.progress shows, of this database.';

CREATE VIEW braid.progress AS
SELECT coalesce(o.view, v.view) AS name, p.phase, p.step, p.steps, p.blocks_done, p.blocks_total, p.rows_done, p.rows_estimated, p.started, p.pid
FROM braid_internal.populations_now() p JOIN braid_internal.views v ON v.id = p.id
	LEFT JOIN braid_internal.views o ON o.id = v.replaces;
COMMENT ON VIEW braid.progress IS
'Continuous views that are being populated beside the capture worker (see braid.view_populate_limit). phase: starting, locking, reading, following (the changes that were committed meanwhile), failed (and soon tried again).';
COMMENT ON COLUMN braid.progress.step IS 'Which of the state tables is being filled, of how many steps';
COMMENT ON COLUMN braid.progress.blocks_done IS 'Blocks of the tables that were read by sequential scans in this step, of blocks_total';
COMMENT ON COLUMN braid.progress.rows_done IS 'Rows of the state written in this step; rows_estimated is the planner''s estimate of all';
REVOKE ALL ON braid.progress FROM PUBLIC;
GRANT SELECT ON braid.progress TO PUBLIC;

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

-- So that whoever owns a database can dump it.
GRANT SELECT ON braid_internal.view_ids, braid_internal.views TO PUBLIC;

CREATE TRIGGER views_changed AFTER INSERT OR UPDATE OR DELETE ON braid_internal.views
	FOR EACH STATEMENT EXECUTE FUNCTION braid_internal.views_changed();

CREATE FUNCTION braid_internal.view_described() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_view_described' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.view_described() IS
'Writes what the row says into the comment on the view''s query: in a dump without rows that is what defines the view.';
REVOKE ALL ON FUNCTION braid_internal.view_described() FROM PUBLIC;

CREATE TRIGGER view_described AFTER INSERT OR UPDATE ON braid_internal.views
	FOR EACH ROW EXECUTE FUNCTION braid_internal.view_described();

CREATE FUNCTION braid_internal.view_is_new() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_view_is_new' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.view_is_new() IS
'Skips a row that is there already: a restore brings it when the worker has made it from the comment.';
REVOKE ALL ON FUNCTION braid_internal.view_is_new() FROM PUBLIC;

CREATE TRIGGER view_is_new BEFORE INSERT ON braid_internal.views
	FOR EACH ROW EXECUTE FUNCTION braid_internal.view_is_new();

CREATE FUNCTION braid_internal.single_step(state internal, value anyelement) RETURNS internal
AS 'MODULE_PATHNAME', 'braid_sql_single_step' LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION braid_internal.single_step(internal, anyelement) IS 'Transition function of braid_internal.single().';
CREATE FUNCTION braid_internal.single_final(state internal, value anyelement) RETURNS anyelement
AS 'MODULE_PATHNAME', 'braid_sql_single_final' LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION braid_internal.single_final(internal, anyelement) IS 'Final function of braid_internal.single().';
CREATE AGGREGATE braid_internal.single(anyelement) (
	SFUNC = braid_internal.single_step, STYPE = internal,
	FINALFUNC = braid_internal.single_final, FINALFUNC_EXTRA);
COMMENT ON AGGREGATE braid_internal.single(anyelement) IS
'The value of the only row, or null without rows: a scalar subquery that is kept up to date. Errors: 21000 more than one row.';

CREATE FUNCTION braid.create_view(name text, query text, options jsonb DEFAULT '{}') RETURNS regclass
AS 'MODULE_PATHNAME', 'braid_sql_create_view' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.create_view(text, text, jsonb) IS
'Makes a continuous view, as CREATE MATERIALIZED VIEW name WITH (braid.continuous) AS query does. name may be qualified. Options: read, how the view is read where braid.read is default (eventual, own, strict); schedule, an interval as text: the whole query is run that often, if there may be something new, and not kept up to date; braid.allow_recompute must be on; watermark, watermark_idle, late (update, drop, divert), emit (change, close), retain and base_deletes (retract, keep) for event time; feed, a topic that changes go to, and feed_key, the columns that are the key of the messages. Returns the view. Errors: 0A000 what cannot be kept up to date, 42809 not a table, 42501 missing privilege, 42P07 name taken, 55000 wal_level is not logical.';

CREATE FUNCTION braid.drop_view(view regclass) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_drop_view' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.drop_view(regclass) IS
'Drops a continuous view, as DROP MATERIALIZED VIEW does. Errors: 42809 not a continuous view, 42501 not its owner, 2BP01 something depends on it.';

CREATE FUNCTION braid.alter_view(view regclass, query text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_alter_view' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION braid.alter_view(regclass, text) IS
'Gives a continuous view another query, as CREATE OR REPLACE VIEW does: its columns keep their names, types and order, new ones come after them; without a query, the one that it has is taken apart anew. Returns true if all that the new query needs is kept already: then the view shows it at once, and nothing is recomputed. Otherwise false: the new state is populated beside the old one once this transaction commits, and takes its place when it is complete; until then the view shows the old query, and follows. Views that read this one are populated anew. Grants, comments, indexes on columns that are still kept as they are, and what depends on the view stay. Errors: 42809 not a continuous view, 42501 not its owner, 42P16 columns that do not fit, 42P17 the query reads the view itself, 55000 the view is paused, and those of braid.create_view().';

CREATE FUNCTION braid.definition(view regclass) RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_definition' LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION braid.definition(regclass) IS
'The statement that makes a continuous view, CREATE MATERIALIZED VIEW ... WITH (braid.continuous, ...) AS ..., with its options and its query as it is now, all names qualified: to make it anew in another database. Indexes, comments and privileges are not in it. Errors: 42809 not a continuous view.';

CREATE FUNCTION braid.pause(view regclass) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_pause' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.pause(regclass) IS
'Lets a continuous view stand still: it shows its query as of the time of the pause, and costs nothing, no WAL kept for it either. Views that read it go on with what it shows. Errors: 42809 not a continuous view, 42501 not its owner, 55000 braid.alter_view() is making a new state for it.';

CREATE FUNCTION braid.resume(view regclass) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_resume' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.resume(regclass) IS
'Ends the pause of a continuous view: it is rebuilt, as by REFRESH MATERIALIZED VIEW, and follows from then on. Until that is done it shows what it has. Errors: 42809 not a continuous view, 42501 not its owner.';

CREATE FUNCTION braid.wait(view regclass, timeout interval DEFAULT '10 s') RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_wait' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.wait(regclass, interval) IS
'Waits until the view contains all that was committed before the call, or, if it has a schedule, until it has been computed once; true then, false if that took longer than the timeout. Below REPEATABLE READ the next statement sees it. Errors: 42809 not a continuous view, 42501 no SELECT privilege, 55000 the view is broken.';

CREATE FUNCTION braid.verify(view regclass, sample double precision DEFAULT 1, timeout interval DEFAULT '10 min',
	OUT difference text, OUT "row" jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_verify' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.verify(regclass, double precision, interval) IS
'Runs the view''s query and returns the rows that the view lacks (missing) or should not have (surplus), both as of one snapshot: no rows if the view is right. sample: which share of the rows is compared, above 0 and at most 1; chosen anew by each call, by a hash of the keys of GROUP BY, DISTINCT ON or PARTITION BY, else of the whole row. The capture worker runs it: all views of the database follow when it has ended, so that a sample blocks them for a shorter time. Errors: 22023 not a share, 42809 not a continuous view, 42501 no SELECT privilege, 55000 the view is broken, 57014 no answer within the timeout.';

CREATE FUNCTION braid_internal.view_inputs(view regclass, OUT tables regclass[], OUT views int[]) RETURNS record
AS 'MODULE_PATHNAME', 'braid_sql_view_inputs' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION braid_internal.view_inputs(regclass) IS
'What a continuous view stands on, also by way of other views: tables, and the ids of continuous views.';

CREATE FUNCTION braid_internal.explain(view regclass, OUT node int, OUT depth int, OUT operator text, OUT strategy text,
	OUT state regclass, OUT last_rows bigint, OUT last_ms float8, OUT path text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_explain' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.explain(regclass) IS 'What braid.explain() shows, without sizes.';

CREATE FUNCTION braid.explain(view regclass) RETURNS TABLE (node int, depth int, operator text, strategy text,
	state regclass, bytes bigint, rows bigint, last_rows bigint, last_ms float8, path text)
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT e.node, e.depth, e.operator, e.strategy, e.state, pg_total_relation_size(e.state),
		pg_stat_get_live_tuples(e.state), e.last_rows, e.last_ms, e.path
	FROM braid_internal.explain(explain.view) e
$$;
COMMENT ON FUNCTION braid.explain(regclass) IS
'How a continuous view is kept: the operators of its query, from the top, a reader before its inputs. depth: how far below the top; a node that is read twice is there twice, its inputs once. strategy: algebraic, combine or affected keys; null where rows come from. state: the table that it keeps, with its size, in bytes and estimated rows. last_rows: rows of the state written, or of the delta made, when the view last followed, and last_ms the milliseconds that it took; null if that is part of its reader''s statements, or not known (since the server''s start, and for the 1,024 nodes that followed last). path, of groups: whether the rows of the last delta were grouped by columns, without SQL for each row, by one process or several (braid.view_workers), or by SQL. Errors: 42809 not a continuous view, 42501 no SELECT privilege.';

CREATE FUNCTION braid.explain_text(view regclass) RETURNS SETOF text
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN e.depth > 0 THEN repeat('  ', 3 * e.depth - 2) || '->  ' ELSE '' END || e.operator
		|| coalesce('  (' || e.strategy || ')', '')
		|| CASE WHEN e.state IS NULL THEN '' ELSE format('  state=%s bytes=%s rows=%s', e.state, e.bytes, e.rows) END
		|| CASE WHEN e.last_rows IS NULL THEN '' ELSE format('  last: rows=%s time=%s ms', e.last_rows, round(e.last_ms::numeric, 3)) END
		|| coalesce(' path=' || e.path, '')
	FROM braid.explain(explain_text.view) e
$$;
COMMENT ON FUNCTION braid.explain_text(regclass) IS
'What braid.explain() returns, as lines of text in the form of EXPLAIN. Errors: as braid.explain().';

CREATE FUNCTION braid.explain_json(view regclass) RETURNS jsonb
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_agg(to_jsonb(e)) FROM braid.explain(explain_json.view) e
$$;
COMMENT ON FUNCTION braid.explain_json(regclass) IS
'What braid.explain() returns, as an array of objects. Errors: as braid.explain().';

CREATE FUNCTION braid_internal.view_error_is_visible(view oid) RETURNS boolean
AS 'MODULE_PATHNAME', 'braid_sql_view_error_is_visible' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION braid_internal.view_error_is_visible(oid) IS
'Whether the caller may see why a continuous view is broken: members of its owner, of pg_read_all_stats and of braid_operator.';

CREATE VIEW braid.views AS
SELECT c.oid::regclass AS name,
	c.relowner::regrole AS owner,
	x.state,
	s.since,
	i.tables AS base_tables,
	s.strategy,
	CASE WHEN s.state = 'paused' THEN s.frontier ELSE f.frontier END AS frontier,
	CASE WHEN l.lag IS NOT NULL THEN greatest(pg_wal_lsn_diff(braid_internal.wal_end(), w."position"), 0)::bigint END AS lag_bytes,
	l.lag,
	extract(epoch FROM l.lag)::float8 * 1000 AS lag_ms,
	t.rows,
	t.bytes,
	CASE WHEN x.state = 'stopped' THEN braid_internal.capture_problem()
		WHEN s.state = 'live' AND b.what IS NOT NULL THEN b.what
		WHEN s.error IS NULL AND g.problem IS NOT NULL THEN format('its feed: %s', g.problem)
		WHEN n.error IS NULL AND s.error IS NULL THEN NULL
		WHEN NOT braid_internal.view_error_is_visible(v.view) THEN '<insufficient privilege>'
		WHEN n.error IS NOT NULL THEN format('its new query: %s', n.error)
		ELSE s.error END AS last_error,
	n.state AS new_query,
	e.watermark,
	e.late,
	e.dropped,
	e.diverted,
	v.valid_since,
	s.gaps,
	s.last_gap,
	s.gap_reason,
	v.options,
	v.id,
	g.topic AS feed
FROM braid_internal.views v
	JOIN pg_class c ON c.oid = v.view
	CROSS JOIN braid_internal.capture_status() w
	LEFT JOIN braid_internal.capture_statistics() k ON k.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
	CROSS JOIN LATERAL braid_internal.view_inputs(v.view) i
	CROSS JOIN LATERAL braid_internal.view_time(v.id) e
	LEFT JOIN braid_internal.view_states s ON s.id = v.id
	LEFT JOIN LATERAL (
		SELECT min(format('continuous view "%s", which it reads, is %s', bc.relname, bs.state)) AS what
		FROM braid_internal.views bv JOIN pg_class bc ON bc.oid = bv.view
			JOIN braid_internal.view_states bs ON bs.id = bv.id AND bs.rebuilds = bv.rebuilds
		WHERE bv.id = ANY (i.views) AND bs.state IN ('broken', 'paused')) b ON true
	CROSS JOIN LATERAL (
		SELECT CASE WHEN v.paused AND coalesce(s.state, '') <> 'broken' THEN 'paused'
			WHEN w.pid IS NULL AND NOT pg_is_in_recovery() AND coalesce(s.state, '') <> 'broken' THEN 'stopped'
			WHEN s.state IS NULL THEN 'populating'
			WHEN s.rebuilds <> v.rebuilds OR s.state = 'paused' THEN 'rebuilding'
			WHEN s.state = 'live' AND (i.tables::oid[] && w.held_back OR b.what IS NOT NULL) THEN 'held back'
			ELSE s.state END AS state) x
	-- of one that is held back for a lock, no less than that of what is held
	CROSS JOIN LATERAL (
		SELECT CASE WHEN s.state IS DISTINCT FROM 'live' OR pg_is_in_recovery() THEN NULL
			WHEN i.tables::oid[] && w.held_back AND k.held_since IS NOT NULL THEN clock_timestamp() - k.held_since
			WHEN braid_internal.wal_end() <= w."position" THEN interval '0'
			ELSE clock_timestamp() - greatest(w.snapshot_time, k.snapshot_time) END AS lag) l
	LEFT JOIN LATERAL (
		SELECT coalesce(ns.state, 'populating') AS state, ns.error
		FROM braid_internal.views nv LEFT JOIN braid_internal.view_states ns ON ns.id = nv.id
		WHERE nv.replaces = v.id) n ON true
	LEFT JOIN LATERAL (
		SELECT d.topic, braid_internal.feed_problem(c.relowner, d.topic) AS problem
		FROM braid_internal.feeds d WHERE d.relation = v.view) g ON true
	LEFT JOIN LATERAL (
		SELECT sum(pg_stat_get_live_tuples(d.objid))::bigint AS rows, sum(pg_total_relation_size(d.objid))::bigint AS bytes
		FROM pg_depend d JOIN pg_class p ON p.oid = d.objid AND p.relkind = 'r'
		WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = v.view AND d.classid = 'pg_class'::regclass AND d.deptype = 'i') t ON true
	LEFT JOIN LATERAL (
		SELECT frontier FROM braid_internal.frontiers
		WHERE relation = ANY (i.tables) ORDER BY advanced DESC LIMIT 1) f ON true
WHERE v.replaces IS NULL;
COMMENT ON VIEW braid.views IS
'Continuous views. state: populating (new), live, held back (a table cannot be locked just now, a view that it reads is broken or paused, or its feed cannot send), rebuilding, paused (by braid.pause()), broken (see last_error; REFRESH MATERIALIZED VIEW starts anew), stopped (no capture worker runs; last_error says why). On a standby, the state of the primary. frontier: the snapshot whose rows the view shows.';
COMMENT ON COLUMN braid.views.base_tables IS 'Tables that the view reads, also by way of other views';
COMMENT ON COLUMN braid.views.strategy IS 'The dearest among its operators, see braid.explain(): algebraic, combine or affected keys';
COMMENT ON COLUMN braid.views.lag_bytes IS 'WAL, of the whole server, that was written since the view''s worker last looked';
COMMENT ON COLUMN braid.views.lag IS 'Time since then; zero if nothing was written. Of a view that is held back, the time since the oldest commit that waits; null while it is not live, and on a standby';
COMMENT ON COLUMN braid.views.lag_ms IS 'The same in milliseconds';
COMMENT ON COLUMN braid.views.rows IS 'Estimated number of rows of its state tables';
COMMENT ON COLUMN braid.views.bytes IS 'Size of its state tables with their indexes';
COMMENT ON COLUMN braid.views.last_error IS 'Why it is broken, held back or stopped. What its query has failed of is for members of its owner, of pg_read_all_stats and of braid_operator, as it can say what is in rows';
COMMENT ON COLUMN braid.views.new_query IS 'State of what braid.alter_view() makes beside the view: populating, live (and about to take its place), rebuilding, broken (see last_error); null if there is nothing';
COMMENT ON COLUMN braid.views.watermark IS 'How far event time has come, see braid.watermark in the reference; null without one';
COMMENT ON COLUMN braid.views.late IS 'Rows, and changes of rows, that came when their group was closed, since the view was made';
COMMENT ON COLUMN braid.views.dropped IS 'Of these, those that were ignored';
COMMENT ON COLUMN braid.views.diverted IS 'And those that were put aside, see braid.diverted()';
COMMENT ON COLUMN braid.views.valid_since IS 'For columns that braid.alter_view() has added and that are null in older groups: the watermark of then';
COMMENT ON COLUMN braid.views.gaps IS 'How often the view has gone on although rows of streams that it reads may be missing: the slot was lost, it was restored from a dump, broken or paused';
COMMENT ON COLUMN braid.views.last_gap IS 'When that was last';
COMMENT ON COLUMN braid.views.gap_reason IS 'And why';
COMMENT ON COLUMN braid.views.feed IS 'The topic that its changes go to, see braid.feed in the reference';
COMMENT ON COLUMN braid.views.options IS 'Options as given to braid.create_view()';
REVOKE ALL ON braid.views FROM PUBLIC;
GRANT SELECT ON braid.views TO PUBLIC;

CREATE VIEW braid.feeds AS
SELECT c.oid::regclass AS relation,
	f.topic,
	f.key,
	CASE WHEN s.error IS NOT NULL OR w.pid IS NULL AND NOT pg_is_in_recovery() THEN 'stopped'
		WHEN p.problem IS NOT NULL THEN 'held back'
		WHEN s.shape IS NULL THEN 'waiting'
		ELSE 'live' END AS state,
	s.since,
	CASE WHEN s.error IS NULL AND w.pid IS NULL AND NOT pg_is_in_recovery() THEN braid_internal.capture_problem()
		WHEN s.error IS NULL THEN p.problem
		WHEN NOT braid_internal.view_error_is_visible(f.relation) THEN '<insufficient privilege>'
		ELSE s.error END AS last_error
FROM braid_internal.feeds f
	JOIN pg_class c ON c.oid = f.relation
	LEFT JOIN braid_internal.feed_states s ON s.relation = f.relation AND s.topic = f.topic AND s.requests = f.requests
	CROSS JOIN LATERAL braid_internal.feed_problem(c.relowner, f.topic) p(problem)
	CROSS JOIN braid_internal.capture_status() w;
COMMENT ON VIEW braid.feeds IS
'Changefeeds of continuous views and tables. state: waiting (a snapshot of all rows is still to be sent, by the next cycle), live, held back (it cannot send, see last_error: nothing is lost, WAL is kept), stopped (see last_error: no capture worker runs; or, of a table, an error, after which ALTER TABLE ... SET (braid.feed = ...) begins anew). What a view sends depends on its state in braid.views too.';
COMMENT ON COLUMN braid.feeds.key IS 'The columns given by braid.feed_key; null: those that follow from the view or table';
COMMENT ON COLUMN braid.feeds.since IS 'When the snapshot was sent that the feed began with, or it stopped';
REVOKE ALL ON braid.feeds FROM PUBLIC;
GRANT SELECT ON braid.feeds TO PUBLIC;
COMMENT ON COLUMN braid.feeds.last_error IS 'Why it is held back or stopped; what its rows failed of is for members of the owner, of pg_read_all_stats and of braid_operator';

CREATE FUNCTION braid_internal.deviation(variance numeric) RETURNS numeric
AS 'MODULE_PATHNAME', 'braid_sql_deviation' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.deviation(numeric) IS
'Square root of a variance, with the digits of PostgreSQL''s stddev aggregates. Continuous views call it when they are read.';

CREATE FUNCTION braid_internal.scale_count_step(state bigint, value numeric, weight bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_scale_count_step' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.scale_count_step(bigint, numeric, bigint) IS 'Transition function of braid_internal.scale_count().';
CREATE FUNCTION braid_internal.scale_count_combine(state bigint, other bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_scale_count_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.scale_count_combine(bigint, bigint) IS 'Combine function of braid_internal.scale_count().';
CREATE FUNCTION braid_internal.scale_count_final(state bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_scale_count_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.scale_count_final(bigint) IS 'Final function of braid_internal.scale_count().';
CREATE AGGREGATE braid_internal.scale_count(value numeric, weight bigint) (
	SFUNC = braid_internal.scale_count_step, STYPE = bigint, INITCOND = '0',
	FINALFUNC = braid_internal.scale_count_final, COMBINEFUNC = braid_internal.scale_count_combine,
	PARALLEL = SAFE);
COMMENT ON AGGREGATE braid_internal.scale_count(numeric, bigint) IS
'The sum of the weights of those values that have the highest scale of all. Continuous views keep it beside a sum, to know when its scale goes down.';

CREATE FUNCTION braid_internal.exact(x float8) RETURNS numeric
AS 'MODULE_PATHNAME', 'braid_sql_exact' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact(float8) IS
'The exact value of a float, all digits of it; for infinities and NaN powers of ten from 10^400 on, which braid_internal.exact_sum() knows. Continuous views add floats as such numbers, so that they can be subtracted again.';
CREATE FUNCTION braid_internal.exact_product(x float8, y float8) RETURNS numeric
AS 'MODULE_PATHNAME', 'braid_sql_exact_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_product(float8, float8) IS
'The exact product of two floats; 0 if one of them is not finite.';
CREATE FUNCTION braid_internal.exact_sum(sum numeric) RETURNS float8
AS 'MODULE_PATHNAME', 'braid_sql_exact_sum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_sum(numeric) IS
'The float nearest to a sum of braid_internal.exact(). Continuous views call it when they are read. Errors: 22003 there is none.';
CREATE FUNCTION braid_internal.comoment(n bigint, x numeric, y numeric, xy numeric) RETURNS float8
AS 'MODULE_PATHNAME', 'braid_sql_comoment' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.comoment(bigint, numeric, numeric, numeric) IS
'The sum of (x - avg(x)) * (y - avg(y)) over n pairs of floats, from the sums of braid_internal.exact() of x and y and of their braid_internal.exact_product(). Continuous views call it when they are read. Errors: 22003 it is too large for a float.';

CREATE FUNCTION braid_internal.exact_moments_step(state internal, x float8) RETURNS internal
AS 'MODULE_PATHNAME', 'braid_sql_moments_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_moments_step(internal, float8) IS 'Transition function of braid_internal.exact_moments(float8).';
CREATE FUNCTION braid_internal.exact_moments_step(state internal, y float8, x float8) RETURNS internal
AS 'MODULE_PATHNAME', 'braid_sql_moments_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_moments_step(internal, float8, float8) IS 'Transition function of braid_internal.exact_moments(float8, float8).';
CREATE FUNCTION braid_internal.exact_moments_final(state internal) RETURNS float8[]
AS 'MODULE_PATHNAME', 'braid_sql_moments_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_moments_final(internal) IS 'Final function of braid_internal.exact_moments(float8).';
CREATE FUNCTION braid_internal.exact_moments_of_pairs_final(state internal) RETURNS float8[]
AS 'MODULE_PATHNAME', 'braid_sql_moments_of_pairs_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION braid_internal.exact_moments_of_pairs_final(internal) IS 'Final function of braid_internal.exact_moments(float8, float8).';
CREATE AGGREGATE braid_internal.exact_moments(x float8) (
	SFUNC = braid_internal.exact_moments_step, STYPE = internal,
	FINALFUNC = braid_internal.exact_moments_final);
COMMENT ON AGGREGATE braid_internal.exact_moments(float8) IS
'Number, sum, and sum of squared differences from the average: what avg(), variance() and the like compute of floats first, but rounded once. braid.verify() compares with that.';
CREATE AGGREGATE braid_internal.exact_moments(y float8, x float8) (
	SFUNC = braid_internal.exact_moments_step, STYPE = internal,
	FINALFUNC = braid_internal.exact_moments_of_pairs_final);
COMMENT ON AGGREGATE braid_internal.exact_moments(float8, float8) IS
'The same of pairs, as for corr() and the like: number, sum and sum of squared differences of x, the same of y, and the sum of products of the differences.';
CREATE FUNCTION braid_internal.sum_of_moments(moments float8[]) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN moments[1] > 0 THEN moments[2] END;
COMMENT ON FUNCTION braid_internal.sum_of_moments(float8[]) IS 'The sum in what braid_internal.exact_moments() returns; null if there are no values.';
