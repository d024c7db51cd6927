# After every round of random writes by several clients, with the worker killed
# or the server stopped in the middle, each view equals its query: exactly once,
# whatever happens. The seed is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 12;
my $clients = 4;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
max_prepared_transactions = 50
wal_writer_delay = 10ms
autovacuum_naptime = 1s
CONF
my $node = $cluster->node('db');

$cluster->sql('db', <<'SQL');
CREATE TABLE a (id serial PRIMARY KEY, k int, t text, n numeric, x bigint, f float8, d date, big text);
CREATE TABLE b (id int, k int, n numeric(12,2), x bigint, f float8, at timestamptz, PRIMARY KEY (id, k))
	PARTITION BY HASH (k);
CREATE TABLE b0 (x bigint, k int NOT NULL, id int NOT NULL, at timestamptz, f float8, n numeric(12,2));
ALTER TABLE b ATTACH PARTITION b0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE b1 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE SEQUENCE b_ids;
SQL

my %views = (
	by_key => 'SELECT k, count(*), count(x) AS cx, sum(n), avg(n), sum(x) AS sx, avg(x) AS ax FROM a GROUP BY k',
	extremes => 'SELECT k, t, min(n), max(x), max(t) AS mt, min(d) AS md, count(*) FROM a GROUP BY k, t',
	total => 'SELECT count(*), sum(f), avg(n) FILTER (WHERE x > 50), max(length(big)) FROM a',
	hours => q{SELECT date_trunc('hour', at) AS hour, count(*), sum(n), avg(n) FROM b WHERE x % 3 <> 0 GROUP BY 1 HAVING count(*) > 1},
	floats => 'SELECT k, sum(f), avg(f), count(f) FROM b GROUP BY k',
	ratio => 'SELECT x % 7 AS r, sum(n) / count(*) AS ratio, min(at), sum(x) FILTER (WHERE f > 2) AS sf FROM b GROUP BY x % 7',
	joined => 'SELECT a.k, b.x, count(*), sum(a.n), max(b.id) AS last FROM a JOIN b ON a.k = b.k AND a.x = b.x GROUP BY a.k, b.x',
	left_joined => 'SELECT a.id, a.k, b.id AS b_id, b.n FROM a LEFT JOIN b ON a.x = b.x AND b.f > 3',
	full_joined => 'SELECT coalesce(a.k, b.k) AS k, count(a.id) AS of_a, count(b.id) AS of_b FROM a FULL JOIN b ON a.k = b.k AND a.x = b.x GROUP BY 1',
	unmatched => 'SELECT id, k FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.x = a.x)',
	matched => 'SELECT k, count(*), sum(x) AS sx FROM a WHERE x IN (SELECT x FROM b WHERE f > 1) GROUP BY k',
	plain => 'SELECT k, t, x % 3 AS r FROM a WHERE x > 20',
	different => 'SELECT DISTINCT k, t FROM a',
	top => 'SELECT * FROM (SELECT k, id, x, row_number() OVER (PARTITION BY k ORDER BY x DESC NULLS LAST, id) AS place FROM a) s WHERE place <= 3',

	# Views on views: on one, by way of an ordinary one, on two of these, and on a table too.
	z1_counts => 'SELECT count AS size, count(*) AS groups, sum(cx) AS cx FROM by_key GROUP BY count',
	z2_between => 'SELECT c, count(*) AS n FROM between_views GROUP BY c',
	z3_both => 'SELECT s.size, s.groups, b.n FROM z1_counts s LEFT JOIN z2_between b ON b.c = s.size + 1',
	z4_mixed => 'SELECT t.k, t.count, b.id FROM by_key t JOIN b ON b.k = t.k AND b.x < 30',
	z5_top => 'SELECT b.k, max(top.x) AS x FROM top JOIN b ON b.k = top.k GROUP BY b.k',
);
for my $name (sort keys %views)
{
	$cluster->sql('db', 'CREATE VIEW between_views AS SELECT k, count + 1 AS c FROM by_key') if $name eq 'z1_counts';
	$cluster->sql('db', "CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $views{$name}");
}

# Values that show mistakes: few keys, nulls, scales, NaN, floats that add exactly.
sub any { return $_[rand @_]; }
sub numeric { return any('NULL', int(rand(100)), sprintf('%.1f', rand(100)), sprintf('%.4f', rand(10)), rand() < 0.03 ? "'NaN'" : 5); }
sub key { return any('NULL', int(rand(6)), int(rand(6))); }
sub number { return any('NULL', int(rand(100)), int(rand(100)), int(rand(100))); }
sub dyadic { return any('NULL', int(rand(64)) / 16); }
sub text { return any('NULL', "'a'", "'b'", "'\$1 it''s'"); }
sub big { return any('NULL', "'x'", "repeat(md5(random()::text), " . int(rand(200)) . ")"); }

sub row_of_a
{
	return sprintf("(%s, %s, %s, %s, %s, date '2020-01-01' + %d, %s)",
		key(), text(), numeric(), number(), dyadic(), rand(30), big());
}

sub row_of_b
{
	return sprintf("(nextval('b_ids'), %d, %s, %s, %s, timestamptz '2020-01-01' + %d * interval '10 min')",
		rand(6), any('NULL', int(rand(10000)) / 100), number(), dyadic(), rand(40));
}

sub insert_rows
{
	my $n = 1 + int(rand(5));
	return 'INSERT INTO a (k, t, n, x, f, d, big) VALUES ' . join(', ', map { row_of_a() } 1 .. $n) if rand() < 0.5;
	return 'INSERT INTO b (id, k, n, x, f, at) VALUES ' . join(', ', map { row_of_b() } 1 .. $n);
}

