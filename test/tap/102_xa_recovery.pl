# What recovery, the operator's views and the waits do, case by case.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "wal_writer_delay = 10s\nbraid.xa_recovery_interval = '200ms'\n" });
my $hub = $cluster->node('hub');
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
}
$cluster->sql('hub', 'CREATE TABLE local (id int)');
my $both = 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT;';

sub values_are
{
	my ($expected, $what) = @_;
	for my $name ('a', 'b')
	{
		$cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts');
		is($cluster->sql($name, 'SELECT v FROM t WHERE id = 1'), $expected, "$what, on $name");
	}
	return;
}

# ---- a transaction id that is handed out again after a crash
{
	# Nothing but the transaction itself is to flush the log meanwhile.
	$cluster->sql('hub', "ALTER SYSTEM SET braid.xa_recovery_interval = '1h'");
	$cluster->sql('hub', 'SELECT pg_reload_conf()');
	my $reused = 0;
	for my $attempt (1 .. 5)
	{
		$cluster->sql('hub', 'CHECKPOINT');
		$cluster->failpoint('hub', 'xa-prepared', 'wait');
		my $psql = $cluster->start_sql('hub', $both);
		$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-prepared') = 1");
		my $gid = $cluster->sql('a', 'SELECT gid FROM pg_prepared_xacts');
		my ($xid) = $gid =~ /:(\d+):\d+$/;
		ok($xid, "attempt $attempt: a branch is prepared");

		# The participants stay away until the coordinator has used the xid again.
		$cluster->kill_node('hub', at_once => 1);
		$cluster->finish_sql($psql);
		$cluster->node($_)->stop('immediate') for 'a', 'b';
		$cluster->start_again('hub');
		$cluster->sql('hub', 'INSERT INTO local VALUES (1)') for 1 .. 10;
		$reused = $cluster->sql('hub', "SELECT pg_xact_status('$xid'::xid8)") eq 'committed';
		$cluster->start_again($_) for 'a', 'b';
		values_are(0, "attempt $attempt: the branches are rolled back");
		last if $reused;
	}
	ok($reused, 'though another transaction has committed under the same transaction id');
	$cluster->sql('hub', 'ALTER SYSTEM RESET braid.xa_recovery_interval');
	$cluster->sql('hub', 'SELECT pg_reload_conf()');
}

