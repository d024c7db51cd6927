# What happens to a consumer group when somebody is slow: senders whose transactions stay open, or
# are huge; members that are away for longer than their session, prepared, or
# overtaken by a seek; and those who wait.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
autovacuum = off
braid.topic_rotate_interval = 200ms
CONF
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', @_); }

sub session { return Braid::Client->new($node, { name => 'test' }); }

# Ids of what a session receives, or the error.
sub ids
{
	my ($client, $topic, $group, $arguments) = @_;
	my $answer = $client->run("SELECT id FROM braid.receive('$topic', '$group'" . ($arguments ? ", $arguments" : '') . ')');
	return $answer->{error} ? "$answer->{error}{C}" : join ',', sort { $a <=> $b } map { $_->[0] } @{ $answer->{rows} };
}

sub code { my ($answer) = @_; return $answer->{error} ? $answer->{error}{C} : join ',', @{ $answer->{tags} }; }

my ($one, $two, $three) = map { session() } 1 .. 3;

# A transaction that stays open holds nobody up, and its message comes when it is committed.
sql(<<'SQL');
SELECT braid.create_topic('t', partitions => 1, retain => '0');
SELECT braid.create_group('t', 'g');
SQL
$one->run('BEGIN');
$one->run("SELECT braid.send('t', '\"early\"')");
my $received = 0;
for (1 .. 20)
{
	sql("SELECT braid.send_batch('t', (SELECT array_agg(i::text) FROM generate_series(1, 500) i))");
	sql('SELECT txid_current()') for 1 .. 2;
	my $n = $two->value("SELECT count(*) FROM braid.receive('t', 'g', max_rows => 10000)");
	$received += $n;
}
is($received, 10000, 'a transaction that stays open holds up no consumer');
$one->run('COMMIT');
is($two->value("SELECT payload FROM braid.receive('t', 'g')"), '"early"', 'its message comes when it is committed');
is(ids($two, 't', 'g'), '', 'and only once');
ok($cluster->wait_for('db', "SELECT sum(pg_relation_size(inhrelid)) < 1000000 FROM pg_inherits WHERE inhparent = 'braid_internal.topic_1'::regclass"),
	'then all messages go');

# A huge transaction is read in pieces, each of which touches little.
sql(<<'SQL');
SELECT braid.create_topic('huge', partitions => 1);
SELECT braid.create_group('huge', 'g');
CREATE TABLE seen (id bigint PRIMARY KEY);
SELECT braid.send('huge', '1');
SQL
$one->run('BEGIN');
$one->run("SELECT braid.send('huge', '2')");
sql("SELECT braid.send_batch('huge', 'SELECT ''3''::jsonb AS payload FROM generate_series(1, 200000)')");
$one->run("SELECT braid.send('huge', '4')");
$one->run('COMMIT');
$two->run("INSERT INTO seen SELECT id FROM braid.receive('huge', 'g', max_rows => 3000)") for 1 .. 10;
my $session = session();
my $plan = join "\n", map { $_->[0] } @{ $session->run("EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off) INSERT INTO seen SELECT id FROM braid.receive('huge', 'g', max_rows => 100)")->{rows} };
my ($buffers) = $plan =~ /Function Scan.*\n\s+Buffers: shared hit=(\d+)/ or diag $plan;
cmp_ok($buffers, '<', 500, 'a piece of 100 messages touches few pages');
$session->run("INSERT INTO seen SELECT id FROM braid.receive('huge', 'g', max_rows => 7777)") for 1 .. 30;
is($session->value('SELECT count(*) FROM seen'), 200003, 'a huge transaction is read to its end');

# Members: one that is away for longer than its session is replaced, and cannot commit.
sql(<<'SQL');
SELECT braid.create_topic('m', partitions => 2);
SELECT braid.create_group('m', 'g');
SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 10) i));
SQL
sub join_group { my ($client, $timeout) = @_; return $client->value("SELECT member FROM braid.join_group('m', 'g', '$timeout')"); }

