# Streams in transactions: subtransactions of random shape, with messages that are logged amid them;
# errors and crashes where rows are logged; branches of global transactions, under kills. What a
# view has of a stream is what the same transactions have put into a table.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('hub', 'a', { conf => "fsync = on\nwal_writer_delay = 10ms\nbraid.xa_recovery_interval = '200ms'\n" });
for my $name ($cluster->names)
{
	$cluster->sql($name, <<'SQL');
CREATE TABLE kept (id bigint, note text);
CREATE FOREIGN TABLE passed (id bigint, note text) SERVER braid_stream;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW seen WITH (braid.continuous) AS SELECT * FROM passed;
CREATE MATERIALIZED VIEW summed WITH (braid.continuous) AS SELECT count(*), sum(id) AS id, sum(length(note)) AS size FROM passed;
SQL
}
$cluster->sql('hub', 'CREATE FOREIGN TABLE a_kept (id bigint, note text) SERVER a OPTIONS (table_name \'kept\');
	CREATE FOREIGN TABLE a_passed (id bigint, note text) SERVER a OPTIONS (table_name \'passed\')');
$cluster->sql($_, "SELECT braid.wait('seen'), braid.wait('summed')") for $cluster->names;
$cluster->wait_ready('hub', 1);

# What differs between the stream's views and the table.
my $difference = q{WITH s AS (SELECT id, md5(note) FROM seen), k AS (SELECT id, md5(note) FROM kept)
	SELECT count(*) FROM ((TABLE s EXCEPT ALL TABLE k) UNION ALL (TABLE k EXCEPT ALL TABLE s)) d};

sub check
{
	my ($what, @names) = @_;
	for my $name (@names)
	{
		$cluster->wait_for($name, "SELECT braid.wait('seen', '5 s') AND braid.wait('summed', '5 s')") or die "$name does not catch up";
		is($cluster->sql($name, $difference), '0', "$what: the stream on $name was read as the table is");
		is($cluster->sql($name, 'SELECT count(*) FROM (TABLE summed EXCEPT SELECT count(*), sum(id), sum(length(note)) FROM kept) d'), '0', "$what: and counted");
	}
	return;
}

# How many messages the transactions since then have made, and under how many xids.
sub messages_of
{
	my ($sql) = @_;
	$cluster->sql('hub', "SELECT pg_create_logical_replication_slot('looker', 'test_decoding')");
	$cluster->sql('hub', $sql);
	my $count = $cluster->sql('hub', "SELECT count(*) FROM pg_logical_slot_get_binary_changes('looker', NULL, NULL)
		WHERE position('message: transactional: 1 prefix: braid.stream'::bytea in data) = 1");
	$cluster->sql('hub', "SELECT pg_drop_replication_slot('looker')");
	return $count;
}

# ---- subtransactions of random shape
my $id = 0;

# One row into both, or many, or some that fill a message.
sub rows
{
	my $first = $id + 1;
	my ($count, $size) = @{ [[1, 10], [1, 50_000], [3000, 20], [20, 5000]]->[rand() < 0.7 ? 0 : int(rand(4))] };
	$id += 1 + int(rand($count));
	my $select = "SELECT g, repeat(chr(65 + (g % 26)::int), " . int(rand($size)) . ") || g FROM generate_series($first, $id) g";
	return rand() < 0.5 ? "INSERT INTO kept $select; INSERT INTO passed $select;" : "INSERT INTO passed $select; INSERT INTO kept $select;";
}

# A loop whose iterations are subtransactions, some of which fail.
sub loop
{
	my $n = int(rand(300));
	my $first = $id + 1;
	$id += $n;
	my $note = "repeat('x', " . int(rand(1000)) . ')';
	return "DO \$\$ BEGIN FOR i IN $first .. $id LOOP
		BEGIN INSERT INTO kept VALUES (i, $note); INSERT INTO passed VALUES (i, $note); PERFORM 1 / (i % 7);
		EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END \$\$;";
}

sub body
{
	my ($depth) = @_;
	my $sql = '';
	for (1 .. 1 + int(rand(4)))
	{
		my $dice = rand();
		if ($dice < 0.5 || $depth > 4) { $sql .= rows() . "\n"; next; }
		if ($dice < 0.6) { $sql .= loop() . "\n"; next; }
		$sql .= "SAVEPOINT s$depth;\n" . body($depth + 1);
		$dice = rand();
		$sql .= $dice < 0.4 ? "RELEASE s$depth;\n" : $dice < 0.7 ? "ROLLBACK TO s$depth;\n" : $dice < 0.8 ? "ROLLBACK TO s$depth; RELEASE s$depth;\n" : '';
	}
	return $sql;
}

sub transaction
{
	my ($number) = @_;
	my $sql = "BEGIN;\n" . body(0);
	my $dice = rand();
	return $sql . "COMMIT;\n" if $dice < 0.5;
	return $sql . "ROLLBACK;\n" if $dice < 0.6;
	return $sql . "PREPARE TRANSACTION 't$number'; " . ($dice < 0.85 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 't$number';\n";
}

for my $round (1 .. $rounds)
{
	$cluster->sql('hub', join '', map { transaction($_) } 1 .. 60);
	check("random subtransactions, round $round", 'hub');
}

# ---- many subtransactions make few messages, in bounded memory
{
	my $loop = q{DO $$ BEGIN FOR i IN 1 .. %d LOOP BEGIN INSERT INTO passed VALUES (i, 'loop'); INSERT INTO kept VALUES (i, 'loop');
		EXCEPTION WHEN OTHERS THEN RAISE; END; END LOOP; END $$};
	cmp_ok(messages_of(sprintf $loop, 1000), '==', 1, 'a thousand subtransactions of a row make one message');
	cmp_ok(messages_of(sprintf $loop, 20_000), '<', 20, 'twenty thousand make few');
	is($cluster->sql('hub', q{BEGIN;
		DO $$ BEGIN FOR i IN 1 .. 20000 LOOP BEGIN INSERT INTO passed VALUES (-i, repeat('y', 100)); EXCEPTION WHEN OTHERS THEN RAISE; END; END LOOP; END $$;
		SELECT sum(total_bytes) < 1000000 FROM pg_backend_memory_contexts WHERE name = 'braid pack';
		ROLLBACK}), 't', 'and take little memory');
	cmp_ok(messages_of('BEGIN; INSERT INTO passed VALUES (1, \'a\'); SAVEPOINT s; INSERT INTO passed VALUES (2, \'b\'); ROLLBACK TO s; INSERT INTO passed VALUES (3, \'c\');
		INSERT INTO kept VALUES (1, \'a\'), (3, \'c\'); COMMIT'), '==', 1, 'what savepoints have left goes into one message');
	cmp_ok(messages_of("BEGIN; INSERT INTO passed SELECT g, 'g' FROM generate_series(1, 100) g; ROLLBACK"), '==', 0, 'none if rolled back');
	check('many subtransactions', 'hub');
}

# ---- a child fails when it has logged its parent's rows
{
	my $sql = q{DO $$
DECLARE
	failed int := 0;
BEGIN
	FOR i IN 1 .. 3000 LOOP
		IF i IN (500, 1500) THEN PERFORM braid_internal.failpoint_set('stream-parent-logged', 'error', pg_backend_pid()); END IF;
		BEGIN
			INSERT INTO passed VALUES (i, repeat('z', 50) || i);
			INSERT INTO kept VALUES (i, repeat('z', 50) || i);
		EXCEPTION WHEN OTHERS THEN
			failed := failed + 1;
			PERFORM braid_internal.failpoint_set('stream-parent-logged', 'off', pg_backend_pid());
		END;
	END LOOP;
	IF failed <> 2 THEN RAISE '%% have failed', failed; END IF;
END $$;};
	$cluster->sql('hub', sprintf $sql);
	check('a child that failed in the end', 'hub');
	$cluster->sql('hub', 'BEGIN; SAVEPOINT s; ' . sprintf($sql) . ' RELEASE s; COMMIT');
	check('the same, a level below', 'hub');
	$cluster->sql('hub', 'BEGIN; SAVEPOINT s; ' . sprintf($sql) . ' ROLLBACK TO s; COMMIT');
	check('the same, rolled back', 'hub');
}

# ---- an error while packs are put together spoils the transaction, and nothing else
{
	my $sql = q{BEGIN;
		SAVEPOINT s; INSERT INTO passed VALUES (1, 'torn'); INSERT INTO kept VALUES (1, 'torn'); RELEASE s;
		SAVEPOINT s; INSERT INTO passed VALUES (2, 'torn'); INSERT INTO kept VALUES (2, 'torn'); RELEASE s;
		SELECT braid_internal.failpoint_set('stream-append', 'error', pg_backend_pid());
		DO $$ BEGIN INSERT INTO passed VALUES (3, 'torn'); EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', sqlerrm; END $$;
		SELECT braid_internal.failpoint_set('stream-append', 'off', pg_backend_pid());
		SAVEPOINT s; INSERT INTO passed VALUES (4, 'torn'); INSERT INTO kept VALUES (4, 'torn'); RELEASE s;
		COMMIT};
	my (undef, undef, $error) = $cluster->try_sql('hub', $sql);
	like($error, qr/NOTICE:.*failpoint "stream-append" was reached.*ERROR:  rows written to stream "passed" were lost for lack of memory/s, 'an error while packs are put together');
	check('packs that were torn', 'hub');
}

# ---- errors and crashes around the logging of what is left at the end
for my $point ('stream-before-log', 'stream-after-log')
{
	my $write = "INSERT INTO kept VALUES (0, '$point'); INSERT INTO passed VALUES (0, '$point'); ";
	my $arm = "SELECT braid_internal.failpoint_set('$point', '%s', pg_backend_pid());";
	for my $end ('COMMIT', "PREPARE TRANSACTION 'x'")
	{
		my ($rc, undef, $error) = $cluster->try_sql('hub', sprintf($arm, 'error') . "BEGIN; $write $end");
		like($error, qr/failpoint "$point" was reached/, "an error at $point, $end");
		is($cluster->sql('hub', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing was prepared');
		next if $point eq 'stream-before-log';
		my $offset = -s $cluster->node('hub')->logfile;
		$cluster->try_sql('hub', sprintf($arm, 'crash') . "BEGIN; $write $end");
		$cluster->node('hub')->wait_for_log(qr/database system is ready to accept connections/, $offset);
		$cluster->wait_alive('hub');
	}
	check($point, 'hub');
}
is($cluster->sql('hub', 'SELECT count(*) FROM kept WHERE id = 0'), '0', 'none of these has committed');

# ---- global transactions: a stream here, one there, and both kinds of tables
$cluster->wait_ready('hub', 1);
my $row = '(:id, \'global \' || :id)';
my %statements = (
	here => "INSERT INTO kept VALUES $row; INSERT INTO passed VALUES $row;",
	there => "INSERT INTO a_kept VALUES $row; INSERT INTO a_passed VALUES $row;",
);
my $script = <<"SQL";
\\set id random(1, 1000000)
\\set kind random(1, 4)
BEGIN;
\\if :kind = 1
	$statements{there}
\\else
	$statements{here}
	SAVEPOINT s;
	INSERT INTO passed VALUES (0, 'given up');
	INSERT INTO a_passed VALUES (0, 'given up');
	ROLLBACK TO s;
	$statements{there}
\\endif
\\if :kind = 2
	ROLLBACK;
\\else
	COMMIT;
\\endif
SQL

# The stream of the other server alone: nothing else makes that transaction a writer there.
sub alone
{
	$cluster->sql('hub', 'INSERT INTO a_passed VALUES (-1, \'alone\')');
	$cluster->sql('a', 'INSERT INTO kept VALUES (-1, \'alone\')');
	$cluster->sql('hub', 'BEGIN; INSERT INTO passed VALUES (-2, \'both\'); INSERT INTO a_passed VALUES (-2, \'both\'); COMMIT');
	$cluster->sql($_, 'INSERT INTO kept VALUES (-2, \'both\')') for $cluster->names;
	$cluster->sql('hub', q{COPY a_passed FROM PROGRAM 'printf "%s\tcopied\n" 1 2 3'});
	$cluster->sql('a', "INSERT INTO kept SELECT g, 'copied' FROM generate_series(1, 3) g");
	$cluster->sql('hub', q{BEGIN; INSERT INTO passed VALUES (-3, 'x'); INSERT INTO a_passed VALUES (-3, 'x'); ROLLBACK});
	return;
}

alone();
check('streams alone', 'hub', 'a');

sub check_global
{
	my ($what) = @_;
	for my $name ($cluster->names)
	{
		ok($cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "$what: nothing stays prepared on $name");
	}
	check($what, 'hub', 'a');
	return;
}

sub under_load
{
	my ($what, $event) = @_;
	my %load = (script => $script, clients => 4, counted => 'SELECT count(*) FROM kept', enough => 30);
	ok($cluster->under_load('hub', \%load, $event), "$what: work goes on");
	check_global($what);
	return;
}

for my $round (1 .. $rounds)
{
	under_load('nothing happens', sub { });
	for my $place (['hub', 'stream-after-log'], ['hub', 'xa-decided'], ['a', 'stream-after-log'], ['a', 'xa-participant-prepared'])
	{
		my ($name, $point) = @$place;
		under_load("$name dies at $point, round $round", sub { $cluster->crash_at($name, $point) });
	}
}
is($cluster->sql($_, 'SELECT count(*) FROM seen WHERE note = \'given up\' OR id = -3'), '0', "what was rolled back was never seen on $_") for $cluster->names;
done_testing();
