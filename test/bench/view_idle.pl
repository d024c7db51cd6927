# What views cost on whose tables nothing happens: CPU time and wake-ups of the
# worker while nobody writes, and while eight clients write to another table,
# whose transactions per second count too. A hundred views on ten tables against
# one view, and against none.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $script = <<'SQL';
\set id random(1, 100000)
UPDATE u SET x = x + 1 WHERE id = :id;
SQL
my %views = (none => 0, one => 1, hundred => 100);
my (%nodes, %idle, %busy);

# A server with so many views, all of them populated.
sub start
{
	my ($name) = @_;
	my $node = Braid::Cluster->start_node($name, $Braid::Bench::durable);
	my $n = $views{$name};
	my $sql = "CREATE EXTENSION braid;\nCREATE TABLE u (id int PRIMARY KEY, x int) WITH (fillfactor = 50);\n" .
	  "INSERT INTO u SELECT g, 0 FROM generate_series(1, 100000) g;\nVACUUM ANALYZE u;\n";
	$sql .= "CREATE TABLE t$_ (k int, x int);\nINSERT INTO t$_ SELECT g % 100, g FROM generate_series(1, 1000) g;\n" for 0 .. ($n ? 9 : -1);
	for my $i (0 .. $n - 1)
	{
		my $table = 't' . $i % 10;
		my $keys = $i + 1;
		$sql .= "CREATE MATERIALIZED VIEW v$i WITH (braid.continuous) AS SELECT k % $keys AS k, count(*), sum(x) FROM $table GROUP BY 1;\n";
	}
	$node->safe_psql('postgres', $sql);
	$node->safe_psql('postgres', join "\n", map { "SELECT braid.wait('v$_', '60 s');" } 0 .. $n - 1) if $n;
	return $node;
}

sub worker
{
	my ($name) = @_;
	return $nodes{$name}->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'});
}

# CPU time, in microseconds, and wake-ups of the worker while something goes on,
# for each second of it.
sub usage_during
{
	my ($pid, $something) = @_;
	return { cpu => 0, sleeps => 0 } if !$pid;
	my $start = time;
	my $before = process_usage($pid);
	$something->();
	my $after = process_usage($pid);
	my $time = time - $start;
	return { map { $_ => ($after->{$_} - $before->{$_}) / $time } qw(cpu sleeps) };
}

# Nobody writes, for several seconds, each of them looked at by itself: in some the
# server itself writes. The first ones are for what is confirmed late.
sub idle_turn
{
	my ($name) = @_;
	my $pid = worker($name);
	sleep 2;
	push @{ $idle{$name} }, usage_during($pid, sub { sleep 1 }) for 1 .. 2 + $seconds;
	return 1;
}

sub busy_turn
{
	my ($name) = @_;
	my $tps;
	my $load = sub { $tps = pgbench_tps($nodes{$name}, $script, clients => 8, seconds => $seconds) };
	my $pid = worker($name);
	if ($pid) { push @{ $busy{$name} }, usage_during($pid, $load) }
	else { $load->() }
	return $tps;
}

sub of { my ($usage, $name, $what) = @_; return median(map { $_->{$what} } @{ $usage->{$name} }); }

$nodes{$_} = start($_) for sort keys %views;
busy_turn($_) for sort keys %views;
%busy = ();
my $figures = in_turn($rounds, map { my $name = $_; ($name => sub { busy_turn($name) }) } keys %views);
in_turn(1, map { my $name = $_; ($name => sub { idle_turn($name) }) } qw(one hundred));

my %tps = map { $_ => median(@{ $figures->{$_} }) } keys %views;
report('view_idle, 100 views, tps', ratio($figures, 'hundred', 'none'), 'within noise of one view',
	sprintf('a hundred views %.0f tps, none %.0f tps', $tps{hundred}, $tps{none}));
report('view_idle, 1 view, tps', ratio($figures, 'one', 'none'), '>= 0.95', sprintf('one view %.0f tps, none %.0f tps', $tps{one}, $tps{none}));
report('view_idle, worker beside writers', of(\%busy, 'hundred', 'cpu') / of(\%busy, 'one', 'cpu'), '<= 1.1',
	sprintf('CPU time a second: a hundred views %.1f ms, one view %.1f ms; %.0f and %.0f wake-ups',
		of(\%busy, 'hundred', 'cpu') / 1000, of(\%busy, 'one', 'cpu') / 1000, of(\%busy, 'hundred', 'sleeps'), of(\%busy, 'one', 'sleeps')));
report('view_idle, wake-ups, nobody writes', of(\%idle, 'hundred', 'sleeps') / of(\%idle, 'one', 'sleeps'), '<= 1.1',
	sprintf('a second: a hundred views %.1f, one view %.1f; CPU time %.3f ms and %.3f ms',
		of(\%idle, 'hundred', 'sleeps'), of(\%idle, 'one', 'sleeps'), of(\%idle, 'hundred', 'cpu') / 1000, of(\%idle, 'one', 'cpu') / 1000));
cmp_ok(of(\%idle, 'hundred', 'sleeps'), '<=', of(\%idle, 'one', 'sleeps') + 1, 'idle views do not wake their worker');
done_testing();
