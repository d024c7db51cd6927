# Rows that were copied in go past the reorder buffer: they come once, or not at all, with
# savepoints, in two phases, among other changes, when tables are truncated, rewritten and altered
# before, between and after them, and with workers that begin anew.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Operations;
use Braid::Views;
use Test::More;

my $seed = $ENV{BRAID_SEED} // int(rand(1 << 30));
my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_memory = 16MB
max_wal_size = 4GB
synchronous_commit = off
autovacuum_naptime = 1s
braid.capture_idle_interval = 50ms
CONF
my $node = $cluster->node('db');
my $views = Braid::Views->new($cluster, 'db');
my $folder = $node->basedir;

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return $cluster->capture_pid('db'); }

sub is_right
{
	my ($what) = @_;
	is(join("\n", $views->differences), '', "$what: views are right");
	return;
}

# A transaction.
my $session;
sub begin { $session = $node->background_psql('postgres'); return add("BEGIN; $_[0]"); }
sub add { return $session->query_safe($_[0]); }
sub finish { add($_[0]); return $session->quit; }

# Rows for a table, as many as there are files for.
sub copy
{
	my ($n, $table) = @_;
	$table //= 't';
	return $table eq 'wide' ? "COPY wide FROM '$folder/wide';" : "COPY $table (id, k, x) FROM '$folder/$n';";
}

# Rows of what is done are taken before its end.
sub is_taken
{
	my ($what, $something) = @_;
	$cluster->failpoint('db', 'capture-direct', 'wait');
	$something->();
	ok($cluster->wait_for('db', q{SELECT braid_internal.failpoint_waiting('capture-direct') = 1}), "$what: rows are taken as they are read");
	$cluster->failpoint('db', 'capture-direct', 'off');
	return;
}

# The worker has read what was logged.
sub read_all { sql("INSERT INTO small VALUES (1); SELECT braid.wait('smalls', '30 s')"); return; }

sql(<<'SQL');
CREATE TABLE t (id int, k int, x int, spare text, free int);
CREATE TABLE p (id int, k int, x int) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (25);
CREATE TABLE p2 (x int, gone text, id int, k int);
ALTER TABLE p2 DROP gone;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (25) TO (100);
CREATE TABLE u (id int, k int, x int);
CREATE TABLE wide (first numeric, id int, note text, at timestamptz, k int);
CREATE TABLE small (k int);
CREATE TABLE more (id int, k int, x int);
ALTER TABLE more REPLICA IDENTITY FULL;
CREATE FOREIGN TABLE s (id int, k int, x int) SERVER braid_stream;
ALTER TABLE wide ALTER note SET STORAGE EXTERNAL;
SQL
sql("COPY (SELECT g, g % 50, g % 1000 FROM generate_series(1, $_) g) TO '$folder/$_'") for 5, 100, 3000, 40000;
sql("COPY (SELECT CASE WHEN g % 3 > 0 THEN g / 7.0 END, g, CASE g % 50 WHEN 0 THEN repeat(chr(65 + g % 7), 4000) WHEN 1 THEN NULL ELSE md5(g::text) END, '2026-01-01'::timestamptz + g * interval '1 s', g % 9 FROM generate_series(1, 2000) g) TO '$folder/wide'");
is($views->create('by_k', 'SELECT k, count(*), sum(x), max(x) FROM t GROUP BY k'), '', 'a view of groups');
is($views->create('sums', 'SELECT k, count(*), sum(id) FROM u GROUP BY k'), '', 'another');
is($views->create('parts', 'SELECT k / 10 AS k, count(*), sum(x), sum(id) AS ids FROM p GROUP BY 1'), '', 'of a partitioned table');
is($views->create('a_part', 'SELECT x, count(*) FROM p2 GROUP BY 1'), '', 'of one of its partitions');
is($views->create('wides', 'SELECT k, count(*), count(note) AS notes, min(md5(note)), sum(length(note)), max(first), min(at) AS since FROM wide GROUP BY k'), '', 'of columns of several types');
is($views->create('joined', 'SELECT t.k, count(*), sum(u.x) FROM t JOIN u ON u.id = t.id WHERE t.id % 100 = 1 GROUP BY t.k'), '', 'of a join');
is($views->create('smalls', 'SELECT k, count(*) FROM small GROUP BY k'), '', 'of another table');
sql('SET client_min_messages = warning; CREATE MATERIALIZED VIEW of_stream WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM s GROUP BY k');
is_right('made');
read_all();

# ---------------------------------------------------------------- what is rolled back

is_taken('COPY', sub { sql(copy(3000)); });
is_right('COPY');
sql(copy(5) . copy(100) . copy(40000, 'p') . copy(0, 'wide'));
is_right('of few and many rows, partitions, values out of line');

