# braid.create_restore_point(): all nodes are restored to it, as docs/operations.md says, and agree.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} || 1;
my $cluster = Braid::Cluster->new('hub', 'a', 'b',
	{ conf => "archive_mode = on\narchive_command = 'false'\nmax_wal_senders = 4\nbraid.xa_recovery_interval = '200ms'\n" });
my $hub = $cluster->node('hub');
for my $name ($cluster->names)
{
	my $folder = $cluster->node($name)->archive_dir;
	$cluster->sql($name, qq{ALTER SYSTEM SET archive_command = 'cp "%p" "$folder/%f.new" && mv "$folder/%f.new" "$folder/%f"'});
	$cluster->sql($name, 'SELECT pg_reload_conf()');
	$cluster->sql($name, 'CREATE TABLE ledger (tx bigint, amount bigint)');
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v bigint); INSERT INTO t SELECT g, 0 FROM generate_series(1, 40) g');
	next if $name eq 'hub';
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v bigint) SERVER $name OPTIONS (table_name 't')");
	$cluster->sql('hub', "CREATE FOREIGN TABLE ledger_$name (tx bigint, amount bigint) SERVER $name OPTIONS (table_name 'ledger')");
	$cluster->wait_for('hub', "SELECT ready FROM braid.participants WHERE server = '$name'");
}
my $transfer = <<'SQL';
\set id random(1, 20)
\set amount random(1, 1000)
\set tx random(1, 9000000000000000000)
BEGIN;
UPDATE t_a SET v = v - :amount WHERE id = :id;
UPDATE t_b SET v = v + :amount WHERE id = :id;
INSERT INTO ledger_a VALUES (:tx, -:amount);
INSERT INTO ledger_b VALUES (:tx, :amount);
INSERT INTO ledger VALUES (:tx, :amount);
COMMIT;
SQL

# Points that were made: name => { node => position in its log }.
my %points;

sub create_point
{
	my ($name) = @_;
	my ($rc, $out, $err) = $cluster->try_sql('hub', "SELECT coalesce(server, 'hub'), lsn FROM braid.create_restore_point('$name', '20 s')");
	$points{$name} = { map { split /\|/ } split /\n/, $out } if $rc == 0;
	return ($rc, $err);
}

# The positions in the log have been archived when the segment has.
sub wait_archived
{
	my ($name) = @_;
	for my $node ($cluster->names)
	{
		$cluster->wait_for($node, "SELECT last_archived_wal >= pg_walfile_name('$points{$name}{$node}') FROM pg_stat_archiver");
	}
	return;
}

# Restores a node to the point, into a folder of its own; see docs/operations.md.
sub restore
{
	my ($name, $from, $point) = @_;
	my $node = PostgreSQL::Test::Cluster->new("${from}_$point");
	$node->init_from_backup($cluster->node($from), 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "recovery_target_name = '$name'\nrecovery_target_action = 'promote'\narchive_mode = off\nbraid.xa_resolver = off\n");
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
	like($log, qr/recovery stopping at restore point "$name"/, "$name: $from is restored to it");
	return $node;
}

sub compare
{
	my ($name, %r) = @_;
	my %sum = map { $_ => $r{$_}->safe_psql('postgres', 'SELECT coalesce(sum(v), 0) FROM t') } 'a', 'b';
	my %ledger = map { $_ => $r{$_}->safe_psql('postgres', 'SELECT tx, abs(amount) FROM ledger ORDER BY tx') } keys %r;
	my $transfers = () = $ledger{hub} =~ /\|/g;
	is($sum{a} + $sum{b}, 0, "$name: the sum is conserved");
	is($sum{b}, $r{hub}->safe_psql('postgres', 'SELECT coalesce(sum(amount), 0) FROM ledger'), "$name: it is that of the transfers");
	ok($ledger{a} eq $ledger{hub} && $ledger{b} eq $ledger{hub}, "$name: each of $transfers transfers is on all nodes");
	return $transfers;
}

