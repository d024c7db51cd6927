# Readers with one snapshot over the nodes never see half of a transfer: two, three and five
# servers and rows of the coordinator, transfers at full rate, readers of many kinds, and
# kills of whatever there is. Without the snapshot the same readers do see halves.
#
# BRAID_READS: how many (100,000 at full length); BRAID_KILLS: how many kills.
use strict;
use warnings;
use Braid::Bank;
use Braid::Cluster;
use Braid::Client;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep time);

my $wanted = $ENV{BRAID_READS} // 900;
my $wanted_kills = $ENV{BRAID_KILLS} // 8;
my @participants = ('a' .. 'e');
my $cluster = Braid::Cluster->new('hub', @participants, { conf => "fsync = on\nshared_buffers = 16MB\n" });
my $bank = Braid::Bank->new($cluster, 'hub', @participants);

# ---- a transfer of which one half is there, held by a failpoint

sub half_seen
{
	my ($snapshot) = @_;
	my $sum = "SELECT sum(bal) FROM accounts WHERE id = 0 AND node IN ('a', 'b')";
	my $reader = Braid::Client->new($cluster->node('hub'));
	$cluster->failpoint('b', 'xa-participant-finish', 'wait');
	my $writer = Braid::Client->new($cluster->node('hub'));
	$writer->send('BEGIN; UPDATE part_a SET bal = bal + 7 WHERE id = 0; UPDATE part_b SET bal = bal - 7 WHERE id = 0; COMMIT');
	$cluster->wait_for('b', "SELECT braid_internal.failpoint_waiting('xa-participant-finish') = 1") or die 'the branch is not held';
	$cluster->wait_for('a', 'SELECT count(*) = 0 FROM pg_prepared_xacts') or die 'the other branch is not finished';
	my $answer = $reader->run("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '500ms'; ${snapshot}$sum; COMMIT");
	$reader->run('ROLLBACK') if $answer->{error};
	$cluster->failpoint('b', 'xa-participant-finish', 'off');
	is_deeply($writer->wait->{tags}, [ 'BEGIN', 'UPDATE 1', 'UPDATE 1', 'COMMIT' ], 'the transfer is committed');
	is($reader->value("BEGIN ISOLATION LEVEL REPEATABLE READ; ${snapshot}$sum; COMMIT"), 0, 'and is seen as a whole');
	$_->leave for $reader, $writer;
	return $answer->{error} ? $answer->{error}{C} : $answer->{rows}[0][0];
}

is(half_seen(''), 7, 'without a snapshot over the nodes half of it is seen');
like(half_seen("SET LOCAL braid.snapshot = 'all'; "), qr{^(?:40001|55P03)$}, 'with one the reader is told to try again');
like(half_seen("SET LOCAL braid.snapshot = 'a, b'; "), qr{^(?:40001|55P03)$}, 'with one, by the names of the servers');

