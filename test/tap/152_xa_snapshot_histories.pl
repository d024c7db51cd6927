# Transactions with one snapshot over the nodes are snapshot isolated: clients append to
# lists on several nodes and read them, and what they have seen has no anomaly that
# snapshot isolation forbids; also while processes are killed. Without the snapshot the
# same clients see some, which the same checker finds.
#
# BRAID_OPERATIONS: how many (a million at full length); half of them under kills.
use strict;
use warnings;
use Braid::Appends;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $wanted = $ENV{BRAID_OPERATIONS} // 6000;
my @nodes = ('hub', 'a', 'b');
my $cluster = Braid::Cluster->new(@nodes, { conf => "deadlock_timeout = 200ms\n" });
$cluster->wait_ready('hub', 2);
my $appends = Braid::Appends->new($cluster, nodes => \@nodes, operations => $wanted / 2);

sub is_isolated
{
	my ($history, $what) = @_;
	my $began = time;
	my @anomalies = $history->anomalies;
	note sprintf '%s: %s; checked in %.1f s', $what, $history->summary, time - $began;
	is(join("\n", @anomalies[ 0 .. ($#anomalies < 9 ? $#anomalies : 9) ]), '', "$what: no anomaly") or diag explain $history->kinds;
	cmp_ok($history->operations, '>=', $wanted / 2, "$what: there were enough operations");
	return;
}

# What may end a transaction under load: another one has written the same, a deadlock, a
# snapshot that was not to be had in time.
my $conflicts = '40001 |40P01 |55P03 ';
is_isolated($appends->play(snapshot => 'all'), 'with a snapshot over the nodes');
is(join("\n", $appends->errors($conflicts)), '', 'there are only conflicts');

# Whatever works for the clients ends, softly and hard.
my $calls = 0;
my @victims = (
	[ 'hub', "application_name = 'test'" ],
	[ 'hub', "backend_type = 'braid resolver'" ],
	[ 'a', "backend_type = 'client backend'" ],
	[ 'b', "backend_type = 'client backend'" ]);

sub disturb
{
	return if ++$calls % 5;
	my ($name, $sort) = @{ $victims[ $calls / 5 % @victims ] };
	return $cluster->end_some($name, $sort, $calls % 2 ? 'KILL' : 'TERM');
}
is_isolated($appends->play(snapshot => 'a, b', disturb => \&disturb), 'under kills');
note join "\n", $appends->errors($conflicts);

my $kinds;
for (1 .. 10)
{
	my $without = $appends->play(operations => 3000);
	note 'without a snapshot over the nodes: ', $without->summary;
	$kinds = $without->kinds;
	last if $kinds->{'G-single'} || $kinds->{'long fork'};
}
note explain $kinds;
cmp_ok(($kinds->{'G-single'} // 0) + ($kinds->{'long fork'} // 0), '>', 0, 'without it the checker finds reads that snapshot isolation forbids');
done_testing();
