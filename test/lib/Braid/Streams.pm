# Braid::Streams: random transactions that write the same rows to a table and to a
# stream, and views on the streams, each beside the query over the tables that it
# must equal.
#
#   my $streams = Braid::Streams->new($cluster, 'db');
#   my $clients = $streams->start_clients(4);
#   $streams->finish_clients($clients);
#   is(join("\n", $streams->differences), '');
#
# Rows come by INSERT of values, from a query, by COPY, through a partitioned table of which the
# stream is a partition, and from blocks with exceptions; in transactions with savepoints that are
# released and rolled back, in one or in two phases, with rows of two streams. All that is
# random follows from srand().
package Braid::Streams;

use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Utils;

my $columns = 'k int, x bigint, small smallint, yes boolean, n numeric, f float8, d date, at timestamp, t text, big text';
my $schema = <<"SQL" . join '', map { <<"SQL" } 1, 2;
CREATE TABLE dims (k int PRIMARY KEY, name text, low int);
INSERT INTO dims SELECT g, 'dim ' || g % 3, g * 20 FROM generate_series(0, 4) g;
SQL
CREATE TABLE t$_ ($columns);
CREATE TABLE p$_ ($columns) PARTITION BY LIST (yes);
CREATE FOREIGN TABLE s$_ ($columns) SERVER braid_stream;
ALTER TABLE p$_ ATTACH PARTITION s$_ DEFAULT;

CREATE PROCEDURE in_blocks$_(rows int, x bigint) LANGUAGE plpgsql AS \$\$
BEGIN
	FOR i IN 1 .. rows LOOP
		BEGIN
			INSERT INTO t$_ (k, x, t) VALUES (i % 5, x + i, 'block');
			INSERT INTO s$_ (k, x, t) VALUES (i % 5, x + i, 'block');
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'never mind';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END \$\$;
SQL

# Name => query over r1 and r2, which are the streams or the tables, and over views
# made before.
our %queries = (
	by_key => 'SELECT k, count(*), count(x) AS cx, sum(x), avg(x), min(x), max(x) FROM r1 GROUP BY k',
	other => 'SELECT k, count(*), sum(x), sum(small) AS ss FROM r2 WHERE x % 3 <> 1 GROUP BY k',
	numbers => 'SELECT k, count(*), sum(n), avg(n), sum(f) AS sf, max(t) AS mt FROM r1 GROUP BY k',
	total => 'SELECT count(*), sum(x), max(length(big)), sum(length(big)) AS l FROM r1',
	by_type => 'SELECT small, yes, d, count(*), bool_and(yes) AS every, max(at) AS last FROM r1 GROUP BY small, yes, d',
	hours => q{SELECT braid.tumble(at, '1 hour') AS hour, count(*), sum(x) FROM r2 GROUP BY 1},
	plain => 'SELECT k, t, x % 3 AS r, n, big FROM r1 WHERE x > 20',
	different => 'SELECT DISTINCT k, t FROM r1',
	sets => 'SELECT k, t, count(*), sum(x) FROM r2 GROUP BY GROUPING SETS ((k), (t), ())',
	joined => 'SELECT d.name, count(*), sum(r1.x) FROM r1 JOIN dims d USING (k) GROUP BY d.name',
	left_joined => 'SELECT r2.k, d.name, r2.x FROM r2 LEFT JOIN dims d ON d.k = r2.k AND d.low < r2.x',
	union_all => 'SELECT k, x FROM r1 WHERE x < 50 UNION ALL SELECT k, x FROM r2 WHERE x < 50',
	sessions => <<'SQL',
SELECT k, started, count(*), sum(x) FROM (SELECT k, x, braid.session(at, '30 min') OVER (PARTITION BY k ORDER BY at) AS started FROM r2) s GROUP BY k, started
SQL
	z_sizes => 'SELECT count AS size, count(*) AS groups, sum(cx) AS cx FROM by_key GROUP BY count',
	z_joined => 'SELECT d.name, v.count FROM by_key v LEFT JOIN dims d USING (k)',
);

