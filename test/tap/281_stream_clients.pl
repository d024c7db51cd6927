# Clients of all kinds write to a stream, in every way that they have: a view has each row once.
#
# JDBC and psycopg are tried where they are installed: Debian's packages libpostgresql-jdbc-java, with a
# Java that runs source files, and python3-psycopg; else BRAID_JDBC names the driver's jar.
use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use Test::More;

my $rows = 300;
my $cluster = Braid::Cluster->new('node', { conf => "listen_addresses = '127.0.0.1'\n" });
my $node = $cluster->node('node');
my $user = getpwuid($<) . '';
my $clients = 'test/clients';
$cluster->sql('node', <<'SQL');
CREATE FOREIGN TABLE client_rows (how text NOT NULL, id bigint, v double precision, note text,
	doubled double precision GENERATED ALWAYS AS (v * 2) STORED, by name DEFAULT current_user) SERVER braid_stream;
SQL

# ---- a stream without a view costs its WAL, and nothing else
{
	my $size = $cluster->sql('node', "SELECT pg_database_size('postgres')");
	$cluster->sql('node', "INSERT INTO client_rows (how, id, note) SELECT 'nobody', g, repeat('x', 1000) || g FROM generate_series(1, 10000) g");
	is($cluster->sql('node', "SELECT pg_relation_size('client_rows'), pg_database_size('postgres') - $size < 1000000"), '0|t', 'ten megabytes of rows take no space');
	is($cluster->sql('node', 'SELECT count(*) FROM pg_replication_slots'), '0', 'and need no slot');
	is($cluster->sql('node', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'braid capture'"), '0', 'nor a worker');
}

$cluster->sql('node', <<'SQL');
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW seen WITH (braid.continuous) AS SELECT * FROM client_rows;
CREATE MATERIALIZED VIEW counted WITH (braid.continuous) AS SELECT how, count(*), sum(id) AS id, sum(v) AS v FROM client_rows GROUP BY how;
SQL
is($cluster->sql('node', "SELECT braid.wait('seen')"), 't', 'the view is there');
is($cluster->sql('node', 'SELECT count(*) FROM seen'), '0', 'without what was written before');

# Each way that begins with this name has written ids from 1 to $rows, once; there are so many ways.
sub check
{
	my ($name, $ways) = @_;
	$cluster->sql('node', "SELECT braid.wait('seen'), braid.wait('counted')");
	is($cluster->sql('node', "SELECT count(DISTINCT how) FROM seen WHERE how LIKE '$name%'"), $ways, "$name: all ways have written");
	is($cluster->sql('node', <<"SQL"), '', "$name: each row is there once, as it was written");
SELECT w.how, i, s.* FROM (SELECT DISTINCT how FROM seen WHERE how LIKE '$name%') w CROSS JOIN generate_series(1, $rows) i
	LEFT JOIN (SELECT how, id, count(*), min(v) AS v, min(doubled) AS doubled, min(note) AS note, min(by) AS by FROM seen GROUP BY how, id) s
		ON s.how = w.how AND s.id = i
WHERE s.count IS DISTINCT FROM 1 OR v <> i / 2.0 OR doubled <> i OR by <> current_user OR note IS DISTINCT FROM CASE WHEN i % 3 <> 0 THEN 'note' END
SQL
	is($cluster->sql('node', "SELECT count(*) FROM counted WHERE how LIKE '$name%' AND count = $rows AND id = $rows * ($rows + 1) / 2 AND v = id / 2.0"), $ways, "$name: and counted");
	is($cluster->sql('node', "SELECT count(*) FROM seen WHERE how = 'given up' OR id > $rows"), '0', "$name: what was given up is not there");
	return;
}

sub command_works
{
	my ($name, @command) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	ok($ok, "$name runs") or diag($err);
	return;
}

sub runs
{
	my (@command) = @_;
	my $out;
	return eval { IPC::Run::run(\@command, '>', \$out, '2>', \$out) };
}

# ---- psql: rows of a query, and its own \copy
{
	my $note = "CASE WHEN i % 3 <> 0 THEN 'note' END";
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';
	my $insert = 'INSERT INTO client_rows (how, id, v, note)';
	my $columns = 'client_rows (how, id, v, note)';
	$cluster->sql('node', "$insert SELECT 'psql SELECT', i, i / 2.0, $note FROM generate_series(1, $rows) i");
	$cluster->sql('node', "$insert VALUES " . join(',', map { "('psql VALUES', $_, $_ / 2.0, " . ($_ % 3 ? "'note'" : 'NULL') . ')' } 1 .. $rows));
	$cluster->sql('node', join(";\n", map { "$insert VALUES ('psql rows', $_, $_ / 2.0, " . ($_ % 3 ? "'note'" : 'NULL') . ')' } 1 .. $rows));
	for my $format ('text', 'csv', 'binary')
	{
		$cluster->sql('node', "COPY (SELECT 'psql copy $format', i::bigint, (i / 2.0)::double precision, $note FROM generate_series(1, $rows) i) TO '$file.$format' (FORMAT $format)");
		$cluster->sql('node', "\\copy $columns FROM '$file.$format' (FORMAT $format)");
	}
	$cluster->sql('node', "PREPARE put AS $insert VALUES (\$1, \$2::bigint, \$2::bigint / 2.0, \$3);\n"
		. join(";\n", map { "EXECUTE put('psql EXECUTE', $_, " . ($_ % 3 ? "'note'" : 'NULL') . ')' } 1 .. $rows));
	check('psql', 7);
}

# ---- pgbench: the protocol's simple, extended and prepared queries; several sessions at once
{
	for my $mode ('simple', 'extended', 'prepared')
	{
		my $sql = join "\n", map { "\\set i :client_id * 100 + $_\nINSERT INTO client_rows (how, id, v, note) VALUES ('pgbench $mode', :i, :i / 2.0, CASE WHEN :i % 3 <> 0 THEN 'note' END);" } 1 .. 100;
		my $file = PostgreSQL::Test::Utils::tempdir() . "/$mode.sql";
		PostgreSQL::Test::Utils::append_to_file($file, $sql);
		command_works("pgbench $mode", 'pgbench', '-h', $node->host, '-p', $node->port, '-n', '-c', 3, '-t', 1, '-M', $mode, '-f', $file, 'postgres');
	}
	check('pgbench', 3);
}

# ---- libpq
{
	my $program = Braid::Bench::compile("$clients/stream_client.c");
	command_works('libpq', $program, $node->connstr('postgres'), $rows);
	check('libpq', 4);
}

SKIP:
{
	my ($jar) = grep { -e } $ENV{BRAID_JDBC} // (), '/usr/share/java/postgresql.jar';
	skip 'the JDBC driver is not installed', 1 if !$jar || !runs('java', '-version');
	command_works('JDBC', 'java', '-Xmx64m', '-cp', $jar, "$clients/StreamClient.java",
		'jdbc:postgresql://127.0.0.1:' . $node->port . "/postgres?user=$user", $rows);
	check('JDBC', 6);
}

SKIP:
{
	my ($python) = grep { runs($_, '-c', 'import psycopg') } '/usr/bin/python3', 'python3';
	skip 'psycopg 3 is not installed', 1 if !$python;
	command_works('psycopg', $python, "$clients/stream_client.py", $node->connstr('postgres'), $rows);
	check('psycopg', 7);
}

done_testing();
