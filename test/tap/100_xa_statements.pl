# Every kind of write is part of the global transaction: for each, all nodes
# commit, or, when the coordinator fails after all have prepared, none does.
# A statement that was not enlisted would stay committed in the second case.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b');

for my $name ('a', 'b')
{
	$cluster->sql($name, <<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE part (id int, v int);
CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;
GRANT ALL ON t, part TO alice, bob;
SQL
	$cluster->sql('hub', <<"SQL");
CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't');
SQL
}
$cluster->sql('hub', <<'SQL');
CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (1000) SERVER a OPTIONS (table_name 'part');
CREATE FOREIGN TABLE part_b PARTITION OF part FOR VALUES FROM (1000) TO (2000) SERVER b OPTIONS (table_name 'part');
CREATE TABLE local (id int, v int);
CREATE ROLE alice; CREATE ROLE bob;
GRANT ALL ON t_a, t_b, part, part_a, part_b, local TO alice, bob;
CREATE USER MAPPING FOR alice SERVER a OPTIONS (user 'alice', password_required 'false');
CREATE USER MAPPING FOR bob SERVER a OPTIONS (user 'bob', password_required 'false');
CREATE VIEW bobs_view AS SELECT * FROM t_a;
ALTER VIEW bobs_view OWNER TO bob;
CREATE FUNCTION alices_function() RETURNS void LANGUAGE sql SECURITY DEFINER
	AS 'UPDATE t_a SET v = v + 100 WHERE id = 2';
ALTER FUNCTION alices_function() OWNER TO alice;
CREATE PROCEDURE commits_twice() LANGUAGE plpgsql AS $$
BEGIN
	UPDATE t_a SET v = v + 100 WHERE id = 1;
	UPDATE t_b SET v = v + 100 WHERE id = 1;
	COMMIT;
	UPDATE t_a SET v = v + 100 WHERE id = 2;
	UPDATE t_b SET v = v + 100 WHERE id = 2;
	COMMIT;
END $$;
SQL

