# One snapshot over the nodes: what writers lose while others take some, how long it takes
# to get one, and what is read without. Readers and writers share the machine: so there are
# also figures of readers who come as often, without the snapshot.
use strict;
use warnings;
use Braid::Bench;
use Braid::Client;
use Braid::Crowd;
use Braid::Transfers;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{BENCH_SECONDS} // 4;
my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $cluster = transfer_nodes('', 'c' .. 'e');
my $begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ';

sub with_snapshot { return "$begin; SET LOCAL braid.snapshot = '" . join(', ', @_) . "'"; }

sub row { my ($tables, $name) = @_; return "SELECT bal FROM ${tables}_$name WHERE id = " . (1 + int rand 16000); }

sub quantile { my ($q, @times) = @_; @times = sort { $a <=> $b } @times; return $times[ $q * $#times ]; }

# ---- writers beside readers who come so many times a second

sub writers_beside
{
	my ($rate, $transaction) = @_;
	my $load = transfer_start($cluster, 'braid', clients => 4, seconds => $seconds);
	my ($files, $failed) = Braid::Crowd::play($rate ? 2 : 0, sub {
		my ($number, $log) = @_;
		my $reader = Braid::Client->new($cluster->node('hub'));
		my $began = time;
		for (my $next = $number / $rate; $next < $seconds; $next += 2 / $rate)
		{
			my $wait = $began + $next - time;
			sleep $wait if $wait > 0;
			my $answer = $reader->run($transaction->());
			die Braid::Client::describe($answer) if $answer->{error} && $answer->{error}{C} !~ /^(?:40001|55P03)$/;
			$reader->run('ROLLBACK') if $answer->{error};
			print $log $answer->{error} ? "again\n" : "read\n";
		}
	});
	die 'a reader has failed' if $failed;
	my @lines = Braid::Crowd::lines($files);
	my $result = transfer_finish($cluster, $load);
	return { tps => $result->{tps}, reads => scalar(@lines), again => scalar grep { $_ eq 'again' } @lines };
}

my $plain = sub { return join '; ', $begin, row('braid', 'a'), row('braid', 'b'), 'COMMIT' };
my $consistent = sub { return join '; ', with_snapshot('a', 'b'), row('braid', 'a'), row('braid', 'b'), 'COMMIT' };
my %seen;
my %beside = (
	none => sub { writers_beside(0) },
	once => sub { writers_beside(1, $consistent) },
	often => sub { writers_beside(100, $consistent) },
	plain => sub { writers_beside(100, $plain) });
writers_beside(100, $consistent);
my $tps = in_turn($rounds, map { my $name = $_; ($name => sub { my $seen = $beside{$name}->(); push @{ $seen{$name} }, $seen; return $seen->{tps} }) } keys %beside);
for (['once', 1, '0.98'], ['often', 100, '0.93'])
{
	my ($name, $rate, $goal) = @$_;
	my ($reads, $again) = (0, 0);
	for (@{ $seen{$name} }) { $reads += $_->{reads}; $again += $_->{again}; }
	report("xa_snapshot, writers, $rate a second", ratio($tps, $name, 'none'), ">= $goal",
		sprintf('%.0f tps, without readers %.0f, beside 100 reads a second without a snapshot %.0f; %d of %d snapshots were to be tried again',
			(map { median(@{ $tps->{$_} }) } $name, 'none', 'plain'), $again, $reads));
}

# ---- how long it takes to get one

my $session = Braid::Client->new($cluster->node('hub'));
my $observer = Braid::Client->new($cluster->node('hub'));

# How many snapshots there were, and for how many milliseconds COMMITs were kept out for them.
sub gate_closed
{
	return @{ $observer->run(q{SELECT requests, total_time FROM braid.stat_snapshots WHERE what = 'gate closed' AND datname = current_database()})->{rows}[0] // [ 0, 0 ] };
}

# Milliseconds of statements of a transaction, one after the other, up to the last one's answer; so many times.
sub durations
{
	my ($times, $statements) = @_;
	my @times;
	while (@times < $times)
	{
		my $began = time;
		my ($error) = grep { $_->{error} } map { $session->run($_) } $statements->();
		push @times, 1000 * (time - $began);
		$session->run('COMMIT');
		die Braid::Client::describe($error) if $error && $error->{error}{C} !~ /^(?:40001|55P03)$/;
	}
	return @times;
}

my @five = ('a' .. 'e');
my %ways = (
	rows => sub { return ($begin, map { row('braid', $_) } 'a', 'b') },
	two => sub { return split /; /, with_snapshot('a', 'b') },
	five => sub { return split /; /, with_snapshot(@five) },
	'two, rows' => sub { return ((split /; /, with_snapshot('a', 'b')), map { row('braid', $_) } 'a', 'b') });
for my $clients (0, 4)
{
	my (%times, %snapshots, %closed);
	durations(20, $_) for values %ways;
	for (1 .. $rounds)
	{
		my $load = $clients ? transfer_start($cluster, 'braid', clients => $clients, seconds => $seconds) : undef;
		for my $name ((sort keys %ways) x 10)
		{
			my ($requests, $time) = gate_closed();
			push @{ $times{$name} }, durations(20, $ways{$name});
			my ($requests_after, $time_after) = gate_closed();
			$snapshots{$name} += $requests_after - $requests;
			$closed{$name} += $time_after - $time;
		}
		transfer_finish($cluster, $load) if $load;
	}
	my %p50 = map { $_ => quantile(0.5, @{ $times{$_} }) } keys %times;
	my %p99 = map { $_ => quantile(0.99, @{ $times{$_} }) } keys %times;
	my %gate = map { $_ => $closed{$_} / $snapshots{$_} } 'two', 'five';
	my $beside = $clients ? "$clients writers" : 'idle';
	report("xa_snapshot, two nodes, p50, $beside", $p50{two} / $p50{rows}, '<= 2.5',
		sprintf('%.2f ms, a row from each in turn without it %.2f ms, with it %.2f ms', map { $p50{$_} } 'two', 'rows', 'two, rows'));
	report("xa_snapshot, two nodes, p99, $beside", $p99{two} / $p99{rows}, '<= 8',
		sprintf('%.2f ms, a row from each in turn without it %.2f ms, with it %.2f ms', map { $p99{$_} } 'two', 'rows', 'two, rows'));
	report("xa_snapshot, five nodes, p50, $beside", $p50{five} / $p50{two}, '<= 1.5 times two', sprintf('%.2f ms, p99 %.2f ms', $p50{five}, $p99{five}));
	report("xa_snapshot, gate closed, $beside", $gate{five} / $gate{two}, 'five nodes <= 1.5 times two', sprintf('mean %.3f ms, two nodes %.3f ms', $gate{five}, $gate{two}));
}
$_->leave for $session, $observer;

# ---- what is read without: the sum of all accounts, while transfers run

sub torn
{
	my ($tables, $begin) = @_;
	my $load = transfer_start($cluster, $tables, clients => 4, seconds => $seconds);
	my $reader = Braid::Client->new($cluster->node('hub'));
	my ($reads, $torn) = (0, 0);
	for (my $until = time + $seconds; time < $until;)
	{
		my $answer = $reader->run("$begin; SELECT (SELECT sum(bal) FROM ${tables}_a) + (SELECT sum(bal) FROM ${tables}_b); COMMIT");
		if ($answer->{error}) { $reader->run('ROLLBACK'); next; }
		$reads++;
		$torn++ if $answer->{rows}[0][0] != 0;
	}
	$reader->leave;
	return ($reads, $torn, transfer_finish($cluster, $load)->{tps});
}

my @rows = ([ 'reads of a sum over two nodes', 'reads', 'wrong', '%', 'transfers/s' ]);
for (['stock postgres_fdw, REPEATABLE READ', 'stock', $begin], ['braid without a snapshot over the nodes', 'braid', $begin], ['braid.snapshot', 'braid', with_snapshot('a', 'b')])
{
	my ($name, @how) = @$_;
	my ($reads, $torn, $tps) = torn(@how);
	push @rows, [ $name, $reads, $torn, sprintf('%.1f', 100 * $torn / $reads), sprintf '%.0f', $tps ];
}
table('torn reads, 4 writers', @rows);
is($rows[-1][2], 0, 'with a snapshot over the nodes no read is torn');
cmp_ok($rows[1][2], '>', 0, 'without one some are');
transfers_are_done($cluster);
done_testing();
