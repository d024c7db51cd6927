# Braid::Memory: what a process takes.
package Braid::Memory;

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use POSIX ();
use Exporter 'import';
our @EXPORT = qw(peak_during);

# The most memory of its own, in MB, that a process has while something is done:
# what it shares with other processes does not count.
sub peak_during
{
	my ($pid, $something) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/peak';
	my $watcher = fork // die $!;
	if ($watcher == 0)
	{
		my ($peak, $done) = (0, 0);
		local $SIG{TERM} = sub { $done = 1 };
		while (!$done)
		{
			open my $status, '<', "/proc/$pid/status" or last;
			my ($kb) = join('', <$status>) =~ /^RssAnon:\s+(\d+)/m;
			$peak = $kb if $kb > $peak;
			select undef, undef, undef, 0.02;
		}
		open my $out, '>', $file or die $!;
		print $out $peak;
		close $out;
		POSIX::_exit(0);
	}
	$something->();
	kill 'TERM', $watcher;
	waitpid $watcher, 0;
	return PostgreSQL::Test::Utils::slurp_file($file) / 1024;
}

1;
