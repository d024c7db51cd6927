# A copy of a coordinator's files that is started beside its original.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b');
$cluster->sql($_, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g') for 'a', 'b';
$cluster->sql('hub', "CREATE FOREIGN TABLE t_$_ (id int, v int) SERVER $_ OPTIONS (table_name 't')") for 'a', 'b';
$cluster->wait_ready('hub', 2);
my $both = 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT;';
my $reasons = 'SELECT DISTINCT reason FROM braid.participants WHERE NOT ready';
my $incarnation = 'SELECT incarnation FROM braid_internal.coordinator';

sub all_refused
{
	my ($name, $pattern, $what) = @_;
	ok($cluster->wait_for($name, "SELECT count(*) = 2 FROM braid.participants WHERE NOT ready AND reason ~ '$pattern' AND advice IS NOT NULL"), $what)
	  or diag($cluster->sql($name, $reasons));
	return;
}

# The original loses its connections; whoever is first gets them.
sub shake
{
	my ($times) = @_;
	for (1 .. $times)
	{
		$cluster->sql($_, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^braid resolver'}) for 'a', 'b';
		select undef, undef, undef, 0.1;
	}
	return;
}

# ---- while a transaction is decided and prepared, a copy is made and started
$cluster->failpoint('hub', 'xa-committed', 'wait');
my $psql = $cluster->start_sql('hub', $both);
$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
$cluster->copy_node('hub', 'clone')->start;
all_refused('clone', 'copy of the coordinator', 'a clone takes part in nothing, and says why');
like(PostgreSQL::Test::Utils::slurp_file($cluster->node('clone')->logfile), qr/WARNING:  this server is a copy of the coordinator/, 'also in its log');
my (undef, undef, $err) = $cluster->try_sql('clone', "SET braid.xa_ready_timeout = '200ms'; UPDATE t_a SET v = 99 WHERE id = 2");
like($err, qr/server "a" is not ready.*\nDETAIL:.*copy of the coordinator.*\nHINT:.*braid\.take_over\(\).*new_identity/, 'writes there fail, with advice');
is($cluster->sql('clone', 'SELECT count(*) FROM t_a'), '10', 'reads work');
$cluster->node('clone')->restart;
shake(5);
all_refused('clone', 'copy of the coordinator', 'nor does it when the original has lost its connections, or after a restart');
is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), '1', "the branch on $_ is as it was") for 'a', 'b';
$cluster->failpoint('hub', 'xa-committed', 'off');
$cluster->finish_sql($psql);
is($cluster->sql($_, 'SELECT v FROM t WHERE id = 1'), '1', "the original has committed it on $_") for 'a', 'b';

# ---- the original crashes and restarts: it is itself
my $before = $cluster->sql('hub', $incarnation);
$cluster->kill_node('hub');
$cluster->start_again('hub');
$cluster->wait_ready('hub', 2);
is($cluster->sql('hub', $incarnation), $before + 1, 'a restart begins the next incarnation');

# ---- the clone is to take over, first while the original lives
$cluster->sql('clone', 'SELECT braid.take_over()');
all_refused('clone', 'is connected to it', 'a living original is not thrown out');
my ($rc) = $cluster->try_sql('hub', $both);
is($rc, 0, 'and goes on');
$cluster->node('hub')->stop;
$cluster->wait_ready('clone', 2);
($rc) = $cluster->try_sql('clone', $both);
is($rc, 0, 'when it has gone the clone takes over');
cmp_ok(abs($cluster->sql('clone', $incarnation) - $before), '>', 1000, 'with gids of its own');
$cluster->node('hub')->start;
all_refused('hub', 'taken over', 'the original is refused when it comes back');
shake(5);
$cluster->wait_ready('clone', 2);
all_refused('hub', 'taken over', 'for good');

# ---- or it is to live beside its original
$cluster->sql('hub', 'SELECT braid_internal.new_identity()');
$cluster->wait_ready('hub', 2);
$cluster->wait_ready('clone', 2);
for my $name ('hub', 'clone')
{
	($rc) = $cluster->try_sql($name, $both);
	is($rc, 0, "with another identity both coordinate: $name");
}
is($cluster->sql($_, 'SELECT v FROM t WHERE id = 1'), '5', "all transactions are on $_") for 'a', 'b';
is($cluster->sql('a', 'SELECT count(*) FROM braid_internal.coordinators'), '2', 'participants know both');
done_testing();
