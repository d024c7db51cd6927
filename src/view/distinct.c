/*
 * distinct.c
 *	  Taking a query apart: DISTINCT in aggregates.
 *
 * NOTES
 *	  count(DISTINCT x) is the count of x over rows of which there is one for each
 *	  x, which is what a GROUP with x as another key has.  So the group reads, with
 *	  UNION ALL, its rows as they are and for each such x the groups' rows.
 *	  Columns that do not belong to a branch are null in it, and aggregates skip
 *	  nulls; one that might not has a filter, a column that is true in the first
 *	  branch only.
 *
 *		SELECT k, count(*), sum(y), count(DISTINCT x) FROM rows GROUP BY k
 *
 *		rows (k, y, x) ──────────────────────────► k, y,    x,    true, null ─┐
 *		     └─► k, x where x is there ─► GROUP ──► k, null, null, null, x ───┴─► GROUP
 *
 *	  A group exists if and only if it has rows of the first kind, for there is no
 *	  x without one.  It is done only if then nothing is left for which the group
 *	  has to be computed from all its rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "view/operators.h"
#include "view/take.h"
#include "view/text.h"
#include "view/watermark.h"

#define MAX_KEYS 32 /* columns of an index */

/* An argument whose values are taken once each, of the rows that pass a filter. */
typedef struct Source
{
	int argument; /* column of the rows */
	int filter;	  /* column, or 0 */
	ViewNode *group;
} Source;

typedef struct Distinct
{
	Planner *planner;
	ViewNode *rows;
	int nkeys;
	List *sources;
} Distinct;

static Strategy
strategy_of(Distinct *d, Aggref *aggregate)
{
	ViewNode scratch = {.inputs = list_make1(d->rows)};

	(void) braid_aggregate_add(&scratch, aggregate, d->planner->pstate);
	return scratch.strategy;
}

static Node *
argument_of(Aggref *aggregate)
{
	return (Node *) linitial_node(TargetEntry, aggregate->args)->expr;
}

/* It is opaque for its DISTINCT alone. */
static bool
can_be_split(Distinct *d, Aggref *aggregate)
{
	Aggref *plain = copyObject(aggregate);

	if (aggregate->aggdistinct == NIL || !IsA(argument_of(aggregate), Var) ||
		get_typtype(exprType(argument_of(aggregate))) == TYPTYPE_PSEUDO ||
		(aggregate->aggfilter && !IsA(aggregate->aggfilter, Var)))
		return false;
	plain->aggdistinct = NIL;
	return strategy_of(d, plain) == STRATEGY_ALGEBRAIC;
}

/* The number of the aggregate's source, from 1. */
static int
source_of(Distinct *d, Aggref *aggregate)
{
	int argument = castNode(Var, argument_of(aggregate))->varattno;
	int filter = aggregate->aggfilter ? castNode(Var, (Node *) aggregate->aggfilter)->varattno : 0;
	Source *s;
	ListCell *lc;

	foreach (lc, d->sources)
	{
		s = lfirst(lc);
		if (s->argument == argument && s->filter == filter)
			return foreach_current_index(lc) + 1;
	}
	s = palloc0(sizeof(Source));
	s->argument = argument;
	s->filter = filter;
	d->sources = lappend(d->sources, s);
	return list_length(d->sources);
}

/* ---------------------------------------------------------------- nodes */

/* The keys and the argument, where it is there. */
static ViewNode *
values_node(Distinct *d, Source *s)
{
	ViewNode *node = braid_draft_node(d->planner, NODE_BLOCK, list_make1(d->rows), d->nkeys + 1);

	memcpy(node->columns, d->rows->columns, sizeof(NodeColumn) * d->nkeys);
	node->columns[d->nkeys] = d->rows->columns[s->argument - 1];
	node->select =
		psprintf("SELECT $1 AS w%s, i1.c%d AS c%d FROM %s i1 WHERE i1.c%d IS DISTINCT FROM NULL%s",
				 braid_text_columns("i1", d->nkeys), s->argument, d->nkeys + 1, braid_node_token(1),
				 s->argument, s->filter ? psprintf(" AND i1.c%d", s->filter) : "");
	return node;
}

