/*
 * windows.c
 *	  Taking a query apart: what is computed for each key from all of its rows.
 *
 * NOTES
 *	  Window functions, DISTINCT ON, and LIMIT in a subquery that is evaluated for
 *	  each row of another.  All become a PARTITION over a BLOCK that has the keys
 *	  first and then what the SELECT needs.  Its columns are the whole target list,
 *	  with what only ORDER BY needs.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "view/refusal.h"
#include "view/session_window.h"
#include "view/take.h"

/* A draft over one input: keys first, then the things given. */
static Draft *
over_keys(Draft *draft, List *keys, List *originals)
{
	Draft *over = braid_draft_new(draft->planner);
	List *mapped = NIL;
	ListCell *lc;
	int index;
	int n = list_length(keys);

	foreach (lc, keys)
	{
		braid_take_check_key(draft->planner, lfirst(lc));
		mapped = lappend(mapped, braid_draft_map(draft, lfirst(lc)));
	}
	foreach (lc, originals)
		mapped = lappend(mapped, braid_draft_map(draft, lfirst(lc)));
	index = braid_draft_add_node(over, braid_draft_close(draft, mapped));
	foreach (lc, originals)
		braid_draft_provide(over, lfirst(lc), (Node *) braid_draft_column(over, index, ++n));
	return over;
}

/* "k1", ... of the keys, then "c1", ... of the target list. */
static List *
partition_targets(Draft *over, int nkeys, List *targets)
{
	List *result = NIL;
	ListCell *lc;
	int n = 0;

	for (int i = 1; i <= nkeys; i++)
		result = lappend(result, makeTargetEntry((Expr *) braid_draft_column(over, 1, i), i,
												 psprintf("k%d", i), false));
	foreach (lc, targets)
	{
		TargetEntry *tle = copyObject(lfirst(lc));

		n++;
		tle->expr = (Expr *) braid_draft_map(over, (Node *) tle->expr);
		tle->resno = nkeys + n;
		tle->resname = psprintf("c%d", n);
		tle->resjunk = false;
		result = lappend(result, tle);
	}
	return result;
}

static List *
expressions_of(List *targets)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, targets)
		result = list_append_unique(result, ((TargetEntry *) lfirst(lc))->expr);
	return result;
}

/* The node, as a draft that provides the expressions of the target list. */
static Draft *
partition(Draft *over, int nkeys, List *targets, char *select)
{
	Planner *p = over->planner;
	ViewNode *node =
		braid_draft_node(p, NODE_PARTITION, list_copy(over->nodes), list_length(targets));
	Draft *draft = braid_draft_new(p);
	int index;
	ListCell *lc;
	int n = 0;

	foreach (lc, targets)
		braid_draft_set_column(node, ++n, (Node *) ((TargetEntry *) lfirst(lc))->expr);
	node->nkeys = nkeys;
	node->select = select + strspn(select, " ");
	braid_draft_give_state(p, node);
	index = braid_draft_add_node(draft, node);
	n = 0;
	foreach (lc, targets)
		braid_draft_provide(draft, (Node *) ((TargetEntry *) lfirst(lc))->expr,
							(Node *) braid_draft_column(draft, index, ++n));
	return draft;
}

/* ---------------------------------------------------------------- window functions */

/* PARTITION BY expressions that all windows have. */
static List *
common_keys(Query *query)
{
	List *keys = NIL;
	ListCell *lc;
	ListCell *clause;

	foreach (lc, query->windowClause)
	{
		WindowClause *w = lfirst(lc);
		List *own = NIL;

		foreach (clause, w->partitionClause)
			own = list_append_unique(own,
									 get_sortgroupclause_expr(lfirst(clause), query->targetList));
		keys = lc == list_head(query->windowClause) ? own : list_intersection(keys, own);
	}
	return keys;
}

