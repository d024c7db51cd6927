# How long it takes until 10,000 prepared transactions, which a crash of the
# coordinator has left on other nodes, are settled: half of them are decided to
# commit. From the start of the coordinator, whose own recovery is part of it.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $prepared = 10_000;
my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "$Braid::Bench::durable\nmax_prepared_transactions = 12000\n" });
my $next_xid = 1_000_000;

$cluster->sql($_, 'CREATE TABLE settled (id bigint)') for 'a', 'b';
$cluster->wait_for('hub', 'SELECT bool_and(ready) FROM braid.participants');

sub set_resolver
{
	my ($value) = @_;
	$cluster->sql('hub', "ALTER SYSTEM SET braid.xa_resolver = $value");
	$cluster->sql('hub', 'SELECT pg_reload_conf()');
	return;
}

# The rest of a crash between the local commit records and COMMIT PREPARED; of
# the other half, before the commit records. The gids are those of the hub's
# present incarnation, which ends with the crash.
sub leave_transactions
{
	my ($transactions, @nodes) = @_;
	my $first = $next_xid;
	my $last = $next_xid += $transactions;
	my $servers = join ', ', map { "'$_'" } @nodes;
	my $gid = $cluster->sql('hub', q{SELECT format('braid:%s:%s', lpad(to_hex(id), 16, '0'), incarnation) FROM braid_internal.coordinator});

	set_resolver('off');
	$cluster->wait_for('hub', 'SELECT NOT bool_or(ready) FROM braid.participants');
	$cluster->sql('hub', "INSERT INTO braid_internal.decisions_0 SELECT '$gid:' || xid,
			ARRAY(SELECT oid FROM pg_foreign_server WHERE srvname IN ($servers)), now()
		FROM generate_series($first, $last - 1) xid WHERE xid % 2 = 0");
	my @psql = map {
		my $branch = $_;
		$cluster->start_sql($nodes[$branch], join '', map {
			"BEGIN\\; INSERT INTO settled VALUES ($_)\\; PREPARE TRANSACTION '$gid:$_:$branch';\n"
		} $first .. $last - 1)
	} 0 .. $#nodes;
	is($cluster->finish_sql($_), '', 'branches are prepared') for @psql;
	is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), $transactions, "all of them on $_") for @nodes;
	$cluster->sql('hub', 'ALTER SYSTEM RESET braid.xa_resolver');
	$cluster->kill_node('hub');
	return;
}

# Returns when nothing is prepared on the node.
sub wait_settled
{
	my ($name) = @_;
	$cluster->sql($name, q{DO $$ BEGIN
		FOR i IN 1 .. 6000 LOOP
			EXIT WHEN NOT EXISTS (SELECT FROM pg_prepared_xact());
			PERFORM pg_sleep(0.02);
		END LOOP;
	END $$});
	return;
}

sub settle
{
	my ($name, @nodes) = @_;
	my $transactions = $prepared / @nodes;

	leave_transactions($transactions, @nodes);
	my $start = time;
	$cluster->start_again('hub');
	my $up = time;
	wait_settled($_) for @nodes;
	my $done = time;
	for my $node (@nodes)
	{
		is($cluster->sql($node, 'SELECT count(*) FROM pg_prepared_xacts'), '0', "nothing is left prepared on $node");
		is($cluster->sql($node, 'SELECT count(*), count(DISTINCT id), bool_and(id % 2 = 0) FROM settled'),
			join('|', $transactions / 2, $transactions / 2, 't'), 'what was decided is committed, and nothing else');
		$cluster->sql($node, 'TRUNCATE settled');
	}
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'nothing is in doubt');
	report("xa_recovery, $name", $done - $start, '< 10 s',
		sprintf('seconds for %d prepared transactions, of which the server took %.2f to start', $prepared, $up - $start));
	return;
}

settle('two participants', 'a', 'b');
settle('one participant', 'a');
done_testing();
