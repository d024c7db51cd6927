# Braid::Bench: pgbench against nodes of a Braid::Cluster, for the benchmarks.
package Braid::Bench;

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;
use Exporter 'import';
our @EXPORT = qw(pgbench_tps median report);

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

# Transactions per second of a script, given as text.
sub pgbench_tps
{
	my ($node, $script, %opt) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	open my $fh, '>', $file or die $!;
	print $fh $script;
	close $fh;
	my ($out, $err);
	my @cmd = ('pgbench', '-n', '-M', $opt{protocol} // 'prepared', '-c', $opt{clients}, '-j', $opt{clients},
		'-T', $opt{seconds}, '-f', $file, '-h', $node->host, '-p', $node->port, 'postgres');
	IPC::Run::run(\@cmd, '>', \$out, '2>', \$err) or die "pgbench: $err";
	die "pgbench reports failed transactions: $out" unless $out =~ /number of failed transactions: 0 /;
	return $1 if $out =~ /tps = ([\d.]+)/;
	die "pgbench printed no tps: $out";
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ @sorted / 2 ];
}

# One line of result: a ratio, what it should be, and the figures behind it.
sub report
{
	my ($name, $ratio, $goal, $detail) = @_;
	diag(sprintf('RESULT %-28s %5.2f  (goal: %s)  %s', $name, $ratio, $goal, $detail));
	return;
}

1;
