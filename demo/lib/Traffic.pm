# Traffic: client sessions of the hub that play the events of a timetable.
#
# Events begin in the order of time, and those of one aircraft one after the
# other. An event is one transaction. One that fails is repeated; while an
# airport is down its events wait, and those of the others go on. If the
# connection is lost while COMMIT has no answer, the client looks whether the
# event is booked, and repeats it only if it is not: exactly once.
package Traffic;

use strict;
use warnings;
use List::Util qw(sum0);
use Session;
use Time::HiRes qw(time);

use constant {
	PROBE_AFTER => 1,       # seconds after which a server that was down is tried again
	RETRY_AFTER => 0.2,     # seconds after which another failure is repeated
	GIVE_UP_AFTER => 120,   # seconds in which an event must succeed
};

sub new
{
	my ($class, $timetable, @sessions) = @_;
	return bless {
		timetable => $timetable,
		clients => [ map { { session => $_, retry_at => 0 } } @sessions ],
		todo => {},         # by aircraft: its events that have begun to wait, the current one first
		runnable => [],     # events to be begun
		parked => {},       # by airport: events that wait for it
		down_until => {},   # by airport
		later => [],        # [time, event]: failed for another reason
		done => 0,
		latencies => {},    # by kind: seconds, of global transactions
		failures => {},     # by message
		booked => 0, repeated => 0, warned => 0,
	}, $class;
}

