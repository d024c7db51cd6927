# The queries of the Nexmark benchmark as continuous views, over tables and over
# streams: events a second and core, beside what is published of Flink.
#
# Events (BENCH_EVENTS, people, auctions and bids alike, whether the query reads them
# or not) are made once, 0.1 ms apart, into files. For each query alone they are then
# copied in, ten thousand a transaction, while the view follows. What a view on
# streams cannot be, as it looks at rows that came before, is one over views that keep
# the rows of the streams. Events are divided by the CPU time of the
# capture worker, which decodes and merges, and by that of the worker and of the
# session that copies; the latter is compared. Flink's figures are with events that are made in process and results
# that are thrown away; here both are durable. Each view is compared with its query at the end.
# BENCH_QUERIES="q0 q5" takes some of the queries.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Braid::Nexmark;
use Test::More;
use Time::HiRes qw(time);

my $events = $ENV{BENCH_EVENTS} // 500_000;
my $batch = 10_000;
my @names = split ' ', $ENV{BENCH_QUERIES} // join ' ', map { "q$_" } 0 .. 22;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable . "client_min_messages = error\n");
my $dir = $node->basedir;
my $path = $node->connstr('postgres');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub worker { return sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'}); }

sub rows_of { my ($view) = @_; return "SELECT count(*), sum(hashtextextended(r::text, 0)::numeric) FROM $view r"; }

# Which of the relations a query reads.
sub relations_of { my ($query) = @_; return grep { $query =~ /\b(?:FROM|JOIN)\s+$_\b/ } @Braid::Nexmark::relations; }

# Transactions of so many events each, in the order in which they happened.
sub make_files
{
	for (my $low = 0; $low < $events; $low += $batch)
	{
		my $range = join ', ', $low, $low + $batch - 1, q{'2024-02-29 12:00'}, q{'100 us'};
		sql(join '; ', map { "COPY (SELECT * FROM make_${_}s($range)) TO '$dir/$_.$low'" } @Braid::Nexmark::relations);
	}
	return;
}

# Copies all events into the relations of a schema. Returns the CPU time of the session.
sub load
{
	my ($schema) = @_;
	my $session = $node->background_psql('postgres');
	my ($pid) = $session->query_safe('SELECT pg_backend_pid()');
	for (my $low = 0; $low < $events; $low += $batch)
	{
		$session->query_safe('BEGIN; ' . join('; ', map { "COPY $schema.$_ FROM '$dir/$_.$low'" } @Braid::Nexmark::relations) . '; COMMIT');
	}
	my $cpu = process_usage($pid)->{cpu};
	$session->quit;
	return $cpu;
}

# Views that keep the rows of streams, with indexes.
sub keep_rows
{
	my (@relations) = @_;
	for my $relation (@relations)
	{
		sql("CREATE MATERIALIZED VIEW kept.$relation WITH (braid.continuous) AS SELECT * FROM streams.$relation");
		sql("CREATE INDEX ON kept.$relation (id)") if $relation ne 'bid';
	}
	return;
}

sub make_view
{
	my ($name, $schema) = @_;
	my ($rc, undef, $error) = $node->psql('postgres', "SET search_path = $schema, public; CREATE MATERIALIZED VIEW public.$name WITH (braid.continuous) AS $Braid::Nexmark::queries{$name}[1]");
	die "$name: $error" if $rc != 0 && ($schema ne 'streams' || $error !~ /0A000|streams?/);
	return $rc == 0;
}

# Makes the view of a query, or the views that it takes. Returns how it reads its rows, and what is to be dropped.
sub prepare
{
	my ($name, $schema) = @_;
	my @relations = relations_of($Braid::Nexmark::queries{$name}[1]);
	my $kept = $schema eq 'streams' && !make_view($name, 'streams') ? 'kept' : '';
	keep_rows(@relations) if $kept;
	for my $index (@{ $Braid::Nexmark::indexes{$name} // [] })
	{
		sql("CREATE INDEX ON kept.$index") if $kept;
		sql("CREATE INDEX ON tables.$index") if $schema eq 'tables';
	}
	make_view($name, $kept || 'tables') if $kept || $schema eq 'tables';
	return ($kept, $name, $kept ? map { "kept.$_" } @relations : ());
}

# Events a second: of the worker's core, of the cores of the worker and of the session, and passed.
sub measure
{
	my ($name, $schema) = @_;
	my ($kept, @views) = prepare($name, $schema);
	sql("SELECT braid.wait('$name', '1 min')");
	sql('CHECKPOINT');
	my $worker = worker();
	my $cpu = process_usage($worker)->{cpu};
	my $begin = time;
	my $copying = load($schema);
	is(sql("SELECT braid.wait('$name', '10 min')"), 't', "$name on $schema has caught up");
	my $passed = time - $begin;
	my $following = process_usage($worker)->{cpu} - $cpu;
	is(worker(), $worker, 'by one worker');
	my $result = sql(rows_of($name));
	sql("DROP MATERIALIZED VIEW $_") for @views;
	return { worker => $events * 1e3 / $following, both => $events * 1e3 / ($following + $copying), passed => $events / 1e3 / $passed,
		kept => $kept, result => $result };
}

sql("CREATE EXTENSION braid; CREATE SCHEMA tables; CREATE SCHEMA streams; CREATE SCHEMA kept;
	SET search_path = tables, public; $Braid::Nexmark::tables
	SET search_path = streams, public; $Braid::Nexmark::streams
	SET search_path = tables, public; ALTER DATABASE postgres SET search_path = public, tables;");
sql("$Braid::Nexmark::generator
	CREATE TABLE side_input AS SELECT n::bigint AS key, 'value ' || n AS value FROM generate_series(0, 9999) n;
	ALTER TABLE side_input ADD PRIMARY KEY (key); ANALYZE side_input");
make_files();

my @rows;
my %times;
for my $name (@names)
{
	my $table = measure($name, 'tables');
	is($table->{result}, sql(rows_of("($Braid::Nexmark::queries{$name}[1])")), "$name is its query");
	my $stream = measure($name, 'streams');
	is($stream->{result}, $table->{result}, "$name on streams is the same");
	sql('TRUNCATE person, auction, bid; DROP INDEX IF EXISTS ' . join ', ', map { s/ \((.*)\)/_${1}_idx/r =~ s/, /_/r } @{ $Braid::Nexmark::indexes{$name} // ['none'] });
	my $flink = $Braid::Nexmark::flink{$name};
	$times{$name} = $stream->{both} / $flink if $flink;
	push @rows, [ $name, $Braid::Nexmark::queries{$name}[0], (map { sprintf '%.0f', $_ } map { @$_{ 'worker', 'both', 'passed' } } $table, $stream),
		$stream->{kept}, $flink ? sprintf('%.0f', $flink) : '', $flink ? sprintf('%.1f', $times{$name}) : '' ];
}
table("nexmark, $events events: thousands a second, of a core of the worker, of the cores of worker and writer, and of the clock",
	[ '', '', 'tables: worker', 'both', 'clock', 'streams: worker', 'both', 'clock', 'rows', 'Flink', 'times' ], @rows);
my @ratios = values %times;
report('nexmark, streams / Flink, median', median(@ratios), 'none', sprintf('events a second and core, of %d queries; Flink 1.13 on 3 x 8 cores', scalar @ratios)) if @ratios;
done_testing();
