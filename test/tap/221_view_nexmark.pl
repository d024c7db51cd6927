# The queries of the Nexmark benchmark over tables, as continuous views: each is
# kept, or in the list of the refused. After each step of the auction, late bids,
# withdrawals and corrections included, every view equals its query. With BRAID_TIMES,
# then each view alone: how long 500 events take until the view has them, beside
# running the query.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Nexmark;
use Braid::Views;
use Test::More;

# Name => why.
my %refused = ();

my $cluster = Braid::Cluster->new('db', { conf => "shared_buffers = 128MB\nautovacuum = off\n" });
$cluster->sql('db', $Braid::Nexmark::schema);
$cluster->sql('db', $Braid::Nexmark::data);
my $views = Braid::Views->new($cluster, 'db');

my @names = map { "q$_" } grep { exists $Braid::Nexmark::queries{"q$_"} } 0 .. 22;
my %reason = map { $_ => $views->create($_, $Braid::Nexmark::queries{$_}[1]) } @names;
my @kept = grep { $reason{$_} eq '' } @names;
is(join(', ', grep { $reason{$_} ne '' } @names), join(', ', sort keys %refused), 'the others are kept');
note "$_ is refused: $reason{$_}" for grep { $reason{$_} ne '' } @names;

sub check
{
	my ($when) = @_;
	is(join("\n", $views->differences), '', "$when: every view equals its query");
	is(join("\n", $views->unverified), '', "$when: and braid.verify() finds nothing");
	return;
}

check('populated');
my @empty = grep { $cluster->sql('db', "SELECT count(*) FROM $_") == 0 } @kept;
is(join(', ', @empty), '', 'every view has rows');
for my $step (@Braid::Nexmark::steps)
{
	my ($when, $sql) = @$step;
	$cluster->sql('db', "BEGIN; $sql; COMMIT");
	check($when);
}

is(join("\n", $views->failures), '', 'no view had to be populated anew');
if (!$ENV{BRAID_TIMES}) { done_testing(); exit; }

# Each alone: milliseconds and rows of state written.
my %strategies = map { $_ => $views->strategies($_) } @kept;
$views->drop;
my $events = 11000;
note sprintf '%-4s %-34s %-36s %12s %8s %10s', '', 'Nexmark', 'strategies', '500 events', 'rows', 'query';
for my $name (@kept)
{
	my ($what, $query) = @{ $Braid::Nexmark::queries{$name} };
	$views->create($name, $query);
	$cluster->sql('db', "SELECT braid.wait('$name', '30 s')");
	my @transactions = map { sprintf 'CALL make_events(%d, %d)', $_, $_ + 499 } map { $events + 500 * $_ } 0 .. 3;
	my ($refresh, $rows, $run) = $views->measured($name, @transactions);
	$events += 2000;
	note sprintf '%-4s %-34s %-36s %9.1f ms %8s %7.1f ms', $name, $what, $strategies{$name}, $refresh, $rows, $run;
	$views->drop;
}
is(join("\n", $views->failures), '', 'no view had to be populated anew');
done_testing();
