# Braid::Cycles: cycles in graphs of transactions, some of which snapshot isolation allows.
#
# There is an edge from one transaction to another for
#   ww   it wrote the version of a key before the other's
#   wr   it wrote the version that the other has read
#   rw   it has read the version before the one that the other wrote
#   so   it was committed before the other one began, in the same session
#
# Under snapshot isolation ww, wr and so mean that the first was committed before the snapshot
# of the second; rw only that the snapshot of the first is older than the commit of the second.
# So each transaction gets two nodes, its snapshot and its commit, with an edge from the one to
# the other, and all edges say "earlier than". What has no cycle in that graph can have
# happened in such an order; a cycle cannot. That is the theorem of Cerone and Gotsman
# ("Analysing snapshot isolation", 2018): of the cycles of transactions, exactly those are allowed
# in which somewhere two rw follow each other, because the nodes do not let them.
package Braid::Cycles;

use strict;
use warnings;
use List::Util qw(min);

sub snapshot_of { return 2 * $_[0]; }
sub commit_of { return 2 * $_[0] + 1; }

# Where an edge of a kind begins and where it ends.
sub nodes_of
{
	my ($kind, $from, $to) = @_;
	return $kind eq 'rw' ? (snapshot_of($from), commit_of($to)) : (commit_of($from), snapshot_of($to));
}

# A graph of so many transactions: the successors of each node, packed.
sub graph
{
	my ($transactions) = @_;
	my @next;
	for my $t (0 .. $transactions - 1)
	{
		$next[ snapshot_of($t) ] = pack 'N', commit_of($t);
		$next[ commit_of($t) ] = '';
	}
	return \@next;
}

sub add_edge
{
	my ($next, $kind, $from, $to) = @_;
	my ($begin, $end) = nodes_of($kind, $from, $to);
	$next->[$begin] .= pack 'N', $end;
	return;
}

# The strongly connected components that are not single nodes, each as a list of
# transactions: Tarjan's algorithm, without recursion.
sub components
{
	my ($next) = @_;
	my (@number, @low, @tried, @path, @stack, @found);
	my $is_open = '';
	my $last = 0;
	for my $root (0 .. $#$next)
	{
		next if $number[$root];
		my $enter = $root;
		while (defined $enter || @path)
		{
			if (defined $enter)
			{
				$number[$enter] = $low[$enter] = ++$last;
				$tried[$enter] = 0;
				vec($is_open, $enter, 1) = 1;
				push @path, $enter;
				push @stack, $enter;
				undef $enter;
			}
			my $node = $path[-1];
			if (4 * $tried[$node] < length $next->[$node])
			{
				my $to = vec $next->[$node], $tried[$node]++, 32;
				if (!$number[$to]) { $enter = $to; }
				elsif (vec $is_open, $to, 1) { $low[$node] = min($low[$node], $number[$to]); }
				next;
			}
			pop @path;
			$low[ $path[-1] ] = min($low[ $path[-1] ], $low[$node]) if @path;
			next if $low[$node] != $number[$node];
			my %transactions;
			my ($member, $size) = (-1, 0);
			while ($member != $node)
			{
				$member = pop @stack;
				vec($is_open, $member, 1) = 0;
				$transactions{ $member >> 1 } = 1;
				$size++;
			}
			push @found, [ sort { $a <=> $b } keys %transactions ] if $size > 1;
		}
	}
	return @found;
}

# ---- what kind of a cycle it is

# Kinds of cycles, each with the edge it has at least once, and which others it may have.
# A cycle is looked for only if there is none of the kinds named last.
my @kinds = (
	{ name => 'G0', has => 'ww', others => ['ww'], unless => [] },
	{ name => 'G1c', has => 'wr', others => [ 'ww', 'wr' ], unless => [] },
	{ name => 'G-single', has => 'rw', others => [ 'ww', 'wr' ], unless => [] },
	{ name => 'G1c', has => 'so', others => [ 'ww', 'wr', 'so' ], unless => [ 'G0', 'G1c' ] },
	{ name => 'G-single', has => 'rw', others => [ 'ww', 'wr', 'so' ], unless => [ 'G0', 'G-single' ] },
	{ name => 'long fork', has => 'rw', others => [ 'ww', 'wr', 'so', 'rw' ], unless => [ 'G0', 'G-single' ] });

# How many edges a search begins with: a component can be large, and one example will do.
my $most_starts = 100;

# Examples of cycles in a component, given all edges [kind, from, to, key] between its
# transactions: [name, edges...], the shortest found of each kind.
sub classify
{
	my (@edges) = @_;
	my %out;
	for my $edge (@edges)
	{
		my ($begin, $end) = nodes_of(@$edge);
		push @{ $out{$begin} }, [ $end, $edge ];
	}
	my (%found, @cycles);
	for my $kind (@kinds)
	{
		next if grep { $found{$_} } @{ $kind->{unless} };
		my @cycle = shortest($kind, \%out, grep { $_->[0] eq $kind->{has} } @edges) or next;
		$found{ $kind->{name} } = 1;
		push @cycles, [ name_of($kind->{name}, @cycle), @cycle ];
	}
	return @cycles;
}

# Two that have read the same version of a key and have both written the next one.
sub name_of
{
	my ($name, @cycle) = @_;
	my $is_lost_update = $name eq 'G-single' && @cycle == 2 && $cycle[1][0] eq 'ww' && $cycle[0][3] eq $cycle[1][3];
	return $is_lost_update ? 'lost update' : $name;
}

sub shortest
{
	my ($kind, $out, @starts) = @_;
	my %allowed = map { $_ => 1 } @{ $kind->{others} };
	my @best;
	for my $edge (@starts[ 0 .. min($#starts, $most_starts - 1) ])
	{
		my ($begin, $end) = nodes_of(@$edge);
		my $path = path($out, \%allowed, $end, $begin) or next;
		@best = ($edge, @$path) if !@best || @best > 1 + @$path;
	}
	return @best;
}

# The edges of a shortest path between nodes, breadth first; undef if there is none.
sub path
{
	my ($out, $allowed, $from, $to) = @_;
	my %came = ($from => undef); # by which edge, from which node
	my @queue = ($from);
	while (@queue && !exists $came{$to})
	{
		my $node = shift @queue;
		my @steps = grep { $allowed->{ $_->[1][0] } } @{ $out->{$node} // [] };
		push @steps, [ $node + 1, undef ] if $node % 2 == 0;
		for my $step (@steps)
		{
			my ($end, $edge) = @$step;
			next if exists $came{$end};
			$came{$end} = [ $edge, $node ];
			push @queue, $end;
		}
	}
	return undef if !exists $came{$to};
	my @path;
	for (my $node = $to; $came{$node}; $node = $came{$node}[1])
	{
		unshift @path, $came{$node}[0] if $came{$node}[0];
	}
	return \@path;
}

1;