sub done { my ($self) = @_; return $self->{done}; }
sub simulated_time { my ($self) = @_; return $self->{time} // 0; }
sub waiting { my ($self) = @_; return sum0 map { scalar @$_ } values %{ $self->{parked} }; }
sub count_global { my ($self) = @_; return sum0 map { scalar @$_ } values %{ $self->{latencies} }; }
sub sessions { my ($self) = @_; return map { $_->{session} } @{ $self->{clients} }; }

# Transactions that are under way.
sub busy { my ($self) = @_; return scalar grep { $_->{event} } @{ $self->{clients} }; }

sub hold { my ($self, $hold) = @_; $self->{hold} = $hold; return; }

# Gives work to the sessions that have none.
sub give_work
{
	my ($self) = @_;
	my $now = time;
	$self->_wake($now);
	for my $client (@{ $self->{clients} })
	{
		my $session = $client->{session};
		if ($session->is_closed)
		{
			$self->_connect($client) if $now >= $client->{retry_at};
		}
		elsif ($session->is_ready && !$client->{event} && !$self->{hold})
		{
			my $event = $self->_next_event or next;
			$self->_begin($client, $event);
		}
	}
	return;
}

# ---------------------------------------------------------------- what to do next

# Events whose time to be tried again has come. One event is enough to find out
# whether an airport is up again.
sub _wake
{
	my ($self, $now) = @_;
	for my $airport (grep { $self->{down_until}{$_} <= $now } keys %{ $self->{down_until} })
	{
		my $event = shift @{ $self->{parked}{$airport} };
		if ($event)
		{
			$event->{probes} = $airport;
			unshift @{ $self->{runnable} }, $event;
			$self->{down_until}{$airport} = $now + GIVE_UP_AFTER;
		}
		else { delete $self->{down_until}{$airport}; }
	}
	my @later = @{ $self->{later} };
	$self->{later} = [ grep { $_->[0] > $now } @later ];
	unshift @{ $self->{runnable} }, map { $_->[1] } grep { $_->[0] <= $now } @later;
	return;
}

sub _next_event
{
	my ($self) = @_;
	for (;;)
	{
		my $event = shift @{ $self->{runnable} } // $self->_take_from_timetable // return;
		my ($down) = $event->{probes} ? () : grep { $self->{down_until}{$_} } $self->_airports($event);
		return $event unless $down;
		push @{ $self->{parked}{$down} }, $event;
	}
}

sub _take_from_timetable
{
	my ($self) = @_;
	while (my $event = $self->{timetable}->next)
	{
		$self->{time} = $event->{time};
		return $event if $event->{kind} eq 'cancel';
		my $queue = $self->{todo}{ $event->{tailnum} } //= [];
		push @$queue, $event;
		return $event if @$queue == 1;
	}
	return;
}

# Airports whose nodes the event writes to.
sub _airports
{
	my ($self, $event) = @_;
	return $event->{kind} eq 'cancel' ? () : grep { defined } @$event{ 'origin', 'from' };
}

sub _park
{
	my ($self, $airport, $event) = @_;
	delete $event->{probes};
	unshift @{ $self->{parked}{$airport} }, $event;
	$self->{down_until}{$airport} = time + PROBE_AFTER;
	return;
}

# ---------------------------------------------------------------- transactions

sub _literal { my ($value) = @_; return $value eq '' ? 'NULL' : "'" . $value =~ s/'/''/gr . "'"; }

# The statements of an event; each must have an effect on one row.
sub _statements
{
	my ($self, $event) = @_;
	my $kind = $event->{kind};
	my $tail = _literal($event->{tailnum});
	my $at = _literal(Timetable::timestamp($event->{time}));
	my $here = lc $event->{origin};

	my $book = 'INSERT INTO flights (id, scheduled, delay, carrier, flight, tailnum, origin, dest, distance) VALUES ('
	  . join(', ', map { _literal($_) } @$event{qw(id scheduled delay carrier flight tailnum origin dest distance)}) . ')';
	return $book if $kind eq 'cancel';
	return ('BEGIN', "DELETE FROM $here.aircraft WHERE tailnum = $tail",
		"INSERT INTO aircraft VALUES ($tail, $at)", $book, 'COMMIT') if $kind eq 'depart';
	return ('BEGIN', "DELETE FROM aircraft WHERE tailnum = $tail",
		"INSERT INTO $here.aircraft VALUES ($tail, $at)",
		"UPDATE flights SET landed = $at, arrival_delay = @{[ _literal($event->{arrival_delay}) ]}, "
		  . "air_time = @{[ _literal($event->{air_time}) ]} WHERE id = $event->{id}", 'COMMIT') if $kind eq 'land';
	my $from = lc $event->{from};
	return ('BEGIN', "DELETE FROM $from.aircraft WHERE tailnum = $tail",
		"INSERT INTO $here.aircraft VALUES ($tail, $at)",
		"INSERT INTO ferries VALUES ($event->{id}, $tail, '$event->{from}', '$event->{origin}', $at)", 'COMMIT');
}

# Shows a row if the event has happened.
sub _question
{
	my ($self, $event) = @_;
	return "SELECT FROM ferries WHERE id = $event->{id}" if $event->{kind} eq 'ferry';
	return "SELECT FROM flights WHERE id = $event->{id}"
	  . ($event->{kind} eq 'land' ? ' AND landed IS NOT NULL' : '');
}

sub _begin
{
	my ($self, $client, $event) = @_;
	$client->{event} = $event;
	$client->{statements} = [ $self->_statements($event) ];
	$client->{began} = time;
	$event->{first_try} //= $client->{began};
	die "$event->{kind} of flight $event->{id} does not succeed: $event->{last_error}\n"
	  if $client->{began} > $event->{first_try} + GIVE_UP_AFTER;
	return $self->_step($client);
}

sub _step
{
	my ($self, $client) = @_;
	my $sql = shift @{ $client->{statements} };
	$client->{session}->send($sql, sub { $self->_answer($client, $sql, shift); });
	return;
}

sub _answer
{
	my ($self, $client, $sql, $result) = @_;
	my $last = !@{ $client->{statements} };

	if ($result->{lost}) { $self->_lost($client, $last); }
	elsif ($result->{error}) { $self->_failed($client, $result); }
	elsif ($result->{tag} =~ / 0$/) { $self->_failed($client, { %$result, error => { M => 'the row is not there yet' } }); }
	elsif (!$last) { $self->_step($client); }
	elsif ($result->{tag} eq 'ROLLBACK') { die "COMMIT has rolled back without an error\n"; }
	else
	{
		$self->{warned} += grep { $_->{M} =~ /not yet on all servers/ } @{ $result->{notices} };
		push @{ $self->{latencies}{ $client->{event}{kind} } }, time - $client->{began} if $sql eq 'COMMIT';
		$self->_finish($client);
	}
	return;
}

sub _finish
{
	my ($self, $client) = @_;
	my $event = delete $client->{event};
	$self->{done}++;
	if (my $airport = $event->{probes})
	{
		unshift @{ $self->{runnable} }, @{ delete $self->{parked}{$airport} // [] };
		delete $self->{down_until}{$airport};
	}
	return if $event->{kind} eq 'cancel';
	my $queue = $self->{todo}{ $event->{tailnum} };
	shift @$queue;
	if (@$queue) { push @{ $self->{runnable} }, $queue->[0]; }
	else { delete $self->{todo}{ $event->{tailnum} }; }
	return;
}

# ---------------------------------------------------------------- failures

# The server says so: the transaction is rolled back.
sub _failed
{
	my ($self, $client, $result) = @_;
	my $event = delete $client->{event};
	my $error = $result->{error};
	my $text = join "\n", grep { defined } @$error{qw(M D W)};

	$event->{last_error} = $text;
	$self->{failures}{ join "\n", map { s/\s+/ /gr =~ s/braid:[\w:]+/braid:.../gr } grep { defined } @$error{qw(M D)} }++;
	my ($server) = $text =~ /server "(\w+)"/;
	my $probed = $event->{probes};
	if (defined $server || $probed)
	{
		$self->{down_until}{$probed} = time + PROBE_AFTER if $probed;
		$self->_park(defined $server ? uc $server : $probed, $event);
	}
	else { push @{ $self->{later} }, [ time + RETRY_AFTER, $event ]; }
	$client->{session}->send('ROLLBACK', sub { }) if $result->{status} ne 'I';
	return;
}

# The connection is lost. If COMMIT was not sent (or it was no transaction
# block), nothing has happened for certain; else we must ask.
sub _lost
{
	my ($self, $client, $last) = @_;
	$client->{retry_at} = time + RETRY_AFTER;
	$self->{lost}{ $last ? 'during COMMIT' : 'before COMMIT' }++;
	return if $last;
	push @{ $self->{later} }, [ $client->{retry_at}, delete $client->{event} ];
	return;
}

sub _connect
{
	my ($self, $client) = @_;
	my $connected = sub {
		my ($result) = @_;
		$client->{retry_at} = time + RETRY_AFTER;
		$self->_ask($client) if !$result->{lost} && $client->{event};
	};
	$client->{session}->open($connected);
	return;
}

sub _ask
{
	my ($self, $client) = @_;
	my $answered = sub {
		my ($result) = @_;
		if ($result->{error}) { $client->{retry_at} = time + RETRY_AFTER; }
		elsif (@{ $result->{rows} })
		{
			$self->{booked}++;
			$self->_finish($client);
		}
		else
		{
			$self->{repeated}++;
			$self->_begin($client, $client->{event});
		}
	};
	$client->{session}->send($self->_question($client->{event}), $answered);
	return;
}

1;
