# Relays between three nodes: each message arrives once, and in order within its key, whatever is killed, stopped or
# cut. BRAID_MESSAGES asks for a longer run of the first part, with more clients.
use strict;
use warnings;
use lib 'test/lib';
use Braid::Cluster;
use Braid::Messages;
use Braid::Proxy;
use Test::More;
use Time::HiRes qw(sleep);

my $cluster = Braid::Cluster->new('a', 'b', 'c');
my %proxy;

# A server on one node for another, behind a network that can be cut.
sub connect_through_proxy
{
	my ($from, $to) = @_;
	my $proxy = $proxy{"$from$to"} = Braid::Proxy->new($cluster->node($to));
	my $user = getpwuid $<;
	$cluster->sql($from, "CREATE SERVER to_$to FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '127.0.0.1', port '@{[ $proxy->port ]}', dbname 'postgres'); CREATE USER MAPPING FOR PUBLIC SERVER to_$to OPTIONS (user '$user')");
	return;
}
connect_through_proxy(@$_) for [ 'b', 'a' ], [ 'c', 'b' ], [ 'a', 'c' ], [ 'c', 'a' ], [ 'a', 'b' ];
$cluster->sql($_, "ALTER SYSTEM SET braid.topic_relay_timeout = '2s'; ") for 'a', 'b', 'c';
$cluster->sql($_, 'SELECT pg_reload_conf()') for 'a', 'b', 'c';

sub wait_streaming
{
	my ($name, $relay, $may_lag) = @_;
	my $lag = $may_lag ? '' : 'AND lag_messages = 0';
	$cluster->wait_for($name, "SELECT state = 'streaming' $lag FROM braid.relays WHERE relay = '$relay'") or die "relay $relay on $name does not get ready";
	return;
}

# ---- a to b to c, and everything is killed and cut meanwhile

my $messages = Braid::Messages->new($cluster, { keys => 20 });
$cluster->sql('a', "SELECT braid.create_topic('orders', partitions => 4, retain => '1 hour')");
$cluster->sql('b', "SELECT braid.create_topic('orders', partitions => 3)");
$cluster->sql('c', "SELECT braid.create_topic('orders', partitions => 2, retain => '1 hour'); SELECT braid.create_group('orders', 'g')");
is($cluster->sql('b', "SELECT braid.create_relay('public.orders', 'to_a', 'orders', batch_rows => 100)"), 'orders_to_a', 'a relay has a name');
$cluster->sql('c', "SELECT braid.create_relay('public.orders', 'to_b', 'orders', batch_rows => 100)");
$messages->make_producers('a');
$messages->make_consumers('c');
my ($nproducers, $nconsumers) = Braid::Messages::asked() ? (8, 8) : (3, 2);
my @producers = map { $messages->produce('a', 'orders', { two_phase => 1 }) } 1 .. $nproducers;
my @consumers = map { $messages->consume('c', 'orders', 'g') } 1 .. $nconsumers;
wait_streaming('b', 'orders_to_a');

