# How long a view takes to contain a million rows that were copied into its
# table in one transaction, in multiples of the time that the COPY took.
use strict;
use warnings;
use Braid::Cluster;
use Time::HiRes qw(time);

my $rows = 1_000_000;
my $rounds = 3;
my $node = Braid::Cluster->start_node('bench', <<'CONF');
shared_buffers = 256MB
max_wal_size = 4GB
fsync = off
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE EXTENSION braid');
sql('CREATE TABLE t (k int, x int)');
sql("COPY (SELECT g % 1000, g % 12345 FROM generate_series(1, $rows) g) TO '" . $node->basedir . "/rows'");
sql('CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM t GROUP BY k');
sql("SELECT braid.wait('v')");

my @ratios;
for my $round (1 .. $rounds)
{
	my $start = time;
	sql("COPY t FROM '" . $node->basedir . "/rows'");
	my $copied = time;
	sql("SELECT braid.wait('v', '5 min')");
	my $done = time;

	die 'wrong total' if sql('SELECT sum(count) FROM v') != $rows * $round;
	printf "round %d: copy %.2f s, then caught up in %.2f s, total/copy %.2f\n",
		$round, $copied - $start, $done - $copied, ($done - $start) / ($copied - $start);
	push @ratios, ($done - $copied) / ($copied - $start);
}
@ratios = sort { $a <=> $b } @ratios;
printf "view_catchup ratio %.2f (goal <= 2.5)\n", $ratios[$rounds / 2];
$node->stop;
