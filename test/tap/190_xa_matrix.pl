# Every point of the commit protocol × whatever can happen there × the kinds of
# transactions: see test/lib/Braid/Matrix.pm for what is asked of each cell.
#
# A round takes each pair of point and event with one kind of transaction, the
# next round with another one; three rounds have all cells. BRAID_ROUNDS says
# how many rounds; BRAID_MATRIX=all puts all cells into each round, and any other
# value, a regular expression, those whose names it matches.
use strict;
use warnings;
use Braid::Matrix;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $wanted = $ENV{BRAID_MATRIX} // '';
my ($cells, $skipped) = Braid::Matrix::all_cells();

note sprintf '%d cells', scalar @$cells;
note "$skipped->{$_} skipped: $_" for sort keys %$skipped;
my %covered;
$covered{ $_->{number} }++ for map { Braid::Matrix::cells_of_round($cells, $_) } 0 .. 2;
is(scalar keys %covered, scalar @$cells, 'three rounds have all cells');

my $matrix = Braid::Matrix->new;
my $failures = 0;
for my $round (0 .. $rounds - 1)
{
	my @run =
	    $wanted eq 'all' ? @$cells
	  : $wanted ne '' ? grep { $_->{name} =~ /$wanted/ } @$cells
	  : Braid::Matrix::cells_of_round($cells, $round);
	my $began = time;
	for my $cell (@run)
	{
		my $cell_began = time;
		my @complaints = $matrix->run($cell);
		ok(!@complaints, $cell->{name}) or diag join "\n", @complaints;
		note sprintf '%.2f s', time - $cell_began if $ENV{BRAID_MATRIX_TIMES};
		next if !@complaints;
		BAIL_OUT('too many cells fail') if ++$failures >= 10;
	}
	note sprintf 'round %d: %d cells in %.0f s', $round + 1, scalar @run, time - $began;
}
for my $name ($matrix->{cluster}->names)
{
	my $log = PostgreSQL::Test::Utils::slurp_file($matrix->{cluster}->node($name)->logfile);
	my @bad = grep { /TRAP|PANIC|terminated by signal (?!9\b)/ } split /\n/, $log;
	is("@bad", '', "$name: no process has failed by itself");
}
done_testing();
