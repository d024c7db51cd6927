# Changefeeds under concurrent load, with rolled back savepoints and prepared transactions, while the server is
# killed at each point of a cycle: who adds up the messages has the rows of each view and table,
# and nothing is told twice or left out. Then all that makes a view anew, and what is in the way of a feed.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Feeds;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('db', 'far', { conf => <<'CONF' });
max_prepared_transactions = 10
braid.capture_memory = 16MB
autovacuum_naptime = 1s
braid.topic_rotate_interval = 500ms
CONF
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', $_[0]); }

sql(<<'SQL');
SELECT braid.create_topic('changes', 4);
CREATE TABLE t (id int PRIMARY KEY, k int, x bigint, n numeric);
CREATE TABLE g (k int, name text, size int);
CREATE TABLE p (id int PRIMARY KEY, x int) PARTITION BY RANGE (id);
CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (250);
CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (250) TO (3000);
CREATE TABLE bare (a int, b text);
CREATE TABLE events (ts timestamptz, x int);
CREATE FOREIGN TABLE s (k int, x int) SERVER braid_stream;
INSERT INTO g SELECT i, 'group ' || i % 7, i * 10 FROM generate_series(0, 19) i;
INSERT INTO t SELECT g, g % 20, g, g / 7.0 FROM generate_series(1, 500) g;
INSERT INTO p SELECT g, g FROM generate_series(1, 500) g;
ALTER TABLE t SET (braid.feed = 'changes');
ALTER TABLE p SET (braid.feed = 'changes');
ALTER TABLE bare SET (braid.feed = 'changes');
SQL

# Queries; options; whether rows are told apart by the key.
my %views = (
	v_sum => [ 'SELECT k, count(*), sum(x) AS sx, sum(n) AS sn, avg(n) FROM t GROUP BY k', '', 1 ],
	v_total => [ 'SELECT count(*), sum(x) FROM t', '', 1 ],
	v_having => [ 'SELECT k % 5 AS k5, sum(x) / count(*) AS mean FROM t GROUP BY k % 5 HAVING sum(x) > 0', '', 1 ],
	v_distinct => [ 'SELECT DISTINCT x % 50 AS x FROM t', '', 1 ],
	v_join => [ 'SELECT g.name, count(*), sum(t.x) AS sx FROM t JOIN g USING (k) GROUP BY g.name', '', 1 ],
	v_rows => [ 'SELECT id, x * 2 AS twice, n FROM t WHERE x > 0', q{, braid.feed_key = 'id'}, 1 ],
	v_outer => [ 'SELECT t.id, t.k, g.name FROM t LEFT JOIN g ON g.k = t.k AND g.size < t.x', '', 0 ],
	v_bag => [ 'SELECT k, x % 3 AS r FROM t', '', 0 ],
	v_top => [ 'SELECT k, id, x FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY x DESC, id) AS place FROM t) s WHERE place <= 2', '', 0 ],
	v_latest => [ 'SELECT DISTINCT ON (k) k, id, x FROM t ORDER BY k, x DESC, id', '', 1 ],
	v_limit => [ 'SELECT id, x FROM t ORDER BY x DESC, id LIMIT 10', q{, braid.feed_key = 'id'}, 1 ],
	w_cascaded => [ 'SELECT sx % 10 AS r, count(*), sum(count) AS n FROM v_sum GROUP BY sx % 10', '', 1 ],
	v_closed => [ q{SELECT braid.tumble(ts, '10 s') AS span, count(*), sum(x) FROM events GROUP BY 1}, q{, braid.watermark = 'ts - interval ''5 s''', braid.emit = 'close'}, 1 ],
	v_scheduled => [ 'SELECT k, rank() OVER (ORDER BY sum(x), k) AS place FROM t GROUP BY k', q{, braid.schedule = '1 s', braid.feed_key = 'k'}, 1 ],
	v_stream => [ 'SELECT k, count(*), sum(x) FROM s GROUP BY k', '', 1 ],
);
sql("SET client_min_messages = warning; SET braid.allow_recompute = on; SET TimeZone = 'UTC'; CREATE MATERIALIZED VIEW $_ WITH (braid.continuous, braid.feed = 'changes'$views{$_}[1]) AS $views{$_}[0]")
  for sort keys %views;
