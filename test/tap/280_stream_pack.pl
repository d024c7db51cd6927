# Rows go into the messages of streams and come out of them as they were: of every built-in type, and others,
# with all or few or none of them null, all or few or none of them different. Damaged messages are errors.
# The seed is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Bench ();
use Braid::Cluster;
use IPC::Run;
use List::Util qw(min shuffle);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => 'jit = off' });

my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

sub sql { return $cluster->sql('db', $_[0]); }
sub one_of { return $_[ rand @_ ]; }

sql(<<'SQL');
CREATE FUNCTION pack(query text, rows int, parts int, stream oid DEFAULT 1, OUT message bytea, OUT bytes text) RETURNS SETOF record
LANGUAGE C AS '$libdir/braid', 'braid_sql_test_pack';
CREATE FUNCTION unpack(message bytea) RETURNS SETOF record LANGUAGE C AS '$libdir/braid', 'braid_sql_test_unpack';
CREATE FUNCTION seal(message bytea, xid xid) RETURNS bytea LANGUAGE C AS '$libdir/braid', 'braid_sql_test_seal';
CREATE FUNCTION seal_is_right(message bytea, xid xid) RETURNS bool
LANGUAGE C AS '$libdir/braid', 'braid_sql_test_seal_is_right';

CREATE TYPE pair AS (a int, t text);
CREATE TYPE mood AS ENUM ('sad', 'glad', 'mad');
CREATE DOMAIN name_of_shop AS text CHECK (length(VALUE) < 1000000);
CREATE DOMAIN quantity AS int;
CREATE TABLE correlated AS SELECT i % 10 AS a, i % 20 AS b FROM generate_series(1, 200) i;
CREATE STATISTICS correlation (ndistinct, dependencies, mcv) ON a, b FROM correlated;
ANALYZE correlated;
SQL

# ---------------------------------------------------------------- values at random

my $text = q{CASE floor(random() * 12) WHEN 0 THEN '' WHEN 1 THEN repeat(md5(random()::text), floor(random() * 60)::int)
	WHEN 2 THEN repeat('compressible', floor(random() * 1000)::int) ELSE left(md5(random()::text), floor(random() * 33)::int) END};
my $oid = 'floor(random() * 4294967296)::int8::oid';
my $int4 = '(floor(random() * 4294967296) - 2147483648)::int8::int4';
my $small = 'floor(random() * 1000)::int4';
my $float = q{CASE floor(random() * 6) WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN '-0' ELSE
	random() * 10 ^ floor(random() * 30) END};
my $numeric = q{CASE floor(random() * 6) WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN 1.00 WHEN 3 THEN
	(random()::text || repeat('123456789', floor(random() * 30)::int))::numeric ELSE random()::numeric END};
my $at = q{'2026-01-01'::timestamp + random() * interval '10 years'};
my $point = 'point(random(), random())';
my $lsn = q{(upper(to_hex(floor(random() * 1000)::int)) || '/' || upper(to_hex(floor(random() * 1000000)::int)))};
my $mac = q{left(md5(random()::text), 12)};
my $list = q{(SELECT string_agg(floor(random() * 30000)::text, ' ') FROM generate_series(1, floor(random() * 5)::int))};

