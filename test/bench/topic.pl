# Topics beside PgQ and beside tables, in turns on one server, with payloads of 100 bytes: sending
# messages one by one and in batches, draining a log, working a queue with one acknowledgement each, also
# while a transaction holds back xmin (BENCH_HOLD, in seconds), from commit until received, over a relay to another
# server, and what is left of a million messages (BENCH_ROWS).
use strict;
use warnings;
use Braid::Bench;
use Braid::Client;
use Braid::Cluster;
use List::Util qw(max min);
use Test::More;
use Time::HiRes qw(time sleep);

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $seconds = $ENV{BENCH_SECONDS} // 3;
my $hold = $ENV{BENCH_HOLD} // 180;
my $messages = $ENV{BENCH_ROWS} // 1_000_000;
my $payload = 'x' x 100;
my $node = Braid::Cluster->start_node('db', "$Braid::Bench::durable\nmax_connections = 50\n");

sub sql { return $node->safe_psql('postgres', $_[0], timeout => 900); }

plan skip_all => 'PgQ is not installed (postgresql-15-pgq3)'
  if sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pgq'}) == 0;

sql(<<'SQL');
CREATE EXTENSION braid;
CREATE EXTENSION pgq;
CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY, sent_at timestamptz DEFAULT now(), payload text);
CREATE TABLE queue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent_at timestamptz DEFAULT now(), payload text);
SELECT pgq.create_queue('q');
SELECT pgq.register_consumer('q', 'c');
SELECT braid.create_topic('t', payload => 'text');
SELECT braid.create_topic('w', payload => 'text');
SELECT braid.create_group('t', 'log');
SELECT braid.create_group('w', 'work', mode => 'work');
SQL

sub rate
{
	my ($clients, $script) = @_;
	sql('CHECKPOINT');
	return pgbench_tps($node, $script, clients => $clients, seconds => $seconds);
}

# ---- sending

my $single = in_turn($rounds,
	bare => sub { rate(4, "INSERT INTO bare (payload) VALUES ('$payload');") },
	pgq => sub { rate(4, "SELECT pgq.insert_event('q', 't', '$payload');") },
	topic => sub { rate(4, "SELECT braid.send('t', '$payload'::text);") });
my $batch = in_turn($rounds,
	bare => sub { 100 * rate(4, "INSERT INTO bare (payload) SELECT '$payload' FROM generate_series(1, 100);") },
	pgq => sub { 100 * rate(4, "SELECT pgq.insert_event('q', 't', '$payload') FROM generate_series(1, 100);") },
	topic => sub { 100 * rate(4, "SELECT braid.send_batch('t', array_fill('$payload'::text, ARRAY[100]));") });
my $rates = join ', ', map { "$_ %.0f/s" } qw(topic PgQ INSERT);
my ($what, $figures) = ('one by one', $single);
for (1, 2)
{
	my @medians = map { median(@{ $figures->{$_} }) } qw(topic pgq bare);
	report("topic, $what / PgQ", ratio($figures, 'topic', 'pgq'), $what eq 'one by one' ? '>= 1' : '>= 3', sprintf($rates, @medians));
	report("topic, $what / INSERT", ratio($figures, 'topic', 'bare'), $what eq 'one by one' ? '>= 0.9' : 'none', '');
	($what, $figures) = ('batches of 100', $batch);
}

# ---- draining

my $backlog = min($messages, 300_000);
my $drain_pgq = <<'SQL';
DO $$
DECLARE b bigint; n bigint; total bigint = 0;
BEGIN
	LOOP
		b := pgq.next_batch('q', 'c');
		EXIT WHEN b IS NULL;
		SELECT count(ev_data) INTO n FROM pgq.get_batch_events(b);
		PERFORM pgq.finish_batch(b);
		COMMIT;
		total := total + n;
	END LOOP;
	RAISE NOTICE 'drained %', total;
END $$
SQL
my $drain_topic = <<'SQL';
DO $$
DECLARE n bigint; total bigint = 0;
BEGIN
	LOOP
		SELECT count(payload) INTO n FROM braid.receive_text('t', 'log', max_rows => 10000);
		COMMIT;
		EXIT WHEN n = 0;
		total := total + n;
	END LOOP;
	RAISE NOTICE 'drained %', total;
