# Braid::Operations: random transactions of operations that a test chooses from.
#
#   sub operation { my ($client) = @_; return pick("DELETE FROM t WHERE id % 3 = $client;", ...); }
#   Braid::Operations::play($cluster, 'db', { transactions => 8, operation => \&operation }, sub { kill ... });
#   Braid::Operations::play_and_disturb($cluster, 'db', { transactions => 8, operation => \&operation, seconds => 1, crashes => 4 }, sub { is($views->differences ... });
#
# They have savepoints, which are released and rolled back to, and end in one phase or in two.
package Braid::Operations;

use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(pick);

sub pick { return $_[ int rand @_ ]; }

sub transaction
{
	my ($gid, $operation) = @_;
	my @open;
	my $sql = "BEGIN;\n";
	for my $n (1 .. 3 + int rand 8)
	{
		my $what = rand;
		if ($what < 0.25) { push @open, "s$n"; $sql .= "SAVEPOINT s$n;\n"; }
		elsif (@open && $what < 0.45) { $#open = int rand @open; $sql .= "ROLLBACK TO $open[-1];\n"; }
		elsif (@open && $what < 0.55) { $#open = int rand @open; $sql .= 'RELEASE ' . pop(@open) . ";\n"; }
		$sql .= $operation->() . "\n";
	}
	my $end = rand;
	return $sql . 'COMMIT;' if $end < 0.5;
	return $sql . 'ROLLBACK;' if $end < 0.65;
	return $sql . "PREPARE TRANSACTION '$gid'; SELECT pg_sleep(0.1); " . ($end < 0.9 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid';";
}

# Three clients with so many transactions each, beside small ones that insert into "small"; meanwhile
# something happens. Returns when all have ended. operation => sub, given the client's number.
sub play
{
	my ($cluster, $name, $what, $something) = @_;
	my $transactions = sub { my ($client) = @_; return join "\n", map { transaction("g$client-$_", sub { $what->{operation}->($client) }) } 1 .. $what->{transactions} };
	my @clients = map { $cluster->start_sql($name, $transactions->($_)) } 0 .. 2;
	my $load = $cluster->start_load($name, "\\set k random(1, 9)\nINSERT INTO small VALUES (:k);\n\\sleep 5 ms\n", 1);
	$something->();
	$cluster->finish_sql($_) for @clients;
	$cluster->stop_load($load);
	$cluster->sql($name, "COMMIT PREPARED '$_'") for split /\n/, $cluster->sql($name, 'SELECT gid FROM pg_prepared_xacts');
	return;
}

sub pause { my ($seconds) = @_; select undef, undef, undef, $seconds; return; }

# Plays undisturbed, while the capture worker is replaced twice, and while it is killed, several
# times. "seconds" is about when. What is to be true after each is given the round's name.
sub play_and_disturb
{
	my ($cluster, $name, $what, $is_right) = @_;
	my $round = sub { my ($title, $something) = @_; play($cluster, $name, $what, $something); $is_right->($title); return; };
	$round->('at random', sub { });
	$round->('at random, with other workers', sub { for (1, 2) { pause($what->{seconds}); $cluster->replace_capture($name); } });
	$round->("at random, with crash $_", sub { pause(0.3 + rand 2 * $what->{seconds}); $cluster->disturb($name, 'kill'); }) for 1 .. $what->{crashes};
	return;
}

1;
