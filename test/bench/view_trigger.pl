# Eight clients that insert into a table with a view of count and sum per key,
# against clients whose inserts are kept by a trigger that is written by hand:
# per statement, from its transition table, by INSERT ... ON CONFLICT. With 1,000
# groups, and with 10, whose rows in the trigger's table clients wait for: more
# so, the more groups a statement has rows of.
use strict;
use warnings;
use Braid::Bench;
use Braid::Keepers;
use Test::More;

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $keepers = Braid::Keepers->start(qw(nobody trigger view));

for ([ 1000, 1, '>= 1.2' ], [ 1000, 10, '>= 1.2' ], [ 10, 1, 'as close as it gets to neither' ], [ 10, 10, '>= 3' ])
{
	my ($groups, $rows, $goal) = @$_;
	my $figures = $keepers->contest($groups, $rows, $rounds, $seconds);
	my ($nobody, $trigger, $view) = map { median(@{ $figures->{$_} }) } qw(nobody trigger view);
	report("view_trigger, $groups groups, $rows rows", ratio($figures, 'view', 'trigger'), $goal,
		sprintf('view %.0f tps, trigger %.0f tps, neither %.0f tps; the view had all rows %.0f ms after the last, or sooner',
			$view, $trigger, $nobody, 1000 * $keepers->behind));
}
done_testing();
