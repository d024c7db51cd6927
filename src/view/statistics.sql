
-- ---------------------------------------------------------------- view: statistics

CREATE FUNCTION braid_internal.view_statistics(OUT id int, OUT cycles bigint, OUT rows bigint, OUT rebuilds bigint,
	OUT merge_time double precision, OUT max_merge_time double precision, OUT last_minute bigint,
	OUT last_change timestamptz, OUT stats_reset timestamptz,
	OUT transactions bigint, OUT total_time double precision, OUT mean_time double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision, OUT max_time double precision)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'braid_sql_view_statistics' LANGUAGE C VOLATILE STRICT ROWS 100;
COMMENT ON FUNCTION braid_internal.view_statistics() IS 'What was counted for the continuous views of this database; times in milliseconds';
CREATE FUNCTION braid_internal.view_statistics_reset(id int) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_view_statistics_reset' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.view_statistics_reset(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.view_statistics_reset(int) TO braid_operator;
COMMENT ON FUNCTION braid_internal.view_statistics_reset(int) IS 'Sets what was counted for a continuous view of this database to zero; 0: for all of them';
CREATE FUNCTION braid_internal.view_statistics_room() RETURNS int
AS 'MODULE_PATHNAME', 'braid_sql_view_statistics_room' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.view_statistics_room() IS 'How many more continuous views can have statistics';

CREATE VIEW braid.stat_views AS
	SELECT v.name, s.cycles, s.transactions, s.rows,
		s.total_time AS total_response_time, s.mean_time AS avg_response_time,
		coalesce(s.transactions / nullif(extract(epoch FROM pg_catalog.clock_timestamp() - s.stats_reset)::double precision, 0), 0)
			AS throughput,
		coalesce(s.last_minute / greatest(1, least(60, extract(epoch FROM pg_catalog.clock_timestamp() - s.stats_reset)))::double precision, 0)
			AS throughput_last_minute,
		s.p50, s.p95, s.p99, s.max_time AS max_response_time,
		v.lag_bytes, v.lag_ms,
		s.merge_time, s.max_merge_time, s.rebuilds, s.last_change, s.stats_reset, v.id
	FROM braid.views v JOIN braid_internal.view_statistics() s ON s.id = v.id;
REVOKE ALL ON braid.stat_views FROM PUBLIC;
GRANT SELECT ON braid.stat_views TO PUBLIC;
COMMENT ON VIEW braid.stat_views IS
'What was done for each continuous view since stats_reset: the server''s start or the making of the view, if there was none. The response time of a transaction is that from its commit to the moment at which the view shows it. Times in milliseconds; percentiles are at most 1/16 off, the rest is exact.';
COMMENT ON COLUMN braid.stat_views.cycles IS 'Cycles in which there was something to do for the view';
COMMENT ON COLUMN braid.stat_views.transactions IS 'Transactions that have changed a table of the view while it was live; throughput is their number per second';
COMMENT ON COLUMN braid.stat_views.rows IS 'Rows merged into it: those that came and those that went, of its tables and of the views that it reads; an update is two';
COMMENT ON COLUMN braid.stat_views.merge_time IS 'Time spent in bringing it up to date';
COMMENT ON COLUMN braid.stat_views.rebuilds IS 'How often it was populated anew, the first time not counted';
COMMENT ON COLUMN braid.stat_views.last_change IS 'When it last had something to do that is visible';

CREATE FUNCTION braid.stat_views_reset(view regclass DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted int := 0;
BEGIN
	IF stat_views_reset.view IS NOT NULL THEN
		SELECT s.id INTO wanted FROM braid.stat_views s WHERE s.name = stat_views_reset.view;
		IF wanted IS NULL THEN
			RAISE EXCEPTION '"%" has no statistics', (SELECT relname FROM pg_class WHERE oid = stat_views_reset.view) USING ERRCODE = 'wrong_object_type',
				HINT = 'braid.stat_views shows those that have.';
		END IF;
	END IF;
	PERFORM braid_internal.view_statistics_reset(wanted);
END
$$;
REVOKE ALL ON FUNCTION braid.stat_views_reset(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.stat_views_reset(regclass) TO braid_operator;
COMMENT ON FUNCTION braid.stat_views_reset(regclass) IS
'Sets the statistics of a continuous view in braid.stat_views to zero, or those of all views of this database. For members of braid_operator. Errors: 42809 it has none.';
