# Braid::History: what transactions have done to lists, and whether snapshot isolation allows it.
#
#   my $history = Braid::History->new;
#   $history->load(@files);
#   is(join("\n", $history->anomalies), '');
#
# A key has a list, to the end of which transactions append values, no value twice. So a list
# that was read tells which versions came before, in which order, and who wrote them; nothing
# has to be guessed. (The idea is Elle's: Kingsbury and Alvaro, 2020.) A history has a line for each
# transaction, in which those of a session are in their order:
#
#   SESSION OUTCOME OPERATION...
#
#   OUTCOME   ok, fail (it was rolled back), info (nobody was told)
#   a:K:V     it has appended V, a number, to the list of key K
#   r:K:V,V,  it has read this list
#
# and at its end lines "- final r:K:V,V, ...", which tell what was in the lists when all was over.
# Without one the longest list that was read is taken for a key.
#
# What is found, by name:
#   internal            a transaction does not see its own appends, or not the same list twice
#   G1a                 what was read was rolled back
#   G1b                 what was read was changed by its own transaction later
#   incompatible order  two lists of a key, of which none is the beginning of the other
#   garbage             a value that nobody, or more than one, has appended
#   lost append         a committed append is not in the final list
#   half committed      the same of a transaction of which nobody was told, with others there
#   G0, G1c, G-single, lost update, long fork
#                       a cycle that snapshot isolation forbids: see Braid::Cycles. It is a long fork if
#                       it has several rw, which then are not adjacent. Those with adjacent rw (write skew
#                       is one) are allowed.
# Reads of transactions that were rolled back have to be as good as others.
#
# It takes about 400 bytes of memory an operation.
package Braid::History;

use strict;
use warnings;
use Braid::Cycles;

my $nobody = 0xFFFFFFFF;

sub new
{
	my ($class) = @_;
	return bless {
		lines => [],     # of each transaction
		outcome => '',   # o, f, i: one for each transaction
		appends => {},   # key => (transaction, value), packed
		reads => {},     # key => (transaction, number of values), packed
		longest => {},   # key => the longest list read
		final => {},     # key => the list in the end
		odd => [],       # [transaction, key, list]: not the beginning of the longest, nor that of it
		versions => {},  # key => the writers of its list in the end, packed
		seen => {},      # transactions with no known outcome that were committed
		sessions => {},  # name => its last committed transaction
		next => '',      # the next transaction of the same session (0: none), for each, packed
		operations => 0,
		found => [],     # [name, text]
	}, $class;
}

sub load
{
	my ($self, @files) = @_;
	for my $file (@files)
	{
		open my $fh, '<', $file or die "$file: $!";
		while (my $line = <$fh>) { chomp $line; $self->add($line); }
		close $fh;
	}
	return;
}

