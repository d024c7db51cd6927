# Whether views keep up: the lag under a load of half the rate at which they catch
# up, in the last third of the time against the first. The rate is measured in the
# same run: writers write for some seconds while the worker stands still, and then
# it catches up.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{BENCH_SECONDS} // 30;
my $filling = $seconds < 20 ? $seconds / 2 : 10;
my $clients = 4;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);

# COPY is what writes fast enough: half of what the worker takes in, beside it.
my $rows = 1000;
my $files = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $files or die "$files: $!";
for my $number (1 .. 8)
{
	PostgreSQL::Test::Utils::append_to_file("$files/$number", join '', map { sprintf "%d\t%d\n", rand 1000, $_ } 1 .. $rows);
}
my $script = "\\set file random(1, 8)\nCOPY t FROM '$files/:file';\n";

sub sql { return $node->safe_psql('postgres', $_[0]); }

# One view alone takes in three times what two cores can write: three views, one
# of which is a join.
sql('CREATE EXTENSION braid; CREATE TABLE t (k int, x int); CREATE TABLE kind (k int PRIMARY KEY, name text);
	INSERT INTO kind SELECT k, k % 20 FROM generate_series(0, 999) k; ANALYZE kind;
	CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x), max(x) FROM t GROUP BY k;
	CREATE MATERIALIZED VIEW named WITH (braid.continuous) AS SELECT name, count(*), sum(x), max(x) FROM t JOIN kind USING (k) GROUP BY name;
	CREATE MATERIALIZED VIEW pairs WITH (braid.continuous) AS SELECT k, x % 10 AS digit, count(*), avg(x) FROM t GROUP BY 1, 2');

sub caught_up { return sql(join ';', map { "SELECT braid.wait('$_', '10 min')" } qw(v named pairs)); }

caught_up();
pgbench_tps($node, $script, clients => $clients, seconds => 2, protocol => 'simple');
caught_up();

# Transactions per second that the worker can take in.
my $worker = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'});
kill 'STOP', $worker;
my $written = pgbench($node, $script, clients => $clients, seconds => $filling, protocol => 'simple');
my $begin = time;
kill 'CONT', $worker;
caught_up();
my $rate = $written->{transactions} / (time - $begin);

# As much as the machine writes, if that is less than half of it.
my $target = $rate / 2 < $written->{tps} * 0.8 ? $rate / 2 : $written->{tps} * 0.8;
my $load = pgbench_start($node, $script, clients => $clients, seconds => $seconds, protocol => 'simple', rate => int $target);
my @lags;
my $session = $node->background_psql('postgres');
$session->set_query_timer_restart;
$begin = time;
while (time < $begin + $seconds)
{
	my ($ms) = $session->query_safe('SELECT extract(epoch FROM lag) * 1000 FROM braid_internal.capture_lag()');
	push @lags, $ms;
	sleep 0.1;
}
$session->quit;
my $kept_up = pgbench_finish($load)->{tps};
caught_up();
my $all = sql('SELECT count(*) FROM t');
is(sql("SELECT sum(count) FROM $_"), $all, "$_ has all rows") for qw(v named pairs);

sub average { my $sum = 0; $sum += $_ for @_; return @_ ? $sum / @_ : 0; }

sub p95 { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted * 0.95 ]; }

# Ten milliseconds are nothing: for so long commits gather.
my $third = int(@lags / 3);
my @first = @lags[ 0 .. $third - 1 ];
my @last = @lags[ -$third .. -1 ];
report('view_lag, last third / first', (average(@last) + 10) / (average(@first) + 10), '<= 1.5, flat',
	sprintf("%d s at %.0f transactions of $rows rows a second, caught up at %.0f: lag %.1f ms, then %.1f ms; p95 %.1f and %.1f ms",
		$seconds, $kept_up, $rate, average(@first), average(@last), p95(@first), p95(@last)));
done_testing();
