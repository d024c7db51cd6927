# Continuous views and copies of the server: a standby and its promotion, recovery to
# a point in time, clones. Slots do not follow, so views are rebuilt, and say so.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('primary', { conf => "wal_keep_size = 64MB\n" });
my $primary = $cluster->node('primary');
my %queries = (
	v => 'SELECT k, count(*) AS n, sum(x) AS total FROM t GROUP BY k',
	j => 'SELECT u.name, count(*) AS n FROM t JOIN u ON u.k = t.k GROUP BY u.name',
	w => 'SELECT count(*) AS groups, sum(n) AS n FROM v');

sub sql { my ($name, $sql) = @_; return $cluster->sql($name, $sql); }

sub write_some
{
	my ($name) = @_;
	sql($name, 'INSERT INTO t SELECT 1, g FROM generate_series(1, 20) g; DELETE FROM t WHERE x % 50 = 3; UPDATE t SET k = k + 1 WHERE x % 11 = 1');
	return;
}

# Each view equals its query, and follows.
sub are_right
{
	my ($name, $what) = @_;
	ok($cluster->wait_for($name, "SELECT bool_and(state = 'live') FROM braid.views"), "$what: all are live") or diag sql($name, 'TABLE braid.views');
	for my $round ('as they were', 'after changes')
	{
		is(sql($name, "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')"), '', "$what, $round: all have caught up");
		is(sql($name, join(' UNION ALL ', map { "SELECT '$_' FROM (((TABLE $_ EXCEPT ALL ($queries{$_})) UNION ALL (($queries{$_}) EXCEPT ALL TABLE $_))) d" } sort keys %queries)), '', "$what, $round: all are right");
		write_some($name) if $round eq 'as they were';
	}
	return;
}

sub slot_of { my ($name) = @_; return sql($name, "SELECT slot_name FROM pg_replication_slots WHERE plugin = 'braid'"); }

sql('primary', "CREATE TABLE t (k int, x int); INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g; CREATE TABLE u AS SELECT g AS k, 'u' || g % 3 AS name FROM generate_series(0, 9) g");
sql('primary', "SET client_min_messages = warning; CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS $queries{$_}") for 'v', 'j', 'w';
are_right('primary', 'primary');

# ---------------------------------------------------------------- a cold copy

my $since = sql('primary', 'SELECT max(since) FROM braid.views');
$primary->stop;
$primary->backup_fs_cold('cold');
$primary->start;
my $cold = PostgreSQL::Test::Cluster->new('cold');
$cold->init_from_backup($primary, 'cold');
$cluster->{nodes}{cold} = $cold;
$cold->start;
are_right('cold', 'a copy of the files of a server that was down');
is(sql('cold', 'SELECT max(since) FROM braid.views'), $since, 'which has the slot as well: nothing was rebuilt');
$cold->stop('immediate');

# ---------------------------------------------------------------- a standby

