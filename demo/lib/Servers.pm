# Servers: all servers of a demonstration. Whatever happens to it, none stays behind.
package Servers;

use strict;
use warnings;

my @all;
my $main;        # the process whose servers they are; those that it forks end in passing
my $stopped;     # by a signal
my $finished;    # with a report

# From now on these are stopped when the process ends. Only the first signal counts: a second one
# must not end the end.
sub stop_at_end
{
	@all = @_;
	$main = $$;
	$SIG{$_} = sub { _ignore_signals(); $stopped = 1; die "\nstopped\n"; } for qw(INT TERM HUP PIPE);
	return;
}

# Ends the demonstration, which has said all that there is to say.
sub finish
{
	my ($status) = @_;
	$finished = 1;
	exit $status;
}

sub _ignore_signals { $SIG{$_} = sub { } for qw(INT TERM HUP PIPE); return; }

END
{
	if (defined $main && $$ == $main)
	{
		my $status = $?;
		eval { _ignore_signals(); };
		_show_logs() unless $stopped || $finished;
		$_->stop for @all;
		$? = $status;
	}
}

# What the servers have to say of a failure, since their logs go with the folder.
sub _show_logs
{
	for my $server (@all)
	{
		my @lines = $server->log_lines(qr/./);
		my $first = @lines > 20 ? @lines - 20 : 0;
		print STDERR "\nThe end of the log of ", $server->name, ":\n", map { "\t$_\n" } @lines[ $first .. $#lines ];
	}
	return;
}

1;
