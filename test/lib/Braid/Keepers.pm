# Braid::Keepers: who else could keep count and sum per key of a table into
# which clients insert: nobody, a trigger, pg_ivm, or a continuous view; for the
# benchmarks. Each keeper has a server of its own, so that none pays for another.
package Braid::Keepers;

use strict;
use warnings;
use Braid::Bench;
use Braid::Cluster;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my $query = 'SELECT k, count(*) AS count, sum(x) AS sum FROM t GROUP BY k';
my $clients = 8;

# What makes "kept", which has k, count and sum of what t has. It is empty then.
my %keepers = (
	nobody => '',
	view => "CREATE MATERIALIZED VIEW kept WITH (braid.continuous) AS $query",
	pg_ivm => "SELECT pgivm.create_immv('kept', '$query')",
	trigger => <<'SQL');
CREATE TABLE kept (k int PRIMARY KEY, count bigint NOT NULL, sum bigint NOT NULL) WITH (fillfactor = 50);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO kept SELECT k, count(*), sum(x) FROM came GROUP BY k ORDER BY k
		ON CONFLICT (k) DO UPDATE SET count = kept.count + excluded.count, sum = kept.sum + excluded.sum;
	RETURN NULL;
END $$;
CREATE TRIGGER keep AFTER INSERT ON t REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION keep();
SQL

# Starts a server for each. Returns a handle, or nothing if one of them is not
# installed.
sub start
{
	my ($class, @names) = @_;
	my $self = bless { names => [@names] }, $class;
	for my $name (@names)
	{
		my $node = $self->{nodes}{$name} = Braid::Cluster->start_node($name, $Braid::Bench::durable);
		$node->safe_psql('postgres', 'CREATE EXTENSION braid');
		next if $name ne 'pg_ivm';
		return if $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_ivm'") == 0;
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'braid, pg_ivm'");
		$node->restart;
		$node->safe_psql('postgres', 'CREATE EXTENSION pg_ivm');
	}
	return $self;
}

sub sql
{
	my ($self, $name, $sql) = @_;
	return $self->{nodes}{$name}->safe_psql('postgres', $sql);
}

# Waits until what is kept is complete, and checks it.
sub check
{
	my ($self, $name) = @_;
	return if $name eq 'nobody';
	if ($name eq 'view')
	{
		my $start = time;
		is($self->sql($name, "SELECT braid.wait('kept', '60 s')"), 't', 'the view has caught up');
		$self->{behind} = max($self->{behind}, time - $start);
	}
	is($self->sql($name, "SELECT count(*) FROM (($query) EXCEPT (SELECT k, count, sum FROM kept)) d"), 0, "$name has kept everything");
	return;
}

# Transactions per second of clients that each insert rows, as many as told at a
# time, each of one of so many groups: the keepers in turn, on new tables. Returns
# the figures as in_turn() does.
sub contest
{
	my ($self, $groups, $rows, $rounds, $seconds) = @_;
	my $script = join '', map { "\\set k$_ random(1, $groups)\n" } 1 .. $rows;
	$script .= 'INSERT INTO t (k, x) VALUES ' . join(', ', map { "(:k$_, 1)" } 1 .. $rows) . ";\n";
	for my $name (@{ $self->{names} })
	{
		$self->sql($name, <<"SQL");
DROP TABLE IF EXISTS t CASCADE;
DROP TABLE IF EXISTS kept;
DROP FUNCTION IF EXISTS keep();
CREATE TABLE t (id bigserial PRIMARY KEY, k int, x int);
SQL
		$self->sql($name, $keepers{$name}) if $keepers{$name};
		$self->sql($name, "SELECT braid.wait('kept', '60 s')") if $name eq 'view';
	}
	$self->{behind} = 0;
	my %contestants;
	for my $name (@{ $self->{names} })
	{
		$contestants{$name} = sub {
			my $tps = pgbench_tps($self->{nodes}{$name}, $script, clients => $clients, seconds => $seconds);
			$self->check($name);
			return $tps;
		};
	}
	return in_turn($rounds, %contestants);
}

# The longest time, in seconds, that the view of the last contest needed until it
# had everything, after the clients had ended.
sub behind { my ($self) = @_; return $self->{behind}; }

1;