sub relay_pid
{
	my ($name) = @_;
	return $cluster->sql($name, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid relay' AND datname = 'postgres'") || 0;
}

sub source_pid
{
	my ($name) = @_;
	return $cluster->sql($name, "SELECT pid FROM pg_stat_activity WHERE application_name = 'braid relay' AND backend_type = 'client backend' LIMIT 1") || 0;
}

my %cut = (
	reset => sub { $proxy{ba}->set('reset'); sleep 0.3; $proxy{ba}->set('pass'); },
	drop => sub { $proxy{cb}->set('drop'); sleep 1; $proxy{cb}->set('pass'); },
	stall => sub { $proxy{ba}->set('stall'); sleep 0.5; $proxy{ba}->set('pass'); },
	stop => sub { my $pid = relay_pid('c') or return; kill 'STOP', $pid; sleep 0.7; kill 'CONT', $pid; },
);
my $round = 0;
until ($round >= 2 && $messages->enough('a'))
{
	$round++;
	$cut{$_}->() for sort keys %cut;
	for my $name ('b', 'c')
	{
		my $pid = relay_pid($name) or next;
		kill 'TERM', $pid;
		sleep 0.3;
	}
	my $pid = source_pid($round % 2 ? 'a' : 'b');
	kill 'TERM', $pid if $pid;
	sleep 0.3;
	$cluster->kill_node($_), $cluster->start_again($_) for $round % 2 ? 'b' : ('a', 'c');
	my $crashing = $round % 2 ? 'c' : 'b';
	wait_streaming($crashing, $crashing eq 'c' ? 'orders_to_b' : 'orders_to_a', 1);
	my $relay = relay_pid($crashing);
	$cluster->kill_process($crashing, $relay) if $relay;
	$cluster->wait_alive($_) for 'a', 'b', 'c';
	$messages->end_prepared('a');
	sleep 0.5;
}

# Between the commit of a batch and everything that follows, and before it.
$cluster->crash_at('b', $_) for 'relay-stored', 'relay-committed';
$cluster->crash_at('a', 'relay-source-collected');
$messages->stop(@producers);
$messages->end_prepared('a');

sub all_there
{
	my ($name, $relay, $node, $from) = @_;
	my $sent = $cluster->sql($from, "SELECT count(*) FROM messages.sent");
	$cluster->wait_for($name, "SELECT count(*) = $sent FROM messages.effects") or diag 'only ' . $cluster->sql($name, 'SELECT count(*) FROM messages.effects') . " of $sent";
	return;
}
all_there('c', 'orders_to_b', 'c', 'a');
$messages->stop(@consumers);
is_deeply([ $messages->check('a', 'orders', 'c', 'g') ], [], 'a chain: each message once, in the order of its key');
cmp_ok($messages->checked, '>', 200, 'enough messages: ' . $messages->checked);
is($messages->check_positions('c', 'orders', 'g'), '', 'and positions are as far as the work');
is($cluster->sql('b', "SELECT messages >= @{[ $messages->checked ]} FROM braid.relays"), 't', 'what a relay has brought is counted');

# ---- a ring, both ways: nothing goes round

my @names = ('a', 'b', 'c');
$cluster->sql($_, "SELECT braid.create_topic('ring', partitions => 2, retain => '1 hour')") for @names;
$cluster->sql($_->[0], "SELECT braid.create_relay('public.ring', 'to_$_->[1]', 'ring')") for [ 'b', 'a' ], [ 'c', 'b' ], [ 'a', 'c' ], [ 'a', 'b' ];
$cluster->sql($_, "SELECT braid.send('ring', to_jsonb('$_' || i), key => '$_') FROM generate_series(1, 30) i") for @names;
my $all = join ',', sort map { my $n = $_; map { "$n$_" } 1 .. 30 } @names;
for my $name (@names)
{
	$cluster->wait_for($name, "SELECT count(DISTINCT payload) = 90 FROM ring") or diag "$name has " . $cluster->sql($name, 'SELECT count(DISTINCT payload) FROM ring');
	is($cluster->sql($name, "SELECT string_agg(p, ',' ORDER BY p COLLATE \"C\") FROM (SELECT DISTINCT payload #>> '{}' AS p FROM ring) s"), $all, "a ring: all has come to $name");
}
sleep 1;
# From b there are two ways to a: that of its own relay, and that over c.
is($cluster->sql('b', 'SELECT count(*) FROM ring'), 90, 'and nothing twice where there is one way');
is($cluster->sql('c', 'SELECT count(*) FROM ring'), 90, 'nor behind it');
is($cluster->sql('a', "SELECT string_agg(k || n, ' ' ORDER BY k) FROM (SELECT key AS k, count(*) AS n FROM ring GROUP BY 1) s"), 'a30 b60 c30', 'twice where there are two');
is($cluster->sql('a', "SELECT bool_and(looped > 0) FROM braid.relays WHERE target = 'ring'::regclass"), 't', 'what came back was left out');
my $counts = join ' ', map { $cluster->sql($_, 'SELECT count(*) FROM ring') } @names;
$cluster->kill_node('b');
$cluster->start_again('b');
$cluster->sql('b', "SELECT braid.send('ring', '\"last\"')");
$cluster->wait_for('c', q{SELECT count(*) = 1 FROM ring WHERE payload = '"last"'}) or die;
is(join(' ', map { $cluster->sql($_, q{SELECT count(*) FROM ring WHERE payload <> '"last"'}) } @names), $counts, 'nor after a crash');

# ---- two into one

$cluster->sql($_, "SELECT braid.create_topic('part', partitions => 2, retain => '1 hour')") for 'a', 'b';
$cluster->sql('c', "SELECT braid.create_topic('part', partitions => 3, retain => '1 hour'); SELECT braid.create_group('part', 'fan')");
$cluster->sql('c', "SELECT braid.create_relay('public.part', 'to_$_', 'part')") for 'a', 'b';
$messages->make_producers('b');
$messages->stop(map { my $p = $messages->produce($_, 'part'); sleep 0.8; $p } 'a', 'b');
my @fan = map { $messages->consume('c', 'part', 'fan') } 1 .. 2;
my $sent = 0;
$sent += $cluster->sql($_, "SELECT count(*) FROM messages.sent WHERE topic = 'part'::regclass") for 'a', 'b';
$cluster->wait_for('c', "SELECT count(*) = $sent FROM messages.effects WHERE group_name = 'fan'");
$messages->stop(@fan);
is_deeply([ $messages->check('a,b', 'part', 'c', 'fan') ], [], 'fan-in: each message once, in the order of each sender');

# ---- what is said when it does not go on

$cluster->sql('c', "SELECT braid.alter_relay('part_to_a', paused => true)");
is($cluster->sql('c', "SELECT state FROM braid.relays WHERE relay = 'part_to_a'"), 'paused', 'a relay is paused');
$cluster->sql('c', "SELECT braid.resume_relay('part_to_a')");
wait_streaming('c', 'part_to_a');
$proxy{ca}->set('reset');
$cluster->wait_for('c', "SELECT state = 'failing' AND reason <> '' FROM braid.relays WHERE relay = 'part_to_a'");
like($cluster->sql('c', "SELECT reason FROM braid.relays WHERE relay = 'part_to_a'"), qr/server closed the connection|connection/, 'the reason why a source is not reached');
$proxy{ca}->set('pass');
wait_streaming('c', 'part_to_a');

$cluster->sql('c', "SELECT braid.alter_relay('part_to_a', target_limit => 1)");
$cluster->sql('a', "SELECT braid.send('part', '1')");
$cluster->wait_for('c', "SELECT state = 'held' FROM braid.relays WHERE relay = 'part_to_a'") or die 'not held';
pass('a target that is large enough holds its relay back');
$cluster->sql('c', "SELECT braid.alter_relay('part_to_a', target_limit => 0)");
wait_streaming('c', 'part_to_a');

# The owner of a target who is no superuser.
$cluster->sql('c', "CREATE ROLE someone LOGIN; CREATE SCHEMA someone AUTHORIZATION someone");
$cluster->sql('c', "SET ROLE someone; SELECT braid.create_topic('someone.t')");
my (undef, undef, $error) = $cluster->try_sql('c', "SET ROLE someone; SELECT braid.create_relay('public.part', 'to_a', 'someone.t')");
like($error, qr/role "someone" may not use server "to_a"/, 'needs USAGE on the server');
$cluster->sql('c', "GRANT USAGE ON FOREIGN SERVER to_a TO someone; SET ROLE someone; SELECT braid.create_relay('public.part', 'to_a', 'someone.t', name => 'his')");
$cluster->wait_for('c', "SELECT state = 'failing' FROM braid.relays WHERE relay = 'his'");
like($cluster->sql('c', "SELECT reason FROM braid.relays WHERE relay = 'his'"), qr/^a password is required/, 'and a password');
$cluster->sql('c', 'DROP VIEW someone.t CASCADE');
is($cluster->sql('c', "SELECT count(*) FROM braid.relays WHERE relay = 'his'"), 0, 'a relay goes with its target');

# The group that holds messages is gone.
my $group = $cluster->sql('a', "SELECT name FROM braid_internal.groups WHERE name LIKE 'relay part_to_a%'");
$cluster->sql('c', "SELECT braid.alter_relay('part_to_a', paused => true)");
$cluster->sql('a', "SELECT braid.drop_group('part', '$group')");
$cluster->sql('c', "SELECT braid.resume_relay('part_to_a')");
$cluster->wait_for('c', "SELECT state = 'stopped' FROM braid.relays WHERE relay = 'part_to_a'") or die 'not stopped';
like($cluster->sql('c', "SELECT reason FROM braid.relays WHERE relay = 'part_to_a'"), qr/does not know the relay/, 'a source that has forgotten the relay stops it');
(undef, undef, $error) = $cluster->try_sql('c', "SELECT braid.resume_relay('part_to_a')");
like($error, qr/has stopped, and does not know where to go on/, 'and it does not go on by itself');
$cluster->sql('c', "SELECT braid.resume_relay('part_to_a', 'position')");
$cluster->sql('a', "SELECT braid.send('part', '\"again\"')");
$cluster->wait_for('c', q{SELECT count(*) = 1 FROM part WHERE payload = '"again"'}) or die 'does not go on';
pass('but from its position, when told');

$cluster->sql('c', "SELECT braid.drop_relay('part_to_a')");
$cluster->wait_for('c', "SELECT count(*) = 0 FROM braid.relays WHERE relay = 'part_to_a'");
is($cluster->sql('a', "SELECT count(*) FROM braid_internal.groups WHERE name LIKE 'relay part_to_a%'"), 0, 'a relay that is dropped is nothing that its source waits for');
$cluster->kill_node('b');
$cluster->sql('c', "SELECT braid.drop_relay('part_to_b')");
$cluster->wait_for('c', "SELECT state = 'dropping' AND reason <> '' FROM braid.relays WHERE relay = 'part_to_b'");
pass('if that is not reached, the relay says why it is still there');
$cluster->sql('c', "SELECT braid.drop_relay('part_to_b', at_source => false)");
is($cluster->sql('c', "SELECT count(*) FROM braid.relays WHERE relay = 'part_to_b'"), 0, 'or goes at once');

done_testing();
