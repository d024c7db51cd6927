# Topics: what is sent is there if and only if its transaction committed, on one node and on two, whatever is
# killed; messages go when they may and not before, whoever sends meanwhile; a dump brings back all of it.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', { conf => "braid.topic_rotate_interval = 100ms\nbraid.topic_segment_age = 1\nautovacuum = off\nfsync = off\n" });
my $node = $cluster->node('hub');
my $files = PostgreSQL::Test::Utils::tempdir();

sub sql { my ($sql) = @_; return $cluster->sql('hub', $sql); }
sub in_db { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }

# ---------------------------------------------------------------- transactions

sql(<<'SQL');
CREATE SCHEMA shop;
SELECT braid.create_topic('shop.orders', partitions => 4);
CREATE TABLE sent (id bigint, payload jsonb);
SQL
$cluster->sql('a', 'CREATE SCHEMA shop; SELECT braid.create_topic($$shop.orders$$, partitions => 2)');
sql("CREATE FOREIGN TABLE orders_a (key text, payload jsonb) SERVER a OPTIONS (schema_name 'shop', table_name 'orders')");
$cluster->wait_ready('hub', 1);

sql(q{BEGIN; SELECT braid.send('shop.orders', '"prepared"'); PREPARE TRANSACTION 'one'});
is(sql('SELECT count(*) FROM shop.orders'), 0, 'a prepared message cannot be seen');
sql("COMMIT PREPARED 'one'");
is(sql('SELECT payload FROM shop.orders'), '"prepared"', 'it can once it is committed');
sql(q{BEGIN; SELECT braid.send('shop.orders', '"not"'); PREPARE TRANSACTION 'two'});
sql("ROLLBACK PREPARED 'two'");
is(sql('SELECT count(*) FROM shop.orders'), 1, 'nor ever if it is rolled back');

sql(q{BEGIN; SELECT braid.send('shop.orders', '"global"', key => 'k'); INSERT INTO orders_a VALUES ('k', '"global"'); COMMIT});
is(sql(q{SELECT count(*) FROM shop.orders WHERE payload = '"global"'}), 1, 'a global transaction sends here');
is($cluster->sql('a', q{SELECT key, payload FROM shop.orders}), 'k|"global"', 'and there');
my ($rc, $out, $err) = $cluster->try_sql('hub', q{
	CREATE TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED);
	BEGIN; SELECT braid.send('shop.orders', '"fails"'); INSERT INTO orders_a VALUES ('k', '"fails"'); INSERT INTO late VALUES (1), (1); COMMIT});
like($err, qr/duplicate key/, 'one that fails at its commit');
is(sql(q{SELECT count(*) FROM shop.orders WHERE payload = '"fails"'}) + $cluster->sql('a', q{SELECT count(*) FROM shop.orders WHERE payload = '"fails"'}), 0, 'sends nowhere');

# ---------------------------------------------------------------- crashes

# What was sent is noted by the same transaction, half of which are rolled back.
my $producer = <<'SQL';
\set n random(1, 1000000)
\set k random(1, 20)
BEGIN;
INSERT INTO sent SELECT braid.send('shop.orders', to_jsonb(:n), key => 'k' || :k), to_jsonb(:n);
SAVEPOINT s;
INSERT INTO sent SELECT braid.send('shop.orders', to_jsonb(:n + 1)), to_jsonb(:n + 1);
ROLLBACK TO s;
WITH i AS (INSERT INTO shop.orders (payload) VALUES (to_jsonb(:n + 2)), (to_jsonb(:n + 3)) RETURNING id, payload) INSERT INTO sent SELECT * FROM i;
SELECT :n % 2 = 0 AS keep \gset
\if :keep
COMMIT;
\else
ROLLBACK;
\endif
SQL

sub is_what_was_sent
{
	my ($what) = @_;
	my $messages = "SELECT id, payload FROM shop.orders WHERE jsonb_typeof(payload) = 'number'";
	is(sql("SELECT count(*) FROM ((SELECT * FROM sent EXCEPT ALL $messages) UNION ALL ($messages EXCEPT ALL SELECT * FROM sent)) d"), 0, "$what: what was committed is in the topic, and nothing else");
	return;
}

my $load = $cluster->start_load('hub', $producer, 4);
for my $n (1 .. 2)
{
	my $before = sql('SELECT count(*) FROM sent');
	ok($cluster->wait_for('hub', "SELECT count(*) > $before + 200 FROM sent"), 'messages are sent');
	my $senders = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%INTO sent SELECT%' AND pid <> pg_backend_pid()";
	$cluster->wait_for('hub', "SELECT EXISTS ($senders)");
	$cluster->kill_process('hub', sql("$senders ORDER BY random() LIMIT 1") || next);
	$cluster->wait_alive('hub');
}
$cluster->stop_load($load);
is_what_was_sent('senders were killed');
my $high = sql('SELECT max(id) FROM shop.orders');
cmp_ok(sql(q{SELECT braid.send('shop.orders', '"after"')}), '>', $high, 'ids go on');
is(sql('SELECT count(*) FROM (SELECT key FROM shop.orders WHERE key IS NOT NULL GROUP BY key HAVING count(DISTINCT partition) > 1) k'), 0, 'each key is in one partition');

