# Under pressure: a worker that stands still under load, a long transaction, a slow
# view among fast ones, kill -9 while there is much to catch up with. WAL that is
# kept is told; readers never see anything but what was there once; views catch up.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Views;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{BRAID_STOPPED_SECONDS} // 5;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
fsync = on
shared_buffers = 128MB
braid.capture_memory = 32MB
braid.capture_wal_warning = 16MB
CONF
my $node = $cluster->node('db');
my $views = Braid::Views->new($cluster, 'db');

sub sql { return $cluster->sql('db', $_[0]); }

# Every transaction leaves the sum as it is, so each reader must see it, late or not.
sql('CREATE TABLE acc (id int PRIMARY KEY, branch int, x bigint); CREATE TABLE note (id serial, branch int, text text);
	INSERT INTO acc SELECT g, g % 7, 100 FROM generate_series(1, 1000) g');
is($views->create('sums', 'SELECT branch, count(*), sum(x) FROM acc GROUP BY branch'), '', 'sums');
is($views->create('total', 'SELECT sum(sum) AS total FROM sums'), '', 'a sum of these');
is($views->create('notes', 'SELECT branch, count(*), max(text) FROM note GROUP BY branch'), '', 'notes');
is($views->create('joined', 'SELECT a.branch, a.x, n.text FROM acc a JOIN note n ON n.id = a.id'), '', 'a join');
is(join("\n", $views->differences), '', 'views are made');

my $script = <<'SQL';
\set a random(1, 1000)
\set b random(1, 1000)
\set x random(1, 100)
BEGIN;
UPDATE acc SET x = x - :x WHERE id = least(:a, :b);
UPDATE acc SET x = x + :x, branch = (branch + :x) % 7 WHERE id = greatest(:a, :b);
INSERT INTO note (branch, text) VALUES (:a % 7, repeat('x', :b));
COMMIT;
SQL
my $reader = 'SELECT 1 / (CASE WHEN (SELECT total FROM total) = 100000 AND (SELECT sum(sum) FROM sums) = 100000 THEN 1 ELSE 0 END);';

# Runs what is told beside writers and readers. The readers stop at the first wrong sum.
sub under_load
{
	my ($what, $something) = @_;
	my $load = $cluster->start_load('db', $script, 4);
	my $reading = $cluster->start_load('db', $reader, 1);
	$something->();
	ok($cluster->stop_load($load) > 0, "$what: writers write");
	ok($cluster->stop_load($reading) > 0, "$what: readers read");
	unlike(PostgreSQL::Test::Utils::slurp_file($reading->{output}), qr/division by zero/, "$what: nobody has seen a wrong sum");
	is(join("\n", $views->differences), '', "$what: views are right");
	is(join("\n", $views->unverified), '', "$what: braid.verify() says so too");
	return;
}

# So many megabytes, beside those of the writers.
sub write_wal { return sql("SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1024 * 1024))) FROM generate_series(1, $_[0])"); }

# ---- a worker that stands still

under_load('a stopped worker', sub {
	my $offset = -s $node->logfile;
	my $pid = $cluster->hold_capture('db');
	sleep $seconds;
	write_wal(24);
	$cluster->wait_for('db', q{SELECT wal_kept > 20 * 1024 * 1024 FROM braid.stat_capture}) or die 'no WAL is kept';
	$node->wait_for_log(qr/WARNING:  continuous views of database \d+ keep \d+ MB of WAL\n.*DETAIL:  Replication slot "braid_\d+_[0-9a-f]+" needs it\. The capture worker \(PID $pid\) has all that was committed \d+ s ago\./, $offset);
	is(sql('SELECT lag > $$1 s$$ AND lag_bytes > 16777216 FROM braid_internal.capture_lag()'), 't', 'the lag is told in time and bytes');
	$cluster->release_capture('db');
});
sql('CHECKPOINT');
ok($cluster->wait_for('db', 'SELECT wal_kept < 8 * 1024 * 1024 FROM braid.stat_capture'), 'WAL is let go when views have caught up');
$node->wait_for_log(qr/LOG:  continuous views of database \d+ keep \d MB of WAL again/, 0);
pass('the log tells that');

# ---- no worker

under_load('no worker', sub {
	sql(q{ALTER SYSTEM SET max_slot_wal_keep_size = '40MB'});
	sql('SELECT pg_reload_conf()');
	my $offset = -s $node->logfile;
	my $pid = $cluster->hold_capture('db');
	write_wal(24);
	$node->wait_for_log(qr/Beyond 40 MB \("max_slot_wal_keep_size"\) the slot is lost/, $offset);
	pass('the log warns of the loss of the slot');
	sql(q{ALTER SYSTEM RESET max_slot_wal_keep_size});
	sql('SELECT pg_reload_conf()');
	$cluster->release_capture('db');
	kill 'TERM', $pid;
	ok($cluster->wait_for('db', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture' AND pid <> $pid"), 'another worker takes over');
});

# ---- a long transaction, with changes of its own

under_load('a long transaction', sub {
	my $long = $node->background_psql('postgres');
	$long->query_safe(q{BEGIN; INSERT INTO note (branch, text) SELECT g % 7, 'long' FROM generate_series(1, 20000) g});
	my $xid = sql('SELECT pg_current_xact_id()::text::bigint');
	$cluster->wait_for('db', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > $xid + 500") or die 'writers do not go on';
	is(sql(q{SELECT braid.wait('notes', '30 s')}), 't', 'others are merged meanwhile');
	is(sql(q{SELECT count(*) FROM braid_internal.frontiers WHERE relation = 'note'::regclass AND pg_snapshot_xmin(frontier)::text::bigint <= } . $xid), '1', 'the frontier leaves it out');
	$long->query_safe(q{INSERT INTO acc SELECT g, 0, 0 FROM generate_series(2001, 22000) g; COMMIT});
	$long->quit;
});

# ---- the server is killed while the worker has much to catch up with

under_load('kill -9', sub {
	my $pid = $cluster->hold_capture('db');
	my $xid = sql('SELECT pg_current_xact_id()::text::bigint');
	$cluster->wait_for('db', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > $xid + 2000") or die 'writers do not go on';
	$cluster->kill_process('db', $pid);
	$cluster->wait_alive('db');
	ok($cluster->wait_for('db', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture'"), 'there is a worker again');
});

# ---- a slow view among fast ones

sql(q{CREATE TABLE slow (k int); CREATE TABLE fast (k int);
	CREATE FUNCTION slowly(k int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN k; END $$});
is($views->create('slow_view', 'SELECT slowly(k) AS k, count(*) FROM slow GROUP BY 1'), '', 'a slow view');
is($views->create('fast_view', 'SELECT k, count(*) FROM fast GROUP BY k'), '', 'and a fast one');
is(join("\n", $views->differences), '', 'they are made');
my $load = $cluster->start_load('db', "INSERT INTO slow VALUES (1);\n" . ("INSERT INTO fast VALUES (1);\n\\sleep 10 ms\n" x 12), 1);

# The frontiers tell who took part in a cycle: there are cycles of the fast alone.
sub advanced { return "(SELECT advanced FROM braid_internal.frontiers WHERE relation = '$_[0]'::regclass)"; }
my $ahead = '(SELECT f.frontier::text <> s.frontier::text AND f.advanced > s.advanced FROM braid_internal.frontiers f, braid_internal.frontiers s WHERE f.relation = $$fast$$::regclass AND s.relation = $$slow$$::regclass)';
ok($cluster->wait_for('db', "SELECT $ahead"), 'the fast view gets cycles of its own while the slow one has something to do');
my $then = sql('SELECT ' . advanced('slow'));
ok($cluster->wait_for('db', 'SELECT ' . advanced('slow') . " > '$then'"), 'the slow one gets its turn');
is(sql(q{SELECT bool_and(braid.wait('slow_view', '30 s')) FROM generate_series(1, 5)}), 't', 'who waits for it is answered under load');
is(sql(q{SELECT state FROM braid.views WHERE name = 'slow_view'::regclass}), 'live', 'and it is not held back');
$cluster->stop_load($load);
is(join("\n", $views->differences('slow_view', 'fast_view')), '', 'both are right');

is(join("\n", $views->failures), '', 'no view was made anew');
is(sql('SELECT count(*) FROM pg_replication_slots'), '1', 'there is one slot');
done_testing();