END $$
SQL

# Messages a second that one consumer gets, of those that batches of 10,000 have made.
sub drain
{
	my ($send, $tick, $drain, $is_warm_up) = @_;
	for (1 .. $backlog / 10_000)
	{
		sql($send);
		sql($tick) if $tick;
	}
	return drain_what_is_there($drain, $is_warm_up);
}

sub drain_what_is_there
{
	my ($drain, $is_warm_up) = @_;
	my ($stdout, $stderr) = ('', '');
	my $begin = time;
	$node->psql('postgres', $drain, stdout => \$stdout, stderr => \$stderr, timeout => 600);
	my $took = time - $begin;
	my ($drained) = $stderr =~ /drained (\d+)/;
	die "not drained: $stderr" unless defined $drained;
	is($drained, $backlog, 'each message was received once') unless $is_warm_up;
	return $drained / $took;
}
my $tick = q{SELECT pgq.force_tick('q'); SELECT pgq.ticker('q')};
my $send_pgq = "SELECT count(pgq.insert_event('q', 't', '$payload')) FROM generate_series(1, 10000)";
my $send_topic = "SELECT count(*) FROM braid.send_batch('t', array_fill('$payload'::text, ARRAY[10000]))";
sql('SELECT pgq.ticker()');
drain($send_pgq, $tick, $drain_pgq, 1);
drain($send_topic, undef, $drain_topic, 1);
my $drained = in_turn($rounds,
	pgq => sub { drain($send_pgq, $tick, $drain_pgq) },
	topic => sub { drain($send_topic, undef, $drain_topic) });
report('topic, drained / PgQ', ratio($drained, 'topic', 'pgq'), '>= 1',
	sprintf('topic %.0f/s, PgQ %.0f/s, one consumer', map { median(@{ $drained->{$_} }) } qw(topic pgq)));

# ---- work

my $take = q{SELECT id, payload FROM braid.take_text('w', 'work');};
my $delete = 'DELETE FROM queue WHERE id = (SELECT id FROM queue ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id, payload;';

sub work
{
	my ($name) = @_;
	my $supply = $seconds * 20_000;
	sql($name eq 'queue' ? "TRUNCATE queue; INSERT INTO queue (payload) SELECT '$payload' FROM generate_series(1, $supply)"
		: "SELECT count(*) FROM braid.send_batch('w', array_fill('$payload'::text, ARRAY[$supply]))");
	return rate(4, $name eq 'queue' ? $delete : $take);
}
my $worked = in_turn($rounds, queue => sub { work('queue') }, topic => sub { work('topic') });
report('topic, work / SKIP LOCKED', ratio($worked, 'topic', 'queue'), '>= 1',
	sprintf('topic %.0f/s, table %.0f/s, 4 consumers', map { median(@{ $worked->{$_} }) } qw(topic queue)));

# Rates in the last seconds of a time in which xmin was held back, and right before it.
sub held
{
	my ($name) = @_;
	my $script = $name eq 'queue' ? $delete : $take;
	my $supply = 4_000 * ($hold + 3 * $seconds);
	sql($name eq 'queue' ? "TRUNCATE queue; INSERT INTO queue (payload) SELECT '$payload' FROM generate_series(1, $supply)"
		: "SELECT count(*) FROM braid.send_batch('w', array_fill('$payload'::text, ARRAY[$supply]))");
	my $before = rate(4, $script);
	my $holder = $node->background_psql('postgres');
	$holder->set_query_timer_restart;
	$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()');
	# What consumers do meanwhile is of the same amount for both.
	pgbench($node, $script, clients => 4, seconds => max(1, $hold - $seconds), rate => 3_000);
	my $after = rate(4, $script);
	$holder->query_safe('COMMIT');
	$holder->quit;
	return ($after / $before, $before, $after);
}
if ($hold)
{
	my @topic = held('topic');
	my @queue = held('queue');
	report('topic, work, xmin held', $topic[0], '>= 0.9', sprintf('after %d s; %.0f/s before, %.0f/s at the end; table %.2f', $hold, @topic[1, 2], $queue[0]));
}

# ---- from commit until received

