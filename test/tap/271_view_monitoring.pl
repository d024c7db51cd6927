# What is under docs/monitoring, and what braid.doctor() says of continuous views:
# each query runs with the rights of pg_monitor and returns what it declares, each
# metric of the dashboard and of the alarms exists, the real exporter shows them if it
# is installed, and each trouble that can be provoked is found.
use strict;
use warnings;
use Braid::Cluster;
use CPAN::Meta::YAML;
use HTTP::Tiny;
use JSON::PP;
use Test::More;

my $cluster = Braid::Cluster->new('node', { conf => "braid.view_populate_limit = '64kB'\n" });
my $node = $cluster->node('node');

sub sql { return $cluster->sql('node', $_[0]); }

sub document { return PostgreSQL::Test::Utils::slurp_file("docs/monitoring/$_[0]"); }

sub settle { sql("SELECT braid.wait('$_', '60 s')") eq 't' or die "$_ does not catch up" for @_; return; }

sql('CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE SCHEMA shop;
	CREATE TABLE shop.t (id int PRIMARY KEY, k int, v int); CREATE TABLE shop.u (k int, name text);
	INSERT INTO shop.t SELECT g, g % 10, g FROM generate_series(1, 1000) g; INSERT INTO shop.u SELECT g, \'name \' || g FROM generate_series(0, 9) g');

sub faults { return sql("SELECT item || ': ' || status FROM braid.doctor() WHERE status <> 'ok' AND item <> 'fsync' ORDER BY 1"); }

sub finds
{
	my ($what, @expected) = @_;
	ok($node->poll_query_until('postgres', "SELECT item || ': ' || status FROM braid.doctor() WHERE status <> 'ok' AND item <> 'fsync' ORDER BY 1", join("\n", @expected)),
		"the doctor finds $what");
	return;
}

sub advice { return sql("SELECT detail || ' | ' || advice FROM braid.doctor() WHERE item = '$_[0]' AND status <> 'ok'"); }

