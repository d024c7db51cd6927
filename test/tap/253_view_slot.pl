# What keeps the capture worker from its slot, or takes it away: limits of the server,
# and a wal_level that was set back. Views say what is wrong, keep what they show, and
# are rebuilt once it is mended; also over crashes.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "max_replication_slots = 1\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n" });
my $node = $cluster->node('db');
my $query = 'SELECT k, count(*) AS n, sum(x) AS total FROM t GROUP BY k';

sub sql { my ($sql) = @_; return $cluster->sql('db', $sql); }
sub fails { my ($sql, $pattern, $what) = @_; my ($rc, $out, $err) = $cluster->try_sql('db', $sql); return like($err, $pattern, $what); }
sub state_is { my ($state, $error, $what) = @_; return ok($cluster->wait_for('db', 'SELECT state, last_error FROM braid.views', "$state|$error"), $what) || diag sql('TABLE braid.views'); }
sub slot { return sql("SELECT slot_name FROM pg_replication_slots WHERE plugin = 'braid'"); }
sub set { my ($lines) = @_; return $node->append_conf('postgresql.conf', $lines); }

sub is_right
{
	my ($what) = @_;
	sql('INSERT INTO t VALUES (1, 1), (NULL, 2); DELETE FROM t WHERE x % 50 = 3; UPDATE t SET k = k + 1 WHERE x % 11 = 1');
	state_is('live', '', "$what: live");
	is(sql("SELECT braid.wait('v', '60 s')"), 't', "$what: caught up");
	is(sql("(TABLE v EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE v)"), '', "$what: right");
	return;
}

# ---------------------------------------------------------------- max_replication_slots

sql("SELECT pg_create_physical_replication_slot('other')");
sql('CREATE TABLE t (k int, x int); INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g');
sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
state_is('stopped', 'all replication slots are in use', 'max_replication_slots is reached: a new view says so');
$node->wait_for_log(qr/braid capture .*ERROR: .*all replication slots are in use.*HINT: .*increase max_replication_slots/s);
fails('TABLE v', qr/"v" has not been populated/, 'it cannot be read yet');
sql("SELECT pg_drop_replication_slot('other')");
is_right('a slot has become free');

# ---------------------------------------------------------------- max_slot_wal_keep_size

# A table that is locked for long holds WAL, until the limit is reached.
set("max_slot_wal_keep_size = 16MB\ncheckpoint_timeout = 1h");
$node->reload;
sql('CREATE TABLE noise (x text)');

sub lose_slot
{
	my ($blocker) = @_;
	my $old = slot();
	my $offset = -s $node->logfile;
	$blocker->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (5, 5)');
	for (1 .. 20)
	{
		sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 8000)");
		sql('CHECKPOINT');
		last if PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset) =~ /replication slot "$old" is missing or lost/;
	}
	ok($node->wait_for_log(qr/invalidating (obsolete replication )?slot "$old".*replication slot "$old" is missing or lost.*All continuous views of the database are rebuilt/s, $offset), 'the slot is lost, and the log says so');
	return;
}

my $before = sql('SELECT count(*), sum(n) FROM v');
my $blocker = $node->background_psql('postgres');
lose_slot($blocker);
state_is('rebuilding', '', 'max_slot_wal_keep_size is reached: rebuilding as long as the table is locked');
my ($rc, $out, $err) = $cluster->try_sql('db', 'SELECT count(*), sum(n) FROM v');
is($out, $before, 'the view shows what it did');
like($err, qr/WARNING: .*"v" is being rebuilt/, 'and readers are told');
$blocker->query_safe('COMMIT');
$blocker->quit;
is_right('the lock was released');

# The server crashes with the slot lost.
$blocker = $node->background_psql('postgres');
lose_slot($blocker);
$cluster->kill_node('db');
$blocker->{run}->kill_kill;
$cluster->start_again('db');
is_right('a crash after the slot was lost');
set('max_slot_wal_keep_size = -1');
$node->reload;

# The slot has gone with the files, as in a copy of them.
$node->stop('immediate');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', glob($node->data_dir . '/pg_replslot/braid_*'));
$node->start;
is_right('the slot was removed');

# ---------------------------------------------------------------- wal_level

# PostgreSQL does not start with a slot that it could not serve.
set('wal_level = replica');
my $offset = -s $node->logfile;
$node->stop;
ok(!$node->start(fail_ok => 1), 'wal_level is not set back while there is a slot');
ok($node->wait_for_log(qr/FATAL: .*logical replication slot "braid_\w+" exists, but wal_level < logical/, $offset), 'says PostgreSQL');
set('wal_level = logical');
$node->start;
is_right('as it was');

# So the views are paused first.
sql('SELECT braid.pause(name) FROM braid.views');
ok($cluster->wait_for('db', "SELECT count(*) = 0 FROM pg_replication_slots"), 'views that are paused give the slot up');
$before = sql('SELECT count(*), sum(n) FROM v');
set('wal_level = replica');
$node->restart;
is(sql('SELECT state, last_error FROM braid.views'), 'paused|', 'then wal_level can be set back, and they are still paused');
is(sql('SELECT count(*), sum(n) FROM v'), $before, 'and show what they did');
fails("SELECT braid.resume('v')", qr/continuous views need "wal_level" to be "logical".*wal_level = logical/s, 'they cannot be resumed');
sql('INSERT INTO t VALUES (6, 6)');
set('wal_level = logical');
$node->restart;
is(sql('SELECT state FROM braid.views'), 'paused', 'wal_level is set again');
sql("SELECT braid.resume('v')");
is_right('resumed');

# A copy without the slot is started with another wal_level.
$node->stop('immediate');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', glob($node->data_dir . '/pg_replslot/braid_*'));
set('wal_level = replica');
$offset = -s $node->logfile;
$node->start;
state_is('stopped', '"wal_level" is not "logical"', 'started without logical WAL: stopped, with the reason');
ok($node->wait_for_log(qr/continuous views are not followed, as "wal_level" is not "logical".*wal_level = logical/s, $offset), 'the log says it once');
is(sql('SELECT count(*) > 5 FROM v'), 't', 'the view can be read');
fails('REFRESH MATERIALIZED VIEW v', qr/continuous views need "wal_level" to be "logical"/, 'but not rebuilt');
is(sql("SELECT braid.wait('v', '100 ms')"), 'f', 'nor waited for');
sql('INSERT INTO t VALUES (7, 7); DELETE FROM t WHERE x = 100');
set('wal_level = logical');
$node->restart;
is_right('and again with it');

done_testing();
