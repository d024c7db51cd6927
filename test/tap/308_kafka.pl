# The bridge to Kafka and back: each message once, and in the order of its key, whatever is killed.
#
# Needs a broker and librdkafka, which "tools/setup kafka" fetches, and is skipped without.
use strict;
use warnings;
use lib 'test/lib';
use Braid::Cluster;
use Braid::Kafka;
use Braid::Messages;
use Test::More;
use Time::HiRes qw(sleep);

my $missing = Braid::Kafka::missing();
plan skip_all => $missing if $missing;

my $rounds = $ENV{BRAID_ROUNDS} // 1;
my $kafka = Braid::Kafka->new;
my $cluster = Braid::Cluster->new('node');
$kafka->wait_ready($cluster->node('node'));

# ---- there and back under load, and everything is killed

my $messages = Braid::Messages->new($cluster, { keys => 20 });
$cluster->sql('node', "SELECT braid.create_topic('orders', partitions => 4, retain => '1 hour')");
$cluster->sql('node', "SELECT braid.create_topic('back', partitions => 3, retain => '1 hour')");
$cluster->sql('node', "SELECT braid.create_group('back', 'g')");
$kafka->make_topic('orders', 4);
$messages->make_producers('node');
$messages->make_consumers('node');
my @producers = map { $messages->produce('node', 'orders', { pause => 1 }) } 1 .. 3;
my @consumers = ($messages->consume('node', 'back', 'g'));

my %bridge = (out => [ 'out', 'there', 'orders', 'orders' ], in => [ 'in', 'back', 'back', 'orders' ]);
my %ready;

