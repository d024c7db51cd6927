# Braid::Bench: pgbench against nodes of a Braid::Cluster, for the benchmarks.
package Braid::Bench;

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time);
use Exporter 'import';
our @EXPORT = qw(pgbench pgbench_start pgbench_finish pgbench_tps in_turn ratio median process_usage capture_worker behind compile report table);

# Settings under which a server is used in earnest: the test cluster's own
# settings trade durability for speed.
our $durable = <<'CONF';
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 30min
autovacuum = off
CONF

# Starts pgbench with a script, given as text, or with one of its own, named in
# builtin. Options: clients, seconds, protocol, rate (transactions per second, of all
# clients), settings, which hold in each of its sessions, and log, with which names
# of files begin where it notes when each transaction ends. Returns a handle for pgbench_finish(), with pgbench's pid.
sub pgbench_start
{
	my ($node, $script, %opt) = @_;
	my $settings = $opt{settings} // {};
	my @log = $opt{log} ? ('-l', "--log-prefix=$opt{log}") : ();
	my @rate = $opt{rate} ? ('-R', $opt{rate}) : ();
	my @script = ('-b', $opt{builtin} // '');
	if (defined $script)
	{
		my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
		open my $fh, '>', $file or die "$file: $!";
		print $fh $script;
		close $fh;
		@script = ('-f', $file);
	}
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_=$settings->{$_}" } sort keys %$settings;
	for my $name (sort keys %$settings)
	{
		my $value = $node->safe_psql('postgres', "SHOW $name");
		die "$name is $value" if $value ne $settings->{$name};
	}
	my $pid = open my $output, '-|', 'pgbench', '-n', '-M', $opt{protocol} // 'prepared', '-c', $opt{clients},
	  '-j', $opt{clients}, '-T', $opt{seconds}, @rate, @log, @script, '-h', $node->host, '-p', $node->port, 'postgres';
	die "pgbench: $!" unless $pid;
	return { pid => $pid, output => $output };
}

# Waits until it has ended. Returns its transactions per second, and how many
# there were; dies unless all of them were committed.
sub pgbench_finish
{
	my ($handle) = @_;
	my $out = do { local $/; readline $handle->{output} };
	close $handle->{output} or die "pgbench has failed: $out";
	die "pgbench reports failed transactions: $out" unless $out =~ /number of failed transactions: 0 /;
	my ($transactions) = $out =~ /number of transactions actually processed: (\d+)/;
	my ($tps) = $out =~ /tps = ([\d.]+)/;
	die "pgbench has done nothing: $out" unless $transactions && $tps;
	return { tps => $tps, transactions => $transactions };
}

sub pgbench { return pgbench_finish(pgbench_start(@_)); }

# Transactions per second of a script, given as text.
sub pgbench_tps { return pgbench(@_)->{tps}; }

# Lets contestants (name => sub that returns a figure) have their turns, as many
# as told, in an order that is reversed each time. Returns name => [figures].
sub in_turn
{
	my ($turns, %contestants) = @_;
	my @order = sort keys %contestants;
	my %figures;
	for (1 .. $turns)
	{
		push @{ $figures{$_} }, $contestants{$_}->() for @order;
		@order = reverse @order;
	}
	return \%figures;
}

# The median, over the turns, of one contestant's figure divided by another's.
sub ratio
{
	my ($figures, $name, $other) = @_;
	my ($mine, $theirs) = ($figures->{$name}, $figures->{$other});
	return median(map { $mine->[$_] / $theirs->[$_] } 0 .. $#$mine);
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ @sorted / 2 ];
}

# What a process has used: microseconds of CPU, and how often it went to sleep.
sub process_usage
{
	my ($pid) = @_;
	my ($nanoseconds) = split ' ', PostgreSQL::Test::Utils::slurp_file("/proc/$pid/schedstat");
	my ($sleeps) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	return { cpu => $nanoseconds / 1000, sleeps => $sleeps };
}

# The process that follows the views of a database.
sub capture_worker
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname = 'postgres'});
}

# Does something while the capture worker stands still. Options are statements: drained
# waits until the worker has read whatever was logged before, and caught_up for what was done.
# Returns the seconds that it took to do it, those until the worker has caught up with it, and the
# microseconds of CPU that the latter took.
sub behind
{
	my ($node, $what, %opt) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->safe_psql('postgres', $opt{drained});
	my $worker = capture_worker($node);
	my $cpu = process_usage($worker)->{cpu};
	kill 'STOP', $worker;
	my $begin = time;
	$what->();
	my $did = time - $begin;
	$begin = time;
	kill 'CONT', $worker;
	$node->safe_psql('postgres', $opt{caught_up});
	return ($did, time - $begin, process_usage($worker)->{cpu} - $cpu);
}

# Compiles a C source with libpq, of test/bench unless another folder is given with it; returns the
# file made. Options are those of the compiler.
sub compile
{
	my ($source, @options) = @_;
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
	my ($include, $lib) = map { my $dir = `$pg_config $_`; chomp $dir; $dir } '--includedir', '--libdir';
	my ($folder, $name) = $source =~ m{^(?:(.*)/)?([^/]+)\.c$};
	my $result = PostgreSQL::Test::Utils::tempdir() . "/$name";
	$folder //= 'test/bench';
	my ($out, $ok);
	$ok = IPC::Run::run([ $ENV{CC} // 'cc', '-O2', '-Wall', '-Wextra', '-Werror', "-I$include", '-o', $result,
			"$folder/$name.c", @options, "-L$lib", '-lpq' ], '>', \$out, '2>', \$out);
	die "$source cannot be compiled: $out" unless $ok;
	return $result;
}

# One line of result: a ratio, what it should be, and the figures behind it.
sub report
{
	my ($name, $ratio, $goal, $detail) = @_;
	diag(sprintf('RESULT %-34s %5.2f  (goal: %s)  %s', $name, $ratio, $goal, $detail));
	return;
}

# A table of results: a title, and rows of equal length, the first one of headings.
sub table
{
	my ($title, @rows) = @_;
	my @width;
	for my $row (@rows)
	{
		for my $i (0 .. $#$row)
		{
			my $length = length $row->[$i];
			$width[$i] = $length if $length > ($width[$i] // 0);
		}
	}
	diag("RESULT $title");
	for my $row (@rows)
	{
		diag('RESULT   ' . join '  ', map { sprintf $_ ? "%$width[$_]s" : "%-$width[$_]s", $row->[$_] } 0 .. $#$row);
	}
	return;
}

1;
