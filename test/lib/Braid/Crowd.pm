# Braid::Crowd: clients in processes of their own, which note what they see.
#
#   my ($files, $failed) = Braid::Crowd::play(6, sub { my ($number, $log) = @_; print $log ... }, sub { ... kill something ... });
#
# Each has a file to write to and random numbers of its own. The second sub is called a few
# times a second while there are clients left. Returns the names of the files, in the order of
# the clients, and how many clients have died.
package Braid::Crowd;

use strict;
use warnings;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

sub play
{
	my ($clients, $client, $disturb) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @files = map { "$dir/$_" } 1 .. $clients;
	my @left = map { start($_, $files[ $_ - 1 ], $client) } 1 .. $clients;
	my $failed = 0;
	while (@left)
	{
		sleep 0.2;
		for my $pid (splice @left)
		{
			if (waitpid($pid, POSIX::WNOHANG) == 0) { push @left, $pid; }
			elsif ($?) { $failed++; }
		}
		$disturb->() if @left && $disturb;
	}
	return (\@files, $failed);
}

sub start
{
	my ($number, $file, $client) = @_;
	my $pid = fork // die $!;
	return $pid if $pid;
	srand($$ * 1000 + $number);
	eval {
		open my $log, '>', $file or die "$file: $!";
		$client->($number, $log);
		close $log or die "$file: $!";
		1;
	} or warn $@;
	POSIX::_exit($@ ? 1 : 0); # not to run the test's own END blocks
}

# The lines of all files.
sub lines { my ($files) = @_; return map { split /\n/, PostgreSQL::Test::Utils::slurp_file($_) } @$files; }

1;
