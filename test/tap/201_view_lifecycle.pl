# What happens to views around them: slots that go, restarts, several databases,
# dumps, locks, and servers that cannot have views.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db');
my $node = $cluster->node('db');
my $query = 'SELECT k, count(*), sum(x) FROM t GROUP BY k';

sub in_db { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }

sub is_right
{
	my ($db, $what) = @_;
	is(in_db($db, "SELECT braid.wait('v', '60 s')"), 't', "$what: caught up");
	is(in_db($db, "SELECT * FROM braid.verify('v')"), '', "$what: nothing differs");
	is(in_db($db, "(TABLE v EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE v)"), '', "$what: equals its query");
	return;
}

sub make
{
	my ($db) = @_;
	in_db($db, "CREATE TABLE t (k int, x int); INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g");
	in_db($db, "CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
	return;
}

sub write_some { my ($db) = @_; return in_db($db, 'INSERT INTO t VALUES (1, 1), (NULL, 2); DELETE FROM t WHERE x % 50 = 3; UPDATE t SET k = k + 1 WHERE x % 11 = 1'); }

sub slots { return $cluster->sql('db', "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'braid%'"); }

make('postgres');
is_right('postgres', 'new');

# Restart: nothing is rebuilt, the view goes on from its frontier.
my $since = $cluster->sql('db', 'SELECT since FROM braid.views');
write_some('postgres');
$node->restart;
write_some('postgres');
is_right('postgres', 'restart');
is($cluster->sql('db', 'SELECT since FROM braid.views'), $since, 'a restart does not rebuild the view');

# The slot is dropped while the server is down to nobody: rebuilt, not wrong.
my $slot = $cluster->sql('db', "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'braid%'");
$node->stop('immediate');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $node->data_dir . "/pg_replslot/$slot");
$node->start;
write_some('postgres');
is_right('postgres', 'slot removed');
isnt($cluster->sql('db', "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'braid%'"), $slot, 'there is a new slot');
isnt($cluster->sql('db', 'SELECT since FROM braid.views'), $since, 'the view was rebuilt');

# The slot is lost because the worker cannot keep up: held back by its absence.
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = 16MB\nmin_wal_size = 32MB\nmax_wal_size = 32MB");
$node->reload;
$slot = $cluster->sql('db', "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'braid%'");
my $blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (5, 5)');
$cluster->sql('db', 'CREATE TABLE noise (x int); INSERT INTO noise SELECT generate_series(1, 100000); SELECT pg_switch_wal(); CHECKPOINT') for 1;
for (1 .. 5)
{
	$cluster->sql('db', 'INSERT INTO noise SELECT generate_series(1, 300000)');
	$cluster->sql('db', 'CHECKPOINT');
}
$blocker->query_safe('COMMIT');
$blocker->quit;
is_right('postgres', 'slot lost or kept');
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = -1\nmax_wal_size = 1GB");
$node->reload;

