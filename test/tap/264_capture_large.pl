# Large transactions are decoded while they are in progress: what is rolled back of
# them, all or savepoints, leaves nothing in any view; commits, at once or in two
# phases, bring everything once, with TRUNCATE and DDL in between, and with workers
# that begin anew in the middle. The worker keeps to its memory.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Memory;
use Braid::Operations;
use Braid::Views;
use PostgreSQL::Test::Utils;
use Test::More;

# An eighth of this is the reorder buffer's: some 15,000 changes.
my $budget = 16;    # MB
my $beyond = 16;    # MB for all that is not counted: caches, plans, libraries, the process itself
my $rows = $ENV{BRAID_LARGE_ROWS} // 500_000;
my $seed = $ENV{BRAID_SEED} // int(rand(1 << 30));
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_memory = 16MB
shared_buffers = 128MB
max_wal_size = 4GB
synchronous_commit = off
braid.capture_idle_interval = 50ms
CONF
my $node = $cluster->node('db');
my $views = Braid::Views->new($cluster, 'db');

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return $cluster->capture_pid('db'); }

sub parts { return sql('SELECT coalesce(max(large_count), 0) FROM braid.stat_capture WHERE datname = current_database()'); }

sub is_right
{
	my ($what) = @_;
	is(join("\n", $views->differences), '', "$what: views are right");
	return;
}

# A transaction, and how many parts of it were decoded before it ends.
my ($session, $parts_before);
sub begin { $session = $node->background_psql('postgres'); $parts_before = parts(); return add("BEGIN; $_[0]"); }
sub add { return $session->query_safe($_[0]); }
sub finish { add($_[0]); return $session->quit; }

# Returns when the worker has decoded parts of the transaction.
sub taken_in
{
	my ($what) = @_;
	ok($cluster->wait_for('db', "SELECT max(large_count) > $parts_before FROM braid.stat_capture WHERE datname = current_database()"), "$what: parts are decoded before the end");
	$parts_before = parts();
	return;
}

