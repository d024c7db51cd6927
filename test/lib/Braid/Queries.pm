# Braid::Queries: random queries over given relations.
#
#   my $queries = Braid::Queries->new(\@relations);    # name, columns, unique, inexact
#   my $query = $queries->make;
#   $query->{sql}        rendered; $queries->render($query->{text}, ...) for others
#   $query->{columns}    name and type of each, as for relations
#   $query->{inexact}    whether equal values that look different may be exchanged
#   $query->{limited}    whether it ends with LIMIT
#
# Every query has one right answer: where rows are ordered, the order is total as
# far as it can be seen. See Braid::Expressions for choices.
package Braid::Queries;

use strict;
use warnings;
use parent -norequire, 'Braid::Expressions';
use Braid::Expressions;
use Braid::Tables qw(pick chance weighted constant sql_type);
use List::Util qw(shuffle max min);

sub new
{
	my ($class, $relations) = @_;
	return bless { relations => [@$relations], ctes => [] }, $class;
}

# for_view: the query is for an ordinary view, which others read. want: types of its columns.
sub make
{
	my ($self, $for_view, $want) = @_;
	$self->{for_view} = $for_view;
	$self->{choices} = [];
	$self->{aliases} = 0;
	$self->{inexact} = $self->{limited} = 0;
	$self->{nests} = int(weighted(0 => 1, 1 => 2, 2 => 3, 4 => 2, 6 => 1) * ($for_view ? 0.3 : 1)); # subqueries that there may still be
	$self->{refs} = 7; # relations
	my $query = $self->query(0, $want);
	my $n = 0;
	return {
		text => $query->{sql}, sql => $self->render($query->{sql}, {}), inexact => $self->{inexact}, limited => $self->{limited}, choices => $self->{choices},
		columns => [ map { { name => 'o' . ++$n, type => $_ } } @{ $query->{types} } ]
	};
}

sub may_nest { my ($self, $c) = @_; return $c->{sub} && $c->{level} < 3 && $self->{nests} > 0 && $self->{refs} > 0; }

# ---- FROM

sub from_relation
{
	my ($self, $relation) = @_;
	my $alias = $self->alias('t');
	my $unique = $relation->{unique} // '';
	$self->{refs}--;
	$relation->{used}++;
	$self->{inexact} = 1 if $relation->{inexact};
	my @cols = map {
		my $sql = "$alias.$_->{name}";
		{ sql => $_->{stored} ? "$sql\::$_->{type}" : $sql, type => $_->{type}, plain => !$_->{stored}, unique => $_->{name} eq $unique, alias => $alias, name => $_->{name}, stored => $_->{stored} }
	} @{ $relation->{columns} };
	return { sql => "$relation->{name} $alias", cols => \@cols, single => $alias };
}

sub from_query
{
	my ($self, $level, $query) = @_;
	my $alias = $self->alias('s');
	my $n = 0;
	my @cols = map { { sql => "$alias.o" . ++$n, type => $_, plain => 1, alias => $alias, name => "o$n" } } @{ $query->{types} };
	return { sql => "($query->{sql}) $alias", cols => \@cols, single => $alias };
}

sub from_values
{
	my ($self) = @_;
	my $alias = $self->alias('v');
	my @types = map { weighted(int => 3, text => 2, numeric => 1, bigint => 1, date => 1) } 1 .. 1 + rand 2;
	my @rows = map { '(' . join(', ', map { constant($_, null => 1) } @types) . ')' } 1 .. 2 + rand 3;
	my @names = map { "x$_" } 1 .. @types;
	my @cols = map { { sql => "$alias.x$_", type => $types[ $_ - 1 ], plain => 1, alias => $alias, name => "x$_" } } 1 .. @types;
	return { sql => sprintf('(VALUES %s) %s (%s)', join(', ', @rows), $alias, join(', ', @names)), cols => \@cols, single => $alias };
}

sub from_series
{
	my ($self) = @_;
	my $alias = $self->alias('g');
	return { sql => sprintf('generate_series(%d, %d) %s (x)', rand 2, 2 + rand 3, $alias), cols => [ { sql => "$alias.x", type => 'int', plain => 1, alias => $alias, name => 'x' } ], single => $alias };
}