# Restores all nodes to the point and lets the restored coordinator work.
sub check_restored
{
	my ($name, $serial, $orphans) = @_;
	wait_archived($name);
	my %r = map { $_ => restore($name, $_, $serial) } $cluster->names;

	# Before anything is resolved: what is prepared was not decided.
	my %decided = map { $_ => 1 } split /\n/, $r{hub}->safe_psql('postgres', 'SELECT gid FROM braid_internal.decisions');
	my @prepared = map { split /\n/, $r{$_}->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts') } 'a', 'b';
	is(scalar(grep { my ($tx) = /^(.*):\d+$/; $decided{$tx} } @prepared), 0, "$name: no prepared branch of " . @prepared . ' was decided');
	cmp_ok(scalar(@prepared), '>=', $orphans, "$name: $orphans branches or more are prepared");
	my $transfers = compare($name, %r);

	my ($rc, undef, $err) = $r{hub}->psql('postgres', "SET braid.xa_ready_timeout = '100ms'; UPDATE t_a SET v = 0 WHERE id = 1");
	like($err, qr/server "a" is not ready for atomic transactions\nDETAIL:.*"braid.xa_resolver" is off/, "$name: nothing can be written through the restored coordinator yet");
	is($r{hub}->safe_psql('postgres', 'SELECT count(*) FROM braid.participants WHERE ready'), '0', "$name: and its resolver does not reach the originals");
	for my $server ('a', 'b')
	{
		my ($host, $port) = ($r{$server}->host, $r{$server}->port);
		$r{hub}->safe_psql('postgres', "ALTER SERVER $server OPTIONS (SET host '$host', SET port '$port')");
	}
	for my $node (values %r)
	{
		$node->safe_psql('postgres', 'ALTER SYSTEM SET braid.xa_resolver = on');
		$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	}
	ok($r{hub}->poll_query_until('postgres', 'SELECT count(*) = 2 FROM braid.participants WHERE ready'), "$name: with other addresses it does reach the restored ones");
	$r{hub}->safe_psql('postgres', 'SELECT * FROM braid.xa_recover()');
	is($r{$_}->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', "$name: nothing stays in doubt on $_") for 'a', 'b';
	is($r{hub}->safe_psql('postgres', 'SELECT count(*) FROM braid.transactions'), '0', "$name: nor here");
	is(compare($name, %r), $transfers, "$name: recovery changes nothing");

	$r{hub}->safe_psql('postgres', 'BEGIN; UPDATE t_a SET v = v - 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; INSERT INTO ledger_a VALUES (0, -1); INSERT INTO ledger_b VALUES (0, 1); INSERT INTO ledger VALUES (0, 1); COMMIT');
	is(compare("$name, after a new transaction", %r), $transfers + 1, "$name: the restored nodes go on");
	for my $node (values %r)
	{
		$node->stop('immediate');
		$node->clean_node;
	}
	return;
}

# ---- under load, with kills
# Commit records are flushed slowly, so that at each moment some transactions are decided and not finished.
$cluster->sql('hub', $_) for 'ALTER SYSTEM SET fsync = on', 'ALTER SYSTEM SET commit_delay = 5000', 'ALTER SYSTEM SET commit_siblings = 0', 'SELECT pg_reload_conf()';
$cluster->node($_)->backup('base') for $cluster->names;
for my $round (1 .. $rounds)
{
	my $load = $cluster->start_load('hub', $transfer, 6);
	my @kills = (
		sub { $cluster->kill_process('hub', $cluster->sql('hub', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = 'pgbench' LIMIT 1") || return) },
		sub { $cluster->kill_node('b'); $cluster->start_again('b') },
		sub { $cluster->sql('hub', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid resolver'") },
		sub { $cluster->kill_node('hub'); $cluster->start_again('hub') },
	);
	for my $kill (@kills[ ($round + 1) % 4, $round % 4 ])
	{
		select undef, undef, undef, 0.3 + rand(0.7);
		# A restore point that is overtaken by a kill is there, or an error; both are right.
		my $psql = $cluster->start_sql('hub', "SELECT * FROM braid.create_restore_point('killed-$round-' || clock_timestamp())");
		select undef, undef, undef, rand(0.05);
		$kill->();
		$cluster->finish_sql($psql);
	}
	$cluster->wait_for('hub', "SELECT count(*) = 2 FROM braid.participants WHERE ready");
	my $before = $cluster->sql('hub', 'SELECT count(*) FROM ledger');
	$cluster->wait_for('hub', "SELECT count(*) > $before + 30 FROM ledger");
	my ($rc, $err) = create_point("load-$round");
	is($rc, 0, "round $round: a restore point under load") or diag $err;
	select undef, undef, undef, 0.5;
	my $done = $cluster->stop_load($load);
	cmp_ok($done, '>', 0, "round $round: $done transfers");
	check_restored("load-$round", "load$round", 0);
}

# ---- a branch that is prepared at the point, and not decided; and a long way to the point, under load
{
	# PREPARE of a transaction that is given up can arrive after the last look at its server. This one
	# belongs to a transaction that is open, so that no look rolls it back.
	my $open = $hub->background_psql('postgres');
	$open->query_safe('BEGIN; UPDATE t_a SET v = v WHERE id = 30; UPDATE t_b SET v = v WHERE id = 30; COMMIT') for 1 .. 2;
	$open->query_safe('BEGIN; UPDATE t_a SET v = v WHERE id = 30');
	my $gid = $cluster->sql('hub', "SELECT gid FROM braid.transactions WHERE state = 'active'");
	$cluster->sql('a', "BEGIN; UPDATE t SET v = v - 5 WHERE id = 31; UPDATE braid_internal.enlist SET gid = '$gid:9'; COMMIT");
	is($cluster->sql('a', 'SELECT gid FROM pg_prepared_xacts'), "$gid:9", 'a branch is prepared');
	my $load = $cluster->start_load('hub', $transfer, 6);
	my $before = $cluster->sql('hub', 'SELECT count(*) FROM ledger');
	$cluster->wait_for('hub', "SELECT count(*) > $before + 30 FROM ledger");
	$cluster->failpoint('hub', 'xa-restore-point', 'wait');
	my ($out, $error);
	my $point = IPC::Run::start([ 'psql', '-XAtq', '-d', $hub->connstr('postgres'), '-c', q{SELECT coalesce(server, 'hub'), lsn FROM braid.create_restore_point('held', '20 s')} ], '>', \$out, '2>', \$error);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-restore-point') = 1");

	# Meanwhile COMMITs with two phases wait, and others do not.
	is($cluster->sql('hub', 'UPDATE t_a SET v = v WHERE id = 32; INSERT INTO ledger SELECT 1, 1 WHERE false; SELECT 1'), '1', 'a commit with one phase does not wait for a restore point');
	my ($rc, undef, $err) = $cluster->try_sql('hub', "SET lock_timeout = '200ms'; BEGIN; UPDATE t_a SET v = v WHERE id = 32; UPDATE t_b SET v = v WHERE id = 32; COMMIT");
	like($err, qr/canceling statement due to lock timeout/, 'one with two phases does');
	(undef, undef, $err) = $cluster->try_sql('hub', "SET statement_timeout = '5s'; SELECT * FROM braid.create_restore_point('second', '200 ms')");
	like($err, qr/canceling statement due to lock timeout/, 'a second restore point waits for the first, at most its time-out');
	$cluster->failpoint('hub', 'xa-restore-point', 'off');
	$point->finish;
	is($error, '', 'the point is made');
	$points{held} = { map { split /\|/ } split /\n/, $out };
	is($cluster->sql('a', "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$gid:9'"), '1', 'the branch is still prepared');
	$before = $cluster->sql('hub', 'SELECT count(*) FROM ledger');
	$cluster->wait_for('hub', "SELECT count(*) > $before + 30 FROM ledger");
	$cluster->stop_load($load);
	$open->query_safe('ROLLBACK');
	$open->quit;
	check_restored('held', 'held', 1);
	ok($cluster->wait_for('a', 'SELECT count(*) = 0 FROM pg_prepared_xacts'), 'the original rolls it back as well');
}

# ---- it waits for what is decided, and gives up in time
{
	$cluster->failpoint('hub', 'xa-finish', 'wait');
	my $psql = $cluster->start_sql('hub', "SET braid.xa_finish_timeout = '100ms'; BEGIN; UPDATE t_a SET v = v WHERE id = 1; UPDATE t_b SET v = v WHERE id = 1; COMMIT;");
	$cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'committing'");
	my ($rc, undef, $err) = $cluster->try_sql('hub', "\\set VERBOSITY verbose\nSELECT * FROM braid.create_restore_point('early', '300 ms')");
	like($err, qr/55000: could not create a restore point in time\nDETAIL:  Committed transactions are being finished\./, 'not while a branch is unfinished');
	$cluster->failpoint('hub', 'xa-finish', 'off');
	$cluster->finish_sql($psql);
	($rc, $err) = create_point('later');
	is($rc, 0, 'but when it is') or diag $err;

	$psql = $cluster->start_sql('hub', 'BEGIN; UPDATE t_a SET v = v WHERE id = 1; UPDATE t_b SET v = v WHERE id = 1; COMMIT;');
	$cluster->finish_sql($psql);
	$cluster->failpoint('hub', 'xa-prepared', 'wait');
	$psql = $cluster->start_sql('hub', 'BEGIN; UPDATE t_a SET v = v WHERE id = 1; UPDATE t_b SET v = v WHERE id = 1; COMMIT;');
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-prepared') = 1");
	(undef, undef, $err) = $cluster->try_sql('hub', "SELECT * FROM braid.create_restore_point('early', '300 ms')");
	like($err, qr/canceling statement due to lock timeout/, 'not while a branch is prepared and not decided');
	$cluster->failpoint('hub', 'xa-prepared', 'off');
	is($cluster->finish_sql($psql), '', 'which is not disturbed');

	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	(undef, undef, $err) = $cluster->try_sql('hub', "\\set VERBOSITY verbose\nSET braid.xa_ready_timeout = 0; SELECT * FROM braid.create_restore_point('without b')");
	like($err, qr/55000: server "b" is not ready/, 'not without one of the servers');
	$cluster->start_again('b');

	$cluster->sql('hub', 'CREATE ROLE dba LOGIN; GRANT braid_operator TO dba; CREATE ROLE other LOGIN');
	(undef, undef, $err) = $cluster->try_sql('hub', "SET ROLE other; SELECT * FROM braid.create_restore_point('no')");
	like($err, qr/permission denied for function create_restore_point/, 'not everybody may');
	is($cluster->sql('hub', "SET ROLE dba; SELECT server, lsn > '0/0' FROM braid.create_restore_point('by an operator')"), "|t\na|t\nb|t", 'braid_operator may, without rights on the servers');
	(undef, undef, $err) = $cluster->try_sql('a', "SET ROLE braid_resolver; SELECT pg_create_restore_point('x')");
	like($err, qr/permission denied/, 'the resolver has no right to more');
	is($cluster->sql('hub', "BEGIN; SELECT count(*) FROM braid.create_restore_point('in a block'); SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareRowExclusiveLock'; COMMIT"), "3\n0", 'its locks do not stay until the end of the transaction');
}
done_testing();
