# What a statement that reads a continuous view is promised of it, in every way in
# which a view can be read: with braid.read = strict it shows what somebody else has
# committed just before; what keeps it from that is told, and nothing waits for ever.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Without being asked the worker follows some seconds later, if at all.
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_batch_delay = 10s
max_parallel_workers_per_gather = 2
autovacuum = off
CONF
my $node = $cluster->node('db');
my $file = PostgreSQL::Test::Utils::tempdir() . '/copied';

$cluster->sql('db', <<'SQL');
SET client_min_messages = warning;
CREATE TABLE t (k int, x int);
CREATE TABLE u (k int, x int);
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*) AS n FROM t GROUP BY k;
CREATE MATERIALIZED VIEW w WITH (braid.continuous) AS SELECT k, count(*) AS n FROM u GROUP BY k;
CREATE MATERIALIZED VIEW on_v WITH (braid.continuous) AS SELECT sum(n) AS n FROM v WHERE k = 1;
CREATE VIEW between AS SELECT n FROM (SELECT k, n FROM v) s WHERE k = 1;
INSERT INTO t VALUES (1, 1);
INSERT INTO u VALUES (1, 1);
INSERT INTO t SELECT 100000 + g, 1 FROM generate_series(1, 20000) g;
SELECT braid.wait('v'), braid.wait('w'), braid.wait('on_v');
ANALYZE;
CREATE TABLE kept (n bigint);
CREATE TABLE single (id int PRIMARY KEY, n bigint);
INSERT INTO single VALUES (1, 0);
CREATE MATERIALIZED VIEW copied AS SELECT n FROM v WHERE k = 1;

CREATE FUNCTION of_volatile() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT n FROM v WHERE k = 1); END $$;
CREATE FUNCTION of_stable() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT n FROM v WHERE k = 1); END $$;
CREATE FUNCTION of_stable_loop() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT n FROM v WHERE k = 1 LOOP
		RETURN r.n;
	END LOOP;
END $$;
CREATE FUNCTION of_dynamic() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	answer bigint;
BEGIN
	EXECUTE 'SELECT n FROM v WHERE k = $1' INTO answer USING 1;
	RETURN answer;
END $$;
CREATE FUNCTION of_rows() RETURNS SETOF bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN QUERY SELECT n FROM v WHERE k = 1; END $$;
CREATE FUNCTION of_subtransaction() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT n FROM v WHERE k = 1);
EXCEPTION WHEN division_by_zero THEN
	RETURN 0;
END $$;
CREATE FUNCTION of_sql_volatile() RETURNS bigint LANGUAGE sql AS $$ SELECT n FROM v WHERE k = 1 $$;
CREATE FUNCTION of_sql_stable() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT n FROM v WHERE k = 1 $$;
CREATE FUNCTION of_sql_rows() RETURNS SETOF bigint LANGUAGE sql STABLE AS $$ SELECT n FROM v WHERE k = 1 $$;
CREATE FUNCTION of_cursor() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	c CURSOR FOR SELECT n FROM v WHERE k = 1;
	answer bigint;
BEGIN
	OPEN c;
	FETCH c INTO answer;
	CLOSE c;
	RETURN answer;
END $$;
CREATE FUNCTION of_safe() RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$ BEGIN RETURN (SELECT n FROM v WHERE k = 1); END $$;
CREATE FUNCTION of_strict() RETURNS bigint LANGUAGE plpgsql STABLE SET braid.read = 'strict' AS $$ BEGIN RETURN (SELECT n FROM v WHERE k = 1); END $$;
CREATE PROCEDURE of_procedure(INOUT answer bigint) LANGUAGE plpgsql AS $$
BEGIN
	COMMIT;
	SELECT n INTO answer FROM v WHERE k = 1;
END $$;
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := (SELECT n FROM v WHERE k = 1); RETURN NEW; END $$;
CREATE TABLE triggered (n bigint);
CREATE TRIGGER fill BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION fill();
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept SELECT n FROM v WHERE k = 1; RETURN NULL; END $$;
CREATE TABLE noted (x int);
CREATE CONSTRAINT TRIGGER note AFTER INSERT ON noted DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
SQL

