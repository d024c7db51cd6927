# Random continuous views over random tables equal their queries after every step
# of random changes: some hundreds of queries, always the same ones unless BRAID_SEED
# says otherwise (make soak takes others); BRAID_ROUNDS says how many rounds of queries there are.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Oracle;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 30;
my $seed = $ENV{BRAID_SEED} // 20261122;
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
wal_writer_delay = 10ms
jit = off
CONF
my $oracle = Braid::Oracle->new($cluster, 'db');

# What was once found to be wrong.
(my $file = __FILE__) =~ s/pl$/sql/;
for my $case (Braid::Oracle::cases($file))
{
	is($oracle->known($case), undef, $case->{name});
}

for my $round (0 .. $rounds - 1)
{
	my @failures = $oracle->round($seed + $round);
	is(scalar @failures, 0, 'round ' . ($seed + $round)) or diag join "\n\n", @failures;
}
note $_ for $oracle->summary;
cmp_ok($oracle->refused, '<', $rounds < 10 ? 0.4 : 0.13, 'most queries are kept');
done_testing();
