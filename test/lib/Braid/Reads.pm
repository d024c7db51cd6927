# Braid::Reads: strict reads of a continuous view by many clients, and whether they
# could have happened one after the other, in the order of real time.
#
#   my $reads = Braid::Reads->new($cluster, 'db', clients => 6);
#   $reads->round(1000, sub { ... });   # so many reads; meanwhile the sub is called
#   is(join("\n", $reads->violations), '');
#
# The view counts rows by key. Clients insert rows, two keys at a time, and read the
# counts of all keys, each in one of several ways. Each notes when it began and when
# it had the answer, by one clock. Then a count that was read
#   - is at least the number of rows whose insertion was answered before the read began,
#   - and that of each read that was answered before it began;
#   - is at most the number of rows whose insertion began before it was answered.
# The sum of all counts is even, as transactions insert two rows.
package Braid::Reads;

use strict;
use warnings;
use Braid::Client;
use Braid::Crowd;
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $keys = 6;
my @ways = (
	'SELECT * FROM counts',
	'EXECUTE counts',
	'SELECT * FROM counts()',
	'BEGIN; DECLARE c CURSOR FOR SELECT * FROM counts; FETCH ALL c; COMMIT',
	'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM counts; COMMIT',
	'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM counts; COMMIT');

sub new
{
	my ($class, $cluster, $name, %options) = @_;
	my $self = bless { cluster => $cluster, name => $name, clients => $options{clients} // 6, mode => 'strict',
		count => { reads => 0, inserts => 0, lost => 0 }, violations => [] }, $class;
	$cluster->sql($name, <<'SQL');
SET client_min_messages = warning;
CREATE TABLE events (k int, x bigint);
CREATE INDEX ON events (x);
CREATE MATERIALIZED VIEW counts WITH (braid.continuous) AS SELECT k, count(*) AS n FROM events GROUP BY k;
CREATE FUNCTION counts() RETURNS SETOF counts LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN QUERY SELECT * FROM counts; END $$;
SELECT braid.wait('counts');
SQL
	return $self;
}

# Eventual reads of the same view, by sessions that have the other's rows behind them.
sub new_beside
{
	my ($class, $other) = @_;
	my $self = bless { %$other, mode => 'eventual', count => { reads => 0, inserts => 0, lost => 0 }, violations => [] }, $class;
	$self->{$_} = [ @{ $other->{$_} } ] for qw(begun least done);
	return $self;
}

sub now { return clock_gettime(CLOCK_MONOTONIC); }

# A session, as soon as there can be one.
sub connect
{
	my ($self) = @_;
	return Braid::Client->insist($self->{cluster}->node($self->{name}),
		"SET braid.read = $self->{mode}; SET braid.read_timeout = '120s'; PREPARE counts AS SELECT * FROM counts");
}

# What a client notes: "W began ended key key", "R began ended count...", "L" for a
# read without an answer, "E code message".  An insertion without an answer is looked
# for by its number, as soon as there is a session again: then it is answered, or it
# has never been.
sub insert
{
	my ($self, $client) = @_;
	my @keys = (int rand $keys, int rand $keys);
	my $number = $$ * 10_000_000 + $self->{number}++;
	my $sql = "INSERT INTO events VALUES ($keys[0], $number), ($keys[1], $number)";
	return (undef, $client->run("BEGIN; $sql; ROLLBACK", 120)) if rand() < 0.1;
	my $began = now();
	my $answer = $client->run($sql, 120);
	return (undef, $answer) if ($answer->{error} || $answer->{lost}) && !$self->is_there($number);
	return (sprintf('W %.9f %.9f %s', $began, now(), "@keys"), $answer);
}

sub is_there
{
	my ($self, $number) = @_;
	for (1 .. 100)
	{
		my $answer = $self->connect->run("SELECT count(*) FROM events WHERE x = $number", 120);
		return $answer->{rows}[0][0] if @{ $answer->{rows} };
	}
	die "no answer\n";
}

sub read_counts
{
	my ($client) = @_;
	my $way = $ways[ rand @ways ];
	my $began = now();
	my $answer = $client->run($way, 150);
	return ('L', $answer) if $answer->{error} || $answer->{lost};
	my $ended = now();
	my @counts = (0) x $keys;
	$counts[ $_->[0] ] = $_->[1] for @{ $answer->{rows} };
	return (sprintf('R %.9f %.9f %s', $began, $ended, "@counts"), $answer);
}

