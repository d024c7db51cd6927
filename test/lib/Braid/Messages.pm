# Braid::Messages: proves that messages arrive, each once and in order.
#
#   my $messages = Braid::Messages->new($cluster, { keys => 20 });
#   $messages->make_producers("a");                          # tables; the topic is the caller's
#   $messages->make_consumers('b');                          # b may be a itself
#   my @p = map { $messages->produce('a', 'orders') } 1 .. 8;   # processes
#   my @c = map { $messages->consume('b', 'orders', 'g') } 1 .. 8;
#   for my $disturb ($messages->disturbances) { $messages->$disturb('a'); }
#   $messages->stop(@p); $messages->drain('b', 'orders', 'g'); $messages->stop(@c);
#   is_deeply([ $messages->check('a', 'orders', 'b', 'g') ], [], 'exactly once, in order');
#
# Producers send messages of shared keys, roll back transactions and savepoints, and note in
# table messages.sent, in the same transaction, what they have sent. The nth message of a key
# is sent after the one before was committed. Consumers note in table
# messages.effects, in the transaction that receives, what they have received, and roll
# back as well. What is committed of these tables is the truth, whatever was killed, so:
#
#   a message that was sent and has no effect was lost;
#   one that has two effects was delivered twice;
#   one that has an effect and was not sent was aborted;
#   effects of a key that are not in order 1, 2, 3 ... were reordered.
#
# Each message has a token of its own, so an aborted one is not mistaken for its successor.
# BRAID_MESSAGES asks for a run of so many messages, of which there are more in a transaction then.
package Braid::Messages;

use strict;
use warnings;
use Braid::Client;
use PostgreSQL::Test::Utils;
use POSIX ();
use Time::HiRes qw(sleep time);

