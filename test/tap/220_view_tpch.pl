# The 22 queries of TPC-H as continuous views: each is kept, or in the list of the
# refused. After each of the benchmark's refreshes, and after changes of every other
# table, every view equals its query. With BRAID_TIMES, then each view alone: how long
# a refresh takes until the view has it, beside running the query.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Tpch;
use Braid::Views;
use Test::More;

# Number => why.
my %refused = ();

my $cluster = Braid::Cluster->new('db', { conf => "shared_buffers = 128MB\nmax_wal_size = 4GB\nautovacuum = off\n" });
$cluster->sql('db', $Braid::Tpch::schema);
$cluster->sql('db', $Braid::Tpch::data);
my $views = Braid::Views->new($cluster, 'db');

my @numbers = sort { $a <=> $b } keys %Braid::Tpch::queries;
my %reason = map { $_ => $views->create("q$_", $Braid::Tpch::queries{$_}) } @numbers;
my @kept = grep { $reason{$_} eq '' } @numbers;
is(join(', ', grep { $reason{$_} ne '' } @numbers), join(', ', sort { $a <=> $b } keys %refused), 'the others are kept');
note "Q$_ is refused: $reason{$_}" for grep { $reason{$_} ne '' } @numbers;
cmp_ok(scalar @kept, '>=', 18, 'at least 18 queries are kept');

sub check
{
	my ($when) = @_;
	is(join("\n", $views->differences), '', "$when: every view equals its query");
	is(join("\n", $views->unverified), '', "$when: and braid.verify() finds nothing");
	return;
}

check('populated');
my @empty = grep { $cluster->sql('db', "SELECT count(*) FROM q$_") == 0 } @kept;
is(join(', ', @empty), '', 'every view has rows');

for my $n (1 .. 2)
{
	$cluster->sql('db', Braid::Tpch::insert_orders($n));
	check("refresh $n, new orders");
	$cluster->sql('db', Braid::Tpch::delete_orders($n));
	check("refresh $n, old orders");
}
$cluster->sql('db', 'BEGIN; ' . Braid::Tpch::insert_orders(3) . '; ' . Braid::Tpch::delete_orders(3) . '; COMMIT');
check('both in one transaction');
for my $update (@Braid::Tpch::updates)
{
	my ($when, $sql) = @$update;
	$cluster->sql('db', "BEGIN; $sql; COMMIT");
	check($when);
}

is(join("\n", $views->failures), '', 'no view had to be populated anew');
if (!$ENV{BRAID_TIMES}) { done_testing(); exit; }

# Each alone: milliseconds and rows of state written.
my %strategies = map { $_ => $views->strategies("q$_") } @kept;
$views->drop;
my $n = 3;
note sprintf '%-5s %-36s %12s %10s %12s %10s %10s', 'TPC-H', 'strategies', 'new orders', 'rows', 'old orders', 'rows', 'query';
for my $number (@kept)
{
	my $name = "q$number";
	$views->create($name, $Braid::Tpch::queries{$number});
	$cluster->sql('db', "SELECT braid.wait('$name', '60 s')");
	my @refreshes = map { ($n + $_) } 1 .. 4;
	my ($inserted, $rows_inserted) = $views->measured($name, map { Braid::Tpch::insert_orders($_) } @refreshes);
	my ($deleted, $rows_deleted, $query) = $views->measured($name, map { Braid::Tpch::delete_orders($_) } @refreshes);
	$n += @refreshes;

	# Those that read neither orders nor lines have nothing to do.
	my $read = $Braid::Tpch::queries{$number} =~ /orders|lineitem/;
	note sprintf '%-5s %-36s %9.1f ms %10s %9.1f ms %10s %7.1f ms', "Q$number", $strategies{$number}, $inserted,
	  $read ? $rows_inserted : '-', $deleted, $read ? $rows_deleted : '-', $query;
	$views->drop;
}
is(join("\n", $views->failures), '', 'no view had to be populated anew');
done_testing();
