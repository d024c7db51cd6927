# Reads of continuous views on a standby: what the primary had when the standby got it,
# and an error from those who ask for more. After promotion the slot is missing, views
# are rebuilt, and everything is promised again.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('primary');

# The worker's commits are asynchronous: to the end of what is inserted, not written.
sub catch_up
{
	my $primary = $cluster->node('primary');
	return $primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert'));
}

$cluster->sql('primary', <<'SQL');
SET client_min_messages = warning;
CREATE TABLE t (k int, x int);
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*) AS n FROM t GROUP BY k;
CREATE MATERIALIZED VIEW s WITH (braid.continuous, braid.read = strict) AS SELECT count(*) AS n FROM t;
INSERT INTO t VALUES (1, 1);
SELECT braid.wait('v'), braid.wait('s');
SQL
$cluster->add_standby('primary', 'standby');
$cluster->sql('primary', "INSERT INTO t VALUES (1, 1); SELECT braid.wait('v'), braid.wait('s')");
catch_up();

my $standby = Braid::Client->new($cluster->node('standby'));
is($standby->value('SELECT n FROM v'), '2', 'eventual: what the primary has');
is($standby->value('SET braid.read = own; SELECT n FROM v'), '2', 'own: the same, as nothing is committed here');
is($standby->value('SET braid.read = own; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM v; COMMIT'), '2', 'and in REPEATABLE READ');
my $error = $standby->run('SET braid.read = strict; SELECT n FROM v')->{error};
is($error->{C}, '0A000', 'strict is refused');
like($error->{H}, qr/on the primary/, 'and told where to read');
is($standby->run('SET braid.read = strict')->{error}, undef, 'the setting is not');
is($standby->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM v')->{error}{C}, '0A000', 'in REPEATABLE READ too');
$standby->run('ROLLBACK; RESET braid.read');
is($standby->run('SELECT n FROM s')->{error}{C}, '0A000', 'so is a view whose option says strict');
is($standby->value('SET braid.read = eventual; SELECT n FROM s'), '2', 'unless the session says otherwise');
is($standby->run("RESET braid.read; SET braid.read_max_age = '1s'; SELECT n FROM v")->{error}{C}, '0A000', 'braid.read_max_age is refused');

# Told of what the primary knows.
$cluster->sql('primary', "SELECT braid.pause('v')");
$cluster->sql('primary', <<'SQL');
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW f WITH (braid.continuous) AS SELECT 10 / x AS q, count(*) AS n FROM t GROUP BY 1;
SELECT braid.wait('f');
SQL
$cluster->sql('primary', 'INSERT INTO t VALUES (2, 0)');
$cluster->wait_for('primary', "SELECT state = 'broken' FROM braid.views WHERE name = 'f'::regclass");
catch_up();
my $answer = $standby->run('RESET braid.read_max_age; SELECT n FROM f');
is($answer->{rows}[0][0], '2', 'a broken view shows what it had');
like($answer->{notices}[0]{M}, qr/"f" is broken/, 'and says so');
$cluster->sql('primary', "SELECT braid.resume('v')");
$cluster->sql('primary', "SELECT braid.wait('v')");
catch_up();

# A session that was there before goes on, and gets what it is promised.
$cluster->kill_node('primary');
$cluster->promote('standby');
$cluster->wait_for('standby', 'SELECT NOT pg_is_in_recovery()');
my $writer = Braid::Client->new($cluster->node('standby'));
for my $n (4 .. 13)
{
	$writer->run('INSERT INTO t VALUES (1, 1)');
	my $client = $n % 2 ? $standby : $writer;
	is($client->value("SET braid.read = strict; SET braid.read_timeout = '60s'; SELECT n FROM s"), $n, "promoted: strict, $n rows") or last;
	is($client->value('SELECT n FROM v WHERE k = 1'), $n - 1, 'promoted: the other view');
}
done_testing();