# Sums of both sides, and a view that ties them: they agree in every snapshot.
my $sums = 'SELECT count(*) AS n, sum(x) AS x, sum(k) AS k FROM (SELECT k, x FROM %1$s1 UNION ALL SELECT k, x FROM %1$s2) u';
my $balance = 'SELECT s.n - t.n AS n, s.x - t.x AS x, s.k - t.k AS k FROM stream_sums s CROSS JOIN table_sums t';

sub new
{
	my ($class, $cluster, $node) = @_;
	my $self = bless { cluster => $cluster, node => $node, scripts => PostgreSQL::Test::Utils::tempdir(), files => 0, prepared => 0 }, $class;
	$cluster->sql($node, $schema);
	$self->create($_) for sort keys %queries;
	my @views = ([ stream_sums => sprintf $sums, 's' ], [ table_sums => sprintf $sums, 't' ], [ balance => $balance ]);
	$cluster->sql($node, "CREATE MATERIALIZED VIEW $$_[0] WITH (braid.continuous) AS $$_[1]") for @views;
	$cluster->sql($node, 'SELECT ' . join ', ', map { "braid.wait('$_', '60 s')" } 'balance', sort keys %queries);
	return $self;
}

sub over { my ($self, $name, $relation) = @_; return $queries{$name} =~ s/\br([12])\b(?!\.)/$relation$1 r$1/gr; }

sub create
{
	my ($self, $name) = @_;
	$self->{cluster}->sql($self->{node}, "CREATE MATERIALIZED VIEW $name WITH (braid.continuous) AS " . $self->over($name, 's'));
	return;
}

sub any { return $_[rand @_]; }

# Values as COPY has them, in the order of the columns; undef is null.
sub row
{
	my $day = 1 + int(rand(28));
	return [
		any(undef, int(rand(6)), int(rand(6))), any(undef, int(rand(100)), int(rand(100)), 5_000_000_000), any(undef, int(rand(3))), any(undef, 't', 'f'),
		any(undef, int(rand(100)), sprintf('%.1f', rand(100)), sprintf('%.4f', rand(10)), rand() < 0.03 ? 'NaN' : 5), any(undef, int(rand(64)) / 16),
		any(undef, "2024-02-$day"), sprintf('2024-02-%02d %02d:%02d:%02d', any(1, 2, $day), rand(24), rand(60), rand(60)),
		any(undef, 'a', 'b', 'c, "d"'), any(undef, undef, '', 'x' x int(rand(60)), rand() < 0.03 ? join('', map { chr(97 + int(rand(26))) } 1 .. 4000) : 'y' x int(rand(300))) ];
}

sub values_of { return join ', ', map { '(' . join(', ', map { defined $_ ? "'$_'" : 'NULL' } @{ row() }) . ')' } 1 .. $_[0]; }

