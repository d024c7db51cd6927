# What the capture worker makes of messages of streams. Each transaction writes the same rows to a stream
# and to a table, so that whoever reads a view of the one and a view of the other, which are brought
# forward by the same cycles, finds the same in both at any time.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
fsync = on
wal_writer_delay = 10ms
CONF
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return sql(q{SELECT pid FROM braid.stat_capture}); }

# The same rows for both, in one statement; more than 64 kB of them are several messages.
sub both
{
	my ($n, $tag) = @_;
	return "WITH r AS (INSERT INTO t SELECT g, g % 7, md5(g::text), '$tag' FROM generate_series(1, $n) g RETURNING *) "
	  . 'INSERT INTO s SELECT * FROM r';
}

sub view
{
	my ($name, $query) = @_;
	return "SET client_min_messages = warning; CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $query";
}

# How many rows the two views do not have in common, without waiting for anything.
my $differences = <<'SQL';
SELECT count(*) FROM ((TABLE of_stream EXCEPT ALL TABLE of_table) UNION ALL (TABLE of_table EXCEPT ALL TABLE of_stream)) d
SQL

sub same
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', "SELECT braid.wait('$_', '5 s')"), "$what: $_ catches up") for 'of_stream', 'of_table';
	is(sql($differences), '0', "$what: both views have the same");
	is(sql('SELECT (SELECT sum(count) FROM of_table) = (SELECT count(*) FROM t)'), 't', "$what: which is what was committed");
	is(sql('SELECT (SELECT count(*) FROM rows_of_stream) = (SELECT count(*) FROM t)'), 't', "$what: row by row as well");
	return;
}

sql(<<'SQL');
CREATE FOREIGN TABLE s (id int, k int, x text, tag text) SERVER braid_stream;
CREATE TABLE t (id int, k int, x text, tag text);
CREATE TABLE names (k int, name text);
INSERT INTO names SELECT i, 'name ' || i FROM generate_series(0, 6) i;
SQL
sql(view('of_table', 'SELECT tag, k, count(*), sum(id), max(x) FROM t GROUP BY tag, k'));
sql(view('of_stream', 'SELECT tag, k, count(*), sum(id), max(x) FROM s GROUP BY tag, k'));
sql(view('rows_of_stream', 'SELECT id, k, x, tag FROM s'));
sql("SELECT braid.wait('$_')") for 'of_table', 'of_stream', 'rows_of_stream';

# ---- subtransactions
sql(both(3, 'few'));
sql(both(5000, 'many'));
sql('BEGIN; ' . both(4000, 'rolled back') . '; ROLLBACK');
sql('BEGIN; ' . both(10, 'outer') . '; SAVEPOINT a; ' . both(4000, 'inner, released') . '; SAVEPOINT b; '
	  . both(4000, 'innermost, gone') . '; ROLLBACK TO b; ' . both(20, 'again') . '; RELEASE a; SAVEPOINT c; '
	  . both(4000, 'gone') . '; SAVEPOINT d; ' . both(4000, 'gone with it') . '; RELEASE d; ROLLBACK TO c; '
	  . both(4000, 'at the end') . '; COMMIT');
