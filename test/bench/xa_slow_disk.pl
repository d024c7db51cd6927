# A transaction that updates a row on each of two nodes, on servers whose disks
# need 2 ms more for each flush (syscall_shim.c, preloaded into all of them):
# braid_fdw, which flushes more often, against stock postgres_fdw.
use strict;
use warnings;
use Braid::Bench;
use Braid::Transfers;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{BENCH_SECONDS} // 3;
my $rounds = $ENV{BENCH_ROUNDS} // 3;
my $delay = 0.002;
my $shim = compile('syscall_shim.c', '-shared', '-fPIC', '-ldl');
my $cluster;
{
	local $ENV{LD_PRELOAD} = $shim;
	local $ENV{SHIM_SYNC_DELAY_US} = $delay * 1e6;
	$cluster = transfer_nodes();
}

# A disk that is slow cannot be faster than that, however fast the machine is.
for my $name ($cluster->names)
{
	my $commits = 50;
	my $start = time;
	$cluster->sql($name, 'CREATE TABLE slow (x int);' . 'INSERT INTO slow VALUES (1);' x $commits);
	cmp_ok(time - $start, '>=', $commits * $delay, "the disk of $name is slow");
}

in_turn(1, transfer_contestants($cluster, clients => 16, seconds => 1));
my $tps = in_turn($rounds, transfer_contestants($cluster, clients => 16, seconds => $seconds));
for (['wait', 'on'], ['nowait', 'off'])
{
	my ($name, $setting) = @$_;
	report("xa_slow_disk, wait $setting, 16 clients", ratio($tps, $name, 'stock'), '>= 0.50',
		sprintf('braid %.0f tps, postgres_fdw %.0f tps', median(@{ $tps->{$name} }), median(@{ $tps->{stock} })));
}
transfers_are_done($cluster);
done_testing();
