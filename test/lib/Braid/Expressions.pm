# Braid::Expressions: random expressions, conditions and aggregates over columns
# in scope; the part of Braid::Queries that knows types.
#
# A context is a hash: cols (of what may be referred to: sql, type; plain ones can
# be referred to from within a subquery), depth (of what is still to be nested),
# level (of the query), sub (whether there may be subqueries), all (whether aggregates
# are those of all rows, which are refused where they have to be recomputed).
#
# Texts hold marks for what could be simpler: choice() makes one, render() puts
# one of its texts in its place. So a query can be made smaller without being
# parsed.
package Braid::Expressions;

use strict;
use warnings;
use Braid::Tables qw(pick chance weighted constant sql_type);

# ---- texts with choices

sub choice
{
	my ($self, @texts) = @_;
	push @{ $self->{choices} }, \@texts;
	return "\x01$#{ $self->{choices} }\x02";
}

# picked: number of the choice => number of its text, the first one by default.
sub render
{
	my ($self, $text, $picked) = @_;
	1 while $text =~ s/\x01(\d+)\x02/$self->{choices}[$1][ $picked->{$1} \/\/ 0 ]/g;
	return $text;
}

sub alias { my ($self, $letter) = @_; return $letter . ++$self->{aliases}; }

# ---- types

my %number = map { $_ => 1 } qw(int bigint numeric float8 floatx);
my %repeats = map { $_ => 1 } qw(numeric interval); # equal values that look different

# Notes that which one of several equal values is shown may be left to chance.
sub picks_one
{
	my ($self, @types) = @_;
	$self->{inexact} = 1 if grep { $repeats{$_} } @types;
	return;
}

sub is_comparable { my ($x, $y) = @_; return $x eq $y || ($number{$x} && $number{$y}) || ($x =~ /^jsonb/ && $y =~ /^jsonb/); }

sub cols_of { my ($c, @types) = @_; my %want = map { $_ => 1 } @types; return grep { $want{ $_->{type} } } @{ $c->{cols} }; }

# A type that an expression in this context should have.
sub any_type
{
	my ($self, $c) = @_;
	return pick(@{ $c->{cols} })->{type} if @{ $c->{cols} } && chance(0.9);
	return weighted(int => 4, text => 3, numeric => 2, bigint => 1, float8 => 1, bool => 1, date => 0.5,
		timestamptz => 0.5, interval => 0.2, jsonbx => 0.3, 'int[]' => 0.4);
}

# ---- expressions

sub cased
{
	my ($s, $c, $t) = @_;
	return sprintf 'CASE WHEN %s THEN %s ELSE %s END', $s->condition($c), $s->expression($c, $t), $s->expression($c, $t) if chance(0.7);
	my $of = $s->any_type($c);
	return sprintf 'CASE %s WHEN %s THEN %s ELSE %s END', $s->expression($c, $of), constant($of), $s->expression($c, $t), constant($t, null => 1);
}

