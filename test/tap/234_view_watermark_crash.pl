# Late rows under load by several clients, while the worker and the server are
# killed: the watermark never goes back, a window is shown once and never changes
# when it is closed, nothing is counted twice or lost (what is shown, what was
# dropped and what was put aside add up to all rows), and open groups equal the
# query. The seed is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Policies;
use Test::More;

my $rounds = $ENV{BRAID_ROUNDS} // 6;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum_naptime = 1s\nbraid.view_populate_limit = 0\n" });

$cluster->sql('db', $Braid::Policies::load_schema . <<'SQL');
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

my $policies = Braid::Policies->new($cluster, 'db');
my @wrong = $policies->watch($rounds, 'CALL work(150, 3, %f)', map { $_ => 'w + 20' } qw(dropped diverted closed calls_open));
$cluster->sql('db', $waits);
is(join("\n", @wrong), '', 'closed groups stay, the watermark never goes back, windows are shown when they close');
cmp_ok($policies->closed('closed'), '>', 10, 'groups were closed');

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
