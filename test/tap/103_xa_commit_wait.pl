# braid.xa_commit_wait = off: COMMIT returns once the decision is durable, and
# the session finds its own changes all the same. Cancel, terminate and time-out
# while COMMIT waits: the client is told that the transaction is committed.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b');
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); INSERT INTO t VALUES (1, 0)');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
}
my $count = 0;

# A transaction that adds one to both rows; $before and $after are more SQL.
sub increment
{
	my ($before, $after) = @_;
	return "$before; BEGIN; UPDATE t_a SET v = v + 1; UPDATE t_b SET v = v + 1; COMMIT; $after";
}

sub is_everywhere
{
	my ($what) = @_;
	for my $name ('a', 'b')
	{
		ok($cluster->wait_for($name, "SELECT v = $count FROM t"), "$what: committed on $name");
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing stays prepared on $name");
	}
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), "$what: nothing is left");
	return;
}

# ---- off: COMMIT does not wait for a resolver that is held up
$cluster->failpoint('hub', 'xa-finish', 'wait');
my ($rc, $out, $err) = $cluster->try_sql('hub', increment('SET braid.xa_commit_wait = off', "SELECT 'committed'"));
$count++;
is("$rc $out $err", '0 committed ', 'off: COMMIT returns while no branch is committed, without a warning');
is($cluster->sql('a', 'SELECT v FROM t'), '0', 'off: it is not visible yet');
is($cluster->sql('a', 'SELECT count(*) FROM pg_prepared_xacts'), '1', 'off: it is prepared');
$cluster->failpoint('hub', 'xa-finish', 'off');
is_everywhere('off');

# ---- the session's own changes: each kind of access waits for them
my %access = (
	'a scan' => 'SELECT v FROM t_a',
	'an update' => 'UPDATE t_a SET v = v RETURNING v',
	'a row lock' => 'SELECT v FROM t_a FOR UPDATE',
	'a join' => 'SELECT x.v FROM t_a x JOIN t_b y ON x.v = y.v',
	'a scan in a transaction' => 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT v FROM t_a; COMMIT',
	'a scan with remote estimates' => "ALTER FOREIGN TABLE t_a OPTIONS (ADD use_remote_estimate 'true'); SELECT v FROM t_a; ALTER FOREIGN TABLE t_a OPTIONS (DROP use_remote_estimate)",
	'a command' => q{SELECT braid.execute('a', 'UPDATE public.t SET v = v')});
for my $what (sort keys %access)
{
	$cluster->failpoint('hub', 'xa-finish', 'wait');
	my $session = $cluster->start_sql('hub', increment('SET braid.xa_commit_wait = off', "$access{$what};"));
	$count++;
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.activity WHERE wait_event = 'BraidOwnCommit'"), "$what waits");
	$cluster->failpoint('hub', 'xa-finish', 'off');
	is($cluster->finish_sql($session), '', "$what succeeds");
	my $expected = $what eq 'a command' ? 1 : $count;
	is(PostgreSQL::Test::Utils::slurp_file($session->{output}), "$expected\n", "$what sees the session's own change");
	is_everywhere($what);
}

# ---- another session, and another server, do not wait
$cluster->failpoint('hub', 'xa-finish', 'wait');
$cluster->sql('hub', 'CREATE TABLE here (v int)');
is($cluster->sql('hub', increment('SET braid.xa_commit_wait = off', 'INSERT INTO here VALUES (1) RETURNING v')), '1', 'local work does not wait');
$count++;
is($cluster->sql('hub', 'SELECT v FROM t_a'), $count - 1, 'another session does not wait');
$cluster->failpoint('hub', 'xa-finish', 'off');
is_everywhere('without waiting');

# ---- more of them than are remembered
my $many = 40;
is($cluster->sql('hub', 'SET braid.xa_commit_wait = off; '
	  . join(' ', ('BEGIN; UPDATE t_a SET v = v + 1; UPDATE t_b SET v = v + 1; COMMIT;') x $many) . ' SELECT a.v, b.v FROM t_a a, t_b b'),
	($count + $many) . '|' . ($count + $many), 'many in a row: the session sees all of them');
$count += $many;
is_everywhere('many in a row');

# ---- a server that does not come back in time
$cluster->failpoint('hub', 'xa-finish', 'wait');
($rc, $out, $err) = $cluster->try_sql('hub', increment('SET braid.xa_commit_wait = off; SET braid.xa_finish_timeout = 200', 'SELECT v FROM t_a'));
$count++;
like($err, qr/transaction "braid:.*" of this session is not yet finished on server "a"/, 'no stale read: an error after the time-out');
$cluster->failpoint('hub', 'xa-finish', 'off');
is_everywhere('after the time-out of a read');

# ---- on: what cuts the wait short does not undo the commit, and says so
my %cuts = (
	'cancel' => 'SELECT pg_cancel_backend(pid)',
	'terminate' => 'SELECT pg_terminate_backend(pid)',
	'time-out' => undef);
for my $what (sort keys %cuts)
{
	my $timeout = $what eq 'time-out' ? 300 : 60000;
	$cluster->failpoint('hub', 'xa-finish', 'wait');
	my $session = $cluster->start_sql('hub', increment("SET braid.xa_finish_timeout = $timeout", ''));
	$count++;
	$cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.activity WHERE wait_event = 'BraidCommitFinish'") if $cuts{$what};
	$cluster->sql('hub', "$cuts{$what} FROM braid.activity WHERE wait_event = 'BraidCommitFinish'") if $cuts{$what};
	my $said = $cluster->finish_sql($session);
	if ($what eq 'terminate')
	{
		like($said, qr/server closed the connection unexpectedly/, 'terminate: the client is not told COMMIT, nor an error of the transaction');
		unlike($said, qr/ERROR/, 'terminate: no error either');
	}
	else
	{
		like($said, qr/WARNING:  transaction "braid:.*" is committed, but not yet on all servers/, "$what: a warning says that it is committed");
		unlike($said, qr/ERROR/, "$what: no error");
	}
	is($cluster->sql('a', 'SELECT count(*) FROM pg_prepared_xacts'), '1', "$what: the rest is still to be done");
	$cluster->failpoint('hub', 'xa-finish', 'off');
	is_everywhere($what);
}

# ---- durable before it is told: a crash right after the answer loses nothing
for my $setting ('on', 'off')
{
	$cluster->failpoint('hub', 'xa-finish', 'wait') if $setting eq 'off';
	$cluster->sql('hub', increment("SET braid.xa_commit_wait = $setting", ''));
	$count++;
	$cluster->kill_node('hub');
	$cluster->start_again('hub');
	is_everywhere("crash after COMMIT with $setting");
}
done_testing();