sub fill { my ($n, $table) = @_; $table //= 't'; return "INSERT INTO $table SELECT g, g % 50, g % 1000 FROM generate_series(1, $n) g;"; }

sql(<<'SQL');
CREATE TABLE t (id int, k int, x int, wide text);
CREATE TABLE p (id int, k int, x int) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (25);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (25) TO (100);
CREATE TABLE u (id int, k int, x int);
CREATE TABLE full_u (id int, k int, x int);
ALTER TABLE full_u REPLICA IDENTITY FULL;
CREATE TABLE small (k int);
ALTER TABLE t ALTER wide SET STORAGE EXTERNAL;
SQL
is($views->create('by_k', 'SELECT k, count(*), sum(x), max(x) FROM t GROUP BY k'), '', 'a view of groups');
is($views->create('widths', 'SELECT length(wide) AS length, count(*), sum(ascii(wide)) FROM t WHERE wide IS NOT NULL GROUP BY 1'), '', 'of values out of line');
is($views->create('moved', 'SELECT k / 10 AS k, count(*), sum(x) FROM p GROUP BY 1'), '', 'of a partitioned table');
is($views->create('joined', 'SELECT t.k, count(*), sum(u.x) FROM t JOIN u ON u.id = t.id WHERE t.id % 100 = 1 GROUP BY t.k'), '', 'of a join');
is($views->create('smalls', 'SELECT k, count(*) FROM small GROUP BY k'), '', 'of another table');
is_right('made');

# ---------------------------------------------------------------- memory

my $pid = worker();
my $peak = peak_during($pid, sub {
	begin(fill($rows));
	taken_in('many rows');
	sql("INSERT INTO small VALUES ($_)") for 1 .. 20;
	is_right('many rows, in progress');
	add('SAVEPOINT a;' . fill($rows / 5) . 'ROLLBACK TO a;' . fill($rows / 5, 'u'));
	taken_in('more');
	finish('COMMIT');
	is_right('many rows');
});
is(worker(), $pid, 'by one worker');
cmp_ok($peak, '<=', $budget + $beyond, 'the worker has kept to its memory');
note(sprintf 'at most %.1f MB', $peak);
is(sql('SELECT spill_bytes FROM braid.stat_capture WHERE datname = current_database()'), '0', 'nothing went through files of the reorder buffer');
sql('TRUNCATE t, u');
is_right('TRUNCATE');

# ---------------------------------------------------------------- what is rolled back

begin(fill(40000));
taken_in('ROLLBACK');
finish('ROLLBACK');
is_right('ROLLBACK');

begin(fill(20000) . 'SAVEPOINT a;' . fill(40000));
taken_in('savepoints');
add('SAVEPOINT b;' . fill(20000, 'p') . 'RELEASE b; UPDATE t SET x = x + 1 WHERE k = 3;');
taken_in('a savepoint within');
add('ROLLBACK TO a;' . fill(20000, 'u') . 'SAVEPOINT c; DELETE FROM t WHERE k = 4; SAVEPOINT d;' . fill(30000, 'p'));
taken_in('the second savepoint');
add('ROLLBACK TO d; UPDATE t SET k = k + 1; RELEASE c;');
finish('COMMIT');
is_right('savepoints');

# Values out of line come in pieces, and go through files: what was there before it is handed over must go as well.
begin(q{INSERT INTO t SELECT g, 1, 1, repeat(chr(65 + g % 7), 5000) FROM generate_series(1, 300) g; SAVEPOINT a;
	INSERT INTO t SELECT g, 1, 1, repeat(chr(65 + g % 7), 6000) FROM generate_series(1, 1500) g;});
taken_in('values out of line');
add(q{ROLLBACK TO a; UPDATE t SET x = 5 WHERE wide IS NOT NULL; INSERT INTO t SELECT g, 1, 1, repeat('z', 9000) FROM generate_series(1, 700) g;});
finish('COMMIT');
is_right('values out of line');
is(sql('SELECT spill_bytes > 0 FROM braid.stat_capture WHERE datname = current_database()'), 't', 'some of them went through files');

begin('SELECT 1');
add(<<'SQL');
DO $$ BEGIN FOR i IN 1 .. 20000 LOOP
	BEGIN
		INSERT INTO t VALUES (i, i % 50, i), (-i, i % 50, i);
		IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
	EXCEPTION WHEN division_by_zero THEN NULL; END;
END LOOP; END $$
SQL
taken_in('very many subtransactions');
finish('COMMIT');
is_right('very many subtransactions');

# ---------------------------------------------------------------- rows that move, streams

# A view that keeps what is deleted tells a row that moves to another partition from one that goes.
sql(<<'SQL');
CREATE TABLE m (id int, at timestamptz, place int) PARTITION BY LIST (place);
CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);
INSERT INTO m SELECT g, '2026-01-01'::timestamptz + g * interval '1 min', 1 FROM generate_series(1, 30000) g;
CREATE MATERIALIZED VIEW kept WITH (braid.continuous, braid.watermark = 'at', braid.base_deletes = 'keep') AS
	SELECT braid.tumble(at, '1 day') AS day, count(*), sum(id), sum(place) AS places FROM m GROUP BY 1;
SQL
sub kept { sql(q{SELECT braid.wait('kept', '30 s')}); return sql('SELECT count(*), sum(count), sum(sum), sum(places) FROM kept'); }
is(kept(), '21|30000|450015000|30000', 'a view that keeps what is deleted');
begin('UPDATE m SET place = 2;');
taken_in('rows that move');
finish('COMMIT');
is(kept(), '21|30000|450015000|60000', 'rows that move are updated');
begin('SAVEPOINT a; UPDATE m SET place = 1; ROLLBACK TO a; DELETE FROM m WHERE id < 20000;');
taken_in('rows that move');
finish('COMMIT');
is(kept(), '21|30000|450015000|60000', 'rows that are deleted stay');

