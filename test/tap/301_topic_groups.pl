# Producers that roll back and prepare, and consumers that do, while backends are terminated and killed
# and the server is stopped: each message has one effect, in the order of its key, and no
# position is ahead of the work that was committed with it. The seed is printed; BRAID_SEED
# repeats a run's choices, BRAID_ROUNDS and BRAID_MESSAGES ask for more.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Messages;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
autovacuum = off
braid.topic_rotate_interval = 200ms
braid.topic_segment_size = 256kB
CONF
my $node = $cluster->node('db');
my $messages = Braid::Messages->new($cluster, { keys => 30 });
$messages->make_producers('db');
$messages->make_consumers('db');
$cluster->sql('db', <<'SQL');
SELECT braid.create_topic('orders', partitions => 4, retain => '0');
SELECT braid.create_group('orders', 'free');
SELECT braid.create_group('orders', 'members');
SQL

# One snapshot of both, while all are at work.
sub positions_are_right
{
	my ($when) = @_;
	is($messages->check_positions('db', 'orders', $_), '', "$when: positions of group $_ are those of the work") for qw(free members);
	return;
}

for my $round (1 .. $rounds)
{
	my @producers = map { $messages->produce('db', 'orders', { pause => 0.05, two_phase => $_ % 2 }) } 1 .. 8;
	my @consumers = map { $messages->consume('db', 'orders', 'free', { pause => 0.05 }) } 1 .. 4;
	push @consumers, map { $messages->consume('db', 'orders', 'members', { member => 1, session_timeout => '500 ms', pause => 2 }) } 1 .. 4;
	do
	{
		for my $disturb ($messages->disturbances)
		{
			sleep(1);
			positions_are_right('meanwhile');
			$messages->$disturb('db');
			$messages->end_prepared('db');
		}
	} until $messages->enough('db');
	sleep(1);
	$messages->stop(@producers);
	$messages->end_prepared('db');
	$messages->drain('db', 'orders', $_) for qw(free members);
	$messages->stop(@consumers);
	positions_are_right('at the end');
	is_deeply([ $messages->check('db', 'orders', 'db', $_) ], [], "each message reached group $_ once, in order") for qw(free members);
	note $messages->checked . ' messages';
	cmp_ok($messages->checked, '>', 500, 'there were some');
}

# What all have consumed goes.
ok($cluster->wait_for('db', "SELECT coalesce(sum(pg_relation_size(inhrelid)), 0) < 300000 FROM pg_inherits WHERE inhparent = 'braid_internal.positions'::regclass"),
	'positions that were overtaken are given back');

done_testing();
