# braid.max_lag: who writes to a table of continuous views waits when these are
# behind, nobody else does, and nobody for ever.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $free = 0;
my $cluster = Braid::Cluster->new('db');
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return $cluster->capture_pid('db'); }

sub fails
{
	my ($setting, $what) = @_;
	my ($rc, undef, $error) = $cluster->try_sql('db', "SET braid.max_lag = '$setting'");
	like($error, qr/invalid value for parameter "braid.max_lag".*\n.*HINT:.*10s.*1GB/, $what);
	return;
}

fails('10', 'a number needs a unit');
fails('-1s', 'no negative time');
fails('fast', 'nor anything else');
is(sql("SET braid.max_lag = '2 min'; SET braid.max_lag = '512MB'; SET braid.max_lag = '0'; SHOW braid.max_lag"), '0', 'times, sizes, and 0 are taken');
is(sql('SHOW braid.max_lag'), '0', 'it is off by default');
sql('CREATE ROLE somebody');
my (undef, undef, $error) = $cluster->try_sql('db', "SET ROLE somebody; SET braid.max_lag = '1s'");
like($error, qr/permission denied to set parameter "braid.max_lag"/, 'not everybody may set it');

sql('CREATE TABLE t (k int, x int); CREATE TABLE parts (k int, x int) PARTITION BY LIST (k);
	CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
	CREATE TABLE other (k int); CREATE TABLE full_identity (k int); ALTER TABLE full_identity REPLICA IDENTITY FULL;
	CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*) FROM t GROUP BY k;
	CREATE MATERIALIZED VIEW w WITH (braid.continuous) AS SELECT k, count(*) FROM parts GROUP BY k');
sql("SELECT braid.wait('v'), braid.wait('w')");
is(sql("INSERT INTO t VALUES (0, 0); SELECT braid.wait('v'); SELECT lag, lag_bytes < 1000000 FROM braid_internal.capture_lag()"), "t\n00:00:00|t", 'there is no lag when views have caught up');

# A session that waits a second with each of two commits; whether that was seen, and its handle.
sub does_wait
{
	my ($writes, $name) = @_;
	my $run = $cluster->start_sql('db', "SET application_name = '$name';\nSET braid.max_lag = '64kB';\n" . ("BEGIN;\n$writes;\nCOMMIT;\n" x 2));
	my $waits = $cluster->wait_for('db', "SELECT count(*) = 1 FROM braid.activity a JOIN pg_stat_activity p USING (pid) WHERE p.application_name = '$name' AND a.wait_event = 'BraidCaptureLag'");
	return ($waits, $run);
}

kill 'STOP', worker();
sql('INSERT INTO t SELECT g, g FROM generate_series(1, 20000) g');
ok($cluster->wait_for('db', q{SELECT lag > '100 ms' AND lag_bytes > 1000000 FROM braid_internal.capture_lag()}), 'the lag is known, in time and in bytes');
for my $case (['an insert', 'INSERT INTO t VALUES (1, 1)'], ['an update', 'UPDATE t SET x = 0 WHERE k = 1'], ['a delete', 'DELETE FROM t WHERE k = 1'],
	['COPY', q{COPY t FROM PROGRAM 'echo 1,1' (FORMAT csv)}], ['a partition', 'INSERT INTO parts VALUES (1, 1)'],
	['a subtransaction', 'SAVEPOINT s; INSERT INTO t VALUES (1, 1); RELEASE s'])
{
	my ($what, $writes) = @$case;
	my ($waits, $run) = does_wait($writes, "waiter $what");
	ok($waits, "$what: waits before the commit");
	is($cluster->finish_sql($run), '', "$what: and goes on, although the worker does not");
}

# A session of which that is not seen until it has ended: who would wait did so for
# a second, three times, and could not be missed.
sub does_not_wait
{
	my ($writes) = @_;
	my $name = 'free ' . ++$free;
	my $run = $cluster->start_sql('db', "SET application_name = '$name';\nSET braid.max_lag = '64kB';\n" .
		("BEGIN; $writes; COMMIT;\n" x 3) . "INSERT INTO ended VALUES ('$name');\n");
	my $answer = 'f f';
	$answer = sql("SELECT EXISTS (SELECT FROM braid.activity a JOIN pg_stat_activity p USING (pid) WHERE p.application_name = '$name' AND a.wait_event = 'BraidCaptureLag') || ' ' || EXISTS (SELECT FROM ended WHERE name = '$name')")
	  while $answer eq 'false false' || $answer eq 'f f';
	is($answer, 'false true', "$writes: does not wait");
	return is($cluster->finish_sql($run), '', "$writes: done");
}
sql('CREATE TABLE ended (name text)');
does_not_wait($_) for 'INSERT INTO other VALUES (1)', 'INSERT INTO full_identity VALUES (1)', 'SELECT count(*) FROM t',
  'CREATE TEMP TABLE made (a int) ON COMMIT DROP; INSERT INTO made VALUES (1)', 'SAVEPOINT s; INSERT INTO t VALUES (1, 1); ROLLBACK TO s';

my ($waits, $run) = does_wait('INSERT INTO t VALUES (-5, -5)', 'cancelled');
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'cancelled'});
like($cluster->finish_sql($run), qr/canceling statement due to user request/, 'who waits can be cancelled');
is(sql('SELECT count(*) FROM t WHERE k = -5'), '1', 'and has not committed then');

# The same limit for everybody, in time, under load; the worker goes on.
sql(q{ALTER SYSTEM SET braid.max_lag = '100ms'});
sql('SELECT pg_reload_conf()');
my $load = $cluster->start_load('db', "INSERT INTO t SELECT g % 10, g FROM generate_series(1, 50) g;\n", 4);
ok($cluster->wait_for('db', q{SELECT count(*) > 1 FROM braid.activity WHERE wait_event = 'BraidCaptureLag'}), 'all writers wait while the worker stands still');
kill 'CONT', worker();
my $reached = sql('SELECT count(*) FROM t');
ok($cluster->wait_for('db', "SELECT count(*) > $reached + 5000 FROM t"), 'writers go on when it does');
$cluster->stop_load($load);
is(sql("SELECT braid.wait('v', '60 s'), braid.wait('w', '60 s')"), 't|t', 'views catch up');
is(sql('SELECT count(*) FROM ((TABLE v EXCEPT ALL SELECT k, count(*) FROM t GROUP BY k) UNION ALL (SELECT k, count(*) FROM t GROUP BY k EXCEPT ALL TABLE v)) d'), '0', 'and are right');
is(sql('SELECT lag FROM braid_internal.capture_lag()'), '00:00:00', 'no lag is left');
done_testing();
