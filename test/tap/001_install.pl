# The library, the launcher and the workers: what a server does before, during
# and after CREATE EXTENSION.
use strict;
use warnings;
use Braid::Cluster;
use Test::More;

# ---- without preloading, the error says what to do
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_stat_statements'\n");
$bare->start;
my (undef, undef, $err) = $bare->psql('postgres', 'CREATE EXTENSION braid');
like($err, qr/ERROR:  braid must be loaded when the server starts/, 'CREATE EXTENSION without preloading fails');
like($err, qr/HINT:  .*postgresql\.conf.*shared_preload_libraries = 'pg_stat_statements, braid'/, 'and says what to add to what is there');
$bare->stop;

# ---- workers start where they are needed
my $cluster = Braid::Cluster->new('hub', 'a');
my $hub = $cluster->node('hub');
my $resolvers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'braid resolver'};
ok($cluster->wait_for('hub', "$resolvers", '1'), 'a database with a server has a resolver');
is($cluster->sql('a', $resolvers), '0', 'a database without has none');
is($cluster->sql('hub', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'braid launcher'}), '1', 'one launcher');

# ---- they come back after they are terminated, and after a crash
my $pid_query = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid resolver'};
my $pid = $cluster->sql('hub', $pid_query);
$cluster->sql('hub', "SELECT pg_terminate_backend($pid)");
ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid resolver' AND pid <> $pid"), 'a terminated resolver comes back');
$cluster->sql('hub', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid launcher'});
$pid = $cluster->sql('hub', $pid_query);
$cluster->sql('hub', "SELECT pg_terminate_backend($pid)");
ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid resolver' AND pid <> $pid"), 'even when the launcher was terminated too');
$pid = $cluster->sql('hub', $pid_query);
$cluster->kill_process('hub', $pid);
ok($cluster->wait_for('hub', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid resolver' AND pid <> $pid"), 'a killed resolver comes back');

# ---- a database that is created later
$cluster->sql('hub', 'CREATE DATABASE later');
$hub->safe_psql('later', 'CREATE EXTENSION braid');
my ($host, $port) = ($cluster->node('a')->host, $cluster->node('a')->port);
$hub->safe_psql('later', "CREATE SERVER a FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '$host', port '$port', dbname 'postgres')");
ok($hub->poll_query_until('later', 'SELECT ready FROM braid.participants'), 'its resolver starts');
is($cluster->sql('hub', $resolvers), '2', 'beside the other one');

# A dump can be restored, and the copy is a coordinator of its own.
my $dump = $hub->basedir . '/later.sql';
$hub->command_ok([ 'pg_dump', '-d', $hub->connstr('later'), '-f', $dump ], 'a database with servers is dumped');
unlike(PostgreSQL::Test::Utils::slurp_file($dump), qr/enlist_/, 'without the hidden tables');
$cluster->sql('hub', 'CREATE DATABASE restored');
$hub->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $hub->connstr('restored'), '-f', $dump ], 'and restored');
ok($hub->poll_query_until('restored', 'SELECT ready FROM braid.participants'), 'and ready');

# ---- it is gone with its extension, server or database
$hub->safe_psql('restored', 'DROP SERVER a; DROP EXTENSION braid');
ok($cluster->wait_for('hub', $resolvers, '2'), 'DROP EXTENSION ends the resolver');
$hub->safe_psql('restored', 'CREATE EXTENSION braid');
is($hub->safe_psql('restored', 'SELECT count(*) FROM braid.participants'), '0', 'the extension can be created again');
$cluster->sql('hub', 'ALTER DATABASE later RENAME TO renamed');
ok($hub->poll_query_until('renamed', 'SELECT ready FROM braid.participants'), 'a database with a resolver is renamed');
$hub->safe_psql('renamed', 'DROP SERVER a');
ok($cluster->wait_for('hub', $resolvers, '1'), 'DROP SERVER of the last one ends the resolver');
$cluster->sql('hub', 'DROP DATABASE renamed');
$cluster->sql('hub', 'DROP DATABASE restored');
pass('databases are dropped');

# ---- a coordinator whose worker slots are used up says so
$cluster->sql('hub', 'ALTER SYSTEM SET max_worker_processes = 2');
$hub->restart;
$hub->wait_for_log(qr/could not start braid resolver.*no background worker slot is free/);
pass('too few worker processes are reported');
($err) = ($cluster->try_sql('hub', "SET braid.xa_ready_timeout = '100ms'; CREATE FOREIGN TABLE ft (a int) SERVER a; INSERT INTO ft VALUES (1)"))[2];
like($err, qr/server "a" is not ready.*\nDETAIL:  Reading works.*resolver/, 'and writes are refused');
$cluster->sql('hub', 'ALTER SYSTEM RESET max_worker_processes');
$hub->restart;
ok($cluster->wait_for('hub', 'SELECT ready FROM braid.participants'), 'with enough of them all is well');

done_testing();