# Snapshots that were stored on the way: in the order of their xmax, and none has the transaction that stored it.
is(sql(<<'SQL'), 0, 'no tick says that its own transaction is visible');
SELECT count(*) FROM braid_internal.topic_1 t JOIN shop.orders o ON o.id = t.id, LATERAL (SELECT xid FROM braid_internal.topic_1 m WHERE m.id = t.id AND m.part >= 0) m
WHERE t.part = -1 AND (pg_visible_in_snapshot(m.xid, t.key::pg_snapshot) OR pg_snapshot_xmax(t.key::pg_snapshot) <> t.xid)
SQL
sql(q{SELECT braid.send_batch('shop.orders', 'SELECT to_jsonb(i::text) AS payload FROM generate_series(1, 3000) i')});
cmp_ok(sql('SELECT count(*) FROM braid_internal.topic_1 WHERE part = -1'), '>', 0, 'there are ticks');

# ---------------------------------------------------------------- rotation

sql(<<'SQL');
SELECT braid.create_topic('shop.brief', partitions => 2, retain => '2 s');
SELECT braid.create_topic('shop.small', payload => 'text', retain_size => 1000000);
SELECT braid.create_topic('shop.slow', retain => '0');
CREATE TABLE noted (id bigint, at timestamptz);
SQL
my $slow = $node->background_psql('postgres');
$slow->query_safe(q{BEGIN; SELECT braid.send('shop.slow', '"slow"')});
sql(q{SELECT braid.send('shop.slow', '"quick"')});
$load = $cluster->start_load('hub', <<'SQL', 4);
BEGIN;
INSERT INTO noted SELECT braid.send('shop.brief', '1'), clock_timestamp();
SELECT braid.send_batch('shop.small', 'SELECT repeat(md5(i::text), 6) AS payload FROM generate_series(1, 20) i');
COMMIT;
SQL
my $opened = "SELECT to_char(max(opened), 'YYYYMMDDHH24MISSUS') FROM braid_internal.topic_segments JOIN braid_internal.topics t ON t.id = topic WHERE view = 'shop.brief'::regclass";
my ($missing, $last, $rotations) = (0, sql($opened), 0);
for my $n (1 .. 40)
{
	$missing += sql(q{SELECT count(*) FROM noted n WHERE at > clock_timestamp() - interval '1.9 s' AND NOT EXISTS (SELECT FROM shop.brief b WHERE b.id = n.id)});
	my $now = sql($opened);
	$rotations++ if $now ne $last;
	$last = $now;
	last if $rotations >= 4;
	select undef, undef, undef, 0.2;
}
cmp_ok($rotations, '>=', 4, 'segments change while messages are sent');
is($missing, 0, 'no message goes before its time');
ok($cluster->wait_for('hub', "SELECT count(*) < (SELECT count(*) FROM noted) FROM shop.brief"), 'older ones do');
ok($cluster->wait_for('hub', "SELECT bytes < 3000000 FROM braid.topics WHERE topic = 'shop.small'::regclass AND EXISTS (SELECT FROM shop.small)"), 'and those beyond the size');
$cluster->stop_load($load);
is($slow->query_safe('SELECT payload FROM shop.slow ORDER BY id LIMIT 1'), '"slow"', 'what was not committed yet is kept');
$slow->query_safe('COMMIT');
$slow->quit;
ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM shop.slow'), 'until it is');
ok($cluster->wait_for('hub', q{SELECT messages = 0 AND bytes < 1000000 FROM braid.topics WHERE topic = 'shop.brief'::regclass}), 'when all have gone, so has their space');

# ---------------------------------------------------------------- de-duplication

sql(q{SELECT braid.create_topic('shop.once', partitions => 3, dedup_window => '1 h'), braid.create_topic('shop.window', dedup_window => '1 s')});
$load = $cluster->start_load('hub', <<'SQL', 4);
\set k random(1, 300)
\set keep random(0, 1)
BEGIN;
SELECT braid.send('shop.once', '1', dedup_key => 'k' || :k), braid.send('shop.window', '1', dedup_key => 'k' || :k % 5);
\if :keep
COMMIT;
\else
ROLLBACK;
\endif
SQL
ok($cluster->wait_for('hub', q{SELECT count(*) >= 280 FROM shop.once}), 'messages with keys are sent');
ok($cluster->wait_for('hub', q{SELECT bool_or(n > 2) FROM (SELECT count(*) AS n FROM shop.window GROUP BY dedup_key) d}), 'again, when their window has passed');
$cluster->stop_load($load);
is(sql('SELECT count(*) - count(DISTINCT dedup_key) FROM shop.once'), 0, 'but not within it');
is(sql(q{SELECT count(*) FROM (SELECT sent_at - lag(sent_at) OVER (PARTITION BY dedup_key ORDER BY id) AS gap FROM shop.window) w WHERE gap < '0.5 s'}), 0, 'nor within a short one that passes all the time');

