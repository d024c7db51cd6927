# Braid::Kafka: a broker of Apache Kafka, and braid-kafka between it and a server.
#
#   plan skip_all => Braid::Kafka::missing() if Braid::Kafka::missing();
#   my $kafka = Braid::Kafka->new;                              # begins to start
#   $kafka->wait_ready($cluster->node('node'));                 # bridges are to and from this one
#   $kafka->make_topic('orders', 4);
#   my $bridge = $kafka->start_bridge('out', 'shop', 'public.orders', 'orders');
#   $kafka->end_bridge($bridge);                                # exit code
#   my @messages = $kafka->dump('orders');                      # what is committed
#
# The broker is one process in KRaft mode, from the jars that "tools/setup kafka" has fetched; BRAID_KAFKA_JARS names
# another folder of them. It forces nothing to disk: it is killed, its machine is not.
package Braid::Kafka;

use strict;
use warnings;
use Braid::Cluster;
use Cwd qw(abs_path);
use IO::Socket::INET;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my @java = ('java', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1');
my %running;

sub jars { return abs_path($ENV{BRAID_KAFKA_JARS} // 'build/kafka-broker') // ''; }

# What is not there; empty if nothing is.
sub missing
{
	return 'no broker of Kafka: "tools/setup kafka" fetches one' if !glob(jars() . '/kafka_2*.jar');
	return 'no java' if system('java -version >/dev/null 2>&1') != 0;
	return 'no librdkafka with headers: Debian\'s package librdkafka-dev' if !-e '/usr/include/librdkafka/rdkafka.h';
	return '';
}

sub new
{
	my ($class) = @_;
	my $self = bless { dir => PostgreSQL::Test::Utils::tempdir(), n => 0 }, $class;
	my ($port, $controller) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
	$self->{broker} = "127.0.0.1:$port";
	$self->write_file('broker.properties', <<"CONF");
process.roles=broker,controller
node.id=1
controller.quorum.voters=1\@127.0.0.1:$controller
listeners=PLAINTEXT://$self->{broker},CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$self->{dir}/data
auto.create.topics.enable=false
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
CONF
	$self->java('kafka.tools.StorageTool', 'format', '-t', 'AAAAAAAAAAAAAAAAAAAAAQ', '-c', "$self->{dir}/broker.properties");
	$self->spawn_broker;
	build($self->{dir});
	return $self;
}

sub wait_ready { my ($self, $node) = @_; $self->{node} = $node; $self->wait_broker; return; }

# The bridge with its steps, and the tests' client.
sub build
{
	my ($dir) = @_;
	for my $command ([ 'make', '-s', '-C', 'kafka', 'FAILPOINTS=1', 'CFLAGS=-O0 -g', "OUT=$dir", $ENV{PG_CONFIG} ? "PG_CONFIG=$ENV{PG_CONFIG}" : () ],
		[ 'cc', '-Wall', '-Wextra', '-Werror', '-o', "$dir/kafka_client", 'test/kafka/kafka_client.c', '-lrdkafka' ])
	{
		my $said = '';
		IPC::Run::run($command, '>&', \$said) or die "@$command: $said";
	}
	return;
}

sub write_file
{
	my ($self, $name, $text) = @_;
	open my $fh, '>', "$self->{dir}/$name" or die "$name: $!";
	print $fh $text;
	close $fh;
	return "$self->{dir}/$name";
}

sub java
{
	my ($self, @command) = @_;
	my $said = '';
	IPC::Run::run([ @java, '-cp', jars() . '/*', @command ], '>&', \$said) or die "@command: $said";
	return;
}

# Forks a process with its output in a file; it is killed when the test ends.
sub spawn
{
	my ($log, $environment, @command) = @_;
	open my $out, '>>', $log or die "$log: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		%ENV = (%ENV, %$environment);
		open STDIN, '<', '/dev/null';
		open STDOUT, '>&', $out;
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	$running{$pid} = 1;
	return $pid;
}

END
{
	local $?;
	kill 'KILL', keys %running;
	waitpid $_, 0 for keys %running;
}

# ---- the broker

sub spawn_broker
{
	my ($self) = @_;
	$self->{pid} = spawn("$self->{dir}/broker.log", {}, @java, '-cp', jars() . '/*', 'kafka.Kafka', "$self->{dir}/broker.properties");
	return;
}

sub wait_broker
{
	my ($self) = @_;
	Braid::Cluster::until_true(sub { return IO::Socket::INET->new(PeerAddr => $self->{broker}, Timeout => 1) })
	  or die 'Kafka does not start: ' . PostgreSQL::Test::Utils::slurp_file("$self->{dir}/broker.log");
	return;
}

sub kill_broker
{
	my ($self) = @_;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $running{ $self->{pid} };
	return;
}

sub client
{
	my ($self, @command) = @_;
	my ($out, $error) = ('', '');
	IPC::Run::run([ "$self->{dir}/kafka_client", $self->{broker}, @command ], '>', \$out, '2>', \$error) or die "@command: $error";
	return $out;
}

sub make_topic { my ($self, $topic, $partitions) = @_; $self->client('make', $topic, $partitions); return; }

sub add_partitions { my ($self, $topic, $partitions) = @_; $self->client('grow', $topic, $partitions); return; }

# Bridges that are started from here on connect as this role.
sub set_role { my ($self, $role) = @_; $self->{role} = $role; return; }

sub decode { my ($text) = @_; return undef if $text eq '~'; $text =~ s/%(..)/chr hex $1/ge; return $text; }

# All messages that are committed: hashes of partition, offset, time, key, value, headers (as texts "name=value").
sub dump
{
	my ($self, $topic) = @_;
	my @messages;
	for my $line (split /\n/, $self->client('dump', $topic))
	{
		my ($partition, $offset, $time, $key, $value, @headers) = split /\t/, $line, -1;
		push @messages, { partition => $partition, offset => $offset, time => $time, key => decode($key), value => decode($value), headers => \@headers };
	}
	return @messages;
}

# Runs commands of kafka_client's.
sub write
{
	my ($self, @commands) = @_;
	my $in = join '', map { "$_\n" } @commands;
	my ($out, $error) = ('', '');
	IPC::Run::run([ "$self->{dir}/kafka_client", $self->{broker}, 'write' ], '<', \$in, '>', \$out, '2>', \$error) or die $error;
	return;
}

# ---- bridges

# The command line; options are added as they are.
sub bridge_command
{
	my ($self, $direction, $name, $topic, $kafka_topic, @options) = @_;
	return ("$self->{dir}/braid-kafka", $direction, '--name', $name, '--topic', $topic, '--kafka-topic', $kafka_topic,
		'--dsn', $self->{node}->connstr('postgres') . ($self->{role} ? " user=$self->{role}" : ''), '--broker', $self->{broker}, '-X', 'reconnect.backoff.max.ms=500', @options);
}

# Starts one; a step ("name:n:kill") is where it ends or stops.
sub start_bridge
{
	my ($self, $direction, $name, $topic, $kafka_topic, $options, $step) = @_;
	my $log = "$self->{dir}/bridge_" . ++$self->{n} . '.log';
	my $pid = spawn($log, $step ? { BRAID_KAFKA_STEP => $step } : {}, $self->bridge_command($direction, $name, $topic, $kafka_topic, @{ $options // [] }));
	return { pid => $pid, log => $log };
}

sub log_of { my ($bridge) = @_; return PostgreSQL::Test::Utils::slurp_file($bridge->{log}); }

sub wait_for_log
{
	my ($self, $bridge, $pattern) = @_;
	return Braid::Cluster::until_true(sub { return log_of($bridge) =~ $pattern }) || die "the bridge does not say $pattern:\n" . log_of($bridge);
}

# Waits for its end; returns its exit code, or minus the signal that has ended it.
sub wait_bridge
{
	my ($self, $bridge) = @_;
	my $status;
	Braid::Cluster::until_true(sub { return waitpid($bridge->{pid}, POSIX::WNOHANG) > 0 && defined($status = $?) })
	  or die "the bridge does not end:\n" . log_of($bridge);
	delete $running{ $bridge->{pid} };
	return $status & 127 ? -($status & 127) : $status >> 8;
}

sub end_bridge
{
	my ($self, $bridge, $signal) = @_;
	kill $signal // 'TERM', $bridge->{pid};
	return $self->wait_bridge($bridge);
}

1;
