/*
 * accumulator.c
 *	  The SQL of an accumulator, in the statements that keep groups.
 *
 * NOTES
 *	  Retractions.  count, sum and xor take them by subtraction.  An extreme does
 *	  if the value taken away was not the extreme one; otherwise the group is
 *	  recomputed, as it is for every other aggregate.  A group that is new to the
 *	  state and has a retraction saw rows come and go within one delta, in an
 *	  order that the delta does not tell; it is recomputed as well.
 *
 *	  Sums of numerics.  NaN and infinities cannot be subtracted: recompute.
 *	  And a numeric has a scale, which is the highest of all that were added,
 *	  is shown, and decides how many digits an average has.  Taking away the
 *	  last value of the highest scale has to lower it.  So m<i> is how many values
 *	  have the sum's scale; it is exact at any time, which is argued here.
 *
 *	  Over all rows, scale_count() counts it.  Over a delta it counts what came
 *	  less what went, of the delta's highest scale d, and the delta's sum has the
 *	  scale d, whether values of that scale came or went.  The state's is h, and
 *	  the scale of their sum the higher one of both:
 *
 *		d < h	m stays: nothing of scale h came or went
 *		d = h	m + the delta's count
 *		d > h	the delta's count: there was nothing of scale d before
 *
 *	  If that is above zero, it is m, and the sum's scale is right.  If it is zero,
 *	  all values of the scale are gone (d > h: they came and went in one delta),
 *	  nobody knows the next one, and the group is recomputed; unless no value is
 *	  left, when the sum is 0 and m is 0.  So values of many scales, and zeros
 *	  among them, cost a look at all rows only when the last one of the highest
 *	  scale goes.  A delta without values has count 0 and the sum 0, which is d = 0.
 *	  With a NaN or infinity in the sum m means nothing, until it is recomputed.
 *
 *	  A sum of squares has twice the scale of the sum of the roots, and is odd when
 *	  that is, so the latter's conditions do for both.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "view/accumulator.h"
#include "view/operators.h"

/* There is a column m<number>: how many values have the sum's scale. */
static bool
keeps_scale(Accumulator *a)
{
	return a->kind == ACCUMULATE_SUM && a->is_numeric && !a->has_scale && !a->is_squares;
}

/* NaN and infinities are looked for. */
static bool
can_be_odd(Accumulator *a)
{
	return a->kind == ACCUMULATE_SUM && a->is_numeric && !a->is_squares;
}

static const char *
type_name(Accumulator *a)
{
	return format_type_be(a->column.type);
}

/* " FILTER (WHERE ...)" of an accumulator's own filter and one more condition. */
static char *
filter_text(Accumulator *a, const char *more)
{
	if (a->filter && more)
		return psprintf(" FILTER (WHERE %s AND %s)", more, a->filter);
	if (a->filter || more)
		return psprintf(" FILTER (WHERE %s)", more ? more : a->filter);
	return "";
}

void
braid_accumulator_define(StringInfo s, Accumulator *a)
{
	appendStringInfo(s, ", %s", braid_column_definition(&a->column, 'a', a->number));
	if (keeps_scale(a))
		appendStringInfo(s, ", m%d int8", a->number);
}

void
braid_accumulator_name(StringInfo s, Accumulator *a)
{
	appendStringInfo(s, ", a%d", a->number);
	if (keeps_scale(a))
		appendStringInfo(s, ", m%d", a->number);
}

void
braid_accumulator_replace(StringInfo s, Accumulator *a)
{
	appendStringInfo(s, ", a%d = excluded.a%d", a->number, a->number);
	if (keeps_scale(a))
		appendStringInfo(s, ", m%d = excluded.m%d", a->number, a->number);
}

/* ---------------------------------------------------------------- from all rows */

