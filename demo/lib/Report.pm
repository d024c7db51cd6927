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
	my $line = sprintf '%6.1f s  %s  %3.0f%%  %4.0f/s, %d waiting, %s in doubt; in the air: %s; %s',
	  time - $self->{began}, $now{date}, 100 * $now{done} / $now{of}, $self->_rate($now{done}),
	  @now{qw(waiting in_doubt in_use what)};
	print $self->{tty} ? "\r\e[K\e[?7l$line\e[?7h" : "$line\n";    # cut, not wrapped
	$self->{open} = $self->{tty};
	return;
}

# Per second, over the last few seconds.
sub _rate
{
	my ($self, $done) = @_;
	my $recent = $self->{recent} //= [];
	push @$recent, [ time, $done ];
	shift @$recent while @$recent > 2 && $recent->[0][0] < time - 5;
	my $seconds = $recent->[-1][0] - $recent->[0][0];
	return $seconds > 0 ? ($done - $recent->[0][1]) / $seconds : 0;
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

sub heading
{
	my ($self, $text) = @_;
	$self->end_progress;
	print "\n$text\n", '-' x length $text, "\n";
	return;
}

# Columns of numbers are flushed right.
sub table
{
	my ($self, $columns, @rows) = @_;
	my @format;
	for my $i (0 .. $#$columns)
	{
		my $width = max map { length($_->[$i] // '-') } $columns, @rows;
		my $is_text = grep { ($_->[$i] // 0) !~ /^-?[\d.]+$/ } @rows;
		push @format, $is_text ? "%-${width}s" : "%${width}s";
	}
	printf '  ' . join('   ', @format) . "\n", map { $_ // '-' } @$_[ 0 .. $#format ] for $columns, @rows;
	return;
}

my %kinds = (depart => 'departure: airport, hub', land => 'landing: hub, airport', ferry => 'move: airport, airport, hub');

sub _speed
{
	my ($self, $traffic) = @_;
	my $latencies = $traffic->{latencies};
	my @rows;
	for my $kind (grep { $latencies->{$_} } qw(depart land ferry))
	{
		push @rows, [ $kinds{$kind}, _quantiles(@{ $latencies->{$kind} }) ];
	}
	push @rows, [ 'all', _quantiles(map { @$_ } values %$latencies) ];
	$self->table([ 'response time, ms', 'number', 'median', 'p95', 'p99', 'longest' ], @rows);
	return;
}

sub _quantiles
{
	my @sorted = sort { $a <=> $b } @_;
	return scalar @sorted, map { sprintf '%.1f', 1000 * $sorted[ $_ * $#sorted ] } 0.5, 0.95, 0.99, 1;
}

# Lines of the hub's log, and what they leave unsaid.
sub _recovery
{
	my ($log, $nothing, @gids) = @_;
	print '  ', s/^.*? LOG:\s*//r, "\n" for @$log;
	print "  (nothing was left to recovery)\n" unless @$log || @gids;
	for my $gid (@gids)
	{
		print "  $nothing \"$gid\"\n" unless grep { /"\Q$gid\E[":]/ } @$log;
	}
	return;
}

# What clients were told, the most frequent first; without the socket's path.
sub _errors
{
	my ($failures) = @_;
	for my $message (sort { $failures->{$b} <=> $failures->{$a} || $a cmp $b } keys %$failures)
	{
		my $text = $message =~ s/connection to server on socket "[^"]*" failed: //r =~ s/ Is the server running.*//r;
		printf "  %3d x %s\n", $failures->{$message}, $text =~ s/\n/\n        /gr;
	}
	return;
}

sub _airport_crash
{
	my ($self, %r) = @_;
	my @gids = map { $_->[0] } @{ $r{in_doubt} };

	$self->heading('The crash of EWR');
	printf "In doubt until it was back: %d (committed at the hub, EWR could not be told). The hub's log:\n", scalar @gids;
	_recovery($r{airport_log}, 'EWR had committed it, only its answer was lost:', @gids);
	printf "COMMITs that returned with a warning that EWR does not have it yet: %d. Errors that clients got: %d\n",
	  $r{traffic}{warned}, sum0 values %{ $r{traffic}{failures} };
	_errors($r{traffic}{failures});
	return;
}

sub _hub_crash
{
	my ($self, %r) = @_;
	my $traffic = $r{traffic};
	my @gids = map { $_->{gid} } @{ $r{orphans} };

	$self->heading('The crash of the hub');
	printf "In doubt until it was back: %d (prepared at airports, which do not know the outcome). The hub's log:\n", scalar @gids;
	_recovery($r{hub_log}, 'not in the log:', @gids);
	printf "Clients that lost the connection before COMMIT: %d, they repeated. During COMMIT: %d, they looked;\n"
	  . "%d found the transaction booked, %d did not, and repeated it.\n",
	  map { $_ // 0 } @{ $traffic->{lost} }{ 'before COMMIT', 'during COMMIT' }, @$traffic{ 'booked', 'repeated' };
	return;
}

sub results
{
	my ($self, %r) = @_;
	my ($traffic, $timetable) = @r{ 'traffic', 'timetable' };

	$self->heading('What was done');
	printf "%d flights, until %s, by %d clients in %.1f s: %d transactions, %d of them over two or three servers.\n",
	  $timetable->flights, Timetable::timestamp($traffic->simulated_time), $r{clients}, $r{duration},
	  $traffic->done, $traffic->count_global;
	printf "While all was well, %.0f of these a second, all of it durable (fsync and synchronous_commit on).\n\n",
	  $r{calm}{transactions} / ($r{calm}{seconds} || 1);
	$self->_speed($traffic);
	$self->_airport_crash(%r);
	$self->_hub_crash(%r);

	$self->heading('From the continuous views: the busiest routes, the worst hours, aircraft in use (delays in minutes)');
	$self->table([ 'from', 'to', 'flights', 'mean arrival delay', 'longest' ], @{ $r{routes} });
	print "\n";
	$self->table([ 'carrier', 'hour', 'departures', 'mean delay', 'longest' ], @{ $r{hours} });
	print "\n";
	$self->table([ 'airport', 'on its node', 'in the air from there' ], @{ $r{places} });

	$self->checks('Checks (views are compared by braid.verify, and by EXCEPT ALL both ways)');
	return;
}

# All checks, and whether they hold.
sub checks
{
	my ($self, $title) = @_;
	$self->heading($title);
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
