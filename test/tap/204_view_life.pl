# The life of a view: what ALTER does to it, to its query and to the tables below,
# while somebody writes and somebody reads. After each step every view equals its
# query, and the reader has never seen an error or a state that is half made.
use strict;
use warnings;
use Braid::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "braid.view_populate_limit = 64\n" });
my $node = $cluster->node('db');

sub sql { my ($sql) = @_; return $cluster->sql('db', $sql); }
sub fails { my ($sql, $pattern, $what) = @_; my ($rc, $out, $err) = $cluster->try_sql('db', $sql); return like($err, $pattern, $what); }
sub state_of { my ($view) = @_; return sql("SELECT state FROM braid.views WHERE name = '$view'::regclass"); }
sub wait_state { my ($view, $state) = @_; return $cluster->wait_for('db', "SELECT state FROM braid.views WHERE name = '$view'::regclass", $state); }
sub since { my ($view) = @_; return sql("SELECT since FROM braid.views WHERE name = '$view'::regclass"); }

# Views that are compared with their queries; the reader finds the same total in each.
my %queries;

sub make_view
{
	my ($name, $query) = @_;
	$queries{$name} = $query;
	sql("CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS $query");
	return;
}

sub are_right
{
	my ($what, @names) = @_;
	@names = sort keys %queries if !@names;
	my $names = join ', ', map { "'$_'" } @names;
	is(sql("SELECT name FROM unnest(ARRAY[$names]) name WHERE NOT braid.wait(name::regclass, '60 s')"), '', "$what: all views have caught up");
	is(sql("SELECT name, d.* FROM unnest(ARRAY[$names]) name, braid.verify(name::regclass) d"), '', "$what: all are right");
	is(sql('SELECT string_agg(DISTINCT what, E\'\n\') FROM trouble'), '', "$what: the reader saw nothing odd");
	return;
}

# ---------------------------------------------------------------- a bank

