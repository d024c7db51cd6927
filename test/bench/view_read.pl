# What reading a continuous view as it is promised costs: a strict read while nobody
# writes against the round trip of SELECT 1; how long strict reads take while writers
# commit 4,000 transactions a second, and right after a commit of the session itself;
# and what sessions that read no view pay for the hooks, against a database without the
# extension.
use strict;
use warnings;
use Braid::Bench;
use Braid::Client;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'SQL');
CREATE EXTENSION braid;
CREATE DATABASE without;
CREATE TABLE t (k int, x int);
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*) AS n, sum(x) AS s FROM t GROUP BY k;
INSERT INTO t SELECT g % 100, g FROM generate_series(1, 10000) g;
SQL
sql("SELECT braid.wait('v', '60 s')");
system('pgbench', '-q', '-i', '-s', 5, '-h', $node->host, '-p', $node->port, $_) == 0 or die "pgbench has failed for $_" for 'postgres', 'without';
sql("SET braid.read = strict; CHECKPOINT; SELECT count(*) FROM v");

my $client = Braid::Client->new($node);
$client->value(q{SET braid.read = strict; SET braid.read_timeout = '60s'; SELECT 1});

# Milliseconds of statements that are run one after the other for so many seconds;
# of the last one of each turn.
sub durations
{
	my ($time, @statements) = @_;
	my @times;
	my $end = time + $time;
	while (time < $end)
	{
		my $began;
		for my $sql (@statements)
		{
			$began = time;
			$client->value($sql);
		}
		push @times, (time - $began) * 1000;
	}
	return [ sort { $a <=> $b } @times ];
}

sub quantile { my ($times, $q) = @_; return $times->[ int($q * $#$times) ]; }

my $read = 'SELECT n FROM v WHERE k = 1';
my %quiet = (one => 'SELECT 1', strict => $read);
durations(0.5, $_) for values %quiet;
my $figures = in_turn($rounds, map { my $sql = $quiet{$_}; ($_ => sub { quantile(durations($seconds / 5, $sql), 0.5) }) } keys %quiet);
report('view_read, strict, nobody writes', ratio($figures, 'strict', 'one'), '<= 3',
	sprintf('p50: strict read %.3f ms, SELECT 1 %.3f ms', median(@{ $figures->{strict} }), median(@{ $figures->{one} })));

my $after = durations($seconds, 'INSERT INTO t VALUES (1, 1) RETURNING k', $read);
report('view_read, strict, after a commit', quantile($after, 0.5) / median(@{ $figures->{one} }), 'none',
	sprintf('p50 %.3f ms, p99 %.3f ms', quantile($after, 0.5), quantile($after, 0.99)));

my $writers = <<'SQL';
\set k random(1, 100)
INSERT INTO t VALUES (:k, 1);
SQL
my (@p50, @p99, @tps);
for (1 .. $rounds)
{
	my $load = pgbench_start($node, $writers, clients => 8, seconds => $seconds + 2, rate => 4000);
	durations(1, $read);
	my $times = durations($seconds, $read);
	push @p50, quantile($times, 0.5);
	push @p99, quantile($times, 0.99);
	push @tps, pgbench_finish($load)->{tps};
}
report('view_read, strict, p99 in ms', median(@p99), '< 10',
	sprintf('beside writers of %.0f tps; p50 %.3f ms', median(@tps), median(@p50)));

# Sessions of both databases read a table; with strict they are watched.
my %sessions = (without => ['without'], with => ['postgres'], strict => [ 'postgres', 'strict' ]);
sub select_only
{
	my ($database, $read) = @_;
	local $ENV{PGOPTIONS} = defined $read ? "-c braid.read=$read" : '';
	my $out = `pgbench -n -S -M prepared -c 2 -j 2 -T $seconds -h @{[$node->host]} -p @{[$node->port]} $database`;
	my ($tps) = $out =~ /tps = ([\d.]+)/;
	die "pgbench has failed: $out" unless $tps;
	return $tps;
}
select_only('without');
my $tps = in_turn($rounds, map { my $name = $_; ($name => sub { select_only(@{ $sessions{$name} }) }) } keys %sessions);
report('view_read, pgbench -S', ratio($tps, 'with', 'without'), '>= 0.98',
	sprintf('tps: with a view in the database %.0f, without braid in it %.0f', median(@{ $tps->{with} }), median(@{ $tps->{without} })));
report('view_read, pgbench -S, strict', ratio($tps, 'strict', 'without'), '>= 0.98', sprintf('tps: %.0f', median(@{ $tps->{strict} })));

is(sql("SET braid.read = strict; SELECT (SELECT sum(n) FROM v) = (SELECT count(*) FROM t)"), 't', 'the view has all rows');
done_testing();
