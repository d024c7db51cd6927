# Dumps of a database with continuous views, in all the ways that pg_dump and
# pg_restore know: what is restored is defined as it was, is rebuilt by itself, and
# follows. And what users may do to the parts of views by hand.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db');
my $node = $cluster->node('db');
my $files = PostgreSQL::Test::Utils::tempdir();
my $databases = 0;

sub in_db { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }

sub new_database
{
	my $db = 'restored_' . ++$databases;
	in_db('postgres', "CREATE DATABASE $db");
	return $db;
}

# Runs a client program against a database; returns its exit code, and keeps what it has said.
my $said;
sub run_tool
{
	my ($db, @command) = @_;
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	my $ok = IPC::Run::run([ @command, '-d', $node->connstr($db) ], '>', \my $out, '2>', \$said);
	return $ok ? 0 : 1;
}

sub dump_to
{
	my ($file, @options) = @_;
	is(run_tool('origin', 'pg_dump', '-f', "$files/$file", @options), 0, "pg_dump @options") or diag $said;
	return "$files/$file";
}

# All that is known of the views but their rows.
my $facts = <<'SQL';
SELECT v.name, v.owner, v.state, v.last_error, v.options, braid.definition(v.name), c.relacl, obj_description(v.name, 'pg_class'), col_description(v.name, 2),
	(SELECT string_agg(pg_get_indexdef(i.indexrelid), '; ' ORDER BY i.indexrelid::regclass::text) FROM braid.explain(v.name) e JOIN pg_index i ON i.indrelid = e.state),
	(SELECT settings FROM braid_internal.views WHERE view = v.name)
FROM braid.views v JOIN pg_class c ON c.oid = v.name ORDER BY v.name::text
SQL
my $kept = "WITH kept AS MATERIALIZED (SELECT name FROM braid.views WHERE options = '{}' AND state <> 'paused')";
my $wrong = "$kept SELECT name, d.* FROM kept, braid.verify(name, timeout => '30 s') d";
my $late = "$kept SELECT name FROM kept WHERE NOT braid.wait(name, '60 s')";

# The views of the database are as in the origin, right, and go on.
sub is_restored
{
	my ($db, $what, $expected) = @_;
	$expected //= in_db('origin', $facts);
	ok($node->poll_query_until($db, "SELECT count(*) > 0 AND bool_and(state IN ('live', 'paused')) FROM braid.views"), "$what: the views get live")
	  or diag in_db($db, 'TABLE braid.views');
	is(in_db($db, $facts), $expected, "$what: they are defined as before");
	is(in_db($db, $wrong), '', "$what: they are right");
	in_db($db, "INSERT INTO sales.orders SELECT coalesce(max(id), 0) + 1, 'r1', 1 FROM sales.orders; DELETE FROM sales.orders WHERE id % 100 = 7");
	is(in_db($db, $late), '', "$what: they follow");
	is(in_db($db, $wrong), '', "$what: and are still right");
	return;
}

in_db('postgres', 'CREATE ROLE shop LOGIN; CREATE ROLE reader');
in_db('postgres', 'CREATE DATABASE origin OWNER shop');
in_db('origin', 'CREATE EXTENSION braid; GRANT ALL ON SCHEMA public TO shop');
in_db('origin', <<'SQL');
SET client_min_messages = warning;
SET ROLE shop;
CREATE SCHEMA sales;
GRANT USAGE ON SCHEMA sales TO reader;
CREATE TABLE sales.orders (id int PRIMARY KEY, region text, amount numeric, ts timestamptz DEFAULT '2026-01-01');
CREATE TABLE sales.items (order_id int, n int);
INSERT INTO sales.orders SELECT g, 'r' || g % 7, g * 1.5 FROM generate_series(1, 1000) g;
INSERT INTO sales.items SELECT g % 1000, g FROM generate_series(1, 3000) g;
CREATE MATERIALIZED VIEW sales.by_region WITH (braid.continuous) AS
	SELECT region, count(*) AS n, sum(amount) AS total, max(amount) AS most FROM sales.orders GROUP BY region;
CREATE MATERIALIZED VIEW "Odd Name" WITH (braid.continuous) AS
	SELECT o.region, sum(i.n) AS n FROM sales.orders o JOIN sales.items i ON i.order_id = o.id GROUP BY o.region;
