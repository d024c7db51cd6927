# Views that are populated beside the capture worker: writers and other views go
# on, whatever ends in the middle, and what was committed meanwhile is in the view
# exactly once.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
braid.view_populate_limit = 64kB
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
CONF
my $node = $cluster->node('db');

sub sql { return $cluster->sql('db', @_); }

sub create
{
	my ($name, $query) = @_;
	return sql("SET client_min_messages = warning; CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $query");
}

sub differs
{
	my ($name, $query) = @_;
	return sql("SELECT count(*) FROM ((TABLE $name EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE $name)) d");
}

my %queries;

sub check
{
	my ($name, $what) = @_;
	is(sql("SELECT braid.wait('$name', '30 s')"), 't', "$what: $name is live");
	is(differs($name, $queries{$name}), '0', "$what: $name is exact");
	is(sql("SELECT count(*) FROM braid.verify('$name')"), '0', "$what: braid.verify() says so too");
	return;
}

sub state { return sql("SELECT state FROM braid.views WHERE name = '$_[0]'::regclass"); }

# Begins to populate the view, and returns when its process is at the point.
sub populate_to
{
	my ($point, $name) = @_;
	$cluster->failpoint('db', $point, 'wait');
	create($name, $queries{$name});
	$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('$point') = 1");
	return;
}

sub let_go
{
	$cluster->failpoint('db', $_[0], 'off');
	return;
}

sub drop { sql("DROP MATERIALIZED VIEW $_[0]"); return; }

