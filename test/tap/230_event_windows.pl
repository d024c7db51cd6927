# Windows of event time. First the functions alone: each of them, over random times of
# every type, days on which clocks change among them, says what a reference in plain
# SQL says. Then continuous views with each kind of window, compared with queries
# without any function of braid, while several clients insert late and shuffled rows,
# delete them and move them to other times, and the worker is killed.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 4;
my $clients = 3;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => "timezone = 'UTC'\nwal_writer_delay = 10ms\n" });
my $seeded = 'SELECT setseed(' . rand() . ') AS seeded \gset';

# ---------------------------------------------------------------- the functions

$cluster->sql('db', slurp_file('test/tap/230_event_windows.sql'));

# Around changes of clocks: Paris and Havana, St. John's at a minute past midnight, a
# day left out in Apia, half an hour on Lord Howe. In the hour after, some hours, a day.
my $changes = '{2023-10-29 01:00,2024-03-31 01:00,2023-11-05 05:00,2024-03-10 05:00,2006-10-29 02:31,2011-12-30 10:00,2024-04-06 15:00}';
my %times = (
	'clocks change' => "unnest('$changes'::timestamptz[]) f, unnest('{0,-5,-20}'::int[]) low, unnest('{1,5,20}'::int[]) high,
		LATERAL (SELECT f + (low + random() * (high - low)) * interval '1 hour' AS t) r WHERE high = greatest(1, -low)",
	'any time' => "generate_series(1, 6) i, LATERAL (SELECT i, timestamptz '1972-01-01' + random() * interval '60 years' AS t) r",
	'long ago' => "generate_series(1, 40) i, LATERAL (SELECT i, timestamptz '1572-01-01' + random() * interval '800 years' AS t) r");

sub wrong { my ($sql) = @_; return $cluster->sql('db', "$seeded\n$sql"); }

