# Braid::Cluster: several PostgreSQL servers with braid, for tests.
#
#   my $cluster = Braid::Cluster->new('hub', 'a', 'b');   # hub coordinates
#   $cluster->sql('hub', 'SELECT 1');
#
# Every node is a PostgreSQL::Test::Cluster node with braid preloaded and
# created in the database "postgres". The first node has a foreign server named
# after each of the others, with a user mapping for everybody. Nodes listen on
# Unix sockets only.
package Braid::Cluster;

use strict;
use warnings;
use Braid::Client;
use Braid::Template;
use PostgreSQL::Test::Cluster;
use IPC::Run;
use List::Util qw(min);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $settings = <<'CONF';
shared_preload_libraries = 'braid'
wal_level = logical
max_prepared_transactions = 100
max_connections = 100
max_worker_processes = 16
max_replication_slots = 16
max_wal_senders = 8
log_statement = none
log_line_prefix = '%m [%p] %b %a '
restart_after_crash = on
CONF

my $is_ready = qr/database system is ready to accept connections/;

# A server of its own with braid preloaded, started, without the extension.
sub start_node
{
	my ($class, $name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	Braid::Template::init($node);
	$node->append_conf('postgresql.conf', $settings . ($conf // ''));
	$node->start;
	return $node;
}

# new(names..., { conf => "lines for postgresql.conf of all nodes" })
sub new
{
	my ($class, @names) = @_;
	my $options = ref $names[-1] ? pop @names : {};
	my $self = bless { names => [@names], nodes => {} }, $class;
	for my $name (@names)
	{
		$self->{nodes}{$name} = $class->start_node($name, $options->{conf});
		$self->sql($name, 'CREATE EXTENSION braid');
	}
	my ($hub, @participants) = @names;
	$self->connect_server($hub, $_) for @participants;
	return $self;
}

sub node { my ($self, $name) = @_; return $self->{nodes}{$name}; }

# The names of all nodes, the coordinator first.
sub names { my ($self) = @_; return @{ $self->{names} }; }

# Runs SQL on a node and returns what psql prints; dies on an error.
sub sql
{
	my ($self, $name, $sql) = @_;
	return needs_psql($sql) ? $self->node($name)->safe_psql('postgres', $sql) : $self->ask($name, $sql);
}

# Several statements, or what may be a command of psql's or its business.
sub needs_psql { my ($sql) = @_; return $sql =~ /;\s*\S|\\|\bSTDIN\b|\bSTDOUT\b/i; }

# The same as sql() for a single statement, in less time.
sub ask
{
	my ($self, $name, $sql) = @_;
	my $answer = Braid::Client->once($self->node($name), $sql);
	die "error running SQL on $name: $sql\n" . Braid::Client::describe($answer) . "\n" if $answer->{error} || $answer->{lost};
	return join "\n", map { join '|', map { $_ // '' } @$_ } @{ $answer->{rows} };
}

# Runs SQL on a node; returns (exit code, stdout, stderr).
sub try_sql
{
	my ($self, $name, $sql) = @_;
	return $self->node($name)->psql('postgres', $sql, on_error_stop => 1);
}

# Makes a foreign server for node $to on node $from, named after $to.
sub connect_server
{
	my ($self, $from, $to) = @_;
	my ($host, $port) = ($self->node($to)->host, $self->node($to)->port);
	$self->sql($from, <<"SQL");
CREATE SERVER $to FOREIGN DATA WRAPPER braid_fdw
	OPTIONS (host '$host', port '$port', dbname 'postgres');
CREATE USER MAPPING FOR PUBLIC SERVER $to OPTIONS (user '@{[ getpwuid($<) . '' ]}');
SQL
	return;
}

# Copies a node's files by pg_basebackup into a new one, which is not started.
# With streaming it is a standby of the first.
sub copy_node
{
	my ($self, $from, $name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$self->node($from)->backup("for_$name");
	$node->init_from_backup($self->node($from), "for_$name", %options);
	$self->{nodes}{$name} = $node;
	return $node;
}

# Starts a physical standby of a node and waits until it streams.
sub add_standby
{
	my ($self, $primary, $name, $synchronous) = @_;
	$self->copy_node($primary, $name, has_streaming => 1)->start;
	$self->wait_for($primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = '$name' AND state = 'streaming'") or die "$name does not stream";
	return if !$synchronous;
	$self->sql($primary, "ALTER SYSTEM SET synchronous_standby_names = '$name'");
	$self->sql($primary, 'SELECT pg_reload_conf()');
	$self->wait_for($primary, "SELECT sync_state = 'sync' FROM pg_stat_replication WHERE application_name = '$name'") or die "$name is not synchronous";
	return;
}

# Makes a standby the primary, after its old one was killed.
sub promote
{
	my ($self, $name) = @_;
	$self->node($name)->promote;
	return;
}

# Waits until so many servers of a node are ready.
sub wait_ready
{
	my ($self, $name, $count) = @_;
	$self->wait_for($name, "SELECT count(*) = $count FROM braid.participants WHERE ready") or die "servers of $name do not get ready";
	return;
}

# Sessions that each run transactions one after the other, each of which inserts
# its key through all of the tables, until they are told to end or one fails. The
# keys of those that were reported committed are in the result of stop_journal().
sub start_journal
{
	my ($self, $name, $sessions, @tables) = @_;
	my @handles;
	for my $session (1 .. $sessions)
	{
		my $sql = "\\set ON_ERROR_STOP 1\n";
		for my $n (1 .. 4000)
		{
			my $key = "$name-$$-" . ++$self->{journal_keys};
			$sql .= 'BEGIN; ' . join(' ', map { "INSERT INTO $_ VALUES ('$key');" } @tables) . " COMMIT;\n\\echo $key\n";
		}
		push @handles, $self->start_sql($name, $sql);
	}
	return \@handles;
}

# Ends the sessions, if they have not failed yet; returns the keys reported committed.
sub stop_journal
{
	my ($self, $handles) = @_;
	my @keys;
	for my $handle (@$handles)
	{
		(my $file = $handle->{error}) =~ s/\.err$/.out/;
		$handle->{run}->signal('INT') if $handle->{run}->pumpable;
		$handle->{run}->finish;
		push @keys, split /\n/, PostgreSQL::Test::Utils::slurp_file($file);
	}
	return @keys;
}

# Waits until the query on the node returns what is expected (default: t).
sub wait_for
{
	my ($self, $name, $query, $expected) = @_;
	return $self->node($name)->poll_query_until('postgres', $query, $expected // 't') if needs_psql($query);
	my $last;
	return 1 if until_true(sub { $last = eval { $self->ask($name, $query) } // $@; return $last eq ($expected // 't'); });
	diag "$name did not say in time what is waited for: $query\nlast answer:\n$last";
	return 0;
}

# Asks again and again, less often as time goes by. Returns whether it has become true in time.
sub until_true
{
	my ($is_true) = @_;
	my $began = time;
	while (!$is_true->())
	{
		my $passed = time - $began;
		return 0 if $passed > $PostgreSQL::Test::Utils::timeout_default;
		select undef, undef, undef, min(0.1, 0.01 + $passed / 10);
	}
	return 1;
}

# Waits until a node's log has such a text behind the offset.
sub wait_for_log
{
	my ($self, $name, $pattern, $offset) = @_;
	my $log = $self->node($name)->logfile;
	return until_true(sub { return PostgreSQL::Test::Utils::slurp_file($log, $offset) =~ $pattern }) || die "node $name does not log $pattern";
}

# SIGKILL to one process of the node. Returns when the server has restarted by
# itself: asking for a connection would not do, as it can succeed before the
# postmaster has noticed.
sub kill_process
{
	my ($self, $name, $pid) = @_;
	my $offset = -s $self->node($name)->logfile;
	kill 'KILL', $pid;
	$self->wait_for_log($name, $is_ready, $offset);
	return;
}

# A signal, TERM or KILL, to one process of the node, at random, of those that pg_stat_activity shows
# under a condition. Returns whether there was one; after KILL, when the server has restarted.
sub end_some
{
	my ($self, $name, $condition, $signal) = @_;
	my @pids = split /\n/, eval { $self->sql($name, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND $condition") } // '';
	return 0 if !@pids;
	my $pid = $pids[ rand @pids ];
	if ($signal eq 'KILL') { $self->kill_process($name, $pid); }
	else { kill $signal, $pid; }
	return 1;
}

# Has the process ended? It may stand in the process table until it is collected.
sub has_ended
{
	my ($pid) = @_;
	return 1 if kill(0, $pid) == 0;
	open my $fh, '<', "/proc/$pid/stat" or return 0;
	my $stat = <$fh> // '';
	return $stat =~ /^\d+ \(.*\) Z/ ? 1 : 0;
}

# SIGKILL to the postmaster, whose processes notice and end, which may still do what they
# are about to; or, "at_once", to all of them. Returns when they have ended. A start
# would take a postmaster that nobody has collected yet for alive (and some systems take
# seconds for that): its lock files get to name a process that does not exist; the
# rest, by which shared memory is known, stays.
sub kill_node
{
	my ($self, $name, %options) = @_;
	my $node = $self->node($name);
	my $pid = $node->{_pid};
	kill 'STOP', $pid if $options{at_once};
	my @pids = ($pid, split ' ', `ps -o pid= --ppid $pid`);
	kill 'STOP', @pids if $options{at_once};
	$node->kill9;
	kill 'KILL', @pids if $options{at_once};
	for (1 .. 6000)
	{
		last if !grep { !has_ended($_) } @pids;
		select undef, undef, undef, 0.005;
	}
	die "processes of node $name do not end" if grep { !has_ended($_) } @pids;
	return if kill(0, $pid) == 0;

	my $gone = fork // die $!;
	POSIX::_exit(0) if $gone == 0;
	waitpid $gone, 0;
	for my $file ($node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock')
	{
		my $text = PostgreSQL::Test::Utils::slurp_file($file);
		$text =~ s/^\d+/$gone/;
		open my $fh, '>', $file or die "$file: $!";
		print $fh $text;
		close $fh;
	}
	return;
}

# Starts a node that was killed. Its old processes may need a moment to let go
# of shared memory.
sub start_again
{
	my ($self, $name) = @_;
	for (1 .. 300)
	{
		return if $self->node($name)->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
	}
	die "node $name cannot be started";
}

# Waits until the node accepts connections again after a crash of a backend.
sub wait_alive
{
	my ($self, $name) = @_;
	return $self->wait_for($name, 'SELECT true') || die "node $name does not come back";
}

# A script for pgbench, in a file; returns the file's name.
sub write_script
{
	my ($self, $text) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	open my $fh, '>', $file or die "$file: $!";
	print $fh $text;
	close $fh;
	return $file;
}

# Runs SQL on a node in the background; returns a handle for finish_sql().
sub start_sql
{
	my ($self, $name, $sql) = @_;
	my $file = $self->write_script($sql);
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $self->node($name)->connstr('postgres'), '-f', $file ],
		'>', "$file.out", '2>', "$file.err");
	return { run => $run, output => "$file.out", error => "$file.err" };
}

# Waits until it has ended; returns what psql said on its standard error.
sub finish_sql
{
	my ($self, $handle) = @_;
	$handle->{run}->finish;
	return PostgreSQL::Test::Utils::slurp_file($handle->{error});
}

# Runs pgbench with the script against a node until stop_load(), again and again
# if it fails, as it does when the node crashes. Returns a handle.
sub start_load
{
	my ($self, $name, $script, $clients) = @_;
	my $file = $self->write_script($script);
	my $flag = "$file.stop";
	my $node = $self->node($name);
	my $command = sprintf q{while [ ! -e %s ]; do pgbench -n -c %d -T 1 -f %s -h %s -p %d postgres >>%s.out 2>&1 & echo $! >%s.pid; wait; sleep 0.05; done},
	  $flag, $clients, $file, $node->host, $node->port, $file, $file;
	return { run => IPC::Run::start([ 'sh', '-c', $command ]), flag => $flag, output => "$file.out", pid => "$file.pid" };
}

# Ends a load; returns how many transactions it has committed. By this signal pgbench
# learns that its second has passed.
sub stop_load
{
	my ($self, $load) = @_;
	open my $fh, '>', $load->{flag} or die $!;
	close $fh;
	my ($pid) = -e $load->{pid} ? PostgreSQL::Test::Utils::slurp_file($load->{pid}) =~ /(\d+)/ : ();
	kill 'ALRM', $pid if $pid;
	$load->{run}->finish;
	my $output = PostgreSQL::Test::Utils::slurp_file($load->{output});
	my $total = 0;
	$total += $1 while $output =~ /number of transactions actually processed: (\d+)/g;
	return $total;
}

# Arms a failpoint on a node: in all processes, or in the session with this pid.
# One that crashes can be reached before the arming session has its answer.
sub failpoint
{
	my ($self, $name, $point, $action, $pid) = @_;
	$pid //= 0;
	my $sql = "SELECT braid_internal.failpoint_set('$point', '$action', $pid)";
	my ($rc, undef, $error) = $self->try_sql($name, $sql);
	die "failpoint $point: $error" if $rc != 0 && ($action ne 'crash' || $error !~ /connection|crash/);
	return;
}

# Arms a failpoint to crash, does what may lead there, and waits until the server has
# crashed and restarted by itself.
sub crash_at
{
	my ($self, $name, $point, $lead) = @_;
	my $offset = -s $self->node($name)->logfile;
	$self->failpoint($name, $point, 'crash');
	$lead->() if $lead;
	$self->wait_for_log($name, qr/crashing at failpoint "$point".*$is_ready/s, $offset);
	return;
}

# Lets something happen while clients run the script on a node, when so many transactions
# have come after the load began. Returns whether as many come afterwards, when all nodes are back.
# load: { script, clients, counted: query of how many have been committed, enough: how many more }.
sub under_load
{
	my ($self, $name, $load, $event) = @_;
	my $handle = $self->start_load($name, $load->{script}, $load->{clients});
	my $goes_on = sub {
		my $before = $self->sql($name, $load->{counted});
		return $self->wait_for($name, "SELECT ($load->{counted}) > $before + $load->{enough}");
	};
	$goes_on->() or die 'there is no load';
	$event->();
	$self->wait_alive($_) for $self->names;
	my $still = $goes_on->();
	$self->stop_load($handle);
	return $still;
}

# The process id of a node's capture worker; empty if there is none, or nobody to ask.
sub capture_pid
{
	my ($self, $name) = @_;
	return eval { $self->sql($name, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'") } // '';
}

# Ends the capture worker, and returns when there is another.
sub replace_capture
{
	my ($self, $name) = @_;
	my $pid = $self->capture_pid($name);
	$self->sql($name, "SELECT pg_terminate_backend($pid)");
	$self->wait_for($name, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'braid capture' AND pid <> $pid") or die 'there is no other capture worker';
	return;
}

# Disturbs the capture worker of a node: 'kill' and 'terminate' are for it, 'crash' is for the
# server, 'nothing' for neither. Returns whether sessions have lost their connections.
sub disturb
{
	my ($self, $name, $what) = @_;
	return 0 if $what eq 'nothing';
	my $pid = $self->capture_pid($name);
	if ($what eq 'kill') { $self->kill_process($name, $pid) if $pid ne ''; }
	elsif ($what eq 'terminate') { $self->sql($name, "SELECT pg_terminate_backend($pid)") if $pid ne ''; }
	elsif ($what eq 'crash') { $self->node($name)->stop('immediate'); $self->node($name)->start; }
	else { die "\"$what\" is no disturbance"; }
	$self->wait_alive($name);
	return $what ne 'terminate';
}

# Ends, at random, transactions that are prepared, which nobody else will.
sub end_prepared
{
	my ($self, $name) = @_;
	$self->sql($name, (rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$_'") for split /\n/, $self->sql($name, 'SELECT gid FROM pg_prepared_xacts');
	return;
}

# Holds the capture worker between two cycles, where it has no lock that others want,
# as a process that is stopped anywhere may have; and lets it go on. Returns its pid.
sub hold_capture
{
	my ($self, $name) = @_;
	$self->failpoint($name, 'capture-committed', 'wait');
	$self->sql($name, q{SELECT pg_logical_emit_message(false, 'test', 'a worker that has nothing to read has no cycles')});
	$self->wait_for($name, "SELECT braid_internal.failpoint_waiting('capture-committed') = 1") or die 'the capture worker cannot be held';
	return $self->capture_pid($name);
}

sub release_capture
{
	my ($self, $name) = @_;
	$self->failpoint($name, 'capture-committed', 'off');
	return;
}

1;