# ---- PREPARE fails on one of two nodes, again and again
{
	$cluster->sql('b', <<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused at commit'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION refuse();
SQL
	like($cluster->sql('hub', "SELECT srvoptions::text FROM pg_foreign_server WHERE srvname = 'a'"), qr/parallel_commit=true/, 'parallel_commit is the default');
	my $sql = '';
	for (1 .. 50)
	{
		$sql .= "BEGIN; UPDATE t_b SET v = v + 1 WHERE id = 2; UPDATE t_a SET v = v + 1 WHERE id = 2; COMMIT;\n";
		$sql .= "BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 2; UPDATE t_b SET v = v + 1 WHERE id = 2; COMMIT;\n";
	}
	my (undef, undef, $err) = $hub->psql('postgres', $sql, on_error_stop => 0);
	my $failures = () = $err =~ /refused at commit/g;
	is($failures, 100, '100 transactions fail on one node');
	ok($cluster->wait_for('a', 'SELECT count(*) = 0 FROM pg_prepared_xacts'), 'no orphan is left on the other');
	is($cluster->sql('a', 'SELECT v FROM t WHERE id = 2'), '0', 'and nothing is changed there');
	$cluster->sql('b', 'DROP TRIGGER refuse ON t');
}

# ---- a branch that has failed is not reported as committed
{
	my (undef, undef, $err) = $hub->psql('postgres', 'BEGIN; UPDATE t_a SET v = 7 WHERE id = 1; UPDATE t_b SET v = 1 / (id - 1) WHERE id = 1; COMMIT;', on_error_stop => 0);
	like($err, qr/division by zero/, 'a failing statement fails');
	values_are(0, 'nothing is changed');
	(undef, undef, $err) = $cluster->node('a')->psql('postgres', "BEGIN; UPDATE braid_internal.enlist SET gid = 'braid:0000000000000001:1:1:0'; SELECT 1/0; COMMIT;", on_error_stop => 0);
	like($err, qr/branch of a global transaction has failed and cannot be prepared/, 'COMMIT of a failed branch is an error');
	(undef, undef, $err) = $cluster->node('a')->psql('postgres', "BEGIN; UPDATE braid_internal.enlist SET gid = 'x'; ROLLBACK", on_error_stop => 0);
	like($err, qr/is not the name of a branch/, 'not every name is taken');
}

# ---- waits: time-out, cancel, terminate
{
	$cluster->failpoint('hub', 'xa-finish', 'wait');
	my (undef, undef, $err) = $cluster->try_sql('hub', "SET braid.xa_finish_timeout = '300ms'; $both");
	like($err, qr/WARNING:  transaction "braid:[^"]*" is committed, but not yet on all servers\nDETAIL:.*timed out/, 'a wait that times out warns');
	is($cluster->sql('hub', q{SELECT state, branch_states FROM braid.transactions}), 'committing|{committing,committing}', 'and the transaction is seen');
	$cluster->failpoint('hub', 'xa-finish', 'off');
	values_are(1, 'it is finished later');
	$cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions');

	for my $how ('cancel', 'terminate')
	{
		$cluster->failpoint('hub', 'xa-finish', 'wait');
		my $psql = $cluster->start_sql('hub', "SET application_name = 'victim'; $both SELECT 'next';");
		$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-finish') = 1");
		$cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'committing'");
		$cluster->sql('hub', "SELECT pg_${how}_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'");
		my $log = $cluster->finish_sql($psql);
		$how eq 'cancel'
		  ? like($log, qr/WARNING:.*is committed.*\nDETAIL:.*the wait was canceled/, 'a canceled wait warns')
		  : like($log, qr/WARNING:.*is committed.*\nDETAIL:.*the connection is being terminated(?s:.*)server closed the connection/, 'a terminated session learns that it is committed, and is gone');
		$cluster->failpoint('hub', 'xa-finish', 'off');
		values_are($how eq 'cancel' ? 2 : 3, "$how: the transaction is finished all the same");
		$cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions');
	}
}

# ---- a participant is lost between its PREPARE and its COMMIT PREPARED
{
	$cluster->failpoint('hub', 'xa-committed', 'wait');
	my $psql = $cluster->start_sql('hub', $both);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
	is($cluster->sql('hub', 'SELECT state, servers FROM braid.transactions'), 'active|{a,b}', 'the transaction is seen while it is active');
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	$cluster->failpoint('hub', 'xa-committed', 'off');
	like($cluster->finish_sql($psql), qr/WARNING:.*is committed, but not yet on all servers\nDETAIL:.*server "b"/, 'the client is told which server lags');
	is($cluster->sql('hub', 'SELECT state, servers, branch_states FROM braid.transactions'), 'in doubt|{a,b}|{committed,"in doubt"}', 'the transaction is in doubt');
	like($cluster->sql('hub', 'SELECT advice FROM braid.transactions'), qr/^Server "b" is not ready: could not connect to it.*Check its address, that it is up/, 'with advice');
	is($cluster->sql('hub', "SELECT in_doubt FROM braid.participants WHERE server = 'b'"), '1', 'and counted');
	my (undef, undef, $err) = $cluster->try_sql('hub', 'DROP SERVER b CASCADE');
	like($err, qr/cannot drop server "b" because a global transaction has an unfinished branch on it/, 'its server cannot be dropped');
	(undef, undef, $err) = $cluster->try_sql('hub', "SELECT * FROM braid.xa_recover('1 s')");
	like($err, qr/server "b" could not be checked/, 'xa_recover() says whom it could not ask');

	my $gid = $cluster->sql('hub', 'SELECT gid FROM braid.transactions');
	$cluster->kill_node('hub');
	$cluster->start_again('hub');
	is($cluster->sql('hub', "SELECT state, branch_states[2] FROM braid.transactions WHERE gid = '$gid'"), 'unchecked|unchecked', 'a restart of the coordinator does not forget it');
	$cluster->start_again('b');
	values_are(4, 'the lost participant commits when it is back');
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'nothing stays in doubt');
}

