# Late rows under load by several clients, while the worker and the server are
# killed: the watermark never goes back, a window is shown once and never changes
# when it is closed, nothing is counted twice or lost (what is shown, what was
# dropped and what was put aside add up to all rows), and open groups equal the
# query. The seed is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use IPC::Run qw(start finish);
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 6;
my $clients = 3;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum_naptime = 1s\nbraid.view_populate_limit = 0\n" });
my $node = $cluster->node('db');

# Rows of "clicks" only come; those of "calls" are corrected and withdrawn as well.
$cluster->sql('db', <<'SQL');
CREATE TABLE clicks (id bigserial, ts int, k int, v numeric);
CREATE TABLE calls (id bigserial PRIMARY KEY, ts int, k int, v int);
CREATE SEQUENCE clock;
CREATE PROCEDURE work(n int, seed float8) LANGUAGE plpgsql AS $$
DECLARE
	now int;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1 .. n LOOP
		now := nextval('clock');
		INSERT INTO clicks (ts, k, v) SELECT now - (random() * random() * random() * 150)::int, g, round((random() * 100)::numeric, g) FROM generate_series(1, 3) g;
		INSERT INTO calls (ts, k, v) VALUES (now - (random() * random() * random() * 150)::int, i % 4, i);
		IF random() < 0.2 THEN
			UPDATE calls SET v = v + 1, ts = ts + (random() * 3)::int WHERE id = (SELECT id FROM calls ORDER BY id DESC OFFSET (random() * 60)::int LIMIT 1 FOR UPDATE SKIP LOCKED);
		ELSIF random() < 0.2 THEN
			DELETE FROM calls WHERE id = (SELECT id FROM calls ORDER BY id DESC OFFSET (random() * 60)::int LIMIT 1 FOR UPDATE SKIP LOCKED);
		END IF;
		COMMIT;
	END LOOP;
END $$;
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW dropped WITH (braid.continuous, braid.watermark = 'ts - 5', braid.late = 'drop') AS
	SELECT braid.tumble(ts, 20) AS w, k, count(*) AS n, sum(v) AS s, max(v) AS m FROM clicks GROUP BY 1, 2;
CREATE MATERIALIZED VIEW diverted WITH (braid.continuous, braid.watermark = 'ts - 5', braid.late = 'divert') AS
	SELECT braid.tumble(ts, 20) AS w, k, count(*) AS n, sum(v) AS s FROM clicks GROUP BY 1, 2;
CREATE MATERIALIZED VIEW closed WITH (braid.continuous, braid.watermark = 'ts - 5', braid.emit = 'close') AS
	SELECT braid.tumble(ts, 20) AS w, k, count(*) AS n, sum(v) AS s, max(v) AS m FROM clicks GROUP BY 1, 2;
CREATE MATERIALIZED VIEW emitted WITH (braid.continuous) AS SELECT w, count(*) AS groups, sum(n) AS n FROM closed GROUP BY w;
CREATE MATERIALIZED VIEW calls_open WITH (braid.continuous, braid.watermark = 'ts', braid.late = 'drop') AS
	SELECT braid.tumble(ts, 20) AS w, k, count(*) AS n, sum(v) AS s, min(v) AS m, count(DISTINCT v) AS d FROM calls GROUP BY 1, 2;
CREATE MATERIALIZED VIEW updated WITH (braid.continuous, braid.watermark = 'ts') AS
	SELECT braid.tumble(ts, 20) AS w, k, count(*) AS n, sum(v) AS s FROM calls GROUP BY 1, 2;
SQL
my @views = qw(dropped diverted closed emitted calls_open updated);
my $waits = 'SELECT ' . join(', ', map { "braid.wait('$_', '60 s')" } @views);
$cluster->sql('db', $waits);

# What was once seen closed, and the highest watermark of each view.
my (%seen, %highest, @wrong);