sub add
{
	my ($self, $line) = @_;
	my ($session, $outcome, @operations) = split ' ', $line;
	@operations = map { [ split /:/, $_, 3 ] } @operations;
	if ($outcome eq 'final')
	{
		$self->{final}{ $_->[1] } = $_->[2] for @operations;
		return;
	}
	die "outcome \"$outcome\" of a transaction" if $outcome !~ /^(?:ok|fail|info)$/;
	my $t = @{ $self->{lines} };
	push @{ $self->{lines} }, $line;
	$self->{outcome} .= substr $outcome, 0, 1;
	$self->{operations} += @operations;
	my %own;   # what it has put behind each list
	my %found; # the list that it found
	for my $operation (@operations)
	{
		my ($type, $key, $what) = @$operation;
		if ($type eq 'a')
		{
			$self->{appends}{$key} .= pack 'LQ', $t, $what;
			$own{$key} .= "$what,";
			next;
		}
		my $list = without($what, $own{$key} // '');
		if (!defined $list) { $self->complain('internal', "key $key, its own appends are missing", $t); }
		elsif (!defined $found{$key}) { $self->add_read($t, $key, $found{$key} = $list); }
		elsif ($found{$key} ne $list) { $self->complain('internal', "key $key, not the same list twice", $t); }
	}
	return if $outcome ne 'ok';
	my $before = $self->{sessions}{$session};
	vec($self->{next}, $before, 32) = $t if defined $before;
	$self->{sessions}{$session} = $t;
	return;
}

# A list without the values at its end; undef if these are not its end.
sub without
{
	my ($list, $end) = @_;
	return $list if $end eq '';
	my $left = length($list) - length $end;
	return undef if $left < 0 || substr($list, $left) ne $end;
	return undef if $left > 0 && substr($list, $left - 1, 1) ne ',';
	return substr $list, 0, $left;
}

sub begins_with { my ($list, $other) = @_; return substr($list, 0, length $other) eq $other; }

sub values_in { my ($list) = @_; return $list =~ tr/,//; }

sub add_read
{
	my ($self, $t, $key, $list) = @_;
	my $longest = $self->{longest}{$key} //= '';
	if (begins_with($list, $longest)) { $self->{longest}{$key} = $list; }
	elsif (!begins_with($longest, $list)) { push @{ $self->{odd} }, [ $t, $key, $list ]; return; }
	$self->{reads}{$key} .= pack 'LL', $t, values_in($list);
	return;
}

sub complain
{
	my ($self, $name, $text, @transactions) = @_;
	my $lines = join '', map { "\n    T$_: " . shorten($self->{lines}[$_]) } @transactions;
	push @{ $self->{found} }, [ $name, "$name: $text$lines" ];
	return;
}

sub shorten { my ($line) = @_; return length $line > 400 ? substr($line, 0, 400) . ' ...' : $line; }

sub outcome_of { my ($self, $t) = @_; return substr $self->{outcome}, $t, 1; }

# What is wrong, in words; nothing if all is allowed.
sub anomalies
{
	my ($self) = @_;
	$self->check if !$self->{checked}++;
	return map { $_->[1] } @{ $self->{found} };
}

# The same as name => how many.
sub kinds
{
	my ($self) = @_;
	$self->anomalies;
	my %count;
	$count{ $_->[0] }++ for @{ $self->{found} };
	return \%count;
}

sub operations { my ($self) = @_; return $self->{operations}; }

# How many transactions there are with an outcome: ok, fail, info.
sub count
{
	my ($self, $outcome) = @_;
	my $letter = substr $outcome, 0, 1;
	return scalar(() = $self->{outcome} =~ /$letter/g);
}

sub summary
{
	my ($self) = @_;
	return sprintf '%d operations, %d transactions committed, %d rolled back, %d without an answer',
	  $self->operations, map { $self->count($_) } qw(ok fail info);
}

sub check
{
	my ($self) = @_;
	my %keys = map { $_ => 1 } keys %{ $self->{appends} }, keys %{ $self->{longest} }, keys %{ $self->{final} };
	my @keys = sort keys %keys;
	my @missing = map { $self->find_versions($_) } @keys;
	$self->check_odd($_) for @{ $self->{odd} };
	for (@missing)
	{
		my ($t, $key, $value) = @$_;
		my $outcome = $self->outcome_of($t);
		$self->complain('lost append', "$value of key $key", $t) if $outcome eq 'o';
		$self->complain('half committed', "$value of key $key is not there", $t) if $outcome eq 'i' && $self->{seen}{$t};
	}
	my $graph = Braid::Cycles::graph(scalar @{ $self->{lines} });
	for my $key (@keys)
	{
		Braid::Cycles::add_edge($graph, @$_) for $self->edges($key, 1);
	}
	Braid::Cycles::add_edge($graph, @$_) for $self->session_edges(0 .. $#{ $self->{lines} });
	$self->explain($_) for Braid::Cycles::components($graph);
	return;
}

# Notes who wrote each version of a key, and which of those without a known outcome were
# committed. Returns [transaction, key, value] of the appends that are not there.
sub find_versions
{
	my ($self, $key) = @_;
	my ($longest, $final) = ($self->{longest}{$key} // '', $self->{final}{$key});
	if (defined $final && !begins_with($final, $longest))
	{
		my @reads = unpack 'L*', delete $self->{reads}{$key};
		my @values = split /,/, $longest;
		while (my ($t, $length) = splice @reads, 0, 2)
		{
			push @{ $self->{odd} }, [ $t, $key, join '', map { "$_," } @values[ 0 .. $length - 1 ] ];
		}
	}
	my %writer;
	my @appends = unpack '(LQ)*', $self->{appends}{$key} // '';
	while (my ($t, $value) = splice @appends, 0, 2)
	{
		$self->complain('garbage', "$value of key $key was appended twice", $writer{$value}, $t) if defined $writer{$value};
		$writer{$value} = $t;
	}
	my @writers;
	for my $value (split /,/, $final // $longest)
	{
		my $t = delete $writer{$value};
		$self->complain('garbage', "$value of key $key was appended by nobody, or is there twice") if !defined $t;
		my $outcome = defined $t ? $self->outcome_of($t) : '';
		$self->complain('G1a', "$value of key $key was read", $t) if $outcome eq 'f';
		$self->{seen}{$t} = 1 if $outcome eq 'i';
		push @writers, $outcome =~ /[oi]/ ? $t : $nobody;
	}
	$self->{versions}{$key} = pack 'L*', @writers;
	return if !defined $final;
	return map { [ $writer{$_}, $key, $_ ] } sort keys %writer;
}

# A list that did not go with another one: perhaps it goes with what turned out to be the order.
sub check_odd
{
	my ($self, $odd) = @_;
	my ($t, $key, $list) = @$odd;
	if (begins_with($self->{final}{$key} // $self->{longest}{$key}, $list))
	{
		$self->{reads}{$key} .= pack 'LL', $t, values_in($list);
		return;
	}
	my %writer = reverse unpack '(LQ)*', $self->{appends}{$key} // '';
	for my $value (split /,/, $list)
	{
		my $writer = $writer{$value};
		next if defined $writer && $self->outcome_of($writer) ne 'f';
		$self->complain('garbage', "$value of key $key was read and appended by nobody", $t), return if !defined $writer;
		$self->complain('G1a', "$value of key $key was read", $writer, $t);
		return;
	}
	$self->complain('incompatible order', "key $key, the list is " . ($self->{final}{$key} // $self->{longest}{$key}), $t);
	return;
}

# The edges [kind, from, to, key] that follow from the versions of a key, each to the next
# version only: the others follow from these. Complains of intermediate reads if told to.
sub edges
{
	my ($self, $key, $complain) = @_;
	my @writers = unpack 'L*', $self->{versions}{$key};
	my @edges;
	my $last = $nobody;
	for my $writer (grep { $_ != $nobody } @writers)
	{
		push @edges, [ 'ww', $last, $writer, $key ] if $last != $nobody && $last != $writer;
		$last = $writer;
	}
	my @reads = unpack 'L*', $self->{reads}{$key} // '';
	while (my ($reader, $length) = splice @reads, 0, 2)
	{
		my $writer = $length ? $writers[ $length - 1 ] : $nobody;
		my $next = $length;
		if ($writer != $nobody && $writer != $reader)
		{
			push @edges, [ 'wr', $writer, $reader, $key ];
			$next++ while $next < @writers && $writers[$next] == $writer;
			$self->complain('G1b', "key $key", $writer, $reader) if $complain && $next > $length;
		}
		push @edges, [ 'rw', $reader, $writers[$next], $key ] if $next < @writers && $writers[$next] != $nobody && $writers[$next] != $reader;
	}
	return @edges;
}

# The edges from transactions to the next ones of their sessions.
sub session_edges
{
	my ($self, @transactions) = @_;
	return map { my $next = vec $self->{next}, $_, 32; $next ? [ 'so', $_, $next, '' ] : () } @transactions;
}

# Says which cycles there are between some transactions, an example of each kind.
sub explain
{
	my ($self, $transactions) = @_;
	my %member = map { $_ => 1 } @$transactions;
	my %keys;
	for my $t (@$transactions)
	{
		$keys{$_} = 1 for $self->{lines}[$t] =~ / [ar]:([^:]+):/g;
	}
	my @edges = grep { $member{ $_->[1] } && $member{ $_->[2] } } map({ $self->edges($_, 0) } sort keys %keys), $self->session_edges(@$transactions);
	for my $cycle (Braid::Cycles::classify(@edges))
	{
		my ($name, @steps) = @$cycle;
		my $text = join '', map { sprintf 'T%d -%s-> ', $_->[1], join ' ', grep { $_ ne '' } $_->[0], $_->[3] } @steps;
		$self->complain($name, "${text}T$steps[0][1], in a component of " . @$transactions, map { $_->[1] } @steps);
	}
	return;
}

1;