# For every type: weight and text, in which <type> stands for an expression.
my %texts = (
	int => [
		[ 3, '(<int> + <int>)' ], [ 2, '(<int> - <int>)' ], [ 1, '(<int> * 2)' ], [ 1, '(<int> / 2)' ], [ 2, '(<int> % 3)' ],
		[ 1, 'abs(<int>)' ], [ 1, 'length(<text>)' ], [ 1, 'greatest(<int>, <int>)' ], [ 1, 'nullif(<int>, 2)' ],
		[ 0.5, 'extract(day FROM <date>)::int' ], [ 0.5, 'cardinality(<int[]>)' ], [ 0.5, 'braid.tumble(<int>, 3)' ], [ 0.5, '(<int[]>)[1]' ], [ 0.5, q{(<jsonb>->>'a')::int} ] ],
	bigint => [ [ 2, '(<bigint> + <int>)' ], [ 1, '(<bigint> - 1)' ], [ 2, '<int>::bigint' ], [ 1, 'nullif(<bigint>, 3)' ], [ 1, '(<bigint> % 5)' ] ],
	numeric => [
		[ 2, '(<numeric> + <numeric>)' ], [ 1, '(<numeric> * 2.0)' ], [ 2, '<int>::numeric' ], [ 1, '(<bigint> + 0.50)' ],
		[ 1, 'round(<numeric>, 1)' ], [ 1, '(<numeric> / 2)' ], [ 1, '(<numeric> - <int>)' ], [ 0.5, 'abs(<numeric>)' ] ],
	float8 => [ [ 2, '(<float8> + <float8>)' ], [ 1, '(<float8> * 2)' ], [ 2, '<int>::float8' ], [ 1, '(<float8> - 1)' ] ],
	floatx => [ [ 2, '<float8>' ], [ 1, 'sqrt(abs(<float8>))' ], [ 1, '(<floatx> * 3)' ] ],
	text => [
		[ 1, 'upper(<text>)' ], [ 2, '(<text> || <text>)' ], [ 1, 'left(<text>, 1)' ], [ 1.5, '<int>::text' ], [ 0.5, '<bool>::text' ],
		[ 0.5, q{to_char(<date>, 'YYYY-MM')} ], [ 0.7, q{(<jsonb>->>'t')} ], [ 0.5, q{array_to_string(<int[]>, '/')} ],
		[ 0.5, 'concat(<text>, <int>)' ] ],
	date => [ [ 2, '(<date> + 1)' ], [ 1, '<timestamptz>::date' ], [ 1, 'greatest(<date>, <date>)' ], [ 0.5, '(<date> - <int>)' ], [ 0.5, q{braid.tumble(<date>, interval '2 days')} ] ],
	timestamptz => [ [ 2, q{date_trunc('day', <timestamptz>)} ], [ 1, q{(<timestamptz> + interval '1 hour')} ],
		[ 1, q{braid.tumble(<timestamptz>, interval '12 hours')} ], [ 0.5, q{braid.tumble_end(<timestamptz>, interval '1 day')} ] ],
	interval => [ [ 2, '(<timestamptz> - <timestamptz>)' ], [ 1, '(<interval> * 2)' ] ],
	jsonb => [ [ 2, q{(<jsonb> || '{"z": 1}')} ], [ 1, q{jsonb_build_object('a', <int>, 't', <text>)} ] ],
	jsonbx => [ [ 2, '<jsonb>' ], [ 1, q{(<jsonb>->'l')} ], [ 1, 'to_jsonb(<int>)' ], [ 1, 'jsonb_build_array(<int>, <text>)' ] ],
	'int[]' => [ [ 1, 'ARRAY[<int>, <int>]' ], [ 1, '(<int[]> || <int>)' ], [ 0.5, '(<int[]>)[1:2]' ] ],
	'text[]' => [ [ 1, 'ARRAY[<text>]' ], [ 1, q{string_to_array(<text>, 'a')} ] ]);

sub fill
{
	my ($self, $text, $c) = @_;
	$text =~ s/<([a-z0-9]+(?:\[\])?)>/$self->expression($c, $1)/ge;
	return $text;
}

# Of exactly the type that is asked for.
sub expression
{
	my ($self, $c, $t) = @_;
	my @cols = map { $_->{sql} } cols_of($c, $t);
	@cols = map { "$_->{sql}::" . sql_type($t) } cols_of($c, $t eq 'bigint' ? 'int' : $t eq 'numeric' ? ('int', 'bigint') : $t eq 'floatx' ? 'float8' : $t eq 'jsonbx' ? 'jsonb' : ()) if !@cols;
	my $simple = @cols ? pick(@cols) : constant($t, null => 1);
	return $simple if $c->{depth} < 0;
	return $simple if $c->{depth} == 0 && (@cols || chance(0.7));
	return $simple if @cols && chance(0.55);
	my %deeper = (%$c, depth => $c->{depth} - 1);
	return $self->choice($self->scalar(\%deeper, $t), $simple) if $self->may_nest($c) && chance(0.12);
	return $self->choice('(' . $self->condition(\%deeper) . ')', $simple) if $t eq 'bool';
	my $dice = rand;
	return $self->choice('(' . cased($self, \%deeper, $t) . ')', $simple) if $dice < 0.15;
	return $self->choice('coalesce(' . $self->expression(\%deeper, $t) . ', ' . constant($t) . ')', $simple) if $dice < 0.3;
	my $text = weighted(map { $_->[1] => $_->[0] } @{ $texts{$t} });
	$self->picks_one($t) if $text =~ /greatest/;
	return $self->choice($self->fill($text, \%deeper), $simple);
}

