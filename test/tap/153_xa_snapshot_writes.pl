# What transactions with one snapshot over the nodes can and cannot see of each other:
# nobody disagrees on the order of writes to different nodes, a value that was read and
# written back is not overwritten, write skew is possible, as documented. And two
# coordinators that write the same nodes do not stop each other, whoever reads.
#
# BRAID_ROUNDS repeats what is random.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Braid::Crowd;
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('hub', 'a', 'b', 'other', { conf => "fsync = on\ndeadlock_timeout = 200ms\nshared_buffers = 16MB\n" });
$cluster->connect_server('other', $_) for 'a', 'b', 'hub';
for my $name ($cluster->names)
{
	$cluster->sql($name, 'CREATE TABLE n (id int PRIMARY KEY, v bigint NOT NULL) WITH (fillfactor = 30);
		INSERT INTO n SELECT g, 0 FROM generate_series(1, 20) g');
}
for my $hub ('hub', 'other')
{
	$cluster->sql($hub, "CREATE FOREIGN TABLE n_$_ (id int, v bigint) SERVER $_ OPTIONS (table_name 'n')") for grep { $_ ne $hub } $cluster->names;
	$cluster->wait_ready($hub, 3);
}
my $begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ';
my $snapshot = "$begin; SET LOCAL braid.snapshot = 'a, b'";

sub session { my ($name) = @_; return Braid::Client->new($cluster->node($name)); }

sub set_to
{
	my ($id, $value) = @_;
	$cluster->sql($_, "UPDATE n SET v = $value WHERE id = $id") for $cluster->names;
	return;
}

# ---- long fork

# Two that write one server each and one that writes a row here, as fast as they can, and readers of
# all three; returns pairs of readings of which none is the earlier one.
sub disagreements
{
	my ($begin, $readings) = @_;
	my @tables = ('n_a', 'n_b', 'n');
	my ($files, $failed) = Braid::Crowd::play(6, sub {
		my ($number, $log) = @_;
		my $session = session('hub');
		my $until = time + 60;
		for (my $n = 0; $n < $readings && time < $until; $n++)
		{
			if ($number <= 3) { $session->value("UPDATE $tables[$number - 1] SET v = v + 1 WHERE id = 1 RETURNING v"); next; }
			my @order = $n % 2 ? @tables : reverse @tables;
			my $answer = $session->run("$begin; " . join('; ', map { "SELECT v FROM $_ WHERE id = 1" } @order) . '; COMMIT');
			if ($answer->{error}) { print $log 'error ', Braid::Client::complaint($answer), "\n"; $session->run('ROLLBACK'); next; }
			my @values = map { $_->[0] } @{ $answer->{rows} };
			print $log join(' ', 'read', $n % 2 ? @values : reverse @values), "\n";
		}
	});
	die 'a client has failed' if $failed;
	my @lines = Braid::Crowd::lines($files);
	is(join("\n", grep { /^error (?!40001)/ } @lines), '', 'no error but those to try again after');
	my @readings = sort { sum0(@$a) <=> sum0(@$b) } map { /^read (.*)/ ? [ split ' ', $1 ] : () } @lines;
	my @wrong;
	for my $i (1 .. $#readings)
	{
		my ($earlier, $later) = @readings[ $i - 1, $i ];
		push @wrong, "@$earlier / @$later" if grep { $earlier->[$_] > $later->[$_] } 0 .. 2;
	}
	note sprintf '%d readings, %d disagreements', scalar @readings, scalar @wrong;
	cmp_ok(scalar @readings, '>', $readings, 'there were readings');
	return @wrong;
}

is(join("\n", disagreements($snapshot, 200 * $rounds)), '', 'readers agree on the order of writes to different nodes');
my @without;
for (1 .. 20)
{
	last if @without = disagreements($begin, 200);
}
cmp_ok(scalar @without, '>', 0, 'without a snapshot over the nodes they do not');

# ---- lost update

# Two sessions read a row on each server and write back what they have read and 1 more.
sub both_increment
{
	my ($begin) = @_;
	my @sessions = (session('hub'), session('hub'));
	set_to(2, 0);
	my @values;
	for my $i (0, 1)
	{
		my $answer = $sessions[$i]->run("$begin; SELECT v FROM n_a WHERE id = 2; SELECT v FROM n_b WHERE id = 2");
		$values[$i] = [ map { $_->[0] } @{ $answer->{rows} } ];
	}
	my @outcomes;
	for my $i (0, 1)
	{
		my ($in_a, $in_b) = map { $_ + 1 } @{ $values[$i] };
		my $answer = $sessions[$i]->run("UPDATE n_a SET v = $in_a WHERE id = 2; UPDATE n_b SET v = $in_b WHERE id = 2; COMMIT");
		push @outcomes, $answer->{error} ? $answer->{error}{C} : $answer->{tags}[-1];
		$sessions[$i]->leave;
	}
	return join ' ', @outcomes, map { $cluster->sql($_, 'SELECT v FROM n WHERE id = 2') } 'a', 'b';
}
is(both_increment($snapshot), 'COMMIT 40001 1 1', 'of two that write back what both have read, one has to try again');

# What a transaction reads on one server before, and on the other after another one has incremented both.
sub reads_beside_increment
{
	my ($begin) = @_;
	my $session = session('hub');
	set_to(2, 0);
	my @values = $session->run("$begin; SELECT v FROM n_a WHERE id = 2")->{rows}[0][0];
	is(session('hub')->run('BEGIN; UPDATE n_a SET v = 1 WHERE id = 2; UPDATE n_b SET v = 1 WHERE id = 2; COMMIT')->{tags}[-1], 'COMMIT', 'both are incremented');
	push @values, $session->value('SELECT v FROM n_b WHERE id = 2');
	$session->leave;
	return "@values";
}
is(reads_beside_increment($snapshot), '0 0', 'a transaction reads both as they were');
is(reads_beside_increment($begin), '0 1', 'without a snapshot over the nodes it reads them as they never were');

# It does so whatever happens to it meanwhile.
sub reads_after
{
	my ($before, $event) = @_;
	my $session = session('hub');
	set_to(2, 0);
	$session->value($_) for split /; /, $before;
	$session->value('SELECT v FROM n_b WHERE id = 20') if $event eq 'a lost connection';
	$cluster->sql('hub', 'BEGIN; UPDATE n_a SET v = 1 WHERE id = 2; UPDATE n_b SET v = 1 WHERE id = 2; UPDATE n SET v = 1 WHERE id = 2; COMMIT');
	$cluster->sql('b', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postgres_fdw'") if $event eq 'a lost connection';
	my @seen;
	for my $table ('n_a', 'n_b', 'n_b', 'n')
	{
		my $answer = $session->run("SAVEPOINT each; SELECT v FROM $table WHERE id = 2");
		push @seen, $answer->{error} ? 'error' : $answer->{rows}[0][0];
		$session->run('ROLLBACK TO each');
	}
	$session->run('ROLLBACK');
	$session->leave;
	return "@seen";
}
is(reads_after($snapshot, 'nothing'), '0 0 0 0', 'in savepoints');
is(reads_after("$begin; SAVEPOINT s; SET LOCAL braid.snapshot = 'a, b'; ROLLBACK TO s", 'nothing'), '0 0 0 0', 'when the savepoint in which it was asked for is gone');
is(reads_after("$snapshot; DECLARE c CURSOR FOR SELECT v FROM n_b WHERE id = 2; SELECT v FROM n_a WHERE id = 1", 'nothing'), '0 0 0 0', 'with a cursor');
is(reads_after("SET braid.default_snapshot = 'all'; $begin", 'nothing'), '0 0 0 0', 'when it did not ask for it');
is(reads_after("SET braid.default_snapshot = 'all'; BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", 'nothing'), '0 0 0 0', 'when it says its isolation level later');
is(reads_after($snapshot, 'a lost connection'), '0 error error 0', 'what it can no longer see is refused');

# Clients that do so until each has had its way so many times. The number is on all nodes.
my ($clients, $increments) = (5, 40 * $rounds);
set_to(3, 0);
my ($files, $failed) = Braid::Crowd::play($clients, sub {
	my ($number, $log) = @_;
	my $session = session('hub');
	my $done = 0;
	while ($done < $increments)
	{
		my $answer = $session->run("$snapshot; SELECT v FROM n_a WHERE id = 3; SELECT v FROM n WHERE id = 3; SELECT v FROM n_b WHERE id = 3");
		my %seen = map { $_->[0] => 1 } @{ $answer->{rows} };
		my ($value) = keys %seen;
		if (!$answer->{error})
		{
			print $log "not the same everywhere: @{[sort keys %seen]}\n" if keys %seen != 1;
			$value++;
			$answer = $session->run("UPDATE n_b SET v = $value WHERE id = 3; UPDATE n SET v = $value WHERE id = 3; UPDATE n_a SET v = $value WHERE id = 3; COMMIT");
		}
		if (!$answer->{error}) { $done++; next; }
		if ($answer->{error}{C} ne '40001') { print $log 'error ', Braid::Client::complaint($answer), "\n"; last; }
		$session->run('ROLLBACK');
	}
});
is(join("\n", Braid::Crowd::lines($files)), '', 'clients that count by value have had no errors but those to try again after');
is($failed, 0, 'all have had their way');
is($cluster->sql($_, 'SELECT v FROM n WHERE id = 3'), $clients * $increments, "no update is lost on $_") for 'hub', 'a', 'b';

# ---- write skew: each takes 1 from another row if the sum of both allows for it

sub both_take
{
	my ($begin) = @_;
	my @sessions = (session('hub'), session('hub'));
	set_to(4, 1);
	my @sums = map {
		my $answer = $_->run("$begin; SELECT v FROM n_a WHERE id = 4; SELECT v FROM n_b WHERE id = 4");
		sum0(map { $_->[0] } @{ $answer->{rows} });
	} @sessions;
	my @tables = ('n_a', 'n_b');
	my @outcomes = map { my $answer = $sessions[$_]->run("UPDATE $tables[$_] SET v = v - $sums[$_] WHERE id = 4; COMMIT"); $answer->{error} ? $answer->{error}{C} : $answer->{tags}[-1] } 0, 1;
	$_->leave for @sessions;
	return join ' ', @outcomes, sum0(map { $cluster->sql($_, 'SELECT v FROM n WHERE id = 4') } 'a', 'b');
}
is(both_take($snapshot), 'COMMIT COMMIT -2', 'write skew is possible, as it is under snapshot isolation');
is(both_take("BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL braid.snapshot = 'a, b'"), 'COMMIT COMMIT -2', 'SERIALIZABLE is that of each node: it is possible there, too');

# ---- two coordinators, each of which writes the same two servers and the other coordinator

# Transfers in an order of its own, one of them over all; readers on both.
my %orders = (
	hub => [ [ 'n_a', 'n_b' ], [ 'n', 'n_a' ], [ 'n', 'n_other' ], [ 'n_b', 'n_other', 'n' ] ],
	other => [ [ 'n_b', 'n_a' ], [ 'n_b', 'n' ], [ 'n', 'n_hub' ], [ 'n_hub', 'n_a', 'n_b', 'n' ] ]);
my $transactions = 60 * $rounds;
my $again = qr/^(?:40001|40P01|55P03)$/;
($files, $failed) = Braid::Crowd::play(8, sub {
	my ($number, $log) = @_;
	my $hub = ('hub', 'other')[ $number % 2 ];
	my $session = session($hub);
	my %count = (done => 0);
	while ($count{done} < $transactions)
	{
		my @tables = @{ $orders{$hub}[ rand @{ $orders{$hub} } ] };
		my $id = 5 + int rand 5;
		my @statements = $number <= 4
		  ? ('BEGIN', map { "UPDATE $_ SET v = v + 1 WHERE id = $id" } @tables)
		  : ("$begin; SET LOCAL braid.snapshot = 'all'", map { "SELECT v FROM $_ WHERE id = $id" } @tables);
		my $answer = $session->run(join '; ', @statements, 'COMMIT');
		$count{ $answer->{error} ? $answer->{error}{C} : 'done' }++;
		next if !$answer->{error};
		if ($answer->{error}{C} !~ $again) { print $log Braid::Client::complaint($answer), "\n"; last; }
		$session->run('ROLLBACK');
	}
	note join ', ', "client $number on $hub", map { "$_: $count{$_}" } sort keys %count;
});
is(join("\n", Braid::Crowd::lines($files)), '', 'two coordinators: no errors but those to try again after');
is($failed, 0, 'two coordinators: all writers and readers come to their end');
$cluster->wait_for($_, 'SELECT count(*) = 0 FROM braid.transactions') or die "transactions of $_ stay unfinished" for 'hub', 'other';
is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), 0, "nothing stays prepared on $_") for $cluster->names;
done_testing();
