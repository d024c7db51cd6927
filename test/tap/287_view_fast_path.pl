# Groups made of columns (view/fast.c) are what SQL makes of the same rows: the states of
# the same views in a database with the fast path and one without, after the same random
# changes, and both are what PostgreSQL says of the query. With nulls, rows that come and go
# within a delta, sums beyond 64 bits, NaN and infinities, the smallest and the largest values.
# What is merged so (view/merge.c) is found by all indexes of a state, those of users too.
# The same for streams, whose messages are read by column, with expressions that are
# computed a column at a time, for several views together: against the same views on a table that
# got the same rows. And for sessions, with rows of one time, without one and at infinity, in any
# order, that come late and that go again.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $steps = $ENV{BRAID_ROUNDS} // 9;
my $seed = $ENV{BRAID_SEED} // 20261123;
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\nTimeZone = 'UTC'\nmax_worker_processes = 20\n" });
my $node = $cluster->node('db');
my @databases = qw(by_columns by_sql);

sub in_db { my ($database, $sql) = @_; return $node->safe_psql($database, "SET client_min_messages = warning;\n$sql"); }

# What each kind of key and accumulator is in: one view each, and some of many.
my %views = (
	keys => 'SELECT b, c, i2, i4 % 5 AS m, i8 % 3 AS m8, o, d, ts, u, e, count(*) AS n FROM t GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10',
	times => 'SELECT t1, tz, ma, mo, count(*) AS n, sum(i4) AS s FROM t GROUP BY 1, 2, 3, 4',
	integers => 'SELECT k, count(*), count(x) AS cx, sum(i2) AS s2, sum(i4) AS s4, sum(i8) AS s8, avg(i2) AS a2, avg(i8) AS a8, stddev(i4) AS v4, bit_xor(i8) AS x8, bit_xor(i2) AS x2 FROM t GROUP BY k',
	squares => 'SELECT k, variance(i8) AS v8, var_pop(i2) AS v2 FROM t GROUP BY k',
	floats => 'SELECT k, sum(f8) AS s, avg(f4) AS a, stddev(f8) AS v, covar_pop(f8, f4) AS c, regr_slope(f4, f8) AS r FROM t GROUP BY k',
	extremes => 'SELECT k, min(i2) AS a, max(i4) AS b, min(i8) AS c, max(f4) AS d, min(f8) AS e, max(d) AS f, min(ts) AS g, max(tz) AS h FROM t GROUP BY k',
	filters => 'SELECT k, count(*) FILTER (WHERE b) AS n, sum(i4) FILTER (WHERE i2 > 0) AS s, sum(1000 / i2) FILTER (WHERE i2 <> 0) AS q, bool_and(b), bool_or(b) AS o FROM t WHERE i4 IS NULL OR abs(i4::int8) % 7 <> 3 GROUP BY k',
	"all" => 'SELECT count(*), sum(i8), max(f8), avg(f8) FROM t',
	different => 'SELECT DISTINCT d, b FROM t WHERE x IS NOT NULL',
	per_day => 'SELECT d, sum(n) AS n, sum(s) AS s, max(m) AS m FROM daily GROUP BY d',
	domains => 'SELECT p, sum(p) AS s, max(p) AS m FROM t GROUP BY p',
	words => 'SELECT x, count(*) FROM t GROUP BY x',
	sums => 'SELECT k % 3 AS m, i2 / 7 AS q, count(*) AS n, sum(i2::int4 + 1) AS a, sum(i4::int8 - i2) AS b, sum(i4::int8 * 3) AS c, sum(i8 / 1000) AS d FROM t GROUP BY 1, 2',
	remainders => 'SELECT i8 % 1000 AS m, i8 / 1000000000000000 AS q, i8 % -7 AS n, i4 / -3 % 10 AS r, i2 % 5 AS s, count(*) FROM t GROUP BY 1, 2, 3, 4, 5',
	windows => q{SELECT braid.tumble(tz, '2 s') AS a, braid.tumble(ts, '90 min', '2000-01-01 00:03') AS b, braid.tumble(d, '3 days') AS c, braid.tumble(i4 / 3, 1000) AS e, braid.tumble(i8 / 4, 1000000007, 5) AS f, count(*) FROM t WHERE isfinite(ts) AND isfinite(tz) AND isfinite(d) GROUP BY 1, 2, 3, 4, 5},
	null_windows => q{SELECT braid.tumble(i2::int4, 7) AS a, braid.tumble(i4 / 3, 100000, -7) AS b, braid.tumble(i8 % 1000000, 9999) AS c, count(*) FROM t GROUP BY 1, 2, 3},
	bins => q{SELECT date_bin('90 min', ts, '2026-01-01 00:03') AS a, date_bin('7 s', tz, '2025-01-01') AS b, date_trunc('hour', ts) AS c, date_trunc('week', ts) AS d, count(*), max(i4) AS m FROM t GROUP BY 1, 2, 3, 4},
);

