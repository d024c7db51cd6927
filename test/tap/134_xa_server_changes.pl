# What servers and mappings become while a transaction is in doubt on them; and a
# standby of a participant is promoted.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '500ms'\n" });
my $user = getpwuid($<);
$cluster->sql($_, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g; CREATE TABLE journal (key text PRIMARY KEY)') for 'hub', 'a', 'b';
$cluster->sql('hub', "CREATE FOREIGN TABLE t_$_ (id int, v int) SERVER $_ OPTIONS (table_name 't'); CREATE FOREIGN TABLE journal_$_ (key text) SERVER $_ OPTIONS (table_name 'journal')") for 'a', 'b';
$cluster->wait_ready('hub', 2);
my $both = 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT;';
my $value = 0;

# Leaves a transaction in doubt on the server whose node is b, and b down.
sub leave_in_doubt
{
	my ($server) = @_;
	$cluster->failpoint('hub', 'xa-committed', 'wait');
	my $psql = $cluster->start_sql('hub', $both);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = '$server'");
	$cluster->failpoint('hub', 'xa-committed', 'off');
	$cluster->finish_sql($psql);
	is($cluster->sql('hub', 'SELECT state FROM braid.transactions'), 'in doubt', 'a transaction is in doubt');
	$value++;
	return;
}

sub is_finished
{
	my ($what) = @_;
	$cluster->wait_ready('hub', 2);
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), "$what: it is finished")
	  or diag($cluster->sql('hub', 'SELECT * FROM braid.transactions'));
	is($cluster->sql($_, 'SELECT v FROM t WHERE id = 1'), $value, "$what: on $_") for 'a', 'b';
	return;
}

# ---- another name, another password, another user
leave_in_doubt('b');
$cluster->sql('hub', 'ALTER SERVER b RENAME TO renamed');
$cluster->start_again('b');
is_finished('a renamed server');
leave_in_doubt('renamed');
$cluster->sql('hub', "ALTER SERVER renamed RENAME TO b; CREATE USER MAPPING FOR braid_resolver SERVER b OPTIONS (user 'braid_resolver', password 'secret')");
$cluster->start_again('b');
is_finished('a password');
leave_in_doubt('b');
$cluster->sql('hub', "ALTER USER MAPPING FOR braid_resolver SERVER b OPTIONS (SET password 'other', SET user '$user')");
$cluster->start_again('b');
is_finished('another user');

# ---- another address: the branch is not there, and must not be taken for finished
for my $known ('in doubt', 'unchecked')
{
	my ($host, $port) = ($cluster->node('b')->host, $cluster->node('b')->port);
	leave_in_doubt('b');
	if ($known eq 'unchecked')
	{
		$cluster->kill_node('hub');
		$cluster->start_again('hub');
	}
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '@{[ $cluster->node('a')->host ]}', SET port '@{[ $cluster->node('a')->port ]}')");
	ok($cluster->wait_for('hub', q{SELECT NOT ready AND reason ~ 'another database answers there' AND advice ~ 'accept_node' FROM braid.participants WHERE server = 'b'}), "$known: another node under the server's name is not taken for it");
	my (undef, undef, $err) = $cluster->try_sql('hub', "SET braid.xa_ready_timeout = '200ms'; UPDATE t_b SET v = 7");
	like($err, qr/server "b" is not ready.*\nDETAIL:.*another database answers there/, 'writes fail');
	is($cluster->sql('hub', 'SELECT DISTINCT state FROM braid.transactions'), $known, 'the transaction is not forgotten');
	cmp_ok($cluster->sql('hub', 'SELECT count(*) FROM braid_internal.decisions'), '>', 0, 'nor is its decision');
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '$host', SET port '$port')");
	$cluster->start_again('b');
	is_finished("$known: back to the address");
}

# ---- another address while a transaction is open: it is rolled back
{
	my ($host, $port) = ($cluster->node('b')->host, $cluster->node('b')->port);
	$cluster->failpoint('hub', 'xa-enlisted', 'wait');
	my $before = $cluster->sql('hub', 'SELECT a.v, b.v FROM t_a a, t_b b');
	my $session = $cluster->start_sql('hub', '\set VERBOSITY verbose
		BEGIN; UPDATE t_a SET v = v + 1; UPDATE t_b SET v = v + 1; COMMIT');
	$cluster->wait_for('hub', q{SELECT braid_internal.failpoint_waiting('xa-enlisted') = 1});
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '@{[ $cluster->node('a')->host ]}', SET port '@{[ $cluster->node('a')->port ]}')");
	$cluster->failpoint('hub', 'xa-enlisted', 'off');
	like($cluster->finish_sql($session), qr/ERROR:  40001: server "b" was given another address during the transaction/, 'open transaction: refused at COMMIT');
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '$host', SET port '$port')");
	ok($cluster->wait_for('hub', q{SELECT ready FROM braid.participants WHERE server = 'b'}), 'open transaction: ready at the old address again');
	ok($cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "open transaction: nothing is prepared on $_") for 'a', 'b';
	is($cluster->sql('hub', 'SELECT a.v, b.v FROM t_a a, t_b b'), $before, 'open transaction: rolled back');

	# Other options do not matter.
	$cluster->failpoint('hub', 'xa-enlisted', 'wait');
	$session = $cluster->start_sql('hub', 'BEGIN; UPDATE t_a SET v = v; UPDATE t_b SET v = v; COMMIT');
	$cluster->wait_for('hub', q{SELECT braid_internal.failpoint_waiting('xa-enlisted') = 1});
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (ADD fetch_size '10')");
	$cluster->failpoint('hub', 'xa-enlisted', 'off');
	is($cluster->finish_sql($session), '', 'open transaction: another option may change');
}

