# Where the time goes, for each transaction that updates a row on each of two
# nodes, with 4 clients: flushes of the write-ahead log, messages, CPU time by
# kind of process, and the phases of braid's COMMIT; of braid_fdw and of stock
# postgres_fdw. Flushes and messages are counted by syscall_shim.c, preloaded
# into the servers.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Braid::Transfers;
use POSIX ();
use Test::More;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{BENCH_SECONDS} // 5;
my $clients = 4;
my $shim = compile('syscall_shim.c', '-shared', '-fPIC', '-ldl');
my $cluster;
{
	local $ENV{LD_PRELOAD} = $shim;
	local $ENV{SHIM_COUNTS} = 'shim_counts';
	$cluster = transfer_nodes();
}

my @contestants = (
	[ 'postgres_fdw', 'stock', {} ],
	[ 'braid, wait on', 'braid', { 'braid.xa_commit_wait' => 'on' } ],
	[ 'braid, wait off', 'braid', { 'braid.xa_commit_wait' => 'off' } ]);
my @kinds = ('hub: sessions', 'hub: resolver', 'a, b: sessions', 'a, b: for the resolver', 'other processes', 'pgbench');

# Kinds of a node's processes by pid.
sub processes
{
	my ($name) = @_;
	my %kind;
	for (split /\n/, $cluster->sql($name, 'SELECT pid, backend_type, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()'))
	{
		my ($pid, $type, $application) = split /\|/;
		$kind{$pid} = $application =~ /^braid resolver / ? 'a, b: for the resolver'
		  : $type eq 'braid resolver' ? 'hub: resolver'
		  : $type ne 'client backend' ? 'other processes'
		  : $name eq 'hub' ? 'hub: sessions'
		  : 'a, b: sessions';
	}
	return %kind;
}

# Seconds that a process has used; 0 if there is no such process.
sub cpu_seconds
{
	my ($pid) = @_;
	open my $fh, '<', "/proc/$pid/stat" or return 0;
	my (undef, @fields) = split ' ', readline($fh) =~ s/^\d+ \(.*\)//r;
	return ($fields[10] + $fields[11]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# What the shim has counted on a node: flushes, messages.
sub counts
{
	my ($name) = @_;
	my $file = $cluster->node($name)->data_dir . '/shim_counts';
	open my $fh, '<:raw', $file or die "$file: $!";
	read($fh, my $bytes, 16) == 16 or die "$file is too short";
	return [ unpack 'QQ', $bytes ];
}

sub look
{
	my ($pgbench_pid) = @_;
	my %kind = ((map { processes($_) } $cluster->names), $pgbench_pid => 'pgbench');
	my %look = (kind => \%kind, time => time);
	$look{counts}{$_} = counts($_) for $cluster->names;
	$look{cpu}{$_} = cpu_seconds($_) for keys %kind;
	return \%look;
}

# How many transactions have ended between two looks, as pgbench's log has it.
sub count_transactions
{
	my ($log, $first, $second) = @_;
	my $count = 0;
	for my $file (glob "$log.*")
	{
		for (split /\n/, PostgreSQL::Test::Utils::slurp_file($file))
		{
			my ($seconds, $microseconds) = (split)[ 4, 5 ];
			my $time = $seconds + $microseconds / 1e6;
			$count++ if $time > $first->{time} && $time <= $second->{time};
		}
	}
	return $count;
}

# Figures for one transaction, from two looks at a load that runs: the ends of
# connections, whose processes take their CPU time along, are not in between.
sub profile
{
	my ($tables, $settings) = @_;
	my $log = PostgreSQL::Test::Utils::tempdir() . '/transactions';
	my $load = transfer_start($cluster, $tables, clients => $clients, seconds => $seconds + 3, settings => $settings, log => $log);
	sleep 0.7;
	my $first = look($load->{pid});
	sleep $seconds;
	my $second = look($load->{pid});
	die 'pgbench has ended too early' if Braid::Cluster::has_ended($load->{pid});
	my $tps = transfer_finish($cluster, $load)->{tps};

	my $transactions = count_transactions($log, $first, $second);
	my %result = (tps => $tps, map { $_ => 0 } @kinds);
	for my $name ($cluster->names)
	{
		my ($from, $to) = ($first->{counts}{$name}, $second->{counts}{$name});
		$result{"flushes on $name"} = ($to->[0] - $from->[0]) / $transactions;
		$result{"messages of $name"} = ($to->[1] - $from->[1]) / $transactions;
	}
	for my $pid (keys %{ $second->{kind} })
	{
		$result{ $second->{kind}{$pid} } += ($second->{cpu}{$pid} - ($first->{cpu}{$pid} // 0)) * 1e6 / $transactions;
	}
	$result{'all processes'} += $result{$_} for @kinds;
	return \%result;
}

my (%profile, @phases);
transfers($cluster, $_, clients => $clients, seconds => 1) for 'braid', 'stock';
for (@contestants)
{
	my ($title, $tables, $settings) = @$_;
	$cluster->sql('hub', 'SELECT braid.stat_xa_reset()');
	$profile{$title} = profile($tables, $settings);
	push @phases, map { [ "$title: " . (split /\|/)[0], (split /\|/)[ 1 .. 6 ] ] } split /\n/, $cluster->sql('hub', <<'SQL');
SELECT phase, requests, round(mean_time::numeric, 3), round(p50::numeric, 3), round(p95::numeric, 3),
	round(p99::numeric, 3), round(max_time::numeric, 3)
FROM braid.stat_xa_phase WHERE datname = current_database() AND requests > 0
SQL
}

my @titles = map { $_->[0] } @contestants;
my $row = sub {
	my ($format, $name) = @_;
	return [ $name, map { sprintf $format, $profile{$_}{$name} } @titles ];
};
table("xa_profile: for each transaction, $clients clients",
	[ '', @titles ],
	$row->('%.0f', 'tps'),
	(map { $row->('%.2f', "flushes on $_") } $cluster->names),
	(map { $row->('%.2f', "messages of $_") } $cluster->names));
table('xa_profile: CPU time for each transaction, microseconds',
	[ '', @titles ],
	map { $row->('%.0f', $_) } @kinds, 'all processes');
table('xa_profile: phases of COMMIT, milliseconds',
	[ '', 'times', 'mean', 'p50', 'p95', 'p99', 'max' ], @phases);

# One message is the answer to one request: begin, statement, COMMIT, and COMMIT PREPARED.
for my $name ('a', 'b')
{
	cmp_ok(abs($profile{postgres_fdw}{"messages of $name"} - 3), '<', 0.3, "postgres_fdw makes three round trips to $name");
	cmp_ok($profile{$_}{"messages of $name"}, '<', 4.3, "$_, at most four") for grep { /braid/ } @titles;
}
transfers_are_done($cluster);
done_testing();