# ---- conditions

sub operator { return weighted('=' => 4, '<' => 2, '>' => 2, '<=' => 1, '>=' => 1, '<>' => 1.5); }

sub comparison
{
	my ($self, $c) = @_;
	my @cols = @{ $c->{cols} };
	return constant('bool') if !@cols;
	my $col = pick(@cols);
	my $t = $col->{type};
	my $left = chance(0.7) ? $col->{sql} : $self->expression($c, $t);
	my $dice = rand;
	my $right = $dice < 0.55 ? constant($t) : $self->expression($c, $t);
	return "$left IS DISTINCT FROM $right" if chance(0.05);
	return "$left " . operator() . " $right";
}

sub in_list
{
	my ($self, $c) = @_;
	my $t = $self->any_type($c);
	return sprintf '%s %s (%s)', $self->expression($c, $t), pick('IN', 'IN', 'NOT IN'), join ', ', map { constant($t) } 1 .. 2 + rand 2;
}

sub special
{
	my ($self, $c) = @_;
	my @texts = ('<text> LIKE <text> || \'%\'', '<text> ~ \'[ab]\'', 'starts_with(<text>, \'a\')');
	push @texts, ('<int[]> && <int[]>', '<int[]> @> ARRAY[1]', '<int> = ANY ((<int[]>)::int[])') x 2 if cols_of($c, 'int[]');
	push @texts, (q{<jsonb> @> '{"a": 2}'}, q{<jsonb> ? 'a'}) x 2 if cols_of($c, 'jsonb');
	push @texts, '(<int>, <text>) < (<int>, <text>)', '(<int>, <text>) = (<int>, <text>)', '<bool> IS NOT TRUE', '<bool> IS UNKNOWN',
	  '<date> BETWEEN <date> AND <date>', '<int> BETWEEN 1 AND <int>', '<int> = ANY (ARRAY[1, 3])', '<int> <> ALL (ARRAY[2, <int>])';
	return $self->fill(pick(@texts), $c);
}

sub condition
{
	my ($self, $c) = @_;
	my %deeper = (%$c, depth => $c->{depth} - 1);
	my $deep = $c->{depth} > 0;
	my $nested = $self->may_nest($c);
	my $what = weighted(
		comparison => 7, null => 1.5, list => 1.5, bool => cols_of($c, 'bool') ? 1.5 : 0, special => 1.5,
		both => $deep ? 2.5 : 0, either => $deep ? 2.5 : 0, not => $deep ? 1 : 0, case => $deep ? 0.7 : 0,
		exists => $nested ? 4 : 0, in => $nested ? 4 : 0, scalar => $nested ? 1.5 : 0, quantified => $nested ? 0.6 : 0);
	return $self->comparison($c) if $what eq 'comparison';
	return $self->expression($c, $self->any_type($c)) . pick(' IS NULL', ' IS NOT NULL') if $what eq 'null';
	return $self->in_list($c) if $what eq 'list';
	return pick('', 'NOT ') . $self->expression($c, 'bool') if $what eq 'bool';
	return $self->special($c) if $what eq 'special';
	return $self->choice('NOT (' . $self->condition(\%deeper) . ')', 'true') if $what eq 'not';
	if ($what eq 'both' || $what eq 'either')
	{
		my ($x, $y) = map { $self->condition(\%deeper) } 1, 2;
		return $self->choice($what eq 'both' ? "($x AND $y)" : "($x OR $y)", $x, $y);
	}
	return $self->choice('(' . cased($self, \%deeper, 'bool') . ')', 'true') if $what eq 'case';
	return $self->choice($self->exists($c), 'true') if $what eq 'exists';
	return $self->choice($self->in($c), 'true') if $what eq 'in';
	return $self->choice($self->quantified($c), 'true') if $what eq 'quantified';
	my $t = $self->any_type($c);
	return $self->choice(join(' ', $self->expression(\%deeper, $t), operator(), $self->scalar(\%deeper, $t)), 'true');
}

