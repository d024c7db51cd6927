# Relays whose source or target was restored to an older state, or replaced by its standby: nothing is lost
# or doubled in silence.
use strict;
use warnings;
use lib 'test/lib';
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('a', 'c');
$cluster->connect_server('c', 'a');
my $user = getpwuid $<;

# A source, a target and a relay of the same name. Messages are numbered.
sub make
{
	my ($name, $start) = @_;
	$cluster->sql('a', "SELECT braid.create_topic('$name', partitions => 2, retain => '1 hour')");
	$cluster->sql('c', "SELECT braid.create_topic('$name', partitions => 2, retain => '1 hour')");
	$cluster->sql('c', "SELECT braid.create_relay('public.$name', 'a', '$name', name => '$name', start => '$start')");
	return;
}

sub send_messages
{
	my ($node, $name, $from, $to) = @_;
	$cluster->sql($node, "SELECT braid.send('$name', to_jsonb(i), key => 'k' || i % 5) FROM generate_series($from, $to) i");
	return;
}

# The payloads that have come.
sub received
{
	my ($node, $name) = @_;
	return $cluster->sql($node, "SELECT string_agg(payload::text, ' ' ORDER BY payload::int) FROM $name");
}

sub wait_received
{
	my ($node, $name, $count) = @_;
	$cluster->wait_for($node, "SELECT count(*) = $count FROM $name") or diag "$name on $node: " . (received($node, $name) // '') . ' ' . $cluster->sql($node, "SELECT state, reason FROM braid.relays WHERE relay = '$name'");
	return;
}

sub wait_state
{
	my ($node, $name, $state) = @_;
	$cluster->wait_for($node, "SELECT state = '$state' FROM braid.relays WHERE relay = '$name'") or diag "$name on $node: " . $cluster->sql($node, "SELECT state, reason FROM braid.relays WHERE relay = '$name'");
	return $cluster->sql($node, "SELECT reason FROM braid.relays WHERE relay = '$name'");
}

# What the relay has, the source knows.
sub wait_acknowledged
{
	my ($name) = @_;
	$cluster->wait_for('a', "SELECT sum(lag_messages) = 0 FROM braid.group_positions WHERE group_name LIKE 'relay $name %'") or die "$name is not acknowledged";
	return;
}

sub numbers { return join ' ', @_; }

# Lets a node go back to the copy of its files.
sub copy_files { my ($name) = @_; my $n = $cluster->node($name); $n->stop('fast'); system('cp', '-a', $n->data_dir, $n->data_dir . '.copy') == 0 or die; $n->start; return; }

sub restore_files
{
	my ($name) = @_;
	my $n = $cluster->node($name);
	my $dir = $n->data_dir;
	$n->stop('immediate');
	system('rm', '-rf', $dir) == 0 && rename "$dir.copy", $dir or die "$dir: $!";
	$n->start;
	return;
}

# ---- where to begin

$cluster->sql('a', "SELECT braid.create_topic('old', retain => '1 hour')");
send_messages('a', 'old', 1, 10);
my $time = $cluster->sql('a', "SELECT clock_timestamp()");
send_messages('a', 'old', 11, 12);
for my $start ([ beginning => 1 .. 14 ], [ end => 13 .. 14 ], [ 5 => 6 .. 14 ], [ $time => 11 .. 14 ])
{
	my ($from, @expected) = @$start;
	my $name = "old$#expected";
	$cluster->sql('c', "SELECT braid.create_topic('$name', retain => '1 hour'); SELECT braid.create_relay('public.old', 'a', '$name', name => '$name', start => '$from')");
	wait_state('c', $name, 'streaming');
}
send_messages('a', 'old', 13, 14);
for my $expected ([ 1 .. 14 ], [ 13, 14 ], [ 6 .. 14 ], [ 11 .. 14 ])
{
	my $name = "old$#$expected";
	wait_received('c', $name, scalar @$expected);
	is(received('c', $name), numbers(@$expected), 'begins at ' . $expected->[0]);
	$cluster->sql('c', "SELECT braid.drop_relay('$name')");
}

# ---- the source's files are those of before

make('cold', 'beginning');
make('late', 'beginning');
send_messages('a', $_, 1, 10) for 'cold', 'late';
wait_received('c', $_, 10) for 'cold', 'late';
copy_files('a');
send_messages('a', $_, 11, 20) for 'cold', 'late';
wait_received('c', $_, 20) for 'cold', 'late';
wait_acknowledged($_) for 'cold', 'late';
$cluster->sql('c', "SELECT braid.alter_relay('late', paused => true)");
restore_files('a');
like(wait_state('c', 'cold', 'stopped'), qr/^the source was restored to an older state, before/, 'a source that was restored stops its relay');
like($cluster->sql('c', "SELECT advice FROM braid.relays WHERE relay = 'cold'"), qr/braid\.resume_relay/, 'which says what to do');

# WAL is past the place where it was before anybody asks.
send_messages('a', 'late', 101, 120);
$cluster->sql('a', "CREATE TABLE filler AS SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
$cluster->sql('c', "SELECT braid.resume_relay('late')");
like(wait_state('c', 'late', 'stopped'), qr/^the source was restored to an older state/, 'also if it has come further since');
$cluster->sql('c', "SELECT braid.resume_relay('late', '10')");
wait_received('c', 'late', 40);
is(received('c', 'late'), numbers(1 .. 20, 101 .. 120), 'goes on behind an id');
$cluster->sql('c', "SELECT braid.resume_relay('cold', 'end')");
wait_state('c', 'cold', 'streaming');
send_messages('a', 'cold', 201, 203);
wait_received('c', 'cold', 23);
is(received('c', 'cold'), numbers(1 .. 20, 201 .. 203), 'or at the end');

# ---- the target's files are those of before

make('again', 'beginning');
make('gone', 'beginning');
send_messages('a', $_, 1, 10) for 'again', 'gone';
wait_received('c', $_, 10) for 'again', 'gone';
wait_acknowledged($_) for 'again', 'gone';
copy_files('c');
send_messages('a', $_, 11, 20) for 'again', 'gone';
wait_received('c', $_, 20) for 'again', 'gone';
wait_acknowledged($_) for 'again', 'gone';
$cluster->sql('a', "SELECT braid.alter_topic('gone', '{\"retain\": \"0 s\"}')");
$cluster->sql('a', "SELECT braid.rotate_topic('gone')") for 1 .. 4;
is($cluster->sql('a', 'SELECT count(*) FROM gone'), 0, 'what was relayed is removed');
restore_files('c');
wait_received('c', 'again', 20);
is(received('c', 'again'), numbers(1 .. 20), 'a target that was restored gets again what it has lost');
like(wait_state('c', 'gone', 'stopped'), qr/has removed some of what came after it/, 'or says that it cannot');
$cluster->sql('c', "SELECT braid.resume_relay('gone', 'position')");
send_messages('a', 'gone', 21, 22);
wait_received('c', 'gone', 12);
is(received('c', 'gone'), numbers(1 .. 10, 21, 22), 'and goes on with what there is');

# ---- the target comes out of a dump

my $dump = $cluster->node('c')->data_dir . '.dump';
$cluster->node('c')->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $cluster->node('c')->connstr('postgres') ], 'a database with relays is dumped');
$cluster->sql('c', 'CREATE DATABASE copy');
$cluster->node('c')->command_ok([ 'pg_restore', '-d', $cluster->node('c')->connstr('copy'), $dump ], 'and restored');
is($cluster->node('c')->safe_psql('copy', "SELECT DISTINCT state, reason FROM braid.relays"), 'stopped|it was restored from a dump', 'relays wait for somebody to resume them');
send_messages('a', 'again', 21, 22);
$cluster->node('c')->safe_psql('copy', "SELECT braid.resume_relay('again', 'position')");
$cluster->node('c')->poll_query_until('copy', 'SELECT count(*) = 22 FROM again');
is($cluster->node('c')->safe_psql('copy', "SELECT string_agg(payload::text, ' ' ORDER BY payload::int) FROM again"), numbers(1 .. 22), 'and go on where they were');
wait_received('c', 'again', 22);
is(received('c', 'again'), numbers(1 .. 22), 'beside the relay of the original');
$cluster->node('c')->safe_psql('copy', "SELECT braid.drop_relay(relay) FROM braid.relays");

