# Groups of mode work while another transaction holds back vacuum: what a message costs, in buffers touched,
# and the space that is taken. And what is kept: by a crash, by a dump, and when more groups are in use than
# there is room for.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
autovacuum = off
braid.topic_rotate_interval = 200ms
braid.topic_segment_size = 1MB
braid.topic_segment_age = 1s
braid.topic_work_groups = 3
CONF
my $node = $cluster->node('db');
sub sql { return $cluster->sql('db', @_); }

sub fill { my ($n) = @_; return sql("SELECT braid.send_batch('jobs', \$\$SELECT jsonb_build_object('n', n) AS payload, 'k' || n % 100 AS key FROM generate_series(1, $n) n\$\$)"); }

sql("SELECT braid.create_topic('jobs', partitions => 2)");
sql("SELECT braid.create_group('jobs', 'w', 'work')");

# Takes one, some times; the median of the buffers touched.
sub buffers
{
	my @n = map {
		my $plan = sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT * FROM braid.take('jobs', 'w')");
		my ($hit) = $plan =~ /"Shared Hit Blocks": (\d+)/;
		my ($read) = $plan =~ /"Shared Read Blocks": (\d+)/;
		$hit + $read;
	} 1 .. 21;
	return (sort { $a <=> $b } @n)[10];
}

sub take_all
{
	my ($n) = @_;
	my $client = Braid::Client->new($node);
	my $taken = 0;
	while ($taken < $n)
	{
		my $answer = $client->run("SELECT count(*) FROM braid.take('jobs', 'w', 100, wait => '5 s')");
		die $answer->{error}{M} if $answer->{error};
		last if $answer->{rows}[0][0] == 0;
		$taken += $answer->{rows}[0][0];
	}
	$client->close;
	return $taken;
}

fill(1000);
my $before = buffers();
is(take_all(979), 979, 'all were taken');

# Somebody has had a snapshot since.
my $holder = Braid::Client->new($node);
$holder->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$holder->run('SELECT 1');
for (1 .. 3)
{
	fill(20000);
	is(take_all(20000), 20000, 'all were taken while vacuum was held back');
}
fill(1000);
my $after = buffers();
note "buffers: $before before, $after after";
cmp_ok($after, '<=', $before * 1.1 + 3, 'a message costs as many buffers as before');
is(take_all(979), 979, 'all were taken');
my $size = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'braid_internal'::regnamespace AND (relname ~ '^topic_1_[0-9]' OR relname LIKE 'work\\_%' OR relname LIKE 'positions\\_%')";
ok($cluster->wait_for('db', "SELECT ($size) < 1000000"), 'their space was given back while vacuum was held back') || diag sql($size);
is($holder->run('COMMIT')->{error}, undef, 'it was held back all the time');
$holder->close;

# ---- a crash
fill(10);
my @held = split /\n/, sql("SELECT id FROM braid.take('jobs', 'w', 3, visible_for => '1 h')");
sql("SELECT braid.reject('jobs', 'w', '{$held[0]}', 'much later', delay => '1 h')");
sql("BEGIN; SELECT braid.take('jobs', 'w', 2); PREPARE TRANSACTION 'taken'");
sql("BEGIN; SELECT braid.take('jobs', 'w', 1); PREPARE TRANSACTION 'undone'");
sql('SELECT braid_internal.work_tidy()');
$node->stop('immediate');
$node->start;
is(sql("SELECT id, attempt FROM braid.take('jobs', 'w', 3) WHERE attempt > 1 ORDER BY id"), join("\n", map { "$_|2" } @held[1, 2]),
	'those that were held are taken a second time after a crash');
is(sql("SELECT count(*) FROM braid.take('jobs', 'w', 100)"), 3, 'and those that nobody had');
is(sql("SELECT taken, prepared FROM braid.work"), '3|3', 'those of prepared transactions are not');
sql("COMMIT PREPARED 'taken'");
sql("ROLLBACK PREPARED 'undone'");
is(sql("SELECT count(*) FROM braid.take('jobs', 'w', 100)"), 1, 'but when they are rolled back');