my %values = (
	bool => 'random() < 0.5', bytea => "convert_to($text, 'UTF8')", '"char"' => 'chr(33 + floor(random() * 90)::int)',
	name => 'left(md5(random()::text), floor(random() * 32)::int)', int2 => '(floor(random() * 65536) - 32768)', int4 => $int4,
	int8 => "(CASE WHEN random() < 0.1 THEN 9223372036854775807 WHEN random() < 0.1 THEN -9223372036854775808 ELSE ($int4)::int8 << floor(random() * 31)::int END)",
	int2vector => "coalesce($list, '')", oidvector => "coalesce($list, '')", text => $text, varchar => $text, bpchar => $text,
	oid => $oid, (map { $_ => $oid } qw(regproc regprocedure regoper regoperator regclass regtype regrole regnamespace regconfig
		regdictionary regcollation)),
	tid => "'(' || $small || ',' || $small || ')'", xid => "($oid)::text", cid => "($oid)::text", xid8 => "($oid)::text",
	json => "json_build_object('a', $text, 'b', ARRAY[1, NULL])::text", jsonb => "jsonb_build_object('a', $text, 'b', ARRAY[1, NULL])::text",
	xml => "'<a>' || $text || '</a>'", jsonpath => q{'$.a[' || floor(random() * 9) || ']'},
	float4 => "($float)::float8::numeric::text", float8 => $float, numeric => $numeric, money => "$small * 0.01",
	point => $point, lseg => "lseg($point, $point)", box => "box($point, $point)", circle => "circle($point, random())",
	path => "('((0,0),(1,' || random() || '),(2,0))')", polygon => "('((0,0),(1,' || random() || '),(2,0))')",
	line => "line($point, $point + point(1, 1))",
	macaddr => $mac, macaddr8 => "left(md5(random()::text), 16)",
	inet => "'10.' || $small % 256 || '.0.1/' || 8 + $small % 25", cidr => "'10.' || $small % 256 || '.0.0/16'",
	aclitem => "makeaclitem(10, 10, 'SELECT', random() < 0.5)", refcursor => $text, uuid => 'gen_random_uuid()',
	date => "($at)::date", time => "($at)::time", timestamp => $at, timestamptz => $at, timetz => "($at)::time",
	interval => "random() * interval '100 days' + $small * interval '1 month'",
	bit => "($small % 2)::text", varbit => "($int4)::bit(32)::text", pg_lsn => $lsn, txid_snapshot => q{'10:20:15'},
	pg_snapshot => "'10:' || 20 + $small || ':15'", tsvector => "to_tsvector('simple', $text)", tsquery => "plainto_tsquery('simple', left($text, 100))",
	pg_node_tree => '(SELECT ev_action FROM pg_rewrite ORDER BY random() LIMIT 1)',
	pg_ndistinct => '(SELECT stxdndistinct FROM pg_statistic_ext_data)', pg_dependencies => '(SELECT stxddependencies FROM pg_statistic_ext_data)',
	pg_mcv_list => '(SELECT stxdmcv FROM pg_statistic_ext_data)',
	int4range => "int4range($small, $small + 1000)", int8range => "int8range($small, $small + 1000)", numrange => "numrange($small, $small + 1000)",
	tsrange => "tsrange($at, 'infinity')", tstzrange => "tstzrange($at, NULL)", daterange => "daterange(($at)::date, 'infinity')",
	pair => "ROW($small, $text)::pair", mood => "(enum_range(NULL::mood))[1 + floor(random() * 3)::int]",
	name_of_shop => $text, quantity => $small,
);
$values{float4} = 'random() * 10 ^ floor(random() * 30)';
$values{ $_ =~ s/range$/multirange/r } = "$values{$_}" for grep { /range$/ } keys %values;

# Types that nobody can have a value of in a table of his own.
my %none = map { $_ => 1 } qw(cstring gtsvector pg_brin_bloom_summary pg_brin_minmax_multi_summary);

my %kind = map { my ($type, $name, $element) = split /\|/; ($name => { type => $type, element => $element }) } split /\n/, sql(<<'SQL');
SELECT format_type(t.oid, NULL), CASE t.typname WHEN 'char' THEN '"char"' ELSE t.typname END,
	CASE e.typname WHEN 'char' THEN '"char"' ELSE e.typname END
FROM pg_type t LEFT JOIN pg_type e ON e.typarray = t.oid
WHERE (t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND (t.typelem = 0 OR coalesce(e.typtype, 'b') <> 'c'))
	OR t.typname IN ('pair', 'mood', 'name_of_shop', 'quantity', '_pair', '_mood', '_name_of_shop')
SQL

# An expression for a random value of a type; undef: there are none.
sub value_of
{
	my ($name) = @_;
	my $element = $kind{$name}{element};
	return $values{$name} && "($values{$name})::$kind{$name}{type}" unless $element;
	my $value = value_of($element) or return;
	return "(ARRAY[$value, NULL, $value])[1:floor(random() * 4)::int]";
}
my @unknown = grep { !value_of($_) && !$none{ $kind{$_}{element} || $_ } } sort keys %kind;
is("@unknown", '', 'a value is known of every type');
my @types = shuffle(grep { value_of($_) } sort keys %kind);
cmp_ok(@types, '>', 130, scalar(@types) . ' types');

# ---------------------------------------------------------------- round trips

# Makes a table of columns of these types, and returns how they are described.
sub make_table
{
	my ($rows, @columns) = @_;
	my (@joins, @indexes, @outputs, @definitions);
	my $pools = '';
	for my $c (1 .. @columns)
	{
		my $type = $kind{ $columns[ $c - 1 ] }{type};
		my $different = min($rows, one_of(1, 2, 10, 100, 256, 257, $rows, $rows));
		my $null = one_of(0, 0, 0.1, 0.9, 1);
		$pools .= "CREATE TEMP TABLE pool_$c AS SELECT i, " . value_of($columns[ $c - 1 ]) . " AS v FROM generate_series(1, $different) i;";
		push @indexes, "CASE WHEN random() >= $null THEN 1 + floor(random() * $different)::int END AS i$c";
		push @joins, "LEFT JOIN pool_$c ON pool_$c.i = r.i$c";
		push @outputs, "pool_$c.v AS c$c";
		push @definitions, "c$c $type";
	}
	local $" = ', ';
	sql("$pools DROP TABLE IF EXISTS t; CREATE TABLE t (n int, @definitions); "
			. "INSERT INTO t SELECT g, @outputs FROM (SELECT g, @indexes FROM generate_series(1, $rows) g OFFSET 0) r " . join(' ', @joins));
	return "n int, @definitions";
}

