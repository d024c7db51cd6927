-- The contracts of what braid counts for continuous views.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE EXTENSION IF NOT EXISTS pgtap;
SET search_path = public;
SELECT plan(17);
SELECT has_view('braid', 'stat_views', 'braid.stat_views exists');
SELECT columns_are('braid', 'stat_views', ARRAY['name', 'cycles', 'transactions', 'rows', 'total_response_time', 'avg_response_time',
	'throughput', 'throughput_last_minute', 'p50', 'p95', 'p99', 'max_response_time', 'lag_bytes', 'lag_ms', 'merge_time', 'max_merge_time', 'rebuilds', 'last_change', 'stats_reset', 'id']);
SELECT table_privs_are('braid', 'stat_views', 'public', ARRAY['SELECT'], 'everybody may see braid.stat_views');
SELECT has_view('braid', 'stat_capture', 'braid.stat_capture exists');
SELECT columns_are('braid', 'stat_capture', ARRAY['datid', 'datname', 'pid', 'slot_name', 'position', 'snapshot_time', 'wal_kept', 'wal_status', 'safe_wal_size',
	'starts', 'cycles', 'changing_cycles', 'transactions', 'rows', 'wal_decoded', 'cycle_time', 'decode_time', 'apply_time', 'max_cycle_time',
	'held_transactions', 'held_since', 'held_back_tables', 'spill_transactions', 'spill_count', 'spill_bytes', 'large_transactions', 'large_count', 'large_bytes', 'memory', 'max_memory', 'stats_reset']);
SELECT table_privs_are('braid', 'stat_capture', 'public', ARRAY['SELECT'], 'everybody may see braid.stat_capture');
SELECT function_privs_are('braid', 'stat_views_reset', ARRAY['regclass'], 'braid_operator', ARRAY['EXECUTE'], 'operators may reset statistics of views');
SELECT function_privs_are('braid', 'stat_views_reset', ARRAY['regclass'], 'pg_monitor', ARRAY[]::text[], 'who only watches may not');
SELECT function_privs_are('braid', 'stat_capture_reset', ARRAY[]::text[], 'braid_operator', ARRAY['EXECUTE'], 'operators may reset statistics of workers');
SELECT function_privs_are('braid', 'stat_capture_reset', ARRAY[]::text[], 'pg_monitor', ARRAY[]::text[], 'who only watches may not');
SELECT function_privs_are('braid', 'doctor', ARRAY['interval'], 'pg_monitor', ARRAY['EXECUTE'], 'who watches may ask the doctor');
SELECT throws_ok($$SELECT braid.stat_views_reset('pg_class')$$, '42809', NULL, 'a table has no statistics');
SELECT lives_ok($$SELECT braid.stat_views_reset(), braid.stat_capture_reset()$$, 'without a view all are reset, even if there are none');
SELECT throws_ok($$SELECT braid.verify('pg_class', sample => 0.5)$$, '42809', NULL, 'a table cannot be verified');
SELECT is(current_setting('braid.view_max_statistics'), '1000', 'room for the statistics of 1,000 views');
SELECT is(current_setting('braid.view_log_min_duration'), '-1', 'slow views are not logged');
SELECT is(current_setting('braid.view_lag_alarm'), '1min', 'a minute of lag is a reason to warn');
SELECT * FROM finish();
