# What streams cost and how fast they are followed, against COPY into a plain table in
# the same run, and against that table's writers. Catching up is timed from when the
# capture worker, which was stopped while rows were copied, goes on until the view has
# them: decoding and merging, and nothing else.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $rows = $ENV{BENCH_ROWS} // 1_000_000;
my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 5;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);
my $file = $node->basedir . '/rows';
my $columns = '(k int, x bigint, y int)';
my $sums = 'SELECT k, count(*), sum(x), avg(y)';

# Relation => views on it. A stream is a relation whose name begins with s.
my %views = (
	s_thousand => ["$sums FROM s_thousand GROUP BY k"],
	s_many => ['SELECT x, count(*), sum(y), avg(k) FROM s_many GROUP BY x'],
	t_thousand => ["$sums FROM t_thousand GROUP BY k"],
	s_visible => ["$sums FROM s_visible GROUP BY k"],
	s_single => ["$sums FROM s_single GROUP BY k"],
	t_single => ["$sums FROM t_single GROUP BY k"],
	s_ten => [
		"$sums FROM s_ten GROUP BY k",
		'SELECT k % 100 AS h, count(*), avg(x) FROM s_ten GROUP BY 1',
		'SELECT k % 10 AS d, count(*), min(x), max(x) FROM s_ten GROUP BY 1',
		'SELECT count(*), sum(x) FROM s_ten',
		'SELECT k, count(*) FROM s_ten WHERE x > 50000 GROUP BY k',
		'SELECT y % 1000 AS r, count(*), sum(k) FROM s_ten GROUP BY 1',
		'SELECT k, count(*), avg(x), max(x) FROM s_ten GROUP BY k',
		'SELECT k % 7 AS d, count(*), count(x) AS known, sum(x) FROM s_ten WHERE k < 500 GROUP BY 1',
		'SELECT k / 100 AS k, y / 100 AS y, count(*) FROM s_ten GROUP BY 1, 2',
		'SELECT k, count(*), min(x) FROM s_ten WHERE k % 2 = 0 GROUP BY k' ]);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Names of the views on a relation, and a statement that waits for them: they follow by the same