my ($writer, $reader) = map { Braid::Client->new($node) } 1 .. 2;
my $committed = 1;

sub commit_one
{
	$writer->value('INSERT INTO t VALUES (1, 1) RETURNING k');
	return ++$committed;
}

# The last value that the server sends in answer to some statements, or its error.
sub answer_of
{
	my ($client, @statements) = @_;
	my $value;
	for my $sql (@statements)
	{
		my $answer = $client->run($sql);
		return "$answer->{error}{C}: $answer->{error}{M}" if $answer->{error};
		return 'lost' if $answer->{lost};
		$value = $answer->{rows}[-1][0] if @{ $answer->{rows} };
	}
	return $value;
}

# Everything that may run in parallel does; the setting has had two names.
sub forced
{
	my ($value) = @_;
	return "DO \$\$ BEGIN PERFORM set_config(name, '$value', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); END \$\$";
}

my $query = 'SELECT n FROM v WHERE k = 1';
my %ways = (
	'a query' => [$query],
	'a subquery' => ["SELECT (SELECT n FROM v WHERE k = 1)"],
	'two views' => ['SELECT v.n FROM v JOIN w USING (k) WHERE k = 1'],
	'a view and its table' => ['SELECT min(v.n) FROM v JOIN t USING (k) WHERE k = 1'],
	'a view on a view' => ['SELECT n FROM on_v'],
	'an ordinary view' => ['SELECT n FROM between'],
	'several statements at once' => ["SELECT 1; $query"],
	'a custom plan' => ['SET plan_cache_mode = force_custom_plan', 'EXECUTE custom(1)'],
	'a generic plan' => ['SET plan_cache_mode = force_generic_plan', 'EXECUTE generic(1)'],
	'a cursor' => ['BEGIN', "DECLARE c CURSOR FOR $query", 'FETCH c', 'COMMIT'],
	'a cursor that is held' => ["DECLARE h CURSOR WITH HOLD FOR $query", 'FETCH h', 'CLOSE h'],
	'a cursor that goes back' => ['BEGIN', "DECLARE c SCROLL CURSOR FOR $query", 'MOVE LAST c', 'FETCH FIRST c', 'COMMIT'],
	'INSERT ... SELECT' => ["INSERT INTO kept $query RETURNING n"],
	'CREATE TABLE AS' => ["CREATE TABLE made AS $query", 'SELECT n FROM made', 'DROP TABLE made'],
	'CREATE TABLE AS EXECUTE' => ['CREATE TABLE made AS EXECUTE custom(1)', 'SELECT n FROM made', 'DROP TABLE made'],
	'SELECT INTO' => ['SELECT n INTO made FROM v WHERE k = 1', 'SELECT n FROM made', 'DROP TABLE made'],
	'REFRESH of a materialized view' => ['REFRESH MATERIALIZED VIEW copied', 'SELECT n FROM copied'],
	'COPY' => ["COPY ($query) TO '$file'", "SELECT pg_read_file('$file')::bigint"],
	'EXPLAIN ANALYZE' => ['EXPLAIN (ANALYZE, FORMAT XML) SELECT generate_series(1, n) FROM v WHERE k = 1'],
	'UPDATE ... FROM' => ['UPDATE single SET n = v.n FROM v WHERE v.k = id RETURNING single.n'],
	'DELETE ... USING' => ['BEGIN', 'DELETE FROM single USING v WHERE v.k = id RETURNING v.n', 'ROLLBACK'],
	'MERGE' => ['MERGE INTO single USING v ON v.k = id WHEN MATCHED THEN UPDATE SET n = v.n', 'SELECT n FROM single'],
	'a writing WITH' => ["WITH i AS (INSERT INTO kept $query RETURNING n) SELECT n FROM i"],
	'a VOLATILE function' => ['SELECT of_volatile()'],
	'a STABLE function' => ['SELECT of_stable()'],
	'a STABLE function with a loop' => ['SELECT of_stable_loop()'],
	'a STABLE function with a subtransaction' => ['SELECT of_subtransaction()'],
	'a STABLE function in an expression' => ["DO \$\$ DECLARE n bigint; BEGIN n := of_subtransaction(); INSERT INTO kept VALUES (n); END \$\$", 'SELECT max(n) FROM kept'],
	'a dynamic query' => ['SELECT of_dynamic()'],
	'a function that returns rows' => ['SELECT * FROM of_rows()'],
	'an SQL function' => ['SELECT of_sql_volatile()'],
	'a STABLE SQL function' => ['SELECT of_sql_stable()'],
	'an SQL function that returns rows' => ['SELECT * FROM of_sql_rows()'],
	'a cursor of a function' => ['SELECT of_cursor()'],
	'a function in a parallel worker' => [forced('on'), 'SELECT of_safe()', forced('off')],
	'a function with a setting of its own' => ['SET braid.read = eventual', 'SELECT of_strict()', 'SET braid.read = strict'],
	'a function of the server itself' => [q{SELECT (xpath('//n/text()', query_to_xml('SELECT n FROM v WHERE k = 1', false, false, '')))[1]::text}],
	'a procedure' => ['CALL of_procedure(0)'],
	'DO' => ["DO \$\$ BEGIN INSERT INTO kept $query; END \$\$", 'SELECT max(n) FROM kept'],
	'a trigger' => ['INSERT INTO triggered VALUES (0) RETURNING n'],
	'a deferred trigger' => ['INSERT INTO noted VALUES (1)', 'SELECT max(n) FROM kept'],
	'a savepoint' => ['BEGIN', 'SAVEPOINT s', $query, 'ROLLBACK TO s', $query, 'COMMIT'],
	'READ ONLY' => ['BEGIN READ ONLY', $query, 'COMMIT'],
	'a transaction that has written' => ['BEGIN', 'INSERT INTO kept VALUES (0)', $query, 'COMMIT'],
	'REPEATABLE READ' => ['BEGIN ISOLATION LEVEL REPEATABLE READ', $query, 'COMMIT'],
	'REPEATABLE READ, a function' => ['START TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'SELECT of_stable()', 'COMMIT'],
	'REPEATABLE READ, set later' => ['BEGIN', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', $query, 'COMMIT'],
	'REPEATABLE READ by default' => ["SET default_transaction_isolation = 'repeatable read'", 'BEGIN', $query, 'COMMIT', 'RESET default_transaction_isolation'],
	'REPEATABLE READ, strict later' =>
	  ['SET braid.read = eventual', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SET LOCAL braid.read = strict', $query, 'COMMIT', 'SET braid.read = strict'],
	'SERIALIZABLE' => ['BEGIN ISOLATION LEVEL SERIALIZABLE', $query, 'COMMIT'],
	'SERIALIZABLE READ ONLY DEFERRABLE' => ['BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE', $query, 'COMMIT'],
);

sub set_up
{
	my ($client) = @_;
	answer_of($client, "PREPARE custom(int) AS SELECT n FROM v WHERE k = \$1", "PREPARE generic(int) AS SELECT n FROM v WHERE k = \$1");
	return $client;
}

set_up($reader);
answer_of($reader, 'SET braid.read = strict');
for my $way (sort keys %ways)
{
	my $expected = commit_one();
	my $answer = answer_of($reader, @{ $ways{$way} }) // 'nothing';
	$answer = $1 if $answer =~ m{<Actual-Rows>(\d+)} || $answer =~ /\A(\d+)\n\z/;
	is($answer, $expected, "strict: $way");
}

# The plan of the next one is really a parallel one.
my @parallel = ('BEGIN', map { "SET LOCAL $_ = 0" } qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size));
like(join("\n", map { $_->[0] } @{ $reader->run(join '; ', @parallel, 'EXPLAIN SELECT sum(n) FROM v', 'COMMIT')->{rows} }), qr/Gather/, 'a plan is parallel');
commit_one();
is(answer_of($reader, @parallel, 'SELECT sum(n) FROM v', 'COMMIT'), $committed + 20000, 'strict: a parallel query');

# A function that promises to be stable keeps that, whatever is committed meanwhile,
# and so does the statement around it, also if it is slow.
$cluster->sql('db', <<'SQL');
CREATE FUNCTION slow(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN n; END $$;
SQL
my $load = $cluster->start_load('db', 'INSERT INTO t VALUES (1, 1)', 2);
my %moved = map { $_ => 0 } qw(function around);
for (1 .. 10)
{
	$moved{function} += answer_of($reader, 'SELECT count(DISTINCT of_stable() + 0 * slow(g)) - 1 FROM generate_series(1, 5) g');
	$moved{around} += answer_of($reader, 'SELECT count(*) FROM v WHERE k = 1 AND slow(n) <> of_stable()');
}
$cluster->stop_load($load);
is($moved{function}, 0, 'a STABLE function shows one state within a statement');
is($moved{around}, 0, 'and that of the statement around, if this reads the view too');
$committed = $cluster->sql('db', 'SELECT count(*) FROM t WHERE k = 1');

# All protocols, and plans that are kept; each client compares with the table.
for my $protocol (qw(simple extended prepared))
{
	my $script = $cluster->write_script(<<'SQL');
\set key random(1000, 1010)
INSERT INTO t VALUES (:key, 1);
SELECT count(*) AS there FROM t WHERE k = :key \gset
SELECT n AS shown FROM v WHERE k = :key \gset
\if :shown < :there
SELECT 1 / 0;
\endif
SQL
	local $ENV{PGOPTIONS} = '-c braid.read=strict -c braid.read_timeout=60s';
	my ($out, $err) = run_command([ 'pgbench', '-n', '-M', $protocol, '-c', 3, '-t', 30, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ]);
	like($out, qr{actually processed: 90/90}, "strict: protocol $protocol") or diag $err;
}

# ---------------------------------------------------------------- a worker that stands still
sub pause { $cluster->failpoint('db', 'capture-snapshot', 'wait'); return; }
sub go_on { $cluster->failpoint('db', 'capture-snapshot', 'off'); return; }

# Stops the worker at the beginning of a cycle, which some reader asks for.
sub pause_in_cycle
{
	pause();
	my $other = Braid::Client->new($node);
	$writer->value("INSERT INTO u VALUES (2, 1) RETURNING k");
	$other->send("SET braid.read = strict; SET braid.read_timeout = '60s'; SELECT n FROM w");
	$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('capture-snapshot') = 1") or die 'the worker does not stop';
	return $other;
}

my $other = pause_in_cycle();
my $before = $committed;
commit_one();
my $eventual = set_up(Braid::Client->new($node));
is(answer_of($eventual, $query), $before, 'eventual: what is there');
is(answer_of($eventual, 'SELECT of_stable()'), $before, 'eventual: in a function');
is(answer_of($eventual, 'SET braid.read = own', $query), $before, 'own: nothing was committed by this session');
unlike(answer_of($reader, "EXPLAIN (COSTS OFF) $query"), qr/^\w{5}:/, 'EXPLAIN alone does not wait');
is(answer_of($reader, 'SELECT count(*) > 0 FROM t'), 't', 'nor does what reads no view');

sub error_of
{
	my ($client, @statements) = @_;
	my $error;
	for my $sql (@statements)
	{
		my $answer = $client->run($sql);
		$error = $answer->{error} if $answer->{error};
	}
	return $error // {};
}

answer_of($reader, "SET braid.read_timeout = '300ms'");
my $error = error_of($reader, $query);
is($error->{C}, '57014', 'strict: a time-out');
like($error->{D}, qr/has more to do/, 'with the reason');
answer_of($reader, "SET braid.read_timeout = '60s'", "SET statement_timeout = '300ms'");
is(error_of($reader, $query)->{C}, '57014', 'statement_timeout ends a wait');
answer_of($reader, 'SET statement_timeout = 0');
$reader->send($query);
ok($cluster->wait_for('db', "SELECT count(*) = 1 FROM braid_internal.waits() WHERE pid = @{[$reader->pid]} AND wait_event = 'BraidCaptureAnswer'"), 'the wait has a name');
$cluster->sql('db', 'SELECT pg_cancel_backend(' . $reader->pid . ')');
is($reader->wait->{error}{C}, '57014', 'so does cancelling');
$reader->send($query);
$cluster->sql('db', 'SELECT pg_terminate_backend(' . $reader->pid . ')');
is($reader->wait->{error}{C}, '57P01', 'so does the end of the session');
$reader = set_up(Braid::Client->new($node));
answer_of($reader, 'SET braid.read = strict', "SET braid.read_timeout = '300ms'");

$error = error_of($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ', $query, 'ROLLBACK');
is($error->{C}, '55000', 'REPEATABLE READ: a wait in vain fails what reads the view');
like($error->{M}, qr/was not up to date when the transaction began/, 'with the reason');
is(answer_of($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) > 0 FROM t', 'COMMIT'), 't', 'and nothing else');
is(error_of($eventual, "SET braid.read_timeout = '300ms'", "SET braid.read_max_age = '200ms'", 'SELECT pg_sleep(0.3)', $query)->{C}, '57014',
	'braid.read_max_age: a view that is further behind');
is(answer_of($eventual, "SET braid.read_max_age = '1h'", $query), $before, 'and one that is not');

# Many who wait are served by the one next cycle.
my @many = map { Braid::Client->new($node) } 1 .. 5;
$_->send("SET braid.read = strict; SET braid.read_timeout = '60s'; $query") for @many;
go_on();
is(join(' ', map { $_->wait->{rows}[-1][0] // 'nothing' } @many), join(' ', ($committed) x 5), 'all who wait are served');
$other->wait;

# ---------------------------------------------------------------- own
my $own = Braid::Client->new($node);
answer_of($own, 'SET braid.read = own', "SET braid.read_timeout = '60s'");
my %commits = (
	'a statement' => ['INSERT INTO t VALUES (1, 1)'],
	'a block' => ['BEGIN', 'INSERT INTO t VALUES (1, 1)', 'COMMIT'],
	'COMMIT AND CHAIN' => ['BEGIN', 'INSERT INTO t VALUES (1, 1)', 'COMMIT AND CHAIN'],
	'an asynchronous commit' => ['SET synchronous_commit = off', 'INSERT INTO t VALUES (1, 1)', 'RESET synchronous_commit'],
	'COMMIT PREPARED' => ['BEGIN', 'INSERT INTO t VALUES (1, 1)', "PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"],
	'a procedure' => ['DO $$ BEGIN INSERT INTO t VALUES (1, 1); COMMIT; INSERT INTO kept SELECT n FROM v WHERE k = 1; END $$', 'SELECT max(n) FROM kept'],
);
for my $way (sort keys %commits)
{
	answer_of($own, @{ $commits{$way} });
	is(answer_of($own, $query), ++$committed, "own: after $way");
	is(answer_of($own, 'SELECT max(n) FROM kept'), $committed, 'own: and within it') if $way eq 'a procedure';
	answer_of($own, 'COMMIT') if $way =~ /CHAIN/;
}
answer_of($own, 'INSERT INTO t VALUES (1, 1)');
is(answer_of($own, 'BEGIN ISOLATION LEVEL REPEATABLE READ', $query, 'COMMIT'), ++$committed, 'own: REPEATABLE READ');

# ---------------------------------------------------------------- too late for a snapshot
commit_one();
answer_of($reader, "SET braid.read_timeout = '60s'");
answer_of($reader, "SET default_transaction_isolation = 'repeatable read'");
is(error_of($reader, $query)->{C}, '55000', 'a single statement in REPEATABLE READ is refused');
like(error_of($reader, $query)->{H}, qr/BEGIN/, 'and told what to do');
answer_of($reader, 'RESET default_transaction_isolation');
is(error_of($reader, 'SET braid.read = eventual', 'BEGIN ISOLATION LEVEL REPEATABLE READ', $query, 'SET braid.read = strict', $query, 'ROLLBACK')->{C},
	'55000', 'so is what has its snapshot already');
answer_of($reader, 'SET braid.read = strict');
my $exporter = Braid::Client->new($node);
my $snapshot = answer_of($exporter, 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT pg_export_snapshot()');
is(error_of($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ', "SET TRANSACTION SNAPSHOT '$snapshot'", $query, 'ROLLBACK')->{C},
	'55000', 'so is the snapshot of somebody else');
answer_of($exporter, 'ROLLBACK');
answer_of($reader, 'SET braid.read = strict');

# ---------------------------------------------------------------- locks
answer_of($reader, "SET braid.read_timeout = '500ms'");
my $locker = Braid::Client->new($node);
answer_of($locker, 'BEGIN', 'LOCK TABLE t');
$writer->value('INSERT INTO u VALUES (2, 1) RETURNING k');
$error = error_of($reader, $query);
is($error->{C}, '55P03', 'a table that somebody has locked');
like($error->{D}, qr/Process @{[$locker->pid]} holds AccessExclusiveLock on table "t"/, 'he is named');
is(answer_of($reader, 'SELECT n > 0 FROM w WHERE k = 2'), 't', 'another table is not affected');
answer_of($locker, 'ROLLBACK');
answer_of($reader, "SET braid.read_timeout = '60s'");
$error = error_of($reader, 'BEGIN', 'LOCK TABLE t', $query, 'ROLLBACK');
is($error->{C}, '55000', 'a table that the reader has locked himself');
like($error->{D}, qr/itself/, 'he is told so at once');

# The reader has read the table, somebody wants to alter it and waits for him.
answer_of($reader, 'BEGIN', 'SELECT count(*) FROM t');
$locker->send('ALTER TABLE t ADD COLUMN y int');
$cluster->wait_for('db', "SELECT count(*) = 1 FROM pg_locks WHERE pid = @{[$locker->pid]} AND NOT granted");
$writer->value('INSERT INTO u VALUES (2, 1) RETURNING k');
$error = error_of($reader, $query);
is($error->{C}, '40P01', 'a deadlock is found');
answer_of($reader, 'ROLLBACK');
ok(!$locker->wait->{error}, 'the other one goes on');
is(answer_of($reader, $query), $committed, 'and the reader, when he tries again');

# ---------------------------------------------------------------- states
sub warnings_of
{
	my ($client, $sql) = @_;
	return join ' ', map { $_->{M} } @{ $client->run($sql)->{notices} };
}

answer_of($eventual, 'RESET braid.read', 'RESET braid.read_max_age');
$other = pause_in_cycle();
answer_of($writer, 'REFRESH MATERIALIZED VIEW v');
like(warnings_of($eventual, 'SELECT count(*) FROM v v1 JOIN v v2 USING (k), between'), qr/\Acontinuous view "v" is being rebuilt\z/, 'eventual: told of a rebuild, once');
like(warnings_of($eventual, 'SELECT * FROM on_v'), qr/continuous view "v" is being rebuilt/, 'eventual: also of one below');
is(warnings_of($eventual, 'SELECT * FROM w'), '', 'and not of others');
is(warnings_of($eventual, 'SELECT of_stable() FROM generate_series(1, 5)'), 'continuous view "v" is being rebuilt', 'once for a statement');
answer_of($reader, "SET braid.read_timeout = '300ms'");
$error = error_of($reader, $query);
is("$error->{C} $error->{D}", '55000 Continuous view "v" is being rebuilt.', 'strict: a rebuild takes too long');
answer_of($reader, "SET braid.read_timeout = '60s'");
$reader->send($query);
go_on();
is($reader->wait->{rows}[0][0], $committed, 'strict: waits for a rebuild');
$other->wait;
is(warnings_of($eventual, $query), '', 'eventual: it is over');

answer_of($writer, 'CREATE MATERIALIZED VIEW fragile WITH (braid.continuous, braid.read = strict) AS SELECT 10 / x AS q, count(*) FROM u GROUP BY 1');
is(answer_of($eventual, 'SELECT q FROM fragile'), '10', 'the option of a view: waits until it is populated');
answer_of($writer, 'INSERT INTO u VALUES (1, 0)');
$error = error_of($eventual, 'SELECT q FROM fragile');
is("$error->{C} $error->{M}", '55000 continuous view "fragile" is broken', 'strict: a view that is broken');
like($error->{D}, qr/division by zero/, 'with the reason');
like(warnings_of($eventual, 'SET braid.read = eventual; SELECT q FROM fragile'), qr/is broken/, 'eventual: told of it');
is(answer_of($eventual, 'SELECT q FROM fragile'), '10', 'and shown what there was');
answer_of($writer, 'ALTER MATERIALIZED VIEW fragile SET (braid.read = eventual)');
is(answer_of($eventual, 'RESET braid.read', 'SELECT q FROM fragile'), '10', 'the option can be changed');

pause();
answer_of($writer, 'CREATE MATERIALIZED VIEW late WITH (braid.continuous) AS SELECT k FROM u');
$error = error_of($eventual, 'SELECT * FROM late');
is("$error->{C} $error->{M}", '55000 continuous view "late" has not been populated', 'a view that was never populated');
like($error->{H}, qr/braid\.wait\('public\.late'\)/, 'what to do is told');
unlike(answer_of($eventual, 'EXPLAIN SELECT * FROM late'), qr/^\w{5}:/, 'EXPLAIN is no matter');
go_on();
is(answer_of($eventual, "SELECT braid.wait('late')", 'SELECT count(*) > 0 FROM late'), 't', 'now it is');
$error = error_of($reader, 'BEGIN', 'CREATE MATERIALIZED VIEW mine WITH (braid.continuous) AS SELECT k FROM u', 'SELECT * FROM mine', 'ROLLBACK');
like($error->{D}, qr/was made in this transaction/, 'strict: a view that this transaction has made');
answer_of($writer, "SELECT braid.pause('late')");
like(error_of($reader, 'SELECT * FROM late')->{M}, qr/is paused/, 'strict: a view that stands still');

# ---------------------------------------------------------------- no worker
answer_of($reader, "SET braid.read_timeout = '500ms'");
$cluster->failpoint('db', 'capture-snapshot', 'error');
$writer->value('INSERT INTO t VALUES (1, 1) RETURNING k');
$committed++;
$cluster->sql('db', "SELECT braid.wait('v', '100 ms')");	# who asks wakes the worker
$cluster->wait_for('db', 'SELECT pid IS NULL FROM braid_internal.capture_status()') or die 'the worker goes on';
like(error_of($reader, $query)->{D} // '', qr/not running|has more to do/, 'strict: without a worker');
is(answer_of($eventual, $query), $committed - 1, 'eventual: what is there');
$cluster->failpoint('db', 'capture-snapshot', 'off');
answer_of($reader, "SET braid.read_timeout = '60s'");
is(answer_of($reader, $query), $committed, 'strict: when there is one again');

# ---------------------------------------------------------------- a worker that waits for the reader
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION braid; CREATE TABLE t (k int); CREATE TABLE o (k int)');
my $running = Braid::Client->new($node, { database => 'fresh' });
answer_of($running, 'BEGIN', 'INSERT INTO o VALUES (1)');
$node->safe_psql('fresh', 'SET client_min_messages = warning; CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT count(*) AS n FROM t');
ok($cluster->wait_for('db', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'fresh' AND backend_type = 'braid capture' AND @{[$running->pid]} = ANY (pg_blocking_pids(pid))"),
	'making a slot waits for transactions');
$error = error_of($running, "SET LOCAL braid.read = strict", "SET LOCAL braid.read_timeout = '120s'", 'SELECT n FROM v');
is("$error->{C} $error->{D}", '55000 The capture worker waits until it ends.', 'and a transaction does not wait for itself');
is(answer_of($running, 'ROLLBACK', 'SET braid.read = strict', "SET braid.read_timeout = '60s'", 'SELECT n FROM v'), '0', 'the next one does');
done_testing();
