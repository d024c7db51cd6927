# Transactions that stay open while all others send and receive: one that has sent, and one that has a snapshot. What
# others do costs what it costs without them; no message is left out or comes twice, and that of the open transaction
# comes to every group when it is committed. BRAID_HOLD says for how many seconds they stay open.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Braid::Messages;
use Test::More;
use Time::HiRes qw(sleep time);

my $hold = $ENV{BRAID_HOLD} || 4;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.topic_rotate_interval = 200ms
braid.topic_segment_size = 1MB
braid.topic_segment_age = 1s
CONF
my $node = $cluster->node('db');
my $messages = Braid::Messages->new($cluster, { keys => 30 });
$messages->make_producers('db');
$messages->make_consumers('db');
my @groups = qw(free members work);
$cluster->sql('db', "SELECT braid.create_topic('orders', partitions => 4, retain => '1 hour')");
$cluster->sql('db', "SELECT braid.create_group('orders', '$_')") for qw(free members probe);
$cluster->sql('db', "SELECT braid.create_group('orders', '$_', 'work', options => '{\"max_attempts\": 0}')") for qw(work probe_work);

# ---------------------------------------------------------------- what it costs

# The median of the buffers that a statement touches.
sub buffers
{
	my ($client, $statement) = @_;
	my @n = map {
		my $plan = $client->value("EXPLAIN (ANALYZE, BUFFERS, FORMAT json) $statement");
		my ($hit) = $plan =~ /"Shared Hit Blocks": (\d+)/;
		my ($read) = $plan =~ /"Shared Read Blocks": (\d+)/;
		$hit + $read;
	} 1 .. 21;
	return (sort { $a <=> $b } @n)[10];
}

# With nobody else at work; what others have left is passed over.
sub costs
{
	my $client = Braid::Client->new($node);
	1 while $client->value("SELECT count(*) FROM braid.receive('orders', 'probe', max_rows => 10000)");
	1 while $client->value("SELECT count(*) FROM braid.take('orders', 'probe_work', max_rows => 1000)");
	my %cost = (send => buffers($client, "SELECT braid.send('orders', '1'::jsonb) FROM generate_series(1, 100)"));
	$cost{receive} = buffers($client, "SELECT * FROM braid.receive('orders', 'probe', max_rows => 100)");
	$cost{take} = buffers($client, "SELECT * FROM braid.take('orders', 'probe_work', max_rows => 100)");
	$client->close;
	return \%cost;
}

# ---------------------------------------------------------------- all at work

sub take
{
	my ($client) = @_;
	my $rows = 1 + int rand 50;
	$client->run('BEGIN');
	$client->run("INSERT INTO messages.effects (topic, group_name, part, id, key, n, token) SELECT 'orders', 'work', partition, id, key, (payload->>'n')::int, payload->>'token' FROM braid.take('orders', 'work', $rows, wait => '0.2 s') WHERE payload ? 'token'");
	$client->run(rand() < 0.1 ? 'ROLLBACK' : 'COMMIT');
	return;
}

sub sent { return $cluster->sql('db', 'SELECT count(*) FROM messages.sent'); }

my ($sender, $reader) = map { Braid::Client->new($node) } 1 .. 2;
$reader->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->run('SELECT 1');
$sender->run('BEGIN');
$sender->run(q{SELECT braid.send('orders', '{"n": 1, "token": "held"}', key => 'held')});
$sender->run(q{INSERT INTO messages.sent VALUES ('orders', 'held', 1, 'held')});
my @producers = map { $messages->produce('db', 'orders', { rest => 0.02, two_phase => $_ % 2 }) } 1 .. 8;
my @consumers = map { $messages->consume('db', 'orders', 'free') } 1 .. 3;
push @consumers, map { $messages->consume('db', 'orders', 'members', { member => 1 }) } 1 .. 2;
push @consumers, map { $messages->consume('db', 'orders', 'work', { receive => \&take }) } 1 .. 3;
my @sent = (0);
for my $quarter (1 .. 4)
{
	sleep($hold / 4);
	push @sent, sent();
	note sprintf 'quarter %d: %.0f messages/s', $quarter, ($sent[-1] - $sent[-2]) / ($hold / 4);
}
$messages->stop(@producers);
$messages->end_prepared('db');
my $effects = '(SELECT count(*) FROM messages.effects WHERE group_name = \'%s\')';
for my $group (@groups)
{
	ok($cluster->wait_for('db', 'SELECT ' . sprintf($effects, $group) . ' = (SELECT count(*) FROM messages.sent)'), "group $group has had all, while the transactions are open");
}
is($cluster->sql('db', "SELECT count(*) FROM messages.effects WHERE token = 'held'"), 0, 'but what is not committed');
my $open = costs();
is($sender->run('COMMIT')->{error}, undef, 'the sender was open all the time');
is($reader->run('COMMIT')->{error}, undef, 'and so was the reader');
for my $group (@groups)
{
	ok($cluster->wait_for('db', 'SELECT ' . sprintf($effects, $group) . ' = (SELECT count(*) FROM messages.sent)'), "group $group has had the last one");
}
$messages->stop(@consumers);
my $ended = costs();
for my $what (qw(send receive take))
{
	note "buffers, $what of 100: $open->{$what} while they were open for $hold s, $ended->{$what} when they had ended";
	cmp_ok($open->{$what}, '<=', $ended->{$what} + 20, "$what touched as many buffers while they were open");
}
for my $group (@groups)
{
	is_deeply([ $messages->check('db', 'orders', 'db', $group, { any_order => $group eq 'work' }) ], [], "each message reached group $group once" . ($group eq 'work' ? '' : ', in order'));
}
note $messages->checked . ' messages';
$cluster->sql('db', "SELECT braid.drop_group('orders', '$_')") for @groups, qw(probe probe_work);
$cluster->sql('db', q{SELECT braid.alter_topic('orders', '{"retain": "0 s"}')});
ok($cluster->wait_for('db', "SELECT braid.rotate_topic('orders') IS NOT NULL AND sum(pg_relation_size(inhrelid)) < 1000000 FROM pg_inherits WHERE inhparent = 'braid_internal.topic_1'::regclass"),
	'and the space is given back');
done_testing();