# commits, so who has waited for one of them has waited for all.
sub names { my ($relation) = @_; return map { "v_${relation}_$_" } 0 .. $#{ $views{$relation} }; }

sub wait_for { my ($relation) = @_; return "SELECT braid.wait('" . (names($relation))[-1] . "', '5 min')"; }

# The worker has decoded whatever was written to other relations.
sub drain { sql(wait_for('s_single')); return; }

# Does something that a relation's views have to catch up with.
sub behind_with { my ($relation, $what) = @_; return behind($node, $what, drained => wait_for('s_single'), caught_up => wait_for($relation)); }

my %loaded;
my %wal;
sub copy
{
	my ($relation) = @_;
	my $from = sql('SELECT pg_current_wal_insert_lsn()');
	sql("COPY $relation FROM '$file'");
	$wal{$relation} = sql("SELECT (pg_current_wal_insert_lsn() - '$from') / $rows.0");
	$loaded{$relation}++;
	return;
}

# Seconds to copy into a plain table, by the server and by a client, while nobody follows.
sub copy_plain
{
	my ($client) = @_;
	sql('TRUNCATE t_plain');
	my ($seconds) = behind_with('s_single', $client ? sub { client_copy('t_plain') } : sub { copy('t_plain') });
	return $seconds;
}

# Seconds until views have caught up with a copy; the worker's CPU is noted.
my %cpu;
sub catch_up
{
	my ($relation) = @_;
	my (undef, $seconds, $cpu) = behind_with($relation, sub { copy($relation) });
	push @{ $cpu{$relation} }, $cpu / 1e6;
	return $seconds;
}

sub client_copy
{
	my ($relation, @then) = @_;
	$loaded{$relation}++;
	system('psql', '-XqAt', '-o', '/dev/null', '-d', $node->connstr('postgres'), '-c', "\\copy $relation FROM '$file'", map { ('-c', $_) } @then) == 0 or die 'psql has failed';
	return;
}

# Seconds from a client's COPY into a stream until the view shows the rows.
sub copy_visible
{
	sql('CHECKPOINT');
	drain();
	my $begin = time;
	client_copy('s_visible', wait_for('s_visible'));
	return time - $begin;
}

my (@used, @behind);
sub insert_single
{
	my ($relation) = @_;
	my $script = "\\set k random(1, 1000)\nINSERT INTO $relation VALUES (:k, :k, 1);\n";
	sql('CHECKPOINT');
	drain();
	my $worker = capture_worker($node);
	my $cpu = process_usage($worker)->{cpu};
	my $result = pgbench($node, $script, clients => 8, seconds => $seconds);
	my $begin = time;
	sql(wait_for($relation)) if $views{$relation};
	if ($relation eq 's_single')
	{
		push @behind, time - $begin;
		push @used, (process_usage($worker)->{cpu} - $cpu) / 1e6 / ($result->{transactions} / $result->{tps});
	}
	$loaded{$relation} += $result->{transactions} / $rows;
	return $result->{tps};
}

sql("CREATE EXTENSION braid; CREATE TABLE t_plain $columns");
sql("COPY (SELECT hashint4(g) & 1023 AS k, (hashint8(g) & 2147483647) % 100000, g & 4095 FROM generate_series(1, $rows) g) TO '$file'");
for my $relation (sort keys %views)
{
	sql($relation =~ /^s/ ? "CREATE FOREIGN TABLE $relation $columns SERVER braid_stream" : "CREATE TABLE $relation $columns");
	my @names = names($relation);
	sql("CREATE MATERIALIZED VIEW $names[$_] WITH (braid.continuous) AS $views{$relation}[$_]") for 0 .. $#names;
	sql("SELECT braid.wait('$_', '5 min')") for @names;
}
catch_up($_) for 's_thousand', 's_ten';	 # plans and caches
%cpu = ();

my $figures = in_turn($rounds,
	plain => sub { copy_plain(0) },
	plain_client => sub { copy_plain(1) },
	thousand => sub { catch_up('s_thousand') },
	many => sub { catch_up('s_many') },
	heap => sub { catch_up('t_thousand') },
	ten => sub { catch_up('s_ten') },
	visible => \&copy_visible);
my $inserts = in_turn($rounds,
	plain => sub { insert_single('t_plain') },
	heap => sub { insert_single('t_single') },
	stream => sub { insert_single('s_single') });

for my $relation (sort keys %views)
{
	my ($name) = names($relation);
	is(sql("SELECT sum(count) FROM $name"), sprintf('%.0f', $loaded{$relation} * $rows), "$relation: the view has each row once");
}

sub result
{
	my ($name, $one, $other, $goal, $what) = @_;
	my ($mine, $theirs) = map { median(@{ $figures->{$_} }) } $one, $other;
	report("stream, $name", ratio($figures, $one, $other), $goal, sprintf($what, $one eq 'plain' ? $rows / 1e6 / $theirs : $mine, $one eq 'plain' ? $rows / 1e6 / $mine : $theirs));
	return;
}
my $rates = '%.2f M rows/s, COPY %.2f M rows/s';
result('1,000 keys / COPY', 'plain', 'thousand', '>= 5', $rates);
result('100,000 keys / COPY', 'plain', 'many', '>= 1', $rates);
result('table, 1,000 keys / COPY', 'plain', 'heap', '>= 1', $rates);
result('until visible / COPY', 'visible', 'plain_client', '<= 1.1', '%.2f s, COPY into a table %.2f s');
result('ten views / one', 'ten', 'thousand', '< 4', '%.2f s, one %.2f s');
report('stream, ten views / one, CPU', ratio(\%cpu, 's_ten', 's_thousand'), '< 4',
	sprintf('%.3f s of the worker, one %.3f s', map { median(@{ $cpu{$_} }) } qw(s_ten s_thousand)));
report('stream, single rows / table', ratio($inserts, 'stream', 'plain'), '>= 1',
	sprintf('8 clients into a stream with a view %.0f tps, into a table without %.0f tps, with %.0f tps', map { median(@{ $inserts->{$_} }) } qw(stream plain heap)));
report('stream, single rows, core', median(@used), '< 0.25', sprintf('of a core is used by the worker, which is %.3f s behind at the end', median(@behind)));
report('stream, WAL / COPY', $wal{s_thousand} / $wal{t_plain}, '<= 1', sprintf('%.1f bytes a row, table %.1f bytes', $wal{s_thousand}, $wal{t_plain}));
done_testing();