sub check_table
{
	my ($name, $definitions, $size, $parts) = @_;
	my $differ = sql(<<SQL);
SET work_mem = '64MB';
CREATE TEMP TABLE messages AS SELECT message FROM pack('SELECT * FROM t ORDER BY n', $size, $parts);
CREATE TEMP TABLE u AS SELECT r.* FROM messages, unpack(message) r($definitions);
SELECT count(*) FROM t FULL JOIN u ON t.n = u.n WHERE t.n IS NULL OR u.n IS NULL OR NOT (t.* *= u.*);
SQL
	is($differ, '0', $name);
	return;
}

while (my @columns = splice @types, 0, 1 + int(rand(24)))
{
	my $rows = one_of(1, 9, 100, 300, 300, 700);
	my ($size, $parts) = (one_of(1, 7, 64, 300, 5000), one_of(1, 1, 2, 30));
	my $definitions = make_table($rows, @columns);
	check_table("$rows rows by $size, packs appended by $parts: @columns", $definitions, $size, $parts);
}

my @narrow = qw(bool int2 int4 int8 float8 oid timestamptz text);
check_table('many columns', make_table(20, map { one_of(@narrow) } 1 .. 100), 20, 3);
check_table('more rows', make_table(20000, qw(int4 text int8 bool)), 9000, 200);
is(sql("SELECT count(*) FROM pack('SELECT FROM generate_series(1, 10)', 5, 1), LATERAL unpack(message) r(a int) WHERE r IS NULL"),
	'10', 'rows without columns, read as columns that were added later');

# ---------------------------------------------------------------- a stream

# Values out of line, expanded ones of PL/pgSQL, those that COPY has read; and a view of them.
sql(<<'SQL');
CREATE FUNCTION numbers(n int) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE a int[] := '{}'; BEGIN FOR i IN 1..n LOOP a := a || i; END LOOP; RETURN a; END $$;
CREATE FUNCTION large_pair(n int) RETURNS pair LANGUAGE plpgsql AS $$
DECLARE p pair; BEGIN p.a := n; p.t := repeat(md5(n::text), n * 100); RETURN p; END $$;
CREATE TABLE things (n int, large text, numbers int[], pair pair, json json, shape polygon, letter "char", name name, span interval);
ALTER TABLE things ALTER large SET STORAGE EXTERNAL;
INSERT INTO things SELECT i, repeat(md5(i::text), i * 50), numbers(i * 10), large_pair(i), '{"a": 1}', '((0,0),(1,1),(2,0))', 'c', 'n' || i, i * interval '1 day'
FROM generate_series(1, 30) i;
CREATE FOREIGN TABLE passing () INHERITS (things) SERVER braid_stream;
ALTER FOREIGN TABLE passing NO INHERIT things;
CREATE MATERIALIZED VIEW passed WITH (braid.continuous) AS SELECT * FROM passing;
SELECT braid.wait('passed', '60s');
SQL
my $file = $cluster->node('db')->data_dir . '/things';
sql(<<"SQL");
INSERT INTO passing SELECT * FROM things WHERE n <= 10;
DO \$\$
DECLARE a int[]; p pair;
BEGIN
	FOR i IN 11..20 LOOP
		a := numbers(i * 10);
		p := large_pair(i);
		INSERT INTO passing SELECT n, large, a, p, json, shape, letter, name, span FROM things WHERE n = i;
	END LOOP;
END \$\$;
COPY (SELECT * FROM things WHERE n > 20) TO '$file' (FORMAT binary);
COPY passing FROM '$file' (FORMAT binary);
SQL
is(sql("SELECT braid.wait('passed', '60s'); SELECT count(*), bool_and(t *= p) FROM things t FULL JOIN passed p USING (n)"), "t\n30|t",
	'large and expanded values, through a stream');

# ---------------------------------------------------------------- damage

# What comes of reading SQL's message as a row of these columns.
sub error_of
{
	my ($message, $columns) = @_;
	my ($status, $out, $error) = $cluster->try_sql('db',
		"\\set VERBOSITY verbose\nSELECT r.* FROM (SELECT $message AS m FROM pack('SELECT 1, ''one''::text', 1, 1)) p, unpack(m) r($columns)");
	return $error;
}
is(error_of('message', 'a int, b text'), '', 'a message');
like(error_of('substr(message, 1, length(message) - 1)', 'a int, b text'), qr/ERROR:  XX001: message of a stream is damaged\nDETAIL:  It ends too early/,
	'one that is too short');
