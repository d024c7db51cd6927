# Groups of mode work: producers and consumers that roll back, prepare, reject and let their time pass, while
# backends are terminated and killed and the server is stopped, and tables are emptied all the
# time. Each message has one effect in each group; never are two of a key taken at
# once where that is asked for, and they come in order there. The seed is printed; BRAID_SEED repeats a run's
# choices, BRAID_ROUNDS and BRAID_MESSAGES ask for more.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Messages;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
autovacuum = off
braid.topic_rotate_interval = 200ms
braid.topic_segment_size = 256kB
braid.topic_work_window = 128
CONF
my $node = $cluster->node('db');
my $messages = Braid::Messages->new($cluster, { keys => 30 });
$messages->make_producers('db');
$messages->make_consumers('db');
$cluster->sql('db', <<'SQL');
SELECT braid.create_topic('jobs', partitions => 4, retain => '0');
SELECT braid.create_group('jobs', g, 'work', options => '{"max_attempts": 0, "backoff": "10 ms", "max_backoff": "50 ms"}') FROM unnest('{simple,timed}'::text[]) g;
SELECT braid.create_group('jobs', 'keyed', 'work', options => '{"max_attempts": 0, "one_per_key": true}');
-- What a transaction has of a key, while it runs: two at once fail.
CREATE TABLE messages.busy (key text PRIMARY KEY);
CREATE FUNCTION messages.effects(g text, rows int) RETURNS bigint LANGUAGE sql AS $$
	WITH e AS (INSERT INTO messages.effects (topic, group_name, part, id, key, n, token)
		SELECT 'jobs', g, partition, id, key, (payload->>'n')::int, payload->>'token' FROM braid.take('jobs', g, rows, wait => '0.2 s') RETURNING *)
	SELECT count(*) FROM e $$;
SQL

sub end_transaction
{
	my ($client, $two_phase) = @_;
	sleep(rand 0.05) if rand() < 0.1;
	my $gid = "messages_$$" . '_' . int rand 1e9;
	return $client->run(rand() < 0.1 ? 'ROLLBACK' : 'COMMIT') if !$two_phase || rand() < 0.7;
	$client->run("PREPARE TRANSACTION '$gid'");
	sleep(rand 0.1) if rand() < 0.3;
	$client->run((rand() < 0.3 ? 'ROLLBACK' : 'COMMIT') . " PREPARED '$gid'");
	return;
}

# Some of what was taken is given back by a savepoint, and some is rejected.
sub take_simple
{
	my ($client) = @_;
	my $rows = 1 + int rand 10;
	$client->run('BEGIN');
	$client->run("SELECT messages.effects('simple', $rows)");
	if (rand() < 0.3)
	{
		$client->run('SAVEPOINT s');
		$client->run("SELECT messages.effects('simple', $rows)");
		$client->run('ROLLBACK TO s') if rand() < 0.5;
	}
	$client->run(<<'SQL') if rand() < 0.3;
WITH r AS (SELECT id FROM messages.effects WHERE group_name = 'simple' AND xmin::text = pg_current_xact_id()::xid::text ORDER BY random() LIMIT 2),
	b AS (SELECT braid.reject('jobs', 'simple', array_agg(id), 'not now') FROM r HAVING count(*) > 0)
DELETE FROM messages.effects WHERE group_name = 'simple' AND id IN (SELECT id FROM r) AND EXISTS (SELECT FROM b)
SQL
	return end_transaction($client, 1);
}

sub take_keyed
{
	my ($client) = @_;
	$client->run('BEGIN');
	$client->run("SET LOCAL lock_timeout = '10 ms'");
	$client->run("SELECT messages.effects('keyed', 1)");
	my $busy = $client->run("INSERT INTO messages.busy SELECT key FROM messages.effects WHERE group_name = 'keyed' AND xmin::text = pg_current_xact_id()::xid::text");
	print STDERR "# two of a key at once: $busy->{error}{M}\n" if $busy->{error} && $busy->{error}{C} =~ /^(55P03|23505)$/;
	$client->run("DELETE FROM messages.busy") if !$busy->{error};
	$client->run(rand() < 0.1 ? 'ROLLBACK' : 'COMMIT');
	return;
}

