# Views on a stream equal what the same queries make of a table that gets the same rows, in the same
# transactions: after each round of random writes by several clients, with savepoints, rollbacks and two-phase
# commits, with the worker killed or the server stopped in the midst, while the tables that are joined are quiet; and
# of what is made of streams first and joined then, also while these change. The seed is printed; BRAID_SEED repeats
# a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Views;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 4;
my $clients = 3;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
max_prepared_transactions = 50
wal_writer_delay = 10ms
autovacuum_naptime = 1s
CONF
my $node = $cluster->node('db');

my $columns = 'id int, k int, t text, i2 smallint, x int, big bigint, n numeric, m numeric(8,2), f float8, d date, at timestamptz, yes boolean, step int';
$cluster->sql('db', <<"SQL");
CREATE FOREIGN TABLE s ($columns) SERVER braid_stream;
CREATE TABLE rows_of_s ($columns);
CREATE SEQUENCE steps;
CREATE TABLE names (k int PRIMARY KEY, name text, low int, high int);
INSERT INTO names SELECT g, 'name ' || g % 3, g * 10, g * 10 + 25 FROM generate_series(0, 4) g;
CREATE TABLE tags (t text, tag text);
INSERT INTO tags VALUES ('a', 'first'), ('a', 'second'), ('b', 'third');
CREATE MATERIALIZED VIEW name_counts WITH (braid.continuous) AS SELECT name, count(*) AS n FROM names GROUP BY name;
-- This one is written while the views follow.
CREATE TABLE moving (k int, label text);
INSERT INTO moving SELECT g % 6, 'label ' || g FROM generate_series(1, 9) g;
CREATE VIEW busy AS SELECT k, x, f FROM s WHERE x > 10;
CREATE VIEW busy_rows AS SELECT k, x, f FROM rows_of_s WHERE x > 10;
SQL

