/*
 * session_window.c
 *	  Taking a query apart: GROUP BY the sessions of braid.session().
 *
 * NOTES
 *	  Sessions are a window function, grouped by in a query around:
 *
 *		SELECT user_id, started, count(*)
 *		FROM (SELECT user_id, braid.session(at, '10 min') OVER
 *				(PARTITION BY user_id ORDER BY at) AS started FROM clicks) s
 *		GROUP BY user_id, started
 *
 *	  That is a GROUP over a PARTITION, which keeps all rows with their session and
 *	  computes all of a user's sessions when he clicks.  When the groups are the
 *	  sessions and nothing else, one SESSION node over the rows takes the place of
 *	  both (session.c).  The PARTITION is made before it is known who reads it; if
 *	  nobody does in the end, it is dropped.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_func.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/session_window.h"
#include "view/take.h"

struct SessionWindow
{
	ViewNode *partition; /* or a projection of it */
	Draft *rows;		 /* keys first */
	List *keys;			 /* expressions of the window's query, as are the following */
	Node *time;			 /* of the event */
	List *columns;		 /* of the partition */
	Const *gap;
	bool has_keys; /* if not, there is one that is constant */
	int location;
};

/* ---------------------------------------------------------------- the window */

static bool
is_function(WindowFunc *f, const char *name)
{
	return get_func_namespace(f->winfnoid) == get_namespace_oid("braid", false) &&
		   strcmp(get_func_name(f->winfnoid), name) == 0;
}

static bool
is_start(Node *node)
{
	return IsA(node, WindowFunc) && is_function((WindowFunc *) node, "session");
}

static bool
is_end(Node *node)
{
	return IsA(node, WindowFunc) && is_function((WindowFunc *) node, "session_end");
}

/* The gap if it is a constant; else NULL. */
static Const *
gap_of(WindowFunc *f)
{
	Const *gap = (Const *) eval_const_expressions(NULL, lsecond(f->args));

	return IsA(gap, Const) && !gap->constisnull ? gap : NULL;
}

/* Whether all window functions tell one and the same kind of session. */
static bool
is_other_window(Node *node, SessionWindow *w)
{
	WindowFunc *f = (WindowFunc *) node;
	Const *gap;

	if (node == NULL)
		return false;
	if (!IsA(node, WindowFunc))
		return expression_tree_walker(node, is_other_window, w);
	if ((!is_start(node) && !is_end(node)) || list_length(f->args) != 2)
		return true;
	gap = gap_of(f);
	if (gap == NULL || (w->gap && !(equal(gap, w->gap) && equal(linitial(f->args), w->time))))
		return true;
	w->gap = gap;
	w->time = linitial(f->args);
	return false;
}

/* The rows are in the order of the event times. */
static bool
is_ordered(SessionWindow *w, Query *query)
{
	WindowClause *clause = linitial(query->windowClause);
	SortGroupClause *order;

	if (clause->orderClause == NIL)
		return false;
	order = linitial(clause->orderClause);
	return equal(get_sortgroupclause_expr(order, query->targetList), w->time) &&
		   order->sortop == lookup_type_cache(exprType(w->time), TYPECACHE_LT_OPR)->lt_opr;
}

/* ---------------------------------------------------------------- what cannot be */

/* Those who keep sessions ask for their reach: it has an error for every gap that is none. */
static void
try_gap(Oid time, Const *gap)
{
	Oid types[2] = {time, gap->consttype};
	List *name = list_make2(makeString("braid_internal"), makeString("session_reach"));
	Oid function = LookupFuncName(name, lengthof(types), types, true);

	if (OidIsValid(function))
		(void) OidFunctionCall2(function, (Datum) 0, gap->constvalue);
}

static void
refuse_descending(ParseState *pstate, Query *query, WindowFunc *f)
{
	WindowClause *clause = list_nth(query->windowClause, f->winref - 1);
	Node *time = linitial(f->args);
	SortGroupClause *order;

	if (clause->orderClause == NIL)
		return;
	order = linitial(clause->orderClause);
	if (!equal(get_sortgroupclause_expr(order, query->targetList), time) ||
		order->sortop != lookup_type_cache(exprType(time), TYPECACHE_GT_OPR)->gt_opr)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WINDOWING_ERROR),
			 errmsg("sessions need rows in the order of their event time"),
			 errdetail("The window is ordered by it from late to early."),
			 errhint("Order the window by the event time: OVER (PARTITION BY ... ORDER BY ts)."),
			 parser_errposition(pstate, exprLocation((Node *) f))));
}

