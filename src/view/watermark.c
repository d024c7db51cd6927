/*
 * watermark.c
 *	  How far event time has come in a view.
 *
 * NOTES
 *	  Each source has an expression over the columns of one table, or of another
 *	  continuous view.  What is kept of it is the highest value seen, m<i>, and if
 *	  sources can be idle when it last brought something, s<i>.  The watermark is
 *	  the lowest m<i> of all sources that are not idle, and never goes back: what
 *	  it has closed stays closed, whatever an idle source brings later.
 *
 *	  The row is written with the states, by the same commit, and only if
 *	  something changes: a source came further, or the watermark did in the last
 *	  cycle, so that before has to catch up with value.
 *
 *	  Infinite times do not count, or one such row would close all windows for
 *	  ever.
 *
 *	  When the view is made anew, value stays, and what came meanwhile is added.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/take.h"
#include "view/watermark.h"

#define RESULT "watermark" /* ephemeral relation: what an update returned */

/* ---------------------------------------------------------------- closed windows */

static Oid
type_of(const EventTime *t)
{
	return t->watermark->columns[0].type;
}

/* What is retained, as something to subtract. */
static char *
less_retained(const EventTime *t, const char *watermark)
{
	const char *retain = quote_literal_cstr(t->options->retain);
	Oid type = type_of(t);

	if (type == INT4OID || type == INT8OID)
		return psprintf("(w.%s - %s::%s)", watermark, retain, format_type_be(type));
	return psprintf("(w.%s - %s::interval)::%s", watermark, retain, format_type_be(type));
}

static char *
moment_text(const EventTime *t, Moment moment)
{
	switch (moment)
	{
		case MOMENT_BEFORE:
			return "w.before";
		case MOMENT_NOW:
			return "w.value";
		case MOMENT_EXPIRED_BEFORE:
			return less_retained(t, "before");
		case MOMENT_EXPIRED_NOW:
			return less_retained(t, "value");
	}
	pg_unreachable();
}

char *
braid_watermark_closed(const EventTime *t, const char *column, Moment moment)
{
	return psprintf("%s %s (SELECT %s FROM %s w)", column, t->window.inclusive ? "<=" : "<",
					braid_window_limit(&t->window, moment_text(t, moment)), t->watermark->state);
}

char *
braid_watermark_closes(const EventTime *t, const char *alias, char column, Moment moment)
{
	return braid_watermark_closed(t, psprintf("%s.%c%d", alias, column, t->column), moment);
}

/* ---------------------------------------------------------------- taking a query apart */

static List *
columns_used(Node *expression)
{
	List *vars = NIL;
	ListCell *lc;

	foreach (lc, pull_var_clause(expression, 0))
		vars = list_append_unique(vars, lfirst(lc));
	return vars;
}

/* A node whose only column is the expression. */
static ViewNode *
take_source(Planner *p, Query *sources, Node *expression)
{
	Draft *draft = braid_draft_new(p);
	List *vars = columns_used(expression);
	RangeTblEntry *rte = rt_fetch(linitial_node(Var, vars)->varno, sources->rtable);

	braid_take_relation(draft, rte, vars);
	return braid_draft_close(draft, list_make1(braid_draft_map(draft, expression)));
}

void
braid_watermark_take(Planner *p)
{
	List *inputs = NIL;
	ViewNode *node;
	ListCell *lc;

	foreach (lc, p->time->sources->targetList)
		inputs = lappend(
			inputs, take_source(p, p->time->sources, (Node *) ((TargetEntry *) lfirst(lc))->expr));
	node = braid_draft_node(p, NODE_WATERMARK, inputs, 1);
	node->number = WATERMARK_NUMBER;
	node->columns[0] = ((ViewNode *) linitial(inputs))->columns[0];
	node->columns[0].window = NULL;
	node->time = palloc0(sizeof(EventTime));
	node->time->options = p->time->options;
	node->time->watermark = node;
	braid_draft_give_state(p, node);
	p->plan->watermark = node;
}

/* ---------------------------------------------------------------- the state */

char *
braid_watermark_state_columns(ViewNode *node)
{
	const char *type = format_type_be(node->columns[0].type);
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s,
					 "k boolean, before %s, value %s, late int8, dropped int8, diverted int8, "
					 "merged int4",
					 type, type);
	for (int i = 1; i <= list_length(node->inputs); i++)
		appendStringInfo(&s, ", m%d %s, s%d timestamptz", i, type, i);
	return s.data;
}

char *
braid_watermark_state_index(ViewNode *node, const char *index)
{
	return psprintf("UNIQUE INDEX %s ON %s (k)", index, node->state);
}

/* ---------------------------------------------------------------- following */

/* The highest finite value of a FROM item's only column. */
static char *
highest(ViewNode *node, const char *rows, const char *condition)
{
	Oid type = node->columns[0].type;

	return psprintf("(SELECT max(x.c1)%s FROM %s x%s)",
					type == INT4OID || type == INT8OID ? "" : " FILTER (WHERE isfinite(x.c1))",
					rows, condition);
}

/* Whether the ith source is not idle. */
static char *
is_active(ViewNode *node, int i)
{
	if (node->time->options->idle == NULL)
		return "true";
	return psprintf("p.s%d > clock_timestamp() - %s::interval", i,
					quote_literal_cstr(node->time->options->idle));
}