# Of n, values that are equal can look different: which one is the lowest cannot be said.
my $numbers = join ', ', map { my $c = $_; map { "$_($c) AS ${_}_$c" } 'count', 'sum', 'avg', 'variance', 'stddev_pop', $c eq 'n' ? () : ('min', 'max') } 'i2', 'x', 'big', 'n', 'm', 'f';
my %views = (
	numbers => "SELECT k, count(*), $numbers FROM s GROUP BY k",
	others => 'SELECT k, t, min(t) AS a, max(t) AS b, min(d) AS c, max(at) AS d, bool_and(yes) AS e, bool_or(yes) AS f, every(yes) AS g, bit_and(x) AS h, bit_or(big) AS i, bit_xor(i2) AS j,
		corr(f, x) AS l, regr_slope(f, x) AS m, covar_pop(x, f) AS o, count(DISTINCT x) AS p, sum(DISTINCT i2) AS q, avg(DISTINCT big) AS r, sum(x) FILTER (WHERE yes) AS s FROM s GROUP BY k, t',
	total => 'SELECT count(*), count(x) AS cx, sum(f), max(length(t)) AS l, count(DISTINCT k) AS ks FROM s',
	sets => 'SELECT k, t, grouping(k, t) AS g, count(*), sum(x) AS sx FROM s GROUP BY ROLLUP (k, t)',
	big_groups => 'SELECT x % 7 AS r, sum(n) / count(*) AS ratio FROM s WHERE id > 5 GROUP BY x % 7 HAVING count(*) > 3',
	plain => 'SELECT id, k, t, n, f, at FROM s WHERE x > 50 OR yes',
	everything => 'SELECT * FROM s',
	whole_rows => 'SELECT id, (s).t AS of_row, (s)::text AS whole FROM s WHERE k = 1',
	different => 'SELECT DISTINCT k, t, yes FROM s',
	united => "SELECT k, 'k' AS of FROM s UNION ALL SELECT x, 'x' FROM s WHERE yes UNION ALL SELECT i2, 'i2' FROM s WHERE NOT yes",
	set_united => 'SELECT k FROM s UNION SELECT x FROM s',
	except_all => 'SELECT k FROM s EXCEPT ALL SELECT i2 FROM s',
	intersection => 'SELECT k FROM s WHERE yes INTERSECT SELECT x FROM s',
	twice => 'WITH w AS (SELECT k, x + 1 AS x FROM s WHERE x IS NOT NULL) SELECT k, sum(x) AS sx FROM (TABLE w UNION ALL SELECT x % 5, k FROM w) u GROUP BY k',
	by_hour => "SELECT braid.tumble(at, '1 hour') AS hour, braid.tumble_end(at, '1 hour') AS until, count(*), sum(n) FROM s GROUP BY 1, 2",
	by_hop => "SELECT k, w.window_start, count(*) FROM s, braid.hop(at, '2 hours', '1 hour') w GROUP BY 1, 2",
	sessions => "SELECT k, since, until, count(*), sum(x) AS sx, max(t) AS t FROM (SELECT k, x, t, braid.session(at, '4 min') OVER w AS since, braid.session_end(at, '4 min') OVER w AS until
		FROM s WINDOW w AS (PARTITION BY k ORDER BY at)) v GROUP BY k, since, until",
	ordinary => 'SELECT k, count(*), sum(f) FROM busy GROUP BY k',
	srf => 'SELECT id, generate_series(1, k) AS g FROM s WHERE k < 3',

	joined => 'SELECT s.id, n.name, g.tag FROM s JOIN names n USING (k) LEFT JOIN tags g USING (t)',
	joined_counts => 'SELECT n.name, count(*), sum(s.x) AS sx, min(s.m) AS mn FROM names n, s WHERE s.x BETWEEN n.low AND n.high GROUP BY n.name',
	left_joined => "SELECT s.id, coalesce(n.name, 'none') AS name FROM s LEFT JOIN names n ON n.k = s.k AND s.x > 20",
	right_joined => 'SELECT s.id, g.tag FROM (SELECT * FROM tags WHERE tag <> \'first\') g RIGHT JOIN s ON g.t = s.t',
	matched => 'SELECT t, count(*) FROM s WHERE k IN (SELECT k FROM names WHERE name <> \'name 1\') GROUP BY t',
	unmatched => 'SELECT id FROM s WHERE NOT EXISTS (SELECT FROM tags g WHERE g.t = s.t)',
	not_in => 'SELECT id, k NOT IN (SELECT k FROM names) AS outside FROM s',
	scalars => 'SELECT id, (SELECT max(high) FROM names) AS high, (SELECT count(*) FROM tags g WHERE g.t = s.t) AS tags, (SELECT name FROM names n WHERE n.k = s.k) AS name FROM s',
	lateral_joined => 'SELECT s.id, l.tag FROM s, LATERAL (SELECT tag FROM tags g WHERE g.t = s.t ORDER BY tag LIMIT 1) l',
	with_view => 'SELECT s.id, c.n FROM s JOIN names USING (k) JOIN name_counts c USING (name)',

	# What is made of the stream, joined with what changes.
	made_joined => 'SELECT m.label, c.n, c.sx FROM moving m LEFT JOIN (SELECT k, count(*) AS n, sum(x) AS sx FROM s GROUP BY k) c ON c.k = m.k',
	made_array => 'SELECT n, array_agg(k ORDER BY k) AS ks FROM (SELECT k, count(*) AS n FROM s GROUP BY k) c GROUP BY n',
	made_ranked => 'SELECT k, n, rank() OVER (PARTITION BY k % 2 ORDER BY n DESC) FROM (SELECT k, count(*) AS n FROM s GROUP BY k) c',
	made_exists => 'SELECT label FROM moving m WHERE EXISTS (SELECT FROM (SELECT DISTINCT k FROM s WHERE x > 90) d WHERE d.k = m.k)',
	made_full => 'SELECT m.label, d.t FROM moving m FULL JOIN (SELECT DISTINCT t, k FROM s) d ON d.k = m.k',

	# Views on views.
	z_sizes => 'SELECT count AS size, count(*) AS groups, sum(sum_x) AS sx FROM numbers GROUP BY count',
	z_ranked => 'SELECT * FROM (SELECT k, id, f, row_number() OVER (PARTITION BY k ORDER BY f DESC NULLS LAST, id) AS place FROM everything) r WHERE place <= 3',
	z_self => 'SELECT a.k, count(*) FROM everything a JOIN everything b ON a.id = b.id AND a.k = b.k GROUP BY a.k',
	z_moving => 'SELECT m.label, n.sum_x FROM moving m JOIN numbers n ON n.k = m.k',
);

# Variances of floats are exact in views, and near in queries: these have a view on the table beside them.
my %twins = map { $_ => 1 } 'numbers', 'others';

