# What braid.doctor() says of topics, consumer groups and relays: each trouble, and that it is over.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.topic_rotate_interval = 100ms
braid.topic_segment_size = 64kB
braid.topic_lag_alarm = 100ms
CONF
my $node = $cluster->node('db');
sub sql { return $cluster->sql('db', @_); }

my $troubles = "SELECT string_agg(item || ': ' || status, ', ' ORDER BY item) FROM braid.doctor() WHERE status <> 'ok' AND item ~ '^(topic|consumer group|relay)'";

# Waits until the doctor finds these, and nothing else; returns detail and advice of the first.
sub finds
{
	my ($what, @items) = @_;
	my $ok = $cluster->wait_for('db', $troubles, join(', ', sort @items));
	ok($ok, "the doctor finds $what") || diag sql("SELECT * FROM braid.doctor() WHERE status <> 'ok'");
	return if !@items;
	my ($item) = $items[0] =~ /^(.*): /;
	return sql("SELECT detail || ' | ' || advice FROM braid.doctor() WHERE item = '$item'");
}

sql('CREATE ROLE watcher IN ROLE pg_monitor');
is(sql("SELECT count(*) FROM braid.doctor() WHERE item ~ '(topic|group|relay)'"), 0, 'a database without topics is not asked about them');
sql("SELECT braid.create_topic('orders', partitions => 2, retain => '0 s', segments => 3); SELECT braid.create_group('orders', 'g')");
finds('nothing at first');
is(sql("SET ROLE watcher; SELECT string_agg(item || ' ' || detail, ', ' ORDER BY item) FROM braid.doctor() WHERE item ~ '(topic|group|relay)'"),
	'consumer groups 1, none in trouble, topics 1, none in trouble', 'a member of pg_monitor sees the checks');

# ---- a group that does not read, and what it holds
sub fill { return sql("SELECT braid.send_batch('orders', \$\$SELECT jsonb_build_object('n', n, 'pad', repeat('x', 1000)) AS payload FROM generate_series(1, 200) n\$\$)"); }
sub read_all { my ($group) = @_; sql("SELECT count(*) FROM braid.receive('orders', '$group', 1000)") for 1 .. 2; return; }
fill();
like(finds('a group that is behind', 'consumer group g of public.orders: warning', 'topic public.orders: warning'), qr/^it is .* behind \| See braid\.group_positions/, 'how far');
is(sql("SET ROLE watcher; $troubles"), 'consumer group g of public.orders: warning, topic public.orders: warning', 'also for who may not read the messages');
like(sql("SELECT detail FROM braid.doctor() WHERE item = 'topic public.orders'"), qr/^messages are kept beyond their time since .*, for consumer group g$/, 'and for whom messages are kept');
read_all('g');
finds('that it has read on');

# ---- transactions that are in the way
my $writer = Braid::Client->new($node);
my $writer_pid = $writer->run('SELECT pg_backend_pid()')->{rows}[0][0];
$writer->run('BEGIN');
$writer->run(q{SELECT braid.send('orders', '1'::jsonb)});
fill();
read_all('g');
my $detail = finds('a sender that is open', 'topic public.orders: warning');
like($detail, qr/^braid_internal\.topic_1_\d cannot be closed since .*: it is locked by (process \d+, )*process $writer_pid\b.* \| A transaction that has sent/, 'which one');
$writer->run('COMMIT');
read_all('g');
finds('that it has ended');

fill();
sql("BEGIN; LOCK braid_internal.topic_1_$_ IN ACCESS SHARE MODE; PREPARE TRANSACTION 'reader_$_'") for 0 .. 2;
read_all('g');
like(finds('a reader that is open', 'topic public.orders: warning'), qr/^messages that nobody wants any more are kept since .* is locked by a prepared transaction(, process \d+)* \| A transaction that has read/, 'a prepared one');
sql("COMMIT PREPARED 'reader_$_'") for 0 .. 2;
finds('that it has ended');

# ---- dead letters
sql("SELECT braid.create_group('orders', 'w', 'work', options => '{\"max_attempts\": 1}')");
sql(q{SELECT braid.send('orders', '1'::jsonb)});
sql("SELECT braid.reject('orders', 'w', array_agg(id), 'secret') FROM braid.take('orders', 'w', visible_for => '1 h')");
read_all('g');
$detail = finds('dead letters', 'consumer group w of public.orders: warning');
like($detail, qr/^1 dead letters, the last one of .* \| .*braid\.redeliver\('public\.orders', 'w'\)/, 'and the way back');
unlike($detail, qr/secret/, 'but not what they are');
sql("SELECT braid.discard_dead_letters('orders', 'w')");
sql("SELECT braid.drop_group('orders', 'w')");
finds('that they are gone');

# ---- relays
my ($host, $port, $user) = ($node->host, $node->port, getpwuid $<);
sql("CREATE SERVER here FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '$host', port '$port', dbname 'postgres'); CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (user '$user')");
sql("SELECT braid.create_topic('copy', retain => '1 h'); SELECT braid.create_relay('public.orders', 'here', 'copy', name => 'copy')");
finds('nothing of a relay that streams');
is(sql("SELECT status, detail FROM braid.doctor() WHERE item = 'relays'"), 'ok|1, none in trouble', 'it is in no trouble');

sql("ALTER SERVER here OPTIONS (SET dbname 'nowhere')");
like(finds('a relay that fails', 'relay copy: warning'), qr/^it fails since .*: .*database "nowhere" does not exist \| See whether the source runs/, 'why');
my $since = sql("SELECT since FROM braid.relays");
sleep 1;
is(sql("SELECT since FROM braid.relays"), $since, 'since when, however often it is tried');
fill();
read_all('g');
finds('what waits for it', 'consumer group relay copy ' . substr(sql("SELECT name FROM braid_internal.groups WHERE name LIKE 'relay copy %'"), 11) . ' of public.orders: warning', 'relay copy: warning', 'topic public.orders: warning');
sql("ALTER SERVER here OPTIONS (SET dbname 'postgres')");
finds('that it goes on');

sql("SELECT braid.alter_relay('copy', target_limit => 1)");
sql(q{SELECT braid.send('orders', '1'::jsonb)});
read_all('g');
$cluster->wait_for('db', "SELECT state = 'held' FROM braid.relays") or die 'not held';
ok($cluster->wait_for('db', q{SELECT count(*) = 1 FROM braid.doctor() WHERE item = 'relay copy' AND detail ~ '^it is held back since' AND advice ~ 'target_limit'}), 'a relay that is held back');
sql("SELECT braid.alter_relay('copy', target_limit => 0)");
finds('that it is not held back any more');

my $group = sql("SELECT name FROM braid_internal.groups WHERE name LIKE 'relay copy %'");
sql("SELECT braid.alter_relay('copy', paused => true); SELECT braid.drop_group('orders', '$group'); SELECT braid.resume_relay('copy')");
like(finds('a relay that has stopped', 'relay copy: error'), qr/^it has stopped: the source does not know the relay.* \| .*braid\.resume_relay/, 'why, and what to do');
sql("SELECT braid.drop_relay('copy')");
finds('nothing in the end');

# ---- a standby
$cluster->add_standby('db', 'standby');
is($cluster->node('standby')->safe_psql('postgres', "SELECT count(*) FROM braid.doctor() WHERE item ~ '(topic|group|relay)'"), 0, 'a standby is not asked');

done_testing();