typedef struct RefusalSearch
{
	ParseState *pstate;
	Query *query;
} RefusalSearch;

static bool
refuse_sessions(Node *node, RefusalSearch *s)
{
	WindowFunc *f = (WindowFunc *) node;
	Const *gap;

	if (node == NULL)
		return false;
	if (!IsA(node, WindowFunc) || (!is_start(node) && !is_end(node)) || list_length(f->args) != 2)
		return expression_tree_walker(node, refuse_sessions, s);
	gap = gap_of(f);
	if (gap)
		try_gap(exprType(linitial(f->args)), gap);
	refuse_descending(s->pstate, s->query, f);
	return false;
}

void
braid_session_window_refuse(ParseState *pstate, Query *query)
{
	RefusalSearch s = {pstate, query};

	(void) refuse_sessions((Node *) query->targetList, &s);
}

/* ---------------------------------------------------------------- the sessions of a query */

/* What the windows of a query tell, if it is sessions and nothing else; or NULL. */
static SessionWindow *
read_window(Query *query)
{
	SessionWindow *w = palloc0(sizeof(SessionWindow));

	w->columns = get_tlist_exprs(query->targetList, true);
	if (list_length(query->windowClause) != 1 || is_other_window((Node *) w->columns, w) ||
		w->gap == NULL || !is_ordered(w, query))
		return NULL;
	w->has_keys = linitial_node(WindowClause, query->windowClause)->partitionClause != NIL;
	return w;
}

bool
braid_session_window_is(Query *query)
{
	return read_window(query) != NULL;
}

void
braid_session_window_note(ViewNode *partition, Draft *rows, Query *query, List *keys)
{
	SessionWindow *w = read_window(query);

	if (w == NULL)
		return;
	w->partition = partition;
	w->rows = rows;
	w->keys = keys;
	w->location = braid_refusal_location_of(query, T_WindowFunc);
	rows->planner->sessions = lappend(rows->planner->sessions, w);
}

void
braid_session_window_check(Planner *planner)
{
	ListCell *lc;

	foreach (lc, planner->sessions)
	{
		SessionWindow *w = lfirst(lc);

		if (!w->has_keys && list_member_ptr(planner->plan->nodes, w->partition))
			braid_refuse(planner->pstate, w->location,
						 "sessions without a PARTITION BY, unless they are only grouped");
	}
}

/* ---------------------------------------------------------------- the groups */

static SessionWindow *
window_of(Draft *draft)
{
	ListCell *lc;

	if (list_length(draft->rtable) != 1 || draft->quals || draft->pending)
		return NULL;
	foreach (lc, draft->planner->sessions)
	{
		SessionWindow *w = lfirst(lc);

		if (w->partition == linitial(draft->nodes))
			return w;
	}
	return NULL;
}

/* The expression of the window's query that a column of the partition is. */
static Node *
column_of(SessionWindow *w, Var *var)
{
	Assert(var->varno == 1 && var->varlevelsup == 0);
	return list_nth(w->columns, var->varattno - 1);
}

static Node *
over_window(Node *node, SessionWindow *w)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return copyObject(column_of(w, (Var *) node));
	return expression_tree_mutator(node, over_window, w);
}

void
braid_session_window_pass_on(Draft *draft, List *targets, ViewNode *node)
{
	SessionWindow *w = window_of(draft);
	SessionWindow *passed;

	if (w == NULL || node == w->partition || checkExprHasSubLink((Node *) targets))
		return;
	passed = palloc(sizeof(SessionWindow));
	*passed = *w;
	passed->partition = node;
	passed->columns = (List *) over_window((Node *) targets, w);
	draft->planner->sessions = lappend(draft->planner->sessions, passed);
}

/* Whether groups by these expressions are sessions: all keys, the start or the end, no more. */
static bool
are_sessions(SessionWindow *w, List *keys)
{
	List *found = NIL;
	bool has_session = false;
	ListCell *lc;

	foreach (lc, keys)
	{
		if (list_member(w->keys, lfirst(lc)))
			found = list_append_unique(found, lfirst(lc));
		else if (is_start(lfirst(lc)) || is_end(lfirst(lc)))
			has_session = true;
		else
			return false;
	}
	return has_session && list_length(found) == (w->has_keys ? list_length(w->keys) : 0);
}

