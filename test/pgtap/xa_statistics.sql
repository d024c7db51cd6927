-- Contracts of the statistics of global transactions.
BEGIN;
SELECT plan(30);

SELECT columns_are('braid', 'stat_xa',
	ARRAY['datid', 'datname', 'xact_begun', 'xact_commit_one_phase', 'xact_commit_two_phase', 'xact_rollback', 'in_doubt',
		'left_to_recovery', 'recovery_commits', 'recovery_rollbacks', 'heuristic_commits', 'heuristic_rollbacks', 'heuristic_mixed',
		'deadlocks', 'waits_canceled', 'waits_timed_out', 'waits_terminated', 'requests', 'total_response_time',
		'avg_response_time', 'throughput', 'throughput_last_minute', 'stats_reset'],
	'columns of braid.stat_xa');
SELECT columns_are('braid', 'stat_xa_phase',
	ARRAY['datid', 'datname', 'phase', 'requests', 'total_time', 'mean_time', 'p50', 'p95', 'p99', 'max_time'],
	'columns of braid.stat_xa_phase');
SELECT columns_are('braid', 'stat_xa_branch',
	ARRAY['serverid', 'server', 'prepared', 'committed', 'rolled_back', 'recovery_commits', 'failed_attempts', 'retries',
		'requests', 'total_time', 'mean_time', 'p50', 'p95', 'p99', 'max_time', 'last_error', 'last_error_time'],
	'columns of braid.stat_xa_branch');
SELECT columns_are('braid', 'activity',
	ARRAY['datid', 'datname', 'pid', 'usename', 'backend_type', 'wait_event', 'since', 'age', 'gid'],
	'columns of braid.activity');
SELECT isnt(obj_description(format('braid.%I', v)::regclass), NULL, 'braid.' || v || ' has a comment')
	FROM unnest(ARRAY['stat_xa', 'stat_xa_phase', 'stat_xa_branch', 'activity']) v;
SELECT table_privs_are('braid', v, 'pg_read_all_stats', ARRAY['SELECT'], 'pg_read_all_stats reads braid.' || v)
	FROM unnest(ARRAY['stat_xa', 'stat_xa_phase', 'stat_xa_branch']) v;
SELECT table_privs_are('braid', 'activity', 'pg_monitor', ARRAY['SELECT'], 'pg_monitor reads braid.activity');
SELECT is((SELECT count(*)::int FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.oid IN ('braid.stat_xa'::regclass, 'braid.stat_xa_phase'::regclass, 'braid.stat_xa_branch'::regclass, 'braid.activity'::regclass)
	AND a.grantee = 0), 0, 'the public reads none of them');
SELECT function_returns('braid', 'stat_xa_reset', ARRAY[]::name[], 'void', 'braid.stat_xa_reset() returns nothing');
SELECT function_privs_are('braid', 'stat_xa_reset', ARRAY[]::name[], 'braid_operator', ARRAY['EXECUTE'], 'an operator may reset');
SELECT function_privs_are('braid', 'stat_xa_reset', ARRAY[]::name[], 'pg_monitor', ARRAY[]::name[], 'a monitor may not');
SELECT isnt(obj_description('braid.stat_xa_reset()'::regprocedure), NULL, 'braid.stat_xa_reset() has a comment');

SELECT set_eq('SELECT datname FROM braid.stat_xa', 'SELECT datname FROM pg_database', 'a row for each database, and no other');
SELECT lives_ok('SELECT braid.stat_xa_reset()', 'a reset without traffic');
SELECT is((SELECT ARRAY[xact_begun, requests, in_doubt] FROM braid.stat_xa WHERE datname = current_database()),
	ARRAY[0, 0, 0]::bigint[], 'all is zero after it');
SELECT is((SELECT stats_reset BETWEEN now() AND clock_timestamp() FROM braid.stat_xa WHERE datname = current_database()),
	true, 'and has the time of the reset');
SELECT is((SELECT array_agg(phase) FROM braid.stat_xa_phase WHERE datname = current_database()),
	ARRAY['enlist', 'prepare', 'local commit', 'wait', 'total', 'finish'], 'the phases');
SELECT is_empty('SELECT * FROM braid.stat_xa_branch', 'no server, no branches');
SELECT is(current_setting('braid.xa_log_transactions') || ' ' || current_setting('braid.xa_log_min_duration'), 'off -1',
	'nothing is logged unless asked for');

-- Percentiles of known distributions: nearest rank, exact below 32 us.
SELECT is(braid_internal.percentiles(ARRAY(SELECT generate_series(1, 20)), ARRAY[0, 0.05, 0.5, 0.51, 0.95, 0.99, 1]),
	ARRAY[1, 1, 10, 11, 19, 20, 20]::bigint[], 'percentiles of 1 to 20 are exact');
-- 2^20 is the least duration of its bucket.
SELECT is(braid_internal.percentiles(ARRAY[1048576], ARRAY[0.5, 1]),
	ARRAY[1048576, 1048576]::bigint[], 'nothing is above the maximum');
SELECT is(braid_internal.percentiles(ARRAY[-5, 10000000000], ARRAY[0.5]), ARRAY[0]::bigint[], 'a negative duration is none');
SELECT is(braid_internal.percentiles('{}', ARRAY[0.5]), NULL, 'nothing has no percentiles');
-- Every duration alone, with a longer one so that the maximum does not hide the error.
SELECT is_empty($$
	SELECT us, q FROM (SELECT us, (braid_internal.percentiles(ARRAY[us, us * 2], ARRAY[0.5]))[1] AS q
		FROM (SELECT generate_series(1, 5000) UNION SELECT (1.01 ^ e)::bigint FROM generate_series(1, 2100) e
			UNION SELECT (2 ^ e)::bigint - d FROM generate_series(5, 30) e, generate_series(-1, 1) d) d(us)) p
	WHERE abs(q - us) > us / 32.0 $$, 'a percentile is at most 1/32 off, up to 20 minutes');
SELECT is_empty($$
	WITH v AS (SELECT round(1000 * exp(5 * i / 10000.0))::bigint AS us FROM generate_series(1, 10000) i),
		p AS (SELECT share, q FROM unnest(ARRAY[0.5, 0.95, 0.99], braid_internal.percentiles(ARRAY(SELECT us FROM v), ARRAY[0.5, 0.95, 0.99])) u(share, q))
	SELECT * FROM p WHERE abs(q - (SELECT percentile_disc(share) WITHIN GROUP (ORDER BY us) FROM v)) > q / 31.0 $$,
	'percentiles of 10,000 durations agree with percentile_disc()');

SELECT * FROM finish();
ROLLBACK;