# A transfer of the account with this number is there on one node, and held on another one, when
# something happens to the coordinator after which the node named has its place, and knows nothing.
sub half_recovered
{
	my ($what, $id, $name, $event) = @_;
	my $writer = Braid::Client->new($cluster->node('hub'));
	$cluster->failpoint('b', 'xa-participant-finish', 'wait');
	$writer->send("BEGIN; UPDATE part_hub SET bal = bal + 7 WHERE id = $id; UPDATE part_a SET bal = bal + 7 WHERE id = $id; UPDATE part_b SET bal = bal - 14 WHERE id = $id; COMMIT");
	$cluster->wait_for('b', "SELECT braid_internal.failpoint_waiting('xa-participant-finish') = 1") or die 'the branch is not held';
	$event->();
	is($cluster->sql($name, "SELECT bal FROM part_hub WHERE id = $id"), 7, "$what: the transfer is there on one node");
	my $reader = Braid::Client->insist($cluster->node($name), "SET braid.xa_ready_timeout = '300ms'");
	my $read = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL braid.snapshot = 'a, b'; SELECT sum(bal) FROM accounts WHERE id = $id AND node IN ('hub', 'a', 'b'); COMMIT";
	like(Braid::Client::complaint($reader->run($read)) // 'no error', qr/^(?:40001|55000|55P03) /, "$what: readers are told that it is not over");
	$reader->run('ROLLBACK');
	$cluster->failpoint('b', 'xa-participant-finish', 'off');
	my $answer;
	Braid::Cluster::until_true(sub { $answer = $reader->run($read); $reader->run('ROLLBACK') if $answer->{error}; return !$answer->{error} });
	is($answer->{rows}[0][0], 0, "$what: the first who is let in sees all of it");
	$reader->leave;
	return;
}
half_recovered('after a crash', -1, 'hub', sub { $cluster->kill_node('hub', at_once => 1); $cluster->start_again('hub') });

# ---- under load

sub describe
{
	my ($seen) = @_;
	my $errors = join '; ', map { "$_: $seen->{errors}{$_} times" } sort keys %{ $seen->{errors} };
	return sprintf '%d read, %d torn, %d lost%s', @$seen{qw(read torn lost)}, $errors ne '' ? "; $errors" : '';
}

# Transfers between nodes while so many reads are made of them; returns what was seen.
sub under_load
{
	my ($what, $nodes, %options) = @_;
	my $load = $cluster->start_load('hub', $bank->transfers(@$nodes), 4);
	my $began = time;
	my $seen = $bank->read(nodes => $nodes, readers => 3, %options);
	my $seconds = time - $began;
	my $transfers = $cluster->stop_load($load);
	note sprintf '%s: %s, in %.1f s, %d transfers', $what, describe($seen), $seconds, $transfers;
	cmp_ok($transfers, '>', 0, "$what: there were transfers");
	return $seen;
}

sub has_no_torn_read
{
	my ($seen, $what, $expected_errors) = @_;
	$cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions') or die 'transactions stay unfinished';
	$cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts') or die "transactions stay prepared on $_" for $cluster->names;
	is($seen->{torn}, 0, "$what: no read is torn") or diag explain $seen->{torn_ways};
	is_deeply([ grep { !/^(?:$expected_errors)/ } sort keys %{ $seen->{errors} } ], [], "$what: errors are those that may come");
	is($bank->total('hub', @participants), 0, "$what: nothing is lost");
	return;
}

my $seen = under_load('without a snapshot', [ 'hub', 'a', 'b' ], reads => 300, snapshot => 'none');
cmp_ok($seen->{torn}, '>', 0, 'without a snapshot over the nodes reads are torn');

# All transfers so far have to be between nodes that are read.
sub read_of_servers
{
	my ($count) = @_;
	my @nodes = ('hub', @participants[ 0 .. $count - 1 ]);
	my $read = under_load("$count servers", \@nodes, reads => $wanted / 4);
	has_no_torn_read($read, "$count servers", '40001 |55P03 ');
	is($read->{lost}, 0, "$count servers: no session is lost");
	return;
}
read_of_servers($_) for 2, 3;

# Over the extended protocol: a sum that is not 0 would be a division by zero.
{
	my $load = $cluster->start_load('hub', $bank->transfers('hub', 'a', 'b', 'c'), 4);
	my $script = $cluster->write_script(<<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL braid.snapshot = 'all';
SELECT 1 / (sum(bal) = 0)::int FROM accounts WHERE node IN ('hub', 'a', 'b', 'c');
COMMIT;
SQL
	for my $protocol ('extended', 'prepared')
	{
		$cluster->node('hub')->command_like([ 'pgbench', '-n', '-M', $protocol, '-c', 2, '-t', 50, '--max-tries=50', '-f', $script, 'postgres' ],
			qr{actually processed: 100/100}, "protocol $protocol: no read is torn");
	}
	$cluster->stop_load($load);
}

# ---- under kills

sub replace_node
{
	my ($name) = @_;
	$cluster->kill_node($name, at_once => 1);
	$cluster->start_again($name);
	return 1;
}

my %sorts = (
	'a reader' => [ 'hub', "application_name = 'test'" ],
	'a writer' => [ 'hub', "backend_type = 'client backend' AND application_name = current_setting('application_name')" ],
	'the resolver' => [ 'hub', "backend_type = 'braid resolver'" ],
	"a participant's session" => [ 'b', "backend_type = 'client backend'" ]);
my %kills = (
	'a participant is killed' => sub { replace_node('a') },
	'the coordinator is killed' => sub { replace_node('hub') });
for my $sort (keys %sorts)
{
	$kills{"$sort is killed"} = sub { $cluster->end_some(@{ $sorts{$sort} }, 'KILL') };
	$kills{"$sort is terminated"} = sub { $cluster->end_some(@{ $sorts{$sort} }, 'TERM') };
}
my (@coming, %killed);
my $kills = 0;

sub disturb
{
	return if $kills >= $wanted_kills;
	@coming = shuffle sort keys %kills if !@coming;
	my $what = shift @coming;
	my $done = $kills{$what}->();
	$cluster->wait_alive($_) for 'hub', 'a', 'b';
	$killed{$what} += $done;
	$kills += $done;
	sleep 0.3;
	return;
}

# What may be told besides: no connection, a server that is not ready, a commit of which nobody knows.
my $losses = '40001 |55P03 |57P0|08|55000 |XX000 .*connection|58000 ';
my $reads = 0;
my $rounds = 0;
while (($reads < $wanted / 4 || $kills < $wanted_kills) && $rounds++ < 100)
{
	my $read = under_load('with kills', [ 'hub', 'a', 'b', 'c' ], reads => $wanted / 4, disturb => \&disturb);
	has_no_torn_read($read, 'with kills', $losses);
	$reads += $read->{read};
}
note explain \%killed;
cmp_ok($kills, '>=', $wanted_kills, 'there were enough kills');

read_of_servers(5);
is($cluster->sql('hub', 'SELECT count(*) FROM (SELECT FROM accounts GROUP BY id HAVING sum(bal) <> 0) wrong'), 0, 'each account adds up');

$cluster->add_standby('hub', 'next', 1);
half_recovered('after a fail-over', -2, 'next', sub { $cluster->kill_node('hub', at_once => 1); $cluster->promote('next') });
done_testing();
