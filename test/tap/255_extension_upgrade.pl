# One version of the extension after the other, and one server after the other: that
# what ALTER EXTENSION UPDATE, a restore and pg_upgrade leave is what CREATE EXTENSION
# makes, object by object; and that views go on.
use strict;
use warnings;
use Braid::Cluster;
use File::Copy;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $share = `pg_config --sharedir`);
chomp(my $bin = `pg_config --bindir`);
my $directory = "$share/extension";
plan skip_all => "cannot write to $directory" if !-w $directory;

my $current = (PostgreSQL::Test::Utils::slurp_file("$directory/braid.control") =~ /default_version = '(.*)'/)[0];
my $previous = '0.0.9test';

# ---------------------------------------------------------------- an earlier version

# As the current one, but without a function and with other words: what the script of
# an update has to bring. And back again, which nobody needs but this test.
my $script = PostgreSQL::Test::Utils::slurp_file("$directory/braid--$current.sql");
my ($function) = $script =~ /^(CREATE FUNCTION braid\.definition\(.*?;\nCOMMENT ON FUNCTION braid\.definition.*?';\n)/ms or die 'no function to leave out';
my ($comment) = $script =~ /^(COMMENT ON FUNCTION braid\.version\(\) IS\n.*?';\n)/ms or die 'no comment to change';
my $old_comment = "COMMENT ON FUNCTION braid.version() IS 'Once upon a time';\n";
my %files = (
	"braid--$previous.sql" => $script =~ s/\Q$function\E//r =~ s/\Q$comment\E/$old_comment/r,
	"braid--$previous--$current.sql" => $function . $comment,
	"braid--$current--$previous.sql" => "DROP FUNCTION braid.definition(regclass);\n$old_comment");
END { unlink map { "$directory/$_" } keys %files if defined $directory; }
for my $name (keys %files)
{
	open my $fh, '>', "$directory/$name" or die "$name: $!";
	print $fh $files{$name};
	close $fh;
}

# ---------------------------------------------------------------- servers and databases

my $cluster = Braid::Cluster->new('db');
my $node = $cluster->node('db');
my $query = 'SELECT k, count(*) AS n, sum(x) AS total, avg(x::float8) AS mean FROM t GROUP BY k';

sub in_db { my ($db, $sql, $on) = @_; return ($on // $node)->safe_psql($db, $sql); }

sub make
{
	my ($db) = @_;
	in_db($db, "SET client_min_messages = warning; CREATE TABLE t (k int, x int); INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g;
		CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query; CREATE MATERIALIZED VIEW w WITH (braid.continuous) AS SELECT max(n) FROM v; CREATE INDEX v_n ON v (k DESC)");
	return;
}

sub is_right
{
	my ($db, $what, $on) = @_;
	in_db($db, 'INSERT INTO t VALUES (1, 1), (NULL, 2); DELETE FROM t WHERE x % 50 = 3; UPDATE t SET k = k + 1 WHERE x % 11 = 1', $on);
	ok(($on // $node)->poll_query_until($db, "SELECT bool_and(state = 'live') FROM braid.views"), "$what: live") or diag in_db($db, 'TABLE braid.views', $on);
	is(in_db($db, "SELECT name FROM braid.views WHERE NOT braid.wait(name, '60 s')", $on), '', "$what: caught up");
	is(in_db($db, "(TABLE v EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE v)", $on), '', "$what: right");
	is(in_db($db, "SELECT name, d.* FROM braid.views, braid.verify(name) d", $on), '', "$what: verified");
	return;
}

# All that there is to know of the objects of the extension, a line for each.
my $inventory = <<'SQL';
SET search_path = pg_catalog;
WITH member AS (
	SELECT d.classid, d.objid, i.type, i.identity
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid, pg_identify_object(d.classid, d.objid, 0) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'braid'),
acl AS (
	SELECT 'pg_class'::regclass AS classid, oid AS objid, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner)) AS acl FROM pg_class
	UNION ALL SELECT 'pg_proc'::regclass, oid, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
	UNION ALL SELECT 'pg_namespace'::regclass, oid, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace
	UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, coalesce(fdwacl, acldefault('F', fdwowner)) FROM pg_foreign_data_wrapper)
SELECT format('%s %s: %s', type, identity, replace(what, E'\n', ' ')) FROM (
	SELECT m.type, m.identity, 'comment ' || obj_description(objid, classid::regclass::name) AS what FROM member m
	UNION ALL
	SELECT m.type, m.identity, 'privileges ' || string_agg(DISTINCT concat_ws(' ', CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type), ', ')
	FROM member m JOIN acl USING (classid, objid), aclexplode(acl) GROUP BY 1, 2
	UNION ALL
	SELECT m.type, m.identity, CASE prokind WHEN 'a' THEN (SELECT (a - 'aggfnoid')::text FROM to_jsonb(pg_aggregate) a) ELSE pg_get_functiondef(p.oid) END
	FROM member m JOIN pg_proc p ON p.oid = m.objid LEFT JOIN pg_aggregate ON aggfnoid = p.oid WHERE m.classid = 'pg_proc'::regclass
	UNION ALL
	SELECT m.type, m.identity, concat_ws(' ', relkind, relpersistence, relreplident, relrowsecurity, reloptions, CASE relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END)
	FROM member m JOIN pg_class c ON c.oid = m.objid WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	SELECT m.type, m.identity, concat_ws(' ', 'column', attnum, attname, format_type(atttypid, atttypmod), attnotnull, attstorage, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
	FROM member m JOIN pg_attribute a ON a.attrelid = m.objid AND attnum > 0 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	SELECT m.type, m.identity, 'index ' || pg_get_indexdef(indexrelid) FROM member m JOIN pg_index ON indrelid = m.objid WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	SELECT m.type, m.identity, concat_ws(' ', 'constraint', conname, pg_get_constraintdef(o.oid)) FROM member m JOIN pg_constraint o ON conrelid = m.objid WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	SELECT m.type, m.identity, pg_get_triggerdef(o.oid) FROM member m JOIN pg_trigger o ON tgrelid = m.objid AND NOT tgisinternal WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	SELECT m.type, m.identity, concat_ws(' ', fdwhandler::regproc, fdwvalidator::regproc, fdwoptions) FROM member m JOIN pg_foreign_data_wrapper f ON f.oid = m.objid WHERE m.classid = 'pg_foreign_data_wrapper'::regclass
	UNION ALL
	SELECT m.type, m.identity, concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags) FROM member m JOIN pg_event_trigger f ON f.oid = m.objid WHERE m.classid = 'pg_event_trigger'::regclass
	UNION ALL
	SELECT 'extension', extname, concat_ws(' ', extversion, c.oid::regclass, extcondition[n]) FROM pg_extension, generate_subscripts(extconfig, 1) n, pg_class c WHERE extname = 'braid' AND c.oid = extconfig[n]) s
WHERE what IS NOT NULL ORDER BY 1
SQL

sub is_as_fresh
{
	my ($db, $what, $on) = @_;
	my %fresh = map { $_ => 1 } split /\n/, in_db('fresh', $inventory);
	my %is = map { $_ => 1 } split /\n/, in_db($db, $inventory, $on);
	is(join("\n", grep { !$is{$_} } sort keys %fresh), '', "$what: nothing is missing");
	is(join("\n", grep { !$fresh{$_} } sort keys %is), '', "$what: nothing is more, or other");
	return;
}

in_db('postgres', 'CREATE DATABASE fresh');
in_db('fresh', 'CREATE EXTENSION braid');
my $objects = () = in_db('fresh', $inventory) =~ /\n/g;
cmp_ok($objects, '>', 300, 'the inventory tells a lot');

# ---------------------------------------------------------------- ALTER EXTENSION UPDATE

# From each version that can be installed.
my @versions = split /\n/, in_db('fresh', "SELECT version FROM pg_available_extension_versions WHERE name = 'braid' AND version <> '$current' ORDER BY 1");
ok((grep { $_ eq $previous } @versions), 'there is an earlier version');
for my $version (@versions)
{
	my $db = 'from_' . ($version =~ s/\W/_/gr);
	in_db('postgres', "CREATE DATABASE $db");
	in_db($db, "CREATE EXTENSION braid VERSION '$version'");
	isnt(in_db($db, $inventory), in_db('fresh', $inventory), "version $version is not the current one");
	my $offset = -s $node->logfile;
	make($db);
	ok($node->poll_query_until($db, "SELECT state = 'stopped' AND last_error = 'extension \"braid\" has version $version in this database, its library version $current' FROM braid.views WHERE name = 'v'::regclass"), 'no worker runs before the update, and braid.views says why')
	  or diag in_db($db, 'TABLE braid.views');
	ok($node->wait_for_log(qr/LOG: .*extension "braid" has version $version in this database.*Run: ALTER EXTENSION braid UPDATE/s, $offset), 'and the log says what to do');
	in_db($db, 'ALTER EXTENSION braid UPDATE');
	is(in_db($db, "SELECT extversion = braid.version() FROM pg_extension WHERE extname = 'braid'"), 't', "from $version to the current one");
	is_as_fresh($db, "updated from $version");
	is_right($db, "updated from $version");
}

# A database in which views live: they go on from where they were.
make('postgres');
is_right('postgres', 'views');
my $since = in_db('postgres', 'SELECT max(since) FROM braid.views');
my ($rc, $out, $err) = $node->psql('postgres', "ALTER EXTENSION braid UPDATE TO '$previous'");
like($err, qr/WARNING: .*has version $previous in this database.*Restart the server, so that it loads the new library/s, 'a version that is not the library\'s needs a restart');
$node->restart;
in_db('postgres', 'INSERT INTO t VALUES (3, 3)');
ok($node->poll_query_until('postgres', "SELECT bool_and(state = 'stopped') FROM braid.views"), 'no worker runs meanwhile');
in_db('postgres', 'ALTER EXTENSION braid UPDATE');
is_right('postgres', 'ALTER EXTENSION UPDATE');
is(in_db('postgres', 'SELECT max(since) FROM braid.views'), $since, 'nothing was rebuilt');

# ---------------------------------------------------------------- restored

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', $dump);
in_db('postgres', 'CREATE DATABASE restored');
PostgreSQL::Test::Utils::system_or_bail('pg_restore', '-e', '-d', $node->connstr('restored'), $dump);
is_as_fresh('restored', 'restored');
is_right('restored', 'restored');

# ---------------------------------------------------------------- pg_upgrade

# To a server of the same version, which PostgreSQL allows: all that it does with the
# catalogs it does here, too.
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'braid'\nwal_level = logical\nmax_worker_processes = 16\nmax_replication_slots = 16\nlog_line_prefix = '%m [%p] %b %a '");
my $filenode = in_db('postgres', "SELECT pg_relation_filepath(state::oid) FROM braid.explain('v') WHERE state IS NOT NULL");
in_db('postgres', "SELECT braid.pause('w')");
$node->stop;
chdir PostgreSQL::Test::Utils::tempdir() or die $!;
my $ok = IPC::Run::run([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin, '-s', $new->host, '-p', $node->port, '-P', $new->port ], '>', \$out, '2>&1');
ok($ok, 'pg_upgrade') or diag $out;
unlike(PostgreSQL::Test::Utils::slurp_file($_), qr/braid (launcher|capture)/, "no worker ran in pg_upgrade's servers") for glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log');
$new->start;
is(in_db('postgres', "SELECT state, count(*) FROM braid.views WHERE name = 'w'::regclass GROUP BY 1", $new), 'paused|1', 'a paused view is paused');
ok($new->wait_for_log(qr/replication slot "braid_\w+" is missing or lost.*All continuous views of the database are rebuilt/s), 'the slot has stayed behind, and the log says so');
in_db('postgres', "SELECT braid.resume('w')", $new);
is_right('postgres', 'after pg_upgrade', $new);
is(in_db('postgres', "SELECT pg_get_indexdef('braid_internal.v_n'::regclass) ~ 'DESC'", $new), 't', 'an index has come along');
isnt(($new->psql('postgres', 'DROP TABLE braid_internal.state_1_2'))[0], 0, 'the parts are bound to the view again');
$node->start;
is_as_fresh('postgres', 'after pg_upgrade', $new);

done_testing();