my $away = join_group($one, '500 ms');
$one->run('BEGIN');
is(ids($one, 'm', 'g', "member => $away"), '1,2,3,4,5,6,7,8,9,10', 'a single member has all partitions');
my $other = join_group($two, '500 ms');
is(ids($two, 'm', 'g', "member => $other"), '', 'what a transaction has received that may still end is not given to another member');
is($two->value("SELECT array_length(partitions, 1) FROM braid.heartbeat($other)"), 1, 'partitions are divided anew');
$two->run('BEGIN');
is(ids($two, 'm', 'g', "member => $other, wait => '10 s'"), '1,2,3,4,5,6,7,8,9,10', 'after its session time-out the other one gets the messages');
is(code($two->run('COMMIT')), 'COMMIT', 'and commits');
is(code($one->run('COMMIT')), '40001', 'the one that was away cannot');
is(ids($one, 'm', 'g', "member => $away"), '55000', 'and is no member any more');
is(ids($two, 'm', 'g', "member => $other"), '', 'and the other one has had all of its messages');
$two->run("SELECT braid.leave_group($other)");

# So it is with one that is alive, and too slow to end its transaction when its partitions have gone to another one.
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2) i))");
my $slow = join_group($one, '500 ms');
$one->run('BEGIN');
is(ids($one, 'm', 'g', "member => $slow"), '11,12', 'a member receives');
$other = join_group($two, '500 ms');
$two->send("SELECT id FROM braid.receive('m', 'g', member => $other, wait => '1 min')");
my $answer;
$three->run("SELECT braid.heartbeat($slow)") until $answer = $two->wait(0.1);
is($answer->{rows}[0][0], 11, 'another one gets what is its own now');
is(code($one->run('COMMIT')), '40001', 'the slow one cannot commit');
is(ids($one, 'm', 'g', "member => $slow"), '12', 'and receives again what is still its own');
$one->run("SELECT braid.leave_group($slow)");
$two->run("SELECT braid.leave_group($other)");

# One whose transaction was prepared can commit, so nobody else gets its messages.
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 4) i))");
my $prepared = join_group($one, '300 ms');
$one->run('BEGIN');
is(ids($one, 'm', 'g', "member => $prepared"), '13,14,15,16', 'a member receives');
is(code($one->run("PREPARE TRANSACTION 'p'")), 'PREPARE TRANSACTION', 'and is prepared');
$other = join_group($two, '300 ms');
is(ids($two, 'm', 'g', "member => $other, wait => '1 s'"), '', 'what was received in a prepared transaction is given to nobody else');
is(code($one->run("COMMIT PREPARED 'p'")), 'COMMIT PREPARED', 'since it can commit');
is(ids($two, 'm', 'g', "member => $other"), '', 'after that it has been consumed');
$one->run("SELECT braid.leave_group($prepared)");

# At the moment of the commit: who has checked that nothing was overtaken is not overtaken.
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2) i))");
$away = join_group($one, '300 ms');
$two->run("SELECT braid.leave_group($other)");
$one->run('BEGIN');
is(ids($one, 'm', 'g', "member => $away"), '17,18', 'a member receives');
$cluster->failpoint('db', 'topic-fence-checked', 'wait', $one->pid);
$one->send('COMMIT');
ok($cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('topic-fence-checked') = 1"), 'and stops when it has checked that it can commit');
$other = join_group($three, '300 ms');
is(ids($three, 'm', 'g', "member => $other, wait => '1 s'"), '', 'its messages are given to nobody');
$cluster->failpoint('db', 'topic-fence-checked', 'off');
is(code($one->wait(10)), 'COMMIT', 'it commits');
is(ids($three, 'm', 'g', "member => $other"), '', 'and they are gone');
$three->run("SELECT braid.leave_group($other)");
$one->run("SELECT braid.leave_group($away)");

# A seek waits for consumers, and overtakes members.
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2) i))");
$away = join_group($one, '10 s');
$one->run('BEGIN');
is(ids($one, 'm', 'g', "member => $away"), '19,20', 'a member receives');
sql("SELECT braid.seek('m', 'g', 'end')");
is(code($one->run('COMMIT')), '40001', 'it cannot commit after a seek');
is(ids($one, 'm', 'g', "member => $away"), '', 'and goes on from there');
$one->run("SELECT braid.leave_group($away)");

