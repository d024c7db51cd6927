/*
 * fast_path.c
 *	  What has to be known of the rows of a delta to group them.
 *
 * NOTES
 *	  PostgreSQL plans a statement that selects the keys and the arguments of all
 *	  aggregates.  If its plan is one scan, the conditions and expressions of that
 *	  are evaluated as they stand.
 *
 *	  A filter of an aggregate comes first in SQL: its argument is not evaluated
 *	  for other rows, and so it is here.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "view/accumulator.h"
#include "view/fast_path.h"

/* ---------------------------------------------------------------- what is selected */

int
braid_fast_path_select_more(FastPath *path, const char *text)
{
	if (text == NULL)
		return 0;
	appendStringInfo(&path->select, "%s%s", path->ntargets > 0 ? ", " : "", text);
	return ++path->ntargets;
}

/* "min(i1.c2)"; the argument is a column, as the input computes it. */
static char *
extreme_argument(Accumulator *a)
{
	int column;
	int length = 0;

	if ((sscanf(a->aggregate, "min(i1.c%d)%n", &column, &length) != 1 &&
		 sscanf(a->aggregate, "max(i1.c%d)%n", &column, &length) != 1) ||
		a->aggregate[length] != '\0' || length == 0)
		return NULL;
	return psprintf("i1.c%d", column);
}

static bool
add_accumulator(FastPath *path, Accumulator *a, FastTargets *targets)
{
	char *argument = a->argument;

	if (a->kind == ACCUMULATE_COMBINE || a->kind == ACCUMULATE_OPAQUE ||
		(a->kind == ACCUMULATE_SUM && a->is_numeric))
		return false;
	if (a->kind == ACCUMULATE_EXTREME && (argument = extreme_argument(a)) == NULL)
		return false;
	targets->value = braid_fast_path_select_more(path, argument);
	targets->filter = braid_fast_path_select_more(path, a->filter);
	return true;
}

static int
key_count(ViewNode *node)
{
	return braid_node_is_one_group(node) ? 0 : node->nkeys;
}

/* The weight, the keys, then what accumulators ask for. */
bool
braid_fast_path_select(FastPath *path)
{
	ListCell *lc;

	initStringInfo(&path->select);
	path->targets = palloc0(sizeof(FastTargets) * (list_length(path->node->accumulators) + 1));
	braid_fast_path_select_more(path, "i1.w");
	for (int i = 1; i <= key_count(path->node); i++)
		braid_fast_path_select_more(path, psprintf("i1.c%d", i));
	foreach (lc, path->node->accumulators)
		if (!add_accumulator(path, lfirst(lc), &path->targets[foreach_current_index(lc)]))
			return false;
	return true;
}

/* ---------------------------------------------------------------- the plan */

static bool
is_odd_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varattno <= 0;
	return expression_tree_walker(node, is_odd_column, context);
}

/* Whether there is nothing in the expressions but columns of the rows and functions of these. */
static bool
is_plain(Node *expressions)
{
	return !contain_volatile_functions(expressions) && !is_odd_column(expressions, NULL);
}

Scan *
braid_fast_path_scan(FastPath *path, PlannedStmt *stmt)
{
	Plan *plan = stmt->planTree;

	if (!IsA(plan, NamedTuplestoreScan) || stmt->subplans != NIL || plan->initPlan != NIL ||
		list_length(plan->targetlist) != path->ntargets || !is_plain((Node *) plan->targetlist) ||
		!is_plain((Node *) plan->qual))
		return NULL;
	return (Scan *) plan;
}

Expr *
braid_fast_path_target(FastPath *path, int n)
{
	return ((TargetEntry *) list_nth(path->task.rows.scan->plan.targetlist, n - 1))->expr;
}

/* ---------------------------------------------------------------- keys */

