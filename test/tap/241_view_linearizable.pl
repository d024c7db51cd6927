# Strict reads are linearizable: many clients insert rows and read a view's counts, in
# several ways, while the capture worker is ended and killed. Each read shows all that
# was answered before it began, whoever did it, and goes back behind no other one.
# BRAID_READS says how many (see test/soak/reads.pl for a million).
use strict;
use warnings;
use Braid::Cluster;
use Braid::Reads;
use Test::More;

my $wanted = $ENV{BRAID_READS} // 6000;
my $cluster = Braid::Cluster->new('db', { conf => "fsync = on\nwal_writer_delay = 10ms\n" });
my $reads = Braid::Reads->new($cluster, 'db', clients => 6);
my ($calls, $kills) = (0, 0);

# Twice killed in all; ended more often.
sub disturb
{
	$calls++;
	return if $calls % 3;
	my $kill = $calls % 6 == 0 && $kills < 2;
	$kills += $kill;
	$reads->end_worker($kill);
	return;
}

# The last round sees to it that each kind of end has come.
my $round = 0;
while ($reads->reads < $wanted || ($kills < 2 && $round < 20))
{
	$reads->round($wanted / 2, \&disturb);
	last if $reads->violations;
	$round++;
}
note $reads->summary;
is(join("\n", $reads->violations), '', 'strict reads are linearizable');
cmp_ok($reads->reads, '>=', $wanted, 'there were enough of them');
is($kills, 2, 'the worker was killed');
is($cluster->sql('db', "SET braid.read = strict; SELECT (SELECT sum(n) FROM counts) = (SELECT count(*) FROM events)"), 't', 'the view has all rows');

# With eventual reads the same check finds what it looks for.
$cluster->sql('db', 'ALTER SYSTEM SET braid.capture_batch_delay = 200');
$cluster->sql('db', 'SELECT pg_reload_conf()');
my $lax = Braid::Reads->new_beside($reads);
$lax->round(600);
isnt(join("\n", $lax->violations), '', 'eventual reads are not');
done_testing();