# ---- more messages for later than the window has room for
sql("SELECT braid.send('jobs', '{}'::jsonb, deliver_at => now() + interval '1 s' * (3600 - n)) FROM generate_series(1, 3000) n");
sql("SELECT braid.send('jobs', '{\"soon\": true}'::jsonb, deliver_at => now() + interval '0.5 s')");
is(sql("SELECT payload FROM braid.take('jobs', 'w', wait => '60 s')"), '{"soon": true}', 'they do not keep one from coming in time');
is(sql("SELECT count(*) FROM braid.take('jobs', 'w', 100)"), 0, 'nor come before theirs');
sql("SELECT braid.drop_topic('jobs', true); SELECT braid.create_topic('jobs', partitions => 2); SELECT braid.create_group('jobs', 'w', 'work')");

# ---- a dump, while messages are delayed, rejected, dead and done
sql("SELECT braid.alter_group('jobs', 'w', options => '{\"max_attempts\": 2}')");
fill(6);
sql("SELECT braid.send('jobs', jsonb_build_object('n', n), deliver_at => now() + interval '1 h') FROM generate_series(7, 8) n");
sql("SELECT id FROM braid.take('jobs', 'w', 2)");
sql("SELECT braid.reject('jobs', 'w', array_agg(id), 'later', delay => '0') FROM (SELECT id FROM braid.take('jobs', 'w', 1, visible_for => '1 h')) t");
sql('SELECT braid_internal.work_tidy()');
sql('SELECT pg_sleep(0.1)');	# although others are ready, it is looked for now and then
sql("SELECT braid.reject('jobs', 'w', array_agg(id), 'never') FROM (SELECT id FROM braid.take('jobs', 'w', 10, visible_for => '1 h') WHERE attempt > 1) t");
is(sql("SELECT error, payload FROM braid.dead_letters"), 'never|{"n": 3}', 'a dead letter');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'dumped');
sql('CREATE DATABASE other');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'other' ], 'restored');
is($node->safe_psql('other', "SELECT string_agg(payload->>'n', ',' ORDER BY payload) FROM braid.take('jobs', 'w', 100)"), '4,5,6', 'what was not done is there, once');
is($node->safe_psql('other', "SELECT error, payload FROM braid.dead_letters"), 'never|{"n": 3}', 'and the dead letter');
is($node->safe_psql('other', "SELECT braid.redeliver('jobs', 'w')"), 1, 'which can go back');
is($node->safe_psql('other', "SELECT payload->>'n' FROM braid.take('jobs', 'w', 100, wait => '10 s')"), '3', 'and is taken again');
is($node->safe_psql('other', "SELECT count(*) FROM (TABLE braid_internal.work_carried_0 UNION ALL TABLE braid_internal.work_carried_1) c WHERE due > now()"), 2, 'those for later wait');

# ---- more groups than there is room for
sql("SELECT braid.create_group('jobs', 'g' || g, 'work') FROM generate_series(1, 6) g");
fill(4);
is(sql("SELECT id IS NOT NULL FROM braid.take('jobs', 'g$_')"), 't', "group $_ takes the place of another one") for 1 .. 6;
is(sql("SELECT payload->>'n' FROM braid.take('jobs', 'g$_')"), '2', "group $_ goes on where it was") for 1 .. 6;
my @open = map { my $c = Braid::Client->new($node); $c->run('BEGIN'); $c->run("SELECT braid.take('jobs', 'g$_')"); $c } 1 .. 3;
my ($rc, $out, $err) = $cluster->try_sql('db', "SELECT braid.take('jobs', 'g4')");
like($err, qr/too many consumer groups of mode work are in use.*braid\.topic_work_groups/s, 'but not of one that is in use');
$_->close for @open;
ok($cluster->wait_for('db', "SELECT count(*) = 0 FROM pg_stat_activity WHERE state = 'idle in transaction'"), 'they have gone');
is(sql("SELECT payload->>'n' FROM braid.take('jobs', 'g$_')"), '3', "group $_ goes on") for 1 .. 4;

done_testing();
