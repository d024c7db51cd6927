# How long views of windows of event time need until they contain a million rows
# that were copied into their table, in multiples of the time that plain groups
# need: of tumbling windows against a GROUP BY over a column that says the window,
# and of sessions against counts per user. Sessions of two rows are compared with as
# many groups, by a column that says the session. The COPY is not part of it: the worker
# stands still meanwhile, and has read before what other views have written. Each
# view has a table of its own, and they take turns.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Bench;
use Test::More;

my $rows = $ENV{BENCH_ROWS} // 1_000_000;
my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $users = 10_000;    # and groups of the plain view
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);
my $file = $node->basedir . '/rows';

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Visits of 20 clicks each, or of two; the former are what sessions are meant for.
sub sessions
{
	my ($table) = @_;
	return <<"SQL";
SELECT u, started, ended, count(*), sum(x)
FROM (SELECT u, x, braid.session(at, '10 min') OVER w AS started, braid.session_end(at, '10 min') OVER w AS ended
	FROM $table WINDOW w AS (PARTITION BY u ORDER BY at)) s
GROUP BY u, started, ended
SQL
}
my %views = (
	column => 'SELECT minute, count(*), sum(x) FROM t_column GROUP BY minute',
	tumble => q{SELECT braid.tumble(at, '1 min') AS minute, count(*), sum(x) FROM t_tumble GROUP BY 1},
	users => 'SELECT u, count(*), sum(x) FROM t_users GROUP BY u',
	sessions => sessions('t_sessions'),
	short_sessions => sessions('t_short_sessions'),
	visits => 'SELECT u, visit, count(*), sum(x) FROM t_visits GROUP BY u, visit');
my %is_short = (short_sessions => 1, visits => 1);

# A day of clicks in the order of their times, by as many users as there are visits;
# each round is the day after.
sub make_rows
{
	my ($round, $clicks, $to) = @_;
	sql(<<"SQL");
COPY (SELECT hashint4(g) & 1023, visit % $users, at, date_trunc('minute', at), $round * $rows + visit
	FROM generate_series(0, $rows - 1) g, LATERAL (SELECT g / $clicks AS visit) v,
		LATERAL (SELECT timestamptz '2026-01-01' + $round * interval '1 day'
			+ (visit / $users + (hashint4(visit) & 1023) / 2048.0) * (interval '1 day' / ($rows / $clicks / $users))
			+ g % $clicks * interval '20 s' + (hashint4(g) & 15) * interval '1 s' AS at) a
	ORDER BY at) TO '$to'
SQL
	return;
}

sql('CREATE EXTENSION braid; CREATE TABLE t_any (x int)');
sql("CREATE MATERIALIZED VIEW v_any WITH (braid.continuous) AS SELECT count(*) FROM t_any; SELECT braid.wait('v_any')");
for my $name (sort keys %views)
{
	sql("CREATE TABLE t_$name (x int, u int, at timestamptz, minute timestamptz, visit int)");
	sql("CREATE MATERIALIZED VIEW v_$name WITH (braid.continuous) AS $views{$name}");
	sql("SELECT braid.wait('v_$name')");
}

# Seconds that a view needs to catch up with a copy.
sub catch_up
{
	my ($name) = @_;
	my $copy = "COPY t_$name FROM '$file" . ($is_short{$name} ? '.short' : '') . q{'};
	my (undef, $seconds) = behind($node, sub { sql($copy) },
		drained => "INSERT INTO t_any VALUES (1); SELECT braid.wait('v_any', '5 min')",
		caught_up => "SELECT braid.wait('v_$name', '5 min')");
	return $seconds;
}

my %seconds;
my @order = sort keys %views;
for my $round (1 .. $rounds)
{
	make_rows($round, 20, $file);
	make_rows($round, 2, "$file.short");
	push @{ $seconds{$_} }, catch_up($_) for @order;
	@order = reverse(@order[ 1 .. $#order ], $order[0]);
}
for my $name (sort keys %views)
{
	is(sql("SELECT sum(count) FROM v_$name"), $rows * $rounds, "$name has all rows");
}
is(sql("SELECT count(*) FROM ((TABLE v_sessions EXCEPT ALL $views{sessions}) UNION ALL ($views{sessions} EXCEPT ALL TABLE v_sessions)) d"),
	0, 'the sessions are those of the query');

sub result
{
	my ($name, $windows, $plain, $goal, $what) = @_;
	report($name, ratio(\%seconds, $windows, $plain), $goal,
		sprintf('%.2f s, %s %.2f s, of %s %s', median(@{ $seconds{$windows} }), $plain, median(@{ $seconds{$plain} }),
			sql("SELECT count(*) FROM v_$windows"), $what));
	return;
}
result('view_windows_tumbling', 'tumble', 'column', '<= 1.15', 'windows');
result('view_windows_session', 'sessions', 'users', '<= 4', 'sessions');
result('view_windows_short_session', 'short_sessions', 'visits', '<= 4', 'sessions');
done_testing();