# ---- the source's standby is promoted

make('moved', 'beginning');
make('lost', 'beginning');
$cluster->add_standby('a', 'a2');
send_messages('a', $_, 1, 10) for 'moved', 'lost';
wait_received('c', $_, 10) for 'moved', 'lost';
$cluster->node('a')->wait_for_catchup('a2');
$cluster->sql('c', "SELECT braid.alter_relay('moved', paused => true)");
$cluster->node('a2')->stop('fast');
send_messages('a', $_, 11, 15) for 'moved', 'lost';
wait_received('c', 'lost', 15);
$cluster->kill_node('a');
$cluster->node('a2')->start;
$cluster->promote('a2');
$cluster->wait_for('a2', 'SELECT NOT pg_is_in_recovery()');
send_messages('a2', $_, 101, 105) for 'moved', 'lost';
my ($host, $port) = ($cluster->node('a2')->host, $cluster->node('a2')->port);
$cluster->sql('c', "ALTER SERVER a OPTIONS (SET host '$host', SET port '$port'); SELECT braid.resume_relay('moved')");
wait_received('c', 'moved', 15);
is(received('c', 'moved'), numbers(1 .. 10, 101 .. 105), 'a promoted standby that has all that the relay has: it goes on');
like(wait_state('c', 'lost', 'stopped'), qr/a standby that was promoted and had not received all/, 'one that has not stops the relay');
$time = $cluster->sql('a2', "SELECT min(sent_at) FROM lost WHERE payload::int > 100");
$cluster->sql('c', "SELECT braid.resume_relay('lost', '$time')");
wait_received('c', 'lost', 20);
is(received('c', 'lost'), numbers(1 .. 15, 101 .. 105), 'which goes on at a time');

# ---- the target's standby is promoted

$cluster->add_standby('c', 'c2');
$cluster->node('c')->wait_for_catchup('c2');
$cluster->node('c2')->stop('fast');
send_messages('a2', 'moved', 106, 110);
wait_received('c', 'moved', 20);
$cluster->kill_node('c');
$cluster->node('c2')->start;
$cluster->promote('c2');
wait_received('c2', 'moved', 20);
is(received('c2', 'moved'), numbers(1 .. 10, 101 .. 110), 'a promoted target gets again what it had not received from its primary');

done_testing();
