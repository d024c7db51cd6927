# What stays when raw data goes: retain, base_deletes = keep, partitions dropped and
# detached, TRUNCATE, late inserts into periods whose rows are gone, updates that do
# not count twice, rebuilds, and columns added later.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\nTimeZone = 'UTC'\n" });
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', "SET client_min_messages = warning;\n$_[0]"); }
sub settled { my ($view) = @_; return sql("SELECT braid.wait('$view', '30 s')"); }
sub shown
{
	my ($view, $columns) = @_;
	settled($view);
	return sql('SELECT ' . ($columns // '*') . " FROM $view ORDER BY 1, 2");
}
sub error_of { my (undef, undef, $error) = $cluster->try_sql('db', $_[0]); return $error; }

sql(<<'SQL');
CREATE TABLE raw (id int, at timestamptz, shop int, v int) PARTITION BY RANGE (at);
CREATE TABLE raw_1 PARTITION OF raw FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
CREATE TABLE raw_2 PARTITION OF raw FOR VALUES FROM ('2026-01-02') TO ('2026-01-03');
CREATE TABLE raw_3 PARTITION OF raw FOR VALUES FROM ('2026-01-03') TO ('2026-01-04');
CREATE TABLE raw_4 PARTITION OF raw FOR VALUES FROM ('2026-01-04') TO ('2026-01-05');
INSERT INTO raw SELECT g, '2026-01-01'::timestamptz + g * interval '1 hour', g % 2, g FROM generate_series(0, 71) g;
CREATE MATERIALIZED VIEW daily WITH (braid.continuous, braid.watermark = 'at', braid.base_deletes = 'keep') AS
	SELECT braid.tumble(at, '1 day') AS day, shop, count(*) AS n, sum(v) AS s, max(v) AS m FROM raw GROUP BY 1, 2;
CREATE MATERIALIZED VIEW total WITH (braid.continuous) AS SELECT shop, sum(n) AS n, sum(s) AS s FROM daily GROUP BY shop;
CREATE MATERIALIZED VIEW follows WITH (braid.continuous) AS SELECT braid.tumble(at, '1 day') AS day, shop, count(*) AS n FROM raw GROUP BY 1, 2;
SQL

# ---------------------------------------------------------------- keep

my $all = join "\n", map { my $d = $_; map { my $s = $_; my @v = grep { $_ % 2 == $s } 24 * $d .. 24 * $d + 23; my $t = 0; $t += $_ for @v; "2026-01-0@{[ $d + 1 ]} 00:00:00+00|$s|12|$t|$v[-1]" } 0, 1 } 0 .. 2;
is(shown('daily'), $all, 'populated');
sql("DELETE FROM raw WHERE at < '2026-01-01 12:00'");
is(shown('daily'), $all, 'rows of a closed day are deleted: the day stays');
is(shown('follows'), "2026-01-01 00:00:00+00|0|6\n2026-01-01 00:00:00+00|1|6\n2026-01-02 00:00:00+00|0|12\n2026-01-02 00:00:00+00|1|12\n2026-01-03 00:00:00+00|0|12\n2026-01-03 00:00:00+00|1|12", 'a view beside it follows');
sql("DELETE FROM raw WHERE at = '2026-01-03 23:00'");
like(shown('daily'), qr/^2026-01-03 00:00:00\+00\|1\|11\|\d+\|69$/m, 'one of an open day: the day changes');
sql("INSERT INTO raw VALUES (71, '2026-01-03 23:00', 1, 71)");
is(shown('daily'), $all, 'and back');
sql('DROP TABLE raw_1');
is(shown('daily'), $all, 'a partition is dropped');
is(shown('total'), "0|36|1260\n1|36|1296", 'and a view over it stays');
sql('ALTER TABLE raw DETACH PARTITION raw_2');
is(shown('daily'), $all, 'one is detached');
sql('ALTER TABLE raw ATTACH PARTITION raw_2 FOR VALUES FROM (\'2026-01-02\') TO (\'2026-01-03\')');
is(shown('daily'), $all, 'and attached again: its closed day is not counted twice');
sql("CREATE TABLE raw_1 PARTITION OF raw FOR VALUES FROM ('2026-01-01') TO ('2026-01-02'); SELECT braid.wait('daily'); INSERT INTO raw VALUES (100, '2026-01-01 05:00', 0, 1000)");
like(shown('daily'), qr/^2026-01-01 00:00:00\+00\|0\|13\|1132\|1000$/m, 'a late row is merged into a day whose rows are gone');
sql("UPDATE raw SET v = v + 1 WHERE at = '2026-01-02 00:00'");
like(shown('daily'), qr/^2026-01-02 00:00:00\+00\|0\|12\|421\|46$/m, 'an update of a closed day counts once');
sql("UPDATE raw SET at = at + interval '1 day' WHERE at = '2026-01-02 02:00'");
like(shown('daily'), qr/^2026-01-02 00:00:00\+00\|0\|11\|395\|46$(?s:.*)^2026-01-03 00:00:00\+00\|0\|13\|734\|70$/m, 'one that moves a row to another day');
my $kept = shown('daily');
sql('REFRESH MATERIALIZED VIEW daily');
is(shown('daily'), $kept, 'REFRESH keeps closed days');
sql("DELETE FROM raw WHERE at < '2026-01-03'");
settled('daily');

# As if the slot were another one: all that the worker knows of the table is gone.
sql('DELETE FROM braid_internal.frontiers');
$node->restart('fast');
is(shown('daily'), $kept, 'the slot is lost: closed days stay');
is(sql("SELECT count(*) FROM braid.verify('daily')"), '0', 'braid.verify() compares what is open');

# ---------------------------------------------------------------- a column that is added later

sql("SELECT braid.alter_view('daily', 'SELECT braid.tumble(at, ''1 day'') AS day, shop, count(*) AS n, sum(v) AS s, max(v) AS m, min(v) AS low FROM raw GROUP BY 1, 2')");
$cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'daily'::regclass");
is(shown('daily', 'day, shop, n, s, m'), $kept, 'another query: closed days stay');
is(shown('daily', 'day, shop, low'), "2026-01-01 00:00:00+00|0|\n2026-01-01 00:00:00+00|1|\n2026-01-02 00:00:00+00|0|\n2026-01-02 00:00:00+00|1|\n2026-01-03 00:00:00+00|0|26\n2026-01-03 00:00:00+00|1|49", 'and do not have its new column');
is(sql("SELECT valid_since FROM braid.views WHERE name = 'daily'::regclass"), '{"low": "2026-01-03 23:00:00+00"}', 'braid.views says since when');
sql("INSERT INTO raw VALUES (200, '2026-01-04 01:00', 0, 7)");
like(shown('daily', 'day, shop, low'), qr/^2026-01-04 00:00:00\+00\|0\|7$/m, 'new days have it');
sql('TRUNCATE raw');
is(shown('daily', 'count(*), sum(n)'), '6|73', 'TRUNCATE: closed days stay, the open one goes');

# ---------------------------------------------------------------- what cannot be kept

like(error_of("CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'at', braid.base_deletes = 'keep') AS SELECT braid.tumble(at, '1 day'), array_agg(v) FROM raw GROUP BY 1"),
	qr/0A000|do not support base_deletes = keep with aggregates/, 'an aggregate that is computed from all rows is refused');
like(error_of("CREATE MATERIALIZED VIEW v WITH (braid.continuous, braid.watermark = 'r.at', braid.base_deletes = 'keep') AS SELECT braid.tumble(r.at, '1 day'), count(*) FROM raw r LEFT JOIN raw s USING (id) GROUP BY 1"),
	qr/base_deletes = keep over anything but tables/, 'and an outer join');

# ---------------------------------------------------------------- retain

sql(<<'SQL');
CREATE TABLE ticks (at timestamptz, v int);
CREATE MATERIALIZED VIEW minutes WITH (braid.continuous, braid.watermark = 'at', braid.retain = '1 hour') AS
	SELECT braid.tumble(at, '1 min') AS minute, count(*) AS n, count(DISTINCT v) AS d FROM ticks GROUP BY 1;
CREATE MATERIALIZED VIEW sums WITH (braid.continuous) AS SELECT sum(n) AS n FROM minutes;
CREATE MATERIALIZED VIEW final WITH (braid.continuous, braid.watermark = 'at', braid.emit = 'close', braid.retain = '1 hour') AS
	SELECT braid.tumble(at, '1 min') AS minute, count(*) AS n FROM ticks GROUP BY 1;
CREATE MATERIALIZED VIEW finals WITH (braid.continuous) AS SELECT count(*) AS n FROM final;
SQL
settled($_) for qw(minutes sums final finals);
sql("INSERT INTO ticks SELECT '2026-01-01'::timestamptz + g * interval '1 min', g FROM generate_series(0, 179) g");
settled('minutes');

# Groups are deleted now and then, by cycles that have something to do.
my $time = '2026-01-01 02:59';
ok($cluster->wait_for('db', "WITH i AS (INSERT INTO ticks VALUES ('$time', 1)) SELECT (SELECT min(minute) = '2026-01-01 01:59' FROM minutes) AND (SELECT min(minute) = '2026-01-01 01:59' FROM final)"), 'old groups are deleted');
settled($_) for qw(minutes sums final finals);
is(sql("SELECT count(*), (SELECT n FROM finals) FROM minutes"), '61|60', 'each once, and views over them follow');
is(sql("SELECT (SELECT sum(n) FROM minutes) = (SELECT n FROM sums)"), 't', 'also those over another view');
my $before = shown('minutes');
sql("INSERT INTO ticks VALUES ('2026-01-01 00:10', 1), ('2026-01-01 02:10', 5)");
isnt(shown('minutes'), $before, 'a late row is merged into a group that is retained');
is(sql("SELECT count(*) FROM minutes WHERE minute < '2026-01-01 01:59'"), '0', 'and not into one that was deleted');
is(sql("SELECT late, dropped FROM braid.views WHERE name = 'minutes'::regclass"), '2|1', 'both are counted');
$before = shown('minutes');
sql('REFRESH MATERIALIZED VIEW minutes');
is(shown('minutes'), $before, 'REFRESH does not bring back what has expired');
is(sql("SELECT count(*) FROM braid.verify('minutes')"), '0', 'braid.verify() compares what is retained');

# Without it they come back, as far as the rows are there.
sql('ALTER MATERIALIZED VIEW minutes RESET (braid.retain)');
is(shown('minutes', 'count(*), sum(n)'), '180|' . sql('SELECT count(*) FROM ticks'), 'RESET (braid.retain) brings back all that the table has');
done_testing();
