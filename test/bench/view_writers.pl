# What views on their table cost eight writers: transactions per second with one
# view, and with ten, over those without; the three take turns in one run.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Bench;
use Test::More;

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);
my $script = <<'SQL';
\set id random(1, 100000)
\set k random(1, 1000)
BEGIN;
INSERT INTO t (k, x) VALUES (:k, :id);
UPDATE u SET x = x + 1 WHERE id = :id;
COMMIT;
SQL

# The first one is what is alone when there is one; each has a count of rows.
my @queries = (
	'SELECT k, count(*), sum(x) FROM t GROUP BY k',
	'SELECT k % 100 AS h, count(*), avg(x) FROM t GROUP BY 1',
	'SELECT k % 10 AS d, count(*), min(x), max(x) FROM t GROUP BY 1',
	'SELECT count(*), sum(x) FROM t',
	'SELECT k, count(*) FROM t WHERE x > 50000 GROUP BY k',
	'SELECT x % 1000 AS r, count(*), sum(k) FROM t GROUP BY 1',
	'SELECT k, count(*), avg(x), max(x) FROM t GROUP BY k',
	'SELECT k % 7 AS d, count(*), count(x) AS known, sum(x) FROM t WHERE k < 500 GROUP BY 1',
	'SELECT k / 100 AS k, x / 10000 AS x, count(*) FROM t GROUP BY 1, 2',
	'SELECT k, count(*), min(x) FROM t WHERE k % 2 = 0 GROUP BY k');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Transactions per second while the first so many of the queries are views.
sub tps_with
{
	my ($views) = @_;
	sql("CREATE MATERIALIZED VIEW v$_ WITH (braid.continuous) AS $queries[$_]") for 0 .. $views - 1;
	sql("SELECT braid.wait('v$_', '60 s')") for 0 .. $views - 1;
	my $tps = pgbench_tps($node, $script, clients => 8, seconds => $seconds);
	for (0 .. $views - 1)
	{
		is(sql("SELECT braid.wait('v$_', '60 s')"), 't', "view $_ of $views has caught up");
		is(sql("SELECT (SELECT sum(count) FROM v$_) = (SELECT sum(count) FROM ($queries[$_]) q)"), 't', "view $_ of $views has all rows");
	}
	sql("DROP MATERIALIZED VIEW v$_") for 0 .. $views - 1;
	return $tps;
}

sql('CREATE EXTENSION braid');
sql('CREATE TABLE t (id bigserial PRIMARY KEY, k int, x int)');
sql('CREATE TABLE u (id int PRIMARY KEY, x int) WITH (fillfactor = 50)');
sql('INSERT INTO u SELECT g, 0 FROM generate_series(1, 100000) g; VACUUM ANALYZE u');
tps_with(0);

my $figures = in_turn($rounds, none => sub { tps_with(0) }, one => sub { tps_with(1) }, ten => sub { tps_with(10) });
my ($none, $one, $ten) = map { median(@{ $figures->{$_} }) } qw(none one ten);
report('view_writers, one view', ratio($figures, 'one', 'none'), '>= 0.95',
	sprintf('with a view %.0f tps, without %.0f tps', $one, $none));
report('view_writers, ten views', ratio($figures, 'ten', 'none'), '>= 0.75',
	sprintf('with ten views %.0f tps, without %.0f tps', $ten, $none));
done_testing();
