# How long a view takes to contain a million rows that were copied into its
# table in one transaction, in multiples of the time that the COPY took.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Bench;
use Test::More;
use Time::HiRes qw(time);

my $rows = 1_000_000;
my $rounds = $ENV{BENCH_ROUNDS} // 3;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE EXTENSION braid');
sql('CREATE TABLE t (k int, x int)');
sql("COPY (SELECT g % 1000, g % 12345 FROM generate_series(1, $rows) g) TO '" . $node->basedir . "/rows'");
sql('CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM t GROUP BY k');
sql("SELECT braid.wait('v')");

my (@ratios, @copy, @catchup);
for my $round (1 .. $rounds)
{
	my $start = time;
	sql("COPY t FROM '" . $node->basedir . "/rows'");
	my $copied = time;
	sql("SELECT braid.wait('v', '5 min')");
	my $done = time;

	is(sql('SELECT sum(count) FROM v'), $rows * $round, 'the view has all rows');
	push @copy, $copied - $start;
	push @catchup, $done - $copied;
	push @ratios, $catchup[-1] / $copy[-1];
}
report('view_catchup', median(@ratios), '<= 2.5',
	sprintf('copy %.2f s, then caught up in %.2f s', median(@copy), median(@catchup)));
done_testing();