$cluster->add_standby('primary', 'standby');
write_some('primary');
are_right('primary', 'primary with a standby');
$primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert'));
my $standby = $cluster->node('standby');
is(sql('standby', 'SELECT count(*), sum(total) FROM v'), sql('primary', 'SELECT count(*), sum(total) FROM v'), 'a standby shows the views as the primary had them');
is(sql('standby', "SELECT DISTINCT state, lag IS NULL, last_error IS NULL FROM braid.views"), 'live|t|t', 'and their states');
is(sql('standby', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'braid capture'"), 0, 'without a worker');
my ($rc, $out, $err) = $cluster->try_sql('standby', 'REFRESH MATERIALIZED VIEW v');
like($err, qr/cannot execute .* (in a read-only transaction|during recovery)/, 'nothing can be rebuilt there');

# Promoted while somebody reads; the worker is kept from rebuilding at once.
sql('standby', "SELECT braid_internal.failpoint_set('capture-snapshot', 'wait')");
$primary->stop('immediate');
$cluster->promote('standby');
ok($cluster->wait_for('standby', "SELECT bool_and(state = 'rebuilding') FROM braid.views"), 'promoted: views are rebuilding') or diag sql('standby', 'TABLE braid.views');
$standby->wait_for_log(qr/replication slot "braid_\w+" is missing or lost.*All continuous views of the database are rebuilt/s);
($rc, $out, $err) = $cluster->try_sql('standby', 'SELECT count(*) > 5 FROM v');
is($out, 't', 'they can be read meanwhile');
like($err, qr/WARNING: .*continuous view "v" is being rebuilt.*What is read is as it was before/s, 'and readers are told');
write_some('standby');
sql('standby', "SELECT braid_internal.failpoint_set('capture-snapshot', 'off')");
are_right('standby', 'promoted');
is(sql('standby', "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'braid' AND active"), 1, 'with a slot of its own');

# With a transaction that is prepared: a new slot has to wait for it, and views say so.
$cluster->add_standby('standby', 'third');
sql('standby', "BEGIN; INSERT INTO t VALUES (5, 5); PREPARE TRANSACTION 'open'");
my $prepared = $standby->lsn('insert');
sql('standby', 'SELECT pg_switch_wal()');
$standby->wait_for_catchup('third', 'replay', $prepared);
$standby->stop('immediate');
$cluster->promote('third');
ok($cluster->wait_for('third', "SELECT bool_and(state = 'rebuilding') FROM braid.views"), 'promoted with a prepared transaction: rebuilding');
is(sql('third', 'SELECT count(*) > 5 FROM v'), 't', 'it can be read');
sql('third', "COMMIT PREPARED 'open'");
are_right('third', 'the prepared transaction has ended');

# ---------------------------------------------------------------- point-in-time recovery

my $node = $cluster->node('third');
$node->append_conf('postgresql.conf', "archive_mode = on\narchive_command = 'cp \"%p\" \"" . $node->archive_dir . "/%f\"'");
mkdir $node->archive_dir;
$node->restart;
are_right('third', 'restarted');
$node->backup('base');
write_some('third');
my $at_point = sql('third', "SELECT pg_create_restore_point('here'); $queries{v} ORDER BY 1") =~ s/^[^\n]*\n//r;
write_some('third');
sql('third', 'DELETE FROM t WHERE k = 2');
are_right('third', 'after the point');
sql('third', 'SELECT pg_switch_wal()');
$node->poll_query_until('postgres', 'SELECT archived_count > 0 AND last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = 'here'\nrecovery_target_action = 'promote'");
$restored->start;
$cluster->{nodes}{restored} = $restored;
ok($cluster->wait_for('restored', 'SELECT NOT pg_is_in_recovery()'), 'recovered to a point in time');
is(sql('restored', "$queries{v} ORDER BY 1"), $at_point, 'the table is as it was then');
is(sql('restored', "SELECT DISTINCT braid.wait(name, '60 s') FROM braid.views"), 't', 'the views are rebuilt');
is(sql('restored', 'TABLE v ORDER BY 1'), $at_point, 'and show the same');
are_right('restored', 'recovered');

# The original goes on beside it, as beside any clone.
isnt(slot_of('restored'), slot_of('third'), 'both have slots of their own');
are_right('third', 'the original');

# ---------------------------------------------------------------- a clone by base backup

my $clone = PostgreSQL::Test::Cluster->new('clone');
my $load = $cluster->start_load('third', "INSERT INTO t VALUES (3, 1);\nUPDATE t SET x = x + 1 WHERE ctid = (SELECT ctid FROM t LIMIT 1);\n", 2);
$node->backup('while_writing');
ok($cluster->stop_load($load) > 0, 'a base backup under load');
$clone->init_from_backup($node, 'while_writing');
$clone->append_conf('postgresql.conf', 'archive_mode = off');
$clone->start;
$cluster->{nodes}{clone} = $clone;
are_right('clone', 'a clone');
are_right('third', 'the original, again');

done_testing();
