# Eight clients that insert into a table with a view of count and sum per key,
# against clients on a table whose view is kept by pg_ivm, where that is
# installed.
use strict;
use warnings;
use Braid::Bench;
use Braid::Keepers;
use Test::More;

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $keepers = Braid::Keepers->start(qw(pg_ivm nobody view));
plan skip_all => 'pg_ivm is not installed' unless $keepers;

for my $groups (1000, 10)
{
	my $figures = $keepers->contest($groups, 1, $rounds, $seconds);
	my ($nobody, $pg_ivm, $view) = map { median(@{ $figures->{$_} }) } qw(nobody pg_ivm view);
	report("view_pg_ivm, $groups groups", ratio($figures, 'view', 'pg_ivm'), '>= 6',
		sprintf('view %.0f tps, pg_ivm %.0f tps, neither %.0f tps', $view, $pg_ivm, $nobody));
}
done_testing();
