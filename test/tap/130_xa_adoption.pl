# Wrappers that exist are adopted and released; what is dropped takes no user's
# servers along, and nothing that an unfinished transaction needs.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => "braid.xa_recovery_interval = '1h'\n" });
my $hub = $cluster->node('hub');
my $user = getpwuid($<);
$cluster->sql($_, 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g') for 'a', 'b';

# Servers as they are where nobody has heard of braid.
$cluster->sql('hub', 'DROP SERVER a, b CASCADE; CREATE EXTENSION postgres_fdw');
sub plain_server
{
	my ($db, $wrapper, $name, $to, $options) = @_;
	my $node = $cluster->node($to);
	$hub->safe_psql($db, <<"SQL");
CREATE SERVER $name FOREIGN DATA WRAPPER $wrapper OPTIONS (host '@{[ $node->host ]}', port '@{[ $node->port ]}', dbname 'postgres' $options);
CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (user '$user');
CREATE FOREIGN TABLE t_$name (id int, v int) SERVER $name OPTIONS (table_name 't');
SQL
	return;
}
plain_server('postgres', 'postgres_fdw', 'a', 'a', '');
plain_server('postgres', 'postgres_fdw', 'b', 'b', q{, parallel_commit 'false'});
my $both = 'BEGIN; UPDATE t_a SET v = v + 1 WHERE id = 1; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT;';
my $decisions = 'SELECT count(*) FROM braid_internal.decisions';
my $handler = q{SELECT fdwhandler::regproc FROM pg_foreign_data_wrapper WHERE fdwname = 'postgres_fdw'};
my $options = q{SELECT string_agg(srvname || ':' || o.option_value, ' ' ORDER BY srvname) FROM pg_foreign_server, pg_options_to_table(srvoptions) o WHERE option_name = 'parallel_commit'};

sub fails
{
	my ($name, $sql, $pattern, $what) = @_;
	my (undef, undef, $err) = $cluster->node($name)->psql('postgres', "\\set VERBOSITY verbose\n$sql", on_error_stop => 1);
	like($err, $pattern, $what);
	return;
}

sub wait_ready
{
	$cluster->wait_for('hub', 'SELECT count(*) = 2 FROM braid.participants WHERE ready') or die 'servers do not get ready';
	return;
}

# ---- what can be adopted, and by whom
fails('hub', "SELECT braid.adopt('nonsense')", qr/ERROR:  42704: foreign-data wrapper "nonsense" does not exist/, 'no such wrapper');
$cluster->sql('hub', 'CREATE FOREIGN DATA WRAPPER bare; CREATE ROLE nobody; GRANT EXECUTE ON FUNCTION braid.adopt(name), braid.release(name) TO nobody');
fails('hub', "SELECT braid.adopt('bare')", qr/ERROR:  42809: foreign-data wrapper "bare" cannot be adopted.*\nDETAIL:  It has no handler/, 'a wrapper of another kind');
fails('hub', "SET ROLE nobody; SELECT braid.adopt('postgres_fdw')", qr/ERROR:  42501:/, 'adopting takes a superuser');
fails('hub', "SET ROLE nobody; SELECT braid.release('postgres_fdw')", qr/ERROR:  42501:/, 'releasing as well');
fails('hub', "SELECT braid.release('postgres_fdw')", qr/ERROR:  55000: foreign-data wrapper "postgres_fdw" is not adopted/, 'what was not adopted is not released');
fails('hub', "SELECT braid.release('braid_fdw')", qr/ERROR:  55000:/, 'nor is braid_fdw');

# ---- sessions that have used the wrapper before, and one that is in the middle of it
{
	my $cached = $hub->background_psql('postgres');
	$cached->query_safe('PREPARE p AS UPDATE t_a SET v = v + 1 WHERE id = 1');
	$cached->query_safe('EXECUTE p') for 1 .. 7;
	$cached->query_safe('UPDATE t_b SET v = v + 7 WHERE id = 1');
	my $open = $hub->background_psql('postgres');
	$open->query_safe('BEGIN; UPDATE t_a SET v = 100 WHERE id = 2; UPDATE t_b SET v = 100 WHERE id = 2');
	my $reader = $hub->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT sum(v) FROM t_a');

	my $adopt = $cluster->start_sql('hub', "SET application_name = 'adopt'; SELECT braid.adopt('postgres_fdw')");
	ok($cluster->wait_for('hub', q{SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'adopt'}), 'adoption waits for a transaction that has written through the wrapper');
	is($cluster->sql('hub', 'SELECT count(*) FROM t_a'), '10', 'readers go on');
	$open->query_safe('UPDATE t_b SET v = 101 WHERE id = 2; COMMIT');
	unlike($cluster->finish_sql($adopt), qr/WARNING|ERROR/, 'then it is done, without a warning');
	is($cluster->sql('hub', $handler), 'braid.braid_fdw_handler', 'the wrapper has braid\'s handler');
	is($cluster->sql('hub', $options), 'a:true b:false', 'servers get parallel_commit, unless they have it');
	wait_ready();

	is($cluster->sql('hub', $decisions), '0', 'no transaction was atomic until now');
	$cached->query_safe('BEGIN; EXECUTE p; UPDATE t_b SET v = v + 1 WHERE id = 1; COMMIT');
	is($cluster->sql('hub', $decisions), '1', 'a session with a cached plan writes atomically from now on');
	$open->query_safe($both);
	is($cluster->sql('hub', $decisions), '2', 'and so does the one that was open');
	$reader->query_safe('UPDATE t_a SET v = v + 1 WHERE id = 3; UPDATE t_b SET v = v + 1 WHERE id = 3; COMMIT');
	is($cluster->sql('hub', $decisions), '3', 'a transaction that has only read before is atomic when it writes');
	is($cluster->sql($_, 'SELECT v FROM t WHERE id = 1'), '9', "the values are right on $_") for 'a', 'b';
	fails('hub', "SELECT braid.adopt('postgres_fdw')", qr/NOTICE:.*uses the handler of braid already/, 'adopting again does nothing');
	$_->quit for $cached, $open, $reader;
}

# ---- what an unfinished transaction needs is not dropped
{
	$cluster->sql('hub', "CREATE USER MAPPING FOR braid_resolver SERVER b OPTIONS (user 'braid_resolver'); CREATE USER MAPPING FOR nobody SERVER b OPTIONS (user 'nobody')");
	$cluster->sql('hub', "CREATE ROLE owner; ALTER SERVER b OWNER TO owner; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO owner; ALTER SERVER b OWNER TO CURRENT_USER");
	wait_ready();
	my $hold = sub {
		$cluster->failpoint('hub', 'xa-committed', 'wait');
		my $psql = $cluster->start_sql('hub', $both);
		$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
		return $psql;
	};
	my $psql = $hold->();
	$cluster->kill_node('b');
	$cluster->wait_for('hub', "SELECT NOT ready FROM braid.participants WHERE server = 'b'");
	$cluster->failpoint('hub', 'xa-committed', 'off');
	like($cluster->finish_sql($psql), qr/is committed, but not yet on all servers/, 'a transaction is in doubt');

	my %refused = (
		'DROP SERVER b CASCADE' => 'server "b"',
		'DROP FOREIGN DATA WRAPPER postgres_fdw CASCADE' => 'server "b"',
		'DROP EXTENSION postgres_fdw CASCADE' => 'server "b"',
		'DROP EXTENSION braid CASCADE' => 'server "b"',
		'DROP EXTENSION braid' => 'server "b"',
		"SELECT braid.release('postgres_fdw')" => 'handler of server "b"',
		'ALTER FOREIGN DATA WRAPPER postgres_fdw HANDLER postgres_fdw_handler' => 'handler of server "b"',
		'DROP USER MAPPING FOR braid_resolver SERVER b' => 'user mapping of role "braid_resolver" for server "b"',
		'DROP OWNED BY braid_resolver' => 'user mapping of role "braid_resolver" for server "b"',
	);
	my $check = sub {
		my ($when) = @_;
		fails('hub', "SET braid.xa_ready_timeout = 0; $_", qr/ERROR:  55006: cannot .*\Q$refused{$_}\E because a global transaction has an unfinished branch on it\nHINT:/, "$when: $_") for sort keys %refused;
	};
	$check->('in doubt');
	is($cluster->try_sql('hub', 'BEGIN; DROP USER MAPPING FOR nobody SERVER b; ROLLBACK'), 0, 'other mappings can be dropped');
	$cluster->kill_node('hub');
	$cluster->start_again('hub');
	$cluster->wait_for('hub', "SELECT clean_before IS NOT NULL FROM braid_internal.xa_nodes() n JOIN pg_foreign_server s ON s.oid = n.server WHERE s.srvname = 'a'");
	$check->('unchecked');
	$cluster->start_again('b');
	wait_ready();
	ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'it is finished');
	is($cluster->sql('b', 'SELECT v FROM t WHERE id = 1'), '10', 'and committed');

	$psql = $hold->();
	fails('a', 'DROP EXTENSION braid CASCADE', qr/ERROR:  55006: cannot drop extension "braid" because prepared transaction "braid:[^"]*" is a branch/, 'a participant keeps the extension too');
	$cluster->failpoint('hub', 'xa-committed', 'off');
	$cluster->finish_sql($psql);
	is($cluster->try_sql('hub', 'DROP USER MAPPING FOR braid_resolver SERVER b; DROP USER MAPPING FOR nobody SERVER b'), 0, 'then mappings can be dropped');
}