my %told = (map({ ("public.$_" => $views{$_}[2]) } keys %views), 'public.t' => 1, 'public.p' => 1, 'public.bare' => 0);
my $feeds = Braid::Feeds->new($cluster, 'db', 'changes');

my $script = <<'SQL';
\set id random(1, 500)
\set k random(0, 19)
\set x random(-1000, 1000)
\set what random(1, 10)
BEGIN;
UPDATE t SET x = :x, k = :k WHERE id = :id;
SAVEPOINT a;
DELETE FROM t WHERE id = :id + 1;
INSERT INTO bare VALUES (:id, 'never');
ROLLBACK TO a;
INSERT INTO t VALUES (:id + 1000, :k, :x, :x / 3.0) ON CONFLICT (id) DO UPDATE SET n = t.n + 1;
DELETE FROM t WHERE id = :id + 1001;
UPDATE g SET size = :x, name = 'group ' || :k % 9 WHERE k = :k;
SAVEPOINT b;
UPDATE p SET x = :x WHERE id = :id;
DELETE FROM bare WHERE a = :k;
INSERT INTO bare VALUES (:k, 'twice'), (:k, 'twice');
INSERT INTO events SELECT timestamptz '2026-01-01' + count(*) * interval '1 s', :x FROM events;
INSERT INTO s VALUES (:k, :x);
\if :what = 1
PREPARE TRANSACTION 'feed :client_id';
COMMIT PREPARED 'feed :client_id';
\elif :what = 2
ROLLBACK;
\else
COMMIT;
\endif
\if :what = 3
UPDATE p SET id = id + 1000 WHERE id = :id;
UPDATE p SET id = id - 1000 WHERE id = :id + 1000;
\elif :what = 4
UPDATE t SET id = id + 2000 WHERE id = :id;
UPDATE t SET id = id - 2000 WHERE id = :id + 2000;
\endif
SQL

sub end_prepared
{
	$cluster->try_sql('db', "COMMIT PREPARED '$_'") for split /\n/, sql("SELECT gid FROM pg_prepared_xacts");
	return;
}

# All that was committed has been told, and no more.
sub are_told
{
	my ($when) = @_;
	end_prepared();
	is(join("\n", $feeds->differences(\%told)), '', "$when: the messages add up to what there is");
	return;
}

are_told('at first');
is(sql("SELECT count(*) FROM braid.feeds WHERE state = 'live'"), keys %told, 'all feeds have begun');

