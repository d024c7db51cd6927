# How long views of windows of event time need until they contain a million rows
# that were copied into their table, in multiples of the time that plain groups
# need: of as many tumbling windows against a GROUP BY over a plain column, and of
# sessions against counts per user. The COPY is not part of it. Each view has a
# table of its own, and they take turns.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Bench;
use Test::More;
use Time::HiRes qw(time);

my $rows = $ENV{BENCH_ROWS} // 1_000_000;
my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $users = 10_000;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);
my $file = $node->basedir . '/rows';

sub sql { return $node->safe_psql('postgres', $_[0]); }

my %views = (
	# As many groups as there are windows, with keys as wide.
	column => 'SELECT minute, count(*), sum(x) FROM t_column GROUP BY minute',
	tumble => q{SELECT braid.tumble(at, '1 min') AS minute, count(*), sum(x) FROM t_tumble GROUP BY 1},
	users => 'SELECT u, count(*), sum(x) FROM t_users GROUP BY u',
	sessions => <<'SQL');
SELECT u, started, ended, count(*), sum(x)
FROM (SELECT u, x, braid.session(at, '10 min') OVER w AS started, braid.session_end(at, '10 min') OVER w AS ended
	FROM t_sessions WINDOW w AS (PARTITION BY u ORDER BY at)) s
GROUP BY u, started, ended
SQL

sql('CREATE EXTENSION braid');
# A day of clicks, in the order of their times but for a minute; each round is the day after.
sub make_rows
{
	my ($round) = @_;
	sql(<<"SQL");
COPY (SELECT hashint4(g) & 1023, (hashint4extended(g, $round) & 1048575) % $users,
	at, date_trunc('minute', at)
	FROM generate_series(1, $rows) g,
		LATERAL (SELECT timestamptz '2026-01-01' + $round * interval '1 day' + g * (interval '1 day' / $rows)
			+ (hashint4(g) % 60) * interval '1 s' AS at) a) TO '$file'
SQL
	return;
}

for my $name (sort keys %views)
{
	sql("CREATE TABLE t_$name (x int, u int, at timestamptz, minute timestamptz)");
	sql("CREATE MATERIALIZED VIEW v_$name WITH (braid.continuous) AS $views{$name}");
	sql("SELECT braid.wait('v_$name')");
}

# Seconds that a view needs to catch up with a copy.
sub catch_up
{
	my ($name) = @_;
	sql("COPY t_$name FROM '$file'");
	my $start = time;
	is(sql("SELECT braid.wait('v_$name', '5 min')"), 't', "$name has caught up");
	return time - $start;
}

my %seconds;
my @order = sort keys %views;
for my $round (1 .. $rounds)
{
	make_rows($round);
	push @{ $seconds{$_} }, catch_up($_) for @order;
	@order = reverse @order;
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
done_testing();
