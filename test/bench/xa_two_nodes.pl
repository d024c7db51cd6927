# A transaction that updates a row on each of two nodes: braid_fdw (atomic), with
# and without braid.xa_commit_wait, against stock postgres_fdw with
# parallel_commit (not atomic); same servers, same tables.
use strict;
use warnings;
use Braid::Bench;
use Braid::Transfers;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 2;
my $rounds = $ENV{BENCH_ROUNDS} // 3;
my $cluster = transfer_nodes();

in_turn(1, transfer_contestants($cluster, clients => 8, seconds => 1));
for my $clients (1, 4, 8, 16)
{
	my $tps = in_turn($rounds, transfer_contestants($cluster, clients => $clients, seconds => $seconds));
	for (['wait', 'on', '0.65'], ['nowait', 'off', '0.70'])
	{
		my ($name, $setting, $goal) = @$_;
		report("xa_two_nodes, wait $setting, $clients clients", ratio($tps, $name, 'stock'), ">= $goal, aim 0.80",
			sprintf('braid %.0f tps, postgres_fdw %.0f tps', median(@{ $tps->{$name} }), median(@{ $tps->{stock} })));
	}
}
transfers_are_done($cluster);
is($cluster->sql('hub', 'SELECT xact_commit_one_phase FROM braid.stat_xa WHERE datname = current_database()'), '0',
	'all of braid were committed in two phases');
done_testing();
