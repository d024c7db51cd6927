/*
 * statements.c
 *	  The SQL that makes a view and that keeps it up to date.
 *
 * NOTES
 *	  State table: key columns k1, k2, ...; n, the group's number of rows; one
 *	  column for each accumulator, a1, a2, ...; and for a sum of numerics
 *	  without a fixed scale m<i>, see below.  A query without GROUP BY has one
 *	  key, the constant true, and its group is never removed.
 *
 *	  Null keys.  Equality of keys is that of GROUP BY: the operator of the
 *	  default operator class, with nulls equal.  A join on that can neither be
 *	  hashed nor use an index, so statements that match keys come in two: one
 *	  for keys without a null, an ordinary join, and one for those with a null,
 *	  which a one-time filter switches off when there are none.
 *
 *	  Retractions.  count and sum take them by subtraction.  min and max can if
 *	  the value taken away was not the extreme one; otherwise the group is
 *	  recomputed.  A group that is new to the state and has a retraction saw
 *	  rows come and go within one delta, in an order that the delta does not
 *	  tell; it is recomputed as well.
 *
 *	  Sums of numerics.  NaN and infinities cannot be subtracted: recompute.
 *	  And a numeric has a scale, which is the highest of all that were added,
 *	  is shown, and decides how many digits an average has.  Taking away the
 *	  last value of the highest scale has to lower it.  m<i> is a lower bound of
 *	  how many values have the sum's scale (null: at least one); when a
 *	  retraction might bring that to zero, the group is recomputed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "view/refusal.h"
#include "view/statements.h"

#define TABLE_ALIAS "t"

/* Appends to a list: the separator unless it is the first. */
static void
separate(StringInfo s, const char *separator)
{
	if (s->len > 0)
		appendStringInfoString(s, separator);
}

static char *
expression_text(ViewQuery *vq, Node *node)
{
	return deparse_expression(node, deparse_context_for(TABLE_ALIAS, vq->relid), true, false);
}

static char *
condition_text(ViewQuery *vq)
{
	Node *quals = vq->query->jointree->quals;

	return quals ? expression_text(vq, quals) : pstrdup("true");
}

static int
nkeys(ViewQuery *vq)
{
	return Max(list_length(vq->keys), 1);
}

static char *
key_text(ViewQuery *vq, int i)
{
	return vq->keys ? expression_text(vq, list_nth(vq->keys, i)) : pstrdup("true");
}

/* "prefix" || k1, "prefix" || k2, ... */
static char *
key_list(ViewQuery *vq, const char *prefix)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys(vq); i++)
	{
		separate(&s, ", ");
		appendStringInfo(&s, "%sk%d", prefix, i);
	}
	return s.data;
}

char *
braid_statement_key_columns(ViewQuery *vq)
{
	return key_list(vq, "");
}

/* The keys as expressions over the table: "E1 AS k1, E2 AS k2". */
static char *
key_targets(ViewQuery *vq)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < nkeys(vq); i++)
	{
		separate(&s, ", ");
		appendStringInfo(&s, "%s AS k%d", key_text(vq, i), i + 1);
	}
	return s.data;
}

/* " GROUP BY 1, 2", or nothing for the one group of all rows. */
static char *
group_by(ViewQuery *vq)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= list_length(vq->keys); i++)
		appendStringInfo(&s, "%s%d", i == 1 ? " GROUP BY " : ", ", i);
	return s.data;
}

/* ---------------------------------------------------------------- matching keys */

static char *
operator_name(Oid op)
{
	HeapTuple tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(tup);
	char *name =
		psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
				 NameStr(form->oprname));

	ReleaseSysCache(tup);
	return name;
}

/* The equality operator of GROUP BY for the ith key. */
static char *
equality(ViewQuery *vq, int i)
{
	Oid type = vq->keys ? exprType(list_nth(vq->keys, i)) : BOOLOID;

	return operator_name(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr);
}

/* a.k1 = b.k1 AND ..., for keys without nulls, or for any. */
static char *
match(ViewQuery *vq, char **a, const char *b, bool nulls)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < nkeys(vq); i++)
	{
		separate(&s, " AND ");
		if (nulls)
			appendStringInfo(&s, "(%s %s %s.k%d OR %s IS NULL AND %s.k%d IS NULL)", a[i],
							 equality(vq, i), b, i + 1, a[i], b, i + 1);
		else
			appendStringInfo(&s, "%s %s %s.k%d", a[i], equality(vq, i), b, i + 1);
	}
	return s.data;
}

