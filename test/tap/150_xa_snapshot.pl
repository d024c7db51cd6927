# SET LOCAL braid.snapshot: a reader over several servers sees each transaction on all of them or on
# none, at whatever moment of its commit; and what is said when that cannot be had.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{BRAID_SECONDS} // 4;
my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '200ms'\nrestart_after_crash = on\n" });
my $hub = $cluster->node('hub');
for my $name ('hub', 'a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v bigint); INSERT INTO t SELECT g, 0 FROM generate_series(1, 100) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v bigint) SERVER $name OPTIONS (table_name 't')") if $name ne 'hub';
}
$cluster->wait_ready('hub', 2);

my $begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ';
my $sums = 'SELECT (SELECT sum(v) FROM t), (SELECT sum(v) FROM t_a), (SELECT sum(v) FROM t_b)';

# A transfer of 3 from the hub, to a and to b; or of nothing, to a alone.
my $row = 0;
sub transfer { my $id = 1 + $row++ % 100; return "BEGIN; UPDATE t SET v = v - 3 WHERE id = $id; UPDATE t_a SET v = v + 1 WHERE id = $id; UPDATE t_b SET v = v + 2 WHERE id = $id; COMMIT"; }

sub session { return Braid::Client->new($hub); }

# Runs the statements until one fails; the last answer.
sub run_all
{
	my ($client, @statements) = @_;
	my $answer;
	for my $sql (@statements) { $answer = $client->run($sql); last if $answer->{error} || $answer->{lost}; }
	return $answer;
}

sub snapshot { my ($client, $servers, @settings) = @_; return run_all($client, $begin, @settings, "SET LOCAL braid.snapshot = '$servers'"); }

# hub|a|b as the session's transaction sees them; ends it.
sub seen
{
	my ($client) = @_;
	my $answer = $client->run($sums);
	$client->run('COMMIT');
	return $answer->{error} ? $answer->{error}{M} : join '|', @{ $answer->{rows}[0] };
}

# After n whole transfers.
sub whole { my ($n) = @_; return join '|', -3 * $n, $n, 2 * $n; }

sub waits_as { my ($client, $event) = @_; return $cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.activity WHERE wait_event = '$event' AND pid = " . $client->pid); }

sub stopped_at { my ($name, $point) = @_; return $cluster->wait_for($name, "SELECT braid_internal.failpoint_waiting('$point') > 0"); }

sub error_of { my ($answer) = @_; return $answer->{error} ? "$answer->{error}{C}: $answer->{error}{M}" : 'no error'; }

sub is_ok { my ($answer, $title) = @_; ok(!$answer->{error} && !$answer->{lost}, $title) or diag error_of($answer); return; }

my ($reader, $writer, $second) = map { session() } 1 .. 3;
my $done = 0;
$reader->run('SET braid.snapshot_timeout = 60000');

# ---- close, decide, finish, in each order

# The gate is closed before the transaction decides.
$cluster->failpoint('hub', 'xa-snapshot-drained', 'wait', $reader->pid);
$reader->run($begin);
$reader->send("SET LOCAL braid.snapshot = 'a, b'");
ok(stopped_at('hub', 'xa-snapshot-drained'), 'a snapshot has closed the gate');
$writer->send(transfer());
ok(waits_as($writer, 'BraidGate'), 'a transaction that would commit waits');
is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), '1', "it is prepared on $_") for 'a', 'b';
$second->send('UPDATE t_a SET v = v + 0 WHERE id = 100');
ok(waits_as($second, 'BraidGate'), 'so does one that would commit in one phase');
$cluster->sql('hub', 'INSERT INTO t VALUES (1001, 0)');
pass('one without foreign tables does not');
$cluster->failpoint('hub', 'xa-snapshot-drained', 'off');
is_ok($reader->wait, 'the snapshot is there');
is_ok($_->wait, 'the transaction goes on') for $writer, $second;
$done++;
is(seen($reader), whole(0), 'the snapshot has nothing of it');
is(seen($writer), whole(1), 'others see it');
is($cluster->sql('hub', "SELECT requests FROM braid.stat_snapshots WHERE what = 'gate wait' AND datname = current_database()"), '2', 'two commits were kept waiting');

