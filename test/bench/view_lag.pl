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
my $script = <<'SQL';
\set k random(1, 1000)
INSERT INTO t SELECT :k + g % 100, g FROM generate_series(1, 200) g;
SQL

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE EXTENSION braid; CREATE TABLE t (k int, x int);
	CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x), max(x) FROM t GROUP BY k');
sql("SELECT braid.wait('v', '1 min')");
pgbench_tps($node, $script, clients => $clients, seconds => 2);
sql("SELECT braid.wait('v', '5 min')");

# Transactions per second that the worker can take in.
my $worker = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'});
kill 'STOP', $worker;
my $written = pgbench($node, $script, clients => $clients, seconds => $filling);
my $begin = time;
kill 'CONT', $worker;
sql("SELECT braid.wait('v', '10 min')");
my $rate = $written->{transactions} / (time - $begin);

# As much as the machine writes, if that is less than half of it.
my $target = $rate / 2 < $written->{tps} * 0.8 ? $rate / 2 : $written->{tps} * 0.8;
my $file = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
open my $fh, '>', $file or die "$file: $!";
print $fh $script;
close $fh;
my $load = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 1, '-T', $seconds, '-R', int $target, '-f', $file,
		'-h', $node->host, '-p', $node->port, 'postgres' ], '>', '/dev/null', '2>', '/dev/null');
my @lags;
my $session = $node->background_psql('postgres');
$begin = time;
while (time < $begin + $seconds)
{
	my ($ms) = $session->query_safe('SELECT extract(epoch FROM lag) * 1000 FROM braid_internal.capture_lag()');
	push @lags, $ms;
	sleep 0.1;
}
$session->quit;
$load->finish;
sql("SELECT braid.wait('v', '5 min')");
is(sql('SELECT sum(count) FROM v'), sql('SELECT count(*) FROM t'), 'the view has all rows');

sub average { my $sum = 0; $sum += $_ for @_; return @_ ? $sum / @_ : 0; }

sub p95 { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted * 0.95 ]; }

# Ten milliseconds are nothing: for so long commits gather.
my $third = int(@lags / 3);
my @first = @lags[ 0 .. $third - 1 ];
my @last = @lags[ -$third .. -1 ];
report('view_lag, last third / first', (average(@last) + 10) / (average(@first) + 10), '<= 1.5, flat',
	sprintf('%d s at %.0f transactions of 200 rows a second, caught up at %.0f: lag %.1f ms, then %.1f ms; p95 %.1f and %.1f ms',
		$seconds, $target, $rate, average(@first), average(@last), p95(@first), p95(@last)));
done_testing();
