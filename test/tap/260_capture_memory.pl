# The capture worker keeps to its memory, whatever one cycle brings: one transaction
# of very many rows, many transactions, very many groups, wide rows, a table that is
# locked meanwhile, several views. Views are right after it.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Memory;
use Braid::Views;
use PostgreSQL::Test::Utils;
use Test::More;

my $budget = 32;    # MB
my $beyond = 16;    # MB for all that is not counted: caches, plans, libraries, the process itself
my $rows = $ENV{BRAID_BURST} // 1_000_000;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_memory = 32MB
shared_buffers = 128MB
max_wal_size = 4GB
synchronous_commit = off
CONF
my $views = Braid::Views->new($cluster, 'db');

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return $cluster->capture_pid('db'); }

sub stays_small
{
	my ($what, $something) = @_;
	my $pid = worker();
	my $peak = peak_during($pid, sub {
		$something->();
		sql("SELECT braid.wait('$_', '30 min')") for $views->names;
		is(join("\n", $views->differences), '', "$what: views are right");
	});
	is(worker(), $pid, "$what: it is the same worker as before");
	cmp_ok($peak, '<=', $budget + $beyond, "$what: the worker has kept to its memory");
	note(sprintf '%s: at most %.1f MB', $what, $peak);
	return;
}

sql('CREATE TABLE t (k int, x int); CREATE TABLE u (k int, x int, wide text)');
is($views->create('by_few', 'SELECT k % 100 AS k, count(*), sum(x) FROM t GROUP BY 1'), '', 'a view of few groups');
is($views->create('by_many', 'SELECT x, count(*) FROM t GROUP BY x'), '', 'a view of many groups');
is($views->create('of_view', 'SELECT count % 2 AS odd, count(*), sum(x) FROM by_many GROUP BY 1'), '', 'a view of that');
is($views->create('joined', 'SELECT u.k, count(*), max(length(wide)) FROM u JOIN t ON t.x = u.x GROUP BY u.k'), '', 'a join');
is(join("\n", $views->differences), '', 'views are made');

stays_small('one transaction', sub { sql("INSERT INTO t SELECT g, g % 200000 FROM generate_series(1, $rows) g") });
stays_small('rows that are deleted', sub { sql('DELETE FROM t WHERE x % 4 = 0') });
stays_small('wide rows', sub { sql(q{INSERT INTO u SELECT g, g, repeat('x', 900) || g FROM generate_series(1, 40000) g}) });
stays_small('many transactions at once', sub {
	kill 'STOP', worker();
	sql("DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP INSERT INTO t VALUES (i, i), (i + 1, -i); COMMIT; END LOOP; END \$\$");
	kill 'CONT', worker();
});

# Each transaction is visible, and none may be merged.
stays_small('many transactions while a table is locked', sub {
	my $locker = $cluster->node('db')->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE');
	kill 'STOP', worker();
	sql("DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP INSERT INTO t VALUES (i, i), (i + 1, -i); COMMIT; END LOOP; END \$\$");
	kill 'CONT', worker();
	$cluster->wait_for('db', q{SELECT held_transactions >= 20000 FROM braid.stat_capture}) or die 'nothing is held';
	$locker->query_safe('COMMIT');
	$locker->quit;
});
stays_small('a long transaction among others', sub {
	my $long = $cluster->node('db')->background_psql('postgres');
	$long->query_safe("BEGIN; INSERT INTO t SELECT g, g FROM generate_series(1, 150000) g");
	sql("DO \$\$ BEGIN FOR i IN 1 .. 3000 LOOP INSERT INTO t VALUES (i, i); COMMIT; END LOOP; END \$\$");
	is(join("\n", $views->differences), '', 'views do not wait for the long transaction');
	$long->query_safe("INSERT INTO t SELECT g, g FROM generate_series(1, 150000) g; COMMIT");
	$long->quit;
});
is(join("\n", $views->failures), '', 'no view was made anew');
done_testing();