# ---- release, and adoption of a wrapper of another name
{
	my $cached = $hub->background_psql('postgres');
	$cached->query_safe($both);
	my $before = $cluster->sql('hub', $decisions);
	my (undef, undef, $err) = $cluster->try_sql('hub', "SELECT braid.release('postgres_fdw')");
	like($err, qr/^psql:<stdin>:1: NOTICE:  foreign-data wrapper "postgres_fdw" is released.*\s*$/, 'a wrapper is released');
	is($cluster->sql('hub', $handler), 'postgres_fdw_handler', 'and has its own handler back');
	is($cluster->sql('hub', $options), 'b:false', 'servers lose what adoption has set, and nothing else');
	is($cluster->sql('hub', "SELECT count(*) FROM pg_class WHERE relname ~ '^(enlist|execute)_[0-9]'"), '0', 'hidden tables are gone');
	$cached->query_safe($both);
	is($cluster->sql('hub', $decisions), $before, 'a session that has used it does not write atomically any more');
	is($cluster->sql('hub', 'SELECT count(*) FROM braid.participants'), '0', 'its servers do not take part');
	$cached->quit;

	$cluster->sql('hub', "SELECT braid.adopt('postgres_fdw'); ALTER SERVER a OPTIONS (SET parallel_commit 'false')");
	$cluster->sql('hub', 'ALTER FOREIGN DATA WRAPPER postgres_fdw RENAME TO pg');
	wait_ready();
	$cluster->sql('hub', "SELECT braid.release('pg'); ALTER FOREIGN DATA WRAPPER pg RENAME TO postgres_fdw");
	is($cluster->sql('hub', $options), 'a:false b:false', 'what was changed since adoption is kept; a renamed wrapper is known');

	$cluster->sql('hub', "CREATE SCHEMA elsewhere; CREATE FOREIGN DATA WRAPPER mine HANDLER postgres_fdw_handler VALIDATOR postgres_fdw_validator; SELECT braid.adopt('mine'); ALTER EXTENSION postgres_fdw SET SCHEMA elsewhere; SELECT braid.release('mine')");
	is($cluster->sql('hub', "SELECT fdwhandler::regproc FROM pg_foreign_data_wrapper WHERE fdwname = 'mine'"), 'elsewhere.postgres_fdw_handler', 'the handler is found where it is now');
	$cluster->sql('hub', "SELECT braid.adopt('mine'); DROP FOREIGN DATA WRAPPER mine; ALTER EXTENSION postgres_fdw SET SCHEMA public");
	is($cluster->sql('hub', 'SELECT count(*) FROM braid_internal.adoptions'), '0', 'the record goes with its wrapper');
}

