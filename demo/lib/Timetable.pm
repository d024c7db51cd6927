# Timetable: the events of the first flights of 2013, in the order of time.
#
# Each aircraft is in one place at any time. The data are departures from New
# York only, so an aircraft that has landed elsewhere is listed at the airport
# that it left, and moved to another one ("ferry") where its next departure
# needs that.
#
#   depart  airport -> in the air
#   land    in the air -> airport
#   ferry   airport -> another airport
#   cancel  nothing moves
#
# The replay ends with its last departure; who is in the air then stays there.
package Timetable;

use strict;
use warnings;
use POSIX qw(strftime);
use Time::Local qw(timegm);

use constant {
	SORT_BITS => 2**21,     # more than there are events
	NO_ARRIVAL => 720,      # minutes, where the data do not say when it arrived
	FERRY_AHEAD => 45,      # minutes before the departure
};

my @columns = qw(scheduled delay minutes arrival_delay carrier flight tailnum origin dest distance air_time);
my $new_year = timegm(0, 0, 0, 1, 0, 2013);

# file: flights.csv.xz; n: how many flights
sub new
{
	my ($class, $file, $n) = @_;
	my $self = bless { lines => [], kinds => [], flights => [], keys => [], from => {}, first => {},
		place => {}, position => 0 }, $class;
	$self->_load($file, $n);
	$self->_find_end;
	return $self;
}

sub flights { my ($self) = @_; return scalar @{ $self->{lines} }; }
sub events { my ($self) = @_; return scalar @{ $self->{keys} }; }

# Where each aircraft is before the first event, and after the last one.
sub first_places { my ($self) = @_; return $self->{first}; }
sub last_places { my ($self) = @_; return $self->{place}; }

# How many events of a kind there are.
sub count { my ($self, $kind) = @_; return $self->{count}{$kind} // 0; }

# The next event, or nothing at the end.
sub next
{
	my ($self) = @_;
	my $key = $self->{keys}[ $self->{position}++ ] // return;
	return $self->_event($key);
}

# Minutes since the start of 2013, as SQL wants them.
sub timestamp
{
	my ($minutes) = @_;
	return strftime('%Y-%m-%d %H:%M', gmtime $new_year + 60 * $minutes);
}

sub _event
{
	my ($self, $key) = @_;
	my $number = $key % SORT_BITS;
	my $id = $self->{flights}[$number];
	my %event = (kind => $self->{kinds}[$number], id => $id, time => int($key / SORT_BITS));
	@event{@columns} = split /,/, $self->{lines}[ $id - 1 ], -1;
	$event{scheduled} = timestamp($self->_scheduled($event{scheduled}));
	$event{from} = $self->{from}{$id} if $event{kind} eq 'ferry';
	return \%event;
}

sub _scheduled
{
	my ($self, $text) = @_;
	my ($date, $hour, $minute) = unpack 'A5xA2xA2', $text;
	my $day = $self->{days}{$date} //= do {
		my ($month, $mday) = split /-/, $date;
		(timegm(0, 0, 0, $mday, $month - 1, 2013) - $new_year) / 60;
	};
	return $day + 60 * $hour + $minute;
}

sub _add
{
	my ($self, $kind, $id, $time) = @_;
	push @{ $self->{keys} }, $time * SORT_BITS + @{ $self->{kinds} };
	push @{ $self->{kinds} }, $kind;
	push @{ $self->{flights} }, $id;
	return;
}

# Events are added in their order for each aircraft, and never earlier than the
# one before; sorting by time and then by number keeps that.
sub _load
{
	my ($self, $file, $n) = @_;
	my %last;    # by aircraft: id, origin and time of arrival of its last flight
	open my $csv, '-|', 'xz', '-dc', $file or die "could not run xz: $!\n";
	readline $csv;
	while ($n-- > 0 && defined(my $line = readline $csv))
	{
		chomp $line;
		push @{ $self->{lines} }, $line;
		my $id = @{ $self->{lines} };
		my ($scheduled, $delay, $minutes, $tailnum, $origin) = (split /,/, $line)[ 0, 1, 2, 6, 7 ];
		my $time = $self->_scheduled($scheduled);
		if ($delay eq '')
		{
			$self->_add('cancel', $id, $time);
			next;
		}
		$time += $delay;
		if (my $before = $last{$tailnum})
		{
			my $landed = $before->{lands} < $time ? $before->{lands} : $time;
			$self->_add('land', $before->{id}, $landed);
			if ($before->{origin} ne $origin)
			{
				$self->{from}{$id} = $before->{origin};
				$self->_add('ferry', $id, $landed > $time - FERRY_AHEAD ? $landed : $time - FERRY_AHEAD);
			}
		}
		$self->{first}{$tailnum} //= $origin;
		$self->_add('depart', $id, $time);
		$last{$tailnum} = { id => $id, origin => $origin, lands => $time + ($minutes || NO_ARRIVAL) };
		$self->{end} = $time;
	}
	close $csv;
	die "$file has no flights\n" unless @{ $self->{lines} };
	$self->_add('land', $_->{id}, $_->{lands}) for map { $last{$_} } sort keys %last;
	return;
}

sub _find_end
{
	my ($self) = @_;
	my $end = ($self->{end} + 1) * SORT_BITS;
	my %place = %{ $self->{first} };
	$self->{keys} = [ grep { $_ < $end } sort { $a <=> $b } @{ $self->{keys} } ];
	for my $key (@{ $self->{keys} })
	{
		my $event = $self->_event($key);
		$self->{count}{ $event->{kind} }++;
		$place{ $event->{tailnum} } = $event->{kind} eq 'depart' ? 'in the air' : $event->{origin}
		  if $event->{kind} ne 'cancel';
	}
	$self->{place} = \%place;
	return;
}

1;