# ---- writes to a server that is not ready fail, reads work
{
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	my (undef, undef, $err) = $cluster->try_sql('hub', "SET braid.xa_ready_timeout = '200ms'; UPDATE t_b SET v = 0");
	like($err, qr/server "b" is not ready for atomic transactions\nDETAIL:.*could not connect.*\nHINT:/, 'a write to a server that is down');
	$cluster->start_again('b');
	my ($rc) = $cluster->try_sql('hub', 'UPDATE t_b SET v = v WHERE id = 1');
	is($rc, 0, 'a write waits for a server that comes back');

	my %faults = (
		bare => ["shared_preload_libraries = ''", 0, qr/role "braid_resolver" does not exist.*\nHINT:.*CREATE EXTENSION braid/],
		unloaded => ["shared_preload_libraries = ''", 0, qr/braid is not loaded there.*\nHINT:.*shared_preload_libraries/],
		uncreated => ['', 0, qr/extension braid is not installed.*\nHINT:.*CREATE EXTENSION braid/],
		unprepared => ['max_prepared_transactions = 0', 1, qr/prepared transactions are disabled there.*\nHINT:.*max_prepared_transactions/],
	);
	for my $name (sort keys %faults)
	{
		my ($conf, $create, $message) = @{ $faults{$name} };
		$cluster->{nodes}{$name} = Braid::Cluster->start_node($name, "$conf\n");
		$cluster->sql($name, 'CREATE EXTENSION braid') if $create;
		$cluster->sql($name, 'CREATE ROLE braid_resolver LOGIN') if !$create && $name ne 'bare';
		$cluster->sql($name, 'CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 5)');
		$cluster->connect_server('hub', $name);
		$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
		$cluster->wait_for('hub', "SELECT reason IS NOT NULL AND reason !~ 'yet' FROM braid.participants WHERE server = '$name'");
		(undef, undef, $err) = $cluster->try_sql('hub', "SET braid.xa_ready_timeout = '200ms'; UPDATE t_$name SET v = 0");
		like($err, qr/server "$name" is not ready/, "$name: a write is refused");
		like($err, $message, "$name: with reason and mend");
		is($cluster->sql('hub', "SELECT v FROM t_$name"), '5', "$name: reads work");
		$cluster->sql('hub', "DROP SERVER $name CASCADE");
	}
	is($cluster->sql('hub', "SELECT count(*) FROM pg_extension WHERE extname = 'braid'"), '1', 'DROP SERVER CASCADE leaves the extension alone');
	is($cluster->sql('hub', "SELECT count(*) FROM pg_class WHERE relname ~ '^enlist_'"), '2', 'and takes the hidden tables along');
}