# ---- aggregates

my @moments = ('variance', 'var_pop', 'var_samp', 'stddev', 'stddev_pop', 'stddev_samp');
my @regressions = ('corr', 'covar_pop', 'covar_samp', 'regr_avgx', 'regr_avgy', 'regr_intercept', 'regr_r2', 'regr_slope', 'regr_sxx', 'regr_sxy', 'regr_syy');

# Last digits depend on the order of rows; what is added keeps sums of powers of 2
# away from where rounding changes.
sub rounded { my ($call) = @_; return "round(($call + 0.00000071345)::numeric, 6)"; }

# For every type: weight and text, in which <type> stands for an expression,
# <ordered type> for one followed by ORDER BY, which makes the order total.
my %aggregates = (
	int => [
		[ 2, 'min(<int>)' ], [ 2, 'max(<int>)' ], [ 0.5, 'bit_and(<int>)' ], [ 0.5, 'bit_or(<int>)' ], [ 0.5, 'bit_xor(<int>)' ],
		[ 0.7, 'mode() WITHIN GROUP (ORDER BY <int>)' ], [ 0.7, 'percentile_disc(0.5) WITHIN GROUP (ORDER BY <int>)' ],
		[ 0.7, 'plus_of(<int>)' ], [ 0.4, '(array_agg(<ordered int>))[1]' ] ],
	bigint => [
		[ 4, 'count(*)' ], [ 3, 'sum(<int>)' ], [ 1.5, 'count(<any>)' ], [ 1.5, 'count(DISTINCT <any>)' ], [ 1, 'max(<bigint>)' ], [ 1, 'min(<bigint>)' ],
		[ 0.7, 'sum(DISTINCT <int>)' ], [ 0.3, 'regr_count(<float8>, <int>)' ], [ 0.3, 'bit_or(<bigint>)' ] ],
	numeric => [
		[ 3, 'sum(<numeric>)' ], [ 2, 'sum(<bigint>)' ], [ 2, 'avg(<int>)' ], [ 2, 'avg(<numeric>)' ], [ 1, 'avg(<bigint>)' ],
		[ 1, 'min(<numeric>)' ], [ 1, 'max(<numeric>)' ], [ 0.5, 'avg(DISTINCT <int>)' ], [ 0.5, 'sum(DISTINCT <numeric>)' ],
		[ 0.4, 'percentile_disc(0.25) WITHIN GROUP (ORDER BY <numeric>)' ], [ 0.3, 'mode() WITHIN GROUP (ORDER BY <numeric>)' ],
		(map { [ 0.3, "$_(<int>)" ], [ 0.2, "$_(<numeric>)" ], [ 0.1, rounded("$_(<float8>)") ] } @moments),
		(map { [ 0.1, rounded("$_(<float8>, <int>)") ], [ 0.1, rounded("$_(<float8>, <float8>)") ] } @regressions) ],
	float8 => [ [ 3, 'sum(<float8>)' ], [ 1, 'min(<float8>)' ], [ 1, 'max(<float8>)' ], [ 0.5, 'percentile_cont(0.5) WITHIN GROUP (ORDER BY <float8>)' ] ],
	floatx => [ [ 3, 'avg(<float8>)' ], [ 1, 'percentile_cont(0.3) WITHIN GROUP (ORDER BY <float8>)' ], [ 1, 'percentile_cont(0.75) WITHIN GROUP (ORDER BY <int>)' ], [ 0.5, 'max(<floatx>)' ] ],
	text => [
		[ 1.5, 'min(<text>)' ], [ 1.5, 'max(<text>)' ], [ 2, q{string_agg(<text>, ',' ORDER BY <same>)} ], [ 0.7, q{string_agg(DISTINCT <text>, '-')} ],
		[ 0.5, 'json_agg(<ordered int>)::text' ], [ 0.3, 'json_agg(<ordered text>)::text' ], [ 0.5, 'mode() WITHIN GROUP (ORDER BY <text>)' ],
		[ 0.4, q{json_object_agg(<int> || '.', <text> ORDER BY <both>)::text} ], [ 0.3, 'percentile_disc(0.5) WITHIN GROUP (ORDER BY <text>)' ],
		[ 0.3, 'joined(<ordered text>)' ] ],
	bool => [ [ 1, 'bool_and(<bool>)' ], [ 1, 'bool_or(<bool>)' ], [ 1, 'every(<bool>)' ] ],
	date => [ [ 2, 'min(<date>)' ], [ 2, 'max(<date>)' ], [ 0.5, 'mode() WITHIN GROUP (ORDER BY <date>)' ] ],
	timestamptz => [ [ 2, 'min(<timestamptz>)' ], [ 2, 'max(<timestamptz>)' ], [ 0.5, 'percentile_disc(0.5) WITHIN GROUP (ORDER BY <timestamptz>)' ] ],
	interval => [ [ 1, 'sum(<interval>)' ], [ 1, 'avg(<interval>)' ], [ 1, 'max(<interval>)' ] ],
	jsonb => [ [ 1, '(array_agg(<ordered jsonb>))[1]' ] ],
	jsonbx => [ [ 1, 'jsonb_agg(<ordered int>)' ], [ 1, 'jsonb_agg(<ordered text>)' ], [ 1, q{jsonb_object_agg(<int> || '.', <text> ORDER BY <both>)} ] ],
	'int[]' => [ [ 2, 'array_agg(<ordered int>)' ], [ 1, 'array_agg(DISTINCT <int>)' ], [ 0.5, 'max(<int[]>)' ] ],
	'text[]' => [ [ 2, 'array_agg(<ordered text>)' ], [ 1, 'array_agg(DISTINCT <text>)' ] ]);