Draft *
braid_take_windows(Draft *draft, Query *query)
{
	List *keys = common_keys(query);
	Query *like = makeNode(Query);
	List *originals = NIL;
	Draft *over;
	ListCell *lc;

	if (draft->planner->pstate)
		braid_session_window_refuse(draft->planner->pstate, query);
	if (keys == NIL && braid_session_window_is(query))
		keys = list_make1(makeBoolConst(true, false));
	if (keys == NIL)
		braid_refuse(draft->planner->pstate, braid_refusal_location_of(query, T_WindowFunc),
					 "window functions without a PARTITION BY that all of them share");
	if (query->hasTargetSRFs)
		braid_refuse(draft->planner->pstate, exprLocation((Node *) query->targetList),
					 "set-returning functions beside window functions");
	foreach (lc, draft->entries)
		originals = lappend(originals, ((DraftEntry *) lfirst(lc))->original);
	over = over_keys(draft, keys, originals);
	like->windowClause = copyObject(query->windowClause);
	foreach (lc, like->windowClause)
	{
		WindowClause *w = lfirst(lc);

		w->startOffset = braid_draft_map(over, w->startOffset);
		w->endOffset = braid_draft_map(over, w->endOffset);
	}
	draft =
		partition(over, list_length(keys), query->targetList,
				  braid_draft_text(
					  over, partition_targets(over, list_length(keys), query->targetList), like));
	braid_session_window_note(linitial(draft->nodes), over, query, keys);
	return draft;
}

/* ---------------------------------------------------------------- DISTINCT ON */

Draft *
braid_take_distinct_on(Draft *draft, Query *query)
{
	Query *like = makeNode(Query);
	List *keys = NIL;
	Draft *over;
	ListCell *lc;

	foreach (lc, query->distinctClause)
		keys = list_append_unique(keys, get_sortgroupclause_expr(lfirst(lc), query->targetList));
	over = over_keys(draft, keys, expressions_of(query->targetList));
	like->distinctClause = query->distinctClause;
	like->hasDistinctOn = true;
	like->sortClause = query->sortClause;
	return partition(over, list_length(keys), query->targetList,
					 braid_draft_text(over,
									  partition_targets(over, list_length(keys), query->targetList),
									  like));
}

/* ---------------------------------------------------------------- LIMIT for each key */

static int64
constant_of(Planner *p, Node *limit, int64 otherwise)
{
	Const *c = (Const *) eval_const_expressions(NULL, limit);

	if (c == NULL || (IsA(c, Const) && c->constisnull))
		return otherwise;
	if (!IsA(c, Const))
		braid_refuse(p->pstate, exprLocation(limit), "LIMIT and OFFSET that are not constants");
	return DatumGetInt64(c->constvalue);
}

/* " ORDER BY ..." of the query, over the draft's only input. */
static char *
order_text(Draft *over, Query *query, int nkeys)
{
	Query *like = makeNode(Query);
	List *targets = partition_targets(over, nkeys, query->targetList);
	char *text;

	if (query->sortClause == NIL)
		return "";
	like->sortClause = query->sortClause;
	text = braid_draft_text(over, targets, like);
	return strstr(text, " ORDER BY ");
}

Draft *
braid_take_limit(Draft *draft, Query *query, List *limit_keys)
{
	Planner *p = draft->planner;
	List *keys = NIL;
	int nkeys = list_length(limit_keys);
	StringInfoData s;
	StringInfoData by;
	Draft *over;
	ListCell *lc;
	int n = 0;
	int64 offset = constant_of(p, query->limitOffset, 0);
	int64 limit = constant_of(p, query->limitCount, PG_INT64_MAX - offset);

	foreach (lc, limit_keys)
	{
		TargetEntry *tle = list_nth(query->targetList, lfirst_int(lc) - 1);

		keys = lappend(keys, tle->expr);
	}
	over = over_keys(draft, keys, expressions_of(query->targetList));
	initStringInfo(&s);
	initStringInfo(&by);
	appendStringInfoString(&s, "SELECT ");
	for (int i = 1; i <= nkeys; i++)
	{
		appendStringInfo(&s, "%si1.c%d AS k%d", i > 1 ? ", " : "", i, i);
		appendStringInfo(&by, "%si1.c%d", i > 1 ? ", " : "", i);
	}
	foreach (lc, query->targetList)
	{
		Var *var = (Var *) braid_draft_map(over, (Node *) ((TargetEntry *) lfirst(lc))->expr);

		appendStringInfo(&s, ", i1.c%d AS c%d", var->varattno, ++n);
	}
	appendStringInfo(&s,
					 " FROM (SELECT i1.*, %s() OVER (PARTITION BY %s%s) AS r FROM %s i1) i1 "
					 "WHERE i1.r > " INT64_FORMAT " AND i1.r <= " INT64_FORMAT,
					 query->limitOption == LIMIT_OPTION_WITH_TIES ? "rank" : "row_number", by.data,
					 order_text(over, query, nkeys), braid_node_token(1), offset, offset + limit);
	return partition(over, nkeys, query->targetList, s.data);
}
