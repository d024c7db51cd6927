# How long a change takes to reach a view over joined tables. One row of a
# dimension that 100 facts match, in a table of 100,000 facts and in one of
# 1,000,000: the time should depend on the facts that match. And 10,000 rows of
# the largest of three tables with 1,000,000, 100,000 and 1,000 rows, against
# running the query.
use strict;
use warnings;
use Braid::Bench;
use Braid::Client;
use Braid::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $turns = 4 * ($ENV{BENCH_ROUNDS} // 5);
my $matching = 100;
my $node = Braid::Cluster->start_node('db', $Braid::Bench::durable);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Milliseconds that a statement takes, in a session that is there already.
my $session = Braid::Client->new($node);

sub ms
{
	my ($sql) = @_;
	my $start = time;
	$session->value($sql, 300);
	return 1000 * (time - $start);
}

# The view and its query are the same.
sub check
{
	my ($view) = @_;
	is(sql("SELECT count(*) FROM braid.verify('$view')"), 0, "$view is right");
	return;
}

# ---------------------------------------------------------------- one row of a dimension

my %facts = (small => 100_000, large => 1_000_000);
my %kinds = (
	sums => 'SELECT d.region, count(*), sum(f.amount) FROM facts_%1$s f JOIN dimension_%1$s d ON d.id = f.dimension GROUP BY d.region',
	rows => 'SELECT f.id, f.amount, d.region FROM facts_%1$s f JOIN dimension_%1$s d ON d.id = f.dimension');

sub make_facts
{
	my ($size) = @_;
	my $dimensions = $facts{$size} / $matching;
	sql(<<"SQL");
CREATE TABLE dimension_$size (id int PRIMARY KEY, region int);
INSERT INTO dimension_$size SELECT g, g % 50 FROM generate_series(1, $dimensions) g;
CREATE TABLE facts_$size (id int PRIMARY KEY, dimension int, amount int);
INSERT INTO facts_$size SELECT g, 1 + g % $dimensions, g % 1000 FROM generate_series(1, $facts{$size}) g;
CREATE INDEX ON facts_$size (dimension);
VACUUM ANALYZE dimension_$size, facts_$size;
SQL
	return;
}

# Milliseconds from an update of a dimension's row until the view shows it.
sub dimension_turn
{
	my ($size, $view) = @_;
	my $id = 1 + int rand($facts{$size} / $matching);
	return ms("UPDATE dimension_$size SET region = (region + 1) % 50 WHERE id = $id") + ms("SELECT braid.wait('$view', '60 s')");
}

sub one_row
{
	my ($kind) = @_;
	my %query = map { $_ => sprintf $kinds{$kind}, $_ } keys %facts;
	for my $size (sort keys %facts)
	{
		sql("CREATE MATERIALIZED VIEW ${kind}_$size WITH (braid.continuous) AS $query{$size}");
		sql("SELECT braid.wait('${kind}_$size', '5 min')");
		dimension_turn($size, "${kind}_$size");
	}
	my $figures = in_turn($turns, map { my $size = $_; ($size => sub { dimension_turn($size, "${kind}_$size") }) } keys %facts);
	my %query_ms = map { $_ => ms("SELECT count(*) FROM ($query{$_}) q") } keys %facts;
	check("${kind}_$_") for sort keys %facts;
	report("view_join, one row, $kind", ratio($figures, 'large', 'small'), '<= 1.5',
		sprintf('1M facts %.1f ms, 100k facts %.1f ms; the query: %.0f ms, %.0f ms', (map { median(@{ $figures->{$_} }) } qw(large small)), @query_ms{qw(large small)}));
	sql("DROP MATERIALIZED VIEW ${kind}_$_") for keys %facts;
	return;
}

# ---------------------------------------------------------------- 10,000 rows of three tables

sub three_tables
{
	my $query = 'SELECT s.name, c.segment, count(*), sum(l.amount) FROM lines l ' .
	  'JOIN customers c ON c.id = l.customer JOIN shops s ON s.id = l.shop GROUP BY s.name, c.segment';
	sql(<<"SQL");
CREATE TABLE shops (id int PRIMARY KEY, name text);
INSERT INTO shops SELECT g, 'shop ' || g % 100 FROM generate_series(1, 1000) g;
CREATE TABLE customers (id int PRIMARY KEY, segment int);
INSERT INTO customers SELECT g, g % 10 FROM generate_series(1, 100000) g;
CREATE TABLE lines (id serial PRIMARY KEY, customer int, shop int, amount int);
INSERT INTO lines (customer, shop, amount) SELECT 1 + g % 100000, 1 + g * 7 % 1000, g % 500 FROM generate_series(1, 1000000) g;
CREATE INDEX ON lines (customer);
CREATE INDEX ON lines (shop);
VACUUM ANALYZE shops, customers, lines;
CREATE MATERIALIZED VIEW three WITH (braid.continuous) AS $query;
SELECT braid.wait('three', '5 min');
SQL
	my %changes = (
		'10,000 inserts' => 'INSERT INTO lines (customer, shop, amount) SELECT 1 + (random() * 99999)::int, 1 + (random() * 999)::int, 1 FROM generate_series(1, 10000)',
		'10,000 updates' => 'UPDATE lines SET amount = amount + 1 WHERE id BETWEEN 1 + %1$d AND 10000 + %1$d',
		'1,000 customers' => 'UPDATE customers SET segment = (segment + 1) %% 10 WHERE id BETWEEN 1 + %1$d / 10 AND 1000 + %1$d / 10',
		'1 shop' => q{UPDATE shops SET name = 'shop ' || (random() * 99)::int WHERE id = 1 + %1$d / 1000});
	for my $change (sort keys %changes)
	{
		my $turn = sub {
			my $statement = sprintf $changes{$change}, int rand 900_000;
			ms($statement);
			return ms("SELECT braid.wait('three', '60 s')");
		};
		$turn->();
		my $figures = in_turn($turns, view => $turn, query => sub { ms("SELECT count(*) FROM ($query) q") });
		report("view_join, three tables, $change", ratio($figures, 'view', 'query'), '',
			sprintf('visible %.1f ms after the commit, the query takes %.1f ms', map { median(@{ $figures->{$_} }) } qw(view query)));
	}
	check('three');
	return;
}

sql('CREATE EXTENSION braid');
make_facts($_) for sort keys %facts;
one_row($_) for sort keys %kinds;
three_tables();
done_testing();
