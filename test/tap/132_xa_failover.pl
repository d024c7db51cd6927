# A physical standby of the coordinator is promoted in the middle of the traffic.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my @tables = ('journal', 'journal_a', 'journal_b');

# One coordinator after the other, each promoted from the standby of the one before.
my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '500ms'\n" });
$cluster->sql($_, 'CREATE TABLE journal (key text PRIMARY KEY)') for $cluster->names;
$cluster->sql('hub', "CREATE FOREIGN TABLE journal_$_ (key text) SERVER $_ OPTIONS (table_name 'journal')") for 'a', 'b';
$cluster->wait_ready('hub', 2);
my $hub = 'hub';
my $hubs = 1;

# What is in one journal and not in another, as the coordinator sees them.
my $torn = q{SELECT count(*) FROM journal j FULL JOIN journal_a a USING (key) FULL JOIN journal_b b USING (key)
	WHERE j.key IS NULL OR a.key IS NULL OR b.key IS NULL};

sub all_resolved
{
	my ($what) = @_;
	$cluster->wait_ready($hub, 2);
	ok($cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing is left prepared on $_") for 'a', 'b';
	ok($cluster->wait_for($hub, 'SELECT count(*) = 0 FROM braid.transactions'), "$what: nothing is left in doubt");
	return;
}

sub committed_keys
{
	return map { $_ => 1 } split /\n/, $cluster->sql($hub, 'SELECT key FROM journal');
}

# A load that has committed some transactions.
sub start_load
{
	my ($sessions) = @_;
	my $wanted = $cluster->sql($hub, 'SELECT count(*) FROM journal') + 100;
	my $load = $cluster->start_journal($hub, $sessions, @tables);
	$cluster->wait_for($hub, "SELECT count(*) > $wanted FROM journal");
	return $load;
}

sub new_standby
{
	my ($synchronous) = @_;
	my $name = 'hub' . ++$hubs;
	$cluster->add_standby($hub, $name, $synchronous);
	return $name;
}

# ---- synchronous
for my $round (1 .. $rounds)
{
	my $old = $hub;
	my $standby = new_standby(1);
	my $load = start_load(4);
	$cluster->kill_node($hub);
	my @reported = $cluster->stop_journal($load);
	$hub = $standby;
	$cluster->promote($hub);
	all_resolved("synchronous, round $round");
	is($cluster->sql($hub, $torn), '0', 'each transaction is on all nodes or on none');
	my %committed = committed_keys();
	cmp_ok(scalar @reported, '>', 50, 'transactions were reported committed');
	is(scalar(grep { !$committed{$_} } @reported), 0, 'and none of them is lost');

	# ---- the old primary comes back
	$load = start_load(2);
	my $offset = -s $cluster->node($old)->logfile;
	$cluster->node($old)->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''");
	$cluster->start_again($old);
	my $refused = q{SELECT count(*) = 2 FROM braid.participants WHERE NOT ready AND reason ~ 'another server has taken over from this one' AND advice ~ 'make it a standby'};
	ok($cluster->wait_for($old, $refused), 'the old primary is kept out, and says why');
	for (1 .. 5)
	{
		# While its successor is not connected nobody but the participants is there to refuse.
		$cluster->sql($_, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^braid resolver'}) for 'a', 'b';
		$cluster->sql($hub, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid resolver'});
		$cluster->wait_ready($hub, 2);
	}
	my (undef, undef, $err) = $cluster->try_sql($old, "SET braid.xa_ready_timeout = '500ms'; INSERT INTO journal_a VALUES ('old primary')");
	like($err, qr/server "a" is not ready.*\nDETAIL:.*another server has taken over/, 'writes there fail');
	cmp_ok($cluster->sql($old, 'SELECT count(*) FROM journal_a'), '>', 100, 'reads go on');
	unlike(PostgreSQL::Test::Utils::slurp_file($cluster->node($old)->logfile, $offset), qr/recovery has/, 'it has resolved nothing');
	is($cluster->sql($old, $refused), 't', 'and is kept out still');
	@reported = $cluster->stop_journal($load);
	all_resolved('after that');
	is($cluster->sql($hub, $torn), '0', 'transactions of the new primary are whole');
	%committed = committed_keys();
	is(scalar(grep { !$committed{$_} } @reported), 0, 'and those reported are there');
	$cluster->node($old)->stop('immediate');
}

# ---- asynchronous: what is known to the standby is whole, and nothing else is there
{
	my $standby = new_standby(0);
	my $hold = sub {
		my ($key, $waiting) = @_;
		my $psql = $cluster->start_sql($hub, 'BEGIN; ' . join(' ', map { "INSERT INTO $_ VALUES ('$key');" } @tables) . ' COMMIT');
		$cluster->wait_for($hub, "SELECT braid_internal.failpoint_waiting('xa-committed') = $waiting");
		return $psql;
	};
	$cluster->failpoint($hub, 'xa-committed', 'wait');
	my @clients = ($hold->('known', 1));
	$cluster->node($hub)->wait_for_catchup($standby, 'replay', $cluster->node($hub)->lsn('flush'));
	$cluster->sql($standby, "ALTER SYSTEM SET primary_conninfo = ''");
	$cluster->sql($standby, 'SELECT pg_reload_conf()');
	$cluster->wait_for($standby, 'SELECT count(*) = 0 FROM pg_stat_wal_receiver');
	push @clients, $hold->('unknown', 2);
	is($cluster->sql($_, 'SELECT count(*) FROM pg_prepared_xacts'), '2', "both transactions are prepared on $_") for 'a', 'b';
	$cluster->kill_node($hub);
	$cluster->finish_sql($_) for @clients;
	$hub = $standby;
	$cluster->promote($hub);
	$cluster->sql($hub, 'ALTER SYSTEM RESET primary_conninfo');
	all_resolved('asynchronous');
	is($cluster->sql($_, q{SELECT string_agg(key, ',') FROM journal WHERE key ~ 'known'}), 'known', "$_ has what the standby knew to be decided, and nothing else") for $hub, 'a', 'b';
}

# ---- asynchronous, under load
for my $round (1 .. $rounds)
{
	my $standby = new_standby(0);
	my $load = start_load(4);
	$cluster->kill_node($hub);
	my @reported = $cluster->stop_journal($load);
	$hub = $standby;
	$cluster->promote($hub);
	all_resolved("asynchronous, under load, round $round");
	is($cluster->sql($hub, 'SELECT count(*) FROM journal j LEFT JOIN journal_a a USING (key) LEFT JOIN journal_b b USING (key) WHERE a.key IS NULL OR b.key IS NULL'), '0', 'what the new primary knows is on all nodes');
	my %committed = committed_keys();
	note(sprintf 'asynchronous: %d reported committed; lost with the log of the old primary: %d; on participants only: %s',
		scalar @reported, scalar(grep { !$committed{$_} } @reported), $cluster->sql($hub, $torn));
	$cluster->sql($_, 'TRUNCATE journal') for $hub, 'a', 'b';
	$load = start_load(2);
	$cluster->stop_journal($load);
	all_resolved('after that');
	is($cluster->sql($hub, $torn), '0', 'and it goes on with whole transactions');
}
done_testing();
