# braid.execute(), braid.query(), braid.execute_all(): commands on nodes as part of the global transaction.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '200ms'\n" });
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g');
	$cluster->sql('hub', "CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't')");
	$cluster->wait_for('hub', "SELECT ready FROM braid.participants WHERE server = '$name'");
}

sub exists_on
{
	my ($table, @expected) = @_;
	my $what = pop @expected;
	for my $name ('hub', 'a', 'b')
	{
		$cluster->wait_for($name, 'SELECT count(*) = 0 FROM pg_prepared_xacts');
		is($cluster->sql($name, "SELECT to_regclass('public.$table') IS NOT NULL"), shift @expected, "$what, on $name");
	}
	return;
}

sub fails
{
	my ($sql, $pattern, $what) = @_;
	my ($rc, undef, $err) = $cluster->try_sql('hub', "\\set VERBOSITY verbose\n$sql");
	isnt($rc, 0, "$what fails");
	like($err, $pattern, "$what: the message");
	return;
}

# ---- what it returns, and where it runs
{
	is($cluster->sql('hub', q{SELECT braid.execute('a', 'UPDATE t SET v = 1 WHERE id <= 3')}), '3', 'rows of an UPDATE');
	is($cluster->sql('hub', q{SELECT braid.execute('a', 'SELECT * FROM t')}), '10', 'rows of a SELECT');
	is($cluster->sql('hub', q{SELECT braid.execute('a', 'CREATE TABLE ddl (x int)')}), '0', 'rows of DDL');
	is($cluster->sql('hub', q{SELECT braid.execute('a', 'INSERT INTO ddl VALUES (1); INSERT INTO ddl VALUES (2), (3); DROP TABLE ddl; UPDATE t SET v = 0')}), '10', 'several statements: rows of the last');
	is($cluster->sql('hub', q{SELECT q->>'id', q->'v' FROM braid.query('a', 'SELECT id, v FROM t WHERE id < 3 ORDER BY id') q}), "1|0\n2|0", 'rows as objects');
	is($cluster->sql('hub', q{SELECT count(*) FROM braid.query('a', 'SELECT WHERE false')}), '0', 'no rows');
	is($cluster->sql('hub', q{SELECT q FROM braid.query('a', 'UPDATE t SET v = 7 WHERE id = 2 RETURNING id, v') q}), '{"v": 7, "id": 2}', 'rows of RETURNING');
	is($cluster->sql('hub', q{SELECT count(*) FROM braid.query('a', 'CREATE TABLE none (x int)')}), '0', 'DDL has no rows');
	is($cluster->sql('a', 'SELECT count(*) FROM none'), '0', 'but is done');
	is($cluster->sql('hub', <<'SQL'), "t", 'the transaction is that of the foreign tables');
BEGIN;
UPDATE t_a SET v = 99 WHERE id = 1;
SELECT (SELECT q->>'v' FROM braid.query('a', 'SELECT v FROM t WHERE id = 1') q) = '99';
ROLLBACK;
SQL
	is($cluster->sql('hub', <<'SQL'), "1\n42", 'also the other way round');
BEGIN;
SELECT braid.execute('a', 'UPDATE t SET v = 42 WHERE id = 1');
SELECT v FROM t_a WHERE id = 1;
ROLLBACK;
SQL
	is($cluster->sql('a', 'SELECT v FROM t WHERE id = 1'), '0', 'and is rolled back with it');
}

