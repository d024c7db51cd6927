# Report: what the demonstration prints.
package Report;

use strict;
use warnings;
use List::Util qw(max sum0);
use Time::HiRes qw(time);

sub new
{
	my ($class) = @_;
	return bless { tty => -t STDOUT, next => 0, began => time, checks => [], wrong => 0 }, $class;
}

sub failed { my ($self) = @_; return $self->{wrong} > 0; }

sub say
{
	my ($self, $text) = @_;
	$self->end_progress;
	print "$text\n";
	return;
}

# Something that happened, with its time.
sub event
{
	my ($self, $text) = @_;
	return $self->say(sprintf '%6.1f s  %s', time - $self->{began}, $text);
}

# One line that is updated, or a line every few seconds if this is no terminal.
sub progress
{
	my ($self, %now) = @_;
	return if time < $self->{next};
	$self->{next} = time + ($self->{tty} ? 0.25 : 4);
	my $line = sprintf '%6.1f s  %s  %3.0f%%  %6d done, %4.0f/s, %d waiting, in doubt: %s | in the air: %s | %s',
	  time - $self->{began}, @now{qw(date)}, 100 * $now{share}, @now{qw(done rate waiting in_doubt in_use what)};
	print $self->{tty} ? "\r\e[K" . substr($line, 0, ($ENV{COLUMNS} // 150) - 1) : "$line\n";
	$self->{open} = $self->{tty};
	return;
}

sub end_progress
{
	my ($self) = @_;
	print "\r\e[K" if delete $self->{open};
	return;
}

# A check has held if nothing is given as wrong.
sub check
{
	my ($self, $what, @wrong) = @_;
	push @{ $self->{checks} }, [ $what, @wrong ];
	$self->{wrong}++ if @wrong;
	return;
}

sub _quantile
{
	my ($share, @sorted) = @_;
	return 1000 * ($sorted[ $share * $#sorted ] // 0);
}

sub _heading
{
	my ($text) = @_;
	print "\n$text\n", '-' x length $text, "\n";
	return;
}

sub _table
{
	my ($columns, @rows) = @_;
	my @width = map { my $i = $_; max map { length($_->[$i] // '-') } $columns, @rows } 0 .. $#$columns;
	for my $row ($columns, @rows)
	{
		my @cells = map { my $cell = $row->[$_] // '-'; $rows[0] && ($rows[0][$_] // '') =~ /^-?[\d.]+$/
			? sprintf "%*s", $width[$_], $cell : sprintf "%-*s", $width[$_], $cell } 0 .. $#width;
		print '  ', join('   ', @cells) =~ s/\s+$//r, "\n";
	}
	return;
}

# gid without the coordinator's identity, which is the same in all.
sub _short { my ($gid) = @_; return $gid; }

sub results
{
	my ($self, %r) = @_;
	my $traffic = $r{traffic};
	my @sorted = sort { $a <=> $b } @{ $traffic->latencies };

	$self->end_progress;
	_heading('What was done');
	printf "%d flights from %s to %s, by %d clients, in %.1f s: %d transactions, %d of them global.\n",
	  $r{timetable}->flights, '2013-01-01', substr(Timetable::timestamp($traffic->simulated_time), 0, 10),
	  $r{clients}, $r{duration}, $traffic->done, scalar @sorted;
	printf "Undisturbed: %.0f global transactions per second, on hub and airport(s), fsync on everywhere.\n",
	  $r{calm}{transactions} / ($r{calm}{seconds} || 1);
	printf "Response time from BEGIN to the end of COMMIT: median %.1f ms, p95 %.1f ms, p99 %.1f ms, longest %.0f ms.\n",
	  _quantile(0.5, @sorted), _quantile(0.95, @sorted), _quantile(0.99, @sorted), _quantile(1, @sorted);

	_heading('EWR is killed while it commits');
	printf "%d transaction(s) were committed at the hub, but EWR could not be told: in doubt.\n", scalar @{ $r{unfinished} };
	print "  $_->[0]  $_->[1]\n" for @{ $r{unfinished} };
	my $failures = $traffic->{failures};
	print "Clients that wrote to EWR meanwhile were told so:\n";
	for my $message (sort { $failures->{$b} <=> $failures->{$a} } keys %$failures)
	{
		printf "  %3d x %s\n", $failures->{$message}, $message =~ s/\n/\n        /gr;
	}
	printf "%d COMMIT(s) returned with the warning \"committed, but not yet on all servers\".\n", $traffic->{warned};

	_heading('The hub is killed while clients commit');
	printf "%d transaction(s) were prepared at airports without anybody who knew what to do with them.\n", scalar @{ $r{orphans} };
	print "  $_->{gid}  at $_->{server}\n" for @{ $r{orphans} };
	printf "Of the clients, %d lost the connection before COMMIT, %d during COMMIT: of these %d found their event booked, and %d repeated it.\n",
	  $traffic->{lost}{'before COMMIT'} // 0, $traffic->{lost}{'during COMMIT'} // 0, $traffic->{booked}, $traffic->{repeated};

	_heading("How it was settled, in the hub's log");
	print "  ", s/^.*? LOG:\s*//r, "\n" for @{ $r{recovery} };
	print "  (nothing was left to recovery)\n" unless @{ $r{recovery} };

	_heading('From the continuous views');
	_table([ 'from', 'to', 'flights', 'mean delay', 'longest' ], @{ $r{routes} });
	print "\n";
	_table([ 'carrier', 'hour', 'departures', 'mean delay', 'longest' ], @{ $r{hours} });
	print "\n";
	_table([ 'airport', 'on the ground', 'in the air from there' ], @{ $r{places} });

	_heading('Checks');
	for my $check (@{ $self->{checks} })
	{
		my ($what, @wrong) = @$check;
		print @wrong ? "  WRONG  $what\n" : "  ok     $what\n";
		print "           $_\n" for splice @wrong, 0, 5;
		printf "           and %d more\n", scalar @wrong if @wrong;
	}
	printf "\n%s\n", $self->{wrong} ? "$self->{wrong} of " . @{ $self->{checks} } . ' checks have failed.'
	  : 'All ' . @{ $self->{checks} } . ' checks hold.';
	return;
}

1;