/* The lowest value of the sources that are not idle, p; null if one of them has none. */
static char *
lowest(ViewNode *node)
{
	StringInfoData missing;
	StringInfoData values;

	initStringInfo(&missing);
	initStringInfo(&values);
	for (int i = 1; i <= list_length(node->inputs); i++)
	{
		char *active = is_active(node, i);

		appendStringInfo(&missing, "%s(%s AND p.m%d IS NULL)", i > 1 ? " OR " : "", active, i);
		appendStringInfo(&values, "%sCASE WHEN %s THEN p.m%d END", i > 1 ? ", " : "", active, i);
	}
	return psprintf("CASE WHEN %s THEN NULL ELSE least(%s) END", missing.data, values.data);
}

/* When the next source is idle. */
static char *
next_idle(ViewNode *node)
{
	StringInfoData s;

	if (node->time->options->idle == NULL || list_length(node->inputs) < 2)
		return "NULL::timestamptz";
	initStringInfo(&s);
	for (int i = 1; i <= list_length(node->inputs); i++)
		appendStringInfo(&s, "%sCASE WHEN %s THEN p.s%d END", i > 1 ? ", " : "", is_active(node, i),
						 i);
	return psprintf("least(%s) + %s::interval", s.data,
					quote_literal_cstr(node->time->options->idle));
}

/*
 * Brings the row up.  values are those that the sources bring, NULL for those that
 * bring nothing.
 */
static char *
update_statement(ViewNode *node, char **values)
{
	StringInfoData sources;
	StringInfoData set;
	StringInfoData differs;
	int n = list_length(node->inputs);

	initStringInfo(&sources);
	initStringInfo(&set);
	initStringInfo(&differs);
	for (int i = 1; i <= n; i++)
	{
		bool brings = values[i - 1] != NULL;

		appendStringInfo(
			&sources, ", %s AS m%d, %s AS s%d",
			brings ? psprintf("greatest(o.m%d, %s)", i, values[i - 1]) : psprintf("o.m%d", i), i,
			brings && node->time->options->idle ? "clock_timestamp()" : psprintf("o.s%d", i), i);
		appendStringInfo(&set, ", m%d = n.m%d, s%d = n.s%d", i, i, i, i);
		appendStringInfo(&differs,
						 " OR s.m%d IS DISTINCT FROM n.m%d OR s.s%d IS DISTINCT FROM n.s%d", i, i,
						 i, i);
	}
	return psprintf(
		"UPDATE %s s SET before = s.value, value = n.highest%s FROM "
		"(SELECT p.*, greatest(p.value, %s) AS highest, %s AS idle_due FROM "
		"(SELECT o.value%s FROM %s o) p) n "
		"WHERE s.before IS DISTINCT FROM s.value OR s.value IS DISTINCT FROM n.highest%s "
		"RETURNING s.before IS DISTINCT FROM s.value, n.idle_due",
		node->state, set.data, lowest(node), next_idle(node), sources.data, node->state,
		differs.data);
}

/* What the sources bring in this cycle. */
static char **
values_of_deltas(ViewNode *node)
{
	char **values = palloc0(sizeof(char *) * list_length(node->inputs));
	ListCell *lc;

	foreach (lc, node->inputs)
	{
		ViewNode *input = lfirst(lc);

		if (input->changed)
			values[foreach_current_index(lc)] =
				highest(input, braid_node_delta(input), " WHERE x.w > 0");
	}
	return values;
}

static void
take_result(ViewNode *node)
{
	bool isnull;
	Datum due;

	node->changed = DatumGetBool(braid_run_value(RESULT, 1, &isnull));
	due = braid_run_value(RESULT, 2, &isnull);
	node->time->idle_due = isnull ? 0 : DatumGetTimestampTz(due);
}

void
braid_watermark_follow(ViewNode *node)
{
	bool is_new;

	node->time->idle_due = 0;
	is_new = braid_run_into(RESULT, update_statement(node, values_of_deltas(node)),
							braid_run_rows_below(node)) > 0;
	node->changed = false;
	if (is_new)
		take_result(node);

	/*
	 * What readers have seen closed must be as it was after a crash.  If this
	 * cycle were lost its rows would come again together with later ones, and
	 * other ones of them might be late.
	 */
	if (node->changed && braid_options_freezes(node->time->options))
		ForceSyncCommit();
}

void
braid_watermark_begin(ViewNode *node)
{
	braid_run(psprintf("INSERT INTO %s (k, late, dropped, diverted, merged) "
					   "VALUES (true, 0, 0, 0, 0) ON CONFLICT (k) DO NOTHING",
					   node->state),
			  0);
}

void
braid_watermark_populate(ViewNode *node)
{
	char **values = values_of_deltas(node);
	ListCell *lc;

	foreach (lc, node->inputs)
		if (!((ViewNode *) lfirst(lc))->is_passing)
			values[foreach_current_index(lc)] = highest(lfirst(lc), braid_node_new(lfirst(lc)), "");
	braid_watermark_begin(node);
	braid_run_into(RESULT, update_statement(node, values), PG_INT64_MAX);
}

void
braid_watermark_count(ViewNode *group)
{
	EventTime *t = group->time;
	const char *counter = t->diverted ? "diverted" : "dropped";

	braid_run(psprintf("UPDATE %s w SET late = w.late + x.n, %s = w.%s + x.ignored "
					   "FROM (SELECT sum(l.nrows)::int8 AS n, "
					   "coalesce(sum(l.nrows) FILTER (WHERE l.is_ignored), 0)::int8 AS ignored "
					   "FROM late_%d l) x",
					   t->watermark->state, counter, counter, group->number),
			  1);
}

void
braid_watermark_set_merged(ViewNode *node, int request)
{
	braid_run(psprintf("UPDATE %s SET merged = %d", node->state, request), 1);
}