/* a IS NULL OR ... */
static char *
any_null(ViewQuery *vq, char **a)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < nkeys(vq); i++)
	{
		separate(&s, " OR ");
		appendStringInfo(&s, "%s IS NULL", a[i]);
	}
	return s.data;
}

static char **
key_columns_of(ViewQuery *vq, const char *alias)
{
	char **names = palloc(sizeof(char *) * nkeys(vq));

	for (int i = 0; i < nkeys(vq); i++)
		names[i] = psprintf("%s.k%d", alias, i + 1);
	return names;
}

static char **
key_expressions(ViewQuery *vq)
{
	char **texts = palloc(sizeof(char *) * nkeys(vq));

	for (int i = 0; i < nkeys(vq); i++)
		texts[i] = psprintf("(%s)", key_text(vq, i));
	return texts;
}

/*
 * A condition that the keys are in an ephemeral relation, in two parts: with
 * nulls and without.
 */
static char *
keys_in(ViewQuery *vq, char **keys, const char *relation, bool nulls)
{
	char **columns = key_columns_of(vq, "r");

	if (!nulls)
		return psprintf("EXISTS (SELECT FROM %s r WHERE %s)", relation,
						match(vq, keys, "r", false));
	return psprintf(
		"(SELECT bool_or(%s) FROM %s r) AND (%s) AND EXISTS (SELECT FROM %s r WHERE %s)",
		any_null(vq, columns), relation, any_null(vq, keys), relation, match(vq, keys, "r", true));
}

/* ---------------------------------------------------------------- the state */

/* " FILTER (WHERE ...)" of an accumulator's own filter and one more condition. */
static char *
filter_text(ViewQuery *vq, Accumulator *a, const char *more)
{
	char *own = a->filter ? expression_text(vq, (Node *) a->filter) : NULL;

	if (own && more)
		return psprintf(" FILTER (WHERE %s AND (%s))", more, own);
	if (own || more)
		return psprintf(" FILTER (WHERE %s)", own ? own : more);
	return "";
}

static bool
keeps_scale(Accumulator *a)
{
	return a->kind == ACCUMULATE_SUM && a->is_numeric && !a->has_scale;
}

static const char *
sum_type(Accumulator *a)
{
	Oid type = exprType((Node *) a->argument);

	return type == INT2OID || type == INT4OID ? "int8" : "numeric";
}

static void
append_state_column(ViewQuery *vq, StringInfo s, Accumulator *a, bool with_scale)
{
	char *arg = a->argument ? expression_text(vq, (Node *) a->argument) : "*";
	char *filter = filter_text(vq, a, NULL);

	switch (a->kind)
	{
		case ACCUMULATE_COUNT:
			appendStringInfo(s, ", count(%s)%s AS a%d", arg, filter, a->number);
			break;
		case ACCUMULATE_SUM:
			appendStringInfo(s, ", coalesce(sum(%s)%s, 0)::%s AS a%d", arg, filter, sum_type(a),
							 a->number);
			break;
		case ACCUMULATE_MIN:
			appendStringInfo(s, ", min(%s)%s AS a%d", arg, filter, a->number);
			break;
		case ACCUMULATE_MAX:
			appendStringInfo(s, ", max(%s)%s AS a%d", arg, filter, a->number);
			break;
		case ACCUMULATE_OPAQUE:
			appendStringInfo(s, ", %s AS a%d", expression_text(vq, (Node *) a->aggregate),
							 a->number);
			break;
	}
	if (with_scale && keeps_scale(a))
		appendStringInfo(
			s, ", CASE WHEN min(scale(%s))%s = max(scale(%s))%s THEN count(%s)%s END AS m%d", arg,
			filter, arg, filter, arg, filter, a->number);
}

/* SELECT of the state of those rows of the table that meet a condition too. */
static char *
state_select(ViewQuery *vq, const char *more)
{
	StringInfoData columns;
	ListCell *lc;

	initStringInfo(&columns);
	foreach (lc, vq->accumulators)
		append_state_column(vq, &columns, lfirst(lc), true);
	return psprintf("SELECT %s, count(*) AS n%s FROM %s%s AS " TABLE_ALIAS " WHERE (%s)%s%s%s",
					key_targets(vq), columns.data,
					get_rel_relkind(vq->relid) == RELKIND_RELATION ? "ONLY " : "",
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(vq->relid)),
											   get_rel_name(vq->relid)),
					condition_text(vq), more ? " AND " : "", more ? more : "", group_by(vq));
}