sub direction { return weighted('' => 6, ' DESC' => 2, ' NULLS FIRST' => 1, ' DESC NULLS LAST' => 1); }

sub ordered
{
	my ($self, $c, $t) = @_;
	my $e = $self->expression($c, $t);
	my $first = chance(0.3) ? $self->expression($c, $self->any_type($c)) . direction() . ', ' : '';
	return "$e ORDER BY $first$e" . direction();
}

sub aggregate
{
	my ($self, $c, $t) = @_;
	my %inside = (%$c, depth => weighted(0 => 3, 1 => 1), sub => chance(0.04) ? $c->{sub} : 0);
	my @texts = @{ $aggregates{$t} };
	my @followed = grep { $_->[1] !~ /_agg|mode|percentile|joined|DISTINCT/ } @texts;
	@texts = @followed if $c->{all} && @followed && chance(0.97);
	my $text = weighted(map { $_->[1] => $_->[0] } @texts);
	$self->picks_one($t) if $text =~ /max|min|mode|percentile|DISTINCT/;
	my @filled;
	my $of = $self->any_type(\%inside);
	$text =~ s/<any>/<$of>/;
	$text =~ s/<ordered ([a-z]+)>/$self->ordered(\%inside, $1)/ge;
	$text =~ s/<([a-z0-9]+(?:\[\])?)>/
		$1 eq 'same' ? $filled[-1] : $1 eq 'both' ? join(', ', @filled) : do { push @filled, $self->expression(\%inside, $1); $filled[-1] }/ge;
	$text =~ s/(object_agg\()(.*? \|\| '.')/$1coalesce($2, '-')/;
	$self->picks_one($of) if $text =~ /ORDER BY/; # what is first in an order may be one of these
	my $call = $text;
	if (chance(0.15) && $text !~ /^round|\)::text|\]$/)
	{
		my %plain = (%$c, depth => 1, sub => 0);
		$call = $self->choice("$text FILTER (WHERE " . $self->condition(\%plain) . ')', $text);
	}
	return $call;
}

# Aggregates of the tests' own: one with a combine function, and one without.
sub definitions
{
	return ('CREATE AGGREGATE plus_of(int) (SFUNC = int4pl, STYPE = int, INITCOND = 0, COMBINEFUNC = int4pl, PARALLEL = SAFE)',
		'CREATE AGGREGATE joined(text) (SFUNC = textcat, STYPE = text)');
}

1;