# ---- a dump carries the record, but not the handler
{
	$cluster->sql('hub', "SELECT braid.adopt('postgres_fdw')");
	wait_ready();
	$cluster->sql('hub', 'CREATE DATABASE restored TEMPLATE template0');
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
	$hub->command_ok([ 'pg_dump', '-f', $dump, '-d', $hub->connstr('postgres') ], 'pg_dump');
	my ($out, $err) = run_command([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $hub->connstr('restored'), '-f', $dump ]);
	like($err, qr/WARNING:  foreign-data wrapper "postgres_fdw" is not adopted any more.*\nHINT:.*braid\.adopt\('postgres_fdw'\)/, 'whoever restores it is told');
	unlike($err, qr/ERROR/, 'and nothing else');
	is($hub->safe_psql('restored', 'SELECT server, ready, reason, advice FROM braid.participants ORDER BY 1 LIMIT 1'),
		q{a|f|its foreign-data wrapper "postgres_fdw" is not adopted any more: writes are NOT atomic|Run SELECT braid.adopt('postgres_fdw').}, 'braid.participants says so');
	my $offset = -s $hub->logfile;
	$hub->restart;
	ok($hub->wait_for_log(qr/WARNING:  foreign-data wrapper "postgres_fdw" is not adopted any more.*\n.*HINT:.*in database "restored"/, $offset), 'and the log, at each start');
	$hub->safe_psql('restored', "SELECT braid.adopt('postgres_fdw')");
	ok($hub->poll_query_until('restored', 'SELECT count(*) = 2 FROM braid.participants WHERE ready'), 'braid.adopt() mends it');
	$hub->safe_psql('restored', $both);
	is($hub->safe_psql('restored', $decisions), '1', 'and transactions are atomic again');
	is($hub->safe_psql('restored', $options), 'a:false b:false', 'options are as they were');
}