sql(<<'SQL');
CREATE TABLE acc (id int PRIMARY KEY, branch int, x int NOT NULL, note text, spare int);
INSERT INTO acc SELECT g, g % 7, 100, 'note ' || g, g FROM generate_series(1, 700) g;
CREATE TABLE branches (id int PRIMARY KEY, name text);
INSERT INTO branches SELECT g, 'branch ' || g FROM generate_series(0, 6) g;
CREATE TABLE parts (id int, branch int, x int NOT NULL, note text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (2000);
INSERT INTO parts SELECT g, g % 7, 100, 'note' FROM generate_series(1, 700) g;
CREATE VIEW rich AS SELECT id, branch, x, 1 AS one FROM acc;
CREATE TABLE trouble (what text);
CREATE TABLE control (stop boolean, nparts int);
INSERT INTO control VALUES (false, 0);

-- Moves amounts, so that all sums stay.
CREATE PROCEDURE write_on() LANGUAGE plpgsql AS $$
DECLARE
	a int;
	b int;
BEGIN
	WHILE NOT (SELECT stop FROM control) LOOP
		a := 1 + floor(random() * 700);
		b := 1 + floor(random() * 700);
		UPDATE acc SET x = x + CASE id WHEN a THEN 1 ELSE -1 END WHERE id IN (a, b) AND a <> b;
		UPDATE parts SET x = x + CASE id WHEN a THEN 1 ELSE -1 END WHERE id IN (a, b) AND a <> b;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- What can be seen of a view at any time is the total.
CREATE PROCEDURE look(query text, total bigint) LANGUAGE plpgsql AS $$
DECLARE
	seen bigint;
BEGIN
	EXECUTE query INTO seen;
	IF seen IS DISTINCT FROM total THEN
		INSERT INTO trouble VALUES (format('%s: %s', query, seen));
	END IF;
EXCEPTION WHEN OTHERS THEN
	INSERT INTO trouble VALUES (format('%s: %s', query, SQLERRM));
END $$;
-- A transaction for each: DROP TABLE locks several views, in an order of its own.
CREATE PROCEDURE read_on() LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT (SELECT stop FROM control) LOOP
		CALL look('SELECT sum(total) FROM sums', 70000);
		COMMIT;
		CALL look('SELECT sum(x) FROM joined', 70000);
		COMMIT;
		CALL look('SELECT total FROM grand', 70000);
		COMMIT;
		CALL look('SELECT sum(total) FROM between_sums', 70000);
		COMMIT;
		CALL look('SELECT sum(total) FROM part_sums', 70000);
		COMMIT;
		PERFORM pg_sleep(0.005);
	END LOOP;
END $$;
SQL

make_view('sums', 'SELECT branch, count(*) AS n, sum(x) AS total FROM acc GROUP BY branch');
make_view('joined', 'SELECT a.id, a.x, b.name FROM acc a JOIN branches b ON b.id = a.branch');
make_view('grand', 'SELECT sum(total) AS total FROM sums');
make_view('between_sums', 'SELECT branch, sum(x) AS total, sum(one) AS ones FROM rich GROUP BY branch');
make_view('part_sums', 'SELECT branch, sum(x) AS total FROM parts GROUP BY branch');
are_right('new');

my @sessions = map { $cluster->start_sql('db', $_) } ('CALL write_on()', 'CALL read_on()');

# ---------------------------------------------------------------- the view's own ALTERs

# A plain view and a role hang on each, to see that they stay.
sql("CREATE ROLE reader; GRANT SELECT ON sums TO reader; COMMENT ON COLUMN sums.n IS 'how many'; CREATE VIEW above AS SELECT branch, total FROM sums");
sql('ALTER MATERIALIZED VIEW sums RENAME COLUMN n TO accounts');
is(sql("SELECT pg_get_viewdef('braid_internal.query_' || id, true) ~ 'accounts' FROM braid.views WHERE name = 'sums'::regclass"), 't', 'the query knows the new name of a column');
$queries{sums} = 'SELECT branch, count(*) AS accounts, sum(x) AS total FROM acc GROUP BY branch';
sql('CREATE SCHEMA elsewhere; BEGIN; ALTER MATERIALIZED VIEW joined SET SCHEMA elsewhere; ALTER MATERIALIZED VIEW elsewhere.joined SET SCHEMA public; COMMIT');
is(sql("SELECT col_description('sums'::regclass, 2)"), 'how many', 'a comment on a column stays with it');
fails('CREATE OR REPLACE VIEW sums AS SELECT 1 AS branch, 1::bigint AS accounts, 1::bigint AS total', qr/"sums" is a continuous view.*braid\.alter_view/s, 'a continuous view cannot be replaced by an ordinary one');
fails('ALTER VIEW sums SET (security_invoker = true)', qr/"security_invoker" is not supported for continuous views/, 'nor be read with the rights of the reader');
fails('ALTER MATERIALIZED VIEW sums SET (fillfactor = 10)', qr/"fillfactor" is not supported for continuous views/, 'storage parameters are refused');
sql('CREATE ROLE keeper; GRANT ALL ON SCHEMA public TO keeper; GRANT SELECT ON acc, sums TO keeper; ALTER TABLE grand OWNER TO keeper');
is(sql("SELECT DISTINCT relowner::regrole FROM pg_class c, braid.views v WHERE v.name = 'grand'::regclass AND relname ~ ('^(state|query)_' || v.id || '(_|\$)')"), 'keeper', 'the parts have the new owner, also by ALTER TABLE');
my $space = $node->basedir . '/space';
mkdir $space;
sql("CREATE TABLESPACE space LOCATION '$space'");
sql('ALTER MATERIALIZED VIEW grand SET TABLESPACE space');
is(sql("SELECT count(*) FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace, braid.views v WHERE t.spcname = 'space' AND v.name = 'grand'::regclass AND c.relname ~ ('^state_' || v.id)"), 1, 'the state is in the tablespace');
sql("SELECT braid.alter_view('grand', 'SELECT sum(total) AS total, max(accounts) AS largest FROM sums')");
ok($cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'grand'::regclass"), 'a new query for a view on a view');
is(sql("SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace, braid.views v WHERE v.name = 'grand'::regclass AND c.relname ~ ('^state_' || v.id)"), 'space', 'its state is in the tablespace of the old one');
$queries{grand} = 'SELECT sum(total) AS total, max(accounts) AS largest FROM sums';
are_right('ALTER of views');

# ---------------------------------------------------------------- another query

# Only what is shown changes.
my $since = since('sums');
is(sql("SELECT braid.alter_view('sums', 'SELECT branch, count(*) AS accounts, sum(x) AS total, round(avg(x), 2) AS mean FROM acc GROUP BY branch HAVING count(*) > 0')"), 't', 'an expression over what is kept is there at once');
$queries{sums} = 'SELECT branch, count(*) AS accounts, sum(x) AS total, round(avg(x), 2) AS mean FROM acc GROUP BY branch HAVING count(*) > 0';
is(sql('SELECT count(mean) FROM sums'), 7, 'and can be read');
are_right('what is shown');

# Another state, beside the old one.
my $oid = sql("SELECT 'sums'::regclass::oid");
sql('CREATE INDEX sums_branch ON sums (branch DESC)');
is(sql("SELECT braid.alter_view('sums', 'SELECT a.branch, count(*) AS accounts, sum(a.x) AS total, round(avg(a.x), 2) AS mean, max(b.name) AS name FROM acc a JOIN branches b ON b.id = a.branch GROUP BY a.branch')"), 'f', 'another state is populated');
ok($cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'sums'::regclass"), 'and takes the place of the old one');
is(sql('SELECT count(name) FROM sums'), 7, 'the new column is there');
is(sql("SELECT 'sums'::regclass::oid"), $oid, 'the view is the same');
is(sql('SELECT sum(total) FROM above'), 70000, 'what depends on it goes on');
is(sql("SELECT has_table_privilege('reader', 'sums', 'SELECT'), col_description('sums'::regclass, 2)"), 't|how many', 'grants and comments stay');
is(sql("SELECT pg_get_indexdef('braid_internal.sums_branch'::regclass) ~ 'DESC'"), 't', 'an index stays, under its name');
is(sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^(next|state|query)_' AND relname !~ ('^(state|query)_(' || (SELECT string_agg(id::text, '|') FROM braid.views) || ')(_|\$)')"), 0, 'nothing is left of the old state');
are_right('another state');

# An older snapshot never finds a state that it cannot see.
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control');
sql("SELECT braid.alter_view('joined', 'SELECT a.id, a.x, b.name, a.branch FROM acc a LEFT JOIN branches b ON b.id = a.branch')");
ok($cluster->wait_for('db', "SELECT new_query = 'live' FROM braid.views WHERE name = 'joined'::regclass"), 'a new state is ready');
is($old->query_safe('SELECT sum(x) FROM joined'), '70000', 'an old snapshot sees the old one');
is(sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'joined'"), 3, 'which goes on until nobody needs it');
$old->query_safe('COMMIT');
$old->quit;
ok($cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'joined'::regclass"), 'then they are exchanged');
$queries{joined} = 'SELECT a.id, a.x, b.name, a.branch FROM acc a LEFT JOIN branches b ON b.id = a.branch';
are_right('an old snapshot');

# A query that fails does not touch the view; another one takes its place.
sql("SELECT braid.alter_view('joined', 'SELECT a.id, a.x, b.name, a.branch, 1 / (a.id - 1) AS bad FROM acc a LEFT JOIN branches b ON b.id = a.branch')");
ok($cluster->wait_for('db', "SELECT new_query = 'broken' FROM braid.views WHERE name = 'joined'::regclass"), 'a new query can fail');
is(sql("SELECT state, last_error FROM braid.views WHERE name = 'joined'::regclass"), 'live|its new query: division by zero', 'which is said, and the view goes on');
are_right('a query that fails');
is(sql("SELECT braid.alter_view('joined')"), 't', 'its own query is not recomputed');
is(sql("SELECT new_query IS NULL AND last_error IS NULL FROM braid.views WHERE name = 'joined'::regclass"), 't', 'and takes the other one away');

# What is refused.
fails("SELECT braid.alter_view('joined', 'SELECT id FROM acc')", qr/cannot drop columns from view/, 'columns cannot go');
fails("SELECT braid.alter_view('joined', 'SELECT id, x, note AS name, branch + 0.5 AS branch FROM acc')", qr/cannot change data type or collation of view column "branch"/, 'nor get another type');
fails("SELECT braid.alter_view('joined', 'SELECT id AS ident, x, note AS name, branch FROM acc')", qr/cannot change name of view column "id" to "ident"/, 'nor another name');
fails("SELECT braid.alter_view('sums', 'SELECT s.*, g.total AS grand FROM sums s, grand g')", qr/would read the view itself/, 'a view cannot read itself');
fails("SELECT braid.alter_view('above', 'SELECT 1')", qr/"above" is not a continuous view/, 'nor an ordinary view be altered');
fails("SET ROLE reader; SELECT braid.alter_view('sums')", qr/must be owner of view sums/, 'nor by others');
are_right('refusals');

# With a crash in between.
sql("SELECT braid.alter_view('between_sums', 'SELECT branch, sum(x) AS total, sum(one) AS ones, min(x) AS least FROM rich GROUP BY branch')");
$queries{between_sums} = 'SELECT branch, sum(x) AS total, sum(one) AS ones, min(x) AS least FROM rich GROUP BY branch';
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('braid capture', 'braid populate')");
ok($cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'between_sums'::regclass"), 'a new query survives the end of the worker');
are_right('end of the worker');

# ---------------------------------------------------------------- pause

sql("SELECT braid.pause('joined')");
ok(wait_state('joined', 'paused'), 'a view is paused');
my $frontier = sql("SELECT frontier FROM braid.views WHERE name = 'joined'::regclass");
my $shown = sql('SELECT md5(string_agg(j::text, \',\' ORDER BY id)) FROM joined j');
sql("UPDATE branches SET name = name || '!'; SELECT braid.wait('sums', '60 s')");
is(sql("SELECT frontier FROM braid.views WHERE name = 'joined'::regclass"), $frontier, 'its frontier stays');
is(sql('SELECT md5(string_agg(j::text, \',\' ORDER BY id)) FROM joined j'), $shown, 'and so does what it shows');
fails("SELECT braid.wait('joined')", qr/continuous view "joined" is paused.*braid\.resume/s, 'nobody waits for it');
fails('REFRESH MATERIALIZED VIEW joined', qr/is paused/, 'it cannot be refreshed');
fails("SELECT braid.alter_view('joined')", qr/is paused/, 'nor altered');
fails("SET ROLE reader; SELECT braid.resume('joined')", qr/must be owner of view joined/, 'nor resumed by others');
sql("SELECT braid.resume('joined')");
are_right('resumed');

# ---------------------------------------------------------------- tables below

# What leaves the views' queries alone.
my @harmless = (
	'ADD COLUMN' => 'ALTER TABLE acc ADD COLUMN more int',
	'ADD COLUMN with a default' => 'ALTER TABLE acc ADD COLUMN even_more int DEFAULT 7',
	'ADD COLUMN that rewrites' => 'ALTER TABLE acc ADD COLUMN stamp timestamptz DEFAULT clock_timestamp()',
	'DROP COLUMN' => 'ALTER TABLE acc DROP COLUMN spare',
	'type of a column that is not used' => 'ALTER TABLE acc ALTER COLUMN note TYPE varchar(100)',
	'rewrite for a column that is not used' => 'ALTER TABLE acc ALTER COLUMN more TYPE bigint',
	'RENAME COLUMN' => 'ALTER TABLE acc RENAME COLUMN x TO amount',
	'RENAME COLUMN back' => 'ALTER TABLE acc RENAME COLUMN amount TO x',
	'VACUUM FULL' => 'VACUUM FULL acc',
	'CLUSTER' => 'CLUSTER acc USING acc_pkey',
	'DISABLE TRIGGER' => 'CREATE TRIGGER t BEFORE UPDATE ON acc FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE acc DISABLE TRIGGER t',
	'ENABLE TRIGGER' => 'ALTER TABLE acc ENABLE TRIGGER t; ALTER TABLE acc DISABLE TRIGGER ALL; ALTER TABLE acc ENABLE TRIGGER ALL',
	'SET SCHEMA' => 'ALTER TABLE branches SET SCHEMA elsewhere',
	'SET SCHEMA back' => 'ALTER TABLE elsewhere.branches SET SCHEMA public',
	'RENAME TABLE' => 'ALTER TABLE branches RENAME TO offices',
	'RENAME TABLE back' => 'ALTER TABLE offices RENAME TO branches',
	'OWNER' => 'ALTER TABLE branches OWNER TO keeper',
	'OWNER back' => 'ALTER TABLE branches OWNER TO CURRENT_USER',
	'SET TABLESPACE' => 'ALTER TABLE branches SET TABLESPACE space',
	'ADD PARTITION' => 'CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (2000) TO (3000)',
	'a row in a new partition' => 'INSERT INTO parts VALUES (2500, 1, 0, \'new\')',
	'ATTACH' => 'CREATE TABLE parts_4 (note text, id int, gone int, branch int, x int NOT NULL); ALTER TABLE parts_4 DROP COLUMN gone; INSERT INTO parts_4 VALUES (\'a\', 3500, 2, 0); ALTER TABLE parts ATTACH PARTITION parts_4 FOR VALUES FROM (3000) TO (4000)',
	'rows of a partition with other columns' => 'UPDATE parts SET branch = 3 WHERE id = 3500; INSERT INTO parts VALUES (3501, 4, 0, \'b\')',
	'DETACH' => 'ALTER TABLE parts DETACH PARTITION parts_4; UPDATE parts_4 SET x = 1000000',
	'DETACH CONCURRENTLY' => 'ALTER TABLE parts DETACH PARTITION parts_3 CONCURRENTLY',
	'TRUNCATE of a partition' => 'TRUNCATE parts_2',
	'ADD COLUMN to a partitioned table' => 'ALTER TABLE parts ADD COLUMN more int DEFAULT 3',
	'DROP COLUMN of a partitioned table' => 'ALTER TABLE parts DROP COLUMN note',
	'VACUUM FULL of a partitioned table' => 'VACUUM FULL parts');
while (my ($what, $sql) = splice(@harmless, 0, 2))
{
	for my $statement (split /; /, $sql)
	{
		my ($rc, $out, $err) = $cluster->try_sql('db', $statement);
		is($rc, 0, "$what: $statement") or diag $err;
	}
	are_right($what);
}

# The same in one transaction with changes of rows, committed and rolled back.
for my $end ('COMMIT', 'ROLLBACK')
{
	sql("BEGIN; UPDATE acc SET branch = branch + 1 WHERE id < 50; ALTER TABLE acc ADD COLUMN c_$end int DEFAULT 1; UPDATE acc SET branch = branch - 1 WHERE id < 40; ALTER TABLE acc RENAME COLUMN branch TO b; UPDATE acc SET b = b - 1 WHERE id BETWEEN 40 AND 49; ALTER TABLE acc RENAME COLUMN b TO branch; $end");
	are_right("ALTER TABLE among changes, $end");
}

# TRUNCATE, filled again in the same transaction.
sql('BEGIN; CREATE TEMP TABLE kept AS TABLE acc; TRUNCATE acc; INSERT INTO acc SELECT * FROM kept; COMMIT');
are_right('TRUNCATE');

# What is used cannot be taken away without the view.
fails('ALTER TABLE acc DROP COLUMN x', qr/cannot drop column x of table acc because other objects depend on it/, 'a column that is used cannot go');
fails('ALTER TABLE acc ALTER COLUMN x TYPE bigint', qr/cannot alter type of a column used by a view/, 'nor change its type');
fails('DROP TABLE branches', qr/cannot drop table branches because other objects depend on it/, 'nor can its table');

# The replica identity of one of two joined tables.
sql('ALTER TABLE branches REPLICA IDENTITY DEFAULT');
sql("UPDATE branches SET name = name || '?' WHERE id = 3");
are_right('REPLICA IDENTITY');
is(sql("SELECT string_agg(relreplident::text, '' ORDER BY relname) FROM pg_class WHERE oid IN ('acc'::regclass, 'branches'::regclass)"), 'ff', 'the replica identity is full again');

# An ordinary view in between: the same columns, other rows; then another expression
# that the view shows.
sql('CREATE OR REPLACE VIEW rich AS SELECT id, branch, x, 2 AS one FROM acc');
are_right('CREATE OR REPLACE VIEW');
is(sql('SELECT sum(ones) FROM between_sums'), 1400, 'an ordinary view in between has changed');
sql('CREATE VIEW totals AS SELECT branch, count(*) + 1 AS n FROM acc GROUP BY branch');
make_view('shown', 'SELECT branch, n FROM totals');
are_right('what an ordinary view shows', 'shown');
sql('CREATE OR REPLACE VIEW totals AS SELECT branch, count(*) + 2 AS n FROM acc GROUP BY branch');
ok($cluster->wait_for('db', "SELECT n = 102 FROM shown WHERE branch = 3"), 'what is computed when the view is read follows, too');
are_right('what an ordinary view shows has changed', 'shown');
sql('CREATE OR REPLACE VIEW totals AS SELECT branch, count(DISTINCT note) + count(*) AS n FROM acc GROUP BY branch');
ok($cluster->wait_for('db', "SELECT n = 200 FROM shown WHERE branch = 3"), 'so does what needs another state');
are_right('an ordinary view needs another state', 'shown');

sql('UPDATE control SET stop = true');
$_->{run}->finish for @sessions;
is(sql('SELECT count(*) FROM trouble'), 0, 'the reader saw nothing odd all the time');
delete $queries{shown};
sql('DROP VIEW totals CASCADE');

# ---------------------------------------------------------------- what breaks a view

# UNLOGGED tables have no WAL.
sql('CREATE TABLE logged (k int, x int); INSERT INTO logged SELECT g % 3, g FROM generate_series(1, 30) g');
sql('CREATE MATERIALIZED VIEW w WITH (braid.continuous) AS SELECT k, count(*) FROM logged GROUP BY k');
is(sql("SELECT braid.wait('w', '60 s')"), 't', 'a view of its own');
sql('ALTER TABLE logged SET UNLOGGED; INSERT INTO logged VALUES (9, 9)');
fails("SELECT braid.wait('w', '60 s')", qr/continuous view "w" is broken.*unlogged/s, 'SET UNLOGGED breaks the view, with the reason');
is(sql('SELECT sum(count) FROM w'), 30, 'which keeps its last state');
sql('ALTER TABLE logged SET LOGGED; REFRESH MATERIALIZED VIEW w');
is(sql("SELECT braid.wait('w', '60 s')"), 't', 'SET LOGGED and REFRESH mend it');
is(sql("SELECT * FROM braid.verify('w')"), '', 'it is right');

# The owner's privileges: on tables that are joined, and on those of a view in between.
sql(<<'SQL');
CREATE ROLE alice; CREATE ROLE bob;
GRANT ALL ON SCHEMA public TO alice, bob;
CREATE TABLE one (k int, x int); CREATE TABLE two (k int, y int); CREATE TABLE three (k int);
INSERT INTO one SELECT g, g FROM generate_series(1, 10) g; INSERT INTO two SELECT k, x FROM one; INSERT INTO three SELECT k FROM one;
ALTER TABLE one REPLICA IDENTITY FULL; ALTER TABLE two REPLICA IDENTITY FULL; ALTER TABLE three REPLICA IDENTITY FULL;
GRANT SELECT ON one, two TO alice; GRANT SELECT ON three TO bob;
SET ROLE bob; CREATE VIEW bobs AS SELECT k FROM three; GRANT SELECT ON bobs TO alice;
SET ROLE alice; CREATE MATERIALIZED VIEW pairs WITH (braid.continuous) AS SELECT one.x, two.y FROM one JOIN two USING (k);
SQL
is(sql("SELECT braid.wait('pairs', '60 s')"), 't', 'a join of an ordinary user');
fails('SET ROLE alice; CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT count(*) FROM bobs', qr/permission denied for table three.*also on what it reads by way of ordinary views/s, 'a view in between gives no right to its tables');
sql('GRANT SELECT ON three TO alice; SET ROLE alice; CREATE MATERIALIZED VIEW hers WITH (braid.continuous) AS SELECT count(*) FROM bobs');
is(sql("SELECT braid.wait('hers', '60 s')"), 't', 'with SELECT on the table it can be made');
sql('REVOKE SELECT ON two FROM alice; INSERT INTO two VALUES (1, 99)');
fails("SELECT braid.wait('pairs', '60 s')", qr/"pairs" is broken.*permission denied for table two/s, 'a join without the right to one table is broken');
is(sql('SELECT count(*) FROM pairs WHERE y = 99'), 0, 'and shows nothing that came later');
sql('REVOKE SELECT ON three FROM alice; INSERT INTO three VALUES (11)');
fails("SELECT braid.wait('hers', '60 s')", qr/"hers" is broken.*permission denied for table three/s, 'so is one that reads the table by way of a view');
sql('GRANT SELECT ON two, three TO alice; SET ROLE alice; REFRESH MATERIALIZED VIEW pairs; REFRESH MATERIALIZED VIEW hers');
is(sql("SELECT braid.wait('pairs', '60 s') AND braid.wait('hers', '60 s')"), 't', 'with the right they go on');
is(sql("SELECT * FROM braid.verify('pairs')"), '', 'and are right');

# A right that comes by a role goes with it.
sql('CREATE ROLE readers; REVOKE SELECT ON two FROM alice; GRANT SELECT ON two TO readers; GRANT readers TO alice; SET ROLE alice; REFRESH MATERIALIZED VIEW pairs');
is(sql("SELECT braid.wait('pairs', '60 s')"), 't', 'a right by way of a role');
sql('REVOKE readers FROM alice; INSERT INTO two VALUES (2, 98)');
fails("SELECT braid.wait('pairs', '60 s')", qr/"pairs" is broken.*permission denied for table two/s, 'ends with the membership');

# An immutable function that is replaced: REFRESH.
sql(q{CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'; CREATE MATERIALIZED VIEW fs WITH (braid.continuous) AS SELECT f(x) AS y FROM one});
sql(q{SELECT braid.wait('fs', '60 s'); CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 2'; REFRESH MATERIALIZED VIEW fs});
is(sql("SELECT braid.wait('fs', '60 s'); SELECT sum(y) FROM fs"), "t\n75", 'a function that was replaced needs REFRESH');
is(sql("SELECT * FROM braid.verify('fs')"), '', 'after which the view is right');

# ---------------------------------------------------------------- the end

# Pausing all views gives WAL free.
sql(q{SELECT braid.pause(name) FROM braid.views});
ok($cluster->wait_for('db', "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name LIKE 'braid%'"), 'paused views hold no WAL');
sql(q{SELECT braid.resume(name) FROM braid.views; INSERT INTO two VALUES (3, 97)});
are_right('all resumed');

# A crash in the midst of an exchange.
$cluster->crash_at('db', 'view-exchanged', sub {
	sql("SELECT braid.alter_view('joined', 'SELECT a.id, a.x, b.name, a.branch, b.id AS office FROM acc a LEFT JOIN branches b ON b.id = a.branch')");
});
$cluster->wait_alive('db');
ok($cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'joined'::regclass"), 'after a crash it is exchanged');
is(sql('SELECT count(office) FROM joined'), 700, 'the new column is there');
are_right('a crash');

# CASCADE takes the views on views, and whatever is being made for them.
sql("SELECT braid.alter_view('joined', 'SELECT a.id, a.x, b.name, a.branch, b.id AS office, b.id AS bid FROM acc a LEFT JOIN branches b ON b.id = a.branch'); DROP TABLE acc CASCADE; DROP TABLE parts CASCADE; DROP TABLE one, two, three, logged CASCADE");
is(sql('SELECT count(*) FROM braid.views'), 0, 'no view is left');
ok($cluster->wait_for('db', 'SELECT count(*) = 0 FROM braid_internal.views'), 'nor its definition');
ok($cluster->wait_for('db', "SELECT relreplident = 'd' FROM pg_class WHERE oid = 'branches'::regclass"), 'the replica identity of a table that stays is as before');
is(sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'braid_internal'::regnamespace AND relname ~ '^(next|state|query)_'"), 0, 'nor a part of it');

done_testing();