# The transaction is about to decide when the snapshot comes.
for my $point ('xa-gate-entered', 'xa-decided', 'xa-committed')
{
	$cluster->failpoint('hub', $point, 'wait', $writer->pid);
	$writer->send(transfer());
	ok(stopped_at('hub', $point), "$point: a transaction is there");
	$reader->run($begin);
	$reader->send("SET LOCAL braid.snapshot = 'all'");
	ok(waits_as($reader, 'BraidSnapshot'), "$point: a snapshot waits");
	$second->send(transfer());
	ok(waits_as($second, 'BraidGate'), "$point: the next transaction waits behind it");
	$cluster->failpoint('hub', $point, 'off');
	is_ok($_->wait, "$point: all go on") for $writer, $reader, $second;
	is(seen($reader), whole($done + 1), "$point: the first is in the snapshot, and the second is not");
	$done += 2;
}

# It is prepared, and has not come to the gate.
$cluster->failpoint('hub', 'xa-prepared', 'wait', $writer->pid);
$writer->send(transfer());
ok(stopped_at('hub', 'xa-prepared'), 'a transaction is prepared');
is_ok(snapshot($reader, 'all'), 'a snapshot does not wait for it');
$cluster->failpoint('hub', 'xa-prepared', 'off');
is_ok($writer->wait, 'it goes on');
is(seen($reader), whole($done), 'and is not in the snapshot');
$done++;

# It is committed here, and on none, or on one, of the servers.
for my $case ([ 'hub', 'xa-finish' ], [ 'b', 'xa-participant-finish' ])
{
	my ($node, $point) = @$case;
	$writer->run('SET braid.xa_commit_wait = off');
	$cluster->failpoint($node, $point, 'wait');
	is_ok($writer->run(transfer()), "$point: a transaction is committed");
	ok(stopped_at($node, $point), "$point: the resolver, or a server, is about to finish it");
	$cluster->wait_for('a', 'SELECT count(*) = 0 FROM pg_prepared_xacts') if $node eq 'b';
	$second->run($begin);
	isnt(seen($second), whole($done + 1), "$point: whoever asks for no snapshot sees it by halves");
	$reader->run($begin);
	$reader->send("SET LOCAL braid.snapshot = 'all'");
	ok(waits_as($reader, 'BraidSnapshot'), "$point: a snapshot waits");
	my $answer = snapshot($second, 'a, b', 'SET LOCAL braid.snapshot_timeout = 50');
	like(error_of($answer), qr/^40001: could not get a consistent snapshot because transaction "braid:\S+" is not finished on server "[ab]"/, "$point: not for ever");
	like($answer->{error}{D}, qr/^It was committed \d+\.\d{3} s ago/, "$point: the error says how old it is");
	like($answer->{error}{H}, qr/Run the transaction again/, "$point: and what to do");
	$second->run('ROLLBACK');
	$cluster->failpoint($node, $point, 'off');
	is_ok($reader->wait, "$point: it is finished, and the snapshot is there");
	is(seen($reader), whole(++$done), "$point: with all of it");
	$writer->run('RESET braid.xa_commit_wait');
}

# ---- the limits of waiting

$cluster->failpoint('hub', 'xa-gate-entered', 'wait', $writer->pid);
$writer->send(transfer());
stopped_at('hub', 'xa-gate-entered');
for my $setting ('braid.snapshot_timeout', 'lock_timeout')
{
	my $answer = snapshot($second, 'all', "SET LOCAL $setting = 50");
	like(error_of($answer), qr/^55P03: could not get a consistent snapshot in time/, "$setting ends the wait for transactions under way");
	like($answer->{error}{D}, qr/within (?:\d|[1-4]\d|50) ms/, "$setting: the error says for how long");
	like($answer->{error}{H}, qr/braid.snapshot_timeout.*lock_timeout/, "$setting: the error names what limits it");
	$second->run('ROLLBACK');
}
$second->run($begin);
$second->send("SET LOCAL braid.snapshot = 'all'");
waits_as($second, 'BraidSnapshot');
$cluster->sql('hub', 'SELECT pg_cancel_backend(' . $second->pid . ')');
is(error_of($second->wait), '57014: canceling statement due to user request', 'so does a cancel');
$second->run('ROLLBACK');
$cluster->failpoint('hub', 'xa-gate-entered', 'off');
is_ok($writer->wait, 'the transaction goes on');
$done++;

