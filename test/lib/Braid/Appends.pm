# Braid::Appends: clients that append to lists on several nodes and read them, in
# transactions of a coordinator, and the history of what they have seen.
#
#   my $appends = Braid::Appends->new($cluster, coordinators => ['hub'], nodes => [ 'hub', 'a', 'b' ], clients => 6, operations => 10_000);
#   my $history = $appends->play(snapshot => 'all', disturb => sub { ... });   # a Braid::History
#   note $appends->summary;
#
# Key n is a row on node n modulo the number of nodes. A coordinator that is one of the nodes has
# its rows in a table, and those of others in foreign tables. Keys come and go: at any time
# a few are in use by all clients, and after some dozens of operations others take their place.
#
# A transaction is one message: BEGIN, what makes its snapshot one over the nodes, up to six
# operations, between which it rests now and then, and its end. What the server has
# answered tells whether it was committed; if the connection was lost, nobody knows. Every third
# client's COMMIT does not wait for the branches: its next transaction has to see them all the same.
# Every fourth one's transactions are SERIALIZABLE; and some that only append are those of clients
# who know of nothing: READ COMMITTED, without a snapshot over the nodes.
package Braid::Appends;

use strict;
use warnings;
use Braid::Client;
use Braid::Crowd;
use Braid::History;
use PostgreSQL::Test::Utils;

my $keys_in_use = 10;
my $operations_of_a_key = 50;

# operations: how many play() is to have, at least, unless told otherwise.
sub new
{
	my ($class, $cluster, %options) = @_;
	my $self = bless { cluster => $cluster, errors => {}, plays => 0, clients => 6, coordinators => ['hub'], %options }, $class;
	for my $node (@{ $self->{nodes} })
	{
		$cluster->sql($node, "CREATE TABLE lists (k int PRIMARY KEY, list text NOT NULL DEFAULT '') WITH (fillfactor = 30)");
		for my $hub (grep { $_ ne $node } @{ $self->{coordinators} })
		{
			$cluster->sql($hub, "CREATE FOREIGN TABLE lists_$node (k int, list text) SERVER $node OPTIONS (table_name 'lists')");
		}
	}
	return $self;
}

sub node_of { my ($self, $key) = @_; return $self->{nodes}[ $key % @{ $self->{nodes} } ]; }

sub table
{
	my ($self, $hub, $key) = @_;
	my $node = $self->node_of($key);
	return $node eq $hub ? 'lists' : "lists_$node";
}

# Plays until there are enough operations in committed transactions. Options: operations, if others than
# those of new(), which are the most; snapshot, what braid.snapshot is set to (default: it is not);
# and disturb, called now and then meanwhile.
sub play
{
	my ($self, %options) = @_;
	my $wanted = $options{operations} // $self->{operations};
	my $keys = 2 * $keys_in_use + int 1.1 * $self->{operations} / $operations_of_a_key;
	$self->{first_key} = $self->{plays}++ * $keys * 2;
	for my $node (@{ $self->{nodes} })
	{
		$self->{cluster}->sql($node, "INSERT INTO lists SELECT generate_series($self->{first_key}, $self->{first_key} + $keys)");
	}
	$self->{progress} = PostgreSQL::Test::Utils::tempdir() . '/progress';
	my ($files, $failed) = Braid::Crowd::play($self->{clients}, sub { $self->client(@_, $wanted, $options{snapshot}) }, $options{disturb});
	die "$failed clients have failed" if $failed;
	my $history = Braid::History->new;
	for my $line (Braid::Crowd::lines($files))
	{
		if ($line =~ /^E (.*)/) { $self->{errors}{$1}++; }
		else { $history->add($line); }
	}
	$self->settle;
	$history->add("- final $_") for $self->lists;
	return $history;
}

# Waits until nothing is in doubt.
sub settle
{
	my ($self) = @_;
	$self->{cluster}->wait_for($_, 'SELECT count(*) = 0 FROM braid.transactions') or die "transactions of $_ stay unfinished" for @{ $self->{coordinators} };
	$self->{cluster}->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts') or die "transactions stay prepared on $_" for @{ $self->{nodes} };
	return;
}

