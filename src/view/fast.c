/*
 * fast.c
 *	  What a delta does to groups, without SQL for each row.
 *
 * NOTES
 *	  The first statement of a group's following (group.c) reads the delta of its
 *	  input and groups it.  If the input is no more than a condition and a projection
 *	  over rows that have a name, keys have a fixed length and are equal if their bits
 *	  are, and all accumulators are of a few kinds, the same relation is made here.
 *
 *	  PostgreSQL plans a statement that selects the keys and the arguments of all
 *	  aggregates.  If its plan is one scan, the conditions and expressions of that
 *	  are evaluated as they stand (fast_rows.c), groups are found by a hash table
 *	  (fast_groups.c), and short loops go through columns (fast_step.c).  Anything
 *	  else, and more groups than there is memory for, is left to SQL.
 *
 *	  A filter of an aggregate comes first in SQL: its argument is not evaluated
 *	  for other rows, and so it is here.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "view/accumulator.h"
#include "view/fast.h"
#include "view/fast_team.h"
#include "view/fast_group.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/watermark.h"

/* What is known of a node. */
typedef struct FastNode
{
	TupleDesc desc[2]; /* of the statement, for a delta that retracts nothing, and for any */
	bool is_unfit;	   /* its keys, expressions or accumulators are */
} FastNode;

/* What an accumulator asks of the rows: numbers of targets, 0 for none. */
typedef struct Targets
{
	int value;
	int filter;
} Targets;

/* One delta of one node. */
typedef struct FastPath
{
	ViewNode *node;
	StringInfoData select; /* what is selected */
	int ntargets;
	Targets *targets; /* of each accumulator */
	List *tlist;	  /* of the plan */
	FastTask task;
	int nwords; /* of a group, behind its keys */
} FastPath;

static bool is_enabled = true;

/* ---------------------------------------------------------------- which nodes */

/* The delta is rows that have a name, or a condition and a projection over such. */
static bool
is_scan(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_TABLE:
		case NODE_VIEW:
			return true;
		case NODE_BLOCK:
			return !node->inlined ||
				   (list_length(node->inputs) == 1 && is_scan(linitial(node->inputs)));
		default:
			return false;
	}
}

static bool
is_fit(ViewNode *node)
{
	EventTime *t = node->time;

	if (!is_enabled || node->strategy == STRATEGY_AFFECTED_KEYS || !is_scan(braid_node_input(node)))
		return false;
	return t == NULL || (!t->merges && t->counts == NULL &&
						 !(t->is_policy && braid_options_keeps_deleted(t->options)));
}

/* ---------------------------------------------------------------- what is selected */

static int
add_target(FastPath *path, const char *text)
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
add_accumulator(FastPath *path, Accumulator *a, Targets *targets)
{
	char *argument = a->argument;

	if (a->kind == ACCUMULATE_COMBINE || a->kind == ACCUMULATE_OPAQUE ||
		(a->kind == ACCUMULATE_SUM && a->is_numeric))
		return false;
	if (a->kind == ACCUMULATE_EXTREME && (argument = extreme_argument(a)) == NULL)
		return false;
	targets->value = add_target(path, argument);
	targets->filter = add_target(path, a->filter);
	return true;
}

static int
key_count(ViewNode *node)
{
	return braid_node_is_one_group(node) ? 0 : node->nkeys;
}