# The effect and the acknowledgement are one transaction; without the latter there is no effect.
sub take_timed
{
	my ($client) = @_;
	my $for = rand() < 0.2 ? '0.05 s' : '1 s';
	my $taken = $client->run("SELECT id, attempt, partition, key, payload->>'n', payload->>'token' FROM braid.take('jobs', 'timed', 5, wait => '0.2 s', visible_for => '$for')");
	return if $taken->{error};
	for my $m (@{ $taken->{rows} })
	{
		my ($id, $attempt, $part, $key, $n, $token) = @$m;
		sleep(rand 0.1) if rand() < 0.1;
		next if rand() < 0.02;		# forgotten
		if (rand() < 0.1)
		{
			$client->run("SELECT braid.reject('jobs', 'timed', '{$id}', 'again', attempts => '{$attempt}')");
			next;
		}
		$client->run("SELECT braid.extend('jobs', 'timed', '{$id}', '1 s', '{$attempt}')") if rand() < 0.2;
		$client->run('BEGIN');
		my $answer = $client->run("SELECT braid.acknowledge('jobs', 'timed', '{$id}', '{$attempt}')");
		if ($answer->{error} || $answer->{rows}[0][0] != 1)
		{
			$client->run('ROLLBACK');
			next;
		}
		$client->run("INSERT INTO messages.effects (topic, group_name, part, id, key, n, token) VALUES ('jobs', 'timed', $part, $id, '$key', $n, '$token')");
		end_transaction($client, 1);
	}
	return;
}

sub effects_of { my ($group) = @_; return "(SELECT count(*) FROM messages.effects WHERE group_name = '$group')"; }

# Waits for as long as it takes, if only something is done in the time that there is for it.
sub comes_to_the_end
{
	my ($group) = @_;
	my $had = -1;
	until ($cluster->wait_for('db', 'SELECT (SELECT count(*) FROM messages.sent) <= ' . effects_of($group)))
	{
		my $has = $cluster->sql('db', 'SELECT ' . effects_of($group));
		return 0 if $has == $had;
		$had = $has;
	}
	return 1;
}

my @groups = qw(simple timed keyed);
for my $round (1 .. $rounds)
{
	my @producers = map { $messages->produce('db', 'jobs', { pause => 0.05, count => 3, two_phase => $_ % 2 }) } 1 .. 3;
	my @consumers = map { my $work = $_; map { $messages->consume('db', 'jobs', '', { receive => $work }) } 1 .. 3 } \&take_simple, \&take_timed, \&take_keyed;
	my $tidy = $messages->start('db', sub { my ($client) = @_; $client->run('SELECT braid_internal.work_tidy()'); sleep(Braid::Messages::asked() ? 5 : 0.2); });
	do
	{
		for my $disturb ($messages->disturbances)
		{
			sleep(1);
			$messages->$disturb('db');
			$messages->end_prepared('db');
		}
	} until $messages->enough('db');
	sleep(1);
	$messages->stop(@producers);
	$messages->end_prepared('db');
	for my $group (@groups)
	{
		ok(comes_to_the_end($group), "group $group comes to the end") || diag $cluster->sql('db', "SELECT * FROM braid.work");
	}
	$messages->stop(@consumers, $tidy);
	$messages->end_prepared('db');
	for my $group (qw(simple timed))
	{
		is($cluster->sql('db', "SELECT token FROM messages.sent EXCEPT SELECT token FROM messages.effects WHERE group_name = '$group' LIMIT 3"), '', "group $group has had all");
		is($cluster->sql('db', "SELECT token, count(*) FROM messages.effects WHERE group_name = '$group' GROUP BY 1 HAVING count(*) > 1 LIMIT 3"), '', "group $group has had none twice");
		is($cluster->sql('db', "SELECT token FROM messages.effects WHERE group_name = '$group' EXCEPT SELECT token FROM messages.sent LIMIT 3"), '', "group $group has had nothing else");
	}
	is_deeply([ $messages->check('db', 'jobs', 'db', 'keyed') ], [], 'one of a key at a time: each once, in order');
	cmp_ok($cluster->sql('db', 'SELECT count(*) FROM messages.sent'), '>', 300, 'there were some');
	note $cluster->sql('db', 'SELECT count(*) FROM messages.sent') . ' messages';
}
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/TRAP/, 'no assertion has failed');

# Nothing is left of what is done.
$cluster->sql('db', 'SELECT braid_internal.work_tidy()') for 1 .. 2;
is($cluster->sql('db', 'SELECT (SELECT count(*) FROM braid_internal.work_carried_0) + (SELECT count(*) FROM braid_internal.work_carried_1)'), 0, 'nothing is carried on');
ok($cluster->wait_for('db', "SELECT braid.rotate_topic('jobs') IS NOT NULL AND count(*) = 0 FROM jobs"), 'the topic is empty');

done_testing();
