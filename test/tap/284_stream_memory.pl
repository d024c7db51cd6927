# The capture worker keeps to its memory with streams as well: one transaction of very many rows, one of many
# subtransactions, many transactions at once, some that cannot be merged yet, one that runs long.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Memory;
use Test::More;

my $budget = 32;    # MB
my $beyond = 16;    # MB for all that is not counted: caches, plans, libraries, the process itself
my $rows = $ENV{BRAID_BURST} // 2_000_000;
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.capture_memory = 32MB
shared_buffers = 128MB
max_wal_size = 4GB
synchronous_commit = off
CONF

# What has been written: rows, and their sum.
my ($count, $sum) = (0, 0);

sub sql { return $cluster->sql('db', $_[0]); }

sub worker { return $cluster->capture_pid('db'); }

# Integers from 1 to n, in random order so that they do not pack well, beside a text.
sub rows
{
	my ($n) = @_;
	$count += $n;
	$sum += $n * ($n + 1) / 2;
	return "INSERT INTO s SELECT (hashint4(g) % 1000)::int, g, md5(g::text) FROM generate_series(1, $n) g";
}

sub is_right
{
	my ($what) = @_;
	sql("SELECT braid.wait('$_', '5 min')") for 'by_few', 'by_sql';
	is(sql('SELECT coalesce(sum(count), 0), coalesce(sum(sum), 0) FROM by_few'), "$count|$sum", "$what: the view is right");
	is(sql('SELECT coalesce(sum(count), 0), coalesce(sum(sum), 0) FROM by_sql'), "$count|$sum", "$what: as is another");
	return;
}

sub stays_small
{
	my ($what, $something) = @_;
	my $pid = worker();
	my $peak = peak_during($pid, sub {
		$something->();
		is_right($what);
	});
	is(worker(), $pid, "$what: it is the same worker as before");
	cmp_ok($peak, '<=', $budget + $beyond, "$what: the worker has kept to its memory");
	note(sprintf '%s: at most %.1f MB', $what, $peak);
	return;
}

sub stopped
{
	my ($something) = @_;
	my $pid = worker();
	kill 'STOP', $pid;
	$something->();
	kill 'CONT', $pid;
	return;
}

sql(<<'SQL');
SET client_min_messages = warning;
CREATE FOREIGN TABLE s (k int, x int, t text) SERVER braid_stream;
CREATE TABLE names (k int, name text);
INSERT INTO names SELECT i, i FROM generate_series(-999, 999) i;
CREATE MATERIALIZED VIEW by_few WITH (braid.continuous) AS SELECT k, count(*), sum(x), max(t) FROM s GROUP BY k;
CREATE MATERIALIZED VIEW by_sql WITH (braid.continuous) AS SELECT name, count(*), sum(x) FROM s JOIN names USING (k) GROUP BY 1;
SQL
is_right('at first');

stays_small('one transaction', sub { sql(rows($rows)) });
stays_small('one transaction, while the worker stands still', sub {
	stopped(sub { sql(rows(500_000)) });
});
stays_small('subtransactions', sub {
	sql('BEGIN; ' . join('; ', map { "SAVEPOINT a$_; " . rows(20_000) } 1 .. 20) . '; COMMIT');
});
stays_small('many subtransactions, some of them rolled back', sub {
	sql(<<'SQL');
DO $$ BEGIN FOR i IN 1 .. 600 LOOP
	BEGIN
		INSERT INTO s SELECT (hashint4(g) % 1000)::int, g, md5(g::text) FROM generate_series(1, 3000) g;
		IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
	EXCEPTION WHEN division_by_zero THEN NULL; END;
END LOOP; END $$
SQL
	$count += 300 * 3000;
	$sum += 300 * 3000 * 3001 / 2;
});
stays_small('transactions at once', sub {
	stopped(sub {
		$count += 20_000;
		$sum += 20_000 * 20_001 / 2;
		sql("DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP INSERT INTO s VALUES (i % 7, i, 'x'); COMMIT; END LOOP; END \$\$");
	});
});

# Each is visible, and none may be merged.
stays_small('transactions while a table is locked', sub {
	my $locker = $cluster->node('db')->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE names IN ACCESS EXCLUSIVE MODE');
	sql(rows(200_000)) for 1 .. 4;
	$cluster->wait_for('db', q{SELECT held_transactions = 4 FROM braid.stat_capture}) or die 'nothing is held';
	$locker->query_safe('COMMIT');
	$locker->quit;
});
stays_small('a long transaction among others', sub {
	my $long = $cluster->node('db')->background_psql('postgres');
	$long->query_safe("BEGIN; INSERT INTO s SELECT g % 7, 0, md5(g::text) FROM generate_series(1, 600000) g");
	sql(rows(1000)) for 1 .. 10;
	is_right('others do not wait for the long one');
	$long->query_safe("INSERT INTO s SELECT g % 7, 0, md5(g::text) FROM generate_series(1, 100000) g; COMMIT");
	$long->quit;
	$count += 700_000;
});
stays_small('one that is rolled back', sub {
	sql('BEGIN; INSERT INTO s SELECT g % 7, 0, md5(g::text) FROM generate_series(1, 700000) g; ROLLBACK');
});
is(sql(q{SELECT count(*) FROM pg_ls_tmpdir()}), '0', 'nothing is left in temporary files');
done_testing();