my $producing = <<'SQL';
CREATE SCHEMA messages;
CREATE TABLE messages.keys (topic regclass, key text, n int NOT NULL, PRIMARY KEY (topic, key));
CREATE TABLE messages.sent (topic regclass, key text, n int, token text);
-- Sends messages of up to so many keys; some in a savepoint that is rolled back.
CREATE FUNCTION messages.produce(of_topic regclass, nkeys int, count int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	k text;
	number int;
	id text;
BEGIN
	-- In one order, so that there are no deadlocks.
	FOR k IN SELECT DISTINCT 'k' || (random() * nkeys)::int FROM generate_series(1, count) ORDER BY 1 LOOP
		BEGIN
			INSERT INTO messages.keys AS o VALUES (of_topic, k, 1) ON CONFLICT (topic, key) DO UPDATE SET n = o.n + 1
				RETURNING n INTO number;
			id := gen_random_uuid();
			PERFORM braid.send(of_topic, jsonb_build_object('n', number, 'token', id, 'pad', repeat('x', (random() * 200)::int)), key => k);
			INSERT INTO messages.sent VALUES (of_topic, k, number, id);
			IF random() < 0.1 THEN
				RAISE EXCEPTION 'never mind' USING ERRCODE = 'P0099';
			END IF;
		EXCEPTION WHEN SQLSTATE 'P0099' THEN
			NULL;
		END;
	END LOOP;
END
$$;
SQL

my $consuming = <<'SQL';
CREATE SCHEMA IF NOT EXISTS messages;
CREATE TABLE messages.effects (seq bigserial, topic regclass, group_name text, part int, id bigint, key text, n int, token text, pid int DEFAULT pg_backend_pid());
SQL

my $asked = $ENV{BRAID_MESSAGES} || 0;

# new(cluster, { keys => how many keys there are })
sub new
{
	my ($class, $cluster, $options) = @_;
	return bless { cluster => $cluster, keys => $asked ? 1000 : $options->{keys} // 20, stop => PostgreSQL::Test::Utils::tempdir(), n => 0 }, $class;
}

sub asked { return $asked; }

# Whether as many were sent, from these nodes, as were asked for.
sub enough
{
	my ($self, @names) = @_;
	my $sent = 0;
	$sent += $self->{cluster}->sql($_, 'SELECT count(*) FROM messages.sent') for @names;
	return $sent >= $asked;
}

sub make_producers { my ($self, $name) = @_; $self->{cluster}->sql($name, $producing); return; }

sub make_consumers { my ($self, $name) = @_; $self->{cluster}->sql($name, $consuming); return; }

# Forks a process that calls a sub with a session until it is told to stop; a new session whenever
# the last one was lost. Returns a handle.
sub start
{
	my ($self, $name, $work) = @_;
	my $file = "$self->{stop}/stop_" . ++$self->{n};
	my $node = $self->{cluster}->node($name);
	my $parent = $$;
	my $pid = fork // die "fork: $!";
	return { pid => $pid, file => $file, node => $name } if $pid;
	srand($$ ^ time);
	my ($client, %seen);
	until (-e $file || getppid() != $parent)
	{
		$client = eval { Braid::Client->new($node, { name => 'messages' }) } if !$client || !$client->is_open;
		sleep(0.1), next if !$client;
		eval { $work->($client); 1 } or do { $client->close; print STDERR "# messages: $@" if !$seen{$@}++; };
	}
	POSIX::_exit(0);
}

# Tells processes to stop, and waits for them. What others have left prepared must not hold them up.
sub stop
{
	my ($self, @processes) = @_;
	for my $p (@processes) { open my $fh, '>', $p->{file} or die "$p->{file}: $!"; }
	for my $p (@processes)
	{
		until (waitpid($p->{pid}, POSIX::WNOHANG) != 0)
		{
			$self->end_prepared($p->{node});
			sleep(0.1);
		}
	}
	return;
}

# One that sends. Options: count (messages in a transaction, at most), pause (seconds, at most, between sending and
# the end of the transaction), rest (seconds between transactions), two_phase (some are prepared).
sub produce
{
	my ($self, $name, $topic, $options) = @_;
	my $count = $options->{count} // ($asked ? 300 : 3);
	return $self->start($name, sub {
		my ($client) = @_;
		sleep($options->{rest}) if $options->{rest};
		$client->run('BEGIN');
		my $answer = $client->run("SELECT messages.produce('$topic', $self->{keys}, 1 + (random() * $count)::int)");
		sleep(rand $options->{pause}) if $options->{pause} && rand() < 0.1;
		my $gid = "messages_$$" . '_' . int rand 1e9;
		if ($options->{two_phase} && rand() < 0.2 && !$answer->{error})
		{
			$client->run("PREPARE TRANSACTION '$gid'");
			$client->run((rand() < 0.2 ? 'ROLLBACK' : 'COMMIT') . " PREPARED '$gid'");
			return;
		}
		$client->run(rand() < 0.2 ? 'ROLLBACK' : 'COMMIT');
		return;
	});
}

# Commits what producers have left prepared when they were killed.
sub end_prepared
{
	my ($self, $name) = @_;
	$self->{cluster}->try_sql($name, "COMMIT PREPARED '$_'")
	  for split /\n/, $self->{cluster}->sql($name, "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'messages_%'");
	return;
}

# ---------------------------------------------------------------- what happens meanwhile

# Methods that each disturb those who work on a node.
sub disturbances { return qw(terminate_some cancel_some pause_one kill_one stop_at_once); }

# What a function of the server does at random, several times, to sessions and to our workers.
sub do_to_sessions
{
	my ($self, $name, $function, $share, $pause) = @_;
	for (1 .. 10)
	{
		$self->{cluster}->sql($name, "SELECT $function(pid) FROM pg_stat_activity WHERE (application_name = 'messages' OR backend_type LIKE 'braid %') AND random() < $share");
		sleep($pause);
	}
	return;
}

sub terminate_some { my ($self, $name) = @_; return $self->do_to_sessions($name, 'pg_terminate_backend', 0.3, 0.1); }

sub cancel_some { my ($self, $name) = @_; return $self->do_to_sessions($name, 'pg_cancel_backend', 0.5, 0.05); }

# The process of a session that is in a transaction; empty if there is none.
sub busy_pid
{
	my ($self, $name) = @_;
	return $self->{cluster}->sql($name, "SELECT pid FROM pg_stat_activity WHERE application_name = 'messages' AND state <> 'idle' ORDER BY random() LIMIT 1");
}

# Stops such a process, for longer than members may be away, wherever it is.
sub pause_one
{
	my ($self, $name) = @_;
	my $pid = $self->busy_pid($name);
	return if $pid eq '';
	kill 'STOP', $pid;
	sleep(1.5);
	kill 'CONT', $pid;
	return;
}

sub kill_one
{
	my ($self, $name) = @_;
	my $pid = $self->busy_pid($name);
	$self->{cluster}->kill_process($name, $pid) if $pid ne '';
	return;
}

sub stop_at_once
{
	my ($self, $name) = @_;
	my $node = $self->{cluster}->node($name);
	$node->stop('immediate');
	$node->start;
	return;
}

# ---------------------------------------------------------------- consumers

# The statement that receives once, and what it comes to; messages of others than produce() have no token.
sub receive_sql
{
	my ($topic, $group, $rows, $options) = @_;
	my $member = $options->{member} ? ", member => $options->{member}" : '';
	my $wait = $options->{wait} // '1 s';
	return "INSERT INTO messages.effects (topic, group_name, part, id, key, n, token) SELECT '$topic', '$group', partition, id, key, (payload->>'n')::int, payload->>'token' FROM braid.receive('$topic', '$group', max_rows => $rows, wait => '$wait'$member) WHERE payload ? 'token'";
}

# One that receives. Options: as a member (session_timeout is that of the group), rows (at most), receive
# (another sub that gets the client and runs a transaction).
sub consume
{
	my ($self, $name, $topic, $group, $options) = @_;
	my $rows = $options->{rows} // ($asked ? 1000 : 50);
	my $member;
	return $self->start($name, $options->{receive} // sub {
		my ($client) = @_;
		if ($options->{member} && !$member)
		{
			my $timeout = $options->{session_timeout} // '2 s';
			$member = $client->run("SELECT member FROM braid.join_group('$topic', '$group', '$timeout')")->{rows}[0][0] // return;
		}
		$client->run('BEGIN');
		my $answer = $client->run(receive_sql($topic, $group, 1 + int rand $rows, { member => $member }));
		if ($answer->{error}) { $member = undef if $answer->{error}{C} eq '55000'; }
		sleep(rand $options->{pause}) if $options->{pause} && rand() < 0.1;
		$client->run(rand() < 0.1 ? 'ROLLBACK' : 'COMMIT');
		return;
	});
}

# Waits until nothing is left for the group; those who consume must be running.
sub drain
{
	my ($self, $name, $topic, $group) = @_;
	return $self->{cluster}->wait_for($name, "SELECT sum(lag_messages) = 0 FROM braid.group_positions WHERE topic = '$topic'::regclass AND group_name = '$group'")
	  || die "group $group of $topic on $name has not come to the end";
}

# Calls a sub with the columns of each row of a query.
sub each_row
{
	my ($self, $name, $sql, $sub) = @_;
	my $file = "$self->{stop}/rows_" . ++$self->{n};
	$self->{cluster}->sql($name, "COPY ($sql) TO '$file'");
	open my $rows, '<', $file or die "$file: $!";
	while (my $row = <$rows>)
	{
		chomp $row;
		$sub->(split /\t/, $row);
	}
	close $rows;
	unlink $file;
	return;
}

# What is wrong, in words. Sent may have been to the topics of several nodes, names separated by commas: then
# what each node has sent of a key is in order. Option: any_order.
sub check
{
	my ($self, $producers, $topic, $consumers, $group, $options) = @_;
	my (%sent, %from, %effects, %last, @wrong);
	for my $name (split /,/, $producers)
	{
		$self->each_row($name, "SELECT key, n, token FROM messages.sent WHERE topic = '$topic'::regclass", sub {
			my ($key, $n, $token) = @_;
			$sent{$token} = "$key $n";
			$from{$token} = $name;
		});
	}
	$self->each_row($consumers, "SELECT key, n, token FROM messages.effects WHERE group_name = '$group' ORDER BY seq", sub {
		my ($key, $n, $token) = @_;
		push @wrong, "aborted: $key $n" if !exists $sent{$token};
		push @wrong, "twice: $key $n" if $effects{$token}++;
		my $last = \$last{ $from{$token} // '' }{$key};
		push @wrong, "reordered: $key $n after $$last" if defined $$last && $n <= $$last && !$options->{any_order};
		$$last = $n;
	});
	push @wrong, map { "lost: $sent{$_}" } grep { !$effects{$_} } sort keys %sent;
	$self->{checked} = keys %sent;
	return @wrong > 20 ? (@wrong[0 .. 19], 'and ' . (@wrong - 20) . ' others') : @wrong;
}

# How many messages the last check was about.
sub checked { my ($self) = @_; return $self->{checked}; }

# Positions that are ahead of, or behind, the work that was committed with them, as one snapshot has it.
sub check_positions
{
	my ($self, $name, $topic, $group) = @_;
	return $self->{cluster}->sql($name, <<"SQL");
SELECT string_agg(format('partition %s: position %s, work %s', p.part, p.consumed, coalesce(e.n, 0)), '; ')
FROM (SELECT DISTINCT ON (part) part, consumed FROM braid_internal.positions
		WHERE group_id = (SELECT g.id FROM braid_internal.groups g JOIN braid_internal.topics t ON t.id = g.topic WHERE t.view = '$topic'::regclass AND g.name = '$group')
		ORDER BY part, number DESC) p
	LEFT JOIN (SELECT part, count(*) AS n FROM messages.effects WHERE topic = '$topic'::regclass AND group_name = '$group' GROUP BY part) e USING (part)
WHERE p.consumed <> coalesce(e.n, 0)
SQL
}

1;