/* The keys, as expressions of the window's query; NIL if one is none of its columns. */
static List *
keys_of(SessionWindow *w, Draft *draft, List *keys)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, keys)
	{
		Var *var = (Var *) braid_draft_map(draft, lfirst(lc));

		if (!IsA(var, Var))
			return NIL;
		result = lappend(result, column_of(w, var));
	}
	return result;
}

/* Whether an expression over the partition needs to know the session of its row. */
static bool
needs_session(Node *node, SessionWindow *w)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query) || IsA(node, SubLink))
		return true;
	if (IsA(node, Var))
		return contain_window_function(column_of(w, (Var *) node));
	return expression_tree_walker(node, needs_session, w);
}

/* The same of an aggregate of the draft's query. */
static bool
aggregate_needs_session(SessionWindow *w, Draft *draft, Aggref *aggregate)
{
	List *parts = list_copy(aggregate->aggdirectargs);
	ListCell *lc;

	/* These would have to be found among the keys. */
	if (contain_var_clause((Node *) parts))
		return true;
	foreach (lc, aggregate->args)
		parts = lappend(parts, ((TargetEntry *) lfirst(lc))->expr);
	parts = lappend(parts, aggregate->aggfilter);
	foreach (lc, parts)
		if (needs_session(braid_draft_map(draft, lfirst(lc)), w))
			return true;
	return false;
}

/* An expression over the partition as one over the rows. */
static Node *
over_rows(Node *node, SessionWindow *w)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return braid_draft_map(w->rows, column_of(w, (Var *) node));
	return expression_tree_mutator(node, over_rows, w);
}

/* A draft over the rows, which provides all that the one over the partition does, where it can. */
static Draft *
rows_for(SessionWindow *w, Draft *draft)
{
	Draft *rows = palloc(sizeof(Draft));
	ListCell *lc;

	*rows = *w->rows;
	rows->entries = NIL;
	foreach (lc, draft->entries)
	{
		DraftEntry *e = lfirst(lc);

		if (!needs_session(e->mapped, w))
			braid_draft_provide(rows, e->original, over_rows(e->mapped, w));
	}
	return rows;
}

SessionGroups *
braid_session_groups_find(Draft *draft, List *keys, List *aggregates)
{
	SessionWindow *w = window_of(draft);
	SessionGroups *groups;
	ListCell *lc;

	if (w == NULL)
		return NULL;
	groups = palloc0(sizeof(SessionGroups));
	groups->window = w;
	groups->keys = keys_of(w, draft, keys);
	if (!are_sessions(w, groups->keys))
		return NULL;
	foreach (lc, aggregates)
		if (aggregate_needs_session(w, draft, lfirst(lc)))
			return NULL;
	groups->rows = rows_for(w, draft);
	return groups;
}

/* ---------------------------------------------------------------- the node */

List *
braid_session_groups_columns(SessionGroups *groups)
{
	SessionWindow *w = groups->window;
	List *columns = NIL;

	for (int i = 1; i <= list_length(w->keys); i++)
		columns = lappend(columns, braid_draft_column(groups->rows, 1, i));
	return lappend(columns, braid_draft_map(w->rows, w->time));
}

ViewNode *
braid_session_groups_node(SessionGroups *groups, ViewNode *input)
{
	SessionWindow *w = groups->window;
	ViewNode *node = braid_draft_node(w->rows->planner, NODE_SESSION, list_make1(input), 0);

	node->nkeys = list_length(w->keys);
	if (!w->has_keys)
		input->columns[0].name = ""; /* the constant is not for users */
	node->gap = deparse_expression((Node *) w->gap, NIL, false, false);
	node->strategy = STRATEGY_COMBINE;
	braid_draft_give_state(w->rows->planner, node);
	return node;
}

/* The place of a key among those of the window, from 1. */
static int
place_of(SessionWindow *w, Node *key)
{
	ListCell *lc;

	foreach (lc, w->keys)
		if (equal(lfirst(lc), key))
			return foreach_current_index(lc) + 1;
	pg_unreachable();
}

int
braid_session_groups_add(SessionGroups *groups, ViewNode *node, int key)
{
	Node *expression = list_nth(groups->keys, key - 1);

	if (is_start(expression))
		return braid_session_add_start(node);
	if (is_end(expression))
		return braid_session_add_end(node);
	return braid_aggregate_add_key(node, place_of(groups->window, expression));
}