# ---------------------------------------------------------------- dumps

in_db('postgres', 'CREATE ROLE shop LOGIN; CREATE ROLE sender; CREATE DATABASE origin');
in_db('origin', <<'SQL');
CREATE EXTENSION braid;
CREATE SCHEMA s AUTHORIZATION shop;
SET ROLE shop;
SELECT braid.create_topic('s."Odd Name"', partitions => 3, dedup_window => '1 day', retain => '7 days', notify => true);
SELECT braid.create_topic('s.plain', payload => 'bytea');
GRANT USAGE ON SCHEMA s TO sender;
GRANT INSERT ON s."Odd Name" TO sender;
COMMENT ON VIEW s.plain IS 'a topic';
SELECT braid.send_batch('s."Odd Name"', 'SELECT to_jsonb(i) AS payload, (i % 50)::text AS key FROM generate_series(1, 2500) i');
SELECT braid.send('s."Odd Name"', '"once"', headers => '{"a": 1}', priority => 3, deliver_at => '2100-01-01', dedup_key => 'd');
SELECT braid.send('s.plain', '\xff');
RESET ROLE;
SELECT braid.rotate_topic('s."Odd Name"');
SELECT braid.send('s."Odd Name"', '"in another segment"');
SQL
my $facts = <<'SQL';
SELECT o.tableoid::regclass, o.* FROM braid_internal.topic_1 o ORDER BY part, id;
TABLE s.plain;
SELECT topic, partitions, payload, retain, dedup_window, notify, relacl, relowner::regrole, obj_description(topic) FROM braid.topics t JOIN pg_class c ON c.oid = t.topic ORDER BY 1;
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid IN (SELECT topic FROM braid.topics) ORDER BY 2;
SQL
my $expected = in_db('origin', $facts);

sub run_tool
{
	my ($db, @command) = @_;
	my $ok = IPC::Run::run([ @command, '-d', $node->connstr($db) ], '>', \my $out, '2>', \my $said);
	diag $said if !$ok;
	return $ok;
}

sub is_restored
{
	my ($db, $what, $generation) = @_;
	is(in_db($db, $facts), $expected, "$what: topics and messages are as they were");
	is(in_db($db, 'SELECT DISTINCT generation FROM braid_internal.topics'), $generation, "$what: a new generation has begun");
	is(in_db($db, q{SET ROLE shop; SELECT braid.send('s."Odd Name"', '1', dedup_key => 'd')}), 2501, "$what: keys are known");
	cmp_ok(in_db($db, q{SET ROLE sender; SELECT braid.send('s."Odd Name"', '"new"')}), '>', 2502, "$what: ids go on");
	is(in_db($db, q{SELECT count(*) FROM braid_internal.topic_1 n JOIN braid_internal.topic_1 o ON o.xid >= n.xid AND o.id <> n.id WHERE n.payload = '"new"'}), 0, "$what: what is new is later than all that was restored");
	ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = '$db' AND backend_type = 'braid topic'"), "$what: the worker runs");
	in_db($db, 'DROP VIEW s."Odd Name", s.plain');
	is(in_db($db, "SELECT count(*) FROM pg_class WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^topic_[0-9]'"), 0, "$what: nothing is left when they are dropped");
	return;
}

sub new_database { my ($db) = @_; in_db('postgres', "CREATE DATABASE $db"); return $db; }

ok(run_tool('origin', 'pg_dump', '-f', "$files/plain.sql"), 'pg_dump');
ok(run_tool('origin', 'pg_dump', '-Fd', '-j', 2, '-f', "$files/directory"), 'pg_dump in parallel');
ok(run_tool(new_database('plain'), 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$files/plain.sql"), 'a plain dump is restored');
ok(run_tool('plain', 'pg_dump', '-Fc', '-f', "$files/again"), 'and dumped again');
is_restored('plain', 'plain', 1);
ok(run_tool(new_database('parallel'), 'pg_restore', '-e', '-j', 2, "$files/directory"), 'in parallel');
is_restored('parallel', 'parallel', 1);
ok(run_tool(new_database('twice'), 'pg_restore', '-e', '-1', "$files/again"), 'what was restored is restored again');
ok(run_tool('twice', 'pg_restore', '-e', '--clean', '--if-exists', "$files/again"), 'over itself');
is_restored('twice', 'twice', 2);

# ---------------------------------------------------------------- many topics

in_db('postgres', 'CREATE DATABASE many');
in_db('many', 'CREATE EXTENSION braid');
in_db('many', "SELECT count(braid.create_topic('t' || i, retain => '0')) FROM generate_series($_ * 50 + 1, $_ * 50 + 50) i") for 0 .. 19;
in_db('many', "SELECT count(braid.send(('t' || i)::regclass, '1')) FROM generate_series($_ * 50 + 1, $_ * 50 + 50) i") for 0 .. 19;
is(in_db('many', 'SELECT count(*) FROM braid.topics'), 1000, 'there are 1,000 topics');
ok($node->poll_query_until('many', 'SELECT sum(messages) = 0 FROM braid.topics'), 'and all are rotated');

done_testing();
