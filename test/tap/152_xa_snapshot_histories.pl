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
my $cluster = Braid::Cluster->new(@nodes, { conf => "fsync = on\nsynchronous_commit = off\ndeadlock_timeout = 200ms\n" });
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

# What may end a transaction under load: another one has written the same, or a deadlock.
my $conflicts = '40001 |40P01 ';
my $began = time;
my $without = $appends->play;
note sprintf 'without a snapshot: %s, in %.1f s', $without->summary, time - $began;
my $kinds = $without->kinds;
cmp_ok(($kinds->{'G-single'} // 0) + ($kinds->{'long fork'} // 0), '>', 0, 'without a snapshot over the nodes the checker finds torn reads') or diag explain $kinds;
note explain $kinds;
note join "\n", ($without->anomalies)[ 0 .. 1 ];
is(join("\n", $appends->errors($conflicts)), '', 'there are only conflicts');
done_testing();
