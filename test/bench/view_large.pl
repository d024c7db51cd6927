# Transactions larger than memory, against the same rows in transactions that fit into
# it: the time from when the worker may begin to when the view has them. Decoded while
# they are in progress, as they are, and through files of the reorder buffer, as they
# would be without that (braid.capture_in_progress = off); in one transaction, and in
# one of many subtransactions.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Braid::Memory;
use Test::More;
use Time::HiRes qw(time);

my $rows = $ENV{BENCH_ROWS} // 10_000_000;
my $memory = 512;    # MB
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable . "braid.capture_memory = ${memory}MB\nmax_wal_size = 16GB\n");
my $fitting = 100_000;
my $each = 100;      # rows of a subtransaction

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub worker { return sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'}); }

sub insert { my ($n) = @_; return "INSERT INTO t SELECT g % 1000, g, g FROM generate_series(1, $n) g;"; }

# The setting holds from the worker's start on.
sub set_in_progress
{
	my ($value) = @_;
	my $pid = worker();
	sql("ALTER SYSTEM SET braid.capture_in_progress = $value");
	sql('SELECT pg_reload_conf()');
	sql("SELECT pg_terminate_backend($pid)");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture' AND pid <> $pid") or die 'no worker';
	sql("SELECT braid.wait('v', '1 min')");
	return;
}

# Rows per second, of a worker that stood still while they were written. What decoding
# alone did is noted, and the most memory that the worker had.
my ($decoding, $peak);

sub rate
{
	my ($n, $what) = @_;
	my $pid = worker();
	my $seconds;
	sql('TRUNCATE t');
	sql("SELECT braid.wait('v', '1 min'), braid.stat_capture_reset()");
	kill 'STOP', $pid;
	sql($what);
	$peak = peak_during($pid, sub {
		my $begin = time;
		kill 'CONT', $pid;
		sql("SELECT braid.wait('v', '30 min')");
		$seconds = time - $begin;
	});
	is(sql('SELECT sum(count) FROM v'), $n, 'the view has all rows');
	$decoding = sql("SELECT $n * 1000.0 / decode_time FROM braid.stat_capture WHERE datname = current_database()");
	return $n / $seconds;
}

sub in_millions { return sprintf '%.2f M rows/s (decoding %.2f)', $_[0] / 1e6, $_[1] / 1e6; }

sub subtransactions
{
	my ($n) = @_;
	return "DO \$\$ BEGIN FOR i IN 1 .. $n LOOP BEGIN " . insert($each) . ' EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$';
}

sql('CREATE EXTENSION braid; CREATE TABLE t (k int, x int, y bigint);
	CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), sum(x) FROM t GROUP BY k');
sql("SELECT braid.wait('v', '1 min')");

my $small = rate($rows, "DO \$\$ BEGIN FOR i IN 1 .. $rows / $fitting LOOP " . insert($fitting) . ' COMMIT; END LOOP; END $$');
my $small_decoding = $decoding;
my $large = rate($rows, insert($rows));
my ($large_decoding, $large_peak) = ($decoding, $peak);
my $nested = rate($rows / 4, subtransactions($rows / 4 / $each));
my $nested_decoding = $decoding;
set_in_progress('off');
my $filed = rate($rows, insert($rows));
my $filed_decoding = $decoding;
my $filed_nested = rate($rows / 4, subtransactions($rows / 4 / $each));
my $filed_nested_decoding = $decoding;

report('view_large, large / fitting', $large / $small, '>= 0.8, no cliff',
	sprintf('%d rows in one transaction: %s; in transactions of %d: %s', $rows, in_millions($large, $large_decoding), $fitting, in_millions($small, $small_decoding)));
report('view_large, in progress / files', $large / $filed, '>= 2', sprintf('through files: %s', in_millions($filed, $filed_decoding)));
report('view_large, subtransactions', $nested / $filed_nested, '>= 2',
	sprintf('%d rows in subtransactions of %d: %s; through files: %s', $rows / 4, $each, in_millions($nested, $nested_decoding), in_millions($filed_nested, $filed_nested_decoding)));
report('view_large, memory / capture_memory', $large_peak / $memory, '<= 1', sprintf('the worker has had %.0f MB of its own', $large_peak));
done_testing();