CREATE MATERIALIZED VIEW on_view WITH (braid.continuous) AS SELECT count(*) AS regions, sum(total) AS total FROM sales.by_region;
CREATE VIEW above AS SELECT region FROM sales.by_region WHERE n > 10;
CREATE INDEX by_region_desc ON sales.by_region (region DESC);
GRANT SELECT ON sales.by_region TO reader;
COMMENT ON MATERIALIZED VIEW sales.by_region IS 'orders by region';
COMMENT ON COLUMN sales.by_region.n IS 'how many';
CREATE TABLE events (ts timestamptz, x int);
CREATE MATERIALIZED VIEW kept WITH (braid.continuous, braid.watermark = 'ts - interval ''10 s''', braid.late = 'drop', braid.base_deletes = 'keep') AS
	SELECT braid.tumble(ts, '1 min') AS minute, count(*) AS n, sum(x) AS total FROM events GROUP BY 1;
INSERT INTO events SELECT timestamptz '2026-01-01' + g * interval '10 s', g FROM generate_series(1, 100) g;
SELECT braid.wait('kept', '60 s');
DELETE FROM events WHERE ts < '2026-01-01 00:10';
SET braid.allow_recompute = on;
SET timezone = 'Asia/Tokyo';
SELECT braid.create_view('recomputed', 'SELECT ts::date AS day, count(*) FROM sales.orders WHERE ts < now() GROUP BY 1', '{"schedule": "1 s"}');
SELECT braid.wait('"Odd Name"', '60 s'), braid.wait('on_view', '60 s'), braid.wait('recomputed', '60 s');
SELECT braid.pause('"Odd Name"');
SQL
ok($node->poll_query_until('origin', q{SELECT state = 'paused' AND frontier IS NOT NULL FROM braid.views WHERE name = '"Odd Name"'::regclass}), 'a view is paused');
my $paused = in_db('origin', 'TABLE "Odd Name" ORDER BY 1');

# ---------------------------------------------------------------- whole databases