# first: not what has no table in it.
sub from_item
{
	my ($self, $level, $first) = @_;
	my @unused = grep { !$_->{used} } @{ $self->{ctes} };
	return $self->from_relation(pick(@unused)) if @unused && chance(0.8);
	my $c = { sub => 1, level => $level };
	my $what = weighted(relation => 12, query => $self->may_nest($c) ? 3 : 0, values => $first ? 0 : 0.7, series => $first ? 0 : 0.3);
	return $self->from_values if $what eq 'values';
	return $self->from_series if $what eq 'series';
	return $self->from_relation(pick(@{ $self->{relations} }, @{ $self->{ctes} })) if $what eq 'relation';
	$self->{nests}--;
	return $self->from_query($level, $self->query($level + 1));
}

# Pairs of columns that can be compared.
sub pairs
{
	my ($left, $right) = @_;
	my @pairs;
	for my $l (@$left)
	{
		push @pairs, map { [ $l, $_ ] } grep { Braid::Expressions::is_comparable($l->{type}, $_->{type}) } @$right;
	}
	return @pairs;
}

sub equality
{
	my ($self, $l, $r) = @_;
	my ($x, $y) = ($l->{sql}, $r->{sql});
	$x = "$x + 1" if $l->{type} eq 'int' && chance(0.07);
	$y = "lower($y)" if $r->{type} eq 'text' && chance(0.05);
	return "$x = $y";
}

# A condition between two sides, with an equality nearly always.
sub between
{
	my ($self, $left, $right, %opt) = @_;
	my @pairs = pairs($left, $right) or return undef;

	# Integers are what most joins are on; equal floats are as good.
	my @good = grep { $_->[0]{type} =~ /^(int|bigint|text|date)$/ } @pairs;
	@pairs = @good if @good && chance(0.8);
	my $pair = pick(@pairs);
	return join ' ', $pair->[0]{sql}, pick('<', '>', '<=', '<>'), $pair->[1]{sql} if !$opt{equal} && chance(0.04);
	return "$pair->[0]{sql} IS NOT DISTINCT FROM $pair->[1]{sql}" if !$opt{equal} && chance(0.03);
	my $text = $self->equality(@$pair);
	my @more;
	push @more, $self->equality(@{ pick(@pairs) }) if chance(0.15);
	if (chance($opt{equal} ? 0.05 : 0.15))
	{
		my $other = pick(@pairs);
		push @more, join ' ', $other->[0]{sql}, pick('<', '>', '<=', '>=', '<>'), $other->[1]{sql};
	}
	push @more, $self->condition({ cols => [ @$left, @$right ], depth => 1, sub => 0 }) if chance(0.15);
	return $text if !@more;
	return $self->choice(join(' AND ', $text, @more), $text);
}