sql("DO \$\$ BEGIN FOR i IN 1 .. 2000 LOOP BEGIN INSERT INTO t VALUES (i, 1, 'x', 'loop'); INSERT INTO s VALUES (i, 1, 'x', 'loop');
	IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END \$\$");
same('subtransactions');
is(sql("SELECT string_agg(DISTINCT tag, ', ' ORDER BY tag) FROM of_stream"), 'again, at the end, few, inner, released, loop, many, outer', 'what was rolled back is not there');

# ---- two-phase commit, across a crash of the server
sql('BEGIN; ' . both(4000, 'prepared') . "; PREPARE TRANSACTION 'commits'");
sql('BEGIN; ' . both(4000, 'rolled back') . "; PREPARE TRANSACTION 'rolls back'");
sql('BEGIN; ' . both(10, 'prepared') . '; SAVEPOINT a; ' . both(4000, 'inner') . "; PREPARE TRANSACTION 'has a subtransaction'");
sql(both(5, 'meanwhile'));
same('prepared');
my $open = $node->background_psql('postgres');
$open->query_safe('BEGIN; ' . both(20000, 'open in a crash'));
sql(both(5, 'before the crash'));
$node->stop('immediate');
eval { $open->quit };
$node->start;
sql(both(5, 'after the crash'));
same('after a crash');
sql("COMMIT PREPARED 'commits'");
sql("ROLLBACK PREPARED 'rolls back'");
sql('CHECKPOINT');
sql("COMMIT PREPARED 'has a subtransaction'");
same('after that');
is(sql("SELECT sum(count) FROM of_stream WHERE tag IN ('prepared', 'inner')"), '8010', 'what was prepared is there');

# ---- who has written to nothing but a stream holds the slot back, or a new worker would miss the begin
$open = $node->background_psql('postgres');
$open->query_safe("BEGIN; INSERT INTO s SELECT g, 0, md5(g::text), 'open' FROM generate_series(1, 10000) g");
my $began = sql('SELECT pg_current_wal_lsn()');
for (1 .. 3)
{
	sql('SELECT pg_switch_wal(); CHECKPOINT');
	sql(both(1, 'to move on'));
	same('moving on');
	sql('SELECT pg_log_standby_snapshot()') if sql("SELECT count(*) FROM pg_proc WHERE proname = 'pg_log_standby_snapshot'") ne '0';
}
$cluster->wait_for('db', "SELECT confirmed_flush_lsn > '$began' FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM braid.stat_capture)");
is(sql("SELECT restart_lsn < '$began' FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM braid.stat_capture)"), 't', 'the slot keeps the begin of a transaction');
$cluster->kill_process('db', worker());
$cluster->wait_alive('db');
eval { $open->quit };
sql(both(1, 'after the kill'));
same('after the kill');

# The same, but the worker is ended without the server.
$open = $node->background_psql('postgres');
$open->query_safe('BEGIN; ' . both(10000, 'open'));
same('open');
my $pid = worker();
sql("SELECT pg_terminate_backend($pid)");
$cluster->wait_for('db', "SELECT pid <> $pid FROM braid.stat_capture");
$open->query_safe(both(1, 'open') . '; COMMIT');
$open->quit;
same('after a new worker');

# ---- of a transaction that runs when a view is made all is seen or nothing
sql('CREATE FOREIGN TABLE late (id int, x text) SERVER braid_stream; CREATE FOREIGN TABLE unseen (id int) SERVER braid_stream');
$open = $node->background_psql('postgres');
$open->query_safe("BEGIN; INSERT INTO late SELECT g, md5(g::text) FROM generate_series(1, 20000) g; INSERT INTO unseen VALUES (1)");
sql("INSERT INTO late VALUES (0, 'before'); INSERT INTO unseen VALUES (2)");
sql(both(1, 'so that the log is read'));
same('before the view is made');
sql(view('of_late', 'SELECT count(*), sum(id), min(x) FROM late'));
ok($node->poll_query_until('postgres', q{SELECT braid.wait('of_late', '5 s')}), 'a view is made while somebody writes');
sql("INSERT INTO late VALUES (0, 'a: after')");
$open->query_safe("INSERT INTO late VALUES (1000000, 'b'); COMMIT");
$open->quit;
ok($node->poll_query_until('postgres', q{SELECT braid.wait('of_late', '5 s')}), 'who commits');
is(sql('SELECT count, sum FROM of_late'), '20002|201010000', 'all of him is seen, and nothing of who had committed before');
same('and others are as they were');
sql('DROP VIEW of_late');

# ---- a table that cannot be locked holds the stream back that it is read with
sql(view('named', 'SELECT names.name, count(*), sum(s.id) FROM s JOIN names USING (k) GROUP BY 1'));
ok($node->poll_query_until('postgres', q{SELECT braid.wait('named', '5 s')}), 'a stream is joined with a table');
my $before = sql('SELECT count(*) FROM t');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE names IN ACCESS EXCLUSIVE MODE');
sql(both($_ * 1000, "held $_")) for 1 .. 3;
$cluster->wait_for('db', 'SELECT held_transactions = 3 FROM braid.stat_capture') or fail('transactions are held');
is(sql("SELECT count(*) FROM of_stream WHERE tag LIKE 'held%'"), '0', 'while a table is locked its stream waits');
$cluster->kill_process('db', worker());
$cluster->wait_alive('db');
eval { $locker->quit };
same('after it was killed with what it held');
is(sql("SELECT sum(count) FROM named"), sql('SELECT count(*) FROM t') - $before, 'the join has what came since');
$locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE names IN ACCESS EXCLUSIVE MODE');
sql(both($_ * 1000, "held again $_")) for 1 .. 3;
$cluster->wait_for('db', 'SELECT held_transactions = 3 FROM braid.stat_capture') or fail('transactions are held');
$locker->query_safe('COMMIT');
$locker->quit;
same('after the lock');
is(sql("SELECT sum(count) FROM named"), sql('SELECT count(*) FROM t') - $before, 'and the join as well');

# ---- messages from before a column was altered that nobody read then
sql('CREATE FOREIGN TABLE altered (id int, x int) SERVER braid_stream');
sql(view('ids', 'SELECT id, id % 10 AS digit FROM altered'));
sql(view('parities', 'SELECT id % 2 AS parity, count(*) AS n FROM altered GROUP BY 1'));
ok($node->poll_query_until('postgres', "SELECT braid.wait('$_', '5 s')"), "$_: a view of one column") for 'ids', 'parities';
$cluster->hold_capture('db');
sql('INSERT INTO altered VALUES (1, 10)');
sql('ALTER FOREIGN TABLE altered ALTER COLUMN x TYPE text, ADD COLUMN y int DEFAULT 5');
sql("INSERT INTO altered VALUES (2, 'two')");
sql(view('texts', 'SELECT x, y FROM altered'));
sql(view('numbers', 'SELECT y, count(x) AS n FROM altered GROUP BY y'));
$cluster->release_capture('db');
ok($node->poll_query_until('postgres', "SELECT braid.wait('$_', '5 s')"), "$_ catches up") for 'ids', 'texts', 'parities', 'numbers';
sql("INSERT INTO altered VALUES (3, 'three')");
ok($node->poll_query_until('postgres', "SELECT braid.wait('$_', '5 s')"), "$_ catches up again") for 'ids', 'texts', 'parities', 'numbers';
is(sql(q{SELECT string_agg(id::text, ', ' ORDER BY id) FROM ids}), '1, 2, 3', 'the view of the column has all');
is(sql('TABLE parities ORDER BY parity'), "0|1\n1|2", 'and so do its groups, which are made by column');
is(sql('TABLE texts'), 'three|5', 'that of the others has what came after it was made');
is(sql('TABLE numbers'), '5|1', 'and so have their groups');
is(sql("SELECT string_agg(path, ', ') FROM unnest('{parities,numbers}'::regclass[]) v, braid.explain(v) WHERE state IS NOT NULL"), 'columns, columns', 'by column');
sql('DROP VIEW ids, texts, parities, numbers');

# ---- everybody may write messages
$pid = worker();
sql("CREATE ROLE forger; SET ROLE forger; SELECT pg_logical_emit_message(true, 'braid.stream', x::bytea), pg_logical_emit_message(false, 'braid.stream', x::bytea)
	FROM unnest(ARRAY['', 'x', repeat('x', 100), '\\x0000000000000000010101']) x");
sql(both(1, 'after forged messages'));
same('after forged messages');
is(worker(), $pid, 'it is the same worker');

# ---- killed in each step of a cycle, under load, and read all the time
my $script = <<'SQL';
\set k random(0, 6)
\set n random(1, 40)
BEGIN;
WITH r AS (INSERT INTO t SELECT g, :k, 'x' || g, 'load' FROM generate_series(1, :n) g RETURNING *) INSERT INTO s SELECT * FROM r;
SAVEPOINT a;
WITH r AS (INSERT INTO t SELECT g, :k, 'y' || g, 'gone' FROM generate_series(1, :n) g RETURNING *) INSERT INTO s SELECT * FROM r;
ROLLBACK TO a;
WITH r AS (INSERT INTO t SELECT g, :k, repeat('z', 20 * :n), 'wide' FROM generate_series(1, :n) g RETURNING *) INSERT INTO s SELECT * FROM r;
RELEASE a;
COMMIT;
SQL
for my $round (1 .. $rounds)
{
	for my $point ('capture-snapshot', 'capture-decoded', 'capture-applied', 'capture-committed')
	{
		my $load = $cluster->start_load('db', $script, 3);
		my $wrong = 0;
		$wrong += sql($differences) for 1 .. 5;
		is($wrong, 0, "$point: the views agree under load");
		$cluster->crash_at('db', $point);
		$cluster->wait_alive('db');
		cmp_ok($cluster->stop_load($load), '>', 0, "$point: there was load");
		same("$point: after the kill");
	}
}
is(sql("SELECT count(*) FROM of_stream WHERE tag = 'gone'"), '0', 'nothing that was rolled back is seen');
$node->stop;
done_testing();