my $db = new_database();
is(run_tool($db, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', dump_to('plain.sql')), 0, 'a plain dump is restored') or diag $said;
is_restored($db, 'plain');
ok($node->poll_query_until($db, 'TABLE "Odd Name" ORDER BY 1', $paused), 'a paused view shows what it did');
is(in_db($db, q{SELECT frontier IS NULL FROM braid.views WHERE name = '"Odd Name"'::regclass}), 't', 'as of a snapshot that means nothing here');
in_db($db, q{SELECT braid.resume('"Odd Name"')});
ok($node->poll_query_until($db, q{SELECT state = 'live' FROM braid.views WHERE name = '"Odd Name"'::regclass}), 'and can be resumed');
in_db($db, 'SET client_min_messages = warning; DROP MATERIALIZED VIEW "Odd Name"; DROP TABLE sales.orders, events CASCADE');
is(in_db($db, "SELECT count(*) FROM pg_class WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^(state|query|time|diverted)_'"), 0, 'nothing is left of restored views that are dropped');

my $custom = dump_to('custom', '-Fc');
$db = new_database();
is(run_tool($db, 'pg_restore', '-e', '-1', $custom), 0, 'a custom dump is restored in one transaction') or diag $said;
is_restored($db, 'custom');

# Over what is there.
is(run_tool($db, 'pg_restore', '-e', '--clean', '--if-exists', $custom), 0, 'pg_restore --clean into the database') or diag $said;
is_restored($db, '--clean');
is(run_tool($db, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-1', '-f', dump_to('clean.sql', '--clean', '--if-exists')), 0, 'a plain dump with --clean in one transaction') or diag $said;
is_restored($db, 'plain --clean');

$db = new_database();
is(run_tool($db, 'pg_restore', '-e', '-j', 4, dump_to('directory', '-Fd', '-j', 3)), 0, 'a dump in a directory is restored in parallel') or diag $said;
is_restored($db, 'parallel');

$db = new_database();
is(run_tool($db, 'pg_restore', '-e', "--section=$_", $custom), 0, "pg_restore --section=$_") or diag $said for 'pre-data', 'data', 'post-data';
is_restored($db, 'sections');

# What is nowhere but in the states.
is(in_db($db, "INSERT INTO events VALUES ('2026-01-01 00:01', 1000), ('2026-01-01 00:20', 1); SELECT braid.wait('kept', '60 s'); SELECT sum(n), sum(total) FROM kept"), "t\n101|5051",
	'groups whose rows are gone are restored, and closed');

# ---------------------------------------------------------------- parts of databases

# The rows of the extension's tables are not in a dump of the schema.
$db = new_database();
is(run_tool($db, 'pg_restore', '-e', dump_to('schema', '-Fc', '--schema-only')), 0, 'a dump of the schema is restored') or diag $said;
is_restored($db, '--schema-only');
like(($node->psql($db, 'TABLE "Odd Name"'))[2], qr/has not been populated.*braid\.resume/s, 'a paused one has no rows, and says so');
is(in_db($db, 'SELECT n FROM sales.by_region'), 1, 'the views follow from the first row on');
my $data = dump_to('data', '-Fc', '--data-only');
in_db($db, 'TRUNCATE sales.orders');
my $offset = -s $node->logfile;
is(run_tool($db, 'pg_restore', '-e', $data), 0, 'then one of the data') or diag $said;
ok($node->wait_for_log(qr/WARNING: .*rows of "state_4_\d+" are not loaded, as it is kept by continuous view "kept".*Restore schema and data together/s, $offset), 'the log says what was lost');
is_restored($db, '--data-only');

$db = new_database();
is(run_tool($db, 'pg_restore', '-e', "$files/schema"), 0, 'again, without what braid keeps') or diag $said;
is(run_tool($db, 'pg_restore', '-e', dump_to('user_data', '-Fc', '--data-only', '-N', 'braid_internal')), 0, 'data-only without braid_internal') or diag $said;
is_restored($db, '--data-only -N braid_internal');

# A new view finds an id of its own, wherever the sequence is.
in_db($db, 'CREATE MATERIALIZED VIEW one_more WITH (braid.continuous) AS SELECT count(*) FROM sales.items');
is(in_db($db, "SELECT braid.wait('one_more', '60 s'); TABLE one_more"), "t\n3000", 'a new view');

# A selection.
my @parts = ('-t', 'sales.orders', '-t', 'sales.by_region', '-t', 'braid_internal.query_1', '-t', 'braid_internal.state_1_*');
my $by_region = in_db('origin', "SELECT * FROM ($facts) f WHERE name = 'sales.by_region'::regclass" =~ s/ORDER BY v.name::text\n//r);
$db = new_database();
in_db($db, 'CREATE EXTENSION braid; CREATE SCHEMA sales; GRANT USAGE ON SCHEMA sales TO shop');
is(run_tool($db, 'pg_restore', '-e', dump_to('selection', '-Fc', @parts)), 0, 'a view with its table and its parts') or diag $said;
is_restored($db, 'selection', $by_region);

$db = new_database();
in_db($db, 'CREATE EXTENSION braid; CREATE SCHEMA sales');
run_tool($db, 'pg_restore', dump_to('view', '-Fc', '-t', 'sales.orders', '-t', 'sales.by_region'));
like($said, qr/relation "braid_internal.state_1_2" does not exist.*SELECT braid.definition\('sales.by_region'\)/s, 'without its parts it cannot be restored, and what to do is said');
in_db($db, 'DROP VIEW sales.by_region; ' . in_db('origin', "SELECT braid.definition('sales.by_region')"));
is(in_db($db, "SELECT braid.wait('sales.by_region', '60 s'); SELECT sum(n) = (SELECT count(*) FROM sales.orders) FROM sales.by_region"), "t\nt", 'the definition makes it anew');

# All but one view: its row in braid_internal.views cannot be restored, and so no row is.
$db = new_database();
run_tool($db, 'pg_restore', dump_to('exclusion', '-Fc', '-T', 'on_view', '-T', 'braid_internal.query_3', '-T', 'braid_internal.state_3_*'));
like($said, qr/relation "public.on_view" does not exist.*errors ignored on restore: 1$/s, 'a dump without one of the views');
ok($node->poll_query_until($db, "SELECT count(*) = 4 AND bool_and(state IN ('live', 'paused')) FROM braid.views"), 'the others are live');
is(in_db($db, $wrong), '', 'and right');

# ---------------------------------------------------------------- whose dump it is

$db = new_database();
is(run_tool('origin', 'pg_dump', '-U', 'shop', '-Fc', '-f', "$files/by_owner"), 0, 'the owner of the database dumps it') or diag $said;
is(run_tool($db, 'pg_restore', '-e', '--no-owner', '--no-privileges', '--no-comments', "$files/by_owner"), 0, 'a superuser makes it his own') or diag $said;
ok($node->poll_query_until($db, "SELECT count(*) = 5 AND bool_and(state IN ('live', 'paused')) FROM braid.views"), 'its views get live');
is(in_db($db, $wrong), '', 'and right');
is(in_db($db, 'SELECT DISTINCT owner = current_user::regrole FROM braid.views'), 't', 'they are his');
in_db('postgres', 'CREATE DATABASE for_shop OWNER shop');
run_tool('for_shop', 'pg_restore', '-U', 'shop', '-e', "$files/by_owner");
like($said, qr/permission denied to create extension "braid"/, 'others cannot restore it');
in_db('for_shop', 'CREATE EXTENSION braid');
run_tool('for_shop', 'pg_restore', '-U', 'shop', "$files/by_owner");
like($said, qr/permission denied for schema braid_internal/, 'nor if the extension is there');

# ---------------------------------------------------------------- parts by hand

my ($state, $query) = map { "braid_internal.$_" } 'state_1_2', 'query_1';
for my $command ("ALTER TABLE $state ADD COLUMN x int", "ALTER TABLE $state DROP COLUMN n", "ALTER TABLE $state RENAME TO x", "ALTER TABLE $state SET SCHEMA public",
	"ALTER TABLE $state OWNER TO reader", "ALTER TABLE $state SET UNLOGGED", "ALTER TABLE $state RENAME COLUMN n TO x", "DROP INDEX ${state}_key", "ALTER INDEX ${state}_key RENAME TO x",
	"TRUNCATE $state", "INSERT INTO $state (k1, n) VALUES ('x', 1)", "UPDATE $state SET n = 3", "DELETE FROM $state",
	"CREATE TRIGGER t BEFORE UPDATE ON $state FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "CREATE RULE r AS ON DELETE TO $state DO INSTEAD NOTHING", "CREATE POLICY p ON $state",
	"ALTER VIEW $query RENAME TO x", "CREATE OR REPLACE VIEW $query AS SELECT NULL::text AS region, 1::bigint AS n, NULL::numeric AS total, NULL::numeric AS most", "COMMENT ON VIEW $query IS NULL")
{
	my ($rc, $out, $err) = $node->psql('origin', "SET ROLE shop; $command");
	like($err, qr/is kept by continuous view "by_region".*Alter the view, or drop it/s, "refused: $command");
}
for my $command ("DROP TABLE $state", "DROP TABLE $state CASCADE", "DROP VIEW $query CASCADE")
{
	my ($rc, $out, $err) = $node->psql('origin', $command);
	like($err, qr/because view sales.by_region requires it.*You can drop view sales.by_region instead/s, "refused: $command");
}

# What is done to any table, while the view follows.
my $writer = IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('origin'), '-c',
	'DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE sales.orders SET amount = amount + 1 WHERE id % 50 = i % 50; COMMIT; END LOOP; END $$' ]);
in_db('origin', $_) for "VACUUM FULL $state", "REINDEX TABLE $state", "CLUSTER $state USING state_1_2_key", "REINDEX INDEX CONCURRENTLY ${state}_key", "ALTER TABLE $state SET (fillfactor = 80)", "ANALYZE $state", "VACUUM (FREEZE) $state";
ok($writer->finish, 'the writer has ended');
is(in_db('origin', "SELECT braid.wait('on_view', '60 s')"), 't', 'VACUUM FULL, REINDEX, CLUSTER: the views follow');
is(in_db('origin', $wrong), '', 'and are right');
is(in_db('origin', "SELECT DISTINCT state FROM braid.views WHERE state <> 'paused'"), 'live', 'and live');

done_testing();
