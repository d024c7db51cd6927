# Branches that are finished by hand, and what the operator sees and does.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '200ms'\n" });
my $hub = $cluster->node('hub');
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
}
for my $name ($cluster->names)
{
	$cluster->sql($name, 'CREATE ROLE carol LOGIN; GRANT braid_operator TO carol; CREATE ROLE mallory LOGIN');
}
my $both = 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT;';
my $transactions = 'SELECT state, servers, branch_states FROM braid.transactions';
my $coordinator = $cluster->sql('hub', "SELECT lpad(to_hex(id), 16, '0') FROM braid_internal.coordinator");

# Runs SQL as another role; returns (exit code, stdout, stderr).
sub as
{
	my ($role, $name, $sql) = @_;
	return $cluster->node($name)->psql('postgres', $sql, on_error_stop => 1, extra_params => [ '-U', $role ]);
}

sub as_operator
{
	my ($name, $sql) = @_;
	my ($rc, $out, $err) = as('carol', $name, $sql);
	die $err if $rc != 0;
	return $out;
}

# The value on both nodes, once nothing is prepared there.
sub values_are
{
	my ($expected, $what) = @_;
	for my $name ('a', 'b')
	{
		$cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts');
	}
	is(join('|', map { $cluster->sql($_, 'SELECT v FROM t WHERE id = 1') } 'a', 'b'), $expected, $what);
	return;
}

sub nothing_kept
{
	my ($what) = @_;
	ok($cluster->wait_for('hub', 'SELECT (SELECT count(*) FROM braid.transactions) + (SELECT count(*) FROM braid_internal.heuristics) = 0'), "$what: nothing is left on the coordinator");
	for my $name ('a', 'b')
	{
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM braid_internal.interventions'), "$what: nor on $name");
	}
	return;
}

# A transaction that has stopped after its decision ('xa-committed') or before it
# ('xa-prepared'), prepared on both nodes; returns its gid and the session.
sub stop_at
{
	my ($point) = @_;
	$cluster->failpoint('hub', $point, 'wait');
	my $psql = $cluster->start_sql('hub', $both);
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('$point') = 1") or die "nobody comes to $point";
	my $gid = $cluster->sql('hub', 'SELECT gid FROM braid.transactions');
	return ($gid, $psql);
}