sql('CREATE FOREIGN TABLE s (id int, k int, x int) SERVER braid_stream; CREATE TABLE like_s (id int, k int, x int);
	CREATE MATERIALIZED VIEW of_stream WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM s GROUP BY k;
	CREATE MATERIALIZED VIEW of_table WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM like_s GROUP BY k');
sql(q{SELECT braid.wait('of_stream'), braid.wait('of_table')});
begin(fill(20000, 's') . fill(20000, 'like_s') . 'SAVEPOINT a;' . fill(20000, 's') . fill(20000, 'like_s'));
taken_in('a stream and a table');
finish('ROLLBACK TO a;' . fill(1000, 's') . fill(1000, 'like_s') . 'COMMIT');
is(sql(q{SELECT braid.wait('of_stream', '30 s'), braid.wait('of_table', '30 s')}), 't|t', 'a stream and a table');
is(sql('SELECT count(*), sum(count) FROM (TABLE of_stream INTERSECT TABLE of_table) same'), '50|21000', 'both have the same');

# ---------------------------------------------------------------- two phases

begin(fill(30000) . 'SAVEPOINT a;' . fill(30000, 'u') . 'ROLLBACK TO a;' . fill(30000, 'p'));
taken_in('two phases');
finish(q{PREPARE TRANSACTION 'one'});
begin(fill(30000));
finish(q{PREPARE TRANSACTION 'other'});
sql('INSERT INTO small VALUES (-1)');
is_right('prepared');
$cluster->kill_node('db');
$cluster->start_again('db');
sql('INSERT INTO small VALUES (-2)');
is_right('prepared, and the server was killed');
sql(q{ROLLBACK PREPARED 'other'});
sql(q{COMMIT PREPARED 'one'});
is_right('COMMIT PREPARED');

# ---------------------------------------------------------------- TRUNCATE and DDL

begin(fill(30000, 'u') . 'SAVEPOINT a; TRUNCATE u;' . fill(30000, 'u'));
taken_in('TRUNCATE');
finish('ROLLBACK TO a;' . fill(100, 'u') . 'COMMIT');
is_right('TRUNCATE, rolled back');
begin(fill(30000, 'u') . 'SAVEPOINT a; TRUNCATE u;' . fill(30000, 'u'));
taken_in('TRUNCATE');
finish('RELEASE a;' . fill(100, 'u') . 'COMMIT');
is_right('TRUNCATE');

# Ordinary commands see the old columns meanwhile, and so do the caches in between.
begin(fill(30000, 'u') . 'ALTER TABLE u ADD COLUMN first int; ALTER TABLE u DROP COLUMN first; ALTER TABLE u ADD COLUMN y int; UPDATE u SET y = 7;');
taken_in('new columns');
sql('INSERT INTO small VALUES (-3)');
is(sql(q{SELECT braid.wait('smalls', '30 s')}), 't', 'others are merged meanwhile');
add('SAVEPOINT a; ALTER TABLE u ADD COLUMN z int DEFAULT 3; INSERT INTO u SELECT g, 1, 1, 2, 3 FROM generate_series(1, 30000) g');
taken_in('more columns');
sql('INSERT INTO small VALUES (-4)');
is(sql(q{SELECT braid.wait('smalls', '30 s')}), 't', 'and again');
finish('ROLLBACK TO a; INSERT INTO u SELECT g, 1, 1, 2 FROM generate_series(1, 30000) g; COMMIT');
is_right('new columns');

# Catalogs that only he has changed are gone when his changes are decoded.
begin('CREATE TABLE gone (LIKE t);' . fill(1000, 'gone') . fill(1000, 'u'));
$cluster->hold_capture('db');
add('ALTER TABLE u ADD COLUMN gone int;' . fill(40000, 'gone') . fill(40000, 'u'));
finish('ROLLBACK');
sql('VACUUM FULL pg_class, pg_attribute, pg_type');
$cluster->release_capture('db');
sql('INSERT INTO small VALUES (-5)');
is_right('aborted before it is decoded');

# What others change of catalogs, while something is done that is rolled back, counts for what comes after it.
begin('SAVEPOINT a;');
$cluster->hold_capture('db');
add(fill(2000));
sql('TRUNCATE u');
add(fill(40000) . 'ROLLBACK TO a;' . fill(40000, 'u'));
$cluster->release_capture('db');
taken_in('a savepoint that was rolled back before it is decoded');
finish('COMMIT');
is_right('another table was truncated meanwhile');

# ---------------------------------------------------------------- definitions change

begin(fill(30000) . fill(30000, 'full_u'));
taken_in('new views');
is($views->create('more', 'SELECT id % 10 AS id, count(wide), min(k) FROM t GROUP BY 1'), '', 'a view with other columns of the table');
is($views->create('new', 'SELECT k, count(*), sum(x) FROM full_u GROUP BY k'), '', 'and one of a table that was not captured');
is_right('new views, in progress');
add(fill(30000) . fill(30000, 'full_u'));
finish('COMMIT');
is_right('new views');

# ---------------------------------------------------------------- other ways of the rows

# A view that is populated beside the worker is owed what commits meanwhile.
sql(q{ALTER SYSTEM SET braid.view_populate_limit = '64kB'});
sql('SELECT pg_reload_conf()');
$cluster->failpoint('db', 'view-populate', 'wait');
sql('REFRESH MATERIALIZED VIEW by_k');
$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('view-populate') = 1") or die 'nothing is populated';
begin(fill(30000) . 'SAVEPOINT a;' . fill(30000));
taken_in('beside');
finish('ROLLBACK TO a; COMMIT');
begin(fill(30000));
taken_in('beside');
finish('DELETE FROM t WHERE k = 9; COMMIT');
is(sql(q{SELECT braid.wait('more', '30 s')}), 't', 'merged into another view of the table');
$cluster->failpoint('db', 'view-populate', 'off');
is_right('populated beside');
sql('ALTER SYSTEM RESET braid.view_populate_limit');
sql('SELECT pg_reload_conf()');

# Rows that are visible are held while their table cannot be locked.
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
begin(fill(30000) . 'SAVEPOINT a;' . fill(30000) . 'ROLLBACK TO a;' . fill(30000));
taken_in('held');
my $locker = $cluster->start_sql('db', 'BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_advisory_lock(1); COMMIT;');
$cluster->wait_for('db', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 't'::regclass AND NOT granted}) or die 'nobody waits for the lock';
finish('COMMIT');
ok($cluster->wait_for('db', 'SELECT max(held_transactions) > 0 FROM braid.stat_capture'), 'the transaction is held');
$gate->quit;
$cluster->finish_sql($locker);
is_right('held');

