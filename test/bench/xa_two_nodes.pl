# A transaction that updates a row on each of two nodes: braid_fdw (atomic)
# against stock postgres_fdw with parallel_commit (not atomic), same servers,
# same tables, alternating within one run.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Bench;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 5;
my $rounds = $ENV{BENCH_ROUNDS} // 3;
my $rows = 10000;
my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => $Braid::Bench::durable });
my $hub = $cluster->node('hub');

$cluster->sql('hub', 'CREATE EXTENSION postgres_fdw');
for my $name ('a', 'b')
{
	my $node = $cluster->node($name);
	$cluster->sql($name, "CREATE TABLE acct (id int PRIMARY KEY, bal int) WITH (fillfactor = 50);
		INSERT INTO acct SELECT g, 0 FROM generate_series(1, $rows) g; VACUUM ANALYZE acct");
	$cluster->sql('hub', "CREATE FOREIGN TABLE braid_$name (id int, bal int) SERVER $name OPTIONS (table_name 'acct');
		CREATE SERVER stock_$name FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '@{[ $node->host ]}',
			port '@{[ $node->port ]}', dbname 'postgres', parallel_commit 'true');
		CREATE USER MAPPING FOR PUBLIC SERVER stock_$name OPTIONS (user 'postgres');
		CREATE FOREIGN TABLE stock_${name}_acct (id int, bal int) SERVER stock_$name OPTIONS (table_name 'acct')");
	$cluster->sql('hub', "ALTER USER MAPPING FOR PUBLIC SERVER stock_$name OPTIONS (SET user '@{[ getpwuid($<) . '' ]}')");
}

sub script
{
	my ($first, $second) = @_;

	# Each client has rows of its own: conflicts are not what is measured.
	return "\\set x :client_id * 1000 + random(1, 1000)\n\\set y :client_id * 1000 + random(1, 1000)\nBEGIN;\n"
	  . "UPDATE $first SET bal = bal - 1 WHERE id = :x;\nUPDATE $second SET bal = bal + 1 WHERE id = :y;\nCOMMIT;\n";
}

for my $clients (1, 4, 8)
{
	my (@braid, @stock, @ratios);
	for (1 .. $rounds)
	{
		push @stock, pgbench_tps($hub, script('stock_a_acct', 'stock_b_acct'), clients => $clients, seconds => $seconds);
		push @braid, pgbench_tps($hub, script('braid_a', 'braid_b'), clients => $clients, seconds => $seconds);
		push @ratios, $braid[-1] / $stock[-1];
	}
	report("xa_two_nodes $clients clients", median(@ratios), '>= 0.55',
		sprintf('braid %.0f tps, postgres_fdw %.0f tps', median(@braid), median(@stock)));
	ok(@ratios == $rounds, "measured with $clients clients");
}
is($cluster->sql('hub', 'SELECT (SELECT sum(bal) FROM braid_a) + (SELECT sum(bal) FROM braid_b)'), '0', 'no update was lost');
done_testing();
