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
my $streams = Braid::Streams->new($cluster, 'db');

# More clients, so that there is something to do when those before have ended.
sub go_on { my ($clients) = @_; push @$clients, @{ $streams->start_clients(1, 50) }; return; }

sub kill_backend
{
	my ($clients) = @_;
	go_on($clients);
	for (1 .. 100)
	{
		my $pid = $cluster->sql('db', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid() LIMIT 1");
		return $cluster->kill_process('db', $pid) if $pid ne '';
	}
	die 'there is no backend to kill';
}

my @disturbances = (
	[ 'the worker is killed' => sub { $cluster->disturb('db', 'kill') } ],
	[ 'a backend is killed' => \&kill_backend ],
	[ 'the worker is ended' => sub { $cluster->disturb('db', 'terminate') } ],
	[ 'the server is stopped at once' => sub { $cluster->disturb('db', 'crash') } ],
	[ 'the server is killed' => sub { $cluster->kill_node('db'); $cluster->start_again('db') } ],
	map { my $point = $_; [ "the worker ends at $point" => sub { my ($clients) = @_; $cluster->crash_at('db', $point, sub { go_on($clients) }) } ] }
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
