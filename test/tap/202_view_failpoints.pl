# The capture worker is killed with SIGKILL at each point of its cycle, while
# writers write. Each view is then what its query says, exactly.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('node', { conf => "fsync = on\n" });
my $node = $cluster->node('node');
$cluster->sql('node', 'CREATE TABLE t (id int PRIMARY KEY, k int, x bigint, n numeric);
	CREATE TABLE g (k int, name text, size int);
	INSERT INTO g SELECT i, \'group \' || i % 7, i * 10 FROM generate_series(0, 19) i;
	INSERT INTO t SELECT g, g % 20, g, g / 7.0 FROM generate_series(1, 500) g');
my %queries = (
	v_sum => 'SELECT k, count(*), sum(x) AS sx, sum(n) AS sn, avg(n) FROM t GROUP BY k',
	v_extreme => 'SELECT k, min(x), max(x) FROM t WHERE x % 3 = 0 GROUP BY k',
	v_total => 'SELECT count(*), sum(x) FROM t',
	v_join => 'SELECT g.name, count(*), sum(t.x) AS sx FROM t JOIN g USING (k) GROUP BY g.name',
	v_outer => 'SELECT t.id, t.k, g.name FROM t LEFT JOIN g ON g.k = t.k AND g.size < t.x',
	v_top => 'SELECT k, id, x FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY x DESC, id) AS place FROM t) s WHERE place <= 2',
	w_cascaded => 'SELECT sx % 10 AS r, count(*), sum(count) AS n FROM v_sum GROUP BY sx % 10',
	x_cascaded => 'SELECT g.name, sum(v.x) AS x FROM v_top v JOIN g USING (k) GROUP BY g.name',
	y_cascaded => 'SELECT c.r, x.name FROM w_cascaded c LEFT JOIN x_cascaded x ON x.x % 10 = c.r',
);
$cluster->sql('node', "SET client_min_messages = warning; CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS $queries{$_}")
  for sort keys %queries;

my $script = <<'SQL';
\set id random(1, 500)
\set k random(0, 19)
\set x random(-1000, 1000)
BEGIN;
UPDATE t SET x = :x, k = :k WHERE id = :id;
SAVEPOINT s;
DELETE FROM t WHERE id = :id + 1;
ROLLBACK TO s;
INSERT INTO t VALUES (:id + 1000, :k, :x, :x / 3.0) ON CONFLICT (id) DO UPDATE SET n = t.n + 1;
DELETE FROM t WHERE id = :id + 1001;
UPDATE g SET size = :x, name = 'group ' || :k % 9 WHERE k = :k;
COMMIT;
SQL

sub check
{
	my ($what) = @_;
	for my $view (sort keys %queries)
	{
		ok($node->poll_query_until('postgres', "SELECT braid.wait('$view', '5 s')"), "$what: $view catches up");
		is($cluster->sql('node', "SELECT count(*) FROM ((TABLE $view EXCEPT ALL $queries{$view}) UNION ALL ($queries{$view} EXCEPT ALL TABLE $view)) d"),
			'0', "$what: $view is exact");
		is($cluster->sql('node', "SELECT count(*) FROM braid.verify('$view')"), '0', "$what: braid.verify() says so too");
	}
	return;
}

check('at first');
for my $round (1 .. $rounds)
{
	for my $point ('capture-snapshot', 'capture-decoded', 'view-merge', 'capture-applied', 'capture-committed')
	{
		my $load = $cluster->start_load('node', $script, 2);
		$cluster->crash_at('node', $point);
		$cluster->wait_alive('node');
		my $xid = $cluster->sql('node', 'SELECT pg_current_xact_id()::text::bigint');
		ok($cluster->wait_for('node', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > $xid + 50"), "$point: writers go on");
		$cluster->stop_load($load);
		check("crash at $point");
	}
}
is($cluster->sql('node', 'SELECT count(*) FROM pg_replication_slots'), '1', 'there is one slot');
done_testing();
