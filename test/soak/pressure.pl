# The worker stands still for two minutes under full load, and catches up.
use strict;
use warnings;

$ENV{BRAID_STOPPED_SECONDS} //= 120;
exec $^X, map({ "-I$_" } @INC), './test/tap/261_capture_pressure.pl' or die $!;
