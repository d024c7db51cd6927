# Several databases with continuous views in one server: workers and slots for each,
# commands on whole databases while workers are connected, templates, and servers
# that have no workers to give.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "braid.max_workers = 6\nbraid.view_populate_limit = 64\n" });
my $node = $cluster->node('db');
my $query = 'SELECT k, count(*) AS n, sum(x) AS total FROM t GROUP BY k';

sub in_db { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }
sub server { my ($sql) = @_; return in_db('postgres', $sql); }

sub fails
{
	my ($db, $sql, $pattern, $what) = @_;
	my ($rc, $out, $err) = $node->psql($db, $sql);
	return like($err, $pattern, $what);
}

sub make
{
	my ($db) = @_;
	in_db($db, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS braid; CREATE TABLE t (k int, x int);
		INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g; CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
	return;
}

sub is_right
{
	my ($db, $what) = @_;
	in_db($db, 'INSERT INTO t VALUES (1, 1), (NULL, 2); DELETE FROM t WHERE x % 50 = 3; UPDATE t SET k = k + 1 WHERE x % 11 = 1');
	ok($node->poll_query_until($db, "SELECT state = 'live' FROM braid.views"), "$what: live") or diag in_db($db, 'TABLE braid.views');
	is(in_db($db, "SELECT braid.wait('v', '60 s')"), 't', "$what: caught up");
	is(in_db($db, "(TABLE v EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE v)"), '', "$what: right");
	return;
}

sub workers_of { my ($db) = @_; return server("SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type ~ '^braid'"); }
sub slots_of { my ($db) = @_; return server("SELECT count(*) FROM pg_replication_slots WHERE database = '$db'"); }

# ---------------------------------------------------------------- side by side

server("CREATE DATABASE $_") for 'one', 'two', 'three';
make($_) for 'one', 'two', 'three';
is_right($_, "database $_") for 'one', 'two', 'three';
is(slots_of($_), 1, "database $_ has a slot") for 'one', 'two', 'three';

# A worker that dies takes no other along.
my $others = server("SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname <> 'one'");
server("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname = 'one'");
is_right('one', 'its worker was ended');
is(server("SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname <> 'one'"), $others, 'the others run on');

# ---------------------------------------------------------------- renamed, moved, dropped

mkdir $node->basedir . '/space' or die $!;
server("CREATE TABLESPACE space LOCATION '" . $node->basedir . "/space'");
my $slot = server("SELECT slot_name FROM pg_replication_slots WHERE database = 'one'");
my $since = in_db('one', 'SELECT since FROM braid.views');
server('ALTER DATABASE one RENAME TO uno');
is_right('uno', 'renamed');
is(server("SELECT slot_name FROM pg_replication_slots WHERE database = 'uno'"), $slot, 'the slot is the same');
is(in_db('uno', 'SELECT since FROM braid.views'), $since, 'nothing was rebuilt');
in_db('uno', 'INSERT INTO t VALUES (2, 2)');
server('ALTER DATABASE uno SET TABLESPACE space');
is_right('uno', 'in another tablespace');
isnt(in_db('uno', 'SELECT since FROM braid.views'), $since, 'which rebuilds them');

# Refused, since somebody else is there: the views go on.
my $session = $node->background_psql('uno');
$session->query_safe('SELECT 1');
fails('postgres', 'DROP DATABASE uno', qr/database "uno" is being accessed by other users.*There is 1 other session/s, 'DROP DATABASE is refused while a user is connected, and counts no worker');
fails('uno', 'DROP DATABASE uno', qr/cannot drop the currently open database/, 'nor is the open database dropped');
is_right('uno', 'DROP DATABASE refused');
server('DROP DATABASE uno WITH (FORCE)');
$session->{run}->kill_kill;
is(slots_of('uno'), 0, 'DROP DATABASE WITH (FORCE) takes the slot along');

# While a view is populated beside the worker.
server("CREATE DATABASE busy");
in_db('busy', "SET client_min_messages = warning; CREATE EXTENSION braid; CREATE TABLE t AS SELECT g AS k, g AS x FROM generate_series(1, 50000) g;
	CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN \$1; END';
	CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT slow(k) AS k, count(*) FROM t GROUP BY 1");
ok($node->poll_query_until('busy', "SELECT count(*) = 1 FROM braid.progress WHERE phase = 'reading'"), 'a view is being populated');
server('DROP DATABASE busy');
is(server("SELECT count(*) FROM pg_replication_slots WHERE database IS NULL OR database = 'busy'"), 0, 'DROP DATABASE needs no FORCE for workers, whatever they do');

# ---------------------------------------------------------------- templates

for my $strategy ('wal_log', 'file_copy')
{
	server("CREATE DATABASE copy_$strategy TEMPLATE two STRATEGY $strategy");
	is_right("copy_$strategy", "copied by $strategy");
	isnt(server("SELECT slot_name FROM pg_replication_slots WHERE database = 'copy_$strategy'"), server("SELECT slot_name FROM pg_replication_slots WHERE database = 'two'"), 'with a slot of its own');
	is_right('two', 'its template');
	server("DROP DATABASE copy_$strategy");
}

# A template for everybody: from the moment it is one nobody connects, workers included.
server('CREATE DATABASE pattern TEMPLATE two');
is_right('pattern', 'a pattern');
server('ALTER DATABASE pattern IS_TEMPLATE true ALLOW_CONNECTIONS false');
server('CREATE DATABASE from_pattern TEMPLATE pattern');
is_right('from_pattern', 'made from it');
server('ALTER DATABASE pattern IS_TEMPLATE false');
server('DROP DATABASE pattern');
server('DROP DATABASE from_pattern');

# template1 as well, which is copied without being named.
make('template1');
is_right('template1', 'template1');
server('CREATE DATABASE plain');
is_right('plain', 'a database with the views of template1');
server('DROP DATABASE plain');
in_db('template1', 'SET client_min_messages = warning; DROP TABLE t CASCADE; DROP EXTENSION braid');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE database = 'template1'"), 'no slot is left of dropped views');

# DROP EXTENSION takes the views' parts, the worker and the slot.
in_db('three', 'SET client_min_messages = warning; DROP EXTENSION braid CASCADE');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE database = 'three'"), 'nor of a dropped extension');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'three'"), 'and no worker');

