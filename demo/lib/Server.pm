# Server: one PostgreSQL server of the demonstration, a child of this process.
#
# It listens on a Unix socket only, in a folder that only its owner may enter,
# and keeps everything below its own folder.
package Server;

use strict;
use warnings;
use Errno;
use POSIX qw(setsid WNOHANG);
use Session;
use Time::HiRes qw(time sleep);

# Shared memory as files of the data directory: then nothing of a killed server
# stays elsewhere, but for the System V segment that remove_segment() removes.
my $settings = <<'CONF';
shared_preload_libraries = 'braid'
wal_level = logical
fsync = on
synchronous_commit = on
max_prepared_transactions = 50
max_connections = 60
max_worker_processes = 16
listen_addresses = ''
unix_socket_permissions = 0700
dynamic_shared_memory_type = mmap
shared_buffers = 64MB
max_wal_size = 1GB
log_line_prefix = '%m [%p] %b '
log_checkpoints = off
braid.xa_ready_timeout = '500ms'
braid.xa_finish_timeout = '1s'
CONF

sub new
{
	my ($class, $name, $bin, $folder) = @_;
	return bless { name => $name, bin => $bin, folder => $folder,
		data => "$folder/$name", log => "$folder/$name.log", sockets => "$folder/s" }, $class;
}

sub name { my ($self) = @_; return $self->{name}; }
sub socket_folder { my ($self) = @_; return $self->{sockets}; }
sub port { my ($self) = @_; return $self->{port}; }
sub is_running { my ($self) = @_; return defined $self->{pid}; }

sub session
{
	my ($self, $application) = @_;
	return Session->new("$self->{sockets}/.s.PGSQL.$self->{port}", $application);
}

# Makes new clusters, all at the same time. An interruption has to wait until
# initdb has ended, which then leaves nothing behind.
sub make_all
{
	my (@servers) = @_;
	my ($port, $failed, $interrupted) = (5431);
	my %handler = map { $_ => $SIG{$_} } qw(INT TERM HUP);
	local @SIG{ keys %handler } = map { my $signal = $_; sub { $interrupted = $signal; } } keys %handler;
	my @pids = map { $_->{port} = ++$port; $_->_initdb } @servers;
	for my $pid (@pids)
	{
		1 while waitpid($pid, 0) < 0 && $!{EINTR};
		$failed ||= $?;
	}
	$handler{$interrupted}->() if $interrupted;
	die "initdb has failed: " . _slurp("$servers[0]{folder}/initdb.log") if $failed;
	$_->_configure for @servers;
	return;
}

sub _initdb
{
	my ($self) = @_;
	return _spawn("$self->{folder}/initdb.log", "$self->{bin}/initdb", '-D', $self->{data}, '-U', 'postgres',
		'-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions');
}

sub _configure
{
	my ($self) = @_;
	mkdir $self->{sockets}, 0700;
	open my $conf, '>>', "$self->{data}/postgresql.conf" or die "could not open postgresql.conf: $!\n";
	print $conf $settings, "port = $self->{port}\nunix_socket_directories = '$self->{sockets}'\n";
	close $conf or die "could not write postgresql.conf: $!\n";
	return;
}

sub start
{
	my ($self) = @_;
	$self->{pid} = _spawn($self->{log}, "$self->{bin}/postgres", '-D', $self->{data});
	return;
}

# Tries to connect: true once the server takes queries. If it has ended by
# itself, as it does while processes of a killed one still end, starts it again.
sub answers
{
	my ($self) = @_;
	my $session = $self->session('demo: is it up?');
	if (waitpid($self->{pid}, WNOHANG) == $self->{pid})
	{
		die "$self->{name} does not start: " . _slurp($self->{log}) if ++$self->{failures} > 20;
		sleep 0.2;
		$self->start;
	}
	my $up = $session->connect;
	$session->close;
	return $up;
}

sub wait_up
{
	my ($self) = @_;
	for (1 .. 600)
	{
		return if $self->answers;
		sleep 0.1;
	}
	die "$self->{name} does not answer: " . _slurp($self->{log});
}

# SIGKILL to the postmaster and to all its processes, whose ids are given.
sub kill_all
{
	my ($self, @processes) = @_;
	kill 'KILL', $self->{pid}, @processes;
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

# Fast shutdown, then immediate, then SIGKILL.
sub stop
{
	my ($self) = @_;
	for my $try ([ 'INT', 20 ], [ 'QUIT', 10 ], [ 'KILL', 10 ])
	{
		my ($signal, $seconds) = @$try;
		last unless $self->is_running;
		kill $signal, $self->{pid};
		for (1 .. 50 * $seconds)
		{
			if (waitpid($self->{pid}, WNOHANG) != 0)
			{
				delete $self->{pid};
				last;
			}
			sleep 0.02;
		}
	}
	$self->remove_segment;
	return;
}

# A killed server leaves a small segment of System V shared memory, which the
# next start removes; if none follows, we do. Its id is in postmaster.pid.
sub remove_segment
{
	my ($self) = @_;
	my $file = "$self->{data}/postmaster.pid";
	return if $self->is_running || !-e $file;
	my (undef, $id) = split ' ', (split /\n/, _slurp($file))[6] // '';
	shmctl $id, 0, 0 if defined $id && $id =~ /^\d+$/;    # IPC_RMID
	return;
}

# Lines of the server's log that match.
sub log_lines
{
	my ($self, $pattern) = @_;
	return grep { /$pattern/ } split /\n/, _slurp($self->{log});
}

# Runs a command in a session of its own, so that Ctrl-C is ours alone.
sub _spawn
{
	my ($log, @command) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;
	setsid;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $log;
	open STDERR, '>&', \*STDOUT;
	exec { $command[0] } @command or POSIX::_exit(127);
}

sub _slurp
{
	my ($file) = @_;
	open my $f, '<', $file or return '';
	local $/;
	return scalar <$f> // '';
}

1;