# Watermark and rows of one snapshot.
sub look
{
	for my $name (qw(dropped diverted closed calls_open))
	{
		my $emits = $name eq 'closed' ? 1 : 0;
		my ($rc, $out) = $cluster->try_sql('db', <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 'mark', watermark FROM braid.views WHERE name = '$name'::regclass;
SELECT w + 20, v::text FROM $name v;
COMMIT;
SQL
		next if $rc != 0;
		my @lines = split /\n/, $out;
		my (undef, $mark) = split /\|/, shift @lines // '';
		next if !defined $mark || $mark eq '';
		push @wrong, "the watermark of $name goes back to $mark" if $mark < ($highest{$name} // $mark);
		$highest{$name} = $mark;
		my %now;
		for my $line (@lines)
		{
			my ($end, $row) = split /\|/, $line, 2;
			$now{$row} = 1 if $end <= $mark;
			push @wrong, "$name shows $row before its end" if $emits && $end > $mark;
		}
		for my $row (keys %{ $seen{$name} })
		{
			push @wrong, "$name had closed $row, and has changed it" if !$now{$row};
		}
		$seen{$name} = \%now;
	}
	return;
}

for my $round (1 .. $rounds)
{
	my @runs;
	for my $client (1 .. $clients)
	{
		my $x = rand();
		my ($in, $out) = ('', '');
		push @runs, [ start([ 'psql', '-Xqd', $node->connstr('postgres'), '-c', "CALL work(150, $x)" ], \$in, \$out, '2>', '/dev/null'), \$out ];
	}
	look() for 1 .. 2;
	my $choice = $round % 3;
	if ($choice == 1)
	{
		my $pid = $cluster->sql('db', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'braid capture'");
		kill 'KILL', $pid if $pid;
	}
	elsif ($choice == 2) { $node->stop('immediate'); $node->start; }
	else { $cluster->try_sql('db', 'REFRESH MATERIALIZED VIEW dropped'); }
	eval { finish($_->[0]) } for @runs;
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die 'the server does not come back';
	look();
	last if @wrong;
}
$cluster->sql('db', $waits);
look();
is(join("\n", @wrong), '', 'closed groups stay, the watermark never goes back, windows are shown when they close');
my $count = scalar keys %{ $seen{closed} };
cmp_ok($count, '>', 10, 'groups were closed');

# Each row is shown, or was dropped, or put aside: once.
is($cluster->sql('db', <<'SQL'), '', 'nothing is counted twice, and nothing is lost');
SELECT 'diverted', a.n, b.n, c.n FROM (SELECT count(*) AS n FROM clicks) a, (SELECT sum(n) AS n FROM diverted) b, (SELECT count(*) AS n FROM braid.diverted('diverted')) c WHERE a.n <> b.n + c.n;
SELECT 'counted', c.n, v.diverted FROM (SELECT count(*) AS n FROM braid.diverted('diverted')) c, braid.views v WHERE v.name = 'diverted'::regclass AND c.n <> v.diverted;
SELECT 'emitted', e.* FROM emitted e FULL JOIN (SELECT w, count(*) AS groups, sum(n) AS n FROM closed GROUP BY w) c USING (w) WHERE e.groups IS DISTINCT FROM c.groups OR e.n IS DISTINCT FROM c.n;
SELECT 'updated', * FROM (TABLE updated EXCEPT SELECT braid.tumble(ts, 20), k, count(*), sum(v) FROM calls GROUP BY 1, 2) x;
SQL
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT * FROM braid.verify('$_')" } @views), '', 'open groups equal the query');

# What was put aside comes back: then all is as if nothing had been late.
$cluster->sql('db', "SELECT braid.merge_diverted('diverted')");
$cluster->sql('db', $waits);
is($cluster->sql('db', 'SELECT count(*) FROM (SELECT braid.tumble(ts, 20), k, count(*), sum(v) FROM clicks GROUP BY 1, 2 EXCEPT TABLE diverted) x'), '0', 'merged: the view is its query');
is($cluster->sql('db', "SELECT count(*) FROM braid.diverted('diverted')"), '0', 'and nothing is left aside');
done_testing();