# A table that somebody has locked holds back its views, and no others.
$cluster->sql('db', 'CREATE TABLE t2 (k int); CREATE MATERIALIZED VIEW v2 WITH (braid.continuous) AS SELECT count(*) FROM t2');
is($cluster->sql('db', "SELECT braid.wait('v2', '60 s')"), 't', 'a second table');
$blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
# Definitions that change meanwhile are loaded without waiting for the lock.
$cluster->sql('db', 'ALTER TABLE t2 ADD COLUMN other int; INSERT INTO t2 VALUES (1)');
is($cluster->sql('db', "SELECT braid.wait('v2', '60 s')"), 't', 'another table is not held back');
is($cluster->sql('db', 'TABLE v2'), '1', 'and its view is right');
is($cluster->sql('db', "SELECT braid.wait('v', '100 ms')"), 'f', 'wait times out for the table that is locked');
is($cluster->sql('db', "SELECT state FROM braid.views WHERE name = 'v'::regclass"), 'held back', 'and says so');
# So are they by a worker that starts only now.
$cluster->sql('db', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname = 'postgres'");
$cluster->sql('db', 'INSERT INTO t2 VALUES (2)');
is($cluster->sql('db', "SELECT braid.wait('v2', '60 s')"), 't', 'a new worker is not held back either');
is($cluster->sql('db', 'TABLE v2'), '2', 'and the view is right');
$blocker->query_safe('INSERT INTO t VALUES (9, 9); ALTER TABLE t ADD COLUMN y int DEFAULT 7; COMMIT');
$blocker->quit;
write_some('postgres');
is_right('postgres', 'after ALTER TABLE');

# Tables that a view reads together are held back together, with the views on views there.
my %more = (
	j => 'SELECT u.name, count(*), sum(t.x) FROM t JOIN u ON u.k = t.k GROUP BY u.name',
	w => 'SELECT count AS size, count(*), sum(sum) FROM v GROUP BY count',
	x => 'SELECT w.size, j.name FROM w LEFT JOIN j ON j.count = w.size',
);
sub are_right
{
	my ($db, $what) = @_;
	for my $name (sort keys %more)
	{
		is(in_db($db, "SELECT braid.wait('$name', '60 s')"), 't', "$what: $name is caught up");
		is(in_db($db, "(TABLE $name EXCEPT ALL ($more{$name})) UNION ALL (($more{$name}) EXCEPT ALL TABLE $name)"), '', "$what: $name equals its query");
	}
	return;
}
$cluster->sql('db', "CREATE TABLE u (k int, name text); INSERT INTO u SELECT i, 'u' || i % 3 FROM generate_series(0, 9) i");
$cluster->sql('db', "CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS $more{$_}") for sort keys %more;
are_right('postgres', 'joins and views on views');
$blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE');
write_some('postgres');
is($cluster->sql('db', "SELECT braid.wait('v', '100 ms'), braid.wait('j', '100 ms'), braid.wait('x', '100 ms')"), 'f|f|f', 'a table that is locked holds back those that are read with it');
is($cluster->sql('db', "SELECT string_agg(name::text, ',' ORDER BY name::text) FROM braid.views WHERE state = 'held back'"), 'j,v,w,x', 'and their views say so');
$cluster->sql('db', 'INSERT INTO t2 VALUES (3)');
is($cluster->sql('db', "SELECT braid.wait('v2', '60 s')"), 't', 'others are not held back');
$blocker->query_safe("UPDATE u SET name = 'new' WHERE k < 3; ALTER TABLE u ADD COLUMN more int; COMMIT");
$blocker->quit;
are_right('postgres', 'lock released');

# So does a view that somebody is about to drop, and an ordinary one in between.
$blocker = $node->background_psql('postgres');
$blocker->query_safe('SET client_min_messages = warning; BEGIN; DROP MATERIALIZED VIEW v CASCADE');
write_some('postgres');
is($cluster->sql('db', "SELECT braid.wait('j', '100 ms')"), 'f', 'views that would go with another are held back');
is($cluster->sql('db', "SELECT braid.wait('v2', '60 s')"), 't', 'the worker goes on');
$blocker->query_safe('ROLLBACK');
$blocker->quit;
are_right('postgres', 'DROP rolled back');

# The state can be moved, and goes on from there.
mkdir($node->basedir . '/elsewhere') or die;
$cluster->sql('db', "CREATE TABLESPACE elsewhere LOCATION '" . $node->basedir . "/elsewhere'");
$cluster->sql('db', 'ALTER MATERIALIZED VIEW j SET TABLESPACE elsewhere');
is($cluster->sql('db', "SELECT count(*) > 0 AND bool_and(reltablespace <> 0) FROM braid.explain('j') e JOIN pg_class c ON c.oid = e.state"), 't', 'the state is in another tablespace');
write_some('postgres');
are_right('postgres', 'moved');
$cluster->sql('db', 'ALTER MATERIALIZED VIEW j SET TABLESPACE pg_default');

# Two databases, one of them newer than the server's start.
$cluster->sql('db', 'CREATE DATABASE other');
in_db('other', 'CREATE EXTENSION braid');
make('other');
write_some('postgres');
write_some('other');
is_right('other', 'second database');
is_right('postgres', 'first database');
is(slots(), 2, 'one slot for each database');

# A copy of a database has the frontiers of the original, but not its slot.
$cluster->sql('db', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'other'");
my $copied = 0;
for (1 .. 50)
{
	last if $copied = $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE other') == 0;
	$cluster->sql('db', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'other'");
}
ok($copied, 'a database with views can be a template');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname = 'copy'");
write_some('copy');
is_right('copy', 'copied database');
write_some('other');
is_right('other', 'original');
is($node->psql('postgres', 'DROP DATABASE copy'), 0, 'a database with a running worker can be dropped');
is(slots(), 2, 'its slot went with it');

# A dump carries views; they are populated anew where it is restored.
my $dump = $node->basedir . '/dump.sql';
PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-d', $node->connstr('postgres'), '-f', $dump);
$cluster->sql('db', 'CREATE DATABASE restored');
my ($rc, $out, $err) = $node->psql('restored', undef, extra_params => [ '-f', $dump ], on_error_stop => 1);
is($rc, 0, 'the dump can be restored') or diag $err;
write_some('restored');
is_right('restored', 'restored');
is(in_db('restored', "SELECT braid.wait('v2', '60 s')"), 't', 'all views are restored');
are_right('restored', 'restored');
my $state = in_db('restored', "SELECT state FROM braid.explain('v') WHERE state IS NOT NULL");
isnt($node->psql('restored', "DROP TABLE $state"), 0, 'its parts are bound to the view again');
is(in_db('restored', 'SET client_min_messages = warning; DROP MATERIALIZED VIEW v CASCADE'), '', 'a restored view can be dropped');

# An update of a column that no view wanted when it was decoded, and one wants when it
# is decoded again after a restart.
$cluster->sql('db', <<'SQL');
CREATE TABLE named (k int, name text);
INSERT INTO named SELECT g, 'n' || g FROM generate_series(1, 5) g;
CREATE MATERIALIZED VIEW keys WITH (braid.continuous) AS SELECT k, count(*) FROM named GROUP BY k;
SQL
is($cluster->sql('db', "SELECT braid.wait('keys', '60 s')"), 't', 'a view that wants one column');
$cluster->sql('db', "UPDATE named SET name = name || 'x' WHERE k = 3");
is($cluster->sql('db', "SELECT braid.wait('keys', '60 s')"), 't', 'another one is updated');
$cluster->sql('db', 'CREATE MATERIALIZED VIEW names WITH (braid.continuous) AS SELECT k, name FROM named');
is($cluster->sql('db', "SELECT braid.wait('names', '60 s')"), 't', 'a view that wants both');
$cluster->sql('db', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture'");
$cluster->sql('db', "INSERT INTO named VALUES (6, 'n6')");
is($cluster->sql('db', "SELECT braid.wait('names', '60 s')"), 't', 'the worker starts again');
is($cluster->sql('db', 'SELECT * FROM names ORDER BY k'), "1|n1\n2|n2\n3|n3x\n4|n4\n5|n5\n6|n6", 'and the update is there once');
$cluster->sql('db', 'DROP TABLE named CASCADE');

# The last view takes the slot and the replica identity with it.
$cluster->sql('db', 'DROP MATERIALIZED VIEW v CASCADE; DROP TABLE t2, u CASCADE');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name LIKE 'braid%' AND database = 'postgres'"), 'the slot is dropped with the last view');
ok($node->poll_query_until('postgres', "SELECT relreplident = 'd' FROM pg_class WHERE oid = 't'::regclass"), 'the replica identity is as before');
is($cluster->sql('db', 'SELECT count(*) FROM braid_internal.views'), 0, 'no definition is left');
make('other') if 0;
$cluster->sql('db', "CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
is_right('postgres', 'a view after the last was dropped');

# The plugin is for the worker only.
($rc, $out, $err) = $node->psql('postgres', "SELECT pg_create_logical_replication_slot('mine', 'braid')");
like($err, qr/cannot be used outside braid's capture worker|output_plugin_libraries|not.*allowed/, 'the output plugin refuses others');

# Without logical WAL there are no views.
my $plain = Braid::Cluster->start_node('plain', 'wal_level = replica');
$plain->safe_psql('postgres', 'CREATE EXTENSION braid; CREATE TABLE t (k int, x int)');
($rc, $out, $err) = $plain->psql('postgres', "CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
like($err, qr/continuous views need "wal_level" to be "logical".*wal_level = logical/s, 'wal_level = replica is refused, with the mend');

done_testing();