# ---- atomic over nodes, DDL included
{
	$cluster->sql('hub', q{BEGIN; SELECT braid.execute('a', 'CREATE TABLE pair (x int)'), braid.execute('b', 'CREATE TABLE pair (x int)'); ROLLBACK});
	exists_on('pair', 'f', 'f', 'f', 'ROLLBACK undoes DDL');
	fails(q{BEGIN; SELECT braid.execute('a', 'CREATE TABLE pair (x int)'); SELECT braid.execute('b', 'CREATE TABLE pair (x nonsense)'); COMMIT},
		qr/42704: type "nonsense" does not exist\n(?:.*\n)*CONTEXT:(?:.*\n)*command on server "b"/, 'DDL that fails on one node');
	exists_on('pair', 'f', 'f', 'f', 'an error undoes it everywhere');

	my @log = map { -s $cluster->node($_)->logfile } 'a', 'b';
	$cluster->sql($_, q{ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()}) for 'a', 'b';
	$cluster->sql('hub', q{BEGIN; SELECT braid.execute('a', 'CREATE TABLE pair (x int)'); SELECT braid.execute('b', 'CREATE TABLE pair (x int)'); COMMIT});
	for my $name ('a', 'b')
	{
		my $log = PostgreSQL::Test::Utils::slurp_file($cluster->node($name)->logfile, shift @log);
		like($log, qr/COMMIT PREPARED 'braid:/, "COMMIT has two phases on $name");
		$cluster->sql($name, 'ALTER SYSTEM RESET log_statement; SELECT pg_reload_conf()');
	}
	exists_on('pair', 'f', 't', 't', 'COMMIT does it everywhere');

	$cluster->failpoint('b', 'xa-participant-prepare', 'error');
	fails(q{BEGIN; SELECT braid.execute('a', 'DROP TABLE pair'), braid.execute('b', 'DROP TABLE pair'); COMMIT}, qr/failpoint/, 'PREPARE on one node');
	$cluster->failpoint('b', 'xa-participant-prepare', 'off');
	exists_on('pair', 'f', 't', 't', 'a failing PREPARE undoes it everywhere');

	# A session whose last transaction had two phases sends tags.
	$cluster->sql('hub', join ' ', map { "BEGIN; SELECT braid.execute('a', 'CREATE TABLE tagged$_ (x int)'), braid.execute('b', 'CREATE TABLE tagged$_ (x int)'); COMMIT;" } 1 .. 4);
	exists_on("tagged$_", 'f', 't', 't', "transaction $_ of a session") for 1 .. 4;

	is($cluster->sql('hub', q{BEGIN; SELECT braid.execute('a', 'INSERT INTO pair VALUES (1)'); SAVEPOINT s; SELECT braid.execute('a', 'INSERT INTO pair VALUES (2)'); ROLLBACK TO s; COMMIT; SELECT count(*) FROM braid.query('a', 'TABLE pair')}), "1\n1\n1", 'savepoints are followed');
	is($cluster->sql('hub', q{SELECT count(*) FROM braid.query('a', 'SELECT 1') UNION ALL SELECT count(*) FROM braid.query('b', 'SELECT 1')}), "1\n1", 'reading on two nodes leaves nothing behind');
	$cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions');
}

# ---- as whom, and with which settings
{
	$cluster->sql('a', q{CREATE ROLE clerk LOGIN; CREATE SCHEMA office AUTHORIZATION clerk; ALTER ROLE clerk SET search_path = office; ALTER ROLE clerk SET timezone = 'Asia/Tokyo'});
	$cluster->sql('hub', q{CREATE ROLE worker LOGIN; CREATE USER MAPPING FOR worker SERVER a OPTIONS (user 'clerk', password_required 'false')});
	fails(q{SET ROLE worker; SELECT braid.execute('a', 'SELECT 1')}, qr/42501: permission denied for foreign server a/, 'a user without USAGE');
	my $oid = $cluster->sql('hub', "SELECT oid FROM pg_foreign_server WHERE srvname = 'a'");
	fails(qq{SET ROLE worker; UPDATE braid_internal.execute_$oid SET command = 'SELECT 1'}, qr/42501: permission denied for foreign server a/, 'the hidden table without USAGE');
	fails(qq{SET ROLE worker; UPDATE braid_internal.execute_$oid SET command = random()::text}, qr/42501: permission denied for foreign server a/, 'the same by another plan');
	fails(qq{SET ROLE worker; SELECT * FROM braid.execute_all('SELECT 1')}, qr/42501: permission denied for foreign server a/, 'all servers without USAGE');
	$cluster->sql('hub', 'GRANT USAGE ON FOREIGN SERVER a TO worker');
	$cluster->sql('hub', q{SET ROLE worker; SELECT braid.execute('a', 'CREATE TABLE desk (at timestamptz)'), braid.execute('a', $$INSERT INTO desk VALUES ('2024-01-01 12:00')$$)});
	is($cluster->sql('a', q{SELECT relowner::regrole, relnamespace::regnamespace FROM pg_class WHERE relname = 'desk'}), 'clerk|office', 'the mapped user, and its search_path');
	is($cluster->sql('a', q{SELECT at = '2024-01-01 03:00+00' FROM office.desk}), 't', 'its time zone');
	fails(q{SET ROLE worker; SELECT braid.execute('a', 'UPDATE public.t SET v = 1')}, qr/42501: permission denied for table t\n(?:.*\n)*command on server "a"/, 'the rights of the mapped user');
	is($cluster->sql('hub', <<'SQL'), "0\npg_catalog\n0|0|0\nAsia/Tokyo", 'what a command sets ends with it');
BEGIN;
CREATE FOREIGN TABLE setting (name text, setting text) SERVER a OPTIONS (schema_name 'pg_catalog', table_name 'pg_settings');
GRANT SELECT ON setting TO worker;
SET LOCAL ROLE worker;
SELECT braid.execute('a', 'SET search_path = public; SET LOCAL work_mem = ''64kB''; SET timezone = ''UTC''');
SELECT setting FROM setting WHERE name = 'search_path';
SELECT braid.execute('a', 'SET work_mem = ''64kB'''), braid.execute('a', 'DO $$BEGIN SET ROLE NONE; END$$'), count(*) FROM setting WHERE name = 'work_mem' AND setting = '64';
SELECT q->>'TimeZone' FROM braid.query('a', 'SHOW timezone') q;
ROLLBACK;
SQL
}

# ---- all nodes
{
	is($cluster->sql('hub', q{SELECT * FROM braid.execute_all('CREATE TABLE everywhere (x int)')}), "|0\na|0\nb|0", 'a row for each node, by name, this one first');
	exists_on('everywhere', 't', 't', 't', 'all nodes');
	is($cluster->sql('hub', q{SELECT * FROM braid.execute_all('INSERT INTO everywhere SELECT generate_series(1, 5)', include_local => false)}), "a|5\nb|5", 'servers only');
	is($cluster->sql('hub', 'SELECT count(*) FROM everywhere'), '0', 'not here');
	$cluster->sql('b', 'CREATE TABLE only_b (x int)');
	fails(q{SELECT * FROM braid.execute_all('CREATE TABLE only_b (x int)')}, qr/42P07: relation "only_b" already exists\n(?:.*\n)*command on server "b"/, 'one of all');
	exists_on('only_b', 'f', 'f', 't', 'the first error undoes it on all nodes');
	$cluster->sql('hub', 'CREATE SCHEMA mine');
	$cluster->sql('hub', q{SET search_path = mine; SELECT * FROM braid.execute_all('CREATE TABLE IF NOT EXISTS here (x int)')});
	is($cluster->sql('hub', q{SELECT to_regclass('mine.here')}), 'mine.here', 'the search_path of the session applies here');
	is($cluster->sql('a', q{SELECT to_regclass('public.here')}), 'here', 'that of the remote user there');
	fails(q{SELECT * FROM braid.execute_all('CREATE TABLE here.is (x int)')}, qr/3F000: schema "here" does not exist\n(?:.*\n)*CONTEXT:  command on the local server/, 'an error here');
	is($cluster->sql('hub', q{SELECT * FROM braid.execute_all('DROP TABLE everywhere')}), "|0\na|0\nb|0", 'DROP');
	exists_on('everywhere', 'f', 'f', 'f', 'gone everywhere');
}

# ---- what cannot be done
{
	fails(q{SELECT braid.execute('a', 'COMMIT')}, qr/0A000: cannot run transaction control commands\n(?:.*\n)*command on server "a"/, 'COMMIT');
	fails(q{SELECT braid.execute('a', 'SAVEPOINT s')}, qr/0A000: cannot run transaction control commands/, 'SAVEPOINT');
	fails(q{SELECT braid.execute('a', 'COPY t FROM STDIN')}, qr/0A000: cannot COPY from or to the client/, 'COPY FROM STDIN');
	fails(qq{SELECT braid.execute('a', '$_')}, qr/25001: [A-Z ]+ cannot (?:run inside a transaction block|be executed from a function)\n(?:.*\n)*command on server "a"/, $_)
	  for 'VACUUM t', 'CREATE INDEX CONCURRENTLY ON t (v)', 'CREATE DATABASE d', 'ALTER SYSTEM SET work_mem = 1';
	fails(q{SELECT braid.execute('a', 'DO $$BEGIN UPDATE t SET v = 5; COMMIT; END$$')}, qr/2D000: invalid transaction termination/, 'COMMIT in a block');
	fails(q{SELECT braid.execute('a', ' -- nothing')}, qr/22023: command must not be empty/, 'no command');
	fails(q{SELECT * FROM braid.execute_all(';')}, qr/22023: command must not be empty\n(?:.*\n)*CONTEXT:  command on the local server/, 'no command for all');
	fails(q{BEGIN READ ONLY; SELECT braid.execute('a', 'UPDATE t SET v = 5')}, qr/25006: /, 'a read-only transaction');
	fails(q{BEGIN; SELECT braid.execute('a', 'CREATE TEMP TABLE tt (x int)'), braid.execute('b', 'UPDATE t SET v = 5'); COMMIT}, qr/0A000: cannot PREPARE a transaction that has operated on temporary objects/, 'a temporary table in a two-phase transaction');
	fails(q{BEGIN; SELECT braid.execute('a', 'NOTIFY n; UPDATE t SET v = 5'), braid.execute('b', 'UPDATE t SET v = 5'); COMMIT}, qr/0A000: cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/, 'NOTIFY in a two-phase transaction');
	is($cluster->sql($_, 'SELECT count(*) FROM t WHERE v = 5'), '0', "and nothing of these is done on $_") for 'a', 'b';

	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	fails(q{SET braid.xa_ready_timeout = 0; SELECT * FROM braid.execute_all('CREATE TABLE lost (x int)')}, qr/55000: server "b" is not ready/, 'a server that is down');
	$cluster->start_again('b');
	exists_on('lost', 'f', 'f', 'f', 'nothing is done anywhere');
}

# ---- the hidden tables go with the server
{
	$cluster->sql('hub', 'DROP SERVER b CASCADE');
	is($cluster->sql('hub', "SELECT count(*) FROM pg_class WHERE relname ~ '^(enlist|execute)_' AND relkind = 'f'"), '2', 'no hidden table is left of a dropped server');
	is($cluster->sql('hub', q{SELECT * FROM braid.execute_all('CREATE TABLE last (x int)')}), "|0\na|0", 'and all are the others');
}
done_testing();
