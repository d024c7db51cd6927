# What one view on their table costs eight writers: transactions per second with
# the view over those without, alternating in one run; the median of the ratios.
use strict;
use warnings;
use Braid::Cluster;

my $rounds = $ENV{BRAID_BENCH_ROUNDS} // 5;
my $seconds = $ENV{BRAID_BENCH_SECONDS} // 5;
my $node = Braid::Cluster->start_node('bench', <<'CONF');
shared_buffers = 256MB
max_wal_size = 4GB
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub tps
{
	my $out = `pgbench -n -c 8 -j 2 -T $seconds -M prepared -f @{[ $node->basedir ]}/write.sql -d '@{[ $node->connstr('postgres') ]}' 2>&1`;
	die $out unless $out =~ /tps = ([\d.]+)/;
	return $1;
}

PostgreSQL::Test::Utils::append_to_file($node->basedir . '/write.sql', <<'SQL');
\set id random(1, 100000)
\set k random(1, 1000)
BEGIN;
INSERT INTO t (k, x) VALUES (:k, :id);
UPDATE u SET x = x + 1 WHERE id = :id;
COMMIT;
SQL
sql('CREATE EXTENSION braid');
sql('CREATE TABLE t (id bigserial PRIMARY KEY, k int, x int)');
sql('CREATE TABLE u (id int PRIMARY KEY, x int); INSERT INTO u SELECT g, 0 FROM generate_series(1, 100000) g; VACUUM ANALYZE u');
tps();

my @ratios;
for my $round (1 .. $rounds)
{
	my $without = tps();
	sql('CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM t GROUP BY k');
	sql("SELECT braid.wait('v', '60 s')");
	my $with = tps();
	sql("SELECT braid.wait('v', '60 s')");
	sql('DROP MATERIALIZED VIEW v');
	printf "round %d: without %.0f tps, with %.0f tps, ratio %.3f\n", $round, $without, $with, $with / $without;
	push @ratios, $with / $without;
}
@ratios = sort { $a <=> $b } @ratios;
printf "view_writers ratio %.3f (goal >= 0.93)\n", $ratios[$rounds / 2];
$node->stop;
