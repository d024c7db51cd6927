# Braid::Client: a session that tells exactly what the server has said.
#
#   my $client = Braid::Client->new($node);            # dies if it is refused
#   my $answer = $client->run('SELECT 1');             # waits for the answer
#   $client->send('COMMIT'); ... ; $answer = $client->wait($seconds);
#
# An answer is a hash: tags (of the commands that were completed), rows (of
# strings), error and notices (hashes with the fields of the protocol: S, C, M,
# D, ...), lost (the connection ended before the answer did). psql would do for
# most tests; this is for those in which it matters what was told before a
# connection broke, and for those that ask so often that starting psql would be
# most of the work. It speaks the protocol's simple queries over a Unix socket,
# without a password.
package Braid::Client;

use strict;
use warnings;
use IO::Socket::UNIX;
use IO::Select;
use Time::HiRes qw(sleep time);

my $protocol = 3 << 16;

# new(node, { name => application name, database => ..., timeout => seconds }).
sub new
{
	my ($class, $node, $options) = @_;
	my $path = $node->host . '/.s.PGSQL.' . $node->port;
	my $socket = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";
	my $self = bless { socket => $socket, buffer => '', pid => 0, busy => 1 }, $class;
	my $body = pack 'N', $protocol;
	my %settings = (user => getpwuid($<) . '', database => $options->{database} // 'postgres',
		application_name => $options->{name} // 'test');
	$body .= "$_\0$settings{$_}\0" for sort keys %settings;
	$body .= "\0";
	$self->put(pack('N', 4 + length $body) . $body);
	my $answer = $self->wait($options->{timeout} // 10);
	die "no session: " . describe($answer) . "\n" if !$answer || $answer->{lost} || $answer->{error};
	return $self;
}

# The answer to a statement that has a session to itself; returns when the server's
# process has ended as well. Takes a quarter of psql's time.
sub once
{
	my ($class, $node, $sql) = @_;
	my $self = $class->new($node, { name => $ENV{PGAPPNAME}, timeout => 60 });
	my $answer = $self->run($sql, 3600);
	$self->leave;
	return $answer;
}

# A session, as soon as there can be one in which the statement succeeds.
sub insist
{
	my ($class, $node, $sql) = @_;
	for (1 .. 1200)
	{
		my $self = eval { $class->new($node) };
		my $answer = $self && $self->run($sql // 'SELECT 1', 120);
		return $self if $answer && !$answer->{error} && !$answer->{lost};
		sleep 0.05;
	}
	die "no session\n";
}

# Of the server's process.
sub pid { my ($self) = @_; return $self->{pid}; }

sub is_open { my ($self) = @_; return defined $self->{socket}; }

sub put
{
	my ($self, $bytes) = @_;
	return if !$self->{socket};
	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes)
	{
		my $n = syswrite $self->{socket}, $bytes;
		last if !defined $n; # what the server has said before is still to be read
		substr($bytes, 0, $n) = '';
	}
	return;
}

# Begins a query; its answer is to be waited for.
sub send
{
	my ($self, $sql) = @_;
	die "the session is busy\n" if $self->{busy};
	$self->{busy} = 1;
	$self->put('Q' . pack('N', 5 + length $sql) . "$sql\0");
	return;
}

# The answer, undef if it has not come after so many seconds.
sub wait
{
	my ($self, $seconds) = @_;
	my $deadline = time + ($seconds // 60);
	$self->{answer} //= { tags => [], rows => [], notices => [] };
	while (!$self->take_messages)
	{
		my $left = $deadline - time;
		return undef if $left < 0 || !IO::Select->new($self->{socket})->can_read($left);
		my $n = sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer};
		$self->close, last if !$n;
	}
	$self->{busy} = 0;
	my $answer = delete $self->{answer};
	$answer->{lost} = 1 if !$self->{socket};
	return $answer;
}

# Runs a query to its end; dies if that takes too long.
sub run
{
	my ($self, $sql, $seconds) = @_;
	return { tags => [], rows => [], notices => [], lost => 1 } if !$self->{socket};
	$self->send($sql);
	return $self->wait($seconds) // die "no answer to: $sql\n";
}

# The first column of the first row; dies on an error.
sub value
{
	my ($self, $sql, $seconds) = @_;
	my $answer = $self->run($sql, $seconds);
	die "$sql: " . describe($answer) . "\n" if $answer->{error} || $answer->{lost};
	return $answer->{rows}[0][0];
}

# Handles the messages that have come; true if the session is ready again.
sub take_messages
{
	my ($self) = @_;
	while (length $self->{buffer} >= 5)
	{
		my ($type, $length) = unpack 'aN', $self->{buffer};
		last if length $self->{buffer} < 1 + $length;
		my $body = substr $self->{buffer}, 5, $length - 4;
		substr($self->{buffer}, 0, 1 + $length) = '';
		return 1 if $type eq 'Z';
		$self->take_message($type, $body);
	}
	return 0;
}

sub take_message
{
	my ($self, $type, $body) = @_;
	my $answer = $self->{answer};
	if ($type eq 'C') { push @{ $answer->{tags} }, substr $body, 0, -1; }
	elsif ($type eq 'E') { $answer->{error} = parse_fields($body); }
	elsif ($type eq 'N') { push @{ $answer->{notices} }, parse_fields($body); }
	elsif ($type eq 'D') { push @{ $answer->{rows} }, parse_row($body); }
	elsif ($type eq 'K') { $self->{pid} = unpack 'N', $body; }
	elsif ($type eq 'R' && unpack('N', $body) != 0) { die "this server asks for a password\n"; }
	return;
}

sub parse_fields
{
	my ($body) = @_;
	my %fields;
	$fields{ substr $_, 0, 1 } = substr $_, 1 for grep { length } split /\0/, $body;
	return \%fields;
}

sub parse_row
{
	my ($body) = @_;
	my $n = unpack 'n', $body;
	my $at = 2;
	my @row;
	for (1 .. $n)
	{
		my $length = unpack 'l>', substr $body, $at, 4;
		$at += 4;
		push @row, $length < 0 ? undef : substr $body, $at, $length;
		$at += $length if $length > 0;
	}
	return \@row;
}

# An answer in words.
sub describe
{
	my ($answer) = @_;
	return 'no answer' if !$answer;
	my @words = @{ $answer->{tags} };
	push @words, "$_->{S} $_->{C} $_->{M}" for @{ $answer->{notices} };
	push @words, "$answer->{error}{S} $answer->{error}{C} $answer->{error}{M}" if $answer->{error};
	push @words, 'connection lost' if $answer->{lost};
	return join '; ', @words;
}

# The error of an answer in one line; undef if there is none.
sub complaint
{
	my ($answer) = @_;
	my $error = $answer->{error} // return undef;
	return "$error->{C} " . $error->{M} =~ s/\n.*//sr;
}

# Ends the session, and gives the server's process a second to end.
sub leave
{
	my ($self) = @_;
	$self->put(pack 'aN', 'X', 4);
	my $rest;
	1 while $self->{socket} && IO::Select->new($self->{socket})->can_read(1) && sysread $self->{socket}, $rest, 65536;
	$self->close;
	return;
}

sub close
{
	my ($self) = @_;
	close $self->{socket} if $self->{socket};
	$self->{socket} = undef;
	return;
}

1;
