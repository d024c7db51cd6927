# What braid.stat_xa and its companions count after traffic that is known, the
# names of waits, and the log lines from which one transaction can be followed.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '200ms'\n" });
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
}
my $write_both = 'UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1;';
my $both = "BEGIN; $write_both COMMIT;\n";
my $one = "UPDATE t_a SET v = v + 1 WHERE id = 1;\n";

# A transaction has finished when the resolver has counted it, which is after the client was told.
sub settle
{
	my ($two_phases) = @_;
	ok($cluster->wait_for('hub', "SELECT requests >= $two_phases FROM braid.stat_xa_phase
		WHERE datname = 'postgres' AND phase = 'finish'"), 'the resolver has counted');
	return;
}

sub mine
{
	my ($columns) = @_;
	return $cluster->sql('hub', "SELECT $columns FROM braid.stat_xa WHERE datname = current_database()");
}

sub reset_statistics { return $cluster->sql('hub', 'SELECT braid.stat_xa_reset()'); }

my $outcomes = 'xact_begun, xact_commit_one_phase, xact_commit_two_phase, xact_rollback, in_doubt, left_to_recovery,
	recovery_commits, recovery_rollbacks, heuristic_commits + heuristic_rollbacks + heuristic_mixed + deadlocks,
	waits_canceled, waits_timed_out, waits_terminated, requests';

# ---- outcomes
$cluster->sql('hub', "$both $one");
reset_statistics();
is(mine($outcomes), '0|0|0|0|0|0|0|0|0|0|0|0|0', 'a reset sets all to zero');
is(mine('avg_response_time IS NULL AND throughput = 0 AND throughput_last_minute = 0'), 't', 'without requests there is no average');
my $reset = mine('stats_reset');

$cluster->sql('hub', $one x 5 . $both x 7);
$cluster->sql('hub', "BEGIN; $write_both ROLLBACK;" . 'BEGIN; SELECT * FROM t_a; COMMIT; SELECT 1;');
$cluster->try_sql('hub', "SELECT braid_internal.failpoint_set('xa-before-prepare', 'error', pg_backend_pid());\n$both");
$cluster->sql('hub', "SELECT braid_internal.failpoint_set('xa-before-prepare', 'off')");
settle(7);
is(mine($outcomes), '14|5|7|2|0|0|0|0|0|0|0|0|12', 'one phase, two phases and aborts');
is(mine("stats_reset = '$reset' AND stats_reset <= now()"), 't', 'since the reset');

# ---- phases
my $phases = sub {
	my ($columns) = @_;
	return $cluster->sql('hub', "SELECT $columns FROM braid.stat_xa_phase WHERE datname = current_database()");
};
is($phases->("string_agg(phase || ' ' || requests, ', ')"),
	'enlist 7, prepare 7, local commit 7, wait 7, total 12, finish 7', 'the phases count what went through them');
is($phases->('bool_and(0 <= p50 AND p50 <= p95 AND p95 <= p99 AND p99 <= max_time AND max_time <= total_time)'),
	't', 'percentiles are in order, and below the maximum');
is($phases->('bool_and(mean_time = total_time / requests AND mean_time <= max_time)'), 't', 'mean = total / requests');
is(mine('abs(avg_response_time - total_response_time / requests) < 1e-9 AND avg_response_time > 0 AND throughput > 0'),
	't', 'average response time = total response time / requests');
is(mine("(SELECT total_time = total_response_time AND p.requests = stat_xa.requests FROM braid.stat_xa_phase p
	WHERE phase = 'total' AND p.datid = stat_xa.datid)"), 't', 'both views show the same response times');
ok($cluster->wait_for('hub', "SELECT throughput_last_minute > 0 FROM braid.stat_xa WHERE datname = current_database()"),
	'throughput of the last minute');

# A phase takes as long as what holds it up.
sub held_up
{
	my ($point, $phase) = @_;
	reset_statistics();
	$cluster->failpoint('hub', $point, 'wait');
	my $psql = $cluster->start_sql('hub', $both);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('$point') = 1");
	my $began = $cluster->sql('hub', 'SELECT clock_timestamp()');
	$cluster->sql('hub', 'SELECT pg_sleep(0.3)');
	my $held = $cluster->sql('hub', "SELECT extract(epoch FROM clock_timestamp() - '$began') * 1000");
	$cluster->failpoint('hub', $point, 'off');
	is($cluster->finish_sql($psql), '', "held up at $point: commits");
	settle(1);
	is($phases->("bool_and(max_time >= $held) FILTER (WHERE phase IN ('$phase', 'total'))"), 't', "$point counts as $phase");
	is($phases->("count(*) FILTER (WHERE max_time >= $held AND phase IN ('enlist', 'prepare', 'local commit', 'wait'))"), '1',
		'and as no other phase of the commit');
	is($phases->('bool_and(p50 = p99 AND p50 BETWEEN max_time * (1 - 1 / 32.0) AND max_time)'), 't', 'percentiles of one value');
	return;
}
held_up('xa-before-prepare', 'enlist');
held_up('xa-prepared', 'prepare');
held_up('xa-committed', 'local commit');
held_up('xa-finish', 'wait');

# ---- branches
my $branches = 'string_agg(concat_ws($$ $$, server, prepared, committed, rolled_back, recovery_commits, failed_attempts, retries, requests), $$, $$ ORDER BY server)';
reset_statistics();
is($cluster->sql('hub', "SELECT $branches FROM braid.stat_xa_branch"), 'a 0 0 0 0 0 0 0, b 0 0 0 0 0 0 0', 'servers begin at zero');
$cluster->sql('hub', $one x 2 . $both x 3);
settle(3);
is($cluster->sql('hub', "SELECT $branches FROM braid.stat_xa_branch"), 'a 3 3 0 0 0 0 3, b 3 3 0 0 0 0 3', 'branches that are prepared and committed');
is($cluster->sql('hub', 'SELECT bool_and(0 < p50 AND p50 <= p95 AND p95 <= p99 AND p99 <= max_time AND mean_time = total_time / requests
	AND last_error IS NULL AND last_error_time IS NULL) FROM braid.stat_xa_branch'), 't', 'round trips of COMMIT PREPARED');

# ---- concurrent sessions lose no count
reset_statistics();
my $load = $cluster->start_load('hub', <<'SQL', 4);
\set x :client_id + 2
BEGIN;
UPDATE t_a SET v = v + 1 WHERE id = :x;
UPDATE t_b SET v = v + 1 WHERE id = :x;
COMMIT;
SQL
ok($cluster->wait_for('hub', "SELECT xact_commit_two_phase > 200 FROM braid.stat_xa WHERE datname = 'postgres'"), 'under load');
my $n = $cluster->stop_load($load);
settle($n);
is(mine($outcomes), "$n|0|$n|0|0|0|0|0|0|0|0|0|$n", 'every transaction under load is counted');
is($phases->("string_agg(DISTINCT requests::text, ' ')"), $n, 'with each of its phases');
is($cluster->sql('hub', "SELECT $branches FROM braid.stat_xa_branch"), "a $n $n 0 0 0 0 $n, b $n $n 0 0 0 0 $n", 'and its branches');

# ---- a deadlock over two servers: each session goes on when both have written to one of them
reset_statistics();
my @deadlocked = map {
	my ($mine, $first, $second) = @$_;
	my $other = 3 - $mine;
	$cluster->start_sql('hub', <<"SQL");
BEGIN;
UPDATE t_$first SET v = v + 1 WHERE id = 9;
SELECT pg_advisory_lock($mine);
DO \$\$ BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $other) LOOP PERFORM pg_sleep(0.01); END LOOP;
END \$\$;
UPDATE t_$second SET v = v + 1 WHERE id = 9;
COMMIT;
SQL
} ([ 1, 'a', 'b' ], [ 2, 'b', 'a' ]);
my @said = map { $cluster->finish_sql($_) } @deadlocked;
is(scalar(grep { /deadlock detected/ } @said), 1, 'a deadlock has one victim');
settle(1);
is(mine('deadlocks, xact_begun, xact_commit_two_phase, xact_rollback'), '1|2|1|1', 'which is counted');

# ---- names of waits, and waits that are cut short
reset_statistics();
for my $how ('time-out', 'cancel', 'terminate')
{
	$cluster->failpoint('hub', 'xa-finish', 'wait');
	my $psql = $cluster->start_sql('hub', "SET application_name = 'victim';"
		  . ($how eq 'time-out' ? "SET braid.xa_finish_timeout = '500ms';" : '') . $both);
	ok($cluster->wait_for('hub', q{SELECT count(*) = 1 FROM braid.activity a JOIN pg_stat_activity s USING (pid)
		JOIN braid.transactions t USING (gid)
		WHERE s.application_name = 'victim' AND a.wait_event = 'BraidCommitFinish' AND a.since <= clock_timestamp() AND a.age >= interval '0'}),
		"$how: the wait has a name and a gid");
	is($cluster->sql('hub', q{SELECT DISTINCT wait_event FROM braid.activity WHERE backend_type = 'braid resolver'}), 'BraidFailpoint',
		'and so has the wait of the resolver');
	$cluster->sql('hub', "SELECT pg_${how}_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'") if $how ne 'time-out';
	$cluster->finish_sql($psql);
	$cluster->failpoint('hub', 'xa-finish', 'off');
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), "$how: the rest is settled");
}
is(mine($outcomes), '3|0|3|0|0|0|0|0|0|1|1|1|3', 'waits that were canceled, timed out and were terminated');
ok($cluster->wait_for('hub', q{SELECT count(*) = 1 FROM braid.activity WHERE wait_event = 'BraidResolverMain' AND gid IS NULL}),
	'the resolver waits for work');

# ---- a participant that goes away after it has prepared
reset_statistics();
$cluster->failpoint('hub', 'xa-committed', 'wait');
my $psql = $cluster->start_sql('hub', $both);
$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
$cluster->kill_node('b');
$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
$cluster->failpoint('hub', 'xa-committed', 'off');
$cluster->finish_sql($psql);
is(mine($outcomes), '1|0|1|0|1|1|0|0|0|0|0|0|1', 'a transaction is left to recovery, and in doubt');
is($cluster->sql('hub', "SELECT failed_attempts > 0 AND last_error <> '' AND last_error_time <= now() FROM braid.stat_xa_branch WHERE server = 'b'"),
	't', 'the error is kept');
$cluster->start_again('b');
ok($cluster->wait_for('hub', "SELECT in_doubt = 0 AND recovery_commits = 1 FROM braid.stat_xa WHERE datname = current_database()"),
	'until recovery has committed it');
is($cluster->sql('hub', "SELECT committed, recovery_commits FROM braid.stat_xa_branch WHERE server = 'b'"), '1|1', 'and its branch');
is($phases->("string_agg(phase || ' ' || requests, ', ')"), 'enlist 1, prepare 1, local commit 1, wait 1, total 1, finish 0',
	'what recovery has finished has no duration');

# ---- a command whose connection is lost is sent again
reset_statistics();
$cluster->failpoint('a', 'xa-participant-finish', 'wait');
my @both = map { $cluster->start_sql('hub', $both =~ s/id = 1/id = $_/gr) } 1, 2;
$cluster->wait_for('a', "SELECT braid_internal.failpoint_waiting('xa-participant-finish') = 2");
is($cluster->sql('a', q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ~ '^braid resolver'
	AND query ~ '^COMMIT PREPARED' AND state = 'active' AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')}), '1', 'one of two connections is terminated');
ok($cluster->wait_for('hub', "SELECT failed_attempts = 1 FROM braid.stat_xa_branch WHERE server = 'a'"), 'which is noticed');
$cluster->failpoint('a', 'xa-participant-finish', 'off');
is(join('', map { $cluster->finish_sql($_) } @both), '', 'both transactions are finished');
settle(2);
is($cluster->sql('hub', "SELECT $branches FROM braid.stat_xa_branch"), 'a 2 2 0 0 1 1 2, b 2 2 0 0 0 0 2', 'one attempt has failed, and one was made again');
is($cluster->sql('hub', "SELECT count(*) FROM braid.stat_xa_branch WHERE last_error ~ 'terminating connection|closed the connection'"), '1', 'with its error');

# ---- the coordinator is killed: counting begins anew, with what recovery does
sub kill_at
{
	my ($point) = @_;
	$cluster->failpoint('hub', $point, 'wait');
	my $victim = $cluster->start_sql('hub', $both);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('$point') = 1");
	$cluster->kill_node('hub', at_once => 1);
	$cluster->finish_sql($victim);
	$cluster->start_again('hub');
	for my $name ('a', 'b')
	{
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "killed at $point: recovered on $name");
	}
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'and the coordinator knows');
	return;
}
kill_at('xa-committed');
is(mine($outcomes), '0|0|0|0|0|0|2|0|0|0|0|0|0', 'recovery has committed two branches');
is(mine('stats_reset = (SELECT min(stats_reset) FROM braid.stat_xa) AND stats_reset > pg_postmaster_start_time()'), 't', 'since the start');
kill_at('xa-prepared');
is(mine($outcomes), '0|0|0|0|0|0|0|2|0|0|0|0|0', 'recovery has rolled back two branches');

# ---- branches that are finished by hand
sub by_hand
{
	my ($point, %commands) = @_;
	reset_statistics();
	$cluster->failpoint('hub', $point, 'wait');
	my $victim = $cluster->start_sql('hub', "SET application_name = 'victim'; $both");
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('$point') = 1");
	my $gid = $cluster->sql('hub', 'SELECT gid FROM braid.transactions');
	$cluster->sql($_, $commands{$_} =~ s/GID/$gid/r) for sort keys %commands;
	$cluster->sql('hub', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'") if $point eq 'xa-prepared';
	$cluster->failpoint('hub', $point, 'off') if $point ne 'xa-prepared';
	$cluster->finish_sql($victim);
	$cluster->failpoint('hub', $point, 'off');
	ok($cluster->wait_for('hub', "SELECT heuristic_commits + heuristic_rollbacks + heuristic_mixed >= @{[ scalar keys %commands ]}
		FROM braid.stat_xa WHERE datname = current_database()"), "at $point: finished by hand");
	$cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts') for 'a', 'b';
	$cluster->wait_for('hub', "SELECT count(*) = 0 FROM braid_internal.xa_transactions() WHERE gid = '$gid'") or die "$gid is not finished";
	$cluster->sql('hub', "SELECT braid.xa_forget('$gid')");
	$cluster->wait_for('hub', 'SELECT (SELECT count(*) FROM braid.transactions) + (SELECT count(*) FROM braid_internal.heuristics) = 0');
	return mine('heuristic_commits, heuristic_rollbacks, heuristic_mixed, xact_commit_two_phase, xact_rollback');
}
is(by_hand('xa-committed', a => "COMMIT PREPARED 'GID:0'", b => "ROLLBACK PREPARED 'GID:1'"), '1|0|1|1|0', 'as decided, and against the decision');
is(by_hand('xa-prepared', a => "ROLLBACK PREPARED 'GID:0'"), '0|1|0|0|1', 'rolled back, as decided then');

# ---- log lines
sub log_of
{
	my ($name, $offset) = @_;
	return PostgreSQL::Test::Utils::slurp_file($cluster->node($name)->logfile, $offset);
}

sub offsets { return map { $_ => -s $cluster->node($_)->logfile } $cluster->names; }

for my $name ($cluster->names)
{
	$cluster->sql($name, 'ALTER SYSTEM SET braid.xa_log_transactions = on');
	$cluster->sql($name, 'SELECT pg_reload_conf()');
}
ok($cluster->wait_for($_, "SELECT setting = 'on' FROM pg_settings WHERE name = 'braid.xa_log_transactions'"), "$_ logs transactions")
  for $cluster->names;
$cluster->sql('hub', 'SELECT braid.xa_recover()');
reset_statistics();
my %offset = offsets();
$cluster->sql('hub', $both);
settle(1);
my ($gid) = log_of('hub', $offset{hub}) =~ /LOG:  global transaction "(braid:[0-9a-f]+:\d+:\d+)" begins/;
ok($gid, 'the coordinator logs the begin');
$cluster->node('hub')->wait_for_log(qr/global transaction "$gid" is finished/, $offset{hub});
my %lines;
for my $name ($cluster->names)
{
	$lines{$name} = [ map { s/.*LOG:  //r } grep { /\Q$gid\E/ } split /\n/, log_of($name, $offset{$name}) ];
}
my @order = grep { !/^branch/ } @{ $lines{hub} };
is_deeply([ sort { $a cmp $b } @order ],
	[ map { "global transaction \"$gid\" $_" } 'begins', 'is decided: commit', 'is finished', 'prepares its branches' ], 'the coordinator logs each step');
is($order[0], "global transaction \"$gid\" begins", 'the begin comes first');
is($order[1], "global transaction \"$gid\" prepares its branches", 'then the preparation');
is_deeply([ sort grep { /^branch/ } @{ $lines{hub} } ],
	[ "branch \"$gid:0\" is committed on server \"a\"", "branch \"$gid:1\" is committed on server \"b\"" ], 'and each branch');
like(log_of('hub', $offset{hub}), qr/DETAIL:  Branches: 0 on server "a", 1 on server "b"\./, 'and where the branches are');
is_deeply($lines{a}, [ "branch \"$gid:0\" is prepared", "branch \"$gid:0\" is committed" ], 'the first participant logs its branch');
is_deeply($lines{b}, [ "branch \"$gid:1\" is prepared", "branch \"$gid:1\" is committed" ], 'the second one too');

%offset = offsets();
$cluster->try_sql('hub', "SELECT braid_internal.failpoint_set('xa-prepared', 'error', pg_backend_pid());\n$both");
$cluster->sql('hub', "SELECT braid_internal.failpoint_set('xa-prepared', 'off')");
$cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts') for 'a', 'b';
($gid) = log_of('hub', $offset{hub}) =~ /LOG:  global transaction "(braid:[0-9a-f]+:\d+:\d+)" is decided: rollback/;
ok($gid, 'a rollback is logged');
$cluster->node($_)->wait_for_log(qr/branch "$gid:\d" is rolled back/, $offset{$_}) for 'a', 'b';
$cluster->node('hub')->wait_for_log(qr/recovery has rolled back prepared transaction "$gid:\d"/, $offset{hub});
unlike(log_of($_, $offset{$_}), qr/STATEMENT:.*UPDATE/, "no statement is logged on $_") for 'a', 'b';
for my $name ($cluster->names)
{
	$cluster->sql($name, 'ALTER SYSTEM RESET braid.xa_log_transactions');
	$cluster->sql($name, 'SELECT pg_reload_conf()');
}
ok($cluster->wait_for($_, "SELECT setting = 'off' FROM pg_settings WHERE name = 'braid.xa_log_transactions'"), "$_ does not log them any more")
  for $cluster->names;

# ---- slow commits
%offset = offsets();
$cluster->sql('hub', "SET braid.xa_log_min_duration = '1h'; $both $one");
unlike(log_of('hub', $offset{hub}), qr/duration:/, 'a commit that is not slow is not logged');
$cluster->failpoint('hub', 'xa-prepared', 'wait');
$psql = $cluster->start_sql('hub', "SET braid.xa_log_min_duration = '300ms'; $both");
$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-prepared') = 1");
$cluster->sql('hub', 'SELECT pg_sleep(0.3)');
$cluster->failpoint('hub', 'xa-prepared', 'off');
$cluster->finish_sql($psql);
my @slow = log_of('hub', $offset{hub}) =~ /LOG:  duration: (\d+\.\d+) ms  global transaction "braid:[^"]+"\n[^\n]*DETAIL:  Enlist (\S+) ms, prepare (\S+) ms, local commit (\S+) ms, wait (\S+) ms; branches: 0 on server "a", 1 on server "b"\.\n/;
is(scalar @slow, 5, 'a slow one is, with its phases and branches');
cmp_ok($slow[0], '>=', 300, 'with its duration');
cmp_ok($slow[2], '>=', 300, 'and that of the slow phase');
cmp_ok(abs($slow[0] - $slow[1] - $slow[2] - $slow[3] - $slow[4]), '<', 0.01, 'the phases add up');
$cluster->sql('hub', "SET braid.xa_log_min_duration = 0; $one");
like(log_of('hub', $offset{hub}), qr/LOG:  duration: \S+ ms  commit in one phase\n[^\n]*DETAIL:  Branches: 0 on server "a"\.\n/, '0 logs all, in one phase too');
unlike(log_of('hub', $offset{hub}), qr/begins|prepares|decided/, 'and nothing else');

# ---- who may see it
$cluster->sql('hub', 'CREATE ROLE nobody; CREATE ROLE reader IN ROLE pg_read_all_stats; CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE operator IN ROLE braid_operator');
for my $view ('stat_xa', 'stat_xa_phase', 'stat_xa_branch', 'activity')
{
	my (undef, undef, $err) = $cluster->try_sql('hub', "SET ROLE nobody; SELECT * FROM braid.$view");
	like($err, qr/permission denied/, "braid.$view is not for everybody");
	for my $role ($view eq 'activity' ? () : 'reader', 'watcher', 'operator')
	{
		my ($rc, undef, $refused) = $cluster->try_sql('hub', "SET ROLE $role; SELECT * FROM braid.$view");
		is($rc, 0, "$role reads braid.$view") or diag($refused);
	}
}
my ($rc, undef, $err) = $cluster->try_sql('hub', 'SET ROLE watcher; SELECT braid.stat_xa_reset()');
like($err, qr/permission denied/, 'who watches cannot reset');
($rc, undef, $err) = $cluster->try_sql('hub', 'SET ROLE operator; SELECT braid.stat_xa_reset()');
is($rc, 0, 'an operator can');

# ---- databases and servers come and go; this build has rows of their own for four databases
sub write_from
{
	my ($database, $times) = @_;
	my ($host, $port) = ($cluster->node('a')->host, $cluster->node('a')->port);
	my $node = $cluster->node('hub');
	$cluster->sql('hub', "CREATE DATABASE $database");
	is($cluster->sql('hub', "SELECT xact_begun, requests FROM braid.stat_xa WHERE datname = '$database'"), '0|0', "$database begins with a row of zeros");
	$node->safe_psql($database, "CREATE EXTENSION braid;
		CREATE SERVER a FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '$host', port '$port', dbname 'postgres');
		CREATE USER MAPPING FOR PUBLIC SERVER a OPTIONS (user '@{[ getpwuid($<) . '' ]}');
		CREATE FOREIGN TABLE t_a (id int, v int) SERVER a OPTIONS (table_name 't')");
	$node->safe_psql($database, $one x $times);
	return;
}
my $begun_by_database = q{SELECT string_agg(coalesce(datname, '(shared)') || ' ' || xact_begun || ' ' || requests, ', ' ORDER BY datname)
	FROM braid.stat_xa WHERE xact_begun > 0};
reset_statistics();
write_from('d1', 3);
write_from('d2', 1);
write_from('d3', 1);
is($cluster->sql('hub', $begun_by_database), 'd1 3 3, d2 1 1, d3 1 1', 'databases are counted apart');
write_from('d4', 2);
is($cluster->sql('hub', $begun_by_database), 'd1 3 3, d2 1 1, d3 1 1, (shared) 2 2', 'one too many shares a row');
$cluster->sql('hub', 'DROP DATABASE d1');
is($cluster->sql('hub', $begun_by_database), 'd2 1 1, d3 1 1, (shared) 2 2', 'a dropped database has no row');
write_from('d5', 1);
is($cluster->sql('hub', $begun_by_database), 'd2 1 1, d3 1 1, d5 1 1, (shared) 2 2', 'its place is taken by the next one, which begins at zero');
$cluster->sql('hub', 'DROP FOREIGN TABLE t_b; DROP SERVER b CASCADE');
ok($cluster->wait_for('hub', "SELECT string_agg(server, ' ') = 'a' FROM braid.stat_xa_branch"), 'a dropped server has no row');

done_testing();