# ---- the node is lost for good
{
	my ($host, $port) = ($cluster->node('b')->host, $cluster->node('b')->port);
	leave_in_doubt('b');
	my $gid = $cluster->sql('hub', 'SELECT gid FROM braid.transactions');
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '@{[ $cluster->node('a')->host ]}', SET port '@{[ $cluster->node('a')->port ]}')");
	$cluster->wait_for('hub', q{SELECT reason ~ 'another database answers there' FROM braid.participants WHERE server = 'b'});
	my (undef, undef, $err) = $cluster->try_sql('hub', "SELECT braid.accept_node('b')");
	like($err, qr/WARNING:  branch of transaction "$gid" on server "b" is given up/, 'what is given up is said');
	$cluster->wait_ready('hub', 2);
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'the transaction is let go');
	$cluster->start_again('b');
	is($cluster->sql('b', 'SELECT gid FROM pg_prepared_xacts'), "$gid:1", 'should the lost node come back, its branch is there');
	$cluster->sql('b', "COMMIT PREPARED '$gid:1'");
	$cluster->sql('hub', "ALTER SERVER b OPTIONS (SET host '$host', SET port '$port')");
	ok($cluster->wait_for('hub', q{SELECT ready FROM braid.participants WHERE server = 'b'}), 'with nothing in doubt an address can be changed');
	(undef, undef, $err) = $cluster->try_sql('hub', "SELECT braid.accept_node('nonsense')");
	like($err, qr/server "nonsense" does not take part/, 'no such server');

	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE gid = '$gid' AND state ~ 'heuristic'"), 'that it was finished by hand is found out')
	  or diag($cluster->sql('hub', 'SELECT * FROM braid.transactions'));
	$cluster->sql('hub', "SELECT braid.xa_forget('$gid')");
	is_finished('after that');
}

# ---- a standby of a participant is promoted, and the server led to it
my $torn = q{SELECT count(*) FROM journal j FULL JOIN journal_a a USING (key) FULL JOIN journal_b b USING (key)
	WHERE j.key IS NULL OR a.key IS NULL OR b.key IS NULL};
sub promote_participant
{
	my ($name, $standby, $lead, $what) = @_;
	my $load = $cluster->start_journal('hub', 3, 'journal', 'journal_a', 'journal_b');
	my $wanted = $cluster->sql('hub', 'SELECT count(*) FROM journal') + 100;
	$cluster->wait_for('hub', "SELECT count(*) > $wanted FROM journal");
	$cluster->kill_node($name);
	$cluster->promote($standby);
	$lead->();
	my @reported = $cluster->stop_journal($load);
	$cluster->wait_ready('hub', 2);
	ok($cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing is left prepared on $_") for $standby, $name eq 'a' ? 'b' : 'a2';
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), "$what: nothing is left in doubt")
	  or diag($cluster->sql('hub', 'SELECT * FROM braid.transactions'));
	is($cluster->sql('hub', $torn), '0', "$what: each transaction is on all nodes or on none");
	my %committed = map { $_ => 1 } split /\n/, $cluster->sql('hub', 'SELECT key FROM journal');
	is(scalar(grep { !$committed{$_} } @reported), 0, "$what: none that was reported committed is lost");
	return;
}
$cluster->add_standby('a', 'a2', 1);
promote_participant('a', 'a2', sub {
	$cluster->sql('hub', "ALTER SERVER a OPTIONS (SET host '@{[ $cluster->node('a2')->host ]}', SET port '@{[ $cluster->node('a2')->port ]}')");
}, 'new address');
$cluster->add_standby('b', 'b2', 1);
$cluster->sql('hub', sprintf(q{ALTER SERVER b OPTIONS (SET host '%s,%s', SET port '%s,%s', ADD target_session_attrs 'read-write')},
	(map { $cluster->node($_)->host } 'b', 'b2'), (map { $cluster->node($_)->port } 'b', 'b2')));
$cluster->wait_ready('hub', 2);
promote_participant('b', 'b2', sub { }, 'several hosts');
done_testing();
