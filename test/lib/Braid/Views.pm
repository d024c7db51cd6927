# Braid::Views: continuous views of one node, each beside the query that it must equal.
#
#   my $views = Braid::Views->new($cluster, 'db');
#   my $refusal = $views->create('by_shop', 'SELECT shop, count(*) FROM sales GROUP BY shop');
#   $cluster->sql('db', 'INSERT ...');
#   is(join("\n", $views->differences), '');
#
# Rows are compared as text, both ways and with duplicates: so types without
# equality can be compared, and 1.0 is not 1.00.
package Braid::Views;

use strict;
use warnings;
use PostgreSQL::Test::Utils;

# A query for how two queries differ, null if they do not: how many rows the first has too
# many and too few, and one of each.
sub difference
{
	my ($query, $other) = @_;
	return <<"SQL";
WITH shown AS MATERIALIZED (SELECT shown_row::text AS r FROM ($query) shown_row), asked AS MATERIALIZED (SELECT asked_row::text AS r FROM ($other) asked_row),
	surplus AS (TABLE shown EXCEPT ALL TABLE asked), missing AS (TABLE asked EXCEPT ALL TABLE shown)
SELECT nullif(concat_ws('; ', (SELECT count(*) || ' surplus, such as ' || left(min(r), 300) FROM surplus HAVING count(*) > 0),
	(SELECT count(*) || ' missing, such as ' || left(min(r), 300) FROM missing HAVING count(*) > 0)), '')
SQL
}

sub new
{
	my ($class, $cluster, $node) = @_;
	my $self = bless { cluster => $cluster, node => $node, queries => {}, names => [] }, $class;
	my $difference = difference('TABLE %1$s', '%2$s');
	$cluster->sql($node, <<"SQL");
CREATE SCHEMA compared;
CREATE TABLE compared.views (number serial PRIMARY KEY, view text, query text);

-- What is wrong with a view: how it differs from its query, or why that cannot be said.
CREATE FUNCTION compared.difference(view text, query text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	answer text;
BEGIN
	IF NOT braid.wait(view::regclass, '30 s') THEN
		RETURN 'does not catch up';
	END IF;
	EXECUTE format(\$diff\$$difference\$diff\$, view, query) INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END \$\$;

-- What braid itself finds.
CREATE FUNCTION compared.verified(view text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	answer text;
BEGIN
	SELECT string_agg(difference || ' ' || "row", '; ') INTO answer FROM braid.verify(view::regclass, timeout => '30 s');
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END \$\$;
SQL
	return $self;
}

# Makes a view. Returns the message of a refusal, on one line, or the empty string.
sub create
{
	my ($self, $name, $query, $columns) = @_;
	my $list = $columns ? " ($columns)" : '';
	my ($rc, undef, $error) = $self->{cluster}->try_sql($self->{node},
		"SET client_min_messages = warning; CREATE MATERIALIZED VIEW $name$list WITH (braid.continuous) AS $query");
	if ($rc != 0)
	{
		my ($message) = $error =~ /ERROR:\s+(.*)/;
		my ($hint) = $error =~ /HINT:\s+(.*)/;
		return defined $message ? $message . (defined $hint ? " ($hint)" : '') : $error;
	}
	$self->{queries}{$name} = $query;
	push @{ $self->{names} }, $name;
	$self->{cluster}->sql($self->{node}, "INSERT INTO compared.views (view, query) VALUES ('$name', \$query\$$query\$query\$)");
	return '';
}

# Drops all views, those that stand on others first.
sub drop
{
	my ($self) = @_;
	my $sql = join '', map { "DROP MATERIALIZED VIEW $_;\n" } reverse $self->names;
	$self->{cluster}->sql($self->{node}, $sql . 'TRUNCATE compared.views RESTART IDENTITY');
	@$self{ 'queries', 'names' } = ({}, []);
	return;
}

# The names of the views that were made.
sub names { my ($self) = @_; return @{ $self->{names} }; }

sub query { my ($self, $name) = @_; return $self->{queries}{$name}; }

# Waits for all views, or for those named. Returns "name: what is wrong" for each
# that does not equal its query.
sub differences
{
	my ($self, @names) = @_;
	return $self->wrong('compared.difference(view, query)', @names);
}

# The same by braid.verify().
sub unverified
{
	my ($self, @names) = @_;
	return $self->wrong('compared.verified(view)', @names);
}

# Lines of the server's log that tell of views that could not follow a change: they
# are populated anew, and right again, so that comparing does not find it.
sub failures
{
	my ($self) = @_;
	my $log = PostgreSQL::Test::Utils::slurp_file($self->{cluster}->node($self->{node})->logfile);
	return grep { /could not follow a change|is broken:/ } split /\n/, $log;
}

sub wrong
{
	my ($self, $function, @names) = @_;
	my $which = @names ? 'WHERE view IN (' . join(', ', map { "'$_'" } @names) . ')' : '';
	# A snapshot for each view, taken after it was waited for: one statement each.
	my $answer = $self->{cluster}->sql($self->{node}, <<"SQL");
SELECT format('SELECT %L || '': '' || d FROM (SELECT $function AS d FROM compared.views WHERE number = %s) s WHERE d IS NOT NULL', view, number)
FROM compared.views $which ORDER BY number \\gexec
SQL
	return split /\n/, $answer;
}

# Strategies of a view's operators, from cheap to dear.
sub strategies
{
	my ($self, $name) = @_;
	return $self->{cluster}->sql($self->{node}, <<"SQL");
SELECT string_agg(DISTINCT strategy, ', ') FROM braid.explain('$name')
SQL
}

# Commits statements, and waits until the view has them. Returns the milliseconds
# of the waiting, the rows of states that were written meanwhile, and the
# milliseconds that the view's query takes afterwards.
sub timed
{
	my ($self, $name, $statements) = @_;
	my $answer = $self->{cluster}->sql($self->{node}, <<"SQL");
BEGIN;
$statements;
COMMIT;
SELECT clock_timestamp() AS committed \\gset
SELECT braid.wait('$name', '60 s') AS waited \\gset
SELECT 'refresh ' || extract(epoch FROM clock_timestamp() - :'committed') * 1000;
SELECT 'rows ' || sum(last_rows) FROM braid.explain('$name') WHERE state IS NOT NULL;
EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) $self->{queries}{$name};
SQL
	my ($refresh) = $answer =~ /^refresh ([\d.]+)/m;
	my ($rows) = $answer =~ /^rows (\d+)/m;
	my ($query) = $answer =~ /^Execution Time: ([\d.]+)/m;
	return ($refresh, $rows, $query);
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ]; }

# The medians of timed() for several transactions, after others that make the plans.
sub measured
{
	my ($self, $name, @transactions) = @_;
	my @times = map { [ $self->timed($name, $_) ] } @transactions;
	shift @times while @times > 3;
	return map { my $i = $_; median(map { $_->[$i] // 0 } @times) } 0 .. 2;
}

1;