# What is in the lists, as operations.
sub lists
{
	my ($self) = @_;
	my @lists;
	my $nodes = $self->{nodes};
	for my $i (0 .. $#$nodes)
	{
		push @lists, split /\n/, $self->{cluster}->sql($nodes->[$i],
			"SELECT 'r:' || k || ':' || list FROM lists WHERE k >= $self->{first_key} AND k % @{[ scalar @$nodes ]} = $i");
	}
	return @lists;
}

# Errors that clients were told, as "SQLSTATE message" => how often; those of states that match are left out.
sub errors
{
	my ($self, $expected) = @_;
	return map { "$_ ($self->{errors}{$_} times)" } sort grep { !/^(?:$expected)/ } keys %{ $self->{errors} };
}

# A client, until all together have had so many operations in committed transactions: these are the
# bytes of a file to which each adds its own.
sub client
{
	my ($self, $number, $log, $wanted, $snapshot) = @_;
	open my $progress, '>>', $self->{progress} or die $!;
	my $hub = $self->{coordinators}[ $number % @{ $self->{coordinators} } ];
	my $node = $self->{cluster}->node($hub);
	my ($client, $value) = (undef, $number);
	while ((my $done = -s $progress || 0) < $wanted)
	{
		$client = Braid::Client->insist($node, 'SET braid.xa_commit_wait = ' . ($number % 3 ? 'on' : 'off')) if !$client || !$client->is_open;
		my $first = $self->{first_key} + int $done / $operations_of_a_key;
		my @operations = operations($first, sub { return $value += $self->{clients} });
		my $is_blind = rand() < 0.3 && !grep { $_->[0] eq 'r' } @operations;
		my @begin = $is_blind ? 'BEGIN' : $number % 4 ? 'BEGIN ISOLATION LEVEL REPEATABLE READ' : 'BEGIN ISOLATION LEVEL SERIALIZABLE';
		push @begin, "SET LOCAL braid.snapshot = '$snapshot'" if defined $snapshot && !$is_blind;
		my ($outcome, $error, @rows) = $self->run($client, $hub, \@begin, @operations);
		print $log "E $error\n" if defined $error;
		my @seen;
		for (@operations)
		{
			my ($type, $key, $what) = @$_;
			last if $type eq 'r' && !@rows;
			push @seen, join ':', $type, $key, $type eq 'a' ? $what : shift(@rows)->[0];
		}
		print $log "c$number $outcome @seen\n" if @seen;
		syswrite $progress, '.' x @seen if $outcome eq 'ok';
	}
	$client->leave if $client;
	return;
}

# Random operations on keys from the first one on: ['a', key, value] or ['r', key]. Most
# transactions write in the order of keys, so that deadlocks are rare.
sub operations
{
	my ($first, $new_value) = @_;
	my $appends = rand() < 0.3 ? 0 : rand;
	my @operations;
	for (1 .. 1 + int rand 6)
	{
		my $key = $first + int rand $keys_in_use;
		push @operations, rand() < $appends ? [ 'a', $key, $new_value->() ] : [ 'r', $key ];
	}
	return @operations if rand() < 0.02;
	my @keys = sort { $a <=> $b } map { $_->[1] } grep { $_->[0] eq 'a' } @operations;
	$_->[1] = shift @keys for grep { $_->[0] eq 'a' } @operations;
	return @operations;
}

# Runs a transaction that begins with these statements. Returns its outcome, the error that it got, if any, and what its reads have returned.
sub run
{
	my ($self, $client, $hub, $begin, @operations) = @_;
	my @statements = @$begin;
	for (@operations)
	{
		my ($type, $key, $value) = @$_;
		my $table = $self->table($hub, $key);
		push @statements, $type eq 'a' ? "UPDATE $table SET list = list || '$value,' WHERE k = $key" : "SELECT list FROM $table WHERE k = $key";
		push @statements, 'DO $$ BEGIN PERFORM pg_sleep(0.004); END $$' if rand() < 0.1;
	}
	my $end = rand() < 0.03 ? 'ROLLBACK' : 'COMMIT';
	my $answer = $client->run(join('; ', @statements, $end), 300);
	my $completed = @{ $answer->{tags} };
	die "an append has found no row: @{ $answer->{tags} }\n" if grep { $_ eq 'UPDATE 0' } @{ $answer->{tags} };
	my $error = Braid::Client::complaint($answer);
	if ($answer->{error} && !$answer->{lost} && $completed < @statements) { $client->run('ROLLBACK'); }
	my $outcome =
	    $completed > @statements ? ($answer->{tags}[-1] eq 'COMMIT' ? 'ok' : 'fail')
	  : $answer->{lost} || ($error // '') =~ /^08007/ ? 'info'
	  : 'fail';
	return ($outcome, $error, @{ $answer->{rows} });
}

1;
