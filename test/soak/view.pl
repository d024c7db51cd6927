# Random continuous views over random tables, compared with their queries after
# every step of random changes: the test of test/tap/210_view_queries.pl for as
# long as it takes to find 10,000 queries that are kept and were compared, both
# ways, after each step of their rounds.
#
# SOAK_QUERIES and SOAK_SEED set how many, and which; SOAK_SECONDS ends it earlier.
# Failures are written as scripts; ten of them are enough.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Oracle;
use Test::More;
use Time::HiRes qw(time);

my $queries = $ENV{SOAK_QUERIES} // 10_000;
my $seed = $ENV{SOAK_SEED} // int rand 1_000_000;
my $seconds = $ENV{SOAK_SECONDS} // 4 * 3600;
my $enough = $ENV{SOAK_FAILURES} // 10;

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
wal_writer_delay = 10ms
jit = off
CONF
my $oracle = Braid::Oracle->new($cluster, 'db', views => 12, steps => 8, disturb => 0.05);
diag "seed $seed, $queries queries";

my ($began, $failed, $last) = (time, 0, $seed);
while ($oracle->{count}{clean} < $queries && time - $began < $seconds && $failed < $enough)
{
	my @failures = $oracle->round($last++);
	$failed += @failures;
	diag join "\n\n", @failures, '' if @failures;
	diag sprintf 'seed %d, %d s: %s', $last - 1, time - $began, ($oracle->summary)[1] if ($last - $seed) % 100 == 0;
}
diag $_ for $oracle->summary;
diag "SOAK_SEED=$seed, the last seed is " . ($last - 1);
is($failed, 0, "views equal their queries, seeds $seed to " . ($last - 1));
cmp_ok($oracle->refused, '<', 0.1, 'most queries are kept');
done_testing();