char *
braid_statement_state(ViewQuery *vq)
{
	return state_select(vq, NULL);
}

/* ---------------------------------------------------------------- what the user sees */

/* The result of an aggregate, from the columns of the state. */
static char *
result_text(ViewAggregate *r)
{
	Accumulator *a = r->accumulator;
	int count;

	if (a == NULL)
		return "n";
	if (a->kind != ACCUMULATE_SUM)
		return psprintf("a%d", a->number);
	count = a->count->number;
	if (r->is_average)
		return psprintf("(CASE WHEN a%d > 0 THEN a%d::numeric / a%d::numeric END)", count,
						a->number, count);
	return psprintf("(CASE WHEN a%d > 0 THEN a%d END)", count, a->number);
}

static Param *
placeholder(Node *node, int number)
{
	Param *p = makeNode(Param);

	p->paramkind = PARAM_EXTERN;
	p->paramid = number;
	p->paramtype = exprType(node);
	p->paramtypmod = exprTypmod(node);
	p->paramcollid = exprCollation(node);
	p->location = -1;
	return p;
}

/*
 * Puts a parameter in place of each key ($1 and up) and each aggregate (after
 * the keys): what is left is an expression over these.
 */
static Node *
put_placeholders(Node *node, ViewQuery *vq)
{
	int i = 0;
	ListCell *lc;

	if (node == NULL)
		return NULL;
	foreach (lc, vq->keys)
	{
		i++;
		if (equal(node, lfirst(lc)))
			return (Node *) placeholder(node, i);
	}
	foreach (lc, vq->aggregates)
	{
		i++;
		if (equal(node, ((ViewAggregate *) lfirst(lc))->aggregate))
			return (Node *) placeholder(node, i);
	}
	return expression_tree_mutator(node, put_placeholders, vq);
}

static const char *
placeholder_text(ViewQuery *vq, int number)
{
	if (number <= list_length(vq->keys))
		return psprintf("k%d", number);
	return result_text(list_nth(vq->aggregates, number - list_length(vq->keys) - 1));
}

/*
 * Text of an expression over the state.  Parameters are found in the deparsed
 * text outside of quotes; the deparser doubles quotes and backslashes within.
 */
static char *
visible_text(ViewQuery *vq, Node *node)
{
	char *text = expression_text(vq, put_placeholders(node, vq));
	char quote = '\0';
	StringInfoData s;

	initStringInfo(&s);
	for (char *p = text; *p;)
	{
		if (quote == '\0' && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == quote)
			quote = '\0';
		if (quote == '\0' && *p == '$' && isdigit((unsigned char) p[1]))
			appendStringInfoString(&s, placeholder_text(vq, strtol(p + 1, &p, 10)));
		else
			appendStringInfoChar(&s, *p++);
	}
	return s.data;
}

char *
braid_statement_visible(ViewQuery *vq, const char *state, ParseState *pstate)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, vq->query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
			continue;
		separate(&s, ", ");
		appendStringInfo(&s, "%s AS %s", visible_text(vq, (Node *) tle->expr),
						 quote_identifier(tle->resname));
	}
	return psprintf("SELECT %s FROM %s%s%s", s.data, state, vq->query->havingQual ? " WHERE " : "",
					vq->query->havingQual ? visible_text(vq, vq->query->havingQual) : "");
}

/* ---------------------------------------------------------------- groups */

static void
append_scale_columns(ViewQuery *vq, StringInfo s, Accumulator *a, const char *arg)
{
	char *filter = filter_text(vq, a, NULL);

	appendStringInfo(s,
					 ", coalesce(bool_or(%s IS NOT NULL AND scale(%s) IS NULL)%s, false) AS odd%d",
					 arg, arg, filter, a->number);
	if (keeps_scale(a))
		appendStringInfo(s, ", min(scale(%s))%s AS lo%d, max(scale(%s))%s AS hi%d", arg, filter,
						 a->number, arg, filter, a->number);
}

/*
 * Like append_group_column() for rows that only came.  The columns must be the
 * same: the plans of the statements that read them are.
 */
