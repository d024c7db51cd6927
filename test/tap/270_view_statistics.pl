# What braid.stat_views and braid.stat_capture count after traffic that is known, how
# long a commit takes to be visible, as far as that follows from what the test does, and
# what the log says.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('node', { conf => "braid.view_max_statistics = 4\nlog_min_messages = log\n" });
my $node = $cluster->node('node');

sub sql { return $cluster->sql('node', $_[0]); }

# All that was committed is in all views; their statistics were written before.
sub settle
{
	my @views = split /\n/, sql("SELECT name FROM braid.views WHERE state NOT IN ('broken', 'paused')");
	sql("SELECT braid.wait('$_', '60 s')") eq 't' or die "$_ does not catch up" for @views;
	return;
}

sub counted
{
	my ($view, $columns) = @_;
	return sql("SELECT $columns FROM braid.stat_views WHERE name = '$view'::regclass");
}

sub captured { return sql("SELECT $_[0] FROM braid.stat_capture WHERE datname = 'postgres'"); }

sub reset_statistics { return sql('SELECT braid.stat_views_reset(), braid.stat_capture_reset()'); }

sub logged
{
	my ($pattern, $from) = @_;
	return PostgreSQL::Test::Utils::slurp_file($node->logfile, $from // 0) =~ $pattern;
}

sql('CREATE TABLE t (id int PRIMARY KEY, k int, v int, note text); CREATE TABLE u (k int, name text); CREATE TABLE unrelated (x int);
	INSERT INTO t SELECT g, g % 10, g FROM generate_series(1, 100) g; INSERT INTO u SELECT g, \'name \' || g FROM generate_series(0, 9) g');
sql('SET client_min_messages = warning;
	CREATE MATERIALIZED VIEW sums WITH (braid.continuous) AS SELECT k, count(*) AS n, sum(v) AS v FROM t GROUP BY k;
	CREATE MATERIALIZED VIEW joined WITH (braid.continuous) AS SELECT t.id, t.v, u.name FROM t JOIN u USING (k);
	CREATE MATERIALIZED VIEW large WITH (braid.continuous) AS SELECT k, v FROM sums WHERE v > 100');
settle();
is(counted($_, 'transactions, rows, rebuilds, total_response_time, avg_response_time IS NULL, p50 IS NULL, throughput'), '0|0|0|0|t|t|0',
	"$_: what was there when it was populated is not counted") for 'sums', 'joined', 'large';
ok(logged(qr/LOG:  continuous view "$_" is live/), "the log says that $_ is live") for 'sums', 'joined', 'large';
ok(logged(qr/LOG:  capture worker begins to follow/), 'and that the worker has begun');

# ---- what is counted
reset_statistics();
sql("INSERT INTO t VALUES (1000 + $_, 1, 1)") for 1 .. 3;
sql('UPDATE t SET v = v + 1 WHERE id <= 5');
sql("UPDATE u SET name = 'another' WHERE k = 1");
sql('BEGIN; DELETE FROM t WHERE id = 6; UPDATE u SET name = \'changed\' WHERE k = 2; INSERT INTO t VALUES (6, 2, 6); COMMIT');
sql('BEGIN; SAVEPOINT a; INSERT INTO t VALUES (2000, 1, 1); ROLLBACK TO a; INSERT INTO t VALUES (2001, 1, 1); COMMIT');
sql('BEGIN; INSERT INTO t VALUES (3000, 1, 1); ROLLBACK');
sql('INSERT INTO unrelated VALUES (1)');
sql("UPDATE t SET note = 'no view reads this' WHERE id = 7");
settle();
is(counted('sums', 'transactions, rows'), '6|16', 'transactions that have changed the table, and their rows: 3 + 5 * 2 + 2 + 1');
is(counted('joined', 'transactions, rows'), '7|20', 'a transaction that has changed two tables counts once');
is(counted('large', 'transactions'), '6', 'a view on a view counts what has changed the tables below');
is(captured('transactions, rows'), '7|20', 'the worker has captured as much');
is(counted('sums', 'cycles BETWEEN 1 AND 6, merge_time > 0, max_merge_time <= merge_time, rebuilds, last_change > stats_reset'), 't|t|t|0|t', 'cycles and their time');
is(counted('sums', 'total_response_time > 0, abs(avg_response_time - total_response_time / transactions) < 1e-9, p50 <= p95, p95 <= p99, p99 <= max_response_time, throughput > 0'),
	't|t|t|t|t|t', 'times from commit to visible');
is(captured("starts, cycles >= changing_cycles, changing_cycles BETWEEN 1 AND 7, wal_decoded > 0, decode_time + apply_time <= cycle_time, max_cycle_time <= cycle_time,
	memory BETWEEN 1 AND max_memory, held_transactions, held_since, held_back_tables, slot_name ~ '^braid_', wal_status, wal_kept >= 0, position <= pg_current_wal_insert_lsn()"),
	'0|t|t|t|t|t|t|0||0|t|reserved|t|t', 'the worker');
ok($node->poll_query_until('postgres', "SELECT throughput_last_minute > 0 FROM braid.stat_views WHERE name = 'sums'::regclass"), 'throughput of the last minute');

# ---- a cycle that is delayed: the response time lies between what the test knows
# Returns the least and the most that it can have been, in milliseconds.
sub delayed
{
	my ($name, $delay, $finish) = @_;
	my $clock = 'SELECT extract(epoch FROM clock_timestamp()) * 1000';
	my $before = sql($clock);
	sql('INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 3, 1)');
	my $committed = sql($clock);
	$delay->();
	sql('SELECT pg_sleep(0.4)');
	my $released = sql($clock);
	$finish->();
	settle();
	my $visible = sql($clock);
	my ($least, $most) = ($released - $committed, $visible - $before);
	is(counted('sums', 'transactions'), '1', "$name: one transaction");
	is(counted('sums', "total_response_time BETWEEN $least AND $most, avg_response_time = total_response_time, max_response_time = total_response_time"), 't|t|t',
		"$name: its time from commit to visible is as long as the delay");
	is(counted('sums', "p50 BETWEEN $least * 15 / 16 AND $most, p95 = p50, p99 = p50"), 't|t|t', "$name: and so are the percentiles, within 1/16");
	return;
}

reset_statistics();
$cluster->failpoint('node', 'capture-applied', 'wait');
delayed('a slow cycle', sub { $cluster->wait_for('node', "SELECT braid_internal.failpoint_waiting('capture-applied') = 1") },
	sub { $cluster->failpoint('node', 'capture-applied', 'off') });

# ---- held back: the table is locked, the lag is that of what waits
reset_statistics();
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK u');
delayed('held back',
	sub {
		ok($cluster->wait_for('node', "SELECT held_transactions = 1 AND held_back_tables = 2 FROM braid.stat_capture"), 'the worker shows what it holds');
		is(sql("SELECT string_agg(format('%s %s', name, state), ',' ORDER BY name::text) FROM braid.views WHERE lag_ms >=
			(SELECT extract(epoch FROM clock_timestamp() - held_since) * 1000 - 60000 FROM braid.stat_capture) AND lag > '0'"),
			'joined held back,large held back,sums held back', 'the views are held back');
		ok($cluster->wait_for('node', 'SELECT bool_and(lag_ms > 300) FROM braid.views'), 'and their lag grows with the age of what is held');
	},
	sub { $locker->query_safe('COMMIT') });
$locker->quit;
is(captured('held_transactions, held_since, held_back_tables'), '0||0', 'nothing is held any more');

# many transactions while the table is locked, which are put together
reset_statistics();
$locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK u');
for (1 .. 5)
{
	sql('INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 4, 1), ((SELECT max(id) + 2 FROM t), 5, 1)');
	$cluster->wait_for('node', "SELECT held_transactions = $_ FROM braid.stat_capture") or die 'it is not held';
}
my $clock = sql('SELECT extract(epoch FROM clock_timestamp() - held_since) * 1000 FROM braid.stat_capture');
$locker->query_safe('COMMIT');
$locker->quit;
settle();
is(counted('sums', "transactions, rows, max_response_time >= $clock"), '5|10|t', 'each counts with its own time');
is(counted('joined', 'transactions, rows'), '5|10', 'in each view');

# ---- exact while many write at once
reset_statistics();
my %scripts = (
	t => 'INSERT INTO t VALUES (nextval(\'ids\'), 7, 1), (nextval(\'ids\'), 8, 1);',
	u => "UPDATE u SET name = name || 'x' WHERE k = 9;",
	both => "BEGIN; INSERT INTO t VALUES (nextval('ids'), 7, 1); UPDATE u SET name = name || 'y' WHERE k = 8; INSERT INTO t VALUES (nextval('ids'), 9, 1); COMMIT;");
sql('CREATE SEQUENCE ids START 100000');
my @running = map { $cluster->start_sql('node', $scripts{$_} x 150) } 't', 't', 'u', 'both';
$cluster->finish_sql($_) for @running;
settle();
is(counted('sums', 'transactions, rows'), '450|900', 'exact while many write: one table');
is(counted('joined', 'transactions, rows'), '600|1500', 'exact while many write: two tables');
is(captured('transactions, rows'), '600|1500', 'and the worker');

# ---- populated anew
reset_statistics();
my $from = -s $node->logfile;
sql('REFRESH MATERIALIZED VIEW sums');
settle();
is(counted('sums', 'rebuilds, transactions, cycles >= 1, merge_time > 0'), '1|0|t|t', 'REFRESH is a rebuild');
is(counted('large', 'rebuilds'), '1', 'also of the view that reads it');
is(counted('joined', 'rebuilds'), '0', 'and of no other');
ok(logged(qr/continuous view "large" is rebuilding.*continuous view "large" is live/s, $from), 'the log says so');
sql('TRUNCATE t');
settle();
is(counted('joined', 'rebuilds'), '1', 'TRUNCATE is one');

# ---- what they survive
reset_statistics();
sql('INSERT INTO t SELECT g, g % 10, g FROM generate_series(1, 100) g');
settle();
my $count = 'transactions, rows';
is(counted('sums', $count), '1|100', 'something is counted');
sql('ALTER MATERIALIZED VIEW sums RENAME TO totals');
sql("SELECT braid.alter_view('totals', 'SELECT k, count(*) AS n, sum(v) AS v, max(v) AS most FROM t GROUP BY k')");
settle();
is(counted('totals', $count), '1|100', 'another name and another query');
my $starts = captured('starts');
sql("SELECT pg_terminate_backend(pid) FROM braid.stat_capture");
ok($cluster->wait_for('node', "SELECT starts = $starts + 1 FROM braid.stat_capture"), 'a new worker');
settle();
is(counted('totals', $count), '1|100', 'its end');
is(sql('SELECT count(*) FROM braid.stat_views WHERE stats_reset > (SELECT stats_reset FROM braid.stat_capture) + interval \'1 minute\''), '0', 'all were reset together');
sql('DROP MATERIALIZED VIEW large');
sql('SET client_min_messages = warning; CREATE MATERIALIZED VIEW large WITH (braid.continuous) AS SELECT k, v FROM totals');
settle();
is(counted('large', $count), '0|0', 'a view that is made again begins anew');

# ---- reset
sql('INSERT INTO t VALUES (1001, 1, 1)');
settle();
sql("SELECT braid.stat_views_reset('joined')");
is(counted('joined', $count), '0|0', 'one view is reset');
is(counted('totals', $count), '2|101', 'and no other');
sql('CREATE ROLE operator; GRANT braid_operator TO operator; CREATE ROLE nobody; CREATE ROLE other');
sql('SET ROLE operator; SELECT braid.stat_views_reset(), braid.stat_capture_reset()');
is(counted('totals', $count), '0|0', 'an operator may');
for my $function ('stat_views_reset', 'stat_capture_reset')
{
	my (undef, undef, $err) = $cluster->try_sql('node', "SET ROLE nobody; SELECT braid.$function()");
	like($err, qr/permission denied for function $function/, "$function: others may not");
}
my (undef, undef, $err) = $cluster->try_sql('node', "SELECT braid.stat_views_reset('t')");
like($err, qr/"t" has no statistics/, 'a table has none');
is(sql('SET ROLE nobody; SELECT (SELECT count(*) FROM braid.stat_views), (SELECT count(*) FROM braid.stat_capture), (SELECT count(*) FROM braid.views)'), '3|1|3', 'everybody may look');

# ---- no room
$from = -s $node->logfile;
sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW many_$_ WITH (braid.continuous) AS SELECT id FROM t WHERE v = $_") for 1 .. 3;
settle();
is(sql("SELECT count(*) FROM braid.stat_views"), '4', 'as many as there is room for');
ok(logged(qr/continuous view "many_2" and those made after it have no statistics/, $from), 'the log says whose are missing');
is(sql("SELECT status, detail FROM braid.doctor() WHERE item = 'room for statistics'"), 'warning|2 continuous views without statistics, braid.view_max_statistics = 4', 'and so does the doctor');
sql('DROP MATERIALIZED VIEW many_1');
settle();
ok($cluster->wait_for('node', "SELECT count(*) = 4 FROM braid.stat_views"), 'room is given to those that had none');
sql("DROP MATERIALIZED VIEW many_$_") for 2, 3;

# ---- slow ones in the log
sql("ALTER SYSTEM SET braid.view_log_min_duration = 0; ALTER SYSTEM SET braid.capture_log_min_duration = 0; SELECT pg_reload_conf()");
$from = -s $node->logfile;
sql('INSERT INTO t VALUES (5001, 1, 1), (5002, 1, 1)');
settle();
sql('INSERT INTO t VALUES (5003, 1, 1), (5004, 1, 1)');
settle();
ok(logged(qr/continuous view "totals" took [\d.]+ ms to follow\n.*DETAIL:  2 rows came in; node \d+, see braid.explain\(\), took [\d.]+ ms\./, $from), 'what a view took');
ok(logged(qr/capture cycle took [\d.]+ ms\n.*DETAIL:  Decoding took [\d.]+ ms, the views [\d.]+ ms, the commit [\d.]+ ms; \d+ bytes of WAL, 1 transactions, 2 rows, 0 tables held back\./, $from), 'and what a cycle');
sql("ALTER SYSTEM RESET braid.view_log_min_duration; ALTER SYSTEM RESET braid.capture_log_min_duration; SELECT pg_reload_conf()");

# ---- a crash
my $since = counted('totals', 'stats_reset');
$cluster->kill_node('node');
$cluster->start_again('node');
settle();
is(counted('totals', "transactions, rebuilds, stats_reset > '$since'"), '0|0|t', 'the end of the server resets them');
sql('DROP MATERIALIZED VIEW totals, joined, large');
ok($cluster->wait_for('node', 'SELECT count(*) = 0 FROM braid.stat_views'), 'and nothing is left of views that have gone');
ok($cluster->wait_for('node', 'SELECT pid IS NULL AND slot_name IS NULL FROM braid.stat_capture'), 'nor of their worker but its figures');
done_testing();
