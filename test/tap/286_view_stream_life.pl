# What becomes of views on streams, whose rows cannot be read again: they keep what they have through crashes,
# restarts, a lost slot, dumps and changes of what is below them, go on from there, and say what they may have missed.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "max_prepared_transactions = 10\nbraid.view_populate_limit = 0\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n" });
my $node = $cluster->node('db');
my $files = PostgreSQL::Test::Utils::tempdir();

sub sql { my ($sql) = @_; return $cluster->sql('db', $sql); }
sub in_db { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }
sub fails { my ($sql, $pattern, $what) = @_; my ($rc, $out, $err) = $cluster->try_sql('db', $sql); return like($err, $pattern, $what); }
sub waited { my ($what) = @_; return is(sql("SELECT name FROM braid.views WHERE state NOT IN ('broken', 'paused') AND NOT braid.wait(name, '60 s')"), '', "$what: the views are caught up"); }
sub gaps { my ($db) = @_; return in_db($db // 'postgres', "SELECT string_agg(format('%s %s %s', name, gaps, gap_reason), '; ' ORDER BY name::text) FROM braid.views WHERE gaps > 0"); }

sql(<<'SQL');
CREATE FOREIGN TABLE s (id int, k int, x int) SERVER braid_stream;
CREATE TABLE names (k int PRIMARY KEY, name text);
INSERT INTO names SELECT g, 'name ' || g FROM generate_series(0, 4) g;
CREATE VIEW even AS SELECT * FROM s WHERE x % 2 = 0;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW counts WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM s GROUP BY k;
CREATE MATERIALIZED VIEW kept WITH (braid.continuous) AS SELECT s.id, s.x, n.name FROM s LEFT JOIN names n USING (k);
CREATE MATERIALIZED VIEW closed WITH (braid.continuous, braid.watermark = 'id - 20', braid.late = 'drop', braid.emit = 'close') AS SELECT braid.tumble(id, 10) AS first, count(*) FROM s GROUP BY 1;
CREATE MATERIALIZED VIEW mixed WITH (braid.continuous) AS SELECT n.name, c.total FROM names n LEFT JOIN (SELECT k, count(*) AS total FROM s GROUP BY k) c USING (k);
CREATE MATERIALIZED VIEW evens WITH (braid.continuous) AS SELECT k, count(*) FROM even GROUP BY k;
CREATE MATERIALIZED VIEW total WITH (braid.continuous) AS SELECT count(*), sum(x) FROM s;
CREATE MATERIALIZED VIEW on_counts WITH (braid.continuous) AS SELECT count, array_agg(k ORDER BY k) AS ks FROM counts GROUP BY count;
SQL
waited('made');

# What must be in the views: numbers from 1 on, some of which were missed.
my $next = 1;
my @seen;
sub feed
{
	my ($n, %options) = @_;
	sql("INSERT INTO s SELECT g, g % 5, g FROM generate_series($next, $next + $n - 1) g");
	push @seen, $next .. $next + $n - 1 if !$options{missed};
	$next += $n;
	return;
}

sub are_right
{
	my ($what, $db) = @_;
	$db //= 'postgres';
	is(in_db($db, "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')"), '', "$what: the views are caught up");
	my $list = 'ARRAY[' . join(',', @seen) . ']';
	my %queries = (
		counts => 'SELECT i % 5, count(*), sum(i) FROM seen GROUP BY 1',
		evens => 'SELECT i % 5, count(*) FROM seen WHERE i % 2 = 0 GROUP BY 1',
		total => 'SELECT count(*), sum(i) FROM seen',
		mixed => 'SELECT name, total FROM names LEFT JOIN (SELECT i % 5 AS k, count(*) AS total FROM seen GROUP BY 1) c USING (k)',
		on_counts => 'SELECT count, array_agg(k ORDER BY k) FROM (SELECT i % 5 AS k, count(*) FROM seen GROUP BY 1) c GROUP BY count',
	);
	for my $name (sort keys %queries)
	{
		my $query = "(WITH seen AS (SELECT unnest($list) AS i) $queries{$name})";
		is(in_db($db, "(TABLE $name EXCEPT ALL $query) UNION ALL ($query EXCEPT ALL TABLE $name)"), '', "$what: $name is right");
	}
	is(in_db($db, 'SELECT array_agg(id ORDER BY id) = ' . $list . ' FROM kept'), 't', "$what: so are the rows that are kept");
	is(in_db($db, "SELECT first, count FROM closed EXCEPT SELECT i / 10 * 10, count(*) FROM unnest($list) i GROUP BY 1"), '', "$what: and the windows that are closed");
	return;
}

feed(23);
are_right('at first');

# ---------------------------------------------------------------- crashes and restarts

my $worker = "FROM pg_stat_activity WHERE backend_type = 'braid capture'";
feed(10);
$cluster->kill_process('db', sql("SELECT pid $worker"));
$cluster->wait_alive('db');
feed(10);
are_right('the worker was killed');
sql("SELECT pg_terminate_backend(pid) $worker");
feed(10);
are_right('the worker was ended');
$node->stop('immediate');
$node->start;
feed(10);
are_right('the server has crashed');
feed(10);
$node->restart;
are_right('the server was restarted');
sql("BEGIN; INSERT INTO s SELECT g, g % 5, g FROM generate_series($next, $next + 4) g; PREPARE TRANSACTION 'p'");
push @seen, $next .. $next + 4;
$next += 5;
feed(3);
$node->stop('immediate');
$node->start;
feed(3);
sql("COMMIT PREPARED 'p'");
are_right('a prepared transaction was committed after a crash');
is(gaps(), '', 'nothing was missed so far');

# ---------------------------------------------------------------- what is below changes

# A table that is joined: rows to come meet what is there then; what is made of the stream follows it.
sql('TRUNCATE names');
feed(5);
are_right('TRUNCATE of a table beside the stream');
is(sql("SELECT count(*) FROM kept WHERE name IS NULL"), '5', 'rows that came then find no name, those before have theirs');
sql("INSERT INTO names SELECT g, 'name ' || g FROM generate_series(0, 4) g");
feed(5);
are_right('it was filled again');
is(sql("SELECT count(*) FROM kept WHERE name IS NULL"), '5', 'the names do not change the rows');
sql('ALTER TABLE names REPLICA IDENTITY DEFAULT');
feed(5);
sql("UPDATE names SET name = name || '.' WHERE k = 1");
are_right('the replica identity of the table was set back');

# A view that is joined is made anew, which is not done beside the worker: rows of the stream would pass by.
sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW names_view WITH (braid.continuous) AS SELECT k, name FROM names; CREATE MATERIALIZED VIEW names_twice WITH (braid.continuous) AS SELECT k, count(*) FROM names_view GROUP BY k;
	CREATE MATERIALIZED VIEW met WITH (braid.continuous) AS SELECT s.id, n.name, (SELECT count FROM names_twice t WHERE t.k = s.k) FROM s JOIN names_view n USING (k)");
waited('joined with views');
my ($first, $last) = ($next, $next + 149);
my $writer = IPC::Run::start([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "DO \$\$ BEGIN FOR i IN $first .. $last LOOP INSERT INTO s VALUES (i, i % 5, i); COMMIT; PERFORM pg_sleep(0.002); END LOOP; END \$\$" ]);
for (1 .. 5)
{
	sql('REFRESH MATERIALIZED VIEW names_view');
	sql('TRUNCATE names; INSERT INTO names SELECT g, \'name \' || g FROM generate_series(0, 4) g') if $_ % 2;
	sql("SELECT braid.wait('names_twice', '60 s')");
}
ok($writer->finish, 'the writer has ended');
push @seen, $first .. $last;
$next += 150;
waited('joined with views that were made anew meanwhile');
is(sql("SELECT count(*), min(count), max(count) FROM met"), '150|1|1', 'no row was missed');
sql('DROP MATERIALIZED VIEW met, names_twice, names_view');
are_right('views were made anew');

# Columns and names.
sql('ALTER FOREIGN TABLE s ADD COLUMN y int; ALTER FOREIGN TABLE s RENAME COLUMN x TO z; ALTER FOREIGN TABLE s RENAME TO r');
sql("INSERT INTO r SELECT g, g % 5, g, g FROM generate_series($next, $next + 4) g");
push @seen, $next .. $next + 4;
$next += 5;
are_right('a column was added, one renamed, and the stream');
sql('ALTER FOREIGN TABLE r RENAME COLUMN z TO x; ALTER FOREIGN TABLE r DROP COLUMN y; ALTER FOREIGN TABLE r RENAME TO s');
feed(5);
are_right('and back');
fails('ALTER FOREIGN TABLE s DROP COLUMN x', qr/because other objects depend on it/, 'a column that a view needs stays');
is(gaps(), '', 'nothing was missed by that');

# The owner.
sql('CREATE ROLE somebody; GRANT SELECT ON s, names TO somebody; GRANT CREATE, USAGE ON SCHEMA public TO somebody; ALTER MATERIALIZED VIEW total OWNER TO somebody');
feed(5);
are_right('another owner');
sql('REVOKE SELECT ON s FROM somebody');
ok($cluster->wait_for('db', "SELECT state FROM braid.views WHERE name = 'total'::regclass", 'broken'), 'an owner who may not read the stream: broken');
sql("GRANT SELECT ON s TO somebody; REFRESH MATERIALIZED VIEW total");
waited('he may again');
is(gaps(), 'total 1 it was broken', 'it may have missed rows, and says so');
feed(5);
are_right('he may again');

# An ordinary view between: the rows to come are by the new one.
sql('CREATE OR REPLACE VIEW even AS SELECT * FROM s WHERE x % 2 = 0 AND x > -1');
feed(10);
are_right('a view between was replaced');
is(gaps(), 'evens 1 what it reads was changed; total 1 it was broken', 'what is kept was made by the old one: said, too');

# Another query.
is(sql("SELECT braid.alter_view('counts', 'SELECT k, count(*), sum(x), sum(x) / count(*) AS mean FROM s GROUP BY k')"), 't', 'what is kept is shown in another way');
fails("SELECT braid.alter_view('counts', 'SELECT k, count(*), sum(x), sum(x) / count(*) AS mean, max(x) FROM s GROUP BY k')", qr/cannot be made to keep something else.*Make another view/s, 'what is not kept cannot be computed');
sql("DROP MATERIALIZED VIEW on_counts; ALTER MATERIALIZED VIEW counts RENAME TO old_counts; ALTER MATERIALIZED VIEW old_counts RENAME TO counts");
is(sql("SELECT sum(mean * count) = sum(sum) FROM counts WHERE sum % count = 0"), 't', 'the new column is right');
sql("DROP MATERIALIZED VIEW counts");
sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW other WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM s GROUP BY k");
waited('another view');
is(sql('SELECT count(*) FROM other'), '0', 'a view that is made later begins with the rows to come');
feed(10);
waited('another view');
is(sql('SELECT sum(count) FROM other'), '10', 'and has these');
sql('DROP MATERIALIZED VIEW other');

# A dump has privileges behind all else, when the view of somebody who needs them is found to lack them.
sql('ALTER MATERIALIZED VIEW total OWNER TO CURRENT_USER');

# ---------------------------------------------------------------- the slot is lost

sub are_right_but_counts
{
	my ($what, $db) = @_;
	$db //= 'postgres';
	is(in_db($db, "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')"), '', "$what: the views are caught up");
	is(in_db($db, "SELECT name FROM braid.views WHERE state <> 'live'"), '', "$what: and live");
	is(in_db($db, 'SELECT array_agg(id ORDER BY id) = ARRAY[' . join(',', @seen) . '] FROM kept'), 't', "$what: the rows that are kept are right");
	is(in_db($db, 'SELECT count, sum FROM total'), scalar(@seen) . '|' . eval { my $t = 0; $t += $_ for @seen; $t }, "$what: so is the total");
	is(in_db($db, 'SELECT sum(total) FROM mixed'), scalar(@seen), "$what: and what is made of the stream beside a table");
	return;
}

$node->stop('fast');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', glob($node->data_dir . '/pg_replslot/braid_*'));
my $offset = -s $node->logfile;
$node->start;
are_right_but_counts('the slot has gone');
my %reasons = map { $_ => 'the replication slot was lost' } 'closed', 'evens', 'kept', 'mixed', 'total';
sub reasons { my (%count) = @_; return join '; ', map { "$_ $count{$_} $reasons{$_}" } sort keys %count; }
is(gaps(), reasons(closed => 1, evens => 2, kept => 1, mixed => 1, total => 2), 'each says that it may have missed rows');
like(slurp_file($node->logfile, $offset), qr/WARNING: .*continuous view "kept" goes on, and may lack rows of streams: the replication slot was lost/, 'and so does the log');
feed(10);
are_right_but_counts('the slot has gone, and they go on');

# Rows that nobody could follow.
sql("SELECT braid.pause(name) FROM braid.views");
ok($cluster->wait_for('db', "SELECT count(*) = 0 FROM pg_replication_slots"), 'views that are paused give the slot up');
feed(10, missed => 1);
sql("SELECT braid.resume(name) FROM braid.views");
waited('resumed');
feed(10);
are_right_but_counts('resumed');
$reasons{$_} = 'it was paused' for keys %reasons;
is(gaps(), reasons(closed => 2, evens => 3, kept => 2, mixed => 2, total => 3), 'all have missed rows while they were paused');

# ---------------------------------------------------------------- dumps

sub restored
{
	my ($db, $what, @tools) = @_;
	in_db('postgres', "CREATE DATABASE $db");
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	for my $tool (@tools)
	{
		my ($out, $err);
		ok(IPC::Run::run([ map { s/TARGET/$node->connstr($db)/er } @$tool ], '>', \$out, '2>', \$err), "$what: $tool->[0]") or diag $err;
	}
	ok($node->poll_query_until($db, "SELECT count(*) = 5 AND bool_and(state = 'live') FROM braid.views"), "$what: the views get live") or diag in_db($db, 'TABLE braid.views');
	are_right_but_counts($what, $db);
	is(gaps($db), join('; ', map { "$_ 1 it was restored from a dump" } sort keys %reasons), "$what: they say so");
	my @before = @seen;
	in_db($db, "INSERT INTO s SELECT g, g % 5, g FROM generate_series($next, $next + 6) g");
	push @seen, $next .. $next + 6;
	are_right_but_counts("$what, and they go on", $db);
	@seen = @before;
	in_db('postgres', "DROP DATABASE $db WITH (FORCE)");
	return;
}

waited('before the dumps');
my $all = "$files/all";
restored('plain', 'a plain dump', [ 'pg_dump', '-f', "$all.sql", '-d', $node->connstr('postgres') ], [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$all.sql", '-d', 'TARGET' ]);
restored('parallel', 'a dump restored by several jobs', [ 'pg_dump', '-Fd', '-j', '2', '-f', "$all.dir", '-d', $node->connstr('postgres') ], [ 'pg_restore', '-j', '3', '-d', 'TARGET', "$all.dir" ]);

feed(10);
are_right_but_counts('in the end');
done_testing();
