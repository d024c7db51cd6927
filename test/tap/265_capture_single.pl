# Transactions of one row, many of them in one cycle: among others, larger ones, ones whose rows come in pieces
# or whose subtransactions are rolled back, changes of the tables and of the catalogs, and too little memory.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Views;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_memory = 16MB
max_wal_size = 4GB
synchronous_commit = off
autovacuum_naptime = 1s
CONF
my $node = $cluster->node('db');
my $views = Braid::Views->new($cluster, 'db');

sub sql { return $cluster->sql('db', $_[0]); }

sql(<<'SQL');
CREATE TABLE t (id serial PRIMARY KEY, k int, x int, big text);
CREATE TABLE p (id int, k int, x int) PARTITION BY LIST (k);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0);
CREATE TABLE p1 (x int, k int, id int);
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1);
CREATE FOREIGN TABLE s (id int, k int) SERVER braid_stream;
CREATE TABLE twin (id int, k int);
CREATE TABLE uncaptured (id int);
INSERT INTO t (k, x, big) SELECT g % 7, g, 'big' FROM generate_series(1, 1000) g;
INSERT INTO p SELECT g, g % 2, g FROM generate_series(1, 1000) g;
SQL
is($views->create('by_key', 'SELECT k, count(*), sum(x), max(length(big)), min(md5(big)) FROM t GROUP BY k'), '', 'a view of groups');
is($views->create('all_rows', 'SELECT id, k, x, md5(big) AS big FROM t'), '', 'a view of rows');
is($views->create('parts', 'SELECT k, count(*), sum(x), sum(id) AS ids FROM p GROUP BY k'), '', 'a view of partitions');
is($views->create('joined', 'SELECT t.k, count(*), sum(p.x) FROM t JOIN p ON p.id = t.x GROUP BY t.k'), '', 'a join');
is($views->create('of_twin', 'SELECT k, count(*), sum(id) FROM twin GROUP BY k'), '', 'a view of a table that is written beside a stream');
sql('SET client_min_messages = warning; CREATE MATERIALIZED VIEW of_stream WITH (braid.continuous) AS SELECT k, count(*), sum(id) FROM s GROUP BY k');

sub are_right
{
	my ($what) = @_;
	is(join("\n", $views->differences), '', "$what: views are right");
	sql(q{SELECT braid.wait('of_stream', '1 min')});
	is(sql('SELECT count(*) FROM ((TABLE of_twin EXCEPT TABLE of_stream) UNION ALL (TABLE of_stream EXCEPT TABLE of_twin)) d'), '0', "$what: the stream has the same");
	return;
}

sub held
{
	my ($something) = @_;
	$cluster->hold_capture('db');
	$something->();
	$cluster->release_capture('db');
	return;
}

# ---- many at once
are_right('at first');
held(sub { sql("DO \$\$ BEGIN FOR i IN 1 .. 1000 LOOP INSERT INTO t (k, x) VALUES (i % 7, i); COMMIT; END LOOP; END \$\$") });
are_right('a thousand');

# ---- each kind among the others
my $script = <<'SQL';
\set id random(1, 1000)
\set what random(1, 24)
\if :what <= 6
INSERT INTO t (k, x) VALUES (:id % 7, :id);
\elif :what <= 10
UPDATE t SET x = x + 1 WHERE id = :id;
\elif :what <= 12
DELETE FROM t WHERE id = :id + 1000;
\elif :what = 13
INSERT INTO t (k, x, big) SELECT :id % 7, :id, string_agg(md5((:id * g)::text), '') FROM generate_series(1, 200) g;
\elif :what = 14
UPDATE t SET big = (SELECT string_agg(md5((:id + g)::text), '') FROM generate_series(1, 150) g) WHERE id = :id;
\elif :what = 15
INSERT INTO t (id, k, x) VALUES (:id, :id % 7, 1) ON CONFLICT (id) DO UPDATE SET k = (t.k + 1) % 7;
\elif :what = 16
UPDATE p SET k = 1 - k WHERE id = :id;
\elif :what = 17
UPDATE p SET x = x + 1 WHERE id = :id;
\elif :what = 18
BEGIN;
INSERT INTO t (k, x) VALUES (1, :id);
SAVEPOINT a;
UPDATE t SET x = x - 1 WHERE id = :id;
ROLLBACK TO a;
INSERT INTO p VALUES (:id, 0, :id);
COMMIT;
\elif :what = 19
BEGIN;
SAVEPOINT a;
INSERT INTO t (k, x) VALUES (2, :id);
COMMIT;
\elif :what = 20
BEGIN;
INSERT INTO t (k, x) VALUES (3, :id);
ROLLBACK;
\elif :what = 21
WITH r AS (INSERT INTO twin VALUES (:id, :id % 3) RETURNING *) INSERT INTO s SELECT * FROM r;
\elif :what = 22
BEGIN;
INSERT INTO s VALUES (:id, 5);
INSERT INTO twin VALUES (:id, 5);
COMMIT;
\elif :what = 23
INSERT INTO uncaptured VALUES (:id);
\else
INSERT INTO t (k, x) SELECT g % 7, g FROM generate_series(1, 20) g;
\endif
SQL

# What goes on beside: tables and catalogs change, transactions are recorded as running, large ones fill the memory.
my @beside = (
	'ALTER TABLE t ADD COLUMN extra int DEFAULT 3',
	'CHECKPOINT',
	'ALTER TABLE t DROP COLUMN extra',
	q{BEGIN; INSERT INTO t (k, x, big) SELECT g % 7, g, repeat('x', 500) FROM generate_series(1, 20000) g; CHECKPOINT; INSERT INTO uncaptured VALUES (1); COMMIT},
	q{BEGIN; INSERT INTO t (k, x, big) SELECT g % 7, g, repeat('x', 500) FROM generate_series(1, 20000) g; ROLLBACK},
	'CREATE TABLE other AS SELECT 1 AS a; DROP TABLE other',
	q{DELETE FROM t WHERE length(big) = 500},
	q{BEGIN; INSERT INTO t (k, x) VALUES (6, 6); PREPARE TRANSACTION 'one row'},
	'CHECKPOINT',
	q{COMMIT PREPARED 'one row'},
	'CREATE INDEX ON t (k); CHECKPOINT',
	'VACUUM FULL t',
	'ANALYZE',
);

for my $round (1 .. $rounds)
{
	for my $is_held (0, 1)
	{
		my $what = $is_held ? 'all at once' : 'as they come';
		my $run = sub {
			my $load = $cluster->start_load('db', $script, 4);
			sql($_) for @beside;
			cmp_ok($cluster->stop_load($load), '>', 100, "$what: there was load");
		};
		$is_held ? held($run) : $run->();
		are_right($what);
	}
	my $load = $cluster->start_load('db', $script, 4);
	$cluster->crash_at('db', 'capture-decoded');
	$cluster->wait_alive('db');
	$cluster->stop_load($load);
	are_right('killed');
	sql('TRUNCATE t');
	sql('INSERT INTO t (k, x) VALUES (1, 1)');
	are_right('truncated');
}
is(join("\n", $views->failures), '', 'no view was made anew');
is(sql(q{SELECT count(*) FROM pg_stat_replication_slots WHERE spill_count + stream_count > 0}), '1', 'memory has not sufficed');
$node->stop;
done_testing();
