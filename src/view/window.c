/*
 * window.c
 *	  Columns that are windows of event time.
 *
 * NOTES
 *	  A function f of event time that never goes down as time goes up gives
 *	  windows: rows that come at time t or later have an f of f(t) or more, so the
 *	  windows with less are closed when the watermark is t.  That holds for
 *	  braid.tumble(), date_trunc(), date_bin() and a cast to date, for the ends of
 *	  such windows, and for one of them applied to another.
 *
 *	  A row is in several windows of braid.hop() and braid.cumulate().  These are
 *	  closed when their end is reached, so it is the end that has to be known.
 *
 *	  A column that is passed on stays what it is.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "view/window.h"

#define NO_ARGUMENT (-1)

static bool
is_ours(Oid function, const char *name)
{
	char *is = get_func_name(function);

	return is && strcmp(is, name) == 0 &&
		   get_func_namespace(function) == get_namespace_oid("braid", true);
}

/*
 * Which argument of the function it never goes down with, if the others are
 * constant; and whether it makes windows, rather than just another type.
 */
static int
monotonic_argument(Oid function, bool *makes_windows)
{
	*makes_windows = true;
	switch (function)
	{
		case F_DATE_TRUNC_TEXT_TIMESTAMP:
		case F_DATE_TRUNC_TEXT_TIMESTAMPTZ:
		case F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT:
		case F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP:
		case F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ:
			return 1;
		case F_DATE_TIMESTAMP:
		case F_DATE_TIMESTAMPTZ:
			return 0;
		case F_TIMESTAMP_DATE:
		case F_TIMESTAMPTZ_DATE:
		case F_INT8_INT4:
			*makes_windows = false;
			return 0;
		default:
			return is_ours(function, "tumble") || is_ours(function, "tumble_end") ? 0 : NO_ARGUMENT;
	}
}

static bool
others_are_constant(List *arguments, int but)
{
	ListCell *lc;

	foreach (lc, arguments)
		if (foreach_current_index(lc) != but && contain_var_clause(lfirst(lc)))
			return false;
	return true;
}

/* A copy with $1 in place of the event time at the bottom, which is returned. */
static Node *
take_time_out(Node **expression, bool *is_window)
{
	Node *node = *expression;
	Node *time = node;
	Param *param;
	bool makes_windows;

	if (IsA(node, RelabelType))
	{
		RelabelType *copy = copyObject((RelabelType *) node);

		time = take_time_out((Node **) &copy->arg, is_window);
		*expression = (Node *) copy;
		return time;
	}
	if (IsA(node, FuncExpr))
	{
		FuncExpr *copy = copyObject((FuncExpr *) node);
		int argument = monotonic_argument(copy->funcid, &makes_windows);

		if (argument != NO_ARGUMENT && others_are_constant(copy->args, argument))
		{
			*is_window |= makes_windows;
			time = take_time_out((Node **) &lfirst(list_nth_cell(copy->args, argument)), is_window);
			*expression = (Node *) copy;
			return time;
		}
	}
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = 1;
	param->paramtype = exprType(node);
	param->paramtypmod = exprTypmod(node);
	param->paramcollid = exprCollation(node);
	param->location = -1;
	*expression = (Node *) param;
	return time;
}

static ColumnWindow *
make_window(Oid type, const char *limit, bool inclusive)
{
	ColumnWindow *w = palloc(sizeof(ColumnWindow));

	*w = (ColumnWindow){type, limit, inclusive};
	return w;
}

char *
braid_window_limit(const ColumnWindow *window, const char *time)
{
	const char *text = window->limit;
	const char *found;
	StringInfoData s;

	initStringInfo(&s);
	while ((found = strstr(text, "$1")) != NULL)
	{
		appendBinaryStringInfo(&s, text, (int) (found - text));
		appendStringInfoString(&s, time);
		text = found + strlen("$1");
	}
	appendStringInfoString(&s, text);
	return s.data;
}

/* ---------------------------------------------------------------- hop, cumulate */

static char *
constant_text(Node *constant)
{
	return deparse_expression(constant, NIL, false, false);
}

/* Windows of braid.hop() begin as much before their end as they are long. */
static char *
limit_of_start(FuncExpr *hop)
{
	Oid type = exprType(linitial(hop->args));
	char *size = constant_text(lsecond(hop->args));
	Node *zone = llast(hop->args);

	if (type == TIMESTAMPTZOID)
	{
		char *name = exprType(zone) == TEXTOID ? constant_text(zone) : "'UTC'";

		return psprintf("((($1 AT TIME ZONE %s) - %s) AT TIME ZONE %s)", name, size, name);
	}
	return psprintf("($1 - %s)::%s", size, format_type_be(type));
}

static const ColumnWindow *
window_of_function(RangeTblEntry *rte, AttrNumber attnum)
{
	RangeTblFunction *item = linitial(rte->functions);
	FuncExpr *call = (FuncExpr *) item->funcexpr;
	Oid type;

	if (list_length(rte->functions) != 1 || !IsA(call, FuncExpr) ||
		!others_are_constant(call->args, 0))
		return NULL;
	type = exprType(linitial(call->args));
	if (attnum == 2 && (is_ours(call->funcid, "hop") || is_ours(call->funcid, "cumulate")))
		return make_window(type, "$1", true);
	if (attnum == 1 && is_ours(call->funcid, "hop"))
		return make_window(type, limit_of_start(call), true);
	return NULL;
}

/* ---------------------------------------------------------------- any column */

static const ColumnWindow *
window_of_column(Draft *draft, Var *var)
{
	RangeTblEntry *rte;
	ViewNode *node;

	if (!IsA(var, Var) || var->varlevelsup > 0 || var->varattno <= 0)
		return NULL;
	rte = rt_fetch(var->varno, draft->rtable);
	node = list_nth(draft->nodes, var->varno - 1);
	if (node)
		return node->columns[var->varattno - 1].window;
	return rte->rtekind == RTE_FUNCTION ? window_of_function(rte, var->varattno) : NULL;
}

const ColumnWindow *
braid_window_find(Draft *draft, Node *expression)
{
	Node *function = expression;
	bool is_window = false;
	Node *time = take_time_out(&function, &is_window);
	const ColumnWindow *below = window_of_column(draft, (Var *) time);
	ColumnWindow *window;

	if (time == expression || (!is_window && below == NULL))
		return below;
	window = make_window(exprType(time), constant_text(function), false);
	if (below == NULL)
		return window;
	return make_window(below->type, braid_window_limit(window, below->limit), false);
}

static bool
is_same(const ColumnWindow *a, const ColumnWindow *b)
{
	return a && b && a->type == b->type && a->inclusive == b->inclusive &&
		   strcmp(a->limit, b->limit) == 0;
}

void
braid_window_unite(ViewNode *node)
{
	ListCell *lc;

	for (int i = 0; i < node->ncolumns; i++)
	{
		const ColumnWindow *window = ((ViewNode *) linitial(node->inputs))->columns[i].window;

		foreach (lc, node->inputs)
			if (!is_same(window, ((ViewNode *) lfirst(lc))->columns[i].window))
				window = NULL;
		node->columns[i].window = window;
	}
}
