# Views of sessions equal a reference in plain SQL, lag() and a running sum, after
# each round of random writes by several clients: rows that come in any order and
# join sessions or lengthen them, rows that go or move and split them, with the
# worker killed or the server stopped in the midst. The seed is printed;
# BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 8;
my $clients = 3;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
wal_writer_delay = 10ms
autovacuum_naptime = 1s
CONF
my $node = $cluster->node('db');

# One table has an index on key and time, the other has none.
$cluster->sql('db', <<'SQL');
CREATE TABLE clicks (id serial PRIMARY KEY, u int, at timestamptz, day date, x int, n numeric, t text);
CREATE INDEX ON clicks (u, at);
CREATE TABLE steps (id serial, a text, b numeric, step int, big bigint, x float8);
CREATE TABLE users (u int, name text);
INSERT INTO users SELECT g, 'user ' || g FROM generate_series(0, 5) g;
SQL

# Rows with the number of their session within its keys, -1 without a time: a
# session ends where the next row is not less than the gap away.
sub numbered
{
	my ($table, $keys, $time, $gap) = @_;
	return <<"SQL";
(SELECT r.*, CASE WHEN $time IS NULL THEN -1 ELSE sum(opens) OVER (PARTITION BY $keys ORDER BY $time, id) END AS session
FROM (SELECT r.*, 1 - coalesce($time = lag($time) OVER w OR $time - $gap < lag($time) OVER w, false)::int AS opens
	FROM (TABLE $table) r WINDOW w AS (PARTITION BY $keys ORDER BY $time, id)) r) r
SQL
}

my $clicks = numbered('clicks', 'u', 'at', "interval '10 min'");
my $days = numbered('clicks', 'u', 'day', '2');
my $steps = numbered('steps', 'a, b', 'step', '3');
my $long = numbered('steps', 'a', 'big', '1000');
my $over = "OVER (PARTITION BY u ORDER BY at)";