# ---------------------------------------------------------------- no worker to be had

# For two databases with views and no third.
$node->append_conf('postgresql.conf', 'braid.max_workers = 2');
my $offset = -s $node->logfile;
$node->restart;
server('CREATE DATABASE four');
server('CREATE DATABASE five');
make('four');
is_right('four', 'a second database');
make('five');
ok($node->poll_query_until('five', q{SELECT state = 'stopped' AND last_error = 'all 2 workers that "braid.max_workers" allows are taken' FROM braid.views}), 'a third one has no worker, which braid.views says')
  or diag in_db('five', 'TABLE braid.views');
ok($node->wait_for_log(qr/database \d+ has to wait for a worker of braid.*Raise "braid\.max_workers"/s, $offset), 'and the log, with the mend');
fails('five', 'TABLE v', qr/"v" has not been populated/, 'a view without rows is not read');
is(in_db('five', "SELECT braid.wait('v', '100 ms')"), 'f', 'nobody waits for ever');
server('DROP DATABASE four');
is_right('five', 'when a worker has become free');

# None that the server gives.
$node->append_conf('postgresql.conf', "braid.max_workers = 64\nmax_worker_processes = 3");
$node->restart;
is(server('SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ \'^(braid|logical replication) launcher\''), 2, 'two processes are launchers');
my @waiting;
for (1 .. 600)
{
	@waiting = grep { in_db($_, 'SELECT state, last_error FROM braid.views') eq 'stopped|no background worker slot is free, see "max_worker_processes"' } 'two', 'five';
	last if @waiting == 1;
	select undef, undef, undef, 0.1;
}
is(scalar @waiting, 1, 'one of two databases has no process for its worker, which braid.views says');
my ($has) = grep { $_ ne $waiting[0] } 'two', 'five';
is_right($has, 'the other one');
in_db($waiting[0], 'INSERT INTO t VALUES (100, 100)');
server("DROP DATABASE $has");
is_right($waiting[0], 'when a process has become free');

done_testing();