static void
append_value(StringInfo s, Accumulator *a)
{
	char *filter = filter_text(a, NULL);

	switch (a->kind)
	{
		case ACCUMULATE_COUNT:
			appendStringInfo(s, ", count(%s)%s", a->argument ? a->argument : "*", filter);
			break;
		case ACCUMULATE_SUM:
			appendStringInfo(s, ", coalesce(sum(%s)%s, 0)::%s", a->argument, filter, type_name(a));
			break;
		case ACCUMULATE_XOR:
			appendStringInfo(s, ", coalesce(bit_xor(%s)%s, 0::%s)", a->argument, filter,
							 type_name(a));
			break;
		case ACCUMULATE_EXTREME:
		case ACCUMULATE_COMBINE:
		case ACCUMULATE_OPAQUE:
			appendStringInfo(s, ", %s%s", a->aggregate, filter);
			break;
	}
	appendStringInfo(s, " AS a%d", a->number);
}

static void
append_scale_count(StringInfo s, Accumulator *a, const char *weight)
{
	appendStringInfo(s, ", braid_internal.scale_count(%s, %s)%s AS m%d", a->argument, weight,
					 filter_text(a, NULL), a->number);
}

void
braid_accumulator_state(StringInfo s, Accumulator *a)
{
	append_value(s, a);
	if (keeps_scale(a))
		append_scale_count(s, a, "1");
}

/* ---------------------------------------------------------------- the change */

static void
append_oddities(StringInfo s, Accumulator *a, const char *weight)
{
	char *arg = a->argument;

	appendStringInfo(s,
					 ", coalesce(bool_or(%s IS NOT NULL AND scale(%s) IS NULL)%s, false) AS odd%d",
					 arg, arg, filter_text(a, NULL), a->number);
	if (keeps_scale(a))
		append_scale_count(s, a, weight);
}

void
braid_accumulator_insertion(StringInfo s, Accumulator *a)
{
	append_value(s, a);
	if (can_be_odd(a))
		append_oddities(s, a, "1");
	if (a->kind == ACCUMULATE_EXTREME)
		appendStringInfo(s, ", %s FILTER (WHERE false) AS went%d", a->aggregate, a->number);
	if (a->kind == ACCUMULATE_COMBINE)
		appendStringInfo(s, ", 0::int8 AS went%d", a->number);
}

void
braid_accumulator_change(StringInfo s, Accumulator *a)
{
	char *came = filter_text(a, "i1.w > 0");
	char *went = filter_text(a, "i1.w < 0");
	int i = a->number;

	switch (a->kind)
	{
		case ACCUMULATE_COUNT:
			appendStringInfo(s, ", coalesce(sum(i1.w)%s, 0)::int8 AS a%d",
							 filter_text(a, a->argument
												? psprintf("%s IS DISTINCT FROM NULL", a->argument)
												: NULL),
							 i);
			break;
		case ACCUMULATE_SUM:
			appendStringInfo(s, ", (coalesce(sum(%s)%s, 0) - coalesce(sum(%s)%s, 0))::%s AS a%d",
							 a->argument, came, a->argument, went, type_name(a), i);
			if (can_be_odd(a))
				append_oddities(s, a, "i1.w");
			break;
		case ACCUMULATE_XOR:
			append_value(s, a);
			break;
		case ACCUMULATE_EXTREME:
			appendStringInfo(s, ", %s%s AS a%d, %s%s AS went%d", a->aggregate, came, i,
							 a->aggregate, went, i);
			break;
		case ACCUMULATE_COMBINE:
			appendStringInfo(s, ", %s%s AS a%d, count(*)%s AS went%d", a->aggregate, came, i, went,
							 i);
			break;
		case ACCUMULATE_OPAQUE:
			break;
	}
}

/* ---------------------------------------------------------------- redo */

/* How many values have the scale of the sum of s and the change; below 1 there may be none. */
static char *
merged_scale_count(Accumulator *a, const char *change)
{
	int i = a->number;

	return psprintf("CASE WHEN scale(%s.a%d) < scale(s.a%d) THEN s.m%d "
					"WHEN scale(%s.a%d) = scale(s.a%d) THEN s.m%d + %s.m%d ELSE %s.m%d END",
					change, i, i, i, change, i, i, i, change, i, change, i);
}

