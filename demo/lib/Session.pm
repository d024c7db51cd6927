# Session: a client session of a PostgreSQL server, as any application has one.
#
# It speaks the simple query protocol over a Unix socket and never blocks, so
# that one process can play several clients:
#
#   $session->send('BEGIN', sub { my ($result) = @_; ... });
#   Session::serve($seconds, @sessions);   # reads answers, calls the callbacks
#
# A result has the rows, the command tag, the error and the notices (each a
# hash of the protocol's one-letter fields), the transaction status of the
# session (I, T, E), and "lost" if the connection ended before the answer.
package Session;

use strict;
use warnings;
use IO::Socket::UNIX;
use IO::Select;
use Time::HiRes qw(time);

sub new
{
	my ($class, $socket, $application) = @_;
	return bless { path => $socket, application => $application, state => 'closed' }, $class;
}

sub is_ready { my ($self) = @_; return $self->{state} eq 'ready'; }
sub is_closed { my ($self) = @_; return $self->{state} eq 'closed'; }

# Begins to connect. The callback gets a result: without "lost", it is ready.
sub open
{
	my ($self, $callback) = @_;
	my $startup = pack('N', 196608) . join("\0", user => 'postgres', database => 'postgres',
		application_name => $self->{application}) . "\0\0";

	$self->{input} = '';
	$self->_expect($callback);
	$self->{handle} = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $self->{path})
	  or return $self->_lose;
	return $self->_write(pack('N', 4 + length $startup) . $startup);
}

sub send
{
	my ($self, $sql, $callback) = @_;
	die "session is not ready for: $sql\n" unless $self->is_ready;
	$self->_expect($callback);
	return $self->_write('Q' . pack('N', 5 + length $sql) . "$sql\0");
}

sub close
{
	my ($self) = @_;
	$self->{handle}->close if $self->{handle};
	delete @$self{ 'handle', 'callback' };
	$self->{state} = 'closed';
	return;
}

# Waits until it is connected: true if it is.
sub connect
{
	my ($self) = @_;
	my $result;
	$self->open(sub { $result = shift; });
	serve(1, $self) until $result;
	return $self->is_ready;
}

# Waits for the answer; returns the rows, or dies with the error.
sub query
{
	my ($self, $sql) = @_;
	my $result;
	die "could not connect to $self->{path}: $self->{result}{error}{M}\n" if $self->is_closed && !$self->connect;
	$self->send($sql, sub { $result = shift; });
	serve(1, $self) until $result;
	die "$result->{error}{M}\n\tin: $sql\n" if $result->{error};
	return @{ $result->{rows} };
}

# The first column of the first row.
sub value
{
	my ($self, $sql) = @_;
	my ($row) = $self->query($sql);
	return $row ? $row->[0] : undef;
}

# Waits at most so many seconds for something to arrive on any of the sessions,
# and handles what is there.
sub serve
{
	my ($seconds, @sessions) = @_;
	my @connected = grep { $_->{handle} } @sessions;
	if (!@connected)
	{
		select undef, undef, undef, $seconds;
		return;
	}
	my %by_handle = map { $_->{handle} => $_ } @connected;
	my @ready = map { $by_handle{$_} } IO::Select->new(map { $_->{handle} } @connected)->can_read($seconds);
	$_->_read for grep { $_->{handle} } @ready;
	return;
}

sub _expect
{
	my ($self, $callback) = @_;
	$self->{state} = 'busy';
	$self->{callback} = $callback;
	$self->{result} = { rows => [], notices => [] };
	return;
}

sub _answer
{
	my ($self, $state) = @_;
	my $callback = delete $self->{callback};
	$self->{state} = $state;
	$callback->($self->{result}) if $callback;
	return;
}

sub _lose
{
	my ($self) = @_;
	$self->{result}{lost} = 1;
	$self->{result}{error} //= { C => '08006', M => "no connection: $!" };
	$self->{handle}->close if $self->{handle};
	delete $self->{handle};
	return $self->_answer('closed');
}

sub _write
{
	my ($self, $data) = @_;
	local $SIG{PIPE} = 'IGNORE';
	while (length $data)
	{
		my $n = syswrite $self->{handle}, $data;
		return $self->_lose unless defined $n;
		substr($data, 0, $n) = '';
	}
	return;
}

sub _read
{
	my ($self) = @_;
	return $self->_lose unless sysread $self->{handle}, $self->{input}, 65536, length $self->{input};

	# each message: a letter, its length without the letter, its content
	while (length $self->{input} >= 5)
	{
		my ($type, $length) = unpack 'aN', $self->{input};
		last if length $self->{input} < 1 + $length;
		my $content = substr $self->{input}, 5, $length - 4;
		substr($self->{input}, 0, 1 + $length) = '';
		$self->_message($type, $content);
		last unless $self->{handle};
	}
	return;
}

sub _message
{
	my ($self, $type, $content) = @_;
	my $result = $self->{result};

	if ($type eq 'Z')
	{
		$result->{status} = $content;
		$self->_answer('ready');
	}
	elsif ($type eq 'D')
	{
		my ($n, $rest) = unpack 'na*', $content;
		my @row;
		for (1 .. $n)
		{
			my $length = unpack 'l>', $rest;
			push @row, $length < 0 ? undef : substr $rest, 4, $length;
			substr($rest, 0, 4 + ($length < 0 ? 0 : $length)) = '';
		}
		push @{ $result->{rows} }, \@row;
	}
	elsif ($type eq 'C') { $result->{tag} = unpack 'Z*', $content; }
	elsif ($type eq 'E') { $result->{error} = _fields($content); }
	elsif ($type eq 'N') { push @{ $result->{notices} }, _fields($content); }
	elsif ($type eq 'R' && unpack('N', $content) != 0)
	{
		die "the server at $self->{path} wants a password\n";
	}
	return;
}

sub _fields
{
	my ($content) = @_;
	return { map { substr($_, 0, 1) => substr $_, 1 } grep { length } split /\0/, $content };
}

1;
