# Transfers between two nodes, noted in a journal at the coordinator, while
# something is killed with SIGKILL at each point of the protocol. After each
# kill the balances of both nodes agree with the journal, and no transaction
# stays prepared anywhere. BRAID_ROUNDS repeats the whole.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "fsync = on\n" });
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE acct (id int PRIMARY KEY, bal bigint NOT NULL);
		INSERT INTO acct SELECT g, 0 FROM generate_series(1, 1000) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE acct_$name (id int, bal bigint) SERVER $name OPTIONS (table_name 'acct')");
}
$cluster->sql('hub', 'CREATE TABLE journal (amount int)');

my $transfer = <<'SQL';
\set amount random(1, 100)
\set x random(1, 1000)
\set y random(1, 1000)
BEGIN;
INSERT INTO journal VALUES (:amount);
UPDATE acct_a SET bal = bal - :amount WHERE id = :x;
UPDATE acct_b SET bal = bal + :amount WHERE id = :y;
COMMIT;
SQL

sub check
{
	my ($what) = @_;
	for my $name ($cluster->names)
	{
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing stays prepared on $name");
	}
	my $journal = $cluster->sql('hub', 'SELECT coalesce(sum(amount), 0) FROM journal');
	is($cluster->sql('a', 'SELECT sum(bal) FROM acct'), -$journal, "$what: the first node agrees with the journal");
	is($cluster->sql('b', 'SELECT sum(bal) FROM acct'), $journal, "$what: the second node agrees with the journal");
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), "$what: nothing stays in doubt");
	return;
}

# Runs the load, lets something happen, waits until all is well again.
sub under_load
{
	my ($what, $event) = @_;
	my %load = (script => $transfer, clients => 4, counted => 'SELECT count(*) FROM journal', enough => 20);
	ok($cluster->under_load('hub', \%load, $event), "$what: work goes on");
	check($what);
	return;
}

for my $round (1 .. $rounds)
{
	for my $point ('xa-enlisted', 'xa-before-prepare', 'xa-prepared', 'xa-committed', 'xa-finish', 'xa-branch-finished')
	{
		under_load("coordinator crashes at $point", sub { $cluster->crash_at('hub', $point) });
	}
	under_load('a backend of the coordinator is killed while a participant prepares', sub {
		$cluster->failpoint('a', 'xa-participant-prepare', 'wait');
		$cluster->wait_for('a', "SELECT braid_internal.failpoint_waiting('xa-participant-prepare') > 0");
		my $pid = $cluster->sql('hub', "SELECT pid FROM braid.transactions WHERE state = 'active' AND cardinality(servers) = 2 LIMIT 1");
		ok($pid, 'there is a backend in its COMMIT');
		$cluster->kill_process('hub', $pid);
		$cluster->failpoint('a', 'xa-participant-prepare', 'off');
	});
	under_load('participant crashes at PREPARE', sub { $cluster->crash_at('a', 'xa-participant-prepare') });
	under_load('resolver crashes in a sweep', sub {
		$cluster->failpoint('hub', 'xa-sweep', 'crash');
		my $log = $cluster->node('hub')->logfile;
		my $offset = -s $log;

		# A participant that crashes leaves something to sweep.
		$cluster->crash_at('b', 'xa-participant-prepare');
		for (1 .. 50)
		{
			last if PostgreSQL::Test::Utils::slurp_file($log, $offset) =~ /crashing at failpoint/;
			select undef, undef, undef, 0.1;
		}
	});
	under_load('a whole participant is killed', sub {
		$cluster->kill_node('b');
		select undef, undef, undef, 0.5;
		$cluster->start_again('b');
	});
	under_load('the whole coordinator is killed', sub {
		$cluster->kill_node('hub');
		$cluster->start_again('hub');
	});
	under_load('all nodes are killed', sub {
		$cluster->kill_node($_) for reverse $cluster->names;
		$cluster->start_again($_) for $cluster->names;
	});
	under_load('the resolver is terminated', sub {
		$cluster->sql('hub', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid resolver'");
	});
}
done_testing();