sub using
{
	my ($self, $left, $right, $how) = @_;
	return undef if !$left->{single} || !$right->{single};
	my %type = map { $_->{name} => $_->{stored} ? '' : $_->{type} } @{ $right->{cols} };
	my @common = grep { ($type{ $_->{name} } // '') eq $_->{type} && $_->{type} !~ /x$/ && !$_->{stored} } @{ $left->{cols} };
	my ($col) = shuffle @common or return undef;
	my $alias = $self->alias('u');
	return {
		sql => "$left->{sql} $how JOIN $right->{sql} USING ($col->{name}) AS $alias",
		cols => [ { sql => "$alias.$col->{name}", type => $col->{type}, plain => 1, alias => $alias, name => $col->{name} }, @{ $left->{cols} }, @{ $right->{cols} } ]
	};
}

sub from_tree
{
	my ($self, $level, $n, $first) = @_;
	return $self->from_item($level, $first) if $n <= 1;
	my $k = 1 + int rand($n - 1);
	my ($left, $right) = ($self->from_tree($level, $n - $k, $first), $self->from_tree($level, $k));
	my $how = weighted('INNER' => 4, 'LEFT' => 4, 'RIGHT' => 2, 'FULL' => 2);
	my $using = chance(0.08) ? $self->using($left, $right, $how) : undef;
	return $using if $using;
	my $on = $self->between($left->{cols}, $right->{cols}, equal => $how eq 'FULL');
	($how, $on) = ('INNER', 'true') if !defined $on;
	my $right_sql = $right->{single} ? $right->{sql} : "($right->{sql})";
	return {
		sql => $self->choice("$left->{sql} $how JOIN $right_sql ON $on", $left->{sql}, $right->{sql}, "$left->{sql} JOIN $right_sql ON $on"),
		cols => [ @{ $left->{cols} }, @{ $right->{cols} } ]
	};
}

sub lateral_function
{
	my ($self, $cols) = @_;
	my $alias = $self->alias('f');
	my $c = { cols => $cols, depth => 0, sub => 0 };
	my ($text, $type) = @{ pick(
		[ 'generate_series(1, least(<int>, 3))', 'int' ], [ 'unnest(<int[]>)', 'int' ], [ 'unnest(ARRAY[<int>, <int>])', 'int' ],
		[ q{jsonb_array_elements(<jsonb>->'l')}, 'jsonbx' ], [ q{jsonb_array_elements_text(<jsonb>->'l')}, 'text' ],
		[ q{string_to_table(<text>, 'b')}, 'text' ], [ q{jsonb_object_keys(<jsonb>)}, 'text' ],
		[ '(VALUES (<int>), (<int>))', 'int' ]) };
	if (chance(0.15))
	{
		my $windows = $self->fill(pick(q{braid.hop(<timestamptz>, interval '1 day', interval '12 hours')}, q{braid.cumulate(<timestamptz>, interval '6 hours', interval '1 day')}), $c);
		my @bounds = map { { sql => "$alias.$_", type => 'timestamptz', plain => 1, alias => $alias, name => $_ } } qw(x y);
		return { sql => "$windows $alias (x, y)", cols => \@bounds };
	}
	my $sql = $self->fill($text, $c);
	my @cols = { sql => "$alias.x", type => $type, plain => 1, alias => $alias, name => 'x' };
	if (chance(0.15) && $text !~ /VALUES/)
	{
		push @cols, { sql => "$alias.n", type => 'bigint', plain => 1, alias => $alias, name => 'n' };
		return { sql => "$sql WITH ORDINALITY $alias (x, n)", cols => \@cols };
	}
	return { sql => "$sql $alias (x)", cols => \@cols };
}

# The condition that ties a subquery to the query around it.
sub correlation
{
	my ($self, $inner, $outer) = @_;
	my @plain = grep { $_->{plain} } @$outer;
	return $self->between($inner, \@plain, equal => chance(0.9));
}

# FROM and WHERE of a subquery: with an equality to what is around it, or without.
sub around
{
	my ($self, $c, $correlated) = @_;
	$self->{nests}--;
	my $level = $c->{level} + 1;
	my $from = $self->from_tree($level, weighted(1 => 5, 2 => 1), 1);
	my @where;
	push @where, $self->correlation($from->{cols}, $c->{cols}) // () if $correlated;
	push @where, $self->choice($self->condition({ cols => $from->{cols}, depth => 1, level => $level, sub => chance(0.3) }), 'true') if chance(0.45);
	return { sql => "FROM $from->{sql}" . (@where ? ' WHERE ' . join(' AND ', @where) : ''), cols => $from->{cols}, level => $level };
}

sub lateral_query
{
	my ($self, $level, $outer) = @_;
	my $around = $self->around({ cols => $outer, level => $level }, 1);
	my $c = { cols => $around->{cols}, depth => 0, level => $level, sub => 0 };
	my $alias = $self->alias('l');
	my @types = map { $self->any_type($c) } 1 .. 1 + rand 3;
	my $what = weighted(top => 3, aggregate => 3, rows => 1, groups => 0.7);
	my (@items, $end);
	if ($what eq 'aggregate')
	{
		@items = map { $self->aggregate($c, $_) } @types;
		$end = '';
	}
	elsif ($what eq 'groups')
	{
		my $col = pick(@{ $around->{cols} });
		push @types, $col->{type};
		@items = ((map { $self->aggregate($c, $_) } @types[ 0 .. $#types - 1 ]), $col->{sql});
		$self->picks_one($col->{type});
		$end = " GROUP BY $col->{sql}";
	}
	else
	{
		@items = map { $self->expression($c, $_) } @types;
		$end = $what eq 'rows' ? '' : $self->total_order(\@types) . ' LIMIT ' . (1 + int rand 3);
	}
	my $n = 0;
	my $list = join ', ', map { "$_ AS o" . ++$n } @items;
	$n = 0;
	my @cols = map { { sql => "$alias.o" . ++$n, type => $_, plain => 1, alias => $alias, name => "o$n" } } @types;
	return { sql => "LATERAL (SELECT $list $around->{sql}$end) $alias", cols => \@cols };
}

# sql without FROM, cols, and conditions for WHERE.
sub from
{
	my ($self, $level) = @_;
	my $n = $level ? weighted(1 => 5, 2 => 3, 3 => 0.5) : weighted(1 => 4, 2 => 5, 3 => 2.5, 4 => 1);
	$n = min($n, max(1, $self->{refs}));
	my (@parts, @cols, @where);
	while ($n > 0)
	{
		my $k = chance(0.25) ? 1 : 1 + int rand $n;
		my $part = $self->from_tree($level, $k, !@parts);
		if (@cols)
		{
			my $on = $self->between(\@cols, $part->{cols});
			push @where, $on if defined $on;
		}
		push @parts, $part->{sql};
		push @cols, @{ $part->{cols} };
		$n -= $k;
	}
	my $sql = join ', ', @parts;
	if (chance(0.1))
	{
		my $more = chance(0.5) && $self->may_nest({ sub => 1, level => $level }) ? $self->lateral_query($level, \@cols) : $self->lateral_function(\@cols);
		(my $bare = $more->{sql}) =~ s/^LATERAL //;
		my $how = pick(', LATERAL', ' CROSS JOIN LATERAL', ' LEFT JOIN LATERAL');
		$sql .= "$how $bare" . ($how =~ /LEFT/ ? ' ON true' : '');
		push @cols, @{ $more->{cols} };
	}
	return { sql => $sql, cols => \@cols, where => \@where };
}

sub where
{
	my ($self, $from, $level) = @_;
	my @where = @{ $from->{where} };
	push @where, $self->choice($self->condition({ cols => $from->{cols}, depth => 2, level => $level, sub => 1 }), 'true') if chance(0.55);
	return @where ? ' WHERE ' . join(' AND ', @where) : '';
}

# ---- subqueries in expressions

sub exists
{
	my ($self, $c) = @_;
	my $around = $self->around($c, chance(0.85));
	my $not = chance(0.5) ? 'NOT ' : '';
	my $having = chance(0.05) ? ' HAVING count(*) > 1' : '';
	return "${not}EXISTS (SELECT " . ($having ? '1' : pick('1', '*', '')) . " $around->{sql}$having)";
}

sub in
{
	my ($self, $c) = @_;
	my %deeper = (%$c, depth => $c->{depth} - 1, sub => 0);
	my $not = chance(0.4) ? 'NOT ' : '';
	my @types = map { $self->any_type($c) } 1 .. (chance(0.1) ? 2 : 1);
	my @left = map { $self->expression(\%deeper, $_) } @types;
	my $left = @left > 1 ? '(' . join(', ', @left) . ')' : $left[0];
	if (chance(0.35) && $c->{level} < 2)
	{
		$self->{nests}--;
		my $query = $self->query($c->{level} + 1, \@types);
		return "$left ${not}IN ($query->{sql})";
	}
	my $around = $self->around($c, chance(0.25));
	my $inner = { cols => $around->{cols}, depth => 0, sub => 0 };
	return "$left ${not}IN (SELECT " . join(', ', map { $self->expression($inner, $_) } @types) . " $around->{sql})";
}

sub quantified
{
	my ($self, $c) = @_;
	my %deeper = (%$c, depth => $c->{depth} - 1, sub => 0);
	my $t = $self->any_type($c);
	my $left = $self->expression(\%deeper, $t);
	my $around = $self->around($c, chance(0.4));
	my $inner = { cols => $around->{cols}, depth => 0, sub => 0 };
	return "$left " . Braid::Expressions::operator() . pick(' ANY', ' ALL') . ' (SELECT ' . $self->expression($inner, $t) . " $around->{sql})";
}

# A scalar subquery: an aggregate, the first by an order, or a row by its key.
sub scalar
{
	my ($self, $c, $t) = @_;
	my $tied = chance(0.6);
	my $around = $self->around($c, $tied);
	my $inner = { cols => $around->{cols}, depth => chance(0.2) ? 1 : 0, level => $around->{level}, sub => 0, all => !$tied };
	return '(SELECT ' . $self->aggregate($inner, $t) . " $around->{sql})" if chance(0.7);
	my ($key) = grep { $_->{unique} } @{ $around->{cols} };
	my @ints = grep { $_->{plain} && $_->{type} eq 'int' } @{ $c->{cols} };
	if ($key && @ints && chance(0.5))
	{
		my ($relation) = grep { $_->{unique} } @{ $self->{relations} } or die;
		my $from = $self->from_relation($relation);
		my $where = sprintf '%s = %s', (grep { $_->{unique} } @{ $from->{cols} })[0]{sql}, pick(@ints)->{sql};
		return '(SELECT ' . $self->expression({ cols => $from->{cols}, depth => 0, sub => 0 }, $t) . " FROM $from->{sql} WHERE $where)";
	}
	$self->picks_one($t);
	my $e = $self->expression($inner, $t);
	return "(SELECT $e $around->{sql} ORDER BY $e" . Braid::Expressions::direction() . ' LIMIT 1)';
}

# ---- SELECT

sub items
{
	my ($self, $level, @items) = @_;
	my $n = 0;
	my @texts = map { "$_ AS o" . ++$n } @items;
	return join ', ', @texts if $level > 0;
	my $first = shift @texts;
	return $first . join '', map { $self->choice(", $_", '') } @texts;
}

# " ORDER BY ..." of all columns.
sub total_order
{
	my ($self, $types) = @_;
	$self->picks_one(@$types);
	return ' ORDER BY ' . join ', ', map { $_ . Braid::Expressions::direction() } shuffle 1 .. @$types;
}

sub limit
{
	my ($self) = @_;
	return ' FETCH FIRST ' . (1 + int rand 4) . ' ROWS ONLY' if chance(0.1);
	return ' LIMIT ' . (1 + int rand 6) . (chance(0.2) ? ' OFFSET ' . (1 + int rand 3) : '');
}

sub some_types
{
	my ($self, $c, $want) = @_;
	return @$want if $want;
	return map { $self->any_type($c) } 1 .. 1 + rand 4;
}

sub select_rows
{
	my ($self, $level, $want) = @_;
	my $from = $self->from($level);
	my $where = $self->where($from, $level);
	my $c = { cols => $from->{cols}, depth => weighted(0 => 3, 1 => 2, 2 => 1), level => $level, sub => chance(0.5) };
	my @types = $self->some_types($c, $want);
	my @items = map { $self->expression($c, $_) } @types;
	return { list => $self->items($level, @items), items => \@items, rest => "FROM $from->{sql}$where", types => \@types, context => { %$c, depth => 0, sub => 0 } };
}

sub plain
{
	my ($self, $level, $want) = @_;
	my $s = $self->select_rows($level, $want);
	if (!$want && chance(0.02))
	{
		my $set = $self->fill(pick('generate_series(1, least(<int>, 3))', 'unnest(<int[]>)'), $s->{context});
		$s->{list} .= ", $set AS o" . (1 + @{ $s->{types} });
		push @{ $s->{types} }, 'int';
	}
	return { sql => "SELECT $s->{list} $s->{rest}", types => $s->{types} };
}

sub distinct
{
	my ($self, $level, $want) = @_;
	my $s = $self->select_rows($level, $want);
	$self->picks_one(@{ $s->{types} });
	return { sql => "SELECT DISTINCT $s->{list} $s->{rest}", types => $s->{types} };
}

sub distinct_on
{
	my ($self, $level, $want) = @_;
	my $s = $self->select_rows($level, $want);
	my @order = shuffle 1 .. @{ $s->{types} };
	$self->picks_one(@{ $s->{types} });
	my $on = join ', ', @order[ 0 .. (chance(0.2) && @order > 1 ? 1 : 0) ];
	return { sql => sprintf('SELECT DISTINCT ON (%s) %s %s ORDER BY %s', $on, $s->{list}, $s->{rest}, join ', ', map { $_ . Braid::Expressions::direction() } @order), types => $s->{types} };
}

# The keys of a GROUP BY as it is written, and whether there are several sets.
sub group_by
{
	my ($self, @keys) = @_;
	return (chance(0.1) ? ' GROUP BY ()' : '', 0) if !@keys;
	my @sql = map { $_->{sql} } @keys;
	return (' GROUP BY ' . join(', ', @sql), 0) if chance(0.85) || grep { !$_->{plain} } @keys;
	my $all = join ', ', @sql;
	my ($first, @others) = @sql;
	return (" GROUP BY ROLLUP ($all)", 1) if chance(0.4);
	return (" GROUP BY CUBE ($all)", 1) if chance(0.4);
	return (" GROUP BY $first, ROLLUP (" . join(', ', @others) . ')', 1) if @others && chance(0.3);
	return (sprintf(' GROUP BY GROUPING SETS ((%s), (%s)%s)', $all, pick(@sql), pick(', ()', '')), 1);
}

# Keys and aggregates of a grouped query, as columns of a context.
sub grouped
{
	my ($self, $level, $want) = @_;
	my $from = $self->from($level);
	my $where = $self->where($from, $level);
	my $c = { cols => $from->{cols}, depth => 0, level => $level, sub => 0 };
	my $nkeys = weighted(0 => 1.5, 1 => 5, 2 => 3, 3 => 1);
	my (@keys, %seen);
	for my $i (1 .. $nkeys)
	{
		if (chance(0.75))
		{
			my $col = pick(@{ $c->{cols} });
			push @keys, { %$col, of => $col->{unique} ? $col->{alias} : undef } if !$seen{ $col->{sql} }++;
			next;
		}
		my $t = $want ? pick(@$want) : $self->any_type($c);
		push @keys, { sql => $self->expression({ %$c, depth => 1 }, $t), type => $t };
	}
	my ($group_by, $sets) = $self->group_by(@keys);
	my ($unique) = grep { $_->{of} } @keys;
	if ($unique && !$sets && chance(0.5))
	{
		# What a primary key determines need not be grouped by.
		my @others = grep { ($_->{alias} // '') eq $unique->{of} && !$seen{ $_->{sql} } } @{ $from->{cols} };
		push @keys, @others[ 0 .. min($#others, 1) ];
	}
	$self->picks_one(map { $_->{type} } @keys);
	if ($sets)
	{
		$_->{plain} = 0 for @keys;
	}
	$c->{all} = !@keys || $sets;
	my @types = $want ? @$want : map { $self->any_type($c) } 1 .. 1 + rand 3;
	@types = map { $_ =~ /json|\[\]/ ? 'bigint' : $_ } @types if $c->{all} && !$want;
	unshift @types, 'bigint' if !$want && chance(0.4);
	my @aggregates = map { { sql => $self->aggregate($c, $_), type => $_ } } @types;
	push @aggregates, { sql => 'GROUPING(' . join(', ', map { $_->{sql} } @keys) . ')', type => 'int' } if $sets && chance(0.5);
	my $having = '';
	if (chance(0.2))
	{
		my $inside = { cols => [ @keys, @aggregates ], depth => 1, level => $level, sub => chance(0.4) };
		$having = $self->choice(' HAVING ' . $self->condition($inside), '');
	}
	return { keys => \@keys, aggregates => \@aggregates, rest => "FROM $from->{sql}$where$group_by$having" };
}

sub groups
{
	my ($self, $level, $want) = @_;
	my $g = $self->grouped($level, $want);
	my @cols = (@{ $g->{keys} }, @{ $g->{aggregates} });
	my $c = { cols => \@cols, depth => 1, level => $level, sub => chance(0.3) };
	my (@items, @types);
	if ($want)
	{
		@types = @$want;
		@items = map { my $t = $_; my @fit = grep { $_->{type} eq $t } @cols; chance(0.8) && @fit ? pick(@fit)->{sql} : $self->expression($c, $t) } @types;
	}
	else
	{
		my @shown = grep { chance(0.88) } @cols;
		@shown = ($cols[-1]) if !@shown;
		@items = map { $_->{sql} } @shown;
		@types = map { $_->{type} } @shown;
		if (chance(0.25))
		{
			push @types, $self->any_type($c);
			push @items, $self->expression($c, $types[-1]);
		}
	}
	my $distinct = chance(0.03) ? 'DISTINCT ' : '';
	$self->picks_one(@types) if $distinct;
	return { sql => "SELECT $distinct" . $self->items($level, @items) . " $g->{rest}", types => \@types };
}

# Groups by sessions of event time, over a subquery that finds them.
my %gap = (timestamptz => "interval '13 hours'", date => "interval '2 days'", int => '2', bigint => '2::bigint');

sub sessions
{
	my ($self, $level, $want) = @_;
	my $from = $self->from($level);
	my $where = $self->where($from, $level);
	my @columns = shuffle @{ $from->{cols} };
	my ($time) = grep { $gap{ $_->{type} } } @columns or return $self->groups($level, $want);
	my @others = grep { $_ != $time } @columns;
	my @by = splice @others, 0, weighted(0 => 0.5, 1 => 6, 2 => 2);
	my $over = sprintf '%sORDER BY %s', @by ? 'PARTITION BY ' . join(', ', map { $_->{sql} } @by) . ' ' : '', $time->{sql};
	my @bounds = @{ weighted(['session'] => 5, ['session_end'] => 1, [ 'session', 'session_end' ] => 3) };
	my @sessions = map { { sql => "braid.$_($time->{sql}, $gap{ $time->{type} }) OVER w", type => $time->{type} } } @bounds;
	my @inner = (@by, @sessions, $time, @others[ 0 .. min($#others, 3) ]);
	my $alias = $self->alias('s');
	my $n = 0;
	my $list = join ', ', map { "$_->{sql} AS o" . ++$n } @inner;
	$n = 0;
	my @cols = map { { sql => "$alias.o" . ++$n, type => $_->{type}, plain => 1 } } @inner;
	my @keys = @cols[ 0 .. $#by + @sessions ];
	my @rows = (@cols[ 0 .. $#by ], @cols[ $#keys + 1 .. $#cols ]);
	$self->picks_one(map { $_->{type} } @keys);
	my $c = { cols => \@rows, depth => 0, level => $level, sub => 0 };
	my @types = $want ? @$want : map { $self->any_type($c) } 1 .. 1 + rand 3;
	unshift @types, 'bigint' if !$want;
	my @aggregates = map { { sql => $self->aggregate($c, $_), type => $_ } } @types;
	my $having = chance(0.1) ? $self->choice(' HAVING ' . $self->condition({ cols => [ @keys, @aggregates ], depth => 0, level => $level, sub => 0 }), '') : '';
	my @shown = $want ? @aggregates : ((grep { chance(0.9) } @keys), @aggregates);
	return {
		sql => sprintf('SELECT %s FROM (SELECT %s FROM %s%s WINDOW w AS (%s)) %s GROUP BY %s%s', $self->items($level, map { $_->{sql} } @shown), $list,
			$from->{sql}, $where, $over, $alias, join(', ', map { $_->{sql} } shuffle @keys), $having),
		types => [ map { $_->{type} } @shown ]
	};
}

# ---- window functions

my %window = (
	int => [ 'lag(<int>) OVER w', 'lead(<int>, 1, 0) OVER w', 'first_value(<int>) OVER w', 'max(<int>) OVER f', 'ntile(2) OVER w', 'nth_value(<int>, 2) OVER f' ],
	bigint => [ 'row_number() OVER w', 'row_number() OVER w', 'rank() OVER r', 'dense_rank() OVER r', 'count(*) OVER f', 'sum(<int>) OVER f', 'sum(<int>) OVER p', 'count(*) OVER p' ],
	numeric => [ 'sum(<numeric>) OVER f', 'avg(<int>) OVER f', 'sum(<bigint>) OVER p', 'avg(<numeric>) OVER p' ],
	float8 => [ 'sum(<float8>) OVER f', 'lag(<float8>) OVER w', 'sum(<float8>) OVER p' ],
	floatx => [ 'percent_rank() OVER r', 'cume_dist() OVER r', 'avg(<float8>) OVER p' ],
	text => [ 'lag(<text>) OVER w', 'first_value(<text>) OVER w', 'max(<text>) OVER p', q{string_agg(<text>, ',') OVER f} ],
	date => [ 'lead(<date>) OVER w', 'min(<date>) OVER p' ],
	timestamptz => [ 'lag(<timestamptz>) OVER w', 'max(<timestamptz>) OVER p' ],
	bool => [ 'bool_or(<bool>) OVER f', 'lag(<bool>) OVER w' ]);

my @frames = ('', ' ROWS BETWEEN 1 PRECEDING AND CURRENT ROW', ' ROWS UNBOUNDED PRECEDING', ' ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING',
	' RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING', ' GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING', ' ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING');

# Everything that is shown is made of a few columns, by all of which w is ordered:
# rows that it does not tell apart are alike. What is ordered otherwise does not
# tell apart what its order does not.
sub windows
{
	my ($self, $level, $want) = @_;
	my ($rest, @cols);
	if (chance(0.15))
	{
		my $g = $self->grouped($level);
		$rest = $g->{rest};
		@cols = (@{ $g->{keys} }, @{ $g->{aggregates} });
	}
	else
	{
		my $from = $self->from($level);
		$rest = "FROM $from->{sql}" . $self->where($from, $level);
		@cols = @{ $from->{cols} };
	}
	@cols = (shuffle @cols)[ 0 .. min($#cols, 1 + int rand 4) ];
	my @order = @cols;
	my $partition = '';
	if (chance(0.9))
	{
		my $n = @order > 2 && chance(0.2) ? 2 : 1;
		$partition = 'PARTITION BY ' . join(', ', map { $_->{sql} } splice @order, 0, $n);
	}
	$self->picks_one(map { $_->{type} } @cols);
	my $total = @order ? ' ORDER BY ' . join(', ', map { $_->{sql} . Braid::Expressions::direction() } @order) : '';
	my $some = pick(@cols)->{sql} . Braid::Expressions::direction();
	my $frame = pick(@frames);
	$frame = '' if !@order;
	my %over = (w => "($partition$total)", f => "($partition$total$frame)", r => "($partition ORDER BY $some)", p => "($partition)");

	my $c = { cols => \@cols, depth => 0, level => $level, sub => 0 };
	my (@types, @items);
	my @asked = $want ? @$want : ((map { $_->{type} } grep { chance(0.6) } @cols), map { pick(sort keys %window) } 1 .. 1 + rand 2);
	for my $t (@asked)
	{
		my $known = !$want && @items < @asked - 2 || !$window{$t} || chance(0.3);
		my $text = $known ? $self->expression($c, $t) : $self->fill(pick(@{ $window{$t} }), $c);
		$text =~ s/OVER ([wfrp])$/OVER $over{$1}/ if !$known;
		push @items, $text;
		push @types, $t;
	}
	my $sql = 'SELECT ' . $self->items($level, @items) . " $rest";
	my @numbers = grep { $types[ $_ - 1 ] eq 'bigint' } 1 .. @types;
	if (@numbers && chance(0.4))
	{
		my $alias = $self->alias('s');
		my @names = map { "o$_" } 1 .. @types;
		$sql = sprintf 'SELECT %s FROM (%s) %s WHERE %s.o%d <= %d', join(', ', map { "$alias.$_" } @names), $sql, $alias, $alias, pick(@numbers), 1 + rand 3;
	}
	return { sql => $sql, types => \@types };
}

# ---- set operations, ORDER BY and LIMIT, WITH

sub operand
{
	my ($self, $level, $types) = @_;
	return $self->set_operation($level + 1, $types)->{sql} if $level < 3 && $self->{refs} > 1 && chance(0.15);
	return $self->query($level + 1, $types)->{sql};
}

sub set_operation
{
	my ($self, $level, $want) = @_;
	my @types = $want ? @$want : map { weighted(int => 5, text => 3, numeric => 1.5, bigint => 1, date => 1, bool => 0.5, float8 => 1, jsonb => 0.3) } 1 .. 1 + rand 3;
	my $operator = weighted('UNION ALL' => 4, 'UNION' => 3, 'INTERSECT' => 2, 'INTERSECT ALL' => 1.5, 'EXCEPT' => 2, 'EXCEPT ALL' => 1.5);
	$self->picks_one(@types) if $operator ne 'UNION ALL';
	my ($x, $y) = map { '(' . $self->operand($level, \@types) . ')' } 1, 2;
	$self->{nests}--;
	return { sql => $self->choice("$x $operator $y", $x, $y), types => \@types };
}

sub top
{
	my ($self, $level, $want) = @_;
	my $kind = weighted(plain => 3, groups => 3, distinct => 1, set_operation => 1);
	my $query = $self->$kind($level, $want);
	$self->{limited} = 1 if !$level;
	if (chance(0.05))
	{
		$self->picks_one(@{ $query->{types} });
		return { sql => "$query->{sql} ORDER BY 1 FETCH FIRST 3 ROWS WITH TIES", types => $query->{types} };
	}
	my $limit = $self->limit;
	return { sql => $query->{sql} . $self->choice($self->total_order($query->{types}) . $limit, ''), types => $query->{types} };
}

sub with
{
	my ($self, $level, $want) = @_;
	my @mine;
	for my $i (1 .. weighted(1 => 4, 2 => 1))
	{
		$self->{nests}--;
		my $query = $self->query($level + 1);
		my $n = 0;
		my $cte = { name => $self->alias('c'), columns => [ map { { name => 'o' . ++$n, type => $_ } } @{ $query->{types} } ] };
		push @mine, { %$cte, sql => $query->{sql} };
		push @{ $self->{ctes} }, $cte;
	}
	my $query = $self->query($level + 1, $want);
	splice @{ $self->{ctes} }, -@mine;
	my $texts = join ', ', map { sprintf '%s AS %s(%s)', $_->{name}, weighted('' => 6, 'MATERIALIZED ' => 1, 'NOT MATERIALIZED ' => 1), $_->{sql} } @mine;
	my $body = $query->{sql} =~ /^WITH/ ? "SELECT * FROM ($query->{sql}) " . $self->alias('s') : $query->{sql};
	return { sql => "WITH $texts $body", types => $query->{types} };
}

# A query with columns o1, o2, ..., of the types that are asked for, if any.
sub query
{
	my ($self, $level, $want) = @_;
	my $nest = $self->{nests} > 0 && $self->{refs} > 1 && $level < 3;
	my $kind = weighted(
		plain => 22, groups => $level ? 18 : 36, distinct => 6, distinct_on => 4, windows => $level > 1 ? 1 : 7, sessions => $level > 1 ? 0.5 : 4,
		set_operation => $nest ? ($level ? 5 : 14) : 0, top => $level ? 0.6 : $self->{for_view} ? 0 : 6, with => $nest ? ($level ? 1.5 : 9) : 0);
	return $self->$kind($level, $want);
}

1;