# Statements that write rows to t1 and s1, or to t2 and s2.
sub insert_rows
{
	my ($self) = @_;
	my $i = any(1, 2);
	my $dice = rand();
	if ($dice < 0.35)
	{
		my $values = values_of(1 + int(rand(4)));
		return ("INSERT INTO t$i VALUES $values", sprintf('INSERT INTO %s VALUES %s', any("s$i", "s$i", "p$i"), $values));
	}
	if ($dice < 0.5)
	{
		return sprintf 'WITH r AS (INSERT INTO t%d VALUES %s RETURNING *) INSERT INTO %s SELECT * FROM r', $i, values_of(1 + int(rand(20))), any("s$i", "p$i");
	}
	if ($dice < 0.7)
	{
		my $file = "$self->{scripts}/rows" . $self->{files}++;
		append_to_file($file, join '', map { join("\t", map { $_ // '\\N' } @{ row() }) . "\n" } 1 .. 1 + int(rand(any(5, 50))));
		return ("COPY t$i FROM '$file'", sprintf('COPY %s FROM \'%s\'', any("s$i", "p$i"), $file));
	}
	return sprintf('CALL in_blocks%d(%d, %d)', $i, 1 + rand(12), rand(100)) if $dice < 0.85;

	# More than a message has, now and then.
	my $query = sprintf q{SELECT g %% 6, g %% 100, g %% 3, g %% 2 = 0, g / 10.0, g / 16.0, date '2024-02-01' + g %% 28, timestamp '2024-02-01' + g * interval '1 min', 'g', repeat('y', g %% 50)
		FROM generate_series(1, %d) g}, rand(any(100, 100, 3000));
	return map { "INSERT INTO $_$i $query" } 't', 's';
}

# Statements within a transaction, some of them in subtransactions.
sub statements
{
	my ($self, $depth) = @_;
	my @lines;
	for (1 .. 1 + rand(3))
	{
		if ($depth < 3 && rand() < 0.35)
		{
			push @lines, "SAVEPOINT s$depth", $self->statements($depth + 1), any("ROLLBACK TO s$depth", "RELEASE s$depth", "ROLLBACK TO s$depth; RELEASE s$depth", 'SELECT 1');
		}
		else { push @lines, $self->insert_rows; }
	}
	return @lines;
}

sub transaction
{
	my ($self) = @_;
	my @lines = ('BEGIN', $self->statements(0));
	splice @lines, 1, 0, 'SET LOCAL synchronous_commit = off' if rand() < 0.2;
	if (rand() < 0.25)
	{
		my $gid = 'g' . $self->{prepared}++;
		push @lines, "PREPARE TRANSACTION '$gid'", any('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$gid'";
	}
	else { push @lines, any('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK'); }
	return join(";\n", @lines) . ';';
}

# Sessions with so many transactions each. Their connection may be cut.
sub start_clients
{
	my ($self, $count, $transactions) = @_;
	my $node = $self->{cluster}->node($self->{node});
	my @clients;
	for (1 .. $count)
	{
		my $file = "$self->{scripts}/client" . $self->{files}++;
		append_to_file("$file.sql", join("\n", "\\set QUIET 1", map { $self->transaction } 1 .. $transactions) . "\n");
		push @clients, { error => "$file.err",
			run => IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', "$file.sql" ], '>', '/dev/null', '2>', "$file.err") };
	}
	return \@clients;
}

# Waits for them. Returns what they were told, other than that the server has ended.
sub finish_clients
{
	my ($self, $clients) = @_;
	my @errors;
	for my $client (@$clients)
	{
		$client->{run}->finish;
		push @errors, grep { /ERROR/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($client->{error});
	}
	return @errors;
}

# Prepared transactions that nobody will end.
sub end_prepared
{
	my ($self) = @_;
	for my $gid (split /\n/, $self->{cluster}->sql($self->{node}, 'SELECT gid FROM pg_prepared_xacts'))
	{
		$self->{cluster}->sql($self->{node}, any('COMMIT', 'ROLLBACK') . " PREPARED '$gid'");
	}
	return;
}

# "name: row" for rows that a view has too many or too few.
sub differences
{
	my ($self, @names) = @_;
	my @found;
	for my $name (@names ? @names : sort keys %queries)
	{
		my $query = $self->over($name, 't');
		my $waited = $self->{cluster}->sql($self->{node}, "SELECT braid.wait('$name', '60 s')");
		push @found, "$name: does not catch up" if $waited ne 't';
		push @found, map { substr "$name: $_", 0, 300 } split /\n/, $self->{cluster}->sql($self->{node}, <<"SQL");
(SELECT 'surplus', r FROM (TABLE $name EXCEPT ALL ($query)) r LIMIT 2) UNION ALL (SELECT 'missing', r FROM (($query) EXCEPT ALL TABLE $name) r LIMIT 2)
SQL
	}
	return @found;
}

# Whether the sums of both sides differ, in the snapshot of now; undef if nobody can be asked.
sub torn
{
	my ($self) = @_;
	my ($rc, $rows) = $self->{cluster}->try_sql($self->{node},
		'TABLE balance EXCEPT SELECT 0, 0, 0 EXCEPT SELECT 0, NULL, NULL; TABLE stream_sums EXCEPT TABLE table_sums');
	return $rc == 0 ? $rows : undef;
}

1;