/* The weight, the keys, then what accumulators ask for. */
static bool
select_targets(FastPath *path)
{
	ListCell *lc;

	initStringInfo(&path->select);
	path->targets = palloc0(sizeof(Targets) * (list_length(path->node->accumulators) + 1));
	add_target(path, "i1.w");
	for (int i = 1; i <= key_count(path->node); i++)
		add_target(path, psprintf("i1.c%d", i));
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

static bool
take_plan(FastPath *path, PlannedStmt *stmt)
{
	Plan *plan = stmt->planTree;

	if (!IsA(plan, NamedTuplestoreScan) || stmt->subplans != NIL || plan->initPlan != NIL ||
		list_length(plan->targetlist) != path->ntargets)
		return false;
	path->task.rows.scan = (Scan *) plan;
	path->tlist = plan->targetlist;
	return is_plain((Node *) plan->targetlist) && is_plain((Node *) plan->qual);
}

static Expr *
nth_target(FastPath *path, int n)
{
	return ((TargetEntry *) list_nth(path->tlist, n - 1))->expr;
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

static bool
take_keys(FastPath *path)
{
	FastGroups *groups = &path->task.groups;

	groups->nkeys = key_count(path->node);
	groups->keys = palloc0(sizeof(FastKey) * (groups->nkeys + 1));
	for (int i = 0; i < groups->nkeys; i++)
	{
		groups->keys[i].column = value_column(path, nth_target(path, i + 2), NULL);
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
take_accumulator(FastPath *path, Accumulator *a, Targets *targets)
{
	FastColumn *filter =
		targets->filter ? value_column(path, nth_target(path, targets->filter), NULL) : NULL;
	Expr *expr =
		targets->value ? nth_target(path, targets->value) : (Expr *) makeBoolConst(true, false);

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
		path->task.weight = value_column(path, nth_target(path, 1), NULL);
	add_step(path, FAST_ROW_COUNT, NULL);
	foreach (lc, path->node->accumulators)
		if (!take_accumulator(path, lfirst(lc), &path->targets[foreach_current_index(lc)]))
			return false;
	if (path->node->time)
		add_step(path, FAST_RAW_COUNT, NULL);
	return true;
}

/* ---------------------------------------------------------------- running */

bool
braid_fast_task_run(FastTask *task)
{
	while (braid_fast_rows_next(&task->rows))
	{
		CHECK_FOR_INTERRUPTS();
		if (!braid_fast_groups_find(&task->groups, &task->rows))
			return false;
		for (int i = 0; i < task->nsteps; i++)
			braid_fast_step(&task->steps[i], &task->groups, task->weight, task->rows.nrows);
	}
	return true;
}

static bool
group_rows(FastPath *path)
{
	FastTask *task = &path->task;
	int64 nrows = braid_run_delta_rows(braid_node_input(path->node));
	bool done = braid_fast_team_is_wanted(task, nrows) ? braid_fast_team_run(task)
													   : braid_fast_task_run(task);

	path->node->path = task->nhelpers > 0 ? PATH_TEAM : PATH_COLUMNS;
	return done;
}

static void
put_group(FastPath *path, uint32 group, Tuplestorestate *rows, TupleDesc desc)
{
	Datum values[MaxTupleAttributeNumber];
	bool nulls[MaxTupleAttributeNumber];
	int n = 0;

	for (; n < path->task.groups.nkeys; n++)
		values[n] = braid_fast_groups_key(&path->task.groups, group, n, &nulls[n]);
	if (n == 0)
	{
		values[n] = BoolGetDatum(true);
		nulls[n++] = false;
	}
	for (int i = 0; i < path->task.nsteps; i++)
		n += braid_fast_step_result(&path->task.steps[i],
									braid_fast_group(&path->task.groups, group), values + n,
									nulls + n);
	Assert(n == desc->natts);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* In the order of the state's index, so that the merge finds its way. */
static void
put_groups(FastPath *path, Tuplestorestate *rows, TupleDesc desc)
{
	EventTime *t = path->node->time;
	uint32 *sorted =
		braid_fast_groups_sort(&path->task.groups, t && t->column > 0 ? t->column - 1 : 0);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid group", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (uint32 i = 0; i < path->task.groups.n; i++)
	{
		put_group(path, sorted[i], rows, desc);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
}

static bool
run(FastPath *path, PlannedStmt *stmt, bool retracts, int kb)
{
	bool done;

	if (!take_plan(path, stmt) || !take_keys(path) || !take_steps(path, retracts))
	{
		path->node->fast->is_unfit = true;
		return false;
	}
	braid_fast_rows_open(&path->task.rows, stmt);
	braid_fast_groups_open(&path->task.groups, path->nwords, (Size) kb * 1024);
	for (int i = 0; i < path->task.nsteps; i++)
	{
		path->task.steps[i].word += path->task.groups.nkey_words;
		path->task.steps[i].rows_word =
			path->task.groups.nkey_words; /* the first step counts them */
	}
	done = group_rows(path);
	braid_fast_rows_close(&path->task.rows);
	return done;
}

static char *
rows_statement(FastPath *path)
{
	return psprintf("SELECT %s FROM %s i1", path->select.data, braid_late_delta(path->node));
}

/* With memory for the groups; puts them into rows. */
static bool
make_groups(FastPath *path, bool retracts, Tuplestorestate *rows, TupleDesc desc)
{
	SPIPlanPtr plan =
		braid_run_plan(rows_statement(path), braid_run_delta_rows(braid_node_input(path->node)));
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	int kb = braid_run_take_memory(PG_INT32_MAX);
	bool done = run(path, linitial(cached->stmt_list), retracts, kb);

	if (done)
		put_groups(path, rows, desc);
	braid_run_return_memory(kb);
	ReleaseCachedPlan(cached, CurrentResourceOwner);
	return done;
}

/* What is known of the node; it lives as long. */
static FastNode *
known_of(ViewNode *node)
{
	if (node->fast == NULL)
		node->fast = MemoryContextAllocZero(GetMemoryChunkContext(node), sizeof(FastNode));
	return node->fast;
}

/* What the statement returns, which does not change. */
static TupleDesc
describe(ViewNode *node, FastStatement statement, bool retracts)
{
	TupleDesc *known = &known_of(node)->desc[retracts];

	if (*known == NULL)
	{
		TupleDesc desc = braid_run_describe(statement(node, retracts), 0);
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(node));

		*known = CreateTupleDescCopy(desc);
		MemoryContextSwitchTo(old);
	}
	return CreateTupleDescCopy(*known);
}

int64
braid_fast_follow(ViewNode *node, const char *name, FastStatement statement, bool retracts)
{
	FastPath path = {.node = node};
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;
	Tuplestorestate *rows;
	TupleDesc desc;
	bool done;

	node->path = PATH_SQL;
	if (!is_fit(node) || known_of(node)->is_unfit)
		return -1;
	desc = describe(node, statement, retracts);
	context = AllocSetContextCreate(old, "braid groups of a delta", ALLOCSET_DEFAULT_SIZES);
	rows = braid_run_begin_rows();
	MemoryContextSwitchTo(context);
	done = select_targets(&path) && make_groups(&path, retracts, rows, desc);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!done)
	{
		node->path = PATH_SQL;
		tuplestore_end(rows);
		return -1;
	}
	return braid_run_own(name, rows, desc);
}

bool
braid_fast_is_enabled(void)
{
	return is_enabled;
}

void
braid_fast_init(void)
{
	DefineCustomBoolVariable(
		"braid.view_fast_path",
		"Lets groups of a delta be made and merged without SQL where that is possible.",
		"The results are the same: for developers.", &is_enabled, true, PGC_SUSET,
		GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	braid_fast_team_init();
}
