# A transaction that updates a row on one other node and nothing here, which needs
# one phase only: braid_fdw against stock postgres_fdw.
use strict;
use warnings;
use Braid::Bench;
use Braid::Transfers;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 2;
my $rounds = $ENV{BENCH_ROUNDS} // 7;
my $cluster = transfer_nodes();
my %done = (braid => 0, stock => 0);

sub updates
{
	my ($tables, %opt) = @_;
	my $result = pgbench($cluster->node('hub'), <<"SQL", %opt);
\\set x :client_id * 1000 + random(1, 1000)
BEGIN;
UPDATE ${tables}_a SET bal = bal + 1 WHERE id = :x;
COMMIT;
SQL
	$done{$tables} += $result->{transactions};
	return $result->{tps};
}

sub contestants
{
	my (%opt) = @_;
	return map { my $tables = $_; $tables => sub { updates($tables, %opt) } } 'braid', 'stock';
}

in_turn(1, contestants(clients => 4, seconds => 1));
for my $clients (1, 8)
{
	my $tps = in_turn($rounds, contestants(clients => $clients, seconds => $seconds));
	report("xa_one_node, $clients clients", ratio($tps, 'braid', 'stock'), '>= 0.98',
		sprintf('braid %.0f tps, postgres_fdw %.0f tps', median(@{ $tps->{braid} }), median(@{ $tps->{stock} })));
}
is($cluster->sql('a', 'SELECT sum(bal) FROM acct'), $done{braid} + $done{stock}, 'all updates were done');
is($cluster->sql('hub', 'SELECT xact_commit_one_phase, xact_commit_two_phase FROM braid.stat_xa WHERE datname = current_database()'),
	"$done{braid}|0", 'all of braid were committed in one phase');
done_testing();