# A server that does not answer while the gate is closed.
snapshot($second, 'all');
$second->run('COMMIT');
$cluster->failpoint('b', 'xa-snapshot-fix', 'wait');
like(error_of(snapshot($second, 'all', 'SET LOCAL braid.snapshot_timeout = 200')), qr/^55P03: could not get a consistent snapshot in time/, 'a server that does not answer is not waited for');
is_ok($writer->run(transfer()), 'commits go on');
$done++;
$cluster->failpoint('b', 'xa-snapshot-fix', 'off');
$second->run('ROLLBACK');
is_ok(snapshot($second, 'all'), 'when it answers there is a snapshot');
is(seen($second), whole($done), 'and it is whole');

# An attempt that was caught is not repeated: some servers may have taken their parts.
$second->run($begin);
$second->run('SAVEPOINT s');
$cluster->failpoint('hub', 'xa-snapshot-connected', 'error', $second->pid);
like(error_of($second->run("SET LOCAL braid.snapshot = 'all'")), qr/xa-snapshot-connected/, 'an error between connecting and closing the gate');
$cluster->failpoint('hub', 'xa-snapshot-connected', 'off');
$second->run('ROLLBACK TO s');
like(error_of($second->run("SET LOCAL braid.snapshot = 'all'")), qr/^25001: the transaction has tried/, 'a second attempt in the transaction is refused');
$second->run('ROLLBACK');

# Whoever waits at the gate can be canceled, and then nothing was committed.
$cluster->failpoint('hub', 'xa-snapshot-drained', 'wait', $reader->pid);
$reader->run($begin);
$reader->send("SET LOCAL braid.snapshot = 'all'");
stopped_at('hub', 'xa-snapshot-drained');
$writer->send(transfer());
waits_as($writer, 'BraidGate');
$cluster->sql('hub', 'SELECT pg_cancel_backend(' . $writer->pid . ')');
is(error_of($writer->wait), '57014: canceling statement due to user request', 'a transaction at the gate is canceled');
$writer->send(transfer());
waits_as($writer, 'BraidGate');

# Whoever has closed it opens it with its end.
$cluster->sql('hub', 'SELECT pg_terminate_backend(' . $reader->pid . ')');
$reader->wait;
$cluster->failpoint('hub', 'xa-snapshot-drained', 'off');
is_ok($writer->wait, 'the gate opens with the end of the session that has closed it');
$done++;
$reader = session();
snapshot($reader, 'all');
is(seen($reader), whole($done), 'nothing of the canceled one is there');

# ---- what was left to recovery, and what nobody knows of

my $dies = sub { my ($name) = @_; $cluster->node($name)->stop('immediate'); return; };
$cluster->failpoint('b', 'xa-participant-finish', 'wait');
$writer->send(transfer());
stopped_at('b', 'xa-participant-finish');
$dies->('b');
my $committed = $writer->wait;
ok(!$committed->{error} && @{ $committed->{notices} }, 'a server dies: the transaction is committed, with a warning');
$done++;
is_ok(snapshot($reader, 'a'), 'a snapshot without that server');
is($reader->run('SELECT (SELECT sum(v) FROM t), (SELECT sum(v) FROM t_a)')->{rows}[0][0], -3 * $done, 'is to be had');
$reader->run('COMMIT');
like(error_of(snapshot($reader, 'all', 'SET LOCAL braid.xa_ready_timeout = 50')), qr/^55000: could not get a consistent snapshot because server "b" is not ready/, 'one with it is not');
$reader->run('ROLLBACK');

# Up again, but not done with what was left; and then the coordinator forgets what that is.
sub start_unrecovered
{
	$cluster->failpoint('hub', 'xa-sweep', 'wait');
	$cluster->node('b')->start;
	stopped_at('hub', 'xa-sweep') or die 'there is nothing to recover';
	return;
}
start_unrecovered();
like(error_of(snapshot($reader, 'all')), qr/^40001: could not get a consistent snapshot because transaction "braid:\S+" is not finished on server "b"/, 'what is left to recovery is named');
$reader->run('ROLLBACK');
$dies->($_) for 'hub', 'b';
$hub->start;
start_unrecovered();
($reader, $writer, $second) = map { session() } 1 .. 3;
is_ok(snapshot($reader, 'a'), 'after a restart of the coordinator: a server that was swept can be read');
$reader->run('COMMIT');
like(error_of(snapshot($reader, 'all', 'SET LOCAL braid.xa_ready_timeout = 50')), qr/^55000: could not get a consistent snapshot because server "b" is recovering/, 'one that was not cannot');
$reader->run('ROLLBACK');
$reader->run($begin);
$reader->run("SET LOCAL braid.xa_ready_timeout = '60 s'");
$reader->send("SET LOCAL braid.snapshot = 'all'");
ok(waits_as($reader, 'BraidServerReady'), 'a snapshot waits for it to recover');
$cluster->failpoint('hub', 'xa-sweep', 'off');
is_ok($reader->wait, 'it has recovered');
is(seen($reader), whole($done), 'and all is there');

