
-- ---------------------------------------------------------------- view: doctor

-- What continuous views need of the server. From what everybody may read.
CREATE FUNCTION braid_internal.view_checkup_server(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH s AS (
		SELECT count(*) FILTER (WHERE state IN ('broken', 'paused')) = count(*) AS all_idle,
			count(*) FILTER (WHERE v.id NOT IN (SELECT id FROM braid_internal.view_statistics())) AS uncounted,
			bool_or(w.pid IS NOT NULL) AS has_worker, count(*) AS views
		FROM braid.views v, braid_internal.capture_status() w
	), slots AS (
		SELECT count(*) AS n, count(*) FILTER (WHERE plugin = 'braid' AND database = current_database()) AS ours,
			current_setting('max_replication_slots')::int AS max
		FROM pg_replication_slots
	), wal AS (
		SELECT wal_kept, wal_status, safe_wal_size, current_setting('max_slot_wal_keep_size') AS limit_setting,
			nullif((SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size')::bigint, -1) * 1024 * 1024 AS most,
			nullif(pg_size_bytes(current_setting('braid.capture_wal_warning')), 0) AS many
		FROM (SELECT) one LEFT JOIN braid.stat_capture ON datname = current_database()
	)
	SELECT c.item, coalesce(c.fault, 'ok'), c.detail, CASE WHEN c.fault IS NOT NULL THEN c.advice END
	FROM s, slots, wal, LATERAL (VALUES
		('wal_level', CASE WHEN current_setting('wal_level') <> 'logical' THEN 'error' END,
			format('wal_level = %s', current_setting('wal_level')),
			'Set "wal_level" to logical and restart the server: continuous views stand still.'),
		('capture worker', CASE WHEN NOT all_idle AND NOT has_worker AND NOT pg_is_in_recovery() THEN 'error' END,
			CASE WHEN has_worker THEN 'it runs' WHEN pg_is_in_recovery() THEN 'it runs on the primary'
				WHEN all_idle THEN 'it is not needed: all continuous views are broken or paused' ELSE 'it does not run' END,
			'See the server log for messages of "braid capture"; raise "max_worker_processes" and "braid.max_workers" if there is no room for it.'),
		('replication slots', CASE WHEN NOT all_idle AND ours = 0 AND slots.n >= max AND NOT pg_is_in_recovery() THEN 'error' END,
			format('%s of %s', slots.n, max),
			'Raise "max_replication_slots" and restart the server, or drop a slot that nobody uses: continuous views need one in each database.'),
		('replication slot', CASE wal_status WHEN 'lost' THEN 'error' WHEN 'unreserved' THEN 'error' END,
			coalesce(wal_status, 'there is none'),
			'It has fallen behind by more than "max_slot_wal_keep_size": the views are rebuilt when it is lost. Raise that setting if it happens again.'),
		('WAL kept', CASE WHEN safe_wal_size < most / 2 OR wal_kept > many THEN 'warning' END,
			format('%s, max_slot_wal_keep_size = %s, braid.capture_wal_warning = %s', coalesce(pg_size_pretty(wal_kept), 'none'), limit_setting,
				current_setting('braid.capture_wal_warning')),
			'See which views are held back, and pg_stat_activity for old transactions: WAL is kept from the begin of the oldest one on. If the limit is reached the views are rebuilt; without one the disk can fill up.'),
		('room for statistics', CASE WHEN uncounted > 0 AND has_worker THEN 'warning' END,
			format('%s continuous views without statistics, braid.view_max_statistics = %s', uncounted, current_setting('braid.view_max_statistics')),
			'Raise "braid.view_max_statistics" and restart the server.')
	) c(item, fault, detail, advice)
	WHERE s.views > 0
$$;
REVOKE ALL ON FUNCTION braid_internal.view_checkup_server() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.view_checkup_server() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.view_checkup_server() IS
'Preconditions of continuous views that concern the server: ok, warning or error, with what is seen and what to do; no rows if this database has no views';

-- Who holds, or waits for, a lock that keeps the worker from a view's tables or states.
CREATE FUNCTION braid_internal.view_lock_holders(view regclass, tables regclass[]) RETURNS text
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(DISTINCT coalesce('process ' || l.pid, 'a prepared transaction'), ', ')
	FROM pg_locks l
	WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND CASE WHEN l.relation = ANY (tables::oid[] || view::oid)
				OR l.relation IN (SELECT p.relid FROM unnest(tables) b, pg_partition_tree(b) p)
			THEN l.mode = 'AccessExclusiveLock'
			WHEN l.relation IN (SELECT objid FROM pg_depend
				WHERE refclassid = 'pg_class'::regclass AND refobjid = view AND classid = 'pg_class'::regclass AND deptype = 'i')
			THEN l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') END
$$;
COMMENT ON FUNCTION braid_internal.view_lock_holders(regclass, regclass[]) IS
'Processes whose locks, held or waited for, keep the capture worker from a continuous view over these tables; null: none';

-- Each view in trouble, and what it stands on.
CREATE FUNCTION braid_internal.view_checkup_views(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH v AS MATERIALIZED (
		SELECT *, clock_timestamp() - since AS age, date_trunc('milliseconds', lag) AS for_long,
			current_setting('braid.view_lag_alarm')::interval AS patience
		FROM braid.views
	), trouble AS (
		SELECT v.name::text AS name, c.* FROM v, LATERAL (VALUES
			(state = 'broken', 'error', format('it is broken: %s', last_error),
				format('Mend the cause, then run REFRESH MATERIALIZED VIEW %s.', name)),
			(state = 'held back' AND (lag > patience OR last_error IS NOT NULL), 'warning',
				format('it is held back%s', coalesce(': ' || last_error, format(' for %s by %s', for_long,
					coalesce(braid_internal.view_lock_holders(name, base_tables), 'a lock that was let go of just now')))),
				CASE WHEN last_error LIKE 'its feed: %' THEN format('GRANT INSERT on the topic to the view''s owner, or end the feed: ALTER MATERIALIZED VIEW %s RESET (braid.feed).', name)
					WHEN last_error IS NOT NULL THEN 'Mend, or resume, the view that it reads.'
					ELSE 'See pg_stat_activity for what the process does; end it by pg_terminate_backend() if need be.' END),
			(state IN ('populating', 'rebuilding') AND age > 10 * patience, 'warning',
				format('it is %s since %s', state, date_trunc('second', since)),
				'See braid.progress for how far it is, and the server log for why it may have begun anew.'),
			(state = 'paused' AND age > interval '1 day', 'warning', format('it is paused since %s', date_trunc('second', since)),
				format('Run SELECT braid.resume(%L), or drop it.', name)),
			(state = 'live' AND lag > patience, 'warning', format('it lags %s behind', for_long),
				'See braid.stat_capture for what the capture worker does; set "braid.view_log_min_duration" to see in the log which views take long.'),
			(last_gap > now() - interval '1 day', 'warning',
				format('rows of streams that it reads may be missing since %s: %s', date_trunc('second', last_gap), gap_reason),
				'It cannot be made anew, as streams keep no rows. Drop it and create it again if it is to begin anew.'),
			(new_query = 'broken', 'warning', last_error,
				format('Run braid.alter_view(%L, ...) with a query that can be run.', name))
		) c(is_so, fault, detail, advice)
		WHERE c.is_so
	)
	SELECT format('continuous view %s', name), fault, detail, advice FROM trouble
	UNION ALL
	SELECT format('changefeed of table %s', f.relation), CASE f.state WHEN 'stopped' THEN 'error' ELSE 'warning' END,
		format('it is %s%s', f.state, ': ' || f.last_error),
		CASE f.state WHEN 'stopped' THEN 'Mend the cause, then run ALTER TABLE ... SET (braid.feed = ...) again, if the capture worker runs.'
			ELSE 'GRANT INSERT on the topic to the table''s owner, or end the feed: ALTER TABLE ... RESET (braid.feed).' END
	FROM braid.feeds f JOIN pg_class c ON c.oid = f.relation AND c.relkind <> 'v'
	WHERE f.state IN ('stopped', 'held back')
	UNION ALL
	SELECT 'continuous views', 'ok', format('%s, none in trouble', (SELECT count(*) FROM v)), NULL
	WHERE NOT EXISTS (SELECT FROM trouble) AND EXISTS (SELECT FROM v)
$$;
REVOKE ALL ON FUNCTION braid_internal.view_checkup_views() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.view_checkup_views() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.view_checkup_views() IS
'Continuous views of this database that an operator should look at, with what is seen and what to do';

GRANT SELECT ON braid_internal.frontiers TO pg_monitor, braid_operator;

CREATE FUNCTION braid_internal.view_checkup_tables(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH v AS MATERIALIZED (
		SELECT name, id, base_tables FROM braid.views WHERE state NOT IN ('broken', 'paused')
	), members AS (
		SELECT unnest(relation || members) AS relid FROM braid_internal.frontiers
	), identity AS (
		SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) AS tables, count(*) AS n
		FROM pg_class c
		WHERE c.oid IN (SELECT relid FROM members) AND c.relkind = 'r' AND c.relreplident <> 'f'
	), states AS (
		SELECT v.name AS view, c.oid AS state, c.oid::regclass::text AS name,
			pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
			EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid) AS is_indexed,
			(SELECT min(x.indexrelid::regclass::text) FROM pg_index x WHERE x.indrelid = c.oid AND NOT x.indisvalid) AS invalid
		FROM v JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.name::oid
			AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
		JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r' AND c.relname ~ '^state_[0-9]+_[0-9]+$'
	), trouble AS (
		SELECT format('state %s of %s', s.name, s.view) AS item, c.* FROM states s, LATERAL (VALUES
			(NOT is_indexed, 'error', 'it has no index: the view is not kept up to date',
				'Drop the view and make it anew, or end the restore that is to make the index.'),
			(invalid IS NOT NULL, 'error', format('index %s is not valid', invalid), format('Run REINDEX INDEX %s.', invalid)),
			(dead > live AND dead > 50000, 'warning', format('%s dead rows, %s live ones', dead, live),
				format('Run VACUUM %s. If they stay, an old transaction or slot holds VACUUM back: see pg_stat_activity.backend_xmin and pg_replication_slots.catalog_xmin.', s.name))
		) c(is_so, fault, detail, advice)
		WHERE c.is_so
	)
	SELECT 'replica identities', CASE WHEN n > 0 THEN 'warning' ELSE 'ok' END,
		CASE WHEN n > 0 THEN format('not FULL: %s', tables) ELSE 'FULL for all tables of continuous views' END,
		CASE WHEN n > 0 THEN 'The capture worker sets it when it can lock the table, and rebuilds the views; see who holds a lock. Or run ALTER TABLE ... REPLICA IDENTITY FULL, and then REFRESH MATERIALIZED VIEW.' END
	FROM identity WHERE EXISTS (SELECT FROM v)
	UNION ALL
	SELECT item, fault, detail, advice FROM trouble
	UNION ALL
	SELECT 'states', 'ok', format('%s tables', (SELECT count(*) FROM states)), NULL
	WHERE NOT EXISTS (SELECT FROM trouble) AND EXISTS (SELECT FROM v)
$$;
REVOKE ALL ON FUNCTION braid_internal.view_checkup_tables() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.view_checkup_tables() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.view_checkup_tables() IS
'Tables that continuous views of this database read, and those that they are kept in, as far as an operator should look at them';