/* Whether values are equal if, and only if, their bits are. */
static bool
is_bitwise(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case CASHOID:
		case PG_LSNOID:
		case UUIDOID:
		case MACADDROID:
		case MACADDR8OID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

/* A column whose values are needed, and not only whether there are any. */
static FastColumn *
value_column(FastPath *path, Expr *expr, FastColumn *filter)
{
	FastColumn *column = braid_fast_column(&path->task.rows, expr, filter);

	column->is_null_only = false;
	return column;
}

FastColumn *
braid_fast_path_column(FastPath *path, int n)
{
	return value_column(path, braid_fast_path_target(path, n), NULL);
}

static bool
take_keys(FastPath *path)
{
	FastGroups *groups = &path->task.groups;

	groups->nkeys = key_count(path->node);
	groups->keys = palloc0(sizeof(FastKey) * (groups->nkeys + 1));
	for (int i = 0; i < groups->nkeys; i++)
	{
		groups->keys[i].column = braid_fast_path_column(path, i + 2);
		if (!is_bitwise(groups->keys[i].column->type))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- steps */

static FastStep *
add_step(FastPath *path, FastStepKind kind, FastColumn *value)
{
	FastStep *step = &path->task.steps[path->task.nsteps++];

	*step = (FastStep){.kind = kind, .value = value, .word = path->nwords};
	path->nwords += braid_fast_step_words(kind);
	return step;
}

/* Whether an expression calls one of exact.c's functions. */
static bool
calls(Expr *expr, const char *name)
{
	Oid function = IsA(expr, FuncExpr) ? ((FuncExpr *) expr)->funcid : InvalidOid;

	return OidIsValid(function) &&
		   get_func_namespace(function) == get_namespace_oid("braid_internal", true) &&
		   strcmp(get_func_name(function), name) == 0;
}

static bool
add_sum(FastPath *path, Accumulator *a, Expr *expr, FastColumn *filter)
{
	List *args = IsA(expr, FuncExpr) ? ((FuncExpr *) expr)->args : NIL;
	Oid type = getBaseType(exprType((Node *) expr));

	if (calls(expr, "exact"))
		add_step(path, FAST_EXACT, value_column(path, linitial(args), filter));
	else if (calls(expr, "exact_product"))
		add_step(path, FAST_PRODUCT, value_column(path, linitial(args), filter))->second =
			value_column(path, lsecond(args), filter);
	else if ((type == INT2OID || type == INT4OID) && a->column.type == INT8OID)
		add_step(path, FAST_SUM, value_column(path, expr, filter));
	else if (type == INT8OID && a->column.type == NUMERICOID)
		add_step(path, FAST_WIDE_SUM, value_column(path, expr, filter));
	else
		return false;
	return true;
}

static bool
add_extreme(FastPath *path, Accumulator *a, Expr *expr, FastColumn *filter)
{
	FastColumn *column = value_column(path, expr, filter);

	add_step(path, a->aggregate[1] == 'a' ? FAST_MAX : FAST_MIN, column);
	return braid_fast_has_extremes(column->type) && getBaseType(a->column.type) == column->type;
}

static bool
take_accumulator(FastPath *path, Accumulator *a, FastTargets *targets)
{
	FastColumn *filter =
		targets->filter ? value_column(path, braid_fast_path_target(path, targets->filter), NULL)
						: NULL;
	Expr *expr = targets->value ? braid_fast_path_target(path, targets->value)
								: (Expr *) makeBoolConst(true, false);

	switch (a->kind)
	{
		case ACCUMULATE_COUNT:
			add_step(path, FAST_COUNT, braid_fast_column(&path->task.rows, expr, filter));
			return true;
		case ACCUMULATE_SUM:
			return add_sum(path, a, expr, filter);
		case ACCUMULATE_XOR:
			add_step(path, FAST_XOR, value_column(path, expr, filter));
			return true;
		case ACCUMULATE_EXTREME:
			return add_extreme(path, a, expr, filter);
		default:
			return false;
	}
}

/* Steps in the order of the columns that they make. */
static bool
take_steps(FastPath *path, bool retracts)
{
	ListCell *lc;

	path->task.steps = palloc0(sizeof(FastStep) * (list_length(path->node->accumulators) + 2));
	if (retracts)
		path->task.weight = braid_fast_path_column(path, 1);
	add_step(path, FAST_ROW_COUNT, NULL);
	foreach (lc, path->node->accumulators)
		if (!take_accumulator(path, lfirst(lc), &path->targets[foreach_current_index(lc)]))
			return false;
	if (path->node->kind == NODE_GROUP && path->node->time)
		add_step(path, FAST_RAW_COUNT, NULL);
	return true;
}

bool
braid_fast_path_take(FastPath *path, Scan *scan, bool retracts)
{
	path->task.rows.scan = scan;
	return take_keys(path) && take_steps(path, retracts);
}

void
braid_fast_path_open_groups(FastPath *path, Size limit)
{
	FastTask *task = &path->task;

	braid_fast_groups_open(&task->groups, path->nwords, limit);
	for (int i = 0; i < task->nsteps; i++)
	{
		task->steps[i].word += task->groups.nkey_words;
		task->steps[i].rows_word = task->groups.nkey_words; /* the first step counts them */
	}
}