for my $round (1 .. $rounds)
{
	for my $point ('capture-decoded', 'view-merge', 'capture-applied', 'capture-committed')
	{
		my $taking = $feeds->start;
		my $load = $cluster->start_load('db', $script, 3);
		sleep(0.7);
		$cluster->crash_at('db', $point);
		$cluster->wait_alive('db');
		end_prepared();
		my $xid = sql('SELECT pg_current_xact_id()::text::bigint');
		ok($cluster->wait_for('db', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > $xid + 200"), "$point: writers go on");
		cmp_ok($cluster->stop_load($load), '>', 0, "$point: transactions were committed");
		$feeds->stop($taking);
		are_told("crash at $point");
	}
	my $load = $cluster->start_load('db', $script, 3);
	sleep(0.7);
	$node->stop('immediate');
	$node->start;
	end_prepared();
	$cluster->stop_load($load);
	are_told('server stopped at once');
}

# What tells of where it comes from.
cmp_ok(sql("SELECT count(*) FROM folded.messages WHERE relation = 'public.t' AND gid LIKE 'feed %'"), '>', 0, 'changes of prepared transactions have their gid');
is(sql("SELECT count(*) FROM folded.messages WHERE relation LIKE 'public.v%' AND gid IS NOT NULL"), 0, 'those of views have none');
is(sql("SELECT count(*) FROM folded.messages WHERE op = 'snapshot' AND relation <> 'public.v_stream'"), 4 * (keys(%told) - 1), 'no feed has begun anew');
is(sql("SELECT count(*) FROM v_closed v WHERE (SELECT count(*) FROM folded.rows f WHERE f.relation = 'public.v_closed' AND f.r = to_jsonb(v.*)::text AND f.n = 1) <> 1"), 0, 'a closed window was told');
is(sql("SELECT count(*) FROM folded.messages WHERE relation = 'public.v_closed' AND op IN ('update', 'delete')"), 0, 'once, and stays');

# ---- what makes views anew, and tables empty
sub messages { my ($of) = @_; $feeds->drain; return sql("SELECT count(*) FROM folded.messages WHERE $of"); }

my $before = messages("relation = 'public.v_join'");
sql('REFRESH MATERIALIZED VIEW v_join');
are_told('after REFRESH');
is(messages("relation = 'public.v_join'"), $before, 'a view that is made anew and shows the same tells nothing');
sql('TRUNCATE g; TRUNCATE bare; INSERT INTO bare VALUES (1, NULL)');
are_told('after TRUNCATE');
cmp_ok(messages("relation = 'public.v_join' AND op = 'delete'"), '>', 0, 'groups that went with their rows are told');
is(messages("relation = 'public.bare' AND op = 'truncate'"), 4, 'and that of a table, to each partition');
sql('INSERT INTO g SELECT i, \'group \' || i % 7, i * 10 FROM generate_series(0, 19) i');
sql("SELECT braid.alter_view('v_sum', 'SELECT k, count(*), sum(x) AS sx, sum(n) AS sn, avg(n), max(x) AS most FROM t WHERE x > -500 GROUP BY k')");
ok($cluster->wait_for('db', "SELECT new_query IS NULL AND state = 'live' FROM braid.views WHERE name = 'v_sum'::regclass"), 'a view gets another query');
are_told('another query');
is(messages("relation = 'public.v_sum' AND op = 'snapshot'"), 8, 'its feed begins anew');
sql("SELECT braid.pause('v_rows'); UPDATE t SET x = x + 1 WHERE id < 100; SELECT braid.resume('v_rows')");
are_told('after a pause');
# What was told before of a row has no such column, but the row that goes has it.
sql('ALTER TABLE t ADD COLUMN extra int DEFAULT 3; DELETE FROM t WHERE id > 200; INSERT INTO bare VALUES (5, NULL)');
sql("UPDATE folded.rows SET r = (r::jsonb || '{\"extra\": 3}')::text WHERE relation = 'public.t'");
sql('UPDATE t SET extra = 4, x = 7 WHERE id < 100');
is(join("\n", grep { !/not there/ } $feeds->differences({ 'public.t' => 1 })), '', 'a column that is added shows in what changes');
is(messages("relation = 'public.t' AND op = 'snapshot'"), 4, 'and is no reason to begin anew');
sql(q{ALTER SYSTEM SET braid.view_populate_limit = 0; SELECT pg_reload_conf()});
my $load = $cluster->start_load('db', $script, 2);
sql('REFRESH MATERIALIZED VIEW v_outer; REFRESH MATERIALIZED VIEW v_top');
sleep(1);
$cluster->stop_load($load);
are_told('populated beside');

# ---- the slot is lost
my $snapshots = messages("op = 'snapshot'");
sql("UPDATE braid_internal.frontiers SET slot = 'gone'");
$cluster->kill_process('db', $cluster->capture_pid('db'));
sql('DELETE FROM t WHERE id < 50');
are_told('another slot');
is(messages("op = 'snapshot'"), $snapshots + 4 * 3, 'tables begin anew, views need not');

# ---- what is in the way
sql(q{CREATE ROLE seller; CREATE ROLE sender; GRANT CREATE ON SCHEMA public TO seller; GRANT INSERT ON changes TO seller});
sql(q{SET ROLE seller; CREATE TABLE sold (id int PRIMARY KEY, x int); ALTER TABLE sold SET (braid.feed = 'changes');
	SET client_min_messages = warning; CREATE MATERIALIZED VIEW sums WITH (braid.continuous, braid.feed = 'changes') AS SELECT x % 3 AS r, count(*) FROM sold GROUP BY 1});
$views{sums} = [ '', '', 1 ];
$told{"public.$_"} = 1 for 'sold', 'sums';
sql('INSERT INTO sold SELECT g, g FROM generate_series(1, 10) g');
are_told('a role of its own');
my $sold = "relation = 'public.sold' AND op IN ('insert', 'update', 'delete')";
$before = messages($sold);
sql('REVOKE INSERT ON changes FROM seller; INSERT INTO sold VALUES (11, 1); UPDATE sold SET x = 2 WHERE id = 11; DELETE FROM sold WHERE id = 1');
ok($cluster->wait_for('db', "SELECT state = 'held back' FROM braid.views WHERE name = 'sums'::regclass"), 'a view that may not send is held back');
is(sql(q{SELECT last_error FROM braid.views WHERE name = 'sums'::regclass}), 'its feed: role "seller" may not send to topic "changes"', 'and says why');
is(sql(q{SELECT string_agg(relation || ' ' || state || ': ' || last_error, E'\n' ORDER BY relation::text) FROM braid.feeds WHERE last_error IS NOT NULL}),
	qq{sold held back: role "seller" may not send to topic "changes"\nsums held back: role "seller" may not send to topic "changes"}, 'so does its feed');
sql('INSERT INTO t VALUES (9000, 1, 1, 1)');
ok($cluster->wait_for('db', "SELECT braid.wait('v_total', '10 s')"), 'others go on');
$node->restart;
sql('GRANT INSERT ON changes TO seller');
are_told('once it may');
is(messages($sold), $before + 3, 'each change was told');
is(messages("relation = 'public.sums' AND op = 'snapshot'"), 4, 'and no feed began anew');

# ---- ends
sql('ALTER TABLE sold RESET (braid.feed); DROP MATERIALIZED VIEW sums; ALTER TABLE p RESET (braid.feed)');
delete $views{sums};
delete $told{"public.$_"} for 'sold', 'sums', 'p';
my $ended = messages("relation IN ('public.sold', 'public.p')");
sql('UPDATE sold SET x = x + 1; UPDATE p SET x = x + 1');
are_told('at the end');
is(messages("relation IN ('public.sold', 'public.p')"), $ended, 'what has no feed any more tells nothing');
ok($cluster->wait_for('db', "SELECT relreplident = 'd' FROM pg_class WHERE relname = 'sold'"), 'and is not captured');

# ---- larger than memory, with COPY, and values out of line
sql(<<'SQL');
SELECT braid.create_topic('wide_changes');
CREATE TABLE wide (id int PRIMARY KEY, x int, big text);
CREATE MATERIALIZED VIEW wide_sum WITH (braid.continuous) AS SELECT count(*), sum(x) FROM wide;
ALTER TABLE wide SET (braid.feed = 'wide_changes');
SELECT braid.wait('wide_sum', '60 s');
SQL
ok($cluster->wait_for('db', q{SELECT state = 'live' FROM braid.feeds WHERE relation = 'wide'::regclass}), 'a feed begins beside a view');
sql(<<'SQL');
BEGIN;
INSERT INTO wide SELECT g, g, repeat('x', 700) FROM generate_series(1, 15000) g;
SAVEPOINT a;
INSERT INTO wide SELECT g, g, repeat('y', 700) FROM generate_series(15001, 25000) g;
UPDATE wide SET x = -1;
ROLLBACK TO a;
UPDATE wide SET x = x + 1 WHERE id % 10 = 0;
SAVEPOINT b;
COPY wide (id, x) FROM PROGRAM 'seq 30001 35000 | sed "s/$/\t0/"';
INSERT INTO wide SELECT 40000, 0, string_agg(md5(g::text), '') FROM generate_series(1, 5000) g;
UPDATE wide SET x = 1 WHERE id = 40000;
DELETE FROM wide WHERE id % 100 = 0 AND id <= 15000;
PREPARE TRANSACTION 'wide one';
COMMIT PREPARED 'wide one';
SQL
ok($cluster->wait_for('db', q{SELECT count(*) > 1 FROM wide_changes}), 'a large transaction is told');
is(sql(q{SELECT string_agg(op || ' ' || n, ', ' ORDER BY op) FROM (SELECT payload->>'op' AS op, count(*) AS n FROM wide_changes GROUP BY 1) c}),
	'delete 150, insert 20001, snapshot 1, update 1501', 'what was committed of it');
is(sql(q{SELECT concat_ws(' ', count(DISTINCT payload->>'lsn'), min(payload->>'gid'), count(payload->>'gid')) FROM wide_changes WHERE payload->>'op' <> 'snapshot'}), '1 wide one 21652', 'by one commit');
is(sql(q{SELECT count(*) FROM (SELECT payload->'old' AS old, lag(payload->'new') OVER (PARTITION BY key ORDER BY id) AS before FROM wide_changes WHERE payload->>'op' <> 'snapshot') c
	WHERE old IS DISTINCT FROM coalesce(before, 'null')}), 0, 'each change after the one before');
my $last = q{(SELECT last FROM (SELECT DISTINCT ON (key) payload->'new' AS last FROM wide_changes WHERE key IS NOT NULL ORDER BY key, id DESC) l WHERE last <> 'null')};
my $rows = 'SELECT to_jsonb(w.*) FROM wide w';
is(sql("SELECT count(*) FROM (($rows EXCEPT ALL $last) UNION ALL ($last EXCEPT ALL $rows)) d"), 0, 'and they add up');
cmp_ok(sql('SELECT large_transactions FROM braid.stat_capture WHERE datname = current_database()'), '>', 0, 'it was decoded while it was in progress');

# ---- a global transaction
$cluster->sql('far', "SELECT braid.create_topic('changes'); CREATE TABLE stock (id int PRIMARY KEY, n int); ALTER TABLE stock SET (braid.feed = 'changes')");
sql('CREATE FOREIGN TABLE stock (id int, n int) SERVER far; CREATE TABLE sent (id int)');
ok($cluster->wait_for('far', q{SELECT state = 'live' FROM braid.feeds}), 'a feed begins on another server');
sql('BEGIN; INSERT INTO stock VALUES (1, 1); INSERT INTO sent VALUES (1); COMMIT');
ok($cluster->wait_for('far', q{SELECT EXISTS (SELECT FROM changes WHERE payload->>'op' = 'insert')}), 'what was written there is told');
like($cluster->sql('far', q{SELECT payload->>'gid' FROM changes WHERE payload->>'op' = 'insert'}), qr/^braid:/, 'with the gid of the branch');

# ---- a dump has feeds, and the topic with where its groups are
my $dump = PostgreSQL::Test::Utils::tempdir() . '/feeds.sql';
sql('UPDATE t SET x = x - 1 WHERE id < 100');
end_prepared();
$feeds->drain;
my $defined = q{SELECT string_agg(concat_ws(' ', relation, topic, key), ', ' ORDER BY relation::text) FROM braid.feeds};
my $defined_before = sql($defined);
PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-f', $dump, $node->connstr('postgres'));
sql('CREATE DATABASE restored');
PostgreSQL::Test::Utils::system_or_bail('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored'));
is($node->safe_psql('restored', $defined), $defined_before, 'feeds are restored');
ok($node->poll_query_until('restored', q{SELECT bool_and(state = 'live') FROM braid.feeds}), 'and begin anew');
$node->safe_psql('restored', 'UPDATE t SET x = x + 1; DELETE FROM bare; INSERT INTO bare VALUES (7, NULL)');
is(join("\n", $feeds->differences(\%told, 'restored')), '', 'the messages add up there too');

done_testing();