static void
make_group(Distinct *d, Source *s)
{
	s->group = braid_take_group_node(d->planner, values_node(d, s), d->nkeys + 1);
	for (int i = 1; i <= d->nkeys + 1; i++)
		(void) braid_aggregate_add_key(s->group, i);
	braid_late_take_below(d->planner, s->group);
}

/* ", NULL::type AS c<first>, ..." for some of the columns. */
static char *
nulls(NodeColumn *columns, int n, int first)
{
	ViewNode some = {.columns = columns, .ncolumns = n};

	return braid_text_nulls(&some, first);
}

/* A branch of the UNION: the rows if there is no source. */
static ViewNode *
branch_node(Distinct *d, Source *source)
{
	int width = d->rows->ncolumns;
	ViewNode *node =
		braid_draft_node(d->planner, NODE_BLOCK, list_make1(source ? source->group : d->rows),
						 width + 1 + list_length(d->sources));
	StringInfoData s;
	int column = width + 1;
	ListCell *lc;

	memcpy(node->columns, d->rows->columns, sizeof(NodeColumn) * width);
	node->columns[width] = (NodeColumn){BOOLOID, -1, InvalidOid, .name = ""};
	initStringInfo(&s);
	appendStringInfo(&s, "SELECT $1 AS w%s", braid_text_columns("i1", source ? d->nkeys : width));
	if (source)
		appendStringInfo(&s, "%s, NULL::boolean AS c%d",
						 nulls(d->rows->columns + d->nkeys, width - d->nkeys, d->nkeys + 1),
						 column);
	else
		appendStringInfo(&s, ", true AS c%d", column);
	foreach (lc, d->sources)
	{
		NodeColumn *argument = &d->rows->columns[((Source *) lfirst(lc))->argument - 1];

		node->columns[column] = *argument;
		node->columns[column++].name = "";
		if (lfirst(lc) == source)
			appendStringInfo(&s, ", i1.c%d AS c%d", d->nkeys + 1, column);
		else
			appendStringInfoString(&s, nulls(argument, 1, column));
	}
	appendStringInfo(&s, " FROM %s i1", braid_node_token(1));
	node->select = s.data;
	return node;
}

static ViewNode *
union_node(Distinct *d)
{
	List *branches = list_make1(branch_node(d, NULL));
	ViewNode *first = linitial(branches);
	ViewNode *node;
	ListCell *lc;

	foreach (lc, d->sources)
		branches = lappend(branches, branch_node(d, lfirst(lc)));
	node = braid_draft_node(d->planner, NODE_UNION, branches, first->ncolumns);
	memcpy(node->columns, first->columns, sizeof(NodeColumn) * first->ncolumns);
	return node;
}

/* ---------------------------------------------------------------- aggregates */

/* The aggregate over columns of the UNION; source is 0 if it is over the rows. */
static Aggref *
over_union(Distinct *d, Aggref *aggregate, int source)
{
	Aggref *copy = copyObject(aggregate);
	int width = d->rows->ncolumns;

	if (source > 0)
	{
		castNode(Var, argument_of(copy))->varattno = width + 1 + source;
		copy->aggdistinct = NIL;
		copy->aggfilter = NULL;
	}
	else if (copy->aggfilter == NULL)
		copy->aggfilter = (Expr *) makeVar(1, width + 1, BOOLOID, -1, InvalidOid, 0);
	return copy;
}

ViewNode *
braid_take_distinct_arguments(Planner *planner, ViewNode *rows, int nkeys, List **aggregates)
{
	Distinct d = {planner, rows, nkeys};
	List *numbers = NIL;
	List *changed = NIL;
	ListCell *lc;
	ListCell *number;

	foreach (lc, *aggregates)
	{
		bool split = can_be_split(&d, lfirst(lc));

		if (nkeys >= MAX_KEYS || (!split && strategy_of(&d, lfirst(lc)) == STRATEGY_AFFECTED_KEYS))
			return rows;
		numbers = lappend_int(numbers, split ? source_of(&d, lfirst(lc)) : 0);
	}
	if (d.sources == NIL)
		return rows;
	forboth(lc, *aggregates, number, numbers) changed =
		lappend(changed, over_union(&d, lfirst(lc), lfirst_int(number)));
	*aggregates = changed;
	foreach (lc, d.sources)
		make_group(&d, lfirst(lc));
	return union_node(&d);
}
