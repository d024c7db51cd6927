# Transactions that stay on their server: one with braid preloaded, which also
# coordinates for another node, against one without braid.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 2;
my $rounds = $ENV{BENCH_ROUNDS} // 7;
my $clients = 4;
my $cluster = Braid::Cluster->new('hub', 'a', { conf => $Braid::Bench::durable });
my %nodes = (
	braid => $cluster->node('hub'),
	plain => Braid::Cluster->start_node('plain', "$Braid::Bench::durable\nshared_preload_libraries = ''\n"));
my %loads = (
	'tpcb-like' => { builtin => 'tpcb-like' },
	'one-row UPDATE' => { script => "\\set x random(1, 100000)\nUPDATE counters SET n = n + 1 WHERE id = :x;\n" });
my %done;

for my $node (values %nodes)
{
	$node->command_ok([ 'pgbench', '-i', '-q', '-s', 10, '-h', $node->host, '-p', $node->port, 'postgres' ], 'pgbench makes its tables');
	$node->safe_psql('postgres', 'CREATE TABLE counters (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
		INSERT INTO counters SELECT g, 0 FROM generate_series(1, 100000) g; VACUUM ANALYZE counters; CHECKPOINT');
}
$cluster->wait_for('hub', 'SELECT ready FROM braid.participants');
is($nodes{plain}->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name LIKE 'braid.%'"), '0', 'one server is without braid');

sub contestants
{
	my ($load, %opt) = @_;
	my %load = %{ $loads{$load} };
	return map {
		my $name = $_;
		$name => sub {
			my $result = pgbench($nodes{$name}, $load{script}, clients => $clients, builtin => $load{builtin}, %opt);
			$done{$load}{$name} += $result->{transactions};
			return $result->{tps};
		}
	} sort keys %nodes;
}

for my $load (sort keys %loads)
{
	in_turn(1, contestants($load, seconds => 1));
	my $tps = in_turn($rounds, contestants($load, seconds => $seconds));
	report("xa_local, $load", ratio($tps, 'braid', 'plain'), '>= 0.97',
		sprintf('braid %.0f tps, without %.0f tps', median(@{ $tps->{braid} }), median(@{ $tps->{plain} })));
}
for my $name (sort keys %nodes)
{
	is($nodes{$name}->safe_psql('postgres', 'SELECT (SELECT count(*) FROM pgbench_history), (SELECT sum(n) FROM counters)'),
		"$done{'tpcb-like'}{$name}|$done{'one-row UPDATE'}{$name}", "all transactions were done on $name");
}
is($cluster->sql('hub', 'SELECT xact_begun FROM braid.stat_xa WHERE datname = current_database()'), '0', 'none was a global one');
done_testing();
