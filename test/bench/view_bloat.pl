# How a view's state grows while all of its 1,000 groups are updated at full speed,
# as often as in an hour at a thousand a second, and how many of these updates are
# HOT. Autovacuum looks every second, so that it has as many turns as in an hour.
# One view adds and subtracts; in the other ones groups are computed anew: one has
# minima that go, one arrays.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $seconds = 8 * ($ENV{BENCH_SECONDS} // 5);
my %queries = (
	'adds' => 'SELECT k, count(*), sum(x) FROM t GROUP BY k',
	'minima' => 'SELECT k, count(*), min(x) FROM t GROUP BY k',
	'arrays' => 'SELECT k, count(*), array_agg(x) FROM t GROUP BY k');

sub run
{
	my ($name) = @_;
	my $node = Braid::Cluster->start_node($name, $Braid::Bench::durable . "autovacuum = on\nautovacuum_naptime = 1s\n");
	my $sql = sub { return $node->safe_psql('postgres', $_[0]); };
	$sql->(<<"SQL");
CREATE EXTENSION braid;
CREATE TABLE t (id int PRIMARY KEY, k int, x int) WITH (fillfactor = 20);
INSERT INTO t SELECT g, g, 0 FROM generate_series(1, 1000) g;
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $queries{$name};
SELECT braid.wait('v', '60 s');
SQL
	my $state = $sql->(q{SELECT relid FROM pg_stat_user_tables WHERE schemaname = 'braid_internal' AND relname ~ '^state_'});
	my $size = "SELECT pg_table_size($state), pg_indexes_size($state)";
	my @before = split /\|/, $sql->($size);

	my $start = time;
	my $work = pgbench($node, "UPDATE t SET x = x + 1;\n", clients => 1, seconds => $seconds);
	is($sql->("SELECT braid.wait('v', '60 s')"), 't', 'the view has caught up');
	my $took = time - $start;
	is($sql->("SELECT count(*) FROM (($queries{$name}) EXCEPT (SELECT * FROM v)) d"), 0, 'the view is right');

	# The worker's counts arrive now and then.
	$node->poll_query_until('postgres', "SELECT n_tup_upd + n_tup_del > 0 FROM pg_stat_user_tables WHERE relid = $state");
	my ($made, $hot, $vacuums) = split /\|/, $sql->("SELECT n_tup_upd + n_tup_del, n_tup_hot_upd, autovacuum_count FROM pg_stat_user_tables WHERE relid = $state");
	my @after = split /\|/, $sql->($size);
	report("view_bloat, $name", ($after[0] + $after[1]) / ($before[0] + $before[1]), '<= 5',
		sprintf('%.0f kB table and %.0f kB index became %.0f and %.0f kB; in %.0f s %.1fM of its rows changed, %.0f%% HOT, for %.1fM changed in the table; vacuumed %d times',
			(map { $_ / 1024 } @before, @after), $took, $made / 1e6, 100 * $hot / $made, $work->{transactions} / 1000, $vacuums));
	$node->stop;
	return;
}

run($_) for qw(adds minima arrays);
done_testing();