like(error_of('message || message', 'a int, b text'), qr/XX001.*\nDETAIL:  Something follows/, 'one that is too long');
like(error_of('set_byte(message, 8, 2)', 'a int, b text'), qr/XX001.*\nDETAIL:  It is of an unknown version/, 'one of another version');
like(error_of('message', 'a int8, b text'), qr/ERROR:  42804: column 1 of a message of a stream is not of the type/, 'another type is expected');
like(error_of(q{overlay(message PLACING '\x19'::bytea FROM 14)}, 'a text, b text'), qr/XX001.*\nDETAIL:  A column does not look like its type/,
	'a number is no pointer, whatever the message says');

my $program = Braid::Bench::compile('test/fuzz/message.c', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined',
	'-Wno-unused-parameter', '-Wno-sign-compare', '-Wno-missing-field-initializers', '-Wno-clobbered', '-Isrc', map { chomp(my $dir = `$pg_config $_`); "-I$dir" } '--includedir-server');
my ($said, $complaint);
my @corpus = grep { -f } glob 'test/fuzz/corpus/* test/fuzz/corpus/found/*';
my $mutations = $ENV{BRAID_MUTATIONS} // 200_000;
ok(IPC::Run::run([ $program, $seed, $mutations, @corpus ], '>', \$said, '2>', \$complaint), 'damaged messages, under the address sanitizer')
	or diag($complaint);
like($said, qr/^\d{2,} mutations of \d{2,} messages/, 'as many as there should be');

# ---------------------------------------------------------------- seals

is(sql(<<'SQL'), 't|f|f|f|f', 'a seal holds for its transaction and the head of its message');
WITH s AS MATERIALIZED (SELECT seal(message, '4711') AS m FROM pack('SELECT i FROM generate_series(1, 3) i', 3, 1))
SELECT seal_is_right(m, '4711'), seal_is_right(m, '4712'), seal_is_right(set_byte(m, 0, get_byte(m, 0) # 1), '4711'),
	seal_is_right(set_byte(m, 9, 4), '4711'), seal_is_right(m || '\x00'::bytea, '4711') FROM s
SQL

# Whoever writes under the prefix of streams is not believed; nor is damage, even if it is sealed.
sql(<<'SQL');
CREATE FUNCTION emit(message bytea) RETURNS pg_lsn LANGUAGE sql AS $$SELECT pg_logical_emit_message(true, 'braid.stream', message)$$;
CREATE FUNCTION emit_sealed(message bytea) RETURNS pg_lsn LANGUAGE sql AS 'SELECT emit(seal(message, pg_current_xact_id()::xid))';
CREATE FOREIGN TABLE clicks (k int, t text) SERVER braid_stream;
CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS SELECT k, count(*), max(t) FROM clicks GROUP BY k;
SELECT braid.wait('v', '60s');
SQL
sql(<<'SQL');
BEGIN;
INSERT INTO clicks VALUES (1, 'by INSERT');
SELECT emit(message) FROM pack('SELECT 2, ''forged''::text', 1, 1, 'clicks'::regclass);
SELECT emit_sealed(message) FROM pack('SELECT 3, ''sealed''::text', 1, 1, 'clicks'::regclass);
COMMIT;
SQL
is(sql("SELECT braid.wait('v', '60s'); SELECT * FROM v ORDER BY k"), "t\n1|1|by INSERT\n3|1|sealed", 'a message without a seal is ignored');
sql(q{SELECT emit_sealed(substr(message, 1, length(message) - 2)) FROM pack('SELECT 4, ''damaged''::text', 1, 1, 'clicks'::regclass)});
$cluster->node('db')->poll_query_until('postgres', q{SELECT state = 'broken' FROM braid.views WHERE name = 'v'::regclass}) or die 'the view is not broken';
like(sql('SELECT last_error FROM braid.views WHERE name = $$v$$::regclass'), qr{^message of a stream is damaged \(It ends too early\. In: message of stream "clicks" at [0-9A-F]+/[0-9A-F]+\)$},
	'damage breaks the view, and where it is, is said');
is(sql('SELECT * FROM v ORDER BY k'), "1|1|by INSERT\n3|1|sealed", 'what was there before is shown');

sql('CREATE ROLE nosy; GRANT pg_read_all_data TO nosy');
is(sql('SET ROLE nosy; SELECT count(*) FROM braid_internal.seals'), '0', 'the secret is not among what those who may read all data see');

my ($status) = $cluster->try_sql('db', "BEGIN; INSERT INTO clicks VALUES (5, 'the last'); DROP EXTENSION braid CASCADE; COMMIT");
is($status, 0, 'a transaction writes to a stream and drops the extension');

done_testing();