# The same query over the table.
sub reference
{
	my ($query, $name) = @_;
	return "TABLE ${name}_of_rows" if $name && $twins{$name};
	$query =~ s/\bnumbers\b/numbers_of_rows/g;
	$query =~ s/\b(FROM|JOIN) everything\b/$1 rows_of_s/g;
	$query =~ s/\bFROM busy\b/FROM busy_rows/g;
	$query =~ s/(FROM|JOIN|,) s\b(?!\.)/$1 rows_of_s s/g;
	return $query;
}

for my $name (sort keys %views)
{
	my ($rc, undef, $error) = $cluster->try_sql('db', "CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $views{$name}");
	is($rc, 0, "$name can be made") or diag $error;
	$cluster->sql('db', "CREATE MATERIALIZED VIEW ${name}_of_rows WITH (braid.continuous) AS " . reference($views{$name})) if $twins{$name};
}

# Windows that close, of both: times go up, and are never so late that it matters.
for my $of ('s', 'rows_of_s')
{
	$cluster->sql('db', <<"SQL");
CREATE MATERIALIZED VIEW closed_$of WITH (braid.continuous, braid.watermark = 'step - 1000', braid.emit = 'close') AS
	SELECT braid.tumble(step, 50) AS first, k, count(*), sum(x) AS sx FROM $of GROUP BY 1, 2;
CREATE MATERIALIZED VIEW frozen_$of WITH (braid.continuous, braid.watermark = 'step - 1000', braid.late = 'divert') AS
	SELECT braid.tumble(step, 50) AS first, t, count(*), avg(n) AS an FROM $of GROUP BY 1, 2;
CREATE MATERIALIZED VIEW ended_$of WITH (braid.continuous, braid.watermark = 'step - 1000', braid.late = 'divert', braid.emit = 'close') AS
	SELECT k, since, until, count(*), sum(big) AS sb FROM (SELECT k, big, braid.session(step, 20) OVER w AS since, braid.session_end(step, 20) OVER w AS until FROM $of WINDOW w AS (PARTITION BY k ORDER BY step)) v
	GROUP BY k, since, until;
SQL
}
is($cluster->sql('db', "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')"), '', 'all views have begun');

sub any { return $_[rand @_]; }
sub numeric { return any('NULL', int(rand(100)), sprintf('%.1f', rand(100)), sprintf('%.4f', rand(10)), rand() < 0.02 ? any("'NaN'", "'Infinity'") : 5); }
sub values_of
{
	return sprintf '(%d, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, (SELECT last_value FROM steps))',
		rand(1_000_000), any('NULL', map { int(rand(6)) } 1 .. 5), any('NULL', "'a'", "'b'", "''", "'\$1 it''s'", "repeat('long ', 700)"), any('NULL', int(rand(50))), any('NULL', int(rand(100)), int(rand(100))),
		any('NULL', int(rand(1000)) * 1_000_000_000), numeric(), any('NULL', int(rand(10000)) / 100), any('NULL', int(rand(64)) / 16), any('NULL', sprintf "date '2026-01-01' + %d", rand(30)),
		any('NULL', map { sprintf "timestamptz '2026-01-01' + %d * interval '1 min'", rand(1000) } 1 .. 9), any('NULL', 'true', 'false');
}

# The same rows go to both, in one transaction.
sub to_both { my ($rows) = @_; return "WITH r AS (INSERT INTO rows_of_s $rows RETURNING *) INSERT INTO s TABLE r"; }

sub insert_rows
{
	my $rows = join ', ', map { values_of() } 1 .. 1 + int(rand(rand() < 0.1 ? 60 : 4));
	return to_both("VALUES $rows");
}

sub insert_many
{
	my $n = 100 + int(rand(900));
	return to_both("SELECT g, g % 6, 't' || g % 5, g % 40, g, g, g, g / 4.0, g / 8.0, date '2026-01-01' + g % 9, timestamptz '2026-01-01' + g * interval '3 min', g % 2 = 0, (SELECT last_value FROM steps) FROM generate_series(1, $n) g");
}

sub in_blocks
{
	my $insert = to_both('VALUES ' . values_of());
	return "DO \$do\$ BEGIN FOR i IN 1 .. 5 LOOP BEGIN $insert; IF i % 2 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END \$do\$";
}