# name => [ query of the view, reference, whether it is kept by sessions ]
my %views = (
	by_user => [
		"SELECT u, started, count(*), sum(x) AS sx, avg(n) AS an, sum(n) AS sn, min(x) AS mx, max(t) AS mt, bool_or(x > 90) AS any, count(n) FILTER (WHERE x > 50) AS cn
			FROM (SELECT *, braid.session(at, '10 min') $over AS started FROM clicks) s GROUP BY u, started",
		"SELECT u, min(at) AS started, count(*), sum(x), avg(n), sum(n), min(x), max(t), bool_or(x > 90), count(n) FILTER (WHERE x > 50)
			FROM $clicks GROUP BY u, session", 1 ],
	with_end => [
		"SELECT ended, u, started, string_agg(t, '' ORDER BY id) AS all_t, count(DISTINCT x) AS different
			FROM (SELECT u, id, t, x, braid.session(at, '10 min') OVER w AS started, braid.session_end(at, '10 min') OVER w AS ended
				FROM clicks WINDOW w AS (PARTITION BY u ORDER BY at)) s GROUP BY ended, u, started HAVING count(*) > 1",
		"SELECT max(at) + interval '10 min', u, min(at), string_agg(t, '' ORDER BY id), count(DISTINCT x)
			FROM $clicks GROUP BY u, session HAVING count(*) > 1", 1 ],
	by_step => [
		"SELECT b, a, ended - 3 AS last, sum(x) AS sx, count(*) FROM (SELECT a, b, x, braid.session_end(step, 3) OVER (PARTITION BY a, b ORDER BY step) AS ended
			FROM steps WHERE x > 1) s GROUP BY a, b, ended",
		'WITH late_steps AS (SELECT * FROM steps WHERE x > 1) SELECT b, a, max(step), sum(x), count(*) FROM ' . numbered('late_steps', 'a, b', 'step', '3') . ' GROUP BY a, b, session', 1 ],
	long => [
		"SELECT a, braid_start, max(big) - braid_start AS lasted, stddev(b) AS sb, bit_xor(step) AS bits
			FROM (SELECT a, b, big, step, braid.session(big, 1000) OVER (PARTITION BY a ORDER BY big, id) AS braid_start FROM steps) s GROUP BY 1, 2",
		"SELECT a, min(big), max(big) - min(big), stddev(b), bit_xor(step) FROM $long GROUP BY a, session", 1 ],
	days => [
		"WITH s AS (SELECT u, x, braid.session(day, '2 days') OVER (PARTITION BY u ORDER BY day) AS since FROM clicks) SELECT u, since, sum(x) FROM s GROUP BY u, since",
		"SELECT u, min(day), sum(x) FROM $days GROUP BY u, session", 1 ],

	of_all => [
		"SELECT started, count(*), sum(x) AS sx, max(u) AS mu FROM (SELECT u, x, braid.session(at, '4 min') OVER (ORDER BY at) AS started FROM clicks) s GROUP BY started",
		'SELECT min(at), count(*), sum(x), max(u) FROM ' . numbered('clicks', 'true', 'at', "interval '4 min'") . ' GROUP BY session', 1 ],

	# What is not grouped by the sessions alone is computed for each key from all of its rows.
	starts => [
		"SELECT started, count(*) FROM (SELECT u, braid.session(at, '10 min') $over AS started FROM clicks) s GROUP BY started",
		"SELECT started, count(*) FROM (SELECT min(at) OVER (PARTITION BY u, session) AS started FROM $clicks) s GROUP BY started", 0 ],
	rows => [
		"SELECT id, u, braid.session(at, '10 min') OVER w AS started, braid.session_end(at, '10 min') OVER w AS ended FROM clicks WINDOW w AS (PARTITION BY u ORDER BY at)",
		"SELECT id, u, min(at) OVER (PARTITION BY u, session), max(at) OVER (PARTITION BY u, session) + interval '10 min' FROM $clicks", 0 ],

	# Views on views.
	z_sizes => [
		'SELECT count AS size, count(*) AS sessions, sum(sx) AS sx FROM by_user GROUP BY count',
		"SELECT c, count(*), sum(sx) FROM (SELECT count(*) AS c, sum(x) AS sx FROM $clicks GROUP BY u, session) s GROUP BY c", 0 ],
	z_named => [
		'SELECT name, started, count FROM users LEFT JOIN by_user USING (u)',
		"SELECT name, started, c FROM users LEFT JOIN (SELECT u, min(at) AS started, count(*) AS c FROM $clicks GROUP BY u, session) s USING (u)", 0 ],

	# Sessions of sessions: visits that follow one another on the same days.
	z_again => [
		"SELECT u, first_day, count(*), max(count) AS longest
			FROM (SELECT u, count, braid.session(started, '1 h') OVER (PARTITION BY u ORDER BY started) AS first_day FROM by_user) s GROUP BY u, first_day",
		"WITH visits AS (SELECT u, min(at) AS started, count(*) AS c, min(id) AS id FROM $clicks GROUP BY u, session) SELECT u, min(started), count(*), max(c) FROM "
			. numbered('visits', 'u', 'started', "interval '1 h'") . ' GROUP BY u, session', 1 ],
);
for my $name (sort keys %views)
{
	my ($query, undef, $by_sessions) = @{ $views{$name} };

	$cluster->sql('db', "CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $query");
	is($cluster->sql('db', "SELECT bool_or(operator LIKE 'sessions by %') FROM braid.explain('$name')"), $by_sessions ? 't' : 'f',
		"$name is kept " . ($by_sessions ? 'by its sessions' : 'otherwise'));
}

# Times on a grid, so that sessions touch, miss each other by nothing, and merge.
sub any { return $_[rand @_]; }
sub key { return any('NULL', map { int(rand(5)) } 1 .. 5); }
sub at { return any(any('NULL', "'infinity'", "'-infinity'"), map { sprintf "timestamptz '2026-01-01' + %d * interval '150 s'", rand(400) } 1 .. 20); }
sub day { return any('NULL', map { sprintf "date '2026-01-01' + %d", rand(60) } 1 .. 9); }
sub numeric { return any('NULL', int(rand(100)), sprintf('%.2f', rand(10)), rand() < 0.03 ? "'NaN'" : 5); }
sub text { return any('NULL', "'a'", "'b'", "'c'"); }
sub step { return any('NULL', map { int(rand(500)) } 1 .. 15); }
sub big { return any('NULL', 9223372036854775000, map { int(rand(400)) * 250 } 1 .. 15); }

sub click { return sprintf '(%s, %s, %s, %d, %s, %s)', key(), at(), day(), rand(100), numeric(), text(); }
sub step_row { return sprintf '(%s, %s, %s, %s, %s)', text(), any('NULL', '1', '1.0', '2', '3.50'), step(), big(), int(rand(64)) / 16; }

sub insert_rows
{
	my $n = rand() < 0.05 ? 60 : 1 + int(rand(4));
	return 'INSERT INTO clicks (u, at, day, x, n, t) VALUES ' . join ', ', map { click() } 1 .. $n if rand() < 0.6;
	return 'INSERT INTO steps (a, b, step, big, x) VALUES ' . join ', ', map { step_row() } 1 .. $n;
}

sub change_rows
{
	my $where = sprintf 'id %% 40 = %d', rand(40);
	return any(
		sprintf('UPDATE clicks SET at = %s WHERE %s', at(), $where),
		sprintf("UPDATE clicks SET at = at + %d * interval '150 s' WHERE %s", rand(9) - 4, $where),
		sprintf('UPDATE clicks SET u = %s WHERE %s', key(), $where),
		sprintf('UPDATE clicks SET x = x + 1, n = %s WHERE %s', numeric(), $where),
		sprintf('UPDATE clicks SET day = %s WHERE %s', day(), $where),
		rand() < 0.1 ? 'UPDATE clicks SET x = x + 1' : 'DELETE FROM clicks WHERE id % 9 = 0',
		rand() < 0.1 ? 'UPDATE steps SET x = x + 1' : 'DELETE FROM steps WHERE step % 3 = 0',
		sprintf('UPDATE steps SET step = %s WHERE %s', step(), $where),
		sprintf('UPDATE steps SET a = %s, x = x + 1 WHERE %s', text(), $where),
		sprintf('UPDATE steps SET b = %s, big = %s WHERE %s', any('NULL', '1', '1.00', '2'), big(), $where),
		sprintf("UPDATE users SET name = name || 'x' WHERE u = %d", rand(6)));
}

sub statement
{
	my $dice = rand();
	return insert_rows() if $dice < 0.5;
	return change_rows() if $dice < 0.75;
	return sprintf 'DELETE FROM %s WHERE id %% 30 = %d', any('clicks', 'steps'), rand(30);
}

sub transaction
{
	return statement() . ';' if rand() < 0.5;
	my @lines = ('BEGIN', statement(), statement());
	push @lines, 'SAVEPOINT s', statement(), any('ROLLBACK TO s', 'RELEASE s'), statement() if rand() < 0.3;
	return join(";\n", @lines, any('COMMIT', 'COMMIT', 'ROLLBACK')) . ';';
}

sub start_clients { return map { $cluster->start_sql('db', join "\n", "SET lock_timeout = '3s';", map { transaction() } 1 .. 200) } 1 .. $clients; }

sub check
{
	my ($round) = @_;
	for my $name (sort keys %views)
	{
		my $reference = $views{$name}[1];

		is($cluster->sql('db', "SELECT braid.wait('$name', '60 s')"), 't', "round $round: $name is caught up");
		is($cluster->sql('db', <<"SQL"), '', "round $round: $name equals the reference");
SELECT 'surplus', * FROM (TABLE $name EXCEPT ALL ($reference)) s
UNION ALL SELECT 'missing', * FROM (($reference) EXCEPT ALL TABLE $name) m
SQL
		is($cluster->sql('db', "SELECT * FROM braid.verify('$name', timeout => '60 s')"), '', "round $round: $name equals its query");
	}
	return;
}

my $torn = 0;
my @disturbances = ('nothing', 'kill', 'terminate', 'crash');
for my $round (1 .. $rounds)
{
	$cluster->sql('db', 'CHECKPOINT');
	$cluster->sql('db', 'TRUNCATE ' . any('clicks', 'steps')) if $round % 4 == 1;
	my @running = start_clients();
	my $what = $disturbances[ ($round - 1) % @disturbances ];

	select undef, undef, undef, 0.1 + rand(0.4);
	if ($cluster->disturb('db', $what))
	{
		# The clients have lost their connections: others go on.
		$cluster->finish_sql($_) for @running;
		@running = start_clients();
	}
	# A view and one that stands on it change by the same commit.
	for (1 .. 20)
	{
		my ($rc, $same) = $node->psql('postgres', 'SELECT (SELECT coalesce(sum(count), 0) FROM by_user) = (SELECT coalesce(sum(size * sessions), 0) FROM z_sizes)
			AND (SELECT count(*) FROM by_user) = (SELECT coalesce(sum(count), 0) FROM z_again)');
		$torn++ if defined $rc && $rc == 0 && $same ne 't';
	}
	my ($rc, $rows) = $node->psql('postgres', "SELECT * FROM braid.verify('" . any(sort keys %views) . "', timeout => '60 s')");
	is($rows, '', "round $round: verify finds nothing while clients write") if defined $rc && $rc == 0;
	$cluster->finish_sql($_) for @running;
	check("$round ($what)");
	note 'rows: ' . $cluster->sql('db', 'SELECT (SELECT count(*) FROM clicks), (SELECT count(*) FROM steps), (SELECT count(*) FROM by_user), (SELECT max(count) FROM by_user)');
}

is($torn, 0, 'views on sessions were never read apart from what they stand on');
cmp_ok($cluster->sql('db', 'SELECT count(*) FROM by_user WHERE count > 2'), '>', 0, 'there are sessions of several rows');
is($cluster->sql('db', "SELECT string_agg(DISTINCT state, ',') FROM braid.views"), 'live', 'all views are live');
my @failures = grep { /could not follow a change|is broken:/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @failures), '', 'no view was populated anew because it could not follow');
done_testing();