for my $test ([ 'timestamptz', 'clocks change' ], [ 'timestamptz', 'any time' ], [ 'timestamp', 'long ago' ], [ 'date', 'long ago' ])
{
	my ($type, $when) = @$test;
	is(wrong("SELECT d FROM (SELECT array_agg(t) AS times FROM $times{$when}) a, reference.differences('$type', times) d"), '', "$type, $when: as the reference says");
}
for my $type ('int4', 'int8')
{
	my $range = $type eq 'int4' ? 1e5 : 1e15;
	my $factor = $type eq 'int4' ? 1 : 1e4;
	my $slide = $factor * (1 + int(rand(20)));
	my $size = $slide + int(rand(100));
	my $origin = int(rand(2000)) - 1000;
	is(wrong("SELECT d FROM (SELECT array_agg(round((random() - 0.5) * $range)::numeric) AS times FROM generate_series(1, 200)) a,
		reference.integer_differences('$type', $size, $slide, $origin, times) d"), '', "$type, size $size, slide $slide, origin $origin: as the reference says");
}
my @sessions = (
	[ 'int4', 'r', '7', '7' ],
	[ 'int8', 'r * 10000000000', '70000000000', '70000000000' ],
	[ 'timestamptz', q{timestamptz '2024-03-30' + r * interval '7 min 1 s'}, "interval '20 min'", "interval '20 min'" ],
	[ 'timestamp', q{timestamp '1969-12-30' + r * interval '7 min'}, "interval '21 min'", "interval '21 min'" ],
	[ 'date', q{date '2024-02-10' + r}, "interval '5 days'", '5' ]);
is(wrong('SELECT reference.session_differences(' . join(', ', map { "\$q\$$_\$q\$" } @$_) . ')'), '', "$_->[0]: sessions as the reference says") for @sessions;

# ---------------------------------------------------------------- views

$cluster->sql('db', <<'SQL');
CREATE TABLE e (id serial PRIMARY KEY, k int, at timestamptz, local timestamp, day date, n int, big bigint, v numeric(8,2));
CREATE INDEX ON e (k, at);
CREATE TABLE people (id int PRIMARY KEY, at timestamptz);
SQL

sub sessions
{
	my ($time, $gap, $end) = @_;
	return <<"SQL";
SELECT k, min($time), max($time) + $end, count(*), sum(v) FROM (SELECT *, sum(opens) OVER (PARTITION BY k ORDER BY $time) AS number
	FROM (SELECT *, ($time - lag($time) OVER (PARTITION BY k ORDER BY $time) >= $gap)::int AS opens FROM e WHERE $time IS NOT NULL) s) s
GROUP BY k, coalesce(number, 0)
SQL
}

sub session_view
{
	my ($time, $gap) = @_;
	return <<"SQL";
SELECT k, started, ended, count(*), sum(v)
FROM (SELECT k, v, braid.session($time, $gap) OVER w AS started, braid.session_end($time, $gap) OVER w AS ended
	FROM e WHERE $time IS NOT NULL WINDOW w AS (PARTITION BY k ORDER BY $time)) s
GROUP BY k, started, ended
SQL
}

# Name => [the view, the same in plain SQL].
my %views = (
	hours => [
		q{SELECT braid.tumble(at, '1 hour') AS w, braid.tumble_end(at, '1 hour') AS e, count(*), sum(v) FROM e GROUP BY 1, 2},
		q{SELECT date_bin('1 hour', at, '2000-01-01'), date_bin('1 hour', at, '2000-01-01') + interval '1 hour', count(*), sum(v) FROM e GROUP BY 1, 2} ],
	days_in_paris => [
		q{SELECT k, braid.tumble(at, '1 day', 'Europe/Paris') AS w, count(*), max(v) FROM e GROUP BY 1, 2},
		q{SELECT k, date_trunc('day', at, 'Europe/Paris'), count(*), max(v) FROM e GROUP BY 1, 2} ],
	months => [
		q{SELECT braid.tumble(local, '1 month') AS w, braid.tumble_end(local, '1 month') AS e, array_agg(v ORDER BY v, id) FROM e GROUP BY 1, 2},
		q{SELECT date_trunc('month', local), date_trunc('month', local) + interval '1 month', array_agg(v ORDER BY v, id) FROM e GROUP BY 1, 2} ],
	weeks => [
		q{SELECT braid.tumble(day, '1 week') AS w, count(DISTINCT k) FROM e GROUP BY 1},
		q{SELECT date_trunc('week', day)::date, count(DISTINCT k) FROM e GROUP BY 1} ],
	tens => [
		q{SELECT braid.tumble(n, 10, origin => 3) AS w, min(v), count(*) FROM e GROUP BY 1},
		q{SELECT (floor((n - 3) / 10.0) * 10 + 3)::int, min(v), count(*) FROM e GROUP BY 1} ],
	hops => [
		q{SELECT window_start, window_end, k, count(*), avg(v) FROM e, braid.hop(at, '1 hour', '20 min') GROUP BY 1, 2, 3},
		q{SELECT w, w + interval '1 hour', k, count(*), avg(v) FROM e, generate_series(date_bin('20 min', at, '2000-01-01') - interval '40 min',
			date_bin('20 min', at, '2000-01-01'), '20 min') w GROUP BY 1, 2, 3} ],
	hops_of_numbers => [
		q{SELECT w.window_start, count(v), max(n) FROM e JOIN LATERAL braid.hop(big, 100, 30) w ON w.window_start % 60 = 0 GROUP BY 1},
		q{SELECT w * 30, count(v), max(n) FROM e, generate_series(floor(big / 30.0)::bigint - 4, floor(big / 30.0)::bigint) w
			WHERE w * 30 + 100 > big AND w % 2 = 0 GROUP BY 1} ],
	cumulated => [
		q{SELECT window_start, window_end, sum(v) FROM e LEFT JOIN LATERAL braid.cumulate(local, '1 day', '1 month') ON true GROUP BY 1, 2},
		q{SELECT CASE WHEN w IS NOT NULL THEN date_trunc('month', local) END, w, sum(v) FROM e
			LEFT JOIN LATERAL generate_series(date_trunc('day', local) + interval '1 day', date_trunc('month', local) + interval '1 month', '1 day') w ON true GROUP BY 1, 2} ],
	windows_joined => [
		q{SELECT p.id, p.w, count(*) FROM (SELECT id, braid.tumble(at, '2 hours') AS w FROM people) p
			JOIN (SELECT k, braid.tumble(at, '2 hours') AS w FROM e) e ON e.k = p.id AND e.w = p.w GROUP BY 1, 2},
		q{SELECT p.id, date_bin('2 hours', p.at, '2000-01-01'), count(*) FROM people p JOIN e ON e.k = p.id
			AND date_bin('2 hours', e.at, '2000-01-01') = date_bin('2 hours', p.at, '2000-01-01') GROUP BY 1, 2} ],
	sessions => [ session_view('at', q{'10 min'}), sessions('at', q{interval '10 min'}, q{interval '10 min'}) ],
	sessions_of_numbers => [ session_view('n', 3), sessions('n', 3, 3) ],
	sessions_of_days => [ session_view('day', q{'3 days'}), sessions('day', 3, 3) ],
	rows_in_sessions => [
		q{SELECT id, k, braid.session(big, 40) OVER w AS started, braid.session_end(big, 40) OVER w AS ended FROM e WINDOW w AS (PARTITION BY k ORDER BY big)},
		q{SELECT id, k, CASE WHEN big IS NOT NULL THEN min(big) OVER (PARTITION BY k, number) END, max(big) OVER (PARTITION BY k, number) + 40
		FROM (SELECT *, CASE WHEN big IS NULL THEN -1 ELSE sum(opens) OVER (PARTITION BY k ORDER BY big) END AS number
			FROM (SELECT *, coalesce(big - lag(big) OVER (PARTITION BY k ORDER BY big) >= 40, false)::int AS opens FROM e) s) s} ],
);
$cluster->sql('db', "CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS $views{$_}[0]") for sort keys %views;

sub any { return $_[rand @_]; }
sub or_null { my ($what) = @_; return rand() < 0.03 ? 'NULL' : $what; }

# Two days in which clocks change; a column each with gaps that make sessions.
sub instant { return or_null(sprintf("timestamptz '2024-03-30 12:00' + %d * interval '1 min'", rand(2000))); }
sub local_time { return or_null(sprintf("timestamp '2024-01-31' + %d * interval '1 hour'", rand(1000))); }
sub day { return or_null(sprintf("date '2024-02-20' + %d", rand(100))); }
sub number { return or_null(int(rand(200)) - 100); }
sub big { return or_null(int(rand(3000)) - 1500); }
sub key { return or_null(int(rand(8))); }

sub row
{
	return sprintf('(%s, %s, %s, %s, %s, %s, %s)', key(), instant(), local_time(), day(), number(), big(), or_null(sprintf('%.2f', rand(100))));
}

sub statement
{
	my $some = sprintf('id %% 60 = %d', rand(60));
	my $dice = rand();
	return 'INSERT INTO e (k, at, local, day, n, big, v) VALUES ' . join(', ', map { row() } 1 .. 1 + rand(4)) if $dice < 0.45;
	return "DELETE FROM e WHERE $some" if $dice < 0.65;
	return sprintf("INSERT INTO people VALUES (%d, %s) ON CONFLICT (id) DO UPDATE SET at = excluded.at", rand(8), instant()) if $dice < 0.7;
	return any("UPDATE e SET at = at - interval '25 min' WHERE $some", sprintf("UPDATE e SET at = %s, n = %s WHERE %s", instant(), number(), $some),
		sprintf('UPDATE e SET k = %s WHERE %s', key(), $some), "UPDATE e SET v = v + 1 WHERE $some",
		sprintf('UPDATE e SET local = %s, day = %s, big = %s WHERE %s', local_time(), day(), big(), $some));
}

sub transaction
{
	return statement() . ';' if rand() < 0.6;
	return join(";\n", 'BEGIN', statement(), statement(), any('COMMIT', 'COMMIT', 'ROLLBACK')) . ';';
}

sub start_clients { return map { $cluster->start_sql('db', join "\n", map { transaction() } 1 .. 400) } 1 .. $clients; }

sub check
{
	my ($when) = @_;
	for my $name (sort keys %views)
	{
		my $query = $views{$name}[1];

		is($cluster->sql('db', "SELECT braid.wait('$name', '60 s')"), 't', "$when: $name is caught up");
		is($cluster->sql('db', <<"SQL"), '', "$when: $name equals its query in plain SQL");
SELECT 'surplus', * FROM (TABLE $name EXCEPT ALL ($query)) s UNION ALL SELECT 'missing', * FROM (($query) EXCEPT ALL TABLE $name) m LIMIT 4
SQL
	}
	return;
}

my @disturbances = ('nothing', 'kill', 'crash', 'terminate');
for my $round (1 .. $rounds)
{
	my @running = start_clients();
	my $what = $disturbances[ ($round - 1) % @disturbances ];

	$cluster->wait_for('db', 'SELECT count(*) > 100 FROM e') or die 'nothing is written';
	select undef, undef, undef, rand(0.4);

	# Those who have lost their connections are followed by others.
	push @running, start_clients() if $cluster->disturb('db', $what);
	$cluster->finish_sql($_) for @running;
	$cluster->wait_alive('db');
	check("$round ($what)");
	note 'rows: ' . $cluster->sql('db', 'SELECT count(*) FROM e');
}
for my $name (sort keys %views)
{
	is($cluster->sql('db', "SELECT * FROM braid.verify('$name', timeout => '60 s')"), '', "$name: braid.verify() finds nothing");
	isnt($cluster->sql('db', "SELECT count(*) FROM $name"), 0, "$name has rows");
}
is($cluster->sql('db', "SELECT string_agg(DISTINCT state, ',') FROM braid.views"), 'live', 'all views are live');
done_testing();