# A query of sessions: keys, event time, gap, what is shown, and the rows. After the last number nothing ends.
sub sessions
{
	my ($keys, $time, $gap, $shown, $from) = @_;
	my ($end, $ended) = $gap =~ /^'/ ? (", braid.session_end($time, $gap) OVER w AS ended", ', ended') : ('', '');
	return "SELECT $keys, started$ended, count(*) AS n, $shown
		FROM (SELECT *, braid.session($time, $gap) OVER w AS started$end
			FROM @{[ $from // 't' ]} WINDOW w AS (PARTITION BY $keys ORDER BY $time)) r GROUP BY $keys, started$ended";
}
my %sessions = (
	visits => sessions('k', 'at', "'20 s'", 'sum(i4) AS s, min(i2) AS mi, max(at) AS ma, count(x) AS cx'),
	visits_of_two => sessions('e, u', 'at', "'90 s'", 'sum(i8) AS s, count(*) FILTER (WHERE b) AS nb, bool_or(b) AS ob'),
	ties => sessions('k', 'tz', "'1500 ms'", 'sum(i8) AS s, bit_xor(i2) AS x2'),
	hours => sessions('b', 'ts', "'1 hour 1 s'", 'sum(f8) AS s, stddev(f4) AS v'),
	days => sessions('c', 'd', "'2 days'", 'avg(i4) AS a'),
	numbers => sessions('k', 'i4', '300', 'sum(i4 % 7) AS s', '(SELECT k, i4 FROM t WHERE i2 IS DISTINCT FROM 0) t'),
	large_numbers => sessions('k', 'i8', '9000000000000000', 'min(i8) AS s'),
	longest => "SELECT k, started, sum(i2) AS s FROM (SELECT k, i2, braid.session(at, '3000000 days') OVER (PARTITION BY k ORDER BY at) AS started FROM t) r GROUP BY k, started",
);
%views = (%views, %sessions);

# Their rows come late. What is late is known from one cycle to the next, so each step is one.
my %late = map {
	my ($name, $options) = ($_, { dropped => "braid.late = 'drop'", diverted => "braid.late = 'divert'", closed => "braid.emit = 'close'", retained => "braid.retain = '20 min'", kept => "braid.base_deletes = 'keep'" }->{$_});
	($name => [ "braid.watermark = 'at - interval ''30 s'''" . ", $options", sessions('k', 'at', "'20 s'", 'sum(i4) AS s, count(b) AS cb') ])
} qw(dropped diverted closed retained kept);

# On a stream and on a table with the same rows.
my %passing = (
	%views,
	conditions => "SELECT k, count(*) AS n FROM t WHERE (i4 > 5 OR i2 <= 3) AND NOT b AND i8 IS NOT NULL AND d < '2026-01-03' AND tz >= '2026-01-01' AND x IS NOT NULL GROUP BY k",
	same_conditions => "SELECT k, sum(i2) AS s, min(i8) AS m FROM t WHERE (i4 > 5 OR i2 <= 3) AND NOT b AND i8 IS NOT NULL AND d < '2026-01-03' AND tz >= '2026-01-01' AND x IS NOT NULL GROUP BY k",
	other_conditions => "SELECT k, max(i8) AS m, count(b) AS n FROM t WHERE i8 > 0 GROUP BY k",
	three_values => 'SELECT i2 > 0 AND b AS a, i2 > 0 OR b AS o, NOT (b AND k = 3) AS n, b IS NULL AS u, k <> 2 AS d, count(*) FROM t GROUP BY 1, 2, 3, 4, 5',
	guarded => 'SELECT k, count(*) FILTER (WHERE abs(i4::int8) < 1000000000 AND i4 * 2 < 100) AS n, sum(i4 * 2) FILTER (WHERE abs(i4::int8) < 1000000000) AS s FROM t WHERE i2 <> 0 AND 1000 / i2 < 500 GROUP BY k',
	scattered => 'SELECT i4, count(*) FROM t GROUP BY i4',
	times_of_windows => q{SELECT braid.tumble(tz, '1 week') AS a, braid.tumble(ts, '1 day') AS b, braid.tumble(d, '1 week') AS c, max(i4) AS m FROM t GROUP BY 1, 2, 3},
	pairs => 'SELECT k, i2, d, count(*) FROM t GROUP BY 1, 2, 3',
);
delete $passing{per_day};

for my $database (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "ALTER DATABASE $database SET braid.view_fast_path = " . ($database eq 'by_sql' ? 'off' : 'on'));
	in_db($database, <<'SQL');
CREATE EXTENSION braid;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t (id int PRIMARY KEY, k int, b bool, c "char", i2 int2, i4 int4, i8 int8, o oid, d date, ts timestamp, tz timestamptz, t1 time,
	u uuid, e mood, ma macaddr, mo money, f4 float4, f8 float8, x text, p positive, at timestamptz);

-- About one of n is null, and one of n is an odd value.
CREATE FUNCTION pick(regular anyelement, odd anyarray, n int DEFAULT 12) RETURNS anyelement LANGUAGE sql VOLATILE AS $$
	SELECT CASE (random() * n)::int WHEN 0 THEN NULL WHEN 1 THEN odd[1 + floor(random() * array_length(odd, 1))::int] ELSE regular END $$;
CREATE FUNCTION fill(from_id int, to_id int) RETURNS void LANGUAGE sql VOLATILE AS $$
	INSERT INTO t SELECT g, pick((random() * 9)::int, ARRAY[-2147483648, 2147483647]), pick(random() < 0.5, ARRAY[true]), pick(chr(97 + (random() * 2)::int)::"char", ARRAY['x'::"char"]),
		pick((random() * 100 - 50)::int2, '{-32768,32767,0}'::int2[]), pick((random() * 1e6 - 5e5)::int4, '{-2147483648,2147483647,0}'::int4[]),
		pick((random() * 1e12)::int8, '{-9223372036854775808,9223372036854775807,0}'::int8[]), pick((random() * 3)::int::oid, '{4294967295,0}'::oid[]),
		pick('2026-01-01'::date + (random() * 3)::int, '{infinity,-infinity,0001-01-01 BC}'::date[]),
		pick('2026-01-01'::timestamp + (random() * 3)::int * interval '1 hour', '{infinity,-infinity}'::timestamp[]),
		pick('2026-01-01'::timestamptz + (random() * 3)::int * interval '1 second', '{infinity,-infinity}'::timestamptz[]),
		pick('12:00'::time + (random() * 2)::int * interval '1 ms', '{24:00:00}'::time[]),
		pick(('00000000-0000-4000-8000-00000000000' || (random() * 3)::int)::uuid, '{ffffffff-ffff-ffff-ffff-ffffffffffff}'::uuid[]),
		pick('ok'::mood, '{sad,happy}'::mood[]), pick('08:00:2b:01:02:03'::macaddr, '{ff:ff:ff:ff:ff:ff}'::macaddr[]), pick((random() * 3)::int::money, '{-1}'::money[]),
		pick((random() * 100)::float4, '{NaN,Infinity,-Infinity,0,-0,1e-40,3e38}'::float4[], 60),
		pick((random() - 0.5) * 10.0 ^ (random() * 12)::int, '{NaN,Infinity,-Infinity,0,-0,1e-310,5e-324,1e150,-1e150}'::float8[], 60),
		pick('w' || (random() * 5)::int, '{""}'::text[]), pick((1 + random() * 4)::int, ARRAY[9])::positive,
		pick('2026-02-01'::timestamptz + (g % 1000000 + (random() * 60)::int - (random() ^ 6 * 2000)::int) * interval '1 s', '{2026-01-01}'::timestamptz[], 30)
	FROM generate_series(from_id, to_id) g $$;
CREATE MATERIALIZED VIEW daily WITH (braid.continuous) AS SELECT d, k, count(*) AS n, sum(i4) AS s, max(i2) AS m FROM t GROUP BY 1, 2;
SQL
	in_db($database, join '', map { "CREATE MATERIALIZED VIEW $_ WITH (braid.continuous) AS $views{$_};\n" } sort grep { $_ ne 'all' } keys %views);
	in_db($database, join '', map { "CREATE MATERIALIZED VIEW $_ WITH (braid.continuous, $late{$_}[0]) AS $late{$_}[1];\n" } sort keys %late);
	in_db($database, "CREATE MATERIALIZED VIEW everything WITH (braid.continuous) AS $views{all}");
	in_db($database, <<'SQL');
SELECT format('CREATE FOREIGN TABLE s (%s) SERVER braid_stream', string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum))
FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 \gexec
CREATE TABLE same (LIKE t);
SQL
	for my $view (sort keys %passing)
	{
		for my $from ('s', 'same')
		{
			(my $query = $passing{$view}) =~ s/FROM t\b/FROM $from/;
			in_db($database, "CREATE MATERIALIZED VIEW ${view}_of_$from WITH (braid.continuous) AS $query");
		}
	}
}
for my $database (@databases)
{
	in_db($database, 'CREATE INDEX ON integers (count); CREATE INDEX ON floats_of_s (k); CREATE INDEX ON "words" (count, x)');
}
my @kept = ('daily', 'everything', sort grep { $_ ne 'all' } keys %views);
my @names = (@kept, sort(keys %late), map { ("${_}_of_s", "${_}_of_same") } sort keys %passing);

# What has expired goes now and then.
my $retained = q{WHERE (to_jsonb(s) ->> 'last')::timestamptz + interval '20 s' > (SELECT watermark::text::timestamptz - interval '20 min' FROM braid.views WHERE name::text = 'retained')};

# The rows of the states of all views, as text.
sub states
{
	my ($database) = @_;
	in_db($database, "SELECT braid.wait(v, '30 s') FROM unnest('{@{[ join ',', @names ]}}'::regclass[]) v");
	my @texts = split /\n/, in_db($database, <<"SQL");
SELECT format('SELECT %L, s::text FROM %s s %s', v, e.state, CASE WHEN v = 'retained' THEN \$\$$retained\$\$ END) FROM unnest('{@{[ join ',', @names ]}}'::text[]) v, braid.explain(v::regclass) e WHERE e.state IS NOT NULL
SQL
	return in_db($database, join(' UNION ALL ', @texts) . ' ORDER BY 1, 2');
}

sub differences
{
	my ($database) = @_;
	return in_db($database, "SELECT v, x.* FROM unnest('{@{[ join ',', @kept ]}}'::text[]) v, braid.verify(v::regclass) x");
}

# Views on the stream that are not what the same one on a table is.
sub passing_differences
{
	my ($database) = @_;
	in_db($database, join ';', map { "SELECT braid.wait('${_}_of_s', '30 s'), braid.wait('${_}_of_same', '30 s')" } sort keys %passing);
	return in_db($database, join ' UNION ALL ', map { "(SELECT '$_', shown_row::text FROM ${_}_of_s shown_row EXCEPT ALL SELECT '$_', asked_row::text FROM ${_}_of_same asked_row) UNION ALL (SELECT '$_ of table', asked_row::text FROM ${_}_of_same asked_row EXCEPT ALL SELECT '$_ of table', shown_row::text FROM ${_}_of_s shown_row)" } sort keys %passing);
}

# The same number comes with more zeros from the one or the other, and late rows with when they were put aside.
sub without_zeros { my ($text) = @_; $text =~ s/"[^"]*:\d\d\.\d+\+00"//g; $text = join "\n", sort split /\n/, $text; $text =~ s/(\.\d*?)0+(?=[,)|\n]|$)/$1/g; $text =~ s/\.(?=[,)|\n]|$)//g; return $text; }

# They have begun to follow.
for my $database (@databases)
{
	in_db($database, "SELECT braid.wait(v, '30 s') FROM unnest('{@{[ join ',', map { ($_ . '_of_s', $_ . '_of_same') } sort keys %passing ]}}'::regclass[]) v");
}

my $last = 0;
for my $step (1 .. $steps)
{
	my $n = (3, 40, 3000)[ $step % 3 ];
	my $from = $last + 1;
	$last += $n;
	my @changes = ("SELECT fill($from, $last)");
	push @changes, "DELETE FROM t WHERE id % 7 = $step % 7" if $step % 2 == 0;
	push @changes, "UPDATE t SET k = k % 5 + 1, f8 = -f8, i8 = i8 / 2 WHERE id % 5 = $step % 5" if $step % 3 == 0;
	push @changes, 'DELETE FROM t WHERE k = 3' if $step % 4 == 0;

	# Values come and go within one delta.
	push @changes, "SELECT fill(1000000, 1000050)", 'DELETE FROM t WHERE id >= 1000000';
	push @changes, map { "INSERT INTO $_ SELECT * FROM t WHERE id % 3 = $step % 3 AND id > $from - 100" } 's', 'same';
	in_db($_, sprintf "BEGIN; SELECT setseed(%f);\n%s;\nCOMMIT", ($seed + $step) % 1000 / 1000, join ";\n", @changes) for @databases;
	my ($columns, $sql) = map { without_zeros(states($_)) } @databases;
	ok($columns ne '' && $columns eq $sql, "step $step: the same states");
	if ($columns ne $sql)
	{
		my %other = map { $_ => 1 } split /\n/, $sql;
		diag join "\n", (grep { !$other{$_} } split /\n/, $columns)[ 0 .. 3 ];
	}
	is(differences($databases[0]), '', "step $step: which are those of the query");
	is(passing_differences($databases[0]), '', "step $step: and of a table with the same rows as the stream");
}

# What groups were merged into can be found by each of its indexes, and is there once.
in_db('by_columns', 'CREATE EXTENSION amcheck');
my $indexes = q{FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname LIKE 'state\\_%'};
cmp_ok(in_db('by_columns', "SELECT count(*) $indexes"), '>', scalar @kept, 'all states have indexes, some of users');
is(in_db('by_columns', "SELECT count(bt_index_check(i.indexrelid, true)) > 0 $indexes"), 't', 'which have all rows');

sub paths { my ($database) = @_; return in_db($database, "SELECT string_agg(DISTINCT v, ' ' ORDER BY v) FROM unnest('{@{[ join ',', @names ]}}'::text[]) v, braid.explain(v::regclass) e WHERE e.path = 'columns' AND v <> ALL ('{@{[ join ',', keys %late ]}}')"); }
is(paths('by_columns'), join(' ', sort grep { !/^(words|squares)/ && !$late{$_} } @names), 'groups were made of columns');
is(paths('by_sql'), '', 'and by SQL');

# ---------------------------------------------------------------- errors are PostgreSQL's

for my $database (@databases)
{
	in_db($database, <<'SQL');
CREATE TABLE n (k int, i int4, big int8);
CREATE MATERIALIZED VIEW quotients WITH (braid.continuous) AS SELECT k, sum(100 / i) AS s FROM n GROUP BY k;
CREATE MATERIALIZED VIEW doubled WITH (braid.continuous) AS SELECT k, sum(big * 2) AS s FROM n GROUP BY k;
CREATE MATERIALIZED VIEW rows_of_n WITH (braid.continuous) AS SELECT k, count(*) AS n FROM n GROUP BY k;
SELECT braid.wait('quotients', '30 s'), braid.wait('doubled', '30 s'), braid.wait('rows_of_n', '30 s');
INSERT INTO n VALUES (1, 0, 9223372036854775807), (1, 1, 1);
SELECT braid.wait('rows_of_n', '30 s');
SQL
	$node->poll_query_until($database, "SELECT count(*) = 2 FROM braid.views WHERE state = 'broken'");
	is(in_db($database, "SELECT name, state, last_error FROM braid.views WHERE name::text IN ('quotients', 'doubled', 'rows_of_n') ORDER BY name::text"),
		"doubled|broken|bigint out of range\nquotients|broken|division by zero\nrows_of_n|live|", "$database: division by zero, overflow");
	is(in_db($database, 'SELECT * FROM rows_of_n'), '1|2', "$database: the others go on");
}

for my $database (@databases)
{
	in_db($database, <<'SQL');
CREATE FOREIGN TABLE p (k int, i2 int2, i4 int4, i8 int8) SERVER braid_stream;
CREATE MATERIALIZED VIEW p_added WITH (braid.continuous) AS SELECT k, sum(i4 + 1) AS s FROM p GROUP BY k;
CREATE MATERIALIZED VIEW p_small WITH (braid.continuous) AS SELECT k, sum(i2 * 2::int2) AS s FROM p GROUP BY k;
CREATE MATERIALIZED VIEW p_large WITH (braid.continuous) AS SELECT k, sum(i8 - 2) AS s FROM p GROUP BY k;
CREATE MATERIALIZED VIEW p_divided WITH (braid.continuous) AS SELECT k, count(*) AS n FROM p WHERE 10 / i4 > 0 GROUP BY k;
CREATE MATERIALIZED VIEW p_rows WITH (braid.continuous) AS SELECT k, count(*) AS n, sum(i8) AS s FROM p GROUP BY k;
SELECT braid.wait(v::regclass, '30 s') FROM unnest('{p_added,p_small,p_large,p_divided,p_rows}'::text[]) v;
INSERT INTO p SELECT g % 10, g, g, g FROM generate_series(1, 2000) g;
INSERT INTO p VALUES (1, 20000, 2147483647, -9223372036854775807), (1, 1, 0, 1);
SELECT braid.wait('p_rows', '30 s');
SQL
	$node->poll_query_until($database, "SELECT count(*) = 4 FROM braid.views WHERE name::text LIKE 'p\\_%' AND state = 'broken'");
	is(in_db($database, "SELECT name, last_error FROM braid.views WHERE name::text LIKE 'p\\_%' ORDER BY name::text"),
		"p_added|integer out of range\np_divided|division by zero\np_large|bigint out of range\np_rows|\np_small|smallint out of range", "$database: errors of expressions over a stream");
	is(in_db($database, 'SELECT n, s FROM p_rows WHERE k = 1'), '202|-9223372036854576606', "$database: the others go on");
}

# ---------------------------------------------------------------- somebody else writes a state

# Who may do so (guard.c) makes the worker wait, and then try again.
sub backends { my ($condition) = @_; return "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture' AND datname = 'by_columns' AND $condition"; }

my ($state) = in_db('by_columns', "SELECT state FROM braid.explain('rows_of_n') WHERE state IS NOT NULL");
my $other = $node->background_psql('by_columns');
$other->query_safe("SET allow_system_table_mods = on; BEGIN; UPDATE $state SET k1 = k1");
my $from = -s $node->logfile;
in_db('by_columns', 'INSERT INTO n VALUES (1, 1, 1), (2, 1, 1)');
ok($node->poll_query_until('by_columns', backends("wait_event_type = 'Lock'")), 'the worker waits for who has updated the row of a state');
$other->query_safe('COMMIT');
$other->quit;
ok($node->log_contains(qr/could not serialize access due to concurrent update/, $from) || $node->wait_for_log(qr/could not serialize access due to concurrent update/, $from), 'and tries again');
ok($node->poll_query_until('by_columns', "SELECT braid.wait('rows_of_n', '5 s')"), 'and the view goes on');
is(in_db('by_columns', 'SELECT k, n FROM rows_of_n ORDER BY k'), "1|3\n2|1", 'right');

# ---------------------------------------------------------------- more groups than there is memory for

$node->append_conf('postgresql.conf', "braid.capture_memory = '16MB'\n");
$node->reload;
in_db('by_columns', <<'SQL');
CREATE TABLE many (k int, v int);
CREATE MATERIALIZED VIEW groups_of_many WITH (braid.continuous) AS SELECT k, count(*) AS n, sum(v) AS s FROM many GROUP BY k;
SELECT braid.wait('groups_of_many', '30 s');
INSERT INTO many SELECT g % 150000, g FROM generate_series(1, 200000) g;
SELECT braid.wait('groups_of_many', '60 s');
SQL
is(in_db('by_columns', "SELECT count(*) FROM braid.verify('groups_of_many')"), '0', 'more groups than there is memory for');
is(in_db('by_columns', "SELECT path FROM braid.explain('groups_of_many') WHERE state IS NOT NULL"), 'SQL', 'are made by SQL');

done_testing();
