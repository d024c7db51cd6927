# Streams while many write to them and nothing crashes. Random transactions write the same
# rows to a stream and to a table, and each view is compared with its query over the tables; the
# capture worker has little memory, and is ended and started while transactions are open and
# prepared whose rows it has read in part. Views that are made meanwhile begin with one commit:
# they have all rows after it, and none before.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Streams;
use IPC::Run ();
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 2;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
max_prepared_transactions = 50
braid.capture_memory = 16MB
autovacuum = off
CONF
my $node = $cluster->node('db');
my $streams = Braid::Streams->new($cluster, 'db');

# Rows enough for many messages, of which half are rolled back.
sub much
{
	my ($rows) = @_;
	my $select = "SELECT g % 6, g, g % 3, true, g, 1, NULL, '2024-02-03', 'much', md5(g::text) FROM generate_series(1, $rows) g";
	my $both = "INSERT INTO t1 $select; INSERT INTO s1 $select;";
	return "$both SAVEPOINT a; $both SAVEPOINT b; $both RELEASE b; ROLLBACK TO a; SAVEPOINT c; $both RELEASE c;";
}

my $torn = '';
for my $round (1 .. $rounds)
{
	my %open = map { $_ => $node->background_psql('postgres') } 'commits', 'aborts';
	$_->query_safe('BEGIN; ' . much(8000)) for values %open;
	$cluster->sql('db', 'BEGIN; ' . much(8000) . " PREPARE TRANSACTION 'kept'");
	$cluster->sql('db', 'BEGIN; ' . much(8000) . " PREPARE TRANSACTION 'thrown away'");
	my $clients = $streams->start_clients(4, 60);
	$torn .= $streams->torn // '' for 1 .. 3;

	# The slot moves on as far as the open transactions let it.
	is($cluster->sql('db', "SELECT braid.wait('by_key', '60 s')"), 't', "round $round: views follow beside open transactions");
	$cluster->sql('db', 'CHECKPOINT');
	$cluster->replace_capture('db');
	$torn .= $streams->torn // '' for 1 .. 3;
	$_->query_safe(much(200)) for values %open;
	is(join("\n", $streams->finish_clients($clients)), '', "round $round: no client was told of an error");
	is(join("\n", $streams->differences), '', "round $round: transactions are open");
	$open{aborts}->query_safe('ROLLBACK');
	$open{commits}->query_safe('COMMIT');
	$_->quit for values %open;
	is(join("\n", $streams->differences), '', "round $round: one is committed, one rolled back");
	$cluster->sql('db', "COMMIT PREPARED 'kept'");
	$cluster->replace_capture('db') if $round % 2;
	$cluster->sql('db', "ROLLBACK PREPARED 'thrown away'");
	is(join("\n", $streams->differences), '', "round $round: and two that were prepared");
	$cluster->sql('db', 'BEGIN; ' . much(100_000) . ' COMMIT');
	is(join("\n", $streams->differences('by_key', 'numbers', 'plain', 'z_sizes')), '', "round $round: a large transaction");
}
is($torn, '', 'what was written to both was never seen in one alone');

# Each client counts, two rows a transaction.
$cluster->sql('db', <<'SQL');
CREATE FOREIGN TABLE numbers_of (client int, n bigint, half int) SERVER braid_stream;
CREATE MATERIALIZED VIEW made_0 WITH (braid.continuous) AS SELECT client, count(*), min(n), max(n) FROM numbers_of GROUP BY client;
SELECT braid.wait('made_0');
SQL
my $script = $cluster->write_script(<<'SQL');
\set n :n + 1
BEGIN;
INSERT INTO numbers_of VALUES (:client_id, :n, 1);
INSERT INTO numbers_of VALUES (:client_id, :n, 2);
COMMIT;
SQL
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 300, '-D', 'n=0', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], '>', '/dev/null', '2>', '/dev/null');
my $open = $node->background_psql('postgres');
my $many = 'INSERT INTO numbers_of SELECT 100, g, 1 FROM generate_series(1, 50000) g';
for my $i (1 .. 8)
{
	# Of this one a view that is made now may have all rows or none.
	$open->query_safe("BEGIN; $many");
	$cluster->wait_for('db', "SELECT min(max) > $i * 20 FROM made_0 WHERE client < 4");
	$cluster->sql('db', "CREATE MATERIALIZED VIEW made_$i WITH (braid.continuous) AS SELECT client, count(*), min(n), max(n), sum(n) FROM numbers_of GROUP BY client");
	$cluster->replace_capture('db') if $i == 3;
	$open->query_safe("$many; COMMIT");
	$cluster->sql('db', "DROP MATERIALIZED VIEW made_" . ($i - 1)) if $i == 5;
}
$open->quit;
$cluster->sql('db', "SELECT braid.wait('made_8', '60 s')");
$load->signal('ALRM');    # its time has passed
$load->finish;
my @views = map { "made_$_" } 0 .. 3, 5 .. 8;
$cluster->sql('db', "SELECT braid.wait('$_', '60 s')") for @views;
is($cluster->sql('db', 'SELECT count(*) FROM made_0 WHERE client < 4 AND min = 1 AND count = 2 * max'), 4, 'a view that was there has all rows');
for my $view (@views)
{
	is($cluster->sql('db', "SELECT count(*) FROM $view v JOIN made_0 w USING (client) WHERE client < 4 AND v.max = w.max AND v.count = 2 * (v.max - v.min + 1)"), 4, "$view has all rows after one commit of each client");
	is($cluster->sql('db', "SELECT coalesce(sum(count), 0) % 100000 FROM $view WHERE client = 100"), 0, "$view has all of a transaction or nothing");
}
cmp_ok($cluster->sql('db', 'SELECT min(min) FROM made_8 WHERE client < 4'), '>', 1, 'and none before');
done_testing();