sub update_rows
{
	my $where = sprintf('id %% 50 = %d', rand(50));
	return any(
		sprintf('UPDATE a SET k = %s WHERE %s', key(), $where),
		sprintf('UPDATE a SET n = %s, t = %s WHERE %s', numeric(), text(), $where),
		sprintf('UPDATE a SET x = x + 1 WHERE %s', $where),
		sprintf('UPDATE a SET big = %s WHERE %s', big(), $where),
		sprintf('UPDATE b SET n = n + 1, x = %s WHERE %s', number(), $where),
		sprintf('UPDATE b SET k = %d WHERE %s', rand(6), $where),
		sprintf('UPDATE b SET f = %s WHERE %s', dyadic(), $where));
}

sub statement
{
	my $dice = rand();
	return insert_rows() if $dice < 0.5;
	return update_rows() if $dice < 0.8;
	return sprintf('DELETE FROM %s WHERE id %% 40 = %d', any('a', 'b'), rand(40));
}

# A TRUNCATE makes views be recomputed and would hide what went wrong before: the
# even rounds, in which the worker dies, have none.
my $truncates = 1;
sub rare
{
	return any($truncates ? ('TRUNCATE a', 'TRUNCATE b', 'TRUNCATE b1') : (), 'VACUUM FULL a',
		'ALTER TABLE a ADD COLUMN IF NOT EXISTS extra int DEFAULT 3',
		'ALTER TABLE a DROP COLUMN IF EXISTS extra',
		'ALTER TABLE a ADD COLUMN IF NOT EXISTS extra float DEFAULT random()',
		'ANALYZE a', 'DELETE FROM a', 'DELETE FROM b');
}

my $prepared = 0;
sub transaction
{
	my $dice = rand();
	return rare() . ';' if $dice < 0.01;
	return statement() . ';' if $dice < 0.5;
	my @lines = ('BEGIN', statement());
	push @lines, 'SAVEPOINT s', statement(), any('ROLLBACK TO s', 'RELEASE s'), statement() if rand() < 0.5;
	push @lines, 'TRUNCATE ' . any('a', 'b'), insert_rows() if $truncates && rand() < 0.01;
	if (rand() < 0.2)
	{
		my $gid = 'g' . $prepared++;
		push @lines, "PREPARE TRANSACTION '$gid'", any('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$gid'";
	}
	else
	{
		push @lines, any('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK');
	}
	return join(";\n", @lines) . ';';
}

sub start_clients { return map { $cluster->start_sql('db', join "\n", "SET lock_timeout = '3s';", map { transaction() } 1 .. 400) } 1 .. $clients; }

# A view that is made while others write, and one that goes.
sub make_again
{
	my ($name) = @_;
	$node->psql('postgres', "DROP MATERIALIZED VIEW $name");
	for (1 .. 20)
	{
		my ($rc) = $node->psql('postgres', "CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $views{$name}");
		last if $rc == 0 || $cluster->sql('db', "SELECT to_regclass('$name')") ne '';
	}
	return;
}

sub check
{
	my ($round) = @_;
	for my $name (sort keys %views)
	{
		is($cluster->sql('db', "SELECT braid.wait('$name', '60 s')"), 't', "round $round: $name is caught up");
		is($cluster->sql('db', <<"SQL"), '', "round $round: $name equals its query");
SELECT 'surplus', * FROM (TABLE $name EXCEPT ALL ($views{$name})) s
UNION ALL SELECT 'missing', * FROM (($views{$name}) EXCEPT ALL TABLE $name) m
SQL
	}
	return;
}

my $torn = 0;
my @disturbances = ('nothing', 'kill', 'crash', 'terminate');
for my $round (1 .. $rounds)
{
	$truncates = $round % 2;
	$cluster->sql('db', 'CHECKPOINT');	# what is decoded again after a crash begins here
	my @running = start_clients();
	my $what = $disturbances[ ($round - 1) % @disturbances ];

	make_again(any(sort keys %views)) if $truncates;
	select undef, undef, undef, 0.2 + rand(0.5);
	if ($cluster->disturb('db', $what))
	{
		# The clients have lost their connections: others go on.
		$cluster->finish_sql($_) for @running;
		$cluster->end_prepared('db');
		@running = start_clients();
	}
	# A view and one that stands on it change by the same commit.
	for (1 .. 20)
	{
		my ($rc, $same) = $node->psql('postgres', 'SELECT (SELECT coalesce(sum(count), 0) FROM by_key) = (SELECT coalesce(sum(size * groups), 0) FROM z1_counts)
			AND (SELECT count(*) FROM by_key) = (SELECT coalesce(sum(n), 0) FROM z2_between)');
		$torn++ if defined $rc && $rc == 0 && $same ne 't';
	}
	my ($rc, $rows, $err) = $node->psql('postgres', "SELECT * FROM braid.verify('" . any(sort keys %views) . "', timeout => '60 s')");
	if (defined $rc && $rc == 0) { is($rows, '', "round $round: verify finds nothing while clients write"); }
	elsif (defined $rc) { like($err, qr/connection|terminat|starting up|recovery|shutting down|no answer/i, "round $round: verify was cut off by the end of the server, if at all"); }
	$cluster->finish_sql($_) for @running;
	$cluster->wait_alive('db');
	$cluster->end_prepared('db');
	check("$round ($what)");
	note 'rows: ' . $cluster->sql('db', 'SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), pg_current_xact_id()');
}

is($torn, 0, 'views on views were never read apart from what they stand on');
cmp_ok($cluster->sql('db', 'SELECT count(*) FROM a'), '>', 0, 'the clients have written something');
is($cluster->sql('db', "SELECT string_agg(DISTINCT state, ',') FROM braid.views"), 'live', 'all views are live');
done_testing();
