# Braid::Bank: accounts on several nodes, transfers between them, and readers who add them up.
#
#   my $bank = Braid::Bank->new($cluster, 'hub', 'a', 'b', 'c');   # hub coordinates, and has accounts as well
#   my $load = $cluster->start_load('hub', $bank->transfers('hub', 'a', 'b'), 4);
#   my $seen = $bank->read(reads => 1000, readers => 3, nodes => [ 'hub', 'a', 'b' ], disturb => sub { ... });
#   is($seen->{torn}, 0);
#
# Account n has a part on every node. A transfer takes from one part and adds to others of the same
# account, so the parts of each account always add up to 0, and so does everything. Accounts -9 to 0 are left to the test.
package Braid::Bank;

use strict;
use warnings;
use Braid::Client;
use Braid::Crowd;
use List::Util qw(sum0);

my $accounts = 200;

sub new
{
	my ($class, $cluster, $hub, @participants) = @_;
	my $self = bless { cluster => $cluster, hub => $hub }, $class;
	my $columns = 'node text NOT NULL, id int NOT NULL, bal bigint NOT NULL';
	for my $node ($hub, @participants)
	{
		$cluster->sql($node, "CREATE TABLE part ($columns, PRIMARY KEY (id)) WITH (fillfactor = 50);
			INSERT INTO part SELECT '$node', g, 0 FROM generate_series(-9, $accounts) g");
	}
	$cluster->sql($hub, "CREATE TABLE accounts ($columns) PARTITION BY LIST (node);
		ALTER TABLE part RENAME TO part_$hub;
		ALTER TABLE accounts ATTACH PARTITION part_$hub FOR VALUES IN ('$hub')");
	for my $n (0 .. $#participants)
	{
		my $node = $participants[$n];

		# Some are asked at the same time, others one after the other.
		my $is_async = $n % 2 ? 'false' : 'true';
		$cluster->sql($hub, "CREATE FOREIGN TABLE part_$node PARTITION OF accounts FOR VALUES IN ('$node')
			SERVER $node OPTIONS (table_name 'part', async_capable '$is_async')");
	}
	$cluster->sql($hub, <<'SQL');
CREATE FUNCTION total(nodes text[]) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	result numeric := 0;
	name text;
	more numeric;
BEGIN
	FOREACH name IN ARRAY nodes LOOP
		EXECUTE format('SELECT sum(bal) FROM %I', 'part_' || name) INTO more;
		result := result + more;
	END LOOP;
	RETURN result;
END $$;
SQL
	$cluster->wait_ready($hub, scalar @participants);
	return $self;
}

# ---- writers

sub add { my ($node, $what) = @_; return "UPDATE part_$node SET bal = bal + $what WHERE id = :id;\n"; }

# A script for pgbench: between two of the nodes, or from one to all others; every third client's
# COMMIT does not wait for the branches. The nodes are written in one order: there are no deadlocks.
sub transfers
{
	my ($self, @nodes) = @_;
	my @cases;
	for my $i (0 .. $#nodes)
	{
		push @cases, map { add($nodes[$i], ':amount') . add($nodes[$_], '- :amount') } $i + 1 .. $#nodes;
	}
	push @cases, add($nodes[0], ":amount * $#nodes") . join '', map { add($_, '- :amount') } @nodes[ 1 .. $#nodes ];
	my $script = "\\set id random(1, $accounts)\n\\set amount random(-100, 100)\n\\set case random(0, $#cases)\nBEGIN;\n";
	$script .= "\\if :client_id % 3 = 1\nSET LOCAL braid.xa_commit_wait = off;\n\\endif\n";
	$script .= "\\if :case = $_\n$cases[$_]\\endif\n" for 0 .. $#cases;
	return $script . "COMMIT;\n";
}

# ---- readers

# Ways to read the accounts on some nodes, each as statements that give numbers. In one statement
# these are the sum, or how many accounts do not add up; otherwise they add up to 0.
sub ways
{
	my ($self, @nodes) = @_;
	my $some = 'accounts WHERE node IN (' . join(', ', map { "'$_'" } @nodes) . ')';
	my $pause = 'DO $$ BEGIN PERFORM pg_sleep(0.005 * random()); END $$';
	my @sums = map { "SELECT sum(bal) FROM part_$_" } @nodes;
	my $n = 1 + int rand $accounts;
	my $joined = "part_$nodes[0]" . join '', map { " JOIN part_$_ USING (id)" } @nodes[ 1 .. $#nodes ];
	return (
		sum => ["SELECT sum(bal) FROM $some"],
		'sums in turn' => [ map { ($_, $pause) } @sums ],
		'sums in reverse' => [ map { ($_, $pause) } reverse @sums ],
		accounts => ["SELECT count(*) FROM (SELECT FROM $some GROUP BY id HAVING sum(bal) <> 0) wrong"],
		account => [ map { ("SELECT bal FROM part_$_ WHERE id = $n", $pause) } @nodes ],
		join => [ "SELECT count(*) FROM $joined WHERE " . join(' + ', map { "part_$_.bal" } @nodes) . ' <> 0' ],
		cursor => [ "DECLARE c CURSOR FOR SELECT bal FROM $some", 'FETCH 7 FROM c', $pause, 'FETCH ALL FROM c' ],
		function => [ 'SELECT total(ARRAY[' . join(', ', map { "'$_'" } @nodes) . '])' ],
		prepared => ['EXECUTE total'],
		writer => [ "UPDATE part_$nodes[0] SET bal = bal + 1 WHERE id = $n", $pause, "UPDATE part_$nodes[-1] SET bal = bal - 1 WHERE id = $n", @sums ]);
}

# Lets readers read, so many times in all. Options: nodes, readers, snapshot ('none': as every
# REPEATABLE READ transaction does), disturb. Returns how many were read and torn, in all and by
# way; and how often each error was seen.
sub read
{
	my ($self, %options) = @_;
	my $share = 1 + int $options{reads} / $options{readers};
	my ($files, $failed) = Braid::Crowd::play($options{readers}, sub { my ($number, $log) = @_; $self->reader($number, $log, $share, %options) }, $options{disturb});
	die "$failed readers have failed" if $failed;
	my %seen = (read => 0, torn => 0, lost => 0, ways => {}, torn_ways => {}, errors => {});
	for my $line (Braid::Crowd::lines($files))
	{
		my ($what, $text) = split / /, $line, 2;
		$seen{$what}++ if $what =~ /^(?:read|torn|lost)$/;
		$seen{ways}{$text}++ if $what eq 'read';
		$seen{torn_ways}{$text}++ if $what eq 'torn';
		$seen{errors}{$text}++ if $what eq 'error';
	}
	return \%seen;
}

# What each reader asks for, and how: by the names of the servers, for all of them, or by a default.
sub reader
{
	my ($self, $number, $log, $share, %options) = @_;
	my @nodes = @{ $options{nodes} };
	my $servers = join ', ', grep { $_ ne $self->{hub} } @nodes;
	my $none = ($options{snapshot} // '') eq 'none';
	my $default = !$none && $number % 3 == 0 ? "SET braid.default_snapshot = 'all'; " : '';
	my $begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ; ';
	$begin .= "SET LOCAL braid.snapshot = '" . ($number % 3 == 1 ? $servers : 'all') . "'; " if !$none && !$default;
	my $sum = { $self->ways(@nodes) }->{sum}[0];
	my ($client, $done) = (undef, 0);
	while ($done < $share)
	{
		$client = Braid::Client->insist($self->{cluster}->node($self->{hub}), "${default}PREPARE total AS $sum") if !$client || !$client->is_open;
		my %ways = $self->ways(@nodes);
		my $way = (sort keys %ways)[ rand keys %ways ];
		my $sql = $begin . join '; ', @{ $ways{$way} }, 'COMMIT';
		if (rand() < 0.005) { $client->send($sql); $client->close; next; }
		my $answer = $client->run($sql, 300);
		if ($answer->{error})
		{
			print $log 'error ', Braid::Client::complaint($answer), "\n";
			$client->run('ROLLBACK') if !$answer->{lost};
		}
		if ($answer->{lost}) { print $log "lost\n"; }
		next if $answer->{error} || $answer->{lost};
		print $log "read $way\n";
		print $log "torn $way\n" if sum0(map { $_->[-1] } @{ $answer->{rows} }) != 0;
		$done++;
	}
	$client->leave;
	return;
}

# The sum of all accounts on these nodes, each asked by itself.
sub total
{
	my ($self, @nodes) = @_;
	return sum0(map { $self->{cluster}->sql($_, 'SELECT sum(bal) FROM ' . ($_ eq $self->{hub} ? "part_$_" : 'part')) } @nodes);
}

1;
