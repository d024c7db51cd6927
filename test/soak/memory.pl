# The capture worker keeps to its memory when ten million rows come at once.
use strict;
use warnings;

$ENV{BRAID_BURST} //= 10_000_000;
exec $^X, map({ "-I$_" } @INC), './test/tap/260_capture_memory.pl' or die $!;