static void
append_inserted_column(ViewQuery *vq, StringInfo s, Accumulator *a)
{
	char *arg = a->argument ? psprintf("(%s)", expression_text(vq, (Node *) a->argument)) : NULL;

	append_state_column(vq, s, a, false);
	if (a->kind == ACCUMULATE_SUM && a->is_numeric)
		append_scale_columns(vq, s, a, arg);
	if (a->kind == ACCUMULATE_MIN || a->kind == ACCUMULATE_MAX)
		appendStringInfo(s, ", %s(%s) FILTER (WHERE false) AS went%d",
						 a->kind == ACCUMULATE_MIN ? "min" : "max", arg, a->number);
}

static void
append_group_column(ViewQuery *vq, StringInfo s, Accumulator *a, const char *w)
{
	char *arg = a->argument ? psprintf("(%s)", expression_text(vq, (Node *) a->argument)) : NULL;
	char *came = filter_text(vq, a, psprintf("%s > 0", w));
	char *went = filter_text(vq, a, psprintf("%s < 0", w));
	const char *f = a->kind == ACCUMULATE_MIN ? "min" : "max";

	switch (a->kind)
	{
		case ACCUMULATE_COUNT:
			appendStringInfo(s, ", coalesce(sum(%s)%s, 0)::int8 AS a%d", w,
							 filter_text(vq, a, arg ? psprintf("%s IS NOT NULL", arg) : NULL),
							 a->number);
			break;
		case ACCUMULATE_SUM:
			appendStringInfo(s, ", (coalesce(sum(%s)%s, 0) - coalesce(sum(%s)%s, 0))::%s AS a%d",
							 arg, came, arg, went, sum_type(a), a->number);
			if (a->is_numeric)
				append_scale_columns(vq, s, a, arg);
			break;
		case ACCUMULATE_MIN:
		case ACCUMULATE_MAX:
			appendStringInfo(s, ", %s(%s)%s AS a%d, %s(%s)%s AS went%d", f, arg, came, a->number, f,
							 arg, went, a->number);
			break;
		case ACCUMULATE_OPAQUE:
			break;
	}
}

static char *
groups_statement(ViewQuery *vq, const char *weight)
{
	char *w = psprintf(TABLE_ALIAS ".%s", quote_identifier(weight));
	StringInfoData columns;
	ListCell *lc;

	initStringInfo(&columns);
	if (vq->strategy != STRATEGY_AFFECTED_KEYS)
		foreach (lc, vq->accumulators)
			append_group_column(vq, &columns, lfirst(lc), w);
	return psprintf(
		"SELECT %s, coalesce(sum(%s), 0)::int8 AS n, coalesce(bool_or(%s < 0), false) AS retracts%s "
		"FROM " DELTA_NAME " AS " TABLE_ALIAS " WHERE (%s)%s",
		key_targets(vq), w, w, columns.data, condition_text(vq), group_by(vq));
}

/* For a delta that retracts nothing: the common case, and half the work. */
static char *
inserted_groups_statement(ViewQuery *vq)
{
	StringInfoData columns;
	ListCell *lc;

	initStringInfo(&columns);
	if (vq->strategy != STRATEGY_AFFECTED_KEYS)
		foreach (lc, vq->accumulators)
			append_inserted_column(vq, &columns, lfirst(lc));
	return psprintf("SELECT %s, count(*) AS n, false AS retracts%s FROM " DELTA_NAME
					" AS " TABLE_ALIAS " WHERE (%s)%s",
					key_targets(vq), columns.data, condition_text(vq), group_by(vq));
}

/* ---------------------------------------------------------------- redo */

/* When the group must be recomputed: g is the change, s the state. */
static char *
redo_condition(Accumulator *a)
{
	int i = a->number;
	const char *op = a->kind == ACCUMULATE_MIN ? "<" : ">";

	if (a->kind == ACCUMULATE_MIN || a->kind == ACCUMULATE_MAX)
		return psprintf("(g.went%d %s= s.a%d AND NOT coalesce(g.a%d %s g.went%d, false))", i, op, i,
						i, op, i);
	if (a->kind != ACCUMULATE_SUM || !a->is_numeric)
		return NULL;
	if (a->has_scale)
		return psprintf("(g.odd%d OR scale(s.a%d) IS NULL)", i, i);
	return psprintf(
		"(g.odd%d OR scale(s.a%d) IS NULL OR s.a%d + g.a%d <> 0 AND g.hi%d >= scale(s.a%d) AND NOT "
		"(g.lo%d = g.hi%d AND CASE WHEN g.hi%d > scale(s.a%d) THEN 0 ELSE coalesce(s.m%d, 1) END + g.a%d > 0))",
		i, i, a->count->number, a->count->number, i, i, i, i, i, i, i, a->count->number);
}