# Small batches, so that there are many.
sub start { my ($direction, $step, $rows) = @_; return $kafka->start_bridge(@{ $bridge{$direction} }, [ '--batch-rows', $rows // 20 ], $step); }

for my $round (1 .. $rounds)
{
	# After the last one, Kafka has what the group has not, and that is found out.
	for my $step (qw(out/received out/produced out/kafka-committed out/committed in/read in/stored in/committed out/kafka-committed))
	{
		my ($direction, $point) = split m{/}, $step;
		my $dying = start($direction, "$point:" . (2 + int rand 5) . ':kill');
		my $other = start($direction eq 'out' ? 'in' : 'out');
		is($kafka->wait_bridge($dying), -9, "killed when it has $point");
		is($kafka->end_bridge($other), 0, 'the other one ends when asked to');
	}
	%ready = map { $_ => start($_) } 'in', 'out';
	$kafka->wait_for_log($ready{out}, qr/has the next \d+ messages already/);
	sleep 0.5;
	$kafka->kill_broker;
	$kafka->spawn_broker;
	$kafka->wait_broker;
	sleep 1;
	$cluster->node('node')->stop('immediate');
	$cluster->node('node')->start;
	sleep 1;
	$kafka->end_bridge($_, 'KILL') for values %ready;
}
$messages->stop(@producers);
%ready = map { $_ => start($_, undef, 1000) } 'in', 'out';
my $sent = $cluster->sql('node', 'SELECT count(*) FROM messages.sent');
$cluster->wait_for('node', "SELECT count(*) >= $sent FROM messages.effects") or diag map { Braid::Kafka::log_of($_) } values %ready;
sleep 1;
$messages->drain('node', 'back', 'g');
$messages->stop(@consumers);
is_deeply([ $messages->check('node', 'orders', 'node', 'g') ], [], 'there and back: each message once, in the order of its key');
cmp_ok($messages->checked, '>', 200, 'enough messages: ' . $messages->checked);

# Kafka's own view of it.
{
	my (%seen, %last, @wrong);
	my %sent = map { $_ => 1 } split /\n/, $cluster->sql('node', 'SELECT token FROM messages.sent');
	for my $message ($kafka->dump('orders'))
	{
		my ($n, $token) = ($message->{value} =~ /"n": (\d+)/, $message->{value} =~ /"token": "([^"]+)"/);
		push @wrong, "twice: $token" if $seen{$token}++;
		push @wrong, "aborted: $token" if !$sent{$token};
		push @wrong, "reordered: $message->{key} $n" if $n <= ($last{ $message->{key} } // 0);
		$last{ $message->{key} } = $n;
	}
	push @wrong, map { "lost: $_" } grep { !$seen{$_} } sort keys %sent;
	is_deeply(\@wrong, [], 'in Kafka each message is once, in the order of its key');
	is($cluster->sql('node', 'SELECT string_agg(DISTINCT partition || key, \',\' ORDER BY partition || key) FROM orders'),
		join(',', sort keys %{ { map { ("$_->{partition}$_->{key}" => 1) } $kafka->dump('orders') } }), 'and in the partition that it has here');
}
is($kafka->end_bridge($ready{$_}), 0, "$_: SIGTERM ends it") for 'in', 'out';

# ---- two processes for one bridge

{
	my $stopped = start('out', 'produced:1:stop');
	$cluster->sql('node', q{SELECT braid.send('orders', '{"n": 0}', key => 'zombie')});
	$kafka->wait_for_log($stopped, qr/at step "produced"/);
	my $second = start('out');
	$kafka->wait_for_log($second, qr/another process is at work for bridge "there"/);
	pass('a second process waits for the end of the first');
	$cluster->sql('node', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'braid-kafka there' AND state LIKE 'idle in transaction'});
	$kafka->wait_for_log($second, qr/info: connected/);
	kill 'CONT', $stopped->{pid};
	is($kafka->wait_bridge($stopped), 3, 'one that was away for too long may not commit in Kafka, and ends');
	$cluster->wait_for('node', q{SELECT sum(lag_messages) = 0 FROM braid.group_positions WHERE group_name = 'kafka there'});
	is(scalar(grep { $_->{key} eq 'zombie' } $kafka->dump('orders')), 1, 'what both have had is there once');

	$stopped = start('in', 'stored:1:stop');
	$kafka->wait_for_log($stopped, qr/at step "stored"/);
	$cluster->sql('node', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'braid-kafka back'});
	my $third = start('in');
	$cluster->wait_for('node', q{SELECT count(*) = 1 FROM back WHERE key = 'zombie'});
	kill 'CONT', $stopped->{pid};
	$kafka->wait_for_log($stopped, qr/another process is at work/);
	is($cluster->sql('node', q{SELECT count(*) FROM back WHERE key = 'zombie'}), 1, 'nor does one from Kafka commit what another one has');
	$kafka->end_bridge($_) for $second, $third, $stopped;
}

# ---- what a message can be, and which rights are needed

$kafka->set_role('bridge');
$cluster->sql('node', "CREATE ROLE bridge LOGIN; GRANT CREATE ON SCHEMA public TO bridge; GRANT SELECT, INSERT, DELETE ON braid_kafka_offsets TO bridge; SET ROLE bridge; SELECT braid.create_topic('odd', partitions => 2, retain => '1 hour'); SELECT braid.create_topic('bytes', partitions => 2, payload => 'bytea', retain => '1 hour'); SELECT braid.create_topic('dead', payload => 'bytea', retain => '1 hour')");
$kafka->make_topic('odd', 2);
$cluster->sql('node', <<'SQL');
SELECT braid.send('odd', '{"a": "ä"}', key => 'ü', headers => '{"n": null, "s": "ö", "l": ["1", null], "b": {"base64": "AP8="}, "e": "", "o": {"x": 1}, "i": 7}');
SELECT braid.send('odd', NULL::jsonb, key => 'gone');
SELECT braid.send('odd', '"no key"');
SQL
my $out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd', [ '--id-header', 'id' ]);
$cluster->wait_for('node', q{SELECT sum(consumed) = 3 FROM braid.group_positions WHERE group_name = 'kafka odd'});
is($kafka->end_bridge($out), 0, 'a bridge ends');
my %odd = map { ($_->{key} // '-') => $_ } $kafka->dump('odd');
is_deeply([ sort @{ $odd{"\xc3\xbc"}{headers} } ], [ 'b=%00%FF', 'e=', 'i=7', 'id=1', 'l=1', 'l=~', 'n=~', 'o={"x":%201}', 's=%C3%B6' ], 'headers in Kafka');
is($odd{"\xc3\xbc"}{value}, "{\"a\": \"\xc3\xa4\"}", 'a value in Kafka');
is($odd{"\xc3\xbc"}{time}, $cluster->sql('node', "SELECT floor(extract(epoch FROM sent_at) * 1000) FROM odd WHERE id = 1"), 'with the time at which it was sent');
is($odd{gone}{value}, undef, 'no payload is a tombstone');
is($odd{'-'}{value}, '"no key"', 'no key is none');

# Aborted ones, bytes that are no text, no JSON; a batch that fails in the middle keeps its order.
$kafka->write('begin', "send\todd\t0\tk\t{}", 'abort', 'begin', (map { "send\todd\t1\tk\t{\"n\":$_}\th=%FF" } 1 .. 3), "send\todd\t1\tk\tnone", (map { "send\todd\t1\tk\t{\"n\":$_}" } 4 .. 6), "send\todd\t1\t%FF\t{}", 'commit');
my @in = ('in', 'odd', 'public.bytes', 'odd');
my $in = $kafka->start_bridge('in', 'bytes', 'bytes', 'odd', [ '--keys', 'base64', '--origin-header', 'from' ]);
$cluster->wait_for('node', 'SELECT count(*) = 11 FROM bytes');
$kafka->end_bridge($in);
is($cluster->sql('node', q{SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY id) FROM bytes WHERE key = encode('k', 'base64')}), '{"n":1} {"n":2} {"n":3} none {"n":4} {"n":5} {"n":6}', 'any payload is bytes');
is($cluster->sql('node', q{SELECT headers - 'id' - 'from' FROM bytes WHERE key = encode('ü', 'base64')}), '{"b": {"base64": "AP8="}, "e": "", "i": "7", "l": ["1", null], "n": null, "o": "{\"x\": 1}", "s": "ö"}', 'headers come back');
is($cluster->sql('node', q{SELECT count(*) FROM bytes WHERE payload IS NULL AND key = encode('gone', 'base64')}), 1, 'a tombstone has no payload');
is($cluster->sql('node', q{SELECT count(DISTINCT (headers #>> '{from,partition}', headers #>> '{from,offset}')), bool_and((headers #>> '{from,partition}')::int = partition), min(headers #>> '{from,topic}') FROM bytes}), '11|t|odd', 'each says where it comes from');

$cluster->sql('node', "SET ROLE bridge; SELECT braid.create_topic('json', partitions => 3, retain => '1 hour')");
$in = $kafka->start_bridge('in', 'json', 'json', 'odd', [ '--batch-rows', 5 ]);
is($kafka->wait_bridge($in), 1, 'what is no JSON ends a bridge without dead letters');
like(Braid::Kafka::log_of($in), qr/error: offset \d+ of partition 1 is no message for topic "json": 22P02/, 'which says what it was');
$in = $kafka->start_bridge('in', 'json', 'json', 'odd', [ '--dead-letters', 'public.dead' ]);
$cluster->wait_for('node', q{SELECT count(*) = 9 FROM json});
is($cluster->sql('node', q{SELECT string_agg(payload->>'n', ' ' ORDER BY id), count(DISTINCT partition) FROM json WHERE key = 'k'}), '1 2 3 4 5 6|1', 'with them all others come, in order');
is($cluster->sql('node', q{SELECT string_agg(convert_from(payload, 'UTF8') || left(headers ->> 'error', 5) || (headers ->> 'topic') || convert_from(decode(headers ->> 'key', 'base64'), 'LATIN1'), ' ' ORDER BY id) FROM dead}), 'none22P02oddk {}22021oddÿ', 'and they say what was wrong');
$kafka->end_bridge($in);

# ---- positions that do not fit

$cluster->sql('node', q{SELECT braid.send('odd', '"somebody else"'); SELECT count(*) FROM braid.receive('odd', 'kafka odd')});
$out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd');
is($kafka->wait_bridge($out), 1, 'a group that somebody else has read from is noticed');
like(Braid::Kafka::log_of($out), qr/does not fit that of group "kafka odd": the group has received messages that Kafka does not have/, 'and said');
$out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd', ['--accept']);
ok($kafka->wait_for_log($out, qr/info: connected/), 'who accepts it goes on');
$kafka->end_bridge($out);
$kafka->write('begin', "send\tbraid-position.odd\t0\todd\t" . '{"server":"another","consumed":' . (1 + $cluster->sql('node', q{SELECT sum(consumed) FROM braid.group_positions WHERE group_name = 'kafka odd'})) . ',"ids":"1-4"}', 'commit');
$out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd');
is($kafka->wait_bridge($out), 1, 'ids of another server mean nothing here');
like(Braid::Kafka::log_of($out), qr/the last messages that Kafka has came from another server, or from before a fail-over, or from another group/, 'and that is said');
$cluster->sql('node', q{SELECT braid.drop_group('odd', 'kafka odd')});
$out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd');
is($kafka->wait_bridge($out), 1, 'so is another group of the same name');
like(Braid::Kafka::log_of($out), qr/Kafka has messages from this bridge that the group has not received/, 'which has received less than Kafka has');

$kafka->write('begin', "send\tbraid-position.odd\t0\tother\t{}", 'commit');
$out = $kafka->start_bridge('out', 'odd', 'public.odd', 'odd');
is($kafka->wait_bridge($out), 1, 'a topic of positions is of one bridge');
like(Braid::Kafka::log_of($out), qr/"braid-position.odd" has the position of another bridge/, 'and another one does not take it');

$cluster->sql('node', q{UPDATE braid_kafka_offsets SET next_offset = 100 WHERE bridge = 'json' AND partition = 1 AND next_offset = (SELECT max(next_offset) FROM braid_kafka_offsets WHERE bridge = 'json' AND partition = 1)});
$in = $kafka->start_bridge('in', 'json', 'json', 'odd');
is($kafka->wait_bridge($in), 1, 'an offset that Kafka does not have ends a bridge');
like(Braid::Kafka::log_of($in), qr/partition 1 of Kafka's topic "odd" is to be read from offset 100, and has those from 0 to/, 'which says so');
$in = $kafka->start_bridge('in', 'json', 'json', 'odd', [ '--accept', '--dead-letters', 'public.dead' ]);
$cluster->wait_for('node', q{SELECT count(*) > 9 FROM json});
like(Braid::Kafka::log_of($in), qr/warning: partition 1: goes on with offset 0 instead of 100/, 'and goes on with the first when told');
$kafka->end_bridge($in);

# Partitions that come later are read from their beginning, wherever the bridge has begun.
$kafka->set_role(undef);
$in = $kafka->start_bridge('in', 'late', 'json', 'odd', [ '--start', 'end' ]);
$kafka->wait_for_log($in, qr/info: connected/);
$kafka->end_bridge($in);
$kafka->add_partitions('odd', 3);
Braid::Cluster::until_true(sub { return eval { $kafka->write('begin', "send\todd\t2\tlate\t{}", 'commit'); 1 } }) or die 'there is no new partition';
$cluster->sql('node', q{SELECT braid.send('json', '1', key => 'mark')});
$in = $kafka->start_bridge('in', 'late', 'json', 'odd', [ '--start', 'end' ]);
$cluster->wait_for('node', q{SELECT count(*) = 1 FROM json WHERE key = 'late'});
$kafka->end_bridge($in);
is($cluster->sql('node', q{SELECT string_agg(key, ',' ORDER BY id) FROM json WHERE id >= (SELECT id FROM json WHERE key = 'mark')}), 'mark,late', 'a partition that has come later is read, and nothing that was before');

# ---- what is asked for wrongly

sub refused
{
	my ($what, @command) = @_;
	my $said = '';
	IPC::Run::run([ "$kafka->{dir}/braid-kafka", @command ], '>&', \$said);
	return is($? >> 8, 2, "$what is refused") && unlike($said, qr/secret/, 'and secrets are not shown');
}
my $file = $kafka->write_file('bridge.conf', "# a comment\nname = conf\ntopic=public.odd\nkafka-topic = odd\ndsn = host=/tmp password=secret\nbroker = $kafka->{broker}\nkafka.sasl.password = secret\n");
refused('no direction', '--config', $file);
refused('an option of the other direction', 'in', '--config', $file, '--group', 'g');
refused('a number out of range', 'in', '--config', $file, '--batch-rows', '0');
refused('a property that the bridge rests on', 'out', '--config', $file, '-X', 'isolation.level=read_uncommitted');
refused('an unknown property', 'out', '--config', $file, '-X', 'nonsense=secret');
refused('a property with a wrong value', 'out', '--config', $file, '-X', 'security.protocol=secret');
refused('a connection string that is none', 'out', '--config', $file, '--dsn', 'host=/tmp secret');
refused('a line that is none', 'out', '--config', $kafka->write_file('wrong.conf', "secret\n"));

done_testing();