# ---- at random, with everything killed once

my $transfers = <<'SQL';
\set id random(1, 100)
\set way random(1, 4)
\if :way = 1
BEGIN; UPDATE t SET v = v - 3 WHERE id = :id; UPDATE t_a SET v = v + 1 WHERE id = :id; UPDATE t_b SET v = v + 2 WHERE id = :id; COMMIT;
\elif :way = 2
BEGIN; SET LOCAL braid.xa_commit_wait = off; UPDATE t_a SET v = v - 5 WHERE id = :id; SAVEPOINT s; UPDATE t_b SET v = v + 5 WHERE id = :id; COMMIT;
\elif :way = 3
BEGIN; UPDATE t_b SET v = v - 2 WHERE id = :id; UPDATE t SET v = v + 2 WHERE id = :id; COMMIT;
\else
BEGIN; UPDATE t_a SET v = v - 1 WHERE id = 1; UPDATE t_a SET v = v + 1 WHERE id = 2; COMMIT;
\endif
SQL
my $retryable = qr/^(?:40001|40P01|55P03|55000|08...|57P0.)$/;
my (%count, @torn, @strange);
sub read_once
{
	my ($client) = @_;
	my $read = snapshot($client, 'all');
	$read = $client->run($sums) if !$read->{error} && !$read->{lost};
	return 'lost' if $read->{lost};
	if ($read->{error})
	{
		push @strange, error_of($read) if $read->{error}{C} !~ $retryable;
		$client->run('ROLLBACK');
		return 'error';
	}
	my @v = @{ $read->{rows}[0] };
	push @torn, "@v" if $v[0] + $v[1] + $v[2] != 0;
	$client->run('COMMIT');
	return 'read';
}
sub read_for
{
	my ($length) = @_;
	my $until = time + $length;
	my $client;
	while (time < $until)
	{
		$client //= eval { session() };
		if (!$client) { select undef, undef, undef, 0.05; next; }
		my $what = read_once($client);
		$count{$what}++;
		undef $client if $what eq 'lost';
		select undef, undef, undef, 0.02 if $what eq 'error';
	}
	return;
}
my $load = $cluster->start_load('hub', $transfers, 4);
read_for($seconds);
is_deeply([ @count{qw(error lost)} ], [ undef, undef ], 'undisturbed, every snapshot is to be had');
my $kill = sub { my ($type) = @_; my $pid = eval { $cluster->sql('hub', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1") }; kill 'KILL', $pid if $pid; return; };
for my $event (
	sub { my $pid = eval { $cluster->sql('hub', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid resolver'") }; },
	sub { $kill->('braid resolver'); },
	sub { $kill->('client backend'); },
	sub { $dies->('b'); $cluster->node('b')->start; },
	sub { $dies->('hub'); $hub->start; })
{
	$event->();
	read_for($seconds / 4 + 0.5);
}
$cluster->stop_load($load);
ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'all transactions are finished');
read_for(0.5);
is(scalar @torn, 0, 'no snapshot is torn') or diag join "\n", splice @torn, 0, 10;
is(scalar @strange, 0, 'and errors are such that one tries again') or diag join "\n", splice @strange, 0, 10;
note join ', ', map { "$_: $count{$_}" } sort keys %count;
cmp_ok($count{read}, '>', 100, 'many were read');
for my $name ($cluster->names)
{
	my @bad = grep { /TRAP|PANIC|terminated by signal (?!9\b)/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($cluster->node($name)->logfile);
	is("@bad", '', "$name: no process has failed by itself");
}
done_testing();
