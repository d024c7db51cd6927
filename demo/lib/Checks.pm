# Checks: whether the servers hold what the timetable says.
#
# Every node is asked by a session of its own, not through the hub.
package Checks;

use strict;
use warnings;

# node: sessions by name of the server, of which "hub" is one; views: the
# queries of the continuous views, by name
sub new
{
	my ($class, %self) = @_;
	return bless {%self}, $class;    # node, views, timetable, report
}

# What must hold at any time at which nothing is under way.
sub at_rest
{
	my ($self, $when) = @_;
	my $report = $self->{report};
	$report->check("$when: every aircraft is at exactly one place", $self->_misplaced);
	$report->check("$when: no prepared transaction is left on any of the four servers",
		map { "$_->{gid} on $_->{server}" } $self->prepared);
	$self->_view($when, $_) for sort keys %{ $self->{views} };
	return;
}

# What must hold after the last event.
sub at_the_end
{
	my ($self) = @_;
	my $timetable = $self->{timetable};
	$self->at_rest('at the end');
	$self->{report}->check('every aircraft is where its last event has left it', $self->_elsewhere);
	$self->_number('flights are booked, each once', $timetable->flights, 'SELECT count(*) FROM flights');
	$self->_number('of them are cancelled', $timetable->count('cancel'), 'SELECT count(*) FROM flights WHERE delay IS NULL');
	$self->_number('have landed', $timetable->count('land'), 'SELECT count(*) FROM flights WHERE landed IS NOT NULL');
	$self->_number('moves between airports are booked, each once', $timetable->count('ferry'), 'SELECT count(*) FROM ferries');
	return;
}

# Prepared transactions on all nodes, or on those named.
sub prepared
{
	my ($self, @names) = @_;
	return map {
		my $name = $_;
		map { { server => $name, gid => $_->[0] } }
		  $self->{node}{$name}->query('SELECT gid FROM pg_prepared_xacts ORDER BY gid');
	} @names ? @names : sort keys %{ $self->{node} };
}

# The names of the nodes that have it, by aircraft.
sub _places
{
	my ($self) = @_;
	my %places;
	for my $name (sort keys %{ $self->{node} })
	{
		push @{ $places{ $_->[0] } }, $name for $self->{node}{$name}->query('SELECT tailnum FROM aircraft');
	}
	return \%places;
}

sub _misplaced
{
	my ($self) = @_;
	my $places = $self->_places;
	my @wrong;
	for my $tail (sort keys %{ $self->{timetable}->first_places })
	{
		my @at = @{ delete $places->{$tail} // [] };
		push @wrong, "$tail is at " . (@at ? join ' and ', @at : 'no place') if @at != 1;
	}
	return @wrong, map { "$_ is unknown" } sort keys %$places;
}

sub _elsewhere
{
	my ($self) = @_;
	my $places = $self->_places;
	my $expected = $self->{timetable}->last_places;
	my @wrong = grep {
		my $node = $expected->{$_} eq 'in the air' ? 'hub' : lc $expected->{$_};
		($places->{$_}[0] // '') ne $node
	} sort keys %$expected;
	return map { "$_ is not $expected->{$_}" } @wrong;
}

sub _number
{
	my ($self, $what, $expected, $sql) = @_;
	my $is = $self->{node}{hub}->value($sql);
	return $self->{report}->check("$expected $what", $is == $expected ? () : "there are $is");
}

# A continuous view against its query: as braid does it, and by plain SQL.
sub _view
{
	my ($self, $when, $view) = @_;
	my $hub = $self->{node}{hub};
	my @wrong;
	push @wrong, 'not up to date in time' unless $hub->value("SELECT braid.wait('$view')") eq 't';
	push @wrong, map { "$_->[0]: $_->[1]" } $hub->query("SELECT * FROM braid.verify('$view')");
	push @wrong, $self->_differences("SELECT * FROM $view", $self->{views}{$view});
	my $rows = $hub->value("SELECT count(*) FROM $view");
	$self->{report}->check("$when: view $view has $rows rows, 0 differences from its query", @wrong);
	return;
}

# Rows that one query returns and the other does not, in one snapshot.
sub _differences
{
	my ($self, $one, $other) = @_;
	my @rows = $self->{node}{hub}->query("($one EXCEPT ALL ($other)) UNION ALL (($other) EXCEPT ALL $one)");
	return map { 'differs: ' . join ', ', map { $_ // 'null' } @$_ } @rows;
}

1;