# The same, and the coordinator is killed there: all of it, as a backend that goes on when
# its postmaster has died can hand the transaction over to a resolver that is still there.
sub kill_hub_at
{
	my ($point) = @_;
	my ($gid, $psql) = stop_at($point);
	$cluster->kill_node('hub', at_once => 1);
	$cluster->finish_sql($psql);
	$cluster->wait_for($_, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name ~ '^braid resolver'") || die "the resolver's session stays on $_" for 'a', 'b';
	return $gid;
}

sub continue_from
{
	my ($point, $psql) = @_;
	$cluster->failpoint('hub', $point, 'off');
	return $cluster->finish_sql($psql);
}

# ---- what is no heuristic outcome
{
	my $log = -s $hub->logfile;
	my ($rc, undef, $err) = $cluster->try_sql('hub', 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 99; COMMIT') for 1 .. 3;
	$cluster->try_sql('hub', 'BEGIN; UPDATE t_b SET v = v + 1 WHERE id = 99; UPDATE t_a SET v = v + 1 WHERE id = 99; COMMIT');
	is($cluster->sql('a', 'SELECT v FROM t WHERE id = 1'), '3', 'a branch that writes nothing has nothing to be prepared');
	$cluster->sql('a', 'UPDATE t SET v = 0');

	# The answer to COMMIT PREPARED is lost: the participant's backend dies after it.
	my ($gid, $psql) = stop_at('xa-committed');
	$cluster->failpoint('a', 'xa-participant-finished', 'wait');
	$cluster->failpoint('hub', 'xa-committed', 'off');
	$cluster->wait_for('a', "SELECT braid_internal.failpoint_waiting('xa-participant-finished') = 1");
	is($cluster->sql('a', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'a branch is committed, and its coordinator not told');
	$cluster->kill_process('a', $cluster->sql('a', "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^braid resolver' AND query ~ '^COMMIT PREPARED'"));
	$cluster->finish_sql($psql);
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'when it has asked again, it is content');
	values_are('1|1', 'all is committed');
	nothing_kept('no intervention');
	my $said = PostgreSQL::Test::Utils::slurp_file($hub->logfile, $log);
	unlike($said, qr/heuristic/, 'and the log does not speak of heuristic outcomes');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- refused
{
	my ($gid, $psql) = stop_at('xa-prepared');
	my $branch = $cluster->sql('a', 'SELECT gid FROM pg_prepared_xacts');
	for my $sql ("SELECT braid.xa_commit('$gid')", "SELECT braid.xa_rollback('$gid')", "SELECT braid.xa_forget('$gid')",
		'SELECT * FROM braid.transactions', 'SELECT * FROM braid.branches')
	{
		my (undef, undef, $err) = as('mallory', 'hub', $sql);
		like($err, qr/permission denied/, "refused to others: $sql");
	}
	my (undef, undef, $err) = as('mallory', 'a', "ROLLBACK PREPARED '$branch'");
	like($err, qr/permission denied to finish prepared transaction/, 'others may not finish a branch');
	is($cluster->sql('a', 'SELECT count(*) FROM braid_internal.interventions'), '0', 'and their attempt leaves nothing');
	for my $action ('commit', 'rollback')
	{
		(undef, undef, $err) = as('carol', 'hub', "SELECT * FROM braid.xa_$action('$gid')");
		like($err, qr/global transaction "\Q$gid\E" is active\nDETAIL:.*\nHINT:.*pg_terminate_backend/, "xa_$action() of an active transaction");
		(undef, undef, $err) = as('carol', 'a', "SELECT * FROM braid.xa_$action('$branch')");
		like($err, qr/cannot be finished here because its coordinator is connected/, "xa_$action() on a participant whose coordinator is connected");
		(undef, undef, $err) = as('carol', 'hub', "SELECT * FROM braid.xa_$action('x')");
		like($err, qr/is not the name of a global transaction/, "xa_$action() of something else");
		(undef, undef, $err) = as('carol', 'a', "SELECT * FROM braid.xa_$action('$gid:7')");
		like($err, qr/global transaction .* is not known/, "xa_$action() of an unknown branch");
	}
	continue_from('xa-prepared', $psql);
	values_are('1|1', 'the transaction ends as if nothing was');
	(undef, undef, $err) = as('carol', 'hub', "SELECT braid.xa_forget('$gid')");
	like($err, qr/is not known\nDETAIL:  It has no heuristic outcome/, 'nothing to forget');
	(undef, undef, $err) = as('carol', 'hub', "SELECT * FROM braid.xa_commit('braid:$coordinator:1:4711')");
	like($err, qr/cannot be committed because it was not decided to commit/, 'xa_commit() without a decision');
	(undef, undef, $err) = as('carol', 'hub', "SELECT * FROM braid.xa_rollback('braid:$coordinator:1:4711')");
	like($err, qr/is not known\nDETAIL:  No server has a prepared branch of it/, 'xa_rollback() of nothing');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- a participant is away
{
	my ($gid, $psql) = stop_at('xa-committed');
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	continue_from('xa-committed', $psql);
	my (undef, undef, $err) = as('carol', 'hub', "SELECT * FROM braid.xa_rollback('$gid')");
	like($err, qr/cannot be rolled back because it is decided to commit/, 'xa_rollback() of a decided transaction');
	(undef, undef, $err) = as('carol', 'hub', "SELECT braid.xa_forget('$gid')");
	like($err, qr/cannot be forgotten because it is not finished/, 'xa_forget() of an unfinished one');
	like(as_operator('hub', "SELECT branch, server, state, error FROM braid.xa_commit('$gid')"), qr/^\Q$gid\E:0\|a\|committed\|\n\Q$gid\E:1\|b\|in doubt\|could not connect to it/, 'xa_commit() says what became of each branch');
	$cluster->start_again('b');
	$cluster->wait_for('hub', "SELECT ready FROM braid.participants WHERE server = 'b'");
	values_are('1|1', 'and when the participant is back');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- the coordinator is gone, the participants' operator decides
my $round = 0;
for my $case (
	# decided?, what is done on a, on b, result on a and b, state, branch states, advice
	[ 1, 'commit', 'commit', '1|1', 'heuristically committed', '{"heuristically committed","heuristically committed"}', qr/nothing is wrong/ ],
	[ 1, 'rollback', 'rollback', '0|0', 'heuristically rolled back', '{"heuristically rolled back","heuristically rolled back"}', qr/Branch 0 on server "a" was rolled back by role "carol" at .*The decision is to commit/ ],
	[ 1, 'rollback', '', '0|1', 'heuristically mixed', '{"heuristically rolled back",committed}', qr/Compare their data/ ],
	[ 1, 'rollback', 'commit', '0|1', 'heuristically mixed', '{"heuristically rolled back","heuristically committed"}', qr/Compare their data/ ],
	[ 0, 'rollback', 'rollback', '0|0', 'heuristically rolled back', '{"heuristically rolled back","heuristically rolled back"}', qr/nothing is wrong/ ],
	[ 0, 'commit', 'commit', '1|1', 'heuristically committed', '{"heuristically committed","heuristically committed"}', qr/The decision is to roll back/ ],
	[ 0, 'commit', '', '1|0', 'heuristically mixed', '{"heuristically committed"}', qr/The decision is to roll back/ ])
{
	my ($decided, $on_a, $on_b, $values, $state, $states, $advice) = @$case;
	my $what = ($decided ? 'decided' : 'not decided') . ", $on_a on a, " . ($on_b || 'nothing') . ' on b';
	my $gid = kill_hub_at($decided ? 'xa-committed' : 'xa-prepared');

	like($cluster->sql('a', "SELECT state, coordinator_connected, owner IS NOT NULL, locks_held > 1, relations, xmin_age >= 0, advice FROM braid.branches"),
		qr/^prepared\|f\|t\|t\|\{t,t_pkey\}\|t\|Its coordinator is not connected\./ , "$what: the participant shows the branch") if $round == 0;
	like(as_operator('a', "SELECT branch, server, state FROM braid.xa_$on_a('$gid')"), qr/^\Q$gid\E:0\|\|heuristically /, "$what: done on a");
	# By the statement, as a superuser, and as an operator who does not own the branch.
	if ($on_b && $round % 2 == 0)
	{
		$cluster->sql('b', uc($on_b) . " PREPARED '$gid:1'");
	}
	elsif ($on_b)
	{
		as_operator('b', uc($on_b) . " PREPARED '$gid:1'");
	}
	like($cluster->sql('a', 'SELECT state, decided_by, advice FROM braid.branches'), qr/^heuristically \S+( back)?\|carol\|Its coordinator will learn of this/, "$what: the participant remembers");
	$cluster->start_again('hub');
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = '$state' AND branch_states = '$states'"), "$what: $state")
	  or diag($cluster->sql('hub', 'TABLE braid.transactions'), $cluster->sql('hub', 'TABLE braid_internal.heuristics'));
	values_are($values, "$what: the values");
	like(as_operator('hub', "SELECT advice FROM braid.transactions WHERE gid = '$gid'"), $advice, "$what: the advice");

	# It is kept over a restart and until it is forgotten.
	if ($round == 0)
	{
		$hub->restart;
		$cluster->wait_ready('hub', 2);
	}
	my $rows = $cluster->sql('hub', 'SELECT count(*) FROM braid_internal.heuristics');
	$cluster->sql('hub', 'SELECT braid.xa_recover()');
	is($cluster->sql('hub', "SELECT state, (SELECT count(*) FROM braid_internal.heuristics) FROM braid.transactions"), "$state|$rows", "$what: found once");
	as_operator('hub', "SELECT braid.xa_forget('$gid')");
	nothing_kept($what);
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
	$round++;
}

# ---- while the coordinator is there: a superuser finishes a branch that is about to be committed
{
	my ($gid, $psql) = stop_at('xa-committed');
	$cluster->sql('b', "ROLLBACK PREPARED '$gid:1'");
	my $said = continue_from('xa-committed', $psql);
	like($said, qr/WARNING:  transaction "\Q$gid\E" is committed, but not on all servers\nDETAIL:.*server "b".*by hand/, 'a client whose branch was rolled back by hand is warned');
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'heuristically mixed'"), 'and the outcome is mixed');
	values_are('1|0', 'truly');
	is($cluster->sql('hub', "SELECT branch, state FROM braid.xa_commit('$gid')"), "$gid:0|committed\n$gid:1|heuristically rolled back", 'xa_commit() shows it');
	$cluster->wait_for('hub', "SELECT count(*) = 0 FROM braid_internal.xa_transactions() WHERE gid = '$gid'") or die "$gid is not finished";
	as_operator('hub', "SELECT braid.xa_forget('$gid')");
	nothing_kept('a superuser');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- the coordinator crashes after it has found an outcome, before that is recorded
{
	my $gid = kill_hub_at('xa-committed');
	as_operator('a', "SELECT braid.xa_rollback('$gid')");
	$cluster->node('a')->stop;
	$cluster->start_again('hub');
	$cluster->crash_at('hub', 'xa-heuristic-found', sub { $cluster->node('a')->start });
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'heuristically mixed'"), 'an outcome is found again after a crash');
	values_are('0|1', 'the other branch is committed');
	as_operator('hub', "SELECT braid.xa_forget('$gid:0')");
	nothing_kept('found again');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- the participant crashes after an intention was recorded, before the branch was touched
{
	my $gid = kill_hub_at('xa-committed');
	$cluster->crash_at('a', 'xa-intervention-recorded', sub { $cluster->try_sql('a', "ROLLBACK PREPARED '$gid:0'") });
	is($cluster->sql('a', 'SELECT (SELECT count(*) FROM pg_prepared_xacts), (SELECT outcome FROM braid_internal.interventions)'), '1|rollback', 'an intention, and the branch is still prepared');
	$cluster->start_again('hub');
	values_are('1|1', 'the coordinator commits it');
	nothing_kept('an intention');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- the participant has forgotten what became of the branch (its log of transactions was truncated)
{
	my $gid = kill_hub_at('xa-committed');
	as_operator('a', "SELECT braid.xa_commit('$gid')");
	$cluster->sql('a', "UPDATE braid_internal.interventions SET xid = '0'");
	$cluster->start_again('hub');
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'heuristic hazard' AND branch_states = '{\"heuristic hazard\",committed}'"), 'what cannot be known is a hazard');
	like($cluster->sql('hub', 'SELECT advice FROM braid.transactions'), qr/finished, which way is not known, by role "carol".*may disagree/, 'and said so');
	as_operator('hub', "SELECT braid.xa_forget('$gid')");
	nothing_kept('a hazard');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- finished by hand behind braid's back, but the branch was seen
{
	my $gid = kill_hub_at('xa-committed');
	$cluster->node($_)->stop for 'a', 'b';
	$cluster->start_again('hub');
	$cluster->failpoint('hub', 'xa-sweep', 'wait');
	$cluster->node('a')->start;
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-sweep') = 1") or die 'nobody sweeps';
	$cluster->sql('a', "ROLLBACK PREPARED '$gid:0'");
	$cluster->sql('a', 'DELETE FROM braid_internal.interventions');
	$cluster->failpoint('hub', 'xa-sweep', 'off');
	$cluster->node('b')->start;
	ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM braid.transactions WHERE state = 'heuristically mixed'"), 'a contradiction is seen without a record');
	like($cluster->sql('hub', 'SELECT advice FROM braid.transactions'), qr/rolled back by somebody who is not known/, 'but not who did it');
	values_are('0|1', 'the values');
	as_operator('hub', "SELECT braid.xa_forget('$gid')");
	nothing_kept('without a record');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- a coordinator that is gone for good
{
	my $gid = 'braid:00000000000000ff:1:5';
	$cluster->sql('a', "BEGIN; UPDATE t SET v = 5 WHERE id = 1; UPDATE braid_internal.enlist SET gid = '$gid:0'; COMMIT");
	my $waiter = $cluster->start_sql('a', "SET application_name = 'waiter'; UPDATE t SET v = v + 1 WHERE id = 1");
	ok($cluster->wait_for('a', "SELECT blocked_pids = ARRAY(SELECT pid FROM pg_stat_activity WHERE application_name = 'waiter') AND cardinality(blocked_pids) = 1 FROM braid.branches"), 'a branch shows whom it blocks');
	is(as_operator('a', "BEGIN; SELECT state FROM braid.xa_rollback('$gid:0'); ROLLBACK"), 'heuristically rolled back', 'xa_rollback() in a transaction that is rolled back');
	$cluster->finish_sql($waiter);
	is($cluster->sql('a', 'SELECT v FROM t WHERE id = 1'), '1', 'works all the same');
	as_operator('a', "SELECT braid.xa_forget('$gid')");
	is($cluster->sql('a', 'SELECT count(*) FROM braid.branches'), '0', 'and can be forgotten there');
	$cluster->sql($_, 'UPDATE t SET v = 0') for 'a', 'b';
}

# ---- a branch that cannot be reached: locks and xmin as they were seen last
{
	my ($gid, $psql) = stop_at('xa-prepared');
	$cluster->wait_for('hub', "SELECT locks_held >= 4 AND xmin_age >= 0 AND seen IS NOT NULL FROM braid.transactions");
	pass('locks and xmin that prepared branches hold are seen');
	continue_from('xa-prepared', $psql);
	values_are('1|1', 'and gone');
}
done_testing();
