# braid.doctor(): what is wrong on which node, and how to mend it.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a');
my $hub = $cluster->node('hub');
$cluster->{nodes}{b} = Braid::Cluster->start_node('b', "max_prepared_transactions = 50\nidle_in_transaction_session_timeout = '1min'\n");
$cluster->sql('b', 'CREATE EXTENSION braid');
$cluster->connect_server('hub', 'b');
sub wait_ready
{
	$cluster->wait_for('hub', 'SELECT count(*) = 2 FROM braid.participants WHERE ready') or die 'servers do not get ready';
	return;
}
wait_ready();

my $faults = q{SELECT node || ': ' || item || ' ' || status FROM braid.doctor() WHERE status <> 'ok' ORDER BY 1};
sub finds
{
	my ($name, $what, @expected) = @_;
	# The test library turns fsync off on all nodes.
	is($cluster->sql($name, $faults), join("\n", sort @expected), $what);
	return;
}
my @always = ('(this server): fsync error', 'a: fsync error', 'b: fsync error', 'b: idle sessions warning', 'b: prepared transactions allowed warning');
finds('hub', 'the faults of all nodes', @always);
is($cluster->sql('hub', "SELECT string_agg(DISTINCT node, ',') FROM braid.doctor()"), '(this server),a,b', 'all nodes are seen');
is($cluster->sql('hub', 'SELECT count(*) FROM braid.doctor() WHERE (status = \'ok\') <> (advice IS NULL) OR detail IS NULL'), '0', 'each fault has its advice, and nothing else has');
is($cluster->sql('hub', "SELECT detail, advice ~ 'max_connections' FROM braid.doctor() WHERE node = 'b' AND item = 'prepared transactions allowed'"), 'max_prepared_transactions = 50, max_connections = 100|t', 'with what is seen');
like($cluster->sql('hub', "SELECT detail FROM braid.doctor() WHERE node = 'a' AND item = 'clock'"), qr/^between -?[\d:.]+ and [\d:.]+ ahead/, 'clocks are compared');

# ---- on a participant
finds('a', 'a participant reports itself', '(this server): fsync error');

# ---- who may ask
$cluster->sql('hub', 'CREATE ROLE watcher; CREATE ROLE operator; CREATE ROLE nobody; GRANT pg_monitor TO watcher; GRANT braid_operator TO operator');
for my $role ('watcher', 'operator')
{
	is($cluster->sql('hub', "SET ROLE $role; $faults"), join("\n", sort @always), "role $role sees the same");
}
my (undef, undef, $err) = $cluster->try_sql('hub', 'SET ROLE nobody; SELECT * FROM braid.doctor()');
like($err, qr/permission denied for function doctor/, 'others do not');

# ---- what can be wrong with servers
$cluster->sql('hub', "ALTER SERVER a OPTIONS (SET parallel_commit 'off'); CREATE SERVER empty FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '/nonexistent')");
$cluster->wait_for('hub', "SELECT reason ~ 'could not connect' FROM braid.participants WHERE server = 'empty'");
wait_ready();
finds('hub', 'parallel_commit, mappings, readiness', @always, 'a: parallel_commit warning', 'empty: ready error', 'empty: user mappings warning');
like($cluster->sql('hub', "SELECT detail, advice FROM braid.doctor() WHERE node = 'empty' AND item = 'ready'"), qr/^could not connect.*\|Check its address/, 'a server that is not ready: why, and what to do');
is($cluster->sql('hub', "SELECT advice FROM braid.doctor() WHERE item = 'parallel_commit' AND status = 'warning'"),
	q{Run ALTER SERVER a OPTIONS (SET parallel_commit 'true'): without it servers prepare one after the other.}, 'advice can be pasted');
$cluster->sql('hub', "DROP SERVER empty; ALTER SERVER a OPTIONS (SET parallel_commit 'true')");

# ---- an adoption that has been lost, a role that may not log in
$cluster->sql('hub', "CREATE EXTENSION postgres_fdw; SELECT braid.adopt('postgres_fdw'); ALTER FOREIGN DATA WRAPPER postgres_fdw HANDLER postgres_fdw_handler");
$cluster->sql('a', 'ALTER ROLE braid_resolver SUPERUSER');
wait_ready();
finds('hub', 'a lost adoption, and a role with too many rights', @always, '(this server): adoption error', 'a: role braid_resolver warning');
$cluster->sql('hub', "SELECT braid.release('postgres_fdw')");
$cluster->sql('a', 'ALTER ROLE braid_resolver NOSUPERUSER');

# ---- a participant that is too old to report, and a resolver that does not answer
$cluster->sql('b', 'ALTER EXTENSION braid DROP FUNCTION braid_internal.xa_checkup_report(); DROP FUNCTION braid_internal.xa_checkup_report()');
finds('hub', 'a participant without a report', '(this server): fsync error', 'a: fsync error', 'b: report warning');
my $pid = $cluster->sql('hub', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid resolver'});
kill 'STOP', $pid;
is($cluster->sql('hub', q{SELECT string_agg(node || ' ' || detail, ',' ORDER BY node) FROM braid.doctor('200 ms') WHERE item = 'report'}), 'a it does not answer,b it does not answer', 'a resolver that is busy');
kill 'CONT', $pid;
finds('hub', 'and again when it is back', '(this server): fsync error', 'a: fsync error', 'b: report warning');

# ---- a transaction in doubt
{
	$cluster->sql($_, 'CREATE TABLE t (v int)') for 'a', 'b';
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$_ (v int) SERVER $_ OPTIONS (table_name 't')") for 'a', 'b';
	$cluster->failpoint('hub', 'xa-committed', 'wait');
	my $psql = $cluster->start_sql('hub', 'BEGIN; INSERT INTO t_a VALUES (1); INSERT INTO t_b VALUES (1); COMMIT');
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	$cluster->failpoint('hub', 'xa-committed', 'off');
	$cluster->finish_sql($psql);
	ok($cluster->wait_for('hub', q{SELECT count(*) = 1 FROM braid.doctor() WHERE item = 'transactions in doubt' AND status = 'error' AND advice = 'See braid.transactions.'}), 'what is in doubt for long is said');
	$cluster->start_again('b');
	ok($cluster->wait_for('hub', q{SELECT count(*) = 0 FROM braid.doctor() WHERE item = 'transactions in doubt' AND status <> 'ok'}), 'until it is not');
}
done_testing();