char *
braid_accumulator_redo(Accumulator *a)
{
	int i = a->number;

	if (a->kind == ACCUMULATE_COMBINE)
		return psprintf("g.went%d > 0", i);
	if (a->kind == ACCUMULATE_EXTREME)
		return psprintf("(g.went%d IS DISTINCT FROM NULL AND (s.a%d %s g.went%d) IS NOT TRUE "
						"AND (g.a%d %s g.went%d) IS NOT TRUE)",
						i, i, a->function, i, i, a->function, i);
	if (!can_be_odd(a))
		return NULL;
	if (!keeps_scale(a))
		return psprintf("(g.odd%d OR scale(s.a%d) IS NULL)", i, i);
	return psprintf("(g.odd%d OR scale(s.a%d) IS NULL OR s.a%d + g.a%d <> 0 AND %s <= 0)", i, i,
					a->count->number, a->count->number, merged_scale_count(a, "g"));
}

/* ---------------------------------------------------------------- merge */

void
braid_accumulator_begin(StringInfo s, Accumulator *a)
{
	appendStringInfo(s, ", g.a%d", a->number);
	if (keeps_scale(a))
		appendStringInfo(s, ", g.m%d", a->number);
}

static char *
merged_by_function(Accumulator *a)
{
	int i = a->number;

	if (!a->is_strict)
		return psprintf("%s(s.a%d, excluded.a%d)", a->function, i, i);
	return psprintf("CASE WHEN s.a%d IS NOT DISTINCT FROM NULL THEN excluded.a%d "
					"WHEN excluded.a%d IS NOT DISTINCT FROM NULL THEN s.a%d "
					"ELSE %s(s.a%d, excluded.a%d) END",
					i, i, i, i, a->function, i, i);
}

static char *
merged_value(Accumulator *a)
{
	int i = a->number;

	switch (a->kind)
	{
		case ACCUMULATE_EXTREME:
			return psprintf("CASE WHEN s.a%d IS NOT DISTINCT FROM NULL OR excluded.a%d %s s.a%d "
							"THEN excluded.a%d ELSE s.a%d END",
							i, i, a->function, i, i, i);
		case ACCUMULATE_COMBINE:
			return merged_by_function(a);
		case ACCUMULATE_XOR:
			return psprintf("s.a%d # excluded.a%d", i, i);
		case ACCUMULATE_SUM:
			if (a->is_numeric)
				return psprintf(
					"CASE WHEN s.a%d + excluded.a%d = 0 THEN 0 ELSE s.a%d + excluded.a%d END",
					a->count->number, a->count->number, i, i);
			return psprintf("s.a%d + excluded.a%d", i, i);
		default:
			return psprintf("s.a%d + excluded.a%d", i, i);
	}
}

/* How many values have the sum's scale. */
static char *
merged_count(Accumulator *a)
{
	return psprintf("CASE WHEN s.a%d + excluded.a%d = 0 THEN 0 ELSE %s END", a->count->number,
					a->count->number, merged_scale_count(a, "excluded"));
}

void
braid_accumulator_merge(StringInfo s, Accumulator *a)
{
	appendStringInfo(s, ", a%d = %s", a->number, merged_value(a));
	if (keeps_scale(a))
		appendStringInfo(s, ", m%d = %s", a->number, merged_count(a));
}

void
braid_accumulator_combine(StringInfo s, Accumulator *a)
{
	int i = a->number;

	appendStringInfo(s, ", CASE WHEN excluded.n IS NULL THEN s.a%d ELSE %s END AS a%d", i,
					 merged_value(a), i);
	if (keeps_scale(a))
		appendStringInfo(s, ", CASE WHEN excluded.n IS NULL THEN s.m%d ELSE %s END AS m%d", i,
						 merged_count(a), i);
}

bool
braid_accumulators_are_opaque(ViewNode *node)
{
	return node->strategy == STRATEGY_AFFECTED_KEYS;
}

char *
braid_accumulator_texts(ViewNode *node, BraidAppendText append)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->accumulators)
		append(&s, lfirst(lc));
	return s.data;
}