sql(<<'SQL');
CREATE TABLE big (id int PRIMARY KEY, k int, x bigint, f float8, pad text);
INSERT INTO big SELECT g, g % 50, g, g / 8.0, repeat('x', 50) FROM generate_series(1, 20000) g;
CREATE TABLE names (k int PRIMARY KEY, name text);
INSERT INTO names SELECT g, 'name ' || g FROM generate_series(0, 49) g;
CREATE TABLE parts (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (10000) TO (100000);
INSERT INTO parts SELECT g, g % 10 FROM generate_series(1, 19999) g;
CREATE TABLE small (k int, x int);
INSERT INTO small SELECT g % 5, g FROM generate_series(1, 100) g;
SQL
%queries = (
	v_small => 'SELECT k, sum(x), count(*) FROM small GROUP BY k',
	v_sums => 'SELECT k, count(*), sum(x), max(x) FROM big GROUP BY k',
	v_floats => 'SELECT k, sum(f), avg(f) FROM big GROUP BY k',
	v_join => 'SELECT b.id, n.name, b.x FROM big b JOIN names n USING (k) WHERE b.x % 3 = 0',
	v_outer => 'SELECT n.name, count(b.id), sum(b.x) FROM names n LEFT JOIN big b USING (k) GROUP BY n.name',
	v_parts => 'SELECT p.k, count(*) FROM parts p JOIN big b USING (id) GROUP BY p.k',
	v_wrong => 'SELECT k, sum(x / (k - 7)) FROM big GROUP BY k',
	v_above => 'SELECT count(*) AS n, sum(count) FROM v_sums',
);
# Tables that are captured keep their replica identity: to set it waits for all who write.
create('v_keep', 'SELECT count(*) FROM big JOIN names USING (k) JOIN parts USING (id)');
create('v_small', $queries{v_small});
check('v_small', 'a small one');
is(sql("SELECT braid.wait('v_keep', '30 s')"), 't', 'a large one');
is(sql('SELECT count(*) FROM braid.progress'), '0', 'a small view is populated in a cycle');

# Commits before, around and after the snapshot; the other view follows.
for my $case (['view-populate', 'v_sums'], ['view-populated', 'v_sums'], ['view-populate', 'v_join'],
	['view-populated', 'v_outer'], ['view-populate', 'v_parts'], ['view-populate', 'v_floats'])
{
	my ($point, $name) = @$case;
	my $what = "$name at $point";
	my $early = Braid::Client->new($node);
	my $late = Braid::Client->new($node);

	$early->run('BEGIN');
	$early->run('INSERT INTO big SELECT max(id) + 1, 3, 3, 3, NULL FROM big');
	populate_to($point, $name);
	like(sql("SELECT name, phase, steps > 0 OR phase = 'locking', pid > 0, started <= now() FROM braid.progress"),
		qr/^$name\|(reading|locking)\|t\|t\|t$/, "$what: progress is shown");
	is(state($name), 'populating', "$what: its state");
	$late->run('BEGIN');
	$late->run('UPDATE big SET x = x + 3, k = (k + 1) % 50 WHERE id % 100 = 7');
	sql('DELETE FROM big WHERE id % 100 = 8; INSERT INTO big SELECT g, g % 50, g, g, NULL FROM generate_series(50001, 50500) g; UPDATE names SET name = name || name WHERE k = 5');
	sql('INSERT INTO parts SELECT id, 3 FROM big WHERE id BETWEEN 50001 AND 50010; DELETE FROM parts WHERE id < 20');
	is($early->run('COMMIT')->{error}, undef, "$what: a transaction from before commits");
	sql('INSERT INTO small VALUES (1, 1)');
	check('v_small', "$what, meanwhile");
	is(state($name), 'populating', "$what: still");
	let_go($point);
	is(sql("SELECT braid.wait('$name', '30 s')"), 't', "$what: is live");
	is($late->run('COMMIT')->{error}, undef, "$what: one that was open all the time commits");
	check($name, $what);
	sql('UPDATE big SET x = x - 1 WHERE id % 100 = 9; DELETE FROM big WHERE id BETWEEN 50001 AND 50500; UPDATE big SET f = f * 1.5 WHERE id % 1000 = 3');
	check($name, "$what, afterwards");
	drop($name);
}

# Who makes another view on the table, with more columns, does not disturb.
populate_to('view-populate', 'v_sums');
my $pid = sql('SELECT pid FROM braid.progress');
sql('UPDATE big SET x = x + 1 WHERE id % 100 = 1');
create('v_floats', $queries{v_floats});
$cluster->wait_for('db', 'SELECT count(*) = 2 FROM braid.progress');
sql('UPDATE big SET x = x + 1, f = f + 1 WHERE id % 100 = 2');
is(sql('SELECT count(*) FROM braid.progress WHERE pid = ' . $pid), '1', 'another view on the table: the first goes on');
let_go('view-populate');
check('v_sums', 'two at a time');
check('v_floats', 'two at a time');
drop('v_floats');

# A view on it waits.
drop('v_sums');
populate_to('view-populated', 'v_sums');
create('v_above', $queries{v_above});
sql('INSERT INTO small VALUES (2, 2)');
check('v_small', 'a view above');
is(state('v_above'), 'populating', 'a view above waits');
let_go('view-populated');
check('v_sums', 'a view above');
check('v_above', 'a view above');

# REFRESH: the old rows stay until the new ones are there, and others follow.
$cluster->failpoint('db', 'view-populate', 'wait');
sql('REFRESH MATERIALIZED VIEW v_sums');
$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('view-populate') = 1");
is(state('v_sums'), 'rebuilding', 'REFRESH: the state');
is(sql('SELECT count(*) FROM v_sums'), '50', 'REFRESH: readers see the old rows');
sql('UPDATE big SET x = x + 1 WHERE id % 100 = 3');
let_go('view-populate');
check('v_sums', 'REFRESH');
check('v_above', 'REFRESH');
drop('v_above');
drop('v_sums');

# Whoever ends in the middle: begun anew.
for my $point ('view-populate', 'view-populated')
{
	populate_to($point, 'v_join');
	sql('UPDATE big SET x = x + 1 WHERE id % 100 = 4');
	my $at = sql('SELECT pid FROM braid.progress');
	sql('SELECT pg_terminate_backend(pid) FROM braid.progress');
	$cluster->wait_for('db', "SELECT count(*) = 1 FROM braid.progress WHERE pid <> $at");
	let_go($point);
	check('v_join', "$point, the process terminated");
	drop('v_join');

	populate_to($point, 'v_join');
	sql('UPDATE big SET x = x + 1 WHERE id % 100 = 5');
	$at = sql('SELECT pid FROM braid.progress');
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture'");
	$cluster->wait_for('db', "SELECT count(*) = 1 FROM braid.progress WHERE pid <> $at");
	is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'braid populate'"), '1', "$point: the capture worker terminated: its process has gone too");
	sql('UPDATE big SET x = x + 1 WHERE id % 100 = 6');
	let_go($point);
	check('v_join', "$point, the capture worker terminated");
	drop('v_join');

	for my $who ('braid populate', 'braid capture')
	{
		populate_to($point, 'v_join');
		sql('UPDATE big SET x = x + 1 WHERE id % 100 = 5');
		$cluster->kill_process('db', sql("SELECT pid FROM pg_stat_activity WHERE backend_type = '$who'"));
		$cluster->wait_alive('db');
		sql('UPDATE big SET x = x + 1 WHERE id % 100 = 6');
		check('v_join', "$point, kill -9 of $who");
		drop('v_join');
	}
}

# Commands that want the table do not wait for it.
sql("ALTER SYSTEM SET statement_timeout = '15s'; SELECT pg_reload_conf()");
for my $command ('ALTER TABLE big ADD COLUMN more int', 'TRUNCATE big', 'DROP MATERIALIZED VIEW v_join')
{
	$cluster->failpoint('db', 'view-populate', 'wait');
	create('v_join', $queries{v_join}) if sql("SELECT to_regclass('v_join') IS NULL") eq 't';
	$cluster->wait_for('db', "SELECT braid_internal.failpoint_waiting('view-populate') = 1");
	is(($cluster->try_sql('db', $command))[0], 0, "$command while it is being populated");
	let_go('view-populate');
	last if $command =~ /^DROP/;
	check('v_join', $command);
	drop('v_join');
	sql('INSERT INTO big SELECT g, g % 50, g, g / 8.0, repeat(md5(g::text), 2) FROM generate_series(1, 20000) g ON CONFLICT DO NOTHING');
}
sql("ALTER SYSTEM RESET statement_timeout; SELECT pg_reload_conf()");
is(sql('SELECT count(*) FROM braid.progress'), '0', 'nothing is left of a view that was dropped');

# An error of the query.
create('v_wrong', $queries{v_wrong});
my (undef, undef, $error) = $cluster->try_sql('db', "SELECT braid.wait('v_wrong', '30 s')");
like($error, qr/division by zero/, 'an error of the query breaks the view');
is(sql("SELECT state, last_error FROM braid.views WHERE name = 'v_wrong'::regclass"), 'broken|division by zero', 'and is told');
sql('DELETE FROM big WHERE k = 7; REFRESH MATERIALIZED VIEW v_wrong');
check('v_wrong', 'mended');
drop('v_wrong');

# Several at a time under load, and somebody ends now and then.
my $script = <<'SQL';
\set id random(1, 20000)
\set k random(0, 6)
BEGIN;
UPDATE big SET x = :id, k = :k, f = f + 1 WHERE id = :id;
DELETE FROM big WHERE id = :id + 1;
INSERT INTO big VALUES (:id + 100000, :k, :id, :id / 4.0) ON CONFLICT (id) DO UPDATE SET x = big.x + 1;
UPDATE names SET name = name || ' ' WHERE k = :k AND :id % 100 = 0;
COMMIT;
\sleep 5 ms
SQL
my @names = ('v_sums', 'v_floats', 'v_join', 'v_outer', 'v_parts');
my $load = $cluster->start_load('db', $script, 3);
for my $round (1 .. 5)
{
	create($_, $queries{$_}) for @names;
	create('v_above', $queries{v_above});
	select undef, undef, undef, rand(0.6);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid " . ($round % 3 == 1 ? 'populate' : 'capture') . "'") if $round % 3;
	for my $name (@names, 'v_above')
	{
		is(sql("SELECT braid.wait('$name', '60 s')"), 't', "round $round: $name is live under load");
		is(sql("SELECT count(*) FROM braid.verify('$name')"), '0', "round $round: $name is exact");
	}
	drop($_) for 'v_above', reverse @names;
}
$cluster->stop_load($load);
is(sql('SELECT count(*) FROM braid_internal.populations'), '0', 'no traces');
done_testing();