sub write_moving
{
	return any(sprintf("UPDATE moving SET k = %d WHERE k = %d", rand(6), rand(6)), sprintf("INSERT INTO moving VALUES (%d, 'new')", rand(6)), sprintf('DELETE FROM moving WHERE k = %d AND random() < 0.3', rand(6)),
		"UPDATE moving SET label = label || '.' WHERE length(label) < 20");
}

my $prepared = 0;
sub transaction
{
	my $dice = rand();
	return 'SELECT nextval(\'steps\');' if $dice < 0.1;
	return write_moving() . ';' if $dice < 0.15;
	return 'TRUNCATE moving; INSERT INTO moving SELECT g % 6, \'anew\' FROM generate_series(1, 4) g;' if $dice < 0.155;
	return in_blocks() . ';' if $dice < 0.2;
	my @lines = ('BEGIN', rand() < 0.03 ? insert_many() : insert_rows());
	push @lines, 'SAVEPOINT a', insert_rows(), any('ROLLBACK TO a', 'RELEASE a'), insert_rows() if rand() < 0.3;
	push @lines, 'SAVEPOINT a', insert_rows(), 'SAVEPOINT b', insert_rows(), any('ROLLBACK TO a', 'RELEASE b'), any('ROLLBACK TO a', 'RELEASE a') if rand() < 0.1;
	push @lines, write_moving() if rand() < 0.1;
	if (rand() < 0.1)
	{
		my $gid = 'g' . $prepared++;
		push @lines, "PREPARE TRANSACTION '$gid'", any('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$gid'";
	}
	else
	{
		push @lines, any('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK');
	}
	return join(";\n", @lines) . ';';
}

sub start_clients { return map { $cluster->start_sql('db', join "\n", "SET lock_timeout = '3s';", map { transaction() } 1 .. 100) } 1 .. $clients; }

# What they were told in the end, of what nobody expects.
my @errors;
sub finish_clients
{
	push @errors, grep { /ERROR/ && !/division|lock timeout|deadlock|connection|prepared transaction/ } map { split /\n/, $cluster->finish_sql($_) } @_;
	return;
}

sub difference { return $cluster->sql('db', Braid::Views::difference(@_)); }

sub check
{
	my ($round) = @_;
	is($cluster->sql('db', "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')"), '', "round $round: all views are caught up");
	for my $name (sort keys %views)
	{
		is(difference("TABLE $name", reference($views{$name}, $name)), '', "round $round: $name is what the rows make");
	}
	is(difference("TABLE ${_}_s", "TABLE ${_}_rows_of_s"), '', "round $round: $_ windows are the same") for 'closed', 'frozen', 'ended';
	return;
}

my @disturbances = ('nothing', 'kill', 'terminate', 'crash');
for my $round (1 .. $rounds)
{
	my $what = $disturbances[ ($round - 1) % @disturbances ];
	$cluster->sql('db', "SELECT setval('steps', last_value + 700) FROM steps; CHECKPOINT");
	my @running = start_clients();
	select undef, undef, undef, 0.2 + rand(0.5);
	if ($cluster->disturb('db', $what))
	{
		# The clients have lost their connections: others go on.
		finish_clients(@running);
		@running = start_clients();
	}
	finish_clients(@running);
	$cluster->end_prepared('db');
	check("$round ($what)");
	note 'rows: ' . $cluster->sql('db', "SELECT count(*), (SELECT count(*) FROM closed_s), (SELECT string_agg(format('%s %s', watermark, late), ', ') FROM braid.views WHERE watermark IS NOT NULL) FROM rows_of_s");
}

cmp_ok($cluster->sql('db', 'SELECT count(*) FROM rows_of_s'), '>', 1000, 'rows were written');
cmp_ok($cluster->sql('db', "SELECT count(*) FROM ${_}_s"), '>', 0, "windows were $_") for 'closed', 'ended';
is($cluster->sql('db', "SELECT name, state, last_error, gaps FROM braid.views WHERE state <> 'live' OR gaps > 0"), '', 'all views are live, and none has missed anything');
my @failures = grep { /could not follow a change|is broken:|may lack rows/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @failures), '', 'no view could not follow');
is(join("\n", splice @errors, 0, 5), '', 'nor did any statement of the clients fail for another reason');
done_testing();