# ---------------------------------------------------------------- workers that begin anew

begin(fill(30000) . 'SAVEPOINT a;' . fill(30000, 'u'));
taken_in('another worker');
sql('INSERT INTO small VALUES (-6)');
is_right('before the other worker');
$cluster->replace_capture('db');
add('ROLLBACK TO a;' . fill(30000, 'p'));
taken_in('another worker, second part');
$cluster->replace_capture('db');
finish('DELETE FROM t WHERE k = 7; COMMIT');
is_right('another worker');

# The server is killed, and the transaction with it.
begin(fill(40000));
taken_in('kill -9');
$cluster->kill_process('db', worker());
$cluster->wait_alive('db');
$session->{run}->kill_kill;
sql('INSERT INTO small VALUES (-7)');
is_right('kill -9');

# ---------------------------------------------------------------- at random

srand $seed;
note("BRAID_SEED=$seed");

sub operation
{
	my ($mine) = @_;
	my $n = int(200 + rand 12000);
	my $table = pick('t', 't', 'u', 'p');
	return pick(
		"INSERT INTO $table SELECT 3 * g + $mine, g % 50, g % 1000 FROM generate_series(1, $n) g;",
		"INSERT INTO $table SELECT 3 * g + $mine, g % 50, g % 1000 FROM generate_series(1, $n) g;",
		"UPDATE $table SET x = x + 1, k = (k + 13) % 50 WHERE id % 3 = $mine AND id < $n;",
		"DELETE FROM $table WHERE id % 3 = $mine AND id < $n;",
		"INSERT INTO t SELECT 3 * g + $mine, 1, 1, repeat('w', 3000) FROM generate_series(1, $n / 50) g;",
		rand() < 0.2 ? "TRUNCATE $table;" : 'SELECT 1;');
}

Braid::Operations::play_and_disturb($cluster, 'db', { transactions => 8, operation => \&operation, seconds => 1, crashes => 4 }, \&is_right);
is(join("\n", $views->unverified), '', 'braid.verify() says so too');
is(join("\n", $views->failures), '', 'no view was made anew');
done_testing();
