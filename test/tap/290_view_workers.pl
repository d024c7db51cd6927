# Groups of large deltas of streams made by several processes (view/fast_team.c): they are
# what PostgreSQL says of the same rows in a table, whatever keys these have; an error in a
# helper is the view's; too many groups for the memory are left to SQL; kill -9 of a helper
# loses and doubles nothing.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $seed = $ENV{BRAID_SEED} // 20261123;
note "BRAID_SEED=$seed";
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
fsync = on
autovacuum = off
braid.view_workers = 2
max_parallel_workers = 4
max_worker_processes = 20
CONF

sub sql { return $cluster->sql('db', $_[0]); }

my %views = (
	numbers => 'SELECT k, b, count(*) AS n, count(i4) AS c, sum(i2) AS s2, sum(i4) AS s4, sum(i8) AS s8, avg(i8) AS a8, bit_xor(i4) AS x, min(i8) AS mi, max(f8) AS ma FROM %s GROUP BY 1, 2',
	floats => 'SELECT k, sum(f8) AS s, variance(i2) AS v, covar_pop(f4, i4) AS c FROM %s GROUP BY 1',
	filtered => 'SELECT i2 %% 10 AS d, u, sum(i4 / 3) FILTER (WHERE b) AS s, count(*) AS n FROM %s WHERE i8 > 0 OR f8 IS NULL GROUP BY 1, 2',
	one => 'SELECT count(*) AS n, max(i8) AS m, sum(i2) AS s FROM %s',
);
my $columns = 'k int, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, u uuid';

sql("CREATE FOREIGN TABLE s ($columns) SERVER braid_stream; CREATE TABLE t ($columns)");
sql("CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS " . sprintf $views{$_}, 's') for sort keys %views;
sql("SELECT braid.wait('$_', '1 min')") for sort keys %views;

# Most rows have one key; values are null, extreme, or of magnitudes that no sum of a few words can have.
sub bring
{
	my ($n) = @_;
	sql(<<"SQL");
SELECT setseed(@{[ rand ]});
CREATE TEMP TABLE new AS SELECT CASE WHEN random() < 0.7 THEN 1 ELSE (random() * 2000)::int END AS k, nullif((random() * 2)::int, 2)::bool AS b,
	(CASE WHEN random() < 0.1 THEN NULL ELSE random() * 65535 - 32768 END)::int2 AS i2, (random() * 2000000000 - 1e9)::int4 AS i4,
	CASE (random() * 20)::int WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775808 WHEN 2 THEN NULL ELSE g END AS i8,
	(random() * 100)::float4 AS f4, CASE (random() * 1000)::int WHEN 0 THEN NULL WHEN 1 THEN 1e200 WHEN 2 THEN -1e-200 ELSE (random() - 0.5) * 1e6 END AS f8,
	('00000000-0000-4000-8000-00000000000' || (random() * 3)::int)::uuid AS u
FROM generate_series(1, $n) g;
INSERT INTO t TABLE new;
INSERT INTO s TABLE new;
SQL
	return;
}

# Sums of floats are exact in views, and near that in queries.
sub same
{
	my ($what) = @_;
	sql("SELECT braid.wait('$_', '2 min')") for sort keys %views;
	for my $view (sort grep { $_ ne 'floats' } keys %views)
	{
		my $query = sprintf $views{$view}, 't';
		is(sql("SELECT count(*) FROM ((TABLE $view EXCEPT ALL $query) UNION ALL ($query EXCEPT ALL TABLE $view)) x"), '0', "$what: $view");
	}
	is(sql(<<'SQL'), '0', "$what: sums of floats");
SELECT count(*) FROM (SELECT k, sum(f8) AS s, sum(abs(f8)) AS size, variance(i2) AS v, covar_pop(f4, i4) AS c FROM t GROUP BY k) q FULL JOIN floats f USING (k)
WHERE q.v IS DISTINCT FROM f.v OR NOT abs(q.c - f.c) <= 1e-6 * (1 + abs(q.c)) OR (q.s IS NULL) <> (f.s IS NULL) OR NOT abs(q.s - f.s) <= 1e-12 * q.size
SQL
	return;
}

sub path { return sql("SELECT path FROM braid.explain('$_[0]') WHERE state IS NOT NULL"); }

srand $seed;
bring(300000);
same('a large delta');
is(path($_), 'columns, by several processes', "$_ was made by several processes") for sort keys %views;
bring(1000);
same('a small one');
is(path($_), 'columns', "$_ was made by one process") for sort keys %views;
bring(250000) for 1 .. 2;
same('more');

# ---- an error in whichever process

sql(q{CREATE MATERIALIZED VIEW fragile WITH (braid.continuous) AS SELECT k, sum(100 / i4) AS s FROM s GROUP BY k});
sql(q{SELECT braid.wait('fragile', '1 min')});
my $none = 'NULL, NULL, NULL, NULL, NULL, NULL';
sql("INSERT INTO t SELECT 1, NULL, NULL, CASE WHEN g = 299999 THEN 0 ELSE 1 END, NULL, NULL, NULL, NULL FROM generate_series(1, 300000) g;
	INSERT INTO s SELECT 1, NULL, NULL, CASE WHEN g = 299999 THEN 0 ELSE 1 END, NULL, NULL, NULL, NULL FROM generate_series(1, 300000) g");
same('others go on');
is(sql("SELECT state, last_error FROM braid.views WHERE name = 'fragile'::regclass"), 'broken|division by zero', 'an error breaks the view');
sql('DROP MATERIALIZED VIEW fragile');

# ---- kill -9 of a helper

for my $round (1 .. 3)
{
	$cluster->hold_capture('db');
	bring(300000);
	$cluster->crash_at('db', 'fast-team-helps', sub { $cluster->release_capture('db') });
	ok($cluster->wait_alive('db'), "round $round: a helper is killed, and with it the server ends");
	same("after it, round $round");
}
done_testing();
