# Braid::Transfers: what most benchmarks of transactions measure. A transfer takes
# 1 from a row on node a and adds 1 to a row on node b.
#
#   my $cluster = transfer_nodes($conf);           # hub, a, b
#   my $result = transfers($cluster, 'braid', clients => 4, seconds => 2);
#   transfers_are_done($cluster);                  # all of them, and nothing else
#
# The hub reaches the same tables through servers of braid_fdw (atomic), and
# through servers of stock postgres_fdw with parallel_commit (not atomic).
package Braid::Transfers;

use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Exporter 'import';
our @EXPORT = qw(transfer_nodes transfer_contestants transfer_start transfer_finish transfers transfers_were_done transfers_are_done);

# Each client has rows of its own: conflicts are not what is measured.
my $rows_of_a_client = 1000;
my $max_clients = 16;

my $done = 0;

# conf: lines for postgresql.conf of all nodes. More participants than a and b can be named.
sub transfer_nodes
{
	my ($conf, @more) = @_;
	my @participants = ('a', 'b', @more);
	my $cluster = Braid::Cluster->new('hub', @participants, { conf => $Braid::Bench::durable . ($conf // '') });
	my $rows = $rows_of_a_client * $max_clients;
	my $user = getpwuid($<) . '';

	$cluster->sql('hub', 'CREATE EXTENSION postgres_fdw');
	for my $name (@participants)
	{
		my ($host, $port) = ($cluster->node($name)->host, $cluster->node($name)->port);
		$cluster->sql($name, "CREATE TABLE acct (id int PRIMARY KEY, bal int) WITH (fillfactor = 50);
			INSERT INTO acct SELECT g, 0 FROM generate_series(1, $rows) g; VACUUM ANALYZE acct");
		$cluster->sql('hub', "CREATE FOREIGN TABLE braid_$name (id int, bal int) SERVER $name OPTIONS (table_name 'acct');
			CREATE SERVER stock_server_$name FOREIGN DATA WRAPPER postgres_fdw
				OPTIONS (host '$host', port '$port', dbname 'postgres', parallel_commit 'true');
			CREATE USER MAPPING FOR PUBLIC SERVER stock_server_$name OPTIONS (user '$user');
			CREATE FOREIGN TABLE stock_$name (id int, bal int) SERVER stock_server_$name OPTIONS (table_name 'acct')");
		$cluster->wait_for('hub', "SELECT ready FROM braid.participants WHERE server = '$name'");
	}
	return $cluster;
}

# Starts pgbench with transfers through the tables of "braid" or "stock".
sub transfer_start
{
	my ($cluster, $tables, %opt) = @_;
	die "at most $max_clients clients" if $opt{clients} > $max_clients;
	return pgbench_start($cluster->node('hub'), <<"SQL", %opt);
\\set x :client_id * $rows_of_a_client + random(1, $rows_of_a_client)
\\set y :client_id * $rows_of_a_client + random(1, $rows_of_a_client)
BEGIN;
UPDATE ${tables}_a SET bal = bal - 1 WHERE id = :x;
UPDATE ${tables}_b SET bal = bal + 1 WHERE id = :y;
COMMIT;
SQL
}

# Waits for it, and until nothing of it is left prepared: no contestant is to do
# the work of another one. Returns what pgbench_finish() does.
sub transfer_finish
{
	my ($cluster, $handle) = @_;
	my $result = pgbench_finish($handle);
	$cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts') for 'a', 'b';
	transfers_were_done($result->{transactions});
	return $result;
}

sub transfers
{
	my ($cluster, $tables, %opt) = @_;
	return transfer_finish($cluster, transfer_start($cluster, $tables, %opt));
}

# For in_turn(): postgres_fdw, and braid with and without waiting; the figure is
# transactions per second. Options as for transfers().
sub transfer_contestants
{
	my ($cluster, %opt) = @_;
	return (
		stock => sub { transfers($cluster, 'stock', %opt)->{tps} },
		wait => sub { transfers($cluster, 'braid', %opt, settings => { 'braid.xa_commit_wait' => 'on' })->{tps} },
		nowait => sub { transfers($cluster, 'braid', %opt, settings => { 'braid.xa_commit_wait' => 'off' })->{tps} });
}

# So many more transfers were done, also by others.
sub transfers_were_done { $done += $_[0]; return; }

# What the contestants say that they have done has been done, and is finished.
sub transfers_are_done
{
	my ($cluster) = @_;
	cmp_ok($done, '>', 0, 'transfers were done');
	is($cluster->sql('a', 'SELECT sum(bal) FROM acct'), -$done, 'all were taken from rows on a');
	is($cluster->sql('b', 'SELECT sum(bal) FROM acct'), $done, 'all were added to rows on b');
	is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), '0', "nothing is left prepared on $_") for 'a', 'b';
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'no transaction is left unfinished');
	return;
}

1;