sql('CREATE TABLE latency (ms float8)');
my $receive = <<'SQL';
WITH r AS MATERIALIZED (SELECT sent_at FROM braid.receive_text('t', 'log', max_rows => 100, wait => '100 ms'))
INSERT INTO latency SELECT extract(epoch FROM clock_timestamp() - sent_at) * 1000 FROM r;
SQL
my $drainer = pgbench_start($node, $receive, clients => 1, seconds => 12);
sleep 1;
# The flush of the sender's commit is not part of it.
pgbench($node, "SELECT braid.send('t', '$payload'::text);", clients => 4, seconds => 10, rate => 2_000, settings => { synchronous_commit => 'off' });
pgbench_finish($drainer);
my ($p50, $p99, $n) = split /\|/, sql('SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), count(*) FROM latency');
ok($n > 10_000, 'messages were received while they came');
report('topic, latency p50, ms', $p50, '< 1', "$n messages at 2,000/s, from send() on");
report('topic, latency p99, ms', $p99, '< 10', '');

# ---- over a relay to another server, which has to store what it gets; and one consumer here, of the same messages

my $there = Braid::Cluster->start_node('there', $Braid::Bench::durable);
$there->safe_psql('postgres', $_) for (
	'CREATE EXTENSION braid',
	"CREATE SERVER db FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '@{[ $node->host ]}', port '@{[ $node->port ]}', dbname 'postgres')",
	"CREATE USER MAPPING FOR PUBLIC SERVER db OPTIONS (user '@{[ getpwuid($<) . '' ]}')",
	q{SELECT braid.create_topic('r', payload => 'text')});
sql(q{SELECT braid.create_topic('r', payload => 'text'); SELECT braid.create_group('r', 'log')});
$there->safe_psql('postgres', q{SELECT braid.create_relay('public.r', 'db', 'r', name => 'r'); SELECT braid.alter_relay('r', paused => true)});
my $watcher = Braid::Client->new($there);
my $relayed = 0;

sub relay
{
	$relayed += $backlog;
	my $begin = time;
	$watcher->run(q{SELECT braid.resume_relay('r')});
	until ($watcher->value(q{SELECT messages FROM braid.relays}) >= $relayed)
	{
		die 'the relay does not come to the end' if time - $begin > 300;
		sleep 0.02;
	}
	my $took = time - $begin;
	$watcher->run(q{SELECT braid.alter_relay('r', paused => true)});
	return $backlog / $took;
}

my %drained_here;
(my $send_r = $send_topic) =~ s/'t'/'r'/;
(my $drain_r = $drain_topic) =~ s/'t'/'r'/;
for my $round (0 .. $rounds)
{
	sql($send_r) for 1 .. $backlog / 10_000;
	my $relayed_now = relay();
	my $drained_now = drain_what_is_there($drain_r, $round == 0);
	next if $round == 0;    # it was to warm up
	push @{ $drained_here{relay} }, $relayed_now;
	push @{ $drained_here{consumer} }, $drained_now;
}
is($there->safe_psql('postgres', 'SELECT count(*) FROM r'), $relayed, 'each message was relayed once');
report('relay, thousands/s', median(@{ $drained_here{relay} }) / 1000, '>= 100',
	sprintf('to another server on the same machine; %.2f of one consumer here', ratio(\%drained_here, 'relay', 'consumer')));

# ---- what is left

sql(q{SELECT braid.create_topic('l', payload => 'text', retain => '0 s'); SELECT braid.create_group('l', 'log', start => 'beginning')});
sql("SELECT count(*) FROM braid.send_batch('l', array_fill('$payload'::text, ARRAY[100000]))") for 1 .. $messages / 100_000;
(my $drain_left = $drain_topic) =~ s/'t'/'l'/;
sql($drain_left);
my $size = q{SELECT bytes FROM braid.topics WHERE topic = 'l'::regclass};
my $before = sql($size);
for (1 .. 50)
{
	sql(q{SELECT braid.rotate_topic('l')});
	last if sql($size) < 1048576;
	sleep 0.2;
}
report('topic, MB left', sql($size) / 1048576, '< 1', sprintf('%.0f MB before rotation', $before / 1048576));
done_testing();
