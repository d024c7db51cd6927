# Braid::Feeds: who takes in changefeeds, and keeps what they tell.
#
#   my $feeds = Braid::Feeds->new($cluster, 'db', 'changes');
#   my $load = $feeds->start;                              # take in what comes, meanwhile
#   is(join("\n", $feeds->differences({ 'public.v' => 'by key' })), '');
#   $feeds->stop($load);
#
# Messages are received by a group and applied in the transaction that moves its position, partition by
# partition, by several sessions. What a message says that went must be there, and of rows
# that are told apart by their key there is one: anything else is noted as a mistake.
package Braid::Feeds;

use strict;
use warnings;
use Braid::Cluster;

sub new
{
	my ($class, $cluster, $node, $topic) = @_;
	my $self = bless { cluster => $cluster, node => $node, topic => $topic }, $class;
	$cluster->sql($node, <<"SQL");
CREATE SCHEMA IF NOT EXISTS folded;
CREATE TABLE IF NOT EXISTS folded.rows (relation text, part int, key text, r text, n int, PRIMARY KEY (relation, part, key, r));
CREATE TABLE IF NOT EXISTS folded.mistakes (what text);
CREATE TABLE IF NOT EXISTS folded.messages (relation text, part int, op text, gid text, lsn pg_lsn, n bigint);
SELECT braid.create_group('$topic', 'fold', start => 'beginning');

CREATE OR REPLACE FUNCTION folded.come(rel text, p int, k text, new_row text) RETURNS void LANGUAGE sql AS \$\$
	INSERT INTO folded.rows AS f VALUES (rel, p, k, new_row, 1) ON CONFLICT (relation, part, key, r) DO UPDATE SET n = f.n + 1
\$\$;

CREATE OR REPLACE FUNCTION folded.go(rel text, p int, k text, old_row text, what jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	UPDATE folded.rows f SET n = f.n - 1 WHERE f.relation = rel AND f.part = p AND f.key = k AND f.r = old_row AND f.n > 0;
	IF NOT FOUND THEN
		INSERT INTO folded.mistakes VALUES ('what went was not there: ' || what::text);
	END IF;
	DELETE FROM folded.rows f WHERE f.relation = rel AND f.part = p AND f.key = k AND f.r = old_row AND f.n = 0;
END \$\$;

-- Takes in some messages; returns how many.
CREATE OR REPLACE FUNCTION folded.take(topic regclass) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
	m record;
	rel text;
	op text;
	taken bigint := 0;
BEGIN
	FOR m IN SELECT * FROM braid.receive(topic, 'fold', max_rows => 500) ORDER BY id LOOP
		rel := m.payload->>'relation';
		op := m.payload->>'op';
		taken := taken + 1;
		IF op IN ('snapshot', 'truncate') THEN
			DELETE FROM folded.rows f WHERE f.relation = rel AND f.part = m.partition;
		ELSIF op NOT IN ('insert', 'update', 'delete', 'read') OR (op IN ('insert', 'read')) <> (m.payload->>'old' IS NULL)
			OR (op = 'delete') <> (m.payload->>'new' IS NULL) THEN
			INSERT INTO folded.mistakes VALUES ('what a message says does not go together: ' || m.payload::text);
		END IF;
		IF m.payload->>'old' IS NOT NULL THEN
			PERFORM folded.go(rel, m.partition, m.key, m.payload->>'old', m.payload);
		END IF;
		IF m.payload->>'new' IS NOT NULL THEN
			PERFORM folded.come(rel, m.partition, m.key, m.payload->>'new');
		END IF;
		INSERT INTO folded.messages VALUES (rel, m.partition, op, m.payload->>'gid', (m.payload->>'lsn')::pg_lsn, 1);
	END LOOP;
	RETURN taken;
END \$\$;

CREATE OR REPLACE FUNCTION folded.difference(rel text, keyed boolean) RETURNS text LANGUAGE plpgsql SET TimeZone = 'UTC' AS \$\$
DECLARE
	answer text;
BEGIN
	EXECUTE format(\$query\$
WITH told AS MATERIALIZED (SELECT r FROM folded.rows, generate_series(1, n) WHERE relation = %1\$L),
	shown AS MATERIALIZED (SELECT to_jsonb(v.*)::text AS r FROM %1\$s v),
	surplus AS (TABLE told EXCEPT ALL TABLE shown), missing AS (TABLE shown EXCEPT ALL TABLE told)
SELECT concat_ws('; ', (SELECT count(*) || ' surplus, such as ' || left(min(r), 200) FROM surplus HAVING count(*) > 0),
	(SELECT count(*) || ' missing, such as ' || left(min(r), 200) FROM missing HAVING count(*) > 0),
	(SELECT 'several rows with key ' || min(key) FROM (SELECT key FROM folded.rows WHERE %2\$L AND relation = %1\$L GROUP BY key HAVING sum(n) > 1) d HAVING count(*) > 0))
		\$query\$, rel, keyed) INTO answer;
	RETURN answer;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN sqlerrm; -- it has not been populated
END \$\$;
SQL
	return $self;
}

# Takes in what comes, in several sessions, until stop().
sub start
{
	my ($self) = @_;
	return $self->{cluster}->start_load($self->{node}, "SELECT folded.take('$self->{topic}');\nSELECT pg_sleep(0.02);", 2);
}

sub stop { my ($self, $load) = @_; return $self->{cluster}->stop_load($load); }

# Takes in all that there is; of another database with the same topic, if one is given.
sub drain
{
	my ($self, $database) = @_;
	$self->ask($database, "DO \$\$ DECLARE idle int := 0; BEGIN WHILE idle < 8 LOOP idle := CASE folded.take('$self->{topic}') WHEN 0 THEN idle + 1 ELSE 0 END; COMMIT; END LOOP; END \$\$");
	return;
}

# How relations differ from what was told of them, a line for each, when there was time for it. Of each is said
# whether its rows are told apart by their key.
sub differences
{
	my ($self, $relations, $database) = @_;
	my @wrong;
	my $values = join ', ', map { "('$_', " . ($relations->{$_} ? 'true' : 'false') . ')' } sort keys %$relations;
	Braid::Cluster::until_true(sub {
		$self->drain($database);
		@wrong = split /\n/, $self->ask($database, "SELECT x.relation || ': ' || d FROM (VALUES $values) x(relation, keyed), folded.difference(x.relation, keyed) d WHERE d <> ''");
		return !@wrong;
	});
	push @wrong, split /\n/, $self->ask($database, 'SELECT left(what, 300) FROM folded.mistakes LIMIT 3');
	return @wrong;
}

sub ask
{
	my ($self, $database, $sql) = @_;
	return $self->{cluster}->node($self->{node})->safe_psql($database // 'postgres', $sql);
}

1;
