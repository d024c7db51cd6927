# Full disks: that of the states, that of decoding, that of WAL. Nothing becomes
# broken or wrong, the worker says what it lacks, and goes on when there is room.
# Disks are filled by test/bench/syscall_shim.c.
use strict;
use warnings;
use Braid::Bench qw(compile);
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $full = PostgreSQL::Test::Utils::tempdir() . '/full';
my $shim = eval { compile('syscall_shim.c', '-shared', '-fPIC', '-ldl') };
plan skip_all => "no C compiler: $@" if !$shim;
local $ENV{LD_PRELOAD} = $shim;
local $ENV{SHIM_FULL} = $full;

my $cluster = Braid::Cluster->new('db', { conf => "braid.capture_memory = 16MB\n" });
my $node = $cluster->node('db');
my $query = 'SELECT k, count(*) AS n, sum(x) AS total FROM t GROUP BY k';

sub sql { my ($sql) = @_; return $cluster->sql('db', $sql); }
sub state_is { my ($pattern, $what) = @_; return ok($cluster->wait_for('db', "SELECT concat_ws('|', state, last_error) ~ '^$pattern' FROM braid.views"), $what) || diag sql('TABLE braid.views'); }

# No file whose path has this part can grow.
sub fill
{
	my ($part) = @_;
	open my $fh, '>', "$full.new" or die $!;
	print $fh $part;
	close $fh;
	rename "$full.new", $full or die $!;
	return;
}
sub make_room { unlink $full or die $!; return; }

sub is_right
{
	my ($what) = @_;
	state_is('live$', "$what: live");
	is(sql("SELECT braid.wait('v', '60 s')"), 't', "$what: caught up");
	is(sql("(TABLE v EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE v)"), '', "$what: right");
	return;
}

my $space = $node->basedir . '/space_of_states';
mkdir $space or die $!;
sql("CREATE TABLESPACE space LOCATION '$space'");
sql('CREATE TABLE t (k int, x int); INSERT INTO t SELECT g % 7, g FROM generate_series(1, 1000) g');
sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW v WITH (braid.continuous) AS $query");
is_right('new');
sql('ALTER MATERIALIZED VIEW v SET TABLESPACE space');
is_right('in a tablespace');
my $since = sql('SELECT since FROM braid.views');

# ---------------------------------------------------------------- the states

fill('space_of_states');
sql('INSERT INTO t SELECT g, g FROM generate_series(1, 5000) g');
state_is('stopped.could not extend file .* No space left on device', 'the disk of the states is full: stopped, with the reason');
is(sql('SELECT count(*) FROM v'), 7, 'the view shows what it did');
sql('DELETE FROM t WHERE k % 3 = 0');
$cluster->kill_node('db');
$cluster->start_again('db');
state_is('stopped.could not extend file', 'a crash of the server does not change that');
sql('INSERT INTO t VALUES (8, 8)');
make_room();
is_right('there is room again');
is(sql('SELECT since FROM braid.views'), $since, 'nothing was rebuilt, nor broken');

# While it is rebuilt.
fill('space_of_states');
sql('INSERT INTO t SELECT g, g FROM generate_series(5001, 15000) g; REFRESH MATERIALIZED VIEW v');
ok($cluster->wait_for('db', "SELECT state IN ('stopped', 'rebuilding') FROM braid.views"), 'REFRESH on a full disk');
$node->wait_for_log(qr/ERROR: .*could not extend file .*No space left on device/, -s $node->logfile);
is(sql('SELECT count(*) > 3000 FROM v'), 't', 'the view shows what it did');
make_room();
is_right('REFRESH');

# ---------------------------------------------------------------- decoding

fill('pgsql_tmp');
my $offset = -s $node->logfile;
# Nor can the insert itself use temporary files, which a function in FROM would.
sql('INSERT INTO t SELECT g % 100, g FROM (SELECT generate_series(1, 200000) AS g) s');
ok($node->wait_for_log(qr/braid capture .*ERROR: .*No space left on device/, $offset), 'the disk of temporary files is full');
state_is('stopped.could not write to file .*pgsql_tmp.*: No space left on device', 'stopped, with the reason');
make_room();
is_right('decoded');

# ---------------------------------------------------------------- WAL

# The server cannot go on, and the views are right when it can.
fill('pg_wal');
$node->psql('postgres', "INSERT INTO t VALUES ($_, $_); SELECT pg_switch_wal()", timeout => 20) for 1 .. 8;
ok($node->wait_for_log(qr/PANIC: .*No space left on device/, $offset), 'the disk of WAL is full: the server crashes');
$node->stop('immediate', fail_ok => 1);
make_room();
$cluster->start_again('db');
sql('INSERT INTO t VALUES (9, 9)');
is_right('the server is back');
is(sql('SELECT * FROM braid.verify(\'v\')'), '', 'braid.verify() finds nothing');

done_testing();