is_taken('ROLLBACK', sub { begin(copy(40000)); });
read_all();
is_right('in progress');
finish('ROLLBACK');
is_right('ROLLBACK');

begin(copy(3000) . 'SAVEPOINT a;' . copy(40000) . copy(3000, 'p'));
read_all();
add('SAVEPOINT b;' . copy(3000, 'u') . 'RELEASE b; UPDATE t SET x = x + 1 WHERE k = 3;');
read_all();
add('ROLLBACK TO a;' . copy(100, 'u') . 'SAVEPOINT c; DELETE FROM t WHERE k = 4; SAVEPOINT d;' . copy(3000, 'p'));
finish('ROLLBACK TO d; UPDATE t SET k = k + 1 WHERE id < 500;' . copy(100) . 'RELEASE c; COMMIT');
is_right('savepoints');

begin('SAVEPOINT a; SAVEPOINT b;' . copy(3000) . 'RELEASE b; ROLLBACK TO a; SAVEPOINT c; SAVEPOINT d;' . copy(3000, 'u') . copy(0, 'wide'));
finish('COMMIT');
is_right('subtransactions alone');

begin(copy(3000, 's') . copy(3000) . 'SAVEPOINT a;' . copy(3000, 's') . copy(3000, 'u'));
read_all();
finish('ROLLBACK TO a;' . copy(100, 's') . copy(100, 'u') . 'COMMIT');
is_right('beside a stream');
is(sql(q{SELECT braid.wait('of_stream', '30 s'), (SELECT sum(count) FROM of_stream)}), 't|3100', 'and the stream has its rows');

# ---------------------------------------------------------------- two phases

begin(copy(3000) . 'SAVEPOINT a;' . copy(3000, 'u') . 'ROLLBACK TO a;' . copy(3000, 'p'));
finish(q{PREPARE TRANSACTION 'one'});
begin(copy(3000));
finish(q{PREPARE TRANSACTION 'other'});
read_all();
is_right('prepared');
$cluster->kill_node('db');
$cluster->start_again('db');
read_all();
is_right('prepared, and the server was killed');
sql(q{ROLLBACK PREPARED 'other'});
sql(q{COMMIT PREPARED 'one'});
is_right('COMMIT PREPARED');

# ---------------------------------------------------------------- files that change

begin(copy(3000, 'u') . 'TRUNCATE u;' . copy(100, 'u'));
finish('COMMIT');
is_right('TRUNCATE between');
begin(copy(100, 'u') . 'SAVEPOINT a; TRUNCATE u;' . copy(3000, 'u') . 'ROLLBACK TO a;' . copy(100, 'u'));
finish('COMMIT');
is_right('TRUNCATE, rolled back');

# Rows that are written again must not come again, whether the worker knows the old file or the new one.
for my $rewrite ('VACUUM FULL t', 'ALTER TABLE t ALTER spare TYPE varchar USING spare || spare', 'TRUNCATE t')
{
	for my $is_held (0, 1)
	{
		$cluster->hold_capture('db') if $is_held;
		sql(copy(3000));
		sql($rewrite);
		sql(copy(100));
		sql($rewrite);
		sql(copy(100));
		$cluster->release_capture('db') if $is_held;
		is_right($rewrite . ($is_held ? ', all at once' : ''));
		is_taken($rewrite, sub { sql(copy(100)); });
	}
}
begin(copy(3000) . 'ALTER TABLE t ALTER spare TYPE text USING spare;' . copy(3000) . 'SAVEPOINT a; ALTER TABLE t ALTER spare TYPE varchar USING spare || spare;' . copy(3000));
finish('ROLLBACK TO a;' . copy(100) . 'COMMIT');
is_right('rewritten in between');

begin(copy(3000, 'u') . 'ALTER TABLE u ADD COLUMN y int DEFAULT 3;' . copy(3000, 'u') . 'SAVEPOINT a; ALTER TABLE u ADD COLUMN z text DEFAULT md5(random()::text);' . copy(3000, 'u'));
finish('ROLLBACK TO a; ALTER TABLE u DROP COLUMN y;' . copy(3000, 'u') . 'COMMIT');
is_right('columns that come and go');
is($views->create('others', 'SELECT x % 7 AS x, count(*), count(y) AS y FROM (SELECT x, id AS y FROM u) s GROUP BY 1'), '', 'a view of other columns');
is_taken('other columns', sub { sql(copy(100, 'u')); });
sql('ALTER TABLE u ADD COLUMN y int DEFAULT 3');
sql(copy(100, 'u'));
is($views->create('added', 'SELECT y, count(*) FROM u GROUP BY y'), '', 'a view of a column that was added');
is_taken('a column that was added', sub { sql(copy(100, 'u')); });
is_right('a column that was added');

