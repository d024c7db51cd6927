# What one view on their table costs eight writers: transactions per second with
# the view over those without, alternating in one run; the median of the ratios.
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

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub tps { return pgbench_tps($node, $script, clients => 8, seconds => $seconds); }

sql('CREATE EXTENSION braid');
sql('CREATE TABLE t (id bigserial PRIMARY KEY, k int, x int)');
sql('CREATE TABLE u (id int PRIMARY KEY, x int) WITH (fillfactor = 50)');
sql('INSERT INTO u SELECT g, 0 FROM generate_series(1, 100000) g; VACUUM ANALYZE u');
tps();

my (@ratios, @without, @with);
for my $round (1 .. $rounds)
{
	push @without, tps();
	sql('CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM t GROUP BY k');
	sql("SELECT braid.wait('v', '60 s')");
	push @with, tps();
	is(sql("SELECT braid.wait('v', '60 s')"), 't', 'the view has caught up');
	is(sql('SELECT sum(count) = (SELECT count(*) FROM t) FROM v'), 't', 'the view has all rows');
	sql('DROP MATERIALIZED VIEW v');
	push @ratios, $with[-1] / $without[-1];
}
report('view_writers', median(@ratios), '>= 0.93',
	sprintf('with a view %.0f tps, without %.0f tps', median(@with), median(@without)));
done_testing();