# ---- the fence
{
	my $id = $cluster->sql('hub', 'SELECT id FROM braid_internal.coordinator');
	my $key = $cluster->sql('a', "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted");
	my $clone = $cluster->node('a')->background_psql('postgres');
	$clone->query_safe("SET application_name = 'clone'");
	$cluster->sql('a', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^braid resolver'");
	$clone->query_safe("SELECT pg_advisory_lock($key)");
	# Whoever came first has the lock; make sure that it is the clone.
	for (1 .. 20)
	{
		last if $cluster->sql('hub', "SELECT reason ~ 'identity' FROM braid.participants WHERE server = 'a'") eq 't';
		select undef, undef, undef, 0.1;
	}
	my (undef, undef, $err) = $cluster->try_sql('hub', "SET braid.xa_ready_timeout = '200ms'; UPDATE t_a SET v = 0");
	like($err, qr/another server with the identity of this one/, 'two coordinators with one identity do not act at the same time');
	$clone->quit;
	my ($rc) = $cluster->try_sql('hub', $both);
	is($rc, 0, 'when the other one has gone, this one goes on');
	values_are(5, 'and commits');

	$cluster->sql('hub', 'SELECT braid_internal.new_identity()');
	isnt($cluster->sql('hub', 'SELECT id FROM braid_internal.coordinator'), $id, 'new_identity() gives another identity');
	($rc) = $cluster->try_sql('hub', $both);
	is($rc, 0, 'under which transactions go on');
	values_are(6, 'and commit');
}

# ---- the resolver does not lend its operating system's user to others
{
	$cluster->sql('hub', 'CREATE ROLE owner; ALTER SERVER b OWNER TO owner');
	ok($cluster->wait_for('hub', q{SELECT NOT ready AND reason ~ 'does not use a password' FROM braid.participants WHERE server = 'b'}), 'a server of an ordinary user needs a password');
	$cluster->sql('hub', "CREATE USER MAPPING FOR braid_resolver SERVER b OPTIONS (user 'braid_resolver', password 'not asked for')");
	ok($cluster->wait_for('hub', q{SELECT NOT ready AND reason ~ 'does not use a password' FROM braid.participants WHERE server = 'b'}), 'that is used');
	$cluster->sql('hub', 'DROP USER MAPPING FOR braid_resolver SERVER b; ALTER SERVER b OWNER TO CURRENT_USER');
	ok($cluster->wait_for('hub', q{SELECT ready FROM braid.participants WHERE server = 'b'}), 'one of a superuser does not');
}

# ---- decisions are removed once they are settled
{
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid_internal.decisions'), 'settled decisions are removed');
	my $load = $cluster->start_load('hub', "$both\n", 2);
	my $relid = $cluster->sql('hub', "SELECT 'braid_internal.decisions_0'::regclass::oid");
	my $file = $cluster->sql('hub', "SELECT pg_relation_filenode($relid)");
	ok($cluster->wait_for('hub', "SELECT pg_relation_filenode($relid) <> $file"), 'also under load');
	$cluster->stop_load($load);
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid_internal.decisions'), 'and all of them in the end');
}

# ---- a server whose options change, a renamed one, a copied database
{
	my $port = $cluster->node('b')->port;
	$cluster->sql('hub', "ALTER SERVER a RENAME TO other; ALTER SERVER other OPTIONS (SET port '$port')");
	ok($cluster->wait_for('hub', q{SELECT ready FROM braid.participants WHERE server = 'other'}), 'a server with another address gets ready');
	my $before = $cluster->sql('b', 'SELECT v FROM t WHERE id = 1');
	$cluster->sql('hub', 'BEGIN; INSERT INTO local VALUES (2); UPDATE t_a SET v = v + 1 WHERE id = 1; COMMIT');
	is($cluster->sql('b', 'SELECT v FROM t WHERE id = 1'), $before + 1, 'and is written to');

	$cluster->sql('hub', 'CREATE DATABASE copy TEMPLATE postgres');
	$hub->poll_query_until('copy', q{SELECT count(*) = 2 FROM braid.participants WHERE ready});
	isnt($hub->safe_psql('copy', 'SELECT id FROM braid_internal.coordinator'), $cluster->sql('hub', 'SELECT id FROM braid_internal.coordinator'), 'a copied database has an identity of its own');
	$hub->safe_psql('copy', 'BEGIN; INSERT INTO local VALUES (2); UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT');
	is($cluster->sql('b', 'SELECT v FROM t WHERE id = 1'), $before + 2, 'and coordinates');
	$cluster->sql('hub', 'DROP DATABASE copy');
	pass('DROP DATABASE is not disturbed by the workers');
}
done_testing();
