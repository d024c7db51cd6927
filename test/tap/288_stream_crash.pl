# Rows that are written to a stream and to a table by the same random transactions, while the
# capture worker, backends and the whole server are killed: each view on the streams
# is then what its query says over the tables. Exactly once, through any crash. The seed
# is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Streams;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
max_prepared_transactions = 50
wal_writer_delay = 10ms
autovacuum = off
CONF
my $node = $cluster->node('db');
my $streams = Braid::Streams->new($cluster, 'db');

sub pid_of { return $cluster->sql('db', "SELECT pid FROM pg_stat_activity WHERE $_[0] AND pid <> pg_backend_pid() LIMIT 1"); }

# Kills a process if there is one, and waits until the server is back.
sub kill_one
{
	my ($pid) = @_;
	$cluster->kill_process('db', $pid) if $pid ne '';
	return;
}

# More clients, so that there is something to do when those before have ended.
sub go_on { my ($clients) = @_; push @$clients, @{ $streams->start_clients(1, 50) }; return; }

sub kill_backend
{
	my ($clients) = @_;
	go_on($clients);
	for (1 .. 100)
	{
		my $pid = pid_of("backend_type = 'client backend' AND state <> 'idle'");
		return kill_one($pid) if $pid ne '';
	}
	die 'there is no backend to kill';
}

sub crash_at
{
	my ($point, $clients) = @_;
	my $offset = -s $node->logfile;
	$cluster->failpoint('db', $point, 'crash');
	go_on($clients);
	$node->wait_for_log(qr/crashing at failpoint "$point"/, $offset);
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return;
}

my @disturbances = (
	[ 'the worker is killed' => sub { kill_one(pid_of("backend_type = 'braid capture'")) } ],
	[ 'a backend is killed' => \&kill_backend ],
	[ 'the worker is ended' => sub { $cluster->sql('db', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture'") } ],
	[ 'the server is stopped at once' => sub { $node->stop('immediate'); $node->start } ],
	[ 'the server is killed' => sub { $cluster->kill_node('db'); $cluster->start_again('db') } ],
	map { my $point = $_; [ "the worker ends at $point" => sub { crash_at($point, @_) } ] }
		'capture-snapshot', 'capture-decoded', 'view-merge', 'capture-applied', 'capture-committed');

is(join("\n", $streams->differences), '', 'at first');

# Written before a crash, and committed after it.
my $before = join '; ', map { "INSERT INTO $_ (k, x, small, at) SELECT g % 6, g, 1, '2024-02-02' FROM generate_series(1, 8000) g" } 't1', 's1';
my $torn = '';
for my $round (1 .. $rounds)
{
	for (@disturbances)
	{
		my ($what, $disturb) = @$_;
		$cluster->sql('db', 'CHECKPOINT');	# what is decoded again after a crash begins here
		$cluster->sql('db', "BEGIN; $before; PREPARE TRANSACTION 'before'");
		my $clients = $streams->start_clients(3, 100);
		select undef, undef, undef, 0.2 + rand(0.3);
		$disturb->($clients);
		$cluster->wait_alive('db');

		$cluster->sql('db', "COMMIT PREPARED 'before'");

		# The clients may have lost their connections: others go on.
		my @more = @{ $streams->start_clients(2, 25) };
		$torn .= $streams->torn // '' for 1 .. 3;
		is(join("\n", $streams->finish_clients([ @$clients, @more ])), '', "$what: no client was told of an error");
		$streams->end_prepared;
		is(join("\n", $streams->differences), '', "$what: every view equals its query");
		note join ' ', 'rows:', $cluster->sql('db', 'SELECT (SELECT count(*) FROM t1), (SELECT count(*) FROM t2)');
	}
}
is($torn, '', 'what was written to both was never seen in one alone');
is($cluster->sql('db', "SELECT string_agg(DISTINCT state, ',') FROM braid.views"), 'live', 'all views are live');
cmp_ok($cluster->sql('db', 'SELECT count(*) FROM t1'), '>', 1000, 'the clients have written something');
done_testing();