# In REPEATABLE READ the position has to be as the transaction sees it.
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2) i))");
$one->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$one->run('SELECT 1 FROM pg_class LIMIT 1');
is(ids($two, 'm', 'g', 'from_partition => 0'), '22', 'somebody receives');
sql("SELECT braid.send('m', '3')");
is(ids($one, 'm', 'g', 'from_partition => 0'), '40001', 'a transaction that began before cannot go on from there');
$one->run('ROLLBACK');
$one->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
is(ids($one, 'm', 'g', 'from_partition => 1'), '21,23', 'a new one can');
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2) i))");
is(ids($one, 'm', 'g', "from_partition => 1, wait => '10 s'"), '', 'and does not see what is sent after its start');
is(code($one->run('COMMIT')), 'COMMIT', 'it commits');
is(ids($one, 'm', 'g', 'from_partition => 1'), '25', 'what was sent comes afterwards');

# Who waits has no snapshot, in a SELECT of its own, and is woken by whoever commits.
$two->run("SELECT count(*) FROM braid.receive('m', 'g') FROM generate_series(1, 3)");
ids($two, 'm', 'g') for 1 .. 2;
$one->send("SELECT id FROM braid.receive('m', 'g', wait => '1 min')");
ok($cluster->wait_for('db', "SELECT count(*) = 1 FROM braid.activity WHERE wait_event = 'BraidMessages'"), 'a consumer waits');
is(sql('SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = ' . $one->pid), 't', 'it holds back nothing');
$two->run('BEGIN');
$two->run("SELECT braid.send('m', '5')");
$two->run("PREPARE TRANSACTION 'q'");
$two->run("COMMIT PREPARED 'q'");
is($one->wait(30)->{rows}[0][0], 26, 'and gets what comes');

# And who listens is notified.
sql("SELECT braid.alter_topic('m', '{\"notify\": true}')");
my $channel = sql("SELECT braid.topic_channel('m')");
like(sql("LISTEN $channel; BEGIN; SELECT braid.send('m', '1'); SELECT braid.send('m', '2'); COMMIT; SELECT 'end'"),
	qr/\A27\n28\nAsynchronous notification "$channel" received[^\n]*\nend\z/, 'a transaction that sends notifies once');
sql("SELECT braid.alter_topic('m', '{\"notify\": false}')");
is(join(',', sort map { ids($two, 'm', 'g') } 1 .. 2), '27,28', 'and what it has sent is there');

# Many who wait for the same: each message wakes one.
my @waiters = map { session() } 1 .. 40;
$_->send("SELECT id FROM braid.receive('m', 'g', max_rows => 1, wait => '1 min')") for @waiters;
ok($cluster->wait_for('db', "SELECT count(*) = 40 FROM braid.activity WHERE wait_event = 'BraidMessages'"), 'many consumers wait');
$cluster->sql('db', 'SELECT pg_cancel_backend(' . $waiters[0]->pid . ')');
is(code($waiters[0]->wait(30)), '57014', 'one that waits can be cancelled');
$cluster->sql('db', 'SELECT pg_terminate_backend(' . $waiters[1]->pid . ')');
ok($waiters[1]->wait(30)->{lost}, 'and another one terminated');
splice @waiters, 0, 2;
sql("SELECT braid.send('m', '6')") for 1 .. 38;
my %got;
$got{ $_->wait(60)->{rows}[0][0] // 'none' }++ for @waiters;
is(join(',', sort { $a <=> $b } keys %got), join(',', 29 .. 66), 'each gets one message');

# A dump has positions, and a group goes on from there, in the middle of a transaction's messages.
$two->run("SELECT id FROM braid.receive('m', 'g')") for 1 .. 4;
sql("SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 2000) i))");
my @before = map { $two->value("SELECT count(*) FROM braid.receive('m', 'g', max_rows => 300)") } 1 .. 3;
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'a dump is made');
sql('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'and restored');
$node->safe_psql('restored', "SELECT braid.send_batch('m', (SELECT array_agg(i::text) FROM generate_series(1, 10) i))");
my @after = split /\n/, $node->safe_psql('restored', "SELECT id FROM braid.receive('m', 'g', max_rows => 10000); SELECT id FROM braid.receive('m', 'g', max_rows => 10000);");
my %ids = map { $_ => 1 } @after;
is(join(',', @before), '300,300,300', 'of what was received before');
is(scalar @after, 1110, 'nothing comes again, and all the rest');
is(scalar keys %ids, 1110, 'once');

done_testing();