# ---- DROP EXTENSION takes nobody's servers along
{
	my $servers = 'SELECT string_agg(srvname::text, \',\' ORDER BY srvname) FROM pg_foreign_server';
	my $drop = sub { my ($sql) = @_; my ($rc, undef, $err) = $hub->psql('restored', $sql, on_error_stop => 1); return "$rc $err"; };
	plain_server('restored', 'braid_fdw', 'c', 'a', '');
	$hub->poll_query_until('restored', "SELECT ready FROM braid.participants WHERE server = 'c'");
	like($drop->("DROP EXTENSION braid$_"), qr/^3 .*cannot drop extension "braid" because servers use it\nDETAIL:.*"braid_fdw": "c"\.\nHINT:.*Drop these servers first/s, "with servers of braid_fdw, DROP EXTENSION$_ is refused") for '', ' CASCADE';
	$hub->safe_psql('restored', 'DROP SERVER c CASCADE');
	like($drop->('DROP EXTENSION braid'), qr/^3 .*cannot drop extension "braid" because foreign-data wrapper "postgres_fdw" has adopted its handler\nDETAIL:.*"a", "b"\.\nHINT:  Run SELECT braid\.release\('postgres_fdw'\) first/s, 'with adopted servers it is refused');
	like($drop->('DROP EXTENSION braid CASCADE'), qr/^0 .*NOTICE:  foreign-data wrapper "postgres_fdw" is released/s, 'with CASCADE it releases them');
	is($hub->safe_psql('restored', $servers), 'a,b', 'and keeps them');
	$hub->safe_psql('restored', $both);
	$hub->safe_psql('restored', "CREATE EXTENSION braid; SELECT braid.adopt('postgres_fdw')");
	ok($hub->poll_query_until('restored', 'SELECT count(*) = 2 FROM braid.participants WHERE ready'), 'they can be adopted again');
	like($drop->('DROP EXTENSION postgres_fdw CASCADE'), qr/^0 /, 'DROP EXTENSION postgres_fdw CASCADE');
	is($hub->safe_psql('restored', "SELECT (SELECT count(*) FROM pg_foreign_server WHERE srvname <> 'braid_stream'), (SELECT count(*) FROM pg_extension WHERE extname = 'braid'), (SELECT count(*) FROM braid_internal.adoptions)"), '0|1|0', 'takes its servers, and leaves braid alone');
	$hub->safe_psql('restored', "CREATE SCHEMA s; CREATE EXTENSION postgres_fdw SCHEMA s; SELECT braid.adopt('postgres_fdw')");
	like($drop->('DROP EXTENSION braid'), qr/^0 /, 'an adopted wrapper without servers is not in the way');
	$hub->safe_psql('restored', "CREATE EXTENSION braid; SELECT braid.adopt('postgres_fdw')");
	plain_server('restored', 'postgres_fdw', 'd', 'a', '');
	$hub->poll_query_until('restored', "SELECT ready FROM braid.participants WHERE server = 'd'");
	like($drop->('DROP SCHEMA s CASCADE'), qr/^0 /, 'DROP SCHEMA that takes the wrapper along');
	is($hub->safe_psql('restored', "SELECT (SELECT count(*) FROM pg_foreign_server WHERE srvname <> 'braid_stream'), (SELECT count(*) FROM pg_extension WHERE extname = 'braid')"), '0|1', 'leaves braid alone as well');
}
done_testing();