# One client, in a process of its own, until it has so many reads.
sub play
{
	my ($self, $reads, $log) = @_;
	my $client;
	while ($reads > 0)
	{
		$client = $self->connect if !$client || !$client->is_open;
		my ($line, $answer) = rand() < 0.25 ? $self->insert($client) : read_counts($client);
		print $log "$line\n" if defined $line;
		$reads-- if defined $line && $line =~ /^R/;
		next if !$answer->{error};
		print $log "E $answer->{error}{C} $answer->{error}{M}\n" if $answer->{error}{C} !~ /^57P0/;
		$client->run('ROLLBACK') if $client->is_open;
	}
	return;
}

# Plays until there are so many reads more, calls the sub now and then, and checks.
sub round
{
	my ($self, $reads, $disturb) = @_;
	my $share = POSIX::ceil($reads / $self->{clients});
	my ($files, $failed) = Braid::Crowd::play($self->{clients}, sub { my ($number, $log) = @_; $self->play($share, $log) }, $disturb);
	push @{ $self->{violations} }, "$failed clients have failed" if $failed;
	$self->check($files);
	return;
}

# The notes of all clients as [time, what, line]: b and e, the begin and the end.
sub load
{
	my ($self, $files) = @_;
	my @events;
	for my $line (Braid::Crowd::lines($files))
	{
		my ($type, $began, $ended, @values) = split ' ', $line;
		if ($type eq 'E') { push @{ $self->{violations} }, "error: $line"; next; }
		if ($type eq 'L') { $self->{count}{lost}++; next; }
		my $record = { type => $type, values => \@values };
		push @events, [ $began, 0, $record ];
		push @events, [ $ended, 1, $record ];
	}
	return sort { $a->[0] <=> $b->[0] } @events;
}

sub raise
{
	my ($least, $key, $n) = @_;
	$least->[$key] = $n if $n > $least->[$key];
	return;
}

sub check
{
	my ($self, $files) = @_;
	my $begun = $self->{begun} //= [ (0) x $keys ]; # rows that may be there
	my $done = $self->{done} //= [ (0) x $keys ];   # rows whose insertion was answered
	my $least = $self->{least} //= [ (0) x $keys ]; # rows that a read must show
	for my $event ($self->load($files))
	{
		my ($time, $ends, $record) = @$event;
		my $values = $record->{values};
		if ($record->{type} eq 'W')
		{
			my $count = $ends ? $done : $begun;
			$count->[$_]++ for @$values;
			raise($least, $_, $done->[$_]) for @$values;
			$self->{count}{inserts}++ if !$ends;
			next;
		}
		if (!$ends) { $record->{least} = [@$least]; next; }
		$self->{count}{reads}++;
		my $sum = 0;
		for my $key (0 .. $keys - 1)
		{
			my $n = $values->[$key];
			$sum += $n;
			push @{ $self->{violations} }, "key $key: $n read, at least $record->{least}[$key] were there" if $n < $record->{least}[$key];
			push @{ $self->{violations} }, "key $key: $n read, at most $begun->[$key] can be there" if $n > $begun->[$key];
			raise($least, $key, $n);
		}
		push @{ $self->{violations} }, "half a transaction was read: @$values" if $sum % 2;
	}
	return;
}

# What went wrong, in words, the first few of it.
sub violations
{
	my ($self) = @_;
	my @all = @{ $self->{violations} };
	return @all > 20 ? (@all[ 0 .. 19 ], scalar(@all) . ' in all') : @all;
}

sub reads { my ($self) = @_; return $self->{count}{reads}; }

sub summary
{
	my ($self) = @_;
	return sprintf '%d reads, %d insertions, %d reads without an answer', @{ $self->{count} }{qw(reads inserts lost)};
}

# Ends the capture worker, by SIGTERM, or by SIGKILL, after which the server starts
# anew. Returns when it is so far.
sub end_worker
{
	my ($self, $kill) = @_;
	my ($cluster, $name) = @$self{qw(cluster name)};
	my $pid = $cluster->capture_pid($name) || return;
	if (!$kill) { $cluster->try_sql($name, "SELECT pg_terminate_backend($pid)"); return; }
	$cluster->kill_process($name, $pid);
	return;
}

1;
