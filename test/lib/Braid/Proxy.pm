# Braid::Proxy: a network between a coordinator and a participant that can be cut.
#
#   my $proxy = Braid::Proxy->new($node);     # listens on 127.0.0.1, $proxy->port
#   $proxy->set('stall');                     # returns when it is so
#
# Modes:
#   pass    everything goes through
#   stall   nothing does, in either direction, and new connections hang; all of
#           it arrives when the network passes again (a cable that was out)
#   drop    the same, but what was sent meanwhile is lost, and its connections
#           are reset when the network passes again (a firewall that has
#           forgotten them)
#   reset   connections are reset at once, and new ones too
#
# It is a process of its own, which ends with the test.
package Braid::Proxy;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);

sub new
{
	my ($class, $node) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 64, Proto => 'tcp')
	  or die "cannot listen: $!";
	my ($parent, $child) = IO::Socket::UNIX->socketpair(AF_UNIX(), SOCK_STREAM(), PF_UNSPEC()) or die $!;
	my $self = bless { port => $listener->sockport, control => $parent, owner => $$ }, $class;
	my $target = $node->host . '/.s.PGSQL.' . $node->port;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		# Not to run the test's own END blocks.
		eval { close $parent; serve($listener, $child, $target); 1 } or print STDERR "proxy: $@";
		POSIX::_exit(0);
	}
	$self->{pid} = $pid;
	close $child;
	close $listener;
	return $self;
}

sub port { my ($self) = @_; return $self->{port}; }

sub set
{
	my ($self, $mode) = @_;
	syswrite $self->{control}, "$mode\n";
	sysread($self->{control}, my $done, 1) or die 'the proxy has ended';
	return;
}

sub stop
{
	my ($self) = @_;
	return if !$self->{control} || $self->{owner} != $$;

	# Processes that were started since may have it open, too.
	syswrite $self->{control}, "end\n";
	close delete $self->{control};
	waitpid $self->{pid}, 0;
	return;
}

sub DESTROY { my ($self) = @_; local ($?, $!); $self->stop; return; }

# ---- the process

sub serve
{
	my ($listener, $control, $target) = @_;
	my %peer; # socket => the other end of its connection
	my %socket;
	my %deaf; # those whose end came while packets were dropped: nobody hears of it
	my $mode = 'pass';
	my $end = sub {
		my ($s, $hard) = @_;
		my $other = delete $peer{$s};
		delete $peer{$other} if $other;
		for my $end (grep { defined } $s, $other)
		{
			delete $socket{$end};
			delete $deaf{$end};
			setsockopt $end, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $hard;
			close $end;
		}
	};
	$SIG{PIPE} = 'IGNORE';
	for (;;)
	{
		my $select = IO::Select->new($control);
		$select->add($listener) if $mode eq 'pass' || $mode eq 'reset';
		$select->add(grep { !$deaf{$_} } values %socket) if $mode ne 'stall';
		for my $ready ($select->can_read)
		{
			if ($ready == $control)
			{
				return if !sysread $control, my $line, 100;
				chomp(my $wanted = $line);
				return if $wanted eq 'end';
				if ($wanted eq 'reset' || ($wanted eq 'pass' && $mode eq 'drop'))
				{
					my @all = values %socket; # which it changes
					$socket{$_} && $end->($_, 1) for @all;
				}
				$mode = $wanted;
				syswrite $control, '.';
				last;
			}
			elsif ($ready == $listener)
			{
				my $client = $listener->accept or next;
				my $server = $mode eq 'pass' ? IO::Socket::UNIX->new(Peer => $target) : undef;
				if (!$server)
				{
					$end->($client, 1);
					next;
				}
				setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1;
				$socket{$_} = $_ for $client, $server;
				$peer{$client} = $server;
				$peer{$server} = $client;
			}
			elsif ($socket{$ready})
			{
				my $n = sysread $ready, my $bytes, 65536;
				if ($mode eq 'drop')
				{
					$deaf{$ready} = 1 if !$n;
				}
				elsif (!$n || !forward($peer{$ready}, $bytes))
				{
					$end->($ready, 0);
				}
			}
		}
	}
	return;
}

sub forward
{
	my ($to, $bytes) = @_;
	while (length $bytes)
	{
		my $n = syswrite $to, $bytes;
		return 0 if !$n;
		substr($bytes, 0, $n) = '';
	}
	return 1;
}

1;
