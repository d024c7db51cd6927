# How many connections a participant has while 16 sessions write to it: one for
# each session, and the resolver's. Not a time, so it is asserted.
use strict;
use warnings;
use Braid::Bench;
use Braid::Transfers;
use Test::More;

my $seconds = $ENV{BENCH_SECONDS} // 3;
my $clients = 16;
my $cluster = transfer_nodes();
my $resolvers = $cluster->sql('hub', 'SHOW braid.xa_resolver_connections');
my %most = map { $_ => { all => 0, sessions => 0, resolver => 0 } } 'a', 'b';

# All client backends but the one that asks.
sub look
{
	my ($name) = @_;
	my %now;
	@now{'all', 'sessions', 'resolver'} = split /\|/, $cluster->sql($name, <<'SQL');
SELECT count(*), count(*) FILTER (WHERE application_name = 'postgres_fdw'),
	count(*) FILTER (WHERE application_name LIKE 'braid resolver %')
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
SQL
	for my $kind (keys %now)
	{
		$most{$name}{$kind} = $now{$kind} if $now{$kind} > $most{$name}{$kind};
	}
	return;
}

my $load = transfer_start($cluster, 'braid', clients => $clients, seconds => $seconds);
# pgbench leaves the process table only when transfer_finish() collects it.
until (Braid::Cluster::has_ended($load->{pid}))
{
	look($_) for 'a', 'b';
}
transfer_finish($cluster, $load);
for my $name ('a', 'b')
{
	my %n = %{ $most{$name} };
	report("xa_connections to $name", $n{all} / $clients, sprintf('<= %.2f', ($clients + $resolvers) / $clients),
		"$clients sessions: $n{all} connections at most, $n{sessions} for sessions and $n{resolver} for the resolver");
	is($n{sessions}, $clients, "$name: one connection for each session");
	cmp_ok($n{resolver}, '>=', 1, "$name: the resolver has one");
	cmp_ok($n{all}, '<=', $clients + $resolvers, "$name: no more than one for each session and braid.xa_resolver_connections");
}
transfers_are_done($cluster);
done_testing();
