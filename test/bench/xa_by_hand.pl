# A transaction that updates a row on each of two nodes: braid_fdw against a
# client that does the same two-phase commit by hand, with libpq, on the nodes
# themselves (two_phase_client.c). It spares the hub all that a foreign table costs.
use strict;
use warnings;
use Braid::Bench;
use Braid::Transfers;
use IPC::Run;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 2;
my $rounds = $ENV{BENCH_ROUNDS} // 3;
my $client = compile('two_phase_client.c', '-pthread');
my $cluster = transfer_nodes();
my $decided = 0;

# Of the same shape as braid's own.
$cluster->sql('hub', 'CREATE TABLE decisions_by_hand (gid text NOT NULL, servers oid[], decided timestamptz NOT NULL)
	WITH (autovacuum_enabled = off)');

sub by_hand
{
	my (%opt) = @_;
	my ($out, $err);
	IPC::Run::run([ $client, (map { $cluster->node($_)->connstr('postgres') } 'hub', 'a', 'b'), $opt{clients}, $opt{seconds} ],
		'>', \$out, '2>', \$err) or die "two_phase_client: $err";
	my ($transactions, $tps) = $out =~ /^transactions: (\d+)\ntps: ([\d.]+)$/ or die "two_phase_client printed: $out";
	transfers_were_done($transactions);
	$decided += $transactions;
	return $tps;
}

sub contestants
{
	my (%opt) = @_;
	return (braid => sub { transfers($cluster, 'braid', %opt)->{tps} }, hand => sub { by_hand(%opt) });
}

in_turn(1, contestants(clients => 4, seconds => 1));
for my $clients (1, 4, 8, 16)
{
	my $tps = in_turn($rounds, contestants(clients => $clients, seconds => $seconds));
	report("xa_by_hand, $clients clients", ratio($tps, 'braid', 'hand'), '>= 0.60',
		sprintf('braid %.0f tps, by hand %.0f tps', median(@{ $tps->{braid} }), median(@{ $tps->{hand} })));
}
transfers_are_done($cluster);
is($cluster->sql('hub', 'SELECT count(*), count(DISTINCT gid) FROM decisions_by_hand'), "$decided|$decided", 'each one by hand has its decision');
done_testing();
