# Deadlocks over several servers: each has one victim, the youngest global
# transaction, which gets 40P01; the others go on and commit.
#
# BRAID_LOCK_WAITS: how many waits without a cycle are to have no victim.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;
use Time::HiRes 'time';

my $wanted_waits = $ENV{BRAID_LOCK_WAITS} || 10_000;
my @participants = ('a' .. 'e');
my $cluster = Braid::Cluster->new('hub', @participants, { conf => "shared_buffers = 16MB\ndeadlock_timeout = 1s\n" });

for my $name ('hub', @participants)
{
	$cluster->sql($name, <<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
INSERT INTO t SELECT g FROM generate_series(1, 9) g;
CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;
GRANT ALL ON t TO alice, bob;
-- checked at the end of a transaction, which is the PREPARE of a branch
CREATE TABLE checked (id int);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$ BEGIN UPDATE t SET v = v + 1 WHERE id = new.id; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER touch AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION touch();
SQL
}

# Foreign tables on $from for server $to.
sub add_tables
{
	my ($from, $to) = @_;
	$cluster->sql($from, <<"SQL");
CREATE FOREIGN TABLE t_$to (id int, v int) SERVER $to OPTIONS (table_name 't');
CREATE FOREIGN TABLE checked_$to (id int) SERVER $to OPTIONS (table_name 'checked');
SQL
	return;
}
add_tables('hub', $_) for @participants;
$cluster->connect_server('c', $_), add_tables('c', $_) for 'a', 'b';

sub set_all
{
	my ($setting) = @_;
	for my $name ('hub', @participants)
	{
		$cluster->sql($name, "ALTER SYSTEM SET $setting");
		$cluster->sql($name, 'SELECT pg_reload_conf()');
	}
	return;
}

# ---- sessions

# A psql whose statements are not waited for. All that it says goes into one
# text; a marker, which psql says after a statement has ended, shows how far.
sub session
{
	my ($name) = @_;
	my $s = { in => '', out => '', markers => 0 };
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $cluster->node($name)->connstr('postgres'), '-f', '-' ],
		'<', \$s->{in}, '>', \$s->{out}, '2>&1', IPC::Run::timeout(3 * $PostgreSQL::Test::Utils::timeout_default));
	start($s, '\set VERBOSITY verbose');
	return $s;
}

sub start
{
	my ($s, $sql) = @_;
	$s->{in} .= $sql . ($sql =~ /^\\/ ? "\n" : ";\n");
	$s->{run}->pump_nb;
	return;
}

# Waits for the end of all statements; returns what psql has said since then.
sub finish
{
	my ($s) = @_;
	my $marker = 'marker ' . ++$s->{markers} . "\n";
	start($s, "\\echo $marker");
	$s->{run}->pump until $s->{out} =~ /$marker/;
	$s->{out} =~ s/^(.*?)$marker//s;
	return $1;
}

sub run_sql
{
	my ($s, $sql) = @_;
	start($s, $sql);
	my $said = finish($s);
	die "$sql: $said" if $said =~ /ERROR|FATAL/;
	return $said =~ s/\n$//r;
}

sub end_session
{
	my ($s) = @_;
	start($s, '\q');
	$s->{run}->finish;
	return;
}

# To look at each node with.
my %look = map { $_ => session($_) } 'hub', @participants;

# Waits until so many processes of the nodes wait for locks.
sub wait_for_waits
{
	my ($expected) = @_;
	for (1 .. 600)
	{
		my $waits = 0;
		$waits += run_sql($look{$_}, 'SELECT count(*) FROM pg_locks WHERE NOT granted') for 'hub', @participants;
		return if $waits >= $expected;
		select undef, undef, undef, 0.05;
	}
	die "there are no $expected waits";
}

# How many victims a coordinator has had.
my %victims = map { $_ => 0 } 'hub', 'c';