static char *
redo_statement(ViewQuery *vq, const char *state)
{
	StringInfoData conditions;
	ListCell *lc;

	initStringInfo(&conditions);
	foreach (lc, vq->accumulators)
	{
		char *c = redo_condition(lfirst(lc));

		if (c)
			appendStringInfo(&conditions, " OR %s", c);
	}
	if (conditions.len == 0)
		return NULL;
	return psprintf("SELECT %s FROM " GROUPS_NAME " g LEFT JOIN %s s ON %s "
					"WHERE g.retracts AND (s.n IS NULL OR s.n + g.n <> 0 AND (false%s))",
					key_list(vq, "g."), state, match(vq, key_columns_of(vq, "g"), "s", false),
					conditions.data);
}

/* ---------------------------------------------------------------- merge */

/* The new value of an accumulator: s is the state, excluded the change. */
static char *
merged_value(Accumulator *a)
{
	int i = a->number;

	switch (a->kind)
	{
		case ACCUMULATE_MIN:
			return psprintf("LEAST(s.a%d, excluded.a%d)", i, i);
		case ACCUMULATE_MAX:
			return psprintf("GREATEST(s.a%d, excluded.a%d)", i, i);
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

static char *
merged_scale_count(Accumulator *a)
{
	int i = a->number;
	int c = a->count->number;

	return psprintf(
		"CASE WHEN s.a%d + excluded.a%d = 0 THEN 0 "
		"WHEN scale(excluded.a%d) < scale(s.a%d) THEN s.m%d "
		"WHEN scale(excluded.a%d) = scale(s.a%d) THEN coalesce(s.m%d, 1) + coalesce(excluded.m%d, 0) "
		"ELSE excluded.m%d END",
		c, c, i, i, i, i, i, i, i, i);
}

static char *
merge_statement(ViewQuery *vq, const char *state)
{
	StringInfoData columns;
	StringInfoData values;
	StringInfoData sets;
	ListCell *lc;

	initStringInfo(&columns);
	initStringInfo(&values);
	initStringInfo(&sets);
	foreach (lc, vq->accumulators)
	{
		Accumulator *a = lfirst(lc);

		appendStringInfo(&columns, ", a%d", a->number);
		appendStringInfo(&values, ", g.a%d", a->number);
		appendStringInfo(&sets, ", a%d = %s", a->number, merged_value(a));
		if (!keeps_scale(a))
			continue;
		appendStringInfo(&columns, ", m%d", a->number);
		appendStringInfo(&values, ", CASE WHEN g.lo%d = g.hi%d THEN g.a%d END", a->number,
						 a->number, a->count->number);
		appendStringInfo(&sets, ", m%d = %s", a->number, merged_scale_count(a));
	}
	return psprintf("INSERT INTO %s AS s (%s, n%s) SELECT %s, g.n%s FROM " GROUPS_NAME " g "
					"ON CONFLICT (%s) DO UPDATE SET n = s.n + excluded.n%s",
					state, key_list(vq, ""), columns.data, key_list(vq, "g."), values.data,
					key_list(vq, ""), sets.data);
}

MergeStatements *
braid_statement_merge(ViewQuery *vq, const char *state, const char *weight)
{
	MergeStatements *m = palloc0(sizeof(MergeStatements));
	char **columns = key_columns_of(vq, "s");
	char **expressions = key_expressions(vq);

	m->groups = groups_statement(vq, weight);
	m->inserted_groups = inserted_groups_statement(vq);
	m->clear = psprintf("DELETE FROM %s", state);
	m->populate = psprintf("INSERT INTO %s %s", state, state_select(vq, NULL));
	if (vq->strategy != STRATEGY_AFFECTED_KEYS)
	{
		m->merge = merge_statement(vq, state);
		m->redo = redo_statement(vq, state);
	}
	for (int nulls = 0; nulls < (vq->keys ? 2 : 1); nulls++)
	{
		if (vq->keys && m->merge)
			m->purge[nulls] = psprintf("DELETE FROM %s s WHERE s.n = 0 AND %s", state,
									   keys_in(vq, columns, GROUPS_NAME, nulls));
		m->remove[nulls] =
			psprintf("DELETE FROM %s s WHERE %s", state, keys_in(vq, columns, REDO_NAME, nulls));
		m->recompute[nulls] =
			psprintf("INSERT INTO %s %s", state,
					 state_select(vq, keys_in(vq, expressions, REDO_NAME, nulls)));
	}
	return m;
}