begin(copy(3000, 'p') . 'ALTER TABLE p DETACH PARTITION p1;' . copy(3000, 'p1') . 'DELETE FROM p1 WHERE k >= 25;');
finish('ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (25); COMMIT');
is_right('a partition that was detached and attached');
sql('ALTER TABLE p DETACH PARTITION p1');
sql(copy(100, 'p1'));
is_right('without the partition');
sql('CREATE TABLE p0 PARTITION OF p DEFAULT');

# ---------------------------------------------------------------- definitions change

begin(copy(3000) . copy(3000, 'more'));
read_all();
is($views->create('spares', 'SELECT k % 3 AS k, count(*), min(spare) FROM t GROUP BY 1'), '', 'a view with other columns of the table');
add(copy(3000));
is_right('new views, in progress');
finish('COMMIT');
begin(copy(3000) . copy(3000, 'more'));
read_all();
is($views->create('of_more', 'SELECT k, count(*), sum(x) FROM more GROUP BY k'), '', 'a view of another table');
add(copy(3000) . copy(100, 'more'));
finish('COMMIT');
is_right('new views');

# ---------------------------------------------------------------- other ways of the rows

sql(q{ALTER SYSTEM SET braid.view_populate_limit = '64kB'});
sql('SELECT pg_reload_conf()');
$cluster->failpoint('db', 'view-populate', 'wait');
sql('REFRESH MATERIALIZED VIEW by_k');
$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('view-populate') = 1") or die 'nothing is populated';
begin(copy(3000) . 'SAVEPOINT a;' . copy(3000));
finish('ROLLBACK TO a; COMMIT');
sql(copy(3000));
is(sql(q{SELECT braid.wait('spares', '30 s')}), 't', 'merged into another view of the table');
$cluster->failpoint('db', 'view-populate', 'off');
is_right('populated beside');
sql('ALTER SYSTEM RESET braid.view_populate_limit');
sql('SELECT pg_reload_conf()');

my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
begin(copy(3000) . 'SAVEPOINT a;' . copy(3000) . 'ROLLBACK TO a;' . copy(3000));
my $locker = $cluster->start_sql('db', 'BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_advisory_lock(1); COMMIT;');
$cluster->wait_for('db', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 't'::regclass AND NOT granted}) or die 'nobody waits for the lock';
finish('COMMIT');
ok($cluster->wait_for('db', 'SELECT max(held_transactions) > 0 FROM braid.stat_capture'), 'the transaction is held');
$gate->quit;
$cluster->finish_sql($locker);
is_right('held');

# ---------------------------------------------------------------- workers that begin anew

begin(copy(3000) . 'SAVEPOINT a;' . copy(3000, 'u'));
read_all();
$cluster->replace_capture('db');
read_all();
add('ROLLBACK TO a;' . copy(3000, 'p'));
read_all();
$cluster->replace_capture('db');
finish('DELETE FROM t WHERE k = 7; COMMIT');
is_right('another worker');

begin(copy(40000));
read_all();
$cluster->kill_process('db', worker());
$cluster->wait_alive('db');
$session->{run}->kill_kill;
read_all();
is_right('kill -9');

# ---------------------------------------------------------------- at random

srand $seed;
note("BRAID_SEED=$seed");

sub operation
{
	my ($mine) = @_;
	my $n = int(200 + rand 6000);
	my $table = pick('t', 't', 'u', 'p');
	return pick(
		(map { copy(pick(5, 100, 3000), $table) } 1 .. 4),
		copy(0, 'wide'),
		"INSERT INTO $table (id, k, x) SELECT 3 * g + $mine, g % 50, g % 1000 FROM generate_series(1, $n) g;",
		"UPDATE $table SET x = x + 1, k = (k + 13) % 25 + 25 WHERE id % 3 = $mine AND id < $n;",
		"DELETE FROM $table WHERE id % 3 = $mine AND id < $n;",
		rand() < 0.2 ? pick("TRUNCATE $table;", 'ALTER TABLE u ADD COLUMN more int; ALTER TABLE u DROP COLUMN more;', 'ALTER TABLE t ALTER free TYPE int USING free + 1;') : 'SELECT 1;');
}

Braid::Operations::play_and_disturb($cluster, 'db', { transactions => 10, operation => \&operation, seconds => 0.5, crashes => 3 }, \&is_right) for 1 .. $rounds;
is(join("\n", $views->unverified), '', 'braid.verify() says so too');
is(join("\n", $views->failures), '', 'no view was made anew');
done_testing();
