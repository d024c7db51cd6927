# A million strict reads while the capture worker is ended and killed at random: each
# shows all that was answered before it began. SOAK_READS and SOAK_CLIENTS set how many,
# by how many; SOAK_SECONDS ends it earlier.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Reads;
use Test::More;
use Time::HiRes qw(time);

my $wanted = $ENV{SOAK_READS} // 1_000_000;
my $seconds = $ENV{SOAK_SECONDS} // 4 * 3600;
my $cluster = Braid::Cluster->new('db', { conf => "fsync = on\nwal_writer_delay = 10ms\n" });
my $reads = Braid::Reads->new($cluster, 'db', clients => $ENV{SOAK_CLIENTS} // 8);
my ($began, $ends) = (time, 0);
while ($reads->reads < $wanted && time - $began < $seconds && !$reads->violations)
{
	$reads->round(20_000, sub { return if rand() > 0.03; $ends++; $reads->end_worker(rand() < 0.3); });
	diag sprintf '%d s: %s', time - $began, $reads->summary;
}
diag "$ends ends of the worker";
is(join("\n", $reads->violations), '', 'strict reads are linearizable');
cmp_ok($reads->reads, '>=', $wanted, 'there were enough of them');
done_testing();