# A cycle of sessions [node, statements before, statement that waits for the
# next session], the oldest first. The victim is the session with that number;
# the others commit. victim_gets is what it gets, a deadlock by default.
sub cycle
{
	my ($what, $victim, $links, %options) = @_;
	my @sessions;
	for my $link (@$links)
	{
		my $s = session($link->[0]);
		run_sql($s, "BEGIN; $link->[1]");
		push @sessions, $s;
	}
	for my $i (0 .. $#$links)
	{
		start($sessions[$i], $links->[$i][2]);
		wait_for_waits($i + 1) if $i < $#$links;
	}
	$victims{ $links->[$victim][0] }++;
	my $began = time;
	$options{meanwhile}->() if $options{meanwhile};
	my $said = finish($sessions[$victim]);
	my $took = time - $began;
	like($said, $options{victim_gets} // qr/ERROR:  40P01: deadlock detected\nDETAIL:  On /, "$what: the victim gets 40P01");
	cmp_ok($took, '<', $options{limit} // 10, "$what: is broken");
	diag(sprintf '%s: broken %.2f s after its last wait began', $what, $took) unless $options{quiet};
	run_sql($sessions[$victim], $options{victim_ends} // 'ROLLBACK');
	for my $k (1 .. $#$links)
	{
		my $i = ($victim - $k) % @$links;
		unlike(finish($sessions[$i]), qr/ERROR|WARNING|psql/, "$what: session $i goes on");
		start($sessions[$i], 'COMMIT') unless $links->[$i][2] eq 'COMMIT';
		unlike(finish($sessions[$i]), qr/ERROR|WARNING|psql/, "$what: and commits");
	}
	end_session($_) for @sessions;
	return $said;
}

sub update { my ($table, $id) = @_; return "UPDATE $table SET v = v + 1 WHERE id = $id"; }

# Each locks row 1 of its own server, then updates the next one's. A row that was
# updated by another would be 40001: postgres_fdw reads with one snapshot.
sub ring
{
	my (@servers) = @_;
	return [ map { [ 'hub', update("t_$servers[$_]", 2) . "; SELECT FROM t_$servers[$_] WHERE id = 1 FOR UPDATE",
				update('t_' . $servers[ ($_ + 1) % @servers ], 1) ] } 0 .. $#servers ];
}

# ---- over 2, 3 and 5 servers, with the time-out that servers have by default

for my $n (2, 3, 5)
{
	my $said = cycle("cycle over $n servers", $n - 1, ring(@participants[ 0 .. $n - 1 ]));
	like($said, qr/On server "$participants[$_]", process \d+ of global transaction ".*" waits for ShareLock on transaction \d+; blocked by process \d+/, "the detail names server $participants[$_]")
	  for 0 .. $n - 1;
}

# ---- shorter from here on

set_all("deadlock_timeout = '200ms'");

cycle('a row of the coordinator, the victim waits for it', 1, [
	[ 'hub', update('t', 1), update('t_a', 1) ],
	[ 'hub', update('t_a', 1), update('t', 1) ] ]);
cycle('a row of the coordinator, the other waits for it', 1, [
	[ 'hub', update('t_a', 1), update('t', 1) ],
	[ 'hub', update('t', 1), update('t_a', 1) ] ]);
cycle('a table of the coordinator, for which the parser waits', 1, [
	[ 'hub', 'LOCK TABLE t', update('t_a', 1) ],
	[ 'hub', update('t_a', 1), 'SELECT * FROM t' ] ]);
cycle('SELECT FOR UPDATE', 1, [
	[ 'hub', 'SELECT * FROM t_a WHERE id = 2 FOR UPDATE', 'SELECT * FROM t_b WHERE id = 2 FOR UPDATE' ],
	[ 'hub', 'SELECT * FROM t_b WHERE id = 2 FOR UPDATE', 'SELECT * FROM t_a WHERE id = 2 FOR UPDATE' ] ]);
cycle('a table without statements that could be tagged', 1, [
	[ 'hub', 'TRUNCATE checked_a', update('t_b', 1) ],
	[ 'hub', update('t_b', 1), 'INSERT INTO checked_a VALUES (1)' ] ]);

# ---- with sessions of a participant's own

cycle('a plain local session of a participant', 2, [
	[ 'a', update('t', 1), update('t', 2) ],
	[ 'hub', update('t_a', 2), update('t_b', 1) ],
	[ 'hub', update('t_b', 1), update('t_a', 1) ] ]);

# ---- prepared transactions

my $checks = 'INSERT INTO checked_b VALUES (9)';
cycle('a prepared transaction is waited for', 1, [
	[ 'hub', update('t_a', 1) . "; $checks", 'COMMIT' ],
	[ 'hub', update('t_b', 9), update('t_a', 1) ] ]);
cycle('the victim is in its COMMIT, and partly prepared', 1, [
	[ 'hub', update('t_b', 9), update('t_a', 1) ],
	[ 'hub', update('t_a', 1) . "; $checks", 'COMMIT' ] ]);
ok($cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "nothing stays prepared on $_") for 'a', 'b';

# ---- one session with two branches on one server waits for itself

$cluster->sql('hub', <<'SQL');
GRANT ALL ON t_a TO alice, bob;
CREATE USER MAPPING FOR alice SERVER a OPTIONS (user 'alice', password_required 'false');
CREATE USER MAPPING FOR bob SERVER a OPTIONS (user 'bob', password_required 'false');
SQL
cycle('two branches of one transaction', 0, [
	[ 'hub', 'SET LOCAL ROLE alice; ' . update('t_a', 1) . '; SET LOCAL ROLE bob', update('t_a', 1) ] ]);

# ---- the error can be caught

cycle('caught in PL/pgSQL', 1, [
	[ 'hub', update('t_a', 1), update('t_b', 1) ],
	[ 'hub', 'SELECT FROM t_b WHERE id = 1 FOR UPDATE', 'DO $$ BEGIN ' . update('t_a', 1) . q{; EXCEPTION WHEN deadlock_detected THEN RAISE NOTICE 'caught %', SQLSTATE; END $$} ] ],
	victim_gets => qr/NOTICE:  00000: caught 40P01/, victim_ends => 'COMMIT');

# ---- two coordinators

for my $young ('hub', 'c')
{
	my $old = $young eq 'hub' ? 'c' : 'hub';
	cycle("two coordinators, $young has the younger transaction", 1, [
		[ $old, update('t_a', 1), update('t_b', 1) ],
		[ $young, update('t_b', 1), update('t_a', 1) ] ]);
}

# The youngest is c's, which does not know server d and so does not see the
# cycle: the next youngest has to do.
cycle('two coordinators, that of the youngest does not see the cycle', 1, [
	[ 'hub', update('t_c', 1), update('t_d', 1) ],
	[ 'hub', update('t_d', 1), update('t_b', 1) ],
	[ 'c', update('t_b', 1), update('t', 1) ] ]);

is($cluster->sql($_, 'SELECT deadlocks FROM braid.stat_xa WHERE datname = current_database()'), $victims{$_}, "braid.stat_xa counts the victims of $_")
  for sort keys %victims;

# ---- what an operator sees while a cycle stands, and that it can be left alone

set_all('braid.xa_deadlock_detection = off');
{
	my ($x, $y) = map { session('hub') } 1 .. 2;
	run_sql($x, 'BEGIN; ' . update('t_a', 3));
	run_sql($y, 'BEGIN; ' . update('t_b', 3));
	my ($x_pid, $y_pid) = map { run_sql($_, 'SELECT pg_backend_pid()') } $x, $y;
	start($x, update('t_b', 3));
	start($y, update('t_a', 3));
	wait_for_waits(2);
	select undef, undef, undef, 1;
	is(run_sql($look{hub}, q{SELECT string_agg(format('%s %s>%s', server, split_part(waiter, ':', 2), split_part(blocker, ':', 2)), ' ' ORDER BY server)
		FROM braid.lock_waits WHERE waiting > '200ms' AND waiter_pid IS NOT NULL AND lock ~ '^ShareLock on transaction \d+$'}),
		"a $y_pid>$x_pid b $x_pid>$y_pid", 'braid.lock_waits shows the waits of all servers, and by whom');
	is(run_sql($look{hub}, "SELECT count(*) FROM pg_stat_activity WHERE pid IN ($x_pid, $y_pid) AND state = 'active'"), '2', 'a deadlock lasts while detection is off');
	set_all('braid.xa_deadlock_detection = on');
	like(finish($y), qr/40P01/, 'and no longer');
	run_sql($y, 'ROLLBACK');
	is(finish($x), '', 'the other goes on');
	run_sql($x, 'COMMIT');

	# Waits of the coordinator itself.
	run_sql($x, 'BEGIN; LOCK TABLE checked');
	start($y, 'SELECT count(*) FROM checked');
	wait_for_waits(1);
	is(run_sql($look{hub}, 'SELECT server IS NULL, waiter_pid, blocker_pid, waiter, lock FROM braid.lock_waits'),
		"t|$y_pid|$x_pid||AccessShareLock on relation " . run_sql($look{hub}, q{SELECT format('%s of database %s', 'checked'::regclass::oid, oid) FROM pg_database WHERE datname = 'postgres'}),
		'and those of this server');
	run_sql($x, 'COMMIT');
	finish($y);
	end_session($_) for $x, $y;
}

# ---- a cycle that has gone has no victim

# Lets the resolver stop at the point in a cycle of two sessions, cancels the
# older one, which no detector would, and lets the resolver go on.
sub break_at
{
	my ($point) = @_;
	my ($x, $y) = map { session('hub') } 1 .. 2;
	my $x_pid = run_sql($x, 'SELECT pg_backend_pid()');
	$cluster->failpoint('hub', $point, 'wait');
	run_sql($x, 'BEGIN; ' . update('t_a', 4));
	run_sql($y, 'BEGIN; ' . update('t_b', 4));
	start($x, update('t_b', 4));
	wait_for_waits(1);
	start($y, update('t_a', 4));
	$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('$point') = 1");
	run_sql($look{hub}, "SELECT pg_cancel_backend($x_pid)");
	like(finish($x), qr/57014: canceling statement due to user request/, "$point: a cancel by hand stays one");
	run_sql($x, 'ROLLBACK');
	is(finish($y), '', "$point: the other goes on");
	return ($x, $y);
}

for my $point ('xa-deadlock-confirm', 'xa-deadlock-cancel')
{
	my ($x, $y) = break_at($point);
	my $victims = () = PostgreSQL::Test::Utils::slurp_file($cluster->node('hub')->logfile) =~ /is canceled/g;
	$cluster->failpoint('hub', $point, 'off');
	run_sql($y, 'SELECT pg_sleep(0.5)') if $point eq 'xa-deadlock-confirm';
	run_sql($y, 'COMMIT');
	run_sql($y, 'SELECT pg_sleep(0.5)');
	pass("$point: nor is it a victim later");
	my $after = () = PostgreSQL::Test::Utils::slurp_file($cluster->node('hub')->logfile) =~ /is canceled/g;
	is($after, $victims, "$point: the detector has let it go");
	end_session($_) for $x, $y;
}

# The transaction ends between the detector's look and its signal, and the next
# one of the session is under way and waits: it is not hit.
{
	my ($x, $y) = break_at('xa-deadlock-cancel');
	run_sql($y, 'ROLLBACK');
	run_sql($x, 'BEGIN; ' . update('t_a', 4));
	start($y, 'BEGIN; ' . update('t_b', 4) . '; ' . update('t_a', 4));
	wait_for_waits(1);
	$cluster->failpoint('hub', 'xa-deadlock-cancel', 'off');
	select undef, undef, undef, 0.5;
	run_sql($x, 'ROLLBACK');
	is(finish($y), '', 'a later transaction of the session is not hit');
	run_sql($y, 'ROLLBACK');
	end_session($_) for $x, $y;
}

# ---- a participant that does not answer is done without

{
	my $postmaster = $cluster->node('e')->{_pid};
	my $pid = $cluster->sql('e', q{SELECT pid FROM pg_stat_activity WHERE application_name ~ '^braid resolver' LIMIT 1});
	kill 'STOP', $pid;
	cycle('a participant that does not answer', 1, ring('a', 'b'));
	kill 'CONT', $pid;
}
end_session($_) for values %look;

# ---- waits without a cycle have no victim

set_all("deadlock_timeout = '20ms'");
set_all("track_functions = 'all'");
for my $name ('a', 'b')
{
	# A statement that is not the first waits for a lock that is held to the
	# end of the transaction, and is counted.
	$cluster->sql($name, <<'SQL');
CREATE TABLE hot (id int PRIMARY KEY, v int);
INSERT INTO hot SELECT g, 0 FROM generate_series(0, 99) g;
CREATE SEQUENCE waits;
CREATE FUNCTION wait_turn() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock(1) THEN
		PERFORM nextval('waits');
		PERFORM pg_advisory_xact_lock(1);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER wait_turn BEFORE UPDATE ON hot EXECUTE FUNCTION wait_turn();
SQL
	$cluster->sql('hub', "CREATE FOREIGN TABLE hot_$name (id int, v int) SERVER $name OPTIONS (table_name 'hot')");
}
{
	my @logs = map { $cluster->node($_)->logfile } 'hub', 'a', 'b';
	my @offsets = map { -s } @logs;
	my $own = 'UPDATE %s SET v = v + 1 WHERE id = %s + :client_id;';
	my @loads = (
		$cluster->start_load('hub', join("\n", 'BEGIN;', sprintf($own, 'hot_a', 0), 'SELECT FROM hot_a WHERE id = 99 FOR UPDATE;',
				sprintf($own, 'hot_b', 0), 'SELECT FROM hot_b WHERE id = 99 FOR UPDATE;', 'COMMIT;'), 8),
		map { $cluster->start_load($_, join("\n", 'BEGIN;', sprintf($own, 'hot', 50), 'COMMIT;'), 8) } 'a', 'b');
	my $count = sub { my $sum = 0; $sum += $cluster->sql($_, 'SELECT last_value FROM waits') for 'a', 'b'; return $sum; };
	my $waits = 0;
	while (($waits = $count->()) < $wanted_waits) { select undef, undef, undef, 0.5; }
	my @done = map { $cluster->stop_load($_) } @loads;
	cmp_ok($done[0], '>', 0, 'global transactions were committed');
	my $asked = $cluster->sql('a', q{SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname = 'braid_internal' AND funcname = 'lock_waits'});
	cmp_ok($asked, '>', 0, 'the detector has looked');
	my $text = join '', map { PostgreSQL::Test::Utils::slurp_file($logs[$_], $offsets[$_]) } 0 .. $#logs;
	unlike($text, qr/deadlock detected|over several servers|canceling statement/, 'waits without a cycle have no victim');
	unlike(PostgreSQL::Test::Utils::slurp_file($_->{output}), qr/ERROR|aborted/, 'and no client an error') for @loads;
	diag("$waits lock waits, $done[0] global and " . ($done[1] + $done[2]) . " local transactions, participants asked $asked times");
}
done_testing();