is(sql("SELECT count(*) FROM braid.doctor() WHERE item IN ('wal_level', 'states', 'continuous views')"), '0', 'a database without views is not asked about them');
sql('SET client_min_messages = warning;
	CREATE MATERIALIZED VIEW shop.sums WITH (braid.continuous) AS SELECT k, count(*) AS n, sum(v) AS v FROM shop.t GROUP BY k;
	CREATE MATERIALIZED VIEW shop.joined WITH (braid.continuous) AS SELECT t.id, 100 / t.v AS share, u.name FROM shop.t JOIN shop.u USING (k);
	CREATE MATERIALIZED VIEW names WITH (braid.continuous) AS SELECT DISTINCT name FROM shop.joined');
settle('shop.sums', 'shop.joined', 'names');
sql('INSERT INTO shop.t VALUES (1001, 1, 1)');
settle('shop.sums', 'shop.joined', 'names');

# ---- the query file
my $queries = CPAN::Meta::YAML->read_string(document('queries.yaml'))->[0];
my %metrics;
for my $name (sort keys %$queries)
{
	my @columns = map { (keys %$_)[0] } @{ $queries->{$name}{metrics} };
	my %usage = map { my ($column) = keys %$_; $column => $_->{$column}{usage} } @{ $queries->{$name}{metrics} };
	my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE watcher; SELECT to_json(q) FROM ($queries->{$name}{query}) q", extra_params => ['-At']);
	is($err, '', "$name: runs for a member of pg_monitor");
	my @rows = grep { $_ ne 'SET' } split /\n/, $out;
	cmp_ok(scalar @rows, '>=', $name eq 'braid_view_population' ? 0 : 1, "$name: has rows");
	my ($rc2, $described) = $node->psql('postgres', "SET ROLE watcher; CREATE TEMP VIEW described AS $queries->{$name}{query};
		SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'described'::regclass ORDER BY attname", extra_params => ['-At']);
	my %types = map { split /\|/ } split /\n/, $described;
	is(join(',', sort keys %types), join(',', sort @columns), "$name: returns what it declares");
	for my $column (@columns)
	{
		my $expected = $usage{$column} eq 'LABEL' ? qr/^(text|name)$/ : qr/^(integer|bigint|numeric|double precision)$/;
		like($types{$column}, $expected, "$name.$column: is a " . lc $usage{$column});
		$metrics{"${name}_$column"} = $usage{$column} if $usage{$column} ne 'LABEL';
	}
}
is(sql("SELECT count(*) FROM braid.stat_views s JOIN braid.views v USING (name)"), '3', 'all views are counted');

# ---- what stands on it
sub used
{
	my (@texts) = @_;
	my %found = map { $_ => 1 } map { /\b(braid_[a-z0-9_]+)/g } @texts;
	return \%found;
}

sub expressions
{
	my ($tree) = @_;
	return map { expressions($_) } @$tree if ref $tree eq 'ARRAY';
	return () if ref $tree ne 'HASH';
	return map { ref $tree->{$_} ? expressions($tree->{$_}) : /^(expr|definition)$/ ? $tree->{$_} : () } sort keys %$tree;
}

my $dashboard = decode_json(document('dashboard.json'));
my $shown = used(expressions($dashboard));
cmp_ok(scalar keys %$shown, '>', 25, 'the dashboard shows metrics');
is(join(',', grep { !$metrics{$_} } sort keys %$shown), '', 'all of which exist');
is(join(',', grep { ref $_->{targets} && grep { !$_->{expr} } @{ $_->{targets} } } @{ $dashboard->{panels} }), '', 'each panel has its query');
my %ids;
$ids{ $_->{id} }++ for @{ $dashboard->{panels} };
is(join(',', grep { $ids{$_} > 1 } keys %ids), '', 'and a number of its own');
for my $expression (expressions($dashboard))
{
	my ($metric) = $expression =~ /\b(?:rate|increase)\((braid_[a-z0-9_]+)/ or next;
	is($metrics{$metric}, 'COUNTER', "$metric, whose rate is shown, is a counter");
}
my $alarms = document('alerts.yml');
my $watched = used($alarms =~ /^ *expr: (.*)$/mg);
cmp_ok(scalar keys %$watched, '>', 5, 'there are alarms');
is(join(',', grep { !$metrics{$_} } sort keys %$watched), '', 'over metrics that exist');

# ---- the exporter itself
SKIP:
{
	my ($program) = grep { -x } map { "$_/prometheus-postgres-exporter" } split /:/, "$ENV{PATH}:/usr/bin";
	skip 'prometheus-postgres-exporter is not installed', 3 if !$program;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	local $ENV{DATA_SOURCE_NAME} = sprintf 'host=%s port=%d user=watcher dbname=postgres sslmode=disable', $node->host, $node->port;
	my $log = "$PostgreSQL::Test::Utils::log_path/exporter.log";
	my $exporter = IPC::Run::start([ $program, "--web.listen-address=127.0.0.1:$port", '--extend.query-path=docs/monitoring/queries.yaml' ], '>', $log, '2>', $log);
	my $answer = '';
	for (1 .. 100)
	{
		$answer = HTTP::Tiny->new(timeout => 30)->get("http://127.0.0.1:$port/metrics")->{content};
		last if $answer =~ /^braid_/m;
		select undef, undef, undef, 0.1;
	}
	$exporter->kill_kill;
	my %exported = map { $_ => 1 } $answer =~ /^(braid_[a-z0-9_]+)\{/mg;
	is(join(',', grep { !$exported{$_} && !/^braid_view_population_/ } sort keys %metrics), '', 'the exporter shows all metrics');
	like($answer, qr/^braid_stat_view_transactions\{datname="postgres",server="[^"]*",view="shop\.sums"\} 1$/m, 'with their values');
	like($answer, qr/^pg_exporter_last_scrape_error 0$/m, 'and without an error');
}

# ---- the doctor: each trouble
finds('nothing at first');
is(sql("SET ROLE watcher; SELECT count(*) FROM braid.doctor() WHERE item IN ('wal_level', 'capture worker', 'replication slots', 'replication slot', 'WAL kept', 'room for statistics', 'continuous views', 'replica identities', 'states') AND status = 'ok'"),
	'9', 'a member of pg_monitor sees all checks');

# on a standby
$cluster->add_standby('node', 'standby');
my $standby = $cluster->node('standby');
$node->wait_for_catchup('standby', 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT string_agg(DISTINCT state, ','), count(lag), count(*) FROM braid.views"), 'live|0|3', 'a standby shows the states of the primary, and no lag');
is($standby->safe_psql('postgres', "SELECT item || ': ' || status FROM braid.doctor() WHERE status <> 'ok' AND item NOT IN ('fsync', 'recovery')"), '', 'and finds nothing else to be amiss');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM braid.stat_views, braid.stat_capture, braid.progress'), '0', 'nor anything that was done here');
$standby->stop('immediate');
sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE plugin IS NULL");

# broken
sql('INSERT INTO shop.t VALUES (0, 0, 0)');
finds('a broken view, and who reads it', 'continuous view public.names: warning', 'continuous view shop.joined: error');
is(advice('continuous view shop.joined'), 'it is broken: division by zero | Mend the cause, then run REFRESH MATERIALIZED VIEW shop.joined.', 'why, and what to do');
like(advice('continuous view public.names'), qr/^it is held back: continuous view "joined", which it reads, is broken/, 'why it is held back');
sql('DELETE FROM shop.t WHERE id = 0; REFRESH MATERIALIZED VIEW shop.joined');
finds('that it is mended');

# a lock
my $locker = $node->background_psql('postgres');
my $pid = $locker->query_safe('SELECT pg_backend_pid()');
chomp $pid;
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK shop.u');
sql('INSERT INTO shop.t VALUES (1002, 1, 1)');
$node->append_conf('postgresql.conf', "braid.view_lag_alarm = '50ms'\n");
$node->reload;
finds('views that are held back by a lock', 'continuous view public.names: warning', 'continuous view shop.joined: warning', 'continuous view shop.sums: warning');
like(advice('continuous view shop.joined'), qr/^it is held back for [\d:.]+ by process $pid \| See pg_stat_activity/, 'and by whom');
$locker->query_safe('COMMIT');
$locker->quit;

# a worker that lags
$pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'");
settle('shop.sums');
kill 'STOP', $pid;
sql('INSERT INTO shop.t VALUES (1003, 1, 1)');
finds('views that lag', 'continuous view public.names: warning', 'continuous view shop.joined: warning', 'continuous view shop.sums: warning');
like(advice('continuous view shop.sums'), qr/^it lags [\d:.]+ behind \| See braid.stat_capture/, 'what to look at');
kill 'CONT', $pid;
$node->append_conf('postgresql.conf', "braid.view_lag_alarm = '1min'\n");
$node->reload;
finds('that they have caught up');

# paused and populated for long
sql("SELECT braid.pause('names')");
ok($cluster->wait_for('node', "SELECT s.state = 'paused' FROM braid_internal.view_states s JOIN braid.views v USING (id) WHERE v.name = 'names'::regclass", 't'), 'a view is paused');
finds('nothing in that');
sql("UPDATE braid_internal.view_states SET since = since - interval '2 days' WHERE state = 'paused'");
finds('a view that is paused for days', 'continuous view public.names: warning');
like(advice('continuous view public.names'), qr/^it is paused since \S+ \S+ \| Run SELECT braid\.resume\('public\.names'\), or drop it\.$/, 'what to do');
sql("SELECT braid.resume('names')");
finds('that it is resumed');
$cluster->failpoint('node', 'view-populate', 'wait');
sql('INSERT INTO shop.t SELECT g, g % 10, g FROM generate_series(10000, 20000) g; REFRESH MATERIALIZED VIEW shop.sums');
ok($cluster->wait_for('node', "SELECT count(*) = 1 FROM braid.progress WHERE name = 'shop.sums'::regclass"), 'a view is populated');
sql("UPDATE braid_internal.view_states SET since = since - interval '1 day' WHERE state = 'rebuilding'");
finds('one that is rebuilding for long', 'continuous view shop.sums: warning');
like(advice('continuous view shop.sums'), qr/^it is rebuilding since \S+ \S+ \| See braid\.progress/, 'what to look at');
$cluster->failpoint('node', 'view-populate', 'off');
finds('that it is done');

# another query that cannot be run
sql("SELECT braid.alter_view('shop.sums', 'SELECT k, count(*) AS n, sum(v) AS v, sum(1 / (k - 3)) AS x FROM shop.t GROUP BY k')");
finds('a new query that fails', 'continuous view shop.sums: warning');
like(advice('continuous view shop.sums'), qr/^its new query: division by zero \| Run braid\.alter_view\('shop\.sums', \.\.\.\)/, 'which');
sql("SELECT braid.alter_view('shop.sums', 'SELECT k, count(*) AS n, sum(v) AS v FROM shop.t GROUP BY k')");
finds('that it is given up');

# states
my $state = sql("SELECT state FROM braid.explain('shop.joined') WHERE state IS NOT NULL");
sql("UPDATE pg_index SET indisvalid = false WHERE indrelid = '$state'::regclass");
finds('an index that is not valid', "state $state of shop.joined: error");
like(advice("state $state of shop.joined"), qr/^index \S+ is not valid \| Run REINDEX INDEX braid_internal\.\S+\.$/, 'what to do');
sql("UPDATE pg_index SET indisvalid = true WHERE indrelid = '$state'::regclass");
finds('that it is valid');
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$old->query_safe('SELECT 1');
sql("ALTER TABLE $state SET (autovacuum_enabled = off)");
for (1 .. 7)
{
	sql("UPDATE shop.u SET name = name || 'x'");
	settle('shop.joined');
}
finds('a state that is full of dead rows', "state $state of shop.joined: warning");
like(advice("state $state of shop.joined"), qr/^\d+ dead rows, \d+ live ones \| Run VACUUM \Q$state\E\./, 'what to do');
$old->query_safe('COMMIT');
$old->quit;
sql("VACUUM $state");
finds('that they have gone');

# The worker between two cycles, of which an insertion brings one.
sub hold
{
	my ($name) = @_;
	$cluster->failpoint($name, 'capture-committed', 'wait');
	sql('UPDATE shop.t SET v = v + 1 WHERE id = 1004');
	$cluster->hold_capture($name);
	return;
}

# a table whose identity is changed: the worker mends that, if it can
$cluster->failpoint('node', 'capture-snapshot', 'wait');
sql('INSERT INTO shop.t VALUES (1004, 1, 1)');
$cluster->wait_for('node', "SELECT braid_internal.failpoint_waiting('capture-snapshot') = 1");
my $alter = $cluster->start_sql('node', 'ALTER TABLE shop.u REPLICA IDENTITY NOTHING');
$cluster->failpoint('node', 'capture-snapshot', 'off');
$cluster->finish_sql($alter);
finds('that the worker has set it again');
is(sql("SELECT relreplident FROM pg_class WHERE oid = 'shop.u'::regclass"), 'f', 'it is FULL');
hold('node');
sql('ALTER TABLE shop.u REPLICA IDENTITY NOTHING');
finds('a table that is not FULL', 'replica identities: warning');
like(advice('replica identities'), qr/^not FULL: shop\.u \| /, 'which');
$cluster->release_capture('node');
finds('that it is mended');

# the slot, and WAL that it keeps
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = '64MB'\nmax_wal_size = '64MB'\nmin_wal_size = '32MB'\n");
$node->reload;
kill 'STOP', sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'");
sql("SELECT pg_logical_emit_message(false, '', 'x'); SELECT pg_switch_wal()") for 1 .. 3;
like(faults(), qr/^WAL kept: warning$/m, 'the doctor finds WAL that is kept');
like(advice('WAL kept'), qr/^\d+ MB, max_slot_wal_keep_size = 64MB, braid\.capture_wal_warning = 4GB \| See which views are held back/, 'how much');
sql("SELECT pg_logical_emit_message(false, '', 'x'); SELECT pg_switch_wal()") for 1 .. 3;
like(faults(), qr/^replication slot: error$/m, 'and a slot that is about to be lost');
kill 'CONT', sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'");
finds('that it has caught up');

# no worker, no slot, no wal_level
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = -1\nmax_replication_slots = 1\n");
my $slot = sql('SELECT slot_name FROM braid.stat_capture');
$node->stop;
$node->append_conf('postgresql.conf', "wal_level = replica\n");
my ($done) = $node->start(fail_ok => 1);
if (!$done)
{
	like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/logical replication slot "$slot" exists, but wal_level < logical/, 'wal_level cannot be set back while there is a slot');
	$node->append_conf('postgresql.conf', "wal_level = logical\nmax_worker_processes = 1\n");
	$node->start;
}
like(faults(), qr/^capture worker: error$/m, 'the doctor finds that no worker runs');
like(advice('capture worker'), qr/^it does not run \| See the server log .* raise "max_worker_processes"/, 'what to do');
sql("SELECT pg_drop_replication_slot('$slot'); SELECT pg_create_physical_replication_slot('taken', true)");
like(faults(), qr/^replication slots: error$/m, 'and no slot that is free');
is(sql("SELECT string_agg(DISTINCT state, ',') FROM braid.views"), 'stopped', 'the views say so');
$node->stop;
$node->append_conf('postgresql.conf', "wal_level = replica\n");
$node->start;
like(faults(), qr/^wal_level: error$/m, 'and a wal_level that is too low');
$node->append_conf('postgresql.conf', "wal_level = logical\nmax_replication_slots = 16\nmax_worker_processes = 16\n");
$node->restart;
settle('shop.sums', 'shop.joined', 'names');
finds('nothing when all is as it was');
done_testing();