sub reset_data
{
	for my $name ('a', 'b')
	{
		$cluster->sql($name, 'TRUNCATE t, part; INSERT INTO t SELECT g, g FROM generate_series(1, 5) g;
			INSERT INTO part VALUES (' . ($name eq 'a' ? 5 : 1005) . ', 0)');
	}
	$cluster->sql('hub', 'TRUNCATE local');
	return;
}

# All data of all nodes as one string.
sub all_data
{
	my $query = q{SELECT string_agg(x, ' ') FROM (
		(SELECT 't' || t::text AS x FROM t ORDER BY t) UNION ALL (SELECT 'p' || part::text FROM part ORDER BY part)) s};
	return join ' | ', $cluster->sql('a', $query), $cluster->sql('b', $query),
	  $cluster->sql('hub', 'SELECT string_agg(l::text, $$ $$ ORDER BY l) FROM local l');
}

sub nothing_prepared
{
	my ($what) = @_;
	$cluster->sql('hub', 'SELECT count(*) FROM braid.xa_recover()');
	for my $name ('a', 'b')
	{
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing is prepared on $name");
	}
	return;
}

# A transaction over two nodes makes the session expect two phases, so that the
# statements that follow carry tags.
my $warm_up = 'BEGIN; UPDATE t_a SET v = v WHERE id = 5; UPDATE t_b SET v = v WHERE id = 5; COMMIT;';

my %statements = (
	'UPDATE, direct' => 'UPDATE t_a SET v = v + 100 WHERE id = 1',
	'UPDATE, row by row' => 'UPDATE t_a SET v = v + 100 + (random() * 0)::int WHERE id < 4',
	'DELETE, direct' => 'DELETE FROM t_a WHERE id = 1',
	'DELETE, row by row' => 'DELETE FROM t_a WHERE id + (random() * 0)::int = 1',
	'INSERT' => 'INSERT INTO t_a VALUES (10, 10)',
	'INSERT of many rows' => 'INSERT INTO t_a SELECT g, g FROM generate_series(10, 30) g',
	'INSERT with RETURNING' => 'INSERT INTO t_a VALUES (10, 10) RETURNING id',
	'INSERT, ON CONFLICT DO NOTHING' => 'INSERT INTO t_a VALUES (1, 1), (10, 10) ON CONFLICT DO NOTHING',
	'batched INSERT' => "ALTER SERVER a OPTIONS (ADD batch_size '10'); INSERT INTO t_a SELECT g, g FROM generate_series(10, 35) g; ALTER SERVER a OPTIONS (DROP batch_size)",
	'COPY' => q{COPY t_a FROM PROGRAM 'echo 10,10; echo 11,11' (FORMAT csv)},
	'TRUNCATE' => 'TRUNCATE t_a',
	'routing of INSERT' => 'INSERT INTO part VALUES (1, 1), (1001, 1)',
	'routing of COPY' => q{COPY part FROM PROGRAM 'echo 1,1; echo 1001,1' (FORMAT csv)},
	'UPDATE of a partitioned table' => 'UPDATE part SET v = v + 100',
	'local and one remote write' => 'INSERT INTO local VALUES (1, 1); UPDATE t_a SET v = 100 WHERE id = 1',
	'savepoint kept' => 'SAVEPOINT s; UPDATE t_a SET v = 100 WHERE id = 1; RELEASE s',
	'savepoint rolled back' => 'UPDATE t_a SET v = 100 WHERE id = 1; SAVEPOINT s; UPDATE t_a SET v = 200 WHERE id = 2; ROLLBACK TO s',
	'first write rolled back' => 'SAVEPOINT s; UPDATE t_a SET v = 200 WHERE id = 2; ROLLBACK TO s; UPDATE t_a SET v = 100 WHERE id = 1',
	'exception block' => q{DO $$ BEGIN
		BEGIN INSERT INTO t_a VALUES (1, 1); EXCEPTION WHEN unique_violation THEN NULL; END;
		UPDATE t_a SET v = 100 WHERE id = 1; END $$},
	'SET ROLE' => 'UPDATE t_a SET v = 100 WHERE id = 1; SET LOCAL ROLE alice; UPDATE t_a SET v = 100 WHERE id = 2; RESET ROLE',
	'view of another owner' => 'UPDATE t_a SET v = 100 WHERE id = 1; UPDATE bobs_view SET v = 100 WHERE id = 3',
	'SECURITY DEFINER function' => 'UPDATE t_a SET v = 100 WHERE id = 1; SELECT alices_function()',
	'prepared statement' => 'PREPARE p(int) AS UPDATE t_a SET v = $1 WHERE id = 1; EXECUTE p(100); EXECUTE p(101); DEALLOCATE p',
	'generic plan' => q{SET LOCAL plan_cache_mode = force_generic_plan; PREPARE p(int) AS UPDATE t_a SET v = $1 WHERE id = 1; EXECUTE p(100); EXECUTE p(101); DEALLOCATE p},
	'CTE' => 'WITH d AS (DELETE FROM t_a WHERE id = 1 RETURNING *) INSERT INTO local SELECT * FROM d',
	'cursor and WHERE of a locked row' => 'SELECT v FROM t_a WHERE id = 1 FOR UPDATE; UPDATE t_a SET v = 100 WHERE id = 1',
	'EXPLAIN ANALYZE' => 'EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE t_a SET v = 100 WHERE id = 1',
);

my $second = 'INSERT INTO t_b VALUES (100, 100)';
for my $kind (sort keys %statements)
{
	for my $enlisting ('statement', 'tag')
	{
		my $prelude = $enlisting eq 'tag' ? "$warm_up\n" : '';
		my $what = "$kind, enlisted by $enlisting";

		# All or nothing, nothing: fails when all have prepared.
		reset_data();
		my $before = all_data();
		my ($rc, undef, $err) = $cluster->try_sql('hub', $prelude
			  . "SELECT braid_internal.failpoint_set('xa-prepared', 'error', pg_backend_pid());\n"
			  . "BEGIN;\n$statements{$kind};\n$second;\nCOMMIT;");
		like($err, qr/failpoint "xa-prepared" was reached/, "$what: fails after all have prepared");
		$cluster->sql('hub', "SELECT braid_internal.failpoint_set('xa-prepared', 'off')");
		nothing_prepared($what);
		is(all_data(), $before, "$what: no node has committed");

		# All or nothing, all.
		($rc, undef, $err) = $cluster->try_sql('hub', "${prelude}BEGIN;\n$statements{$kind};\n$second;\nCOMMIT;");
		is($rc, 0, "$what: commits") or diag($err);
		isnt(all_data(), $before, "$what: has an effect");
		like(all_data(), qr/\(100,100\)/, "$what: the second node has committed");
	}
}

# A procedure is a series of transactions.
reset_data();
$cluster->sql('hub', 'CALL commits_twice()');
like(all_data(), qr/^t\(1,101\) t\(2,102\) t\(3,3\).* \| t\(1,101\) t\(2,102\)/, 'procedure with COMMIT');
reset_data();
my (undef, undef, $err) = $cluster->try_sql('hub',
	"SELECT braid_internal.failpoint_set('xa-prepared', 'error', pg_backend_pid()); CALL commits_twice()");
like($err, qr/failpoint/, 'procedure fails at its first COMMIT');
$cluster->sql('hub', "SELECT braid_internal.failpoint_set('xa-prepared', 'off')");
nothing_prepared('procedure');
like(all_data(), qr/^t\(1,1\) t\(2,2\).* \| t\(1,1\) t\(2,2\)/, 'procedure: no node has committed');

# EXPLAIN shows postgres_fdw's statement, not the tag.
my $plan = $cluster->sql('hub', "$warm_up EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE t_a SET v = v WHERE id = 1");
like($plan, qr/Remote SQL: UPDATE public\.t SET v = v WHERE \(\(id = 1\)\)$/m, 'EXPLAIN shows no tag');

# One branch without local writes needs no two phases, and leaves no decision.
my $decisions = $cluster->sql('hub', 'SELECT count(*) FROM braid_internal.decisions');
$cluster->sql('hub', 'UPDATE t_a SET v = v WHERE id = 1');
$cluster->sql('hub', 'BEGIN; SELECT * FROM t_b; UPDATE t_a SET v = v WHERE id = 1; COMMIT');
is($cluster->sql('hub', 'SELECT count(*) FROM braid_internal.decisions'), $decisions, 'one branch: one phase');
$cluster->sql('hub', 'BEGIN; UPDATE t_b SET v = v WHERE id = -1; UPDATE t_a SET v = v WHERE id = -1; COMMIT');
nothing_prepared('writes of no row');

# What reaches a participant, counted from its log: the first transaction of a
# session is enlisted by a statement, the second by a tag and by a statement that
# sees it arrive, the others by their tags alone.
{
	my $log = $cluster->node('a')->logfile;
	$cluster->sql('a', 'ALTER SYSTEM SET log_statement = $$all$$; SELECT pg_reload_conf()');
	$cluster->wait_for('a', q{SELECT current_setting('log_statement') = 'all'});
	my $count = sub {
		my ($sql) = @_;
		my $offset = -s $log;
		$cluster->sql('hub', $sql);
		my @lines = grep { / postgres_fdw / } split /\n/, PostgreSQL::Test::Utils::slurp_file($log, $offset);
		my $number = sub { my ($pattern) = @_; return scalar grep { /$pattern/ } @lines; };
		return join ' ', map { $number->($_) } 'START TRANSACTION', 'UPDATE public', 'braid_branch', 'UPDATE braid_internal.enlist', 'COMMIT TRANSACTION';
	};
	my $two = 'BEGIN; UPDATE t_a SET v = v WHERE id = 1; UPDATE t_b SET v = v WHERE id = 1; COMMIT;';
	my $one = 'UPDATE t_a SET v = v WHERE id = 1;';
	is($count->($two), '1 1 0 1 1', 'first transaction: enlisted by a statement');
	is($count->("$two $two"), '2 2 1 2 2', 'second transaction: by a tag, which a statement sees arrive');
	is($count->("$two $two $two $two"), '4 4 3 2 4', 'from then on: by tags alone');
	is($count->("$one $one"), '2 2 0 0 2', 'one branch, no local write: as with postgres_fdw');
	is($count->("$two $two $one $one"), '4 4 2 2 4', 'a wrong guess: one tag too many, and none after it');
	is($count->('BEGIN; SELECT * FROM t_a; UPDATE t_b SET v = v WHERE id = 1; COMMIT'), '1 0 0 0 1', 'a branch that only reads is left alone');
	$cluster->sql('a', 'ALTER SYSTEM RESET log_statement; SELECT pg_reload_conf()');
}

# What two-phase commit cannot do is refused as a whole.
reset_data();
(undef, undef, $err) = $cluster->try_sql('hub', "BEGIN; UPDATE t_a SET v = 100 WHERE id = 1; PREPARE TRANSACTION 'p'");
like($err, qr/cannot PREPARE a transaction that has operated on postgres_fdw foreign tables/, 'local PREPARE TRANSACTION is refused');
like(all_data(), qr/^t\(1,1\)/, 'and nothing is written');

done_testing();
