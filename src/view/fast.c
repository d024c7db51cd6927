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
 *	  What is needed of the rows is said by a plan of PostgreSQL's (fast_path.c), and read
 *	  or computed for some rows at a time (fast_rows.c).  Groups are found by a hash table
 *	  (fast_groups.c), and short loops go through columns (fast_step.c).  Anything
 *	  else, and more groups than there is memory for, is left to SQL.  Several views
 *	  of one stream do it together (fast_share.c), or several processes (fast_team.c).
 *
 *	  Sessions of the delta are made of the same columns (fast_session.c).
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "view/accumulator.h"
#include "view/fast.h"
#include "view/fast_path.h"
#include "view/fast_session.h"
#include "view/fast_share.h"
#include "view/fast_team.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/watermark.h"

/* What is known of a node. */
typedef struct FastNode
{
	TupleDesc desc[2]; /* of the statement, for a delta that retracts nothing, and for any */
	bool is_unfit;	   /* its keys, expressions or accumulators are */
} FastNode;

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
	return t == NULL || node->kind == NODE_SESSION ||
		   (!t->merges && t->counts == NULL &&
			!(t->is_policy && braid_options_keeps_deleted(t->options)));
}

/* ---------------------------------------------------------------- running */

bool
braid_fast_task_take(FastTask *task)
{
	if (!braid_fast_groups_find(&task->groups, &task->rows))
		return false;
	for (int i = 0; i < task->nsteps; i++)
		braid_fast_step(&task->steps[i], &task->groups, task->weight, task->rows.nrows);
	return true;
}

bool
braid_fast_task_run(FastTask *task)
{
	while (braid_fast_rows_next(&task->rows))
	{
		CHECK_FOR_INTERRUPTS();
		if (!braid_fast_task_take(task))
			return false;
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
make_alone(FastPath *path, Scan *scan, PlannedStmt *stmt, bool retracts)
{
	int kb;
	bool done;

	if (!braid_fast_path_take(path, scan, retracts))
	{
		path->node->fast->is_unfit = true;
		return false;
	}
	kb = braid_run_take_memory(PG_INT32_MAX);
	braid_fast_rows_open(&path->task.rows, stmt);
	braid_fast_path_open_groups(path, (Size) kb * 1024);
	done = group_rows(path);
	braid_fast_rows_close(&path->task.rows);
	braid_run_return_memory(kb);
	return done;
}

/* Makes the groups of what is scanned, and puts them into rows. */
static bool
make_groups(FastPath *path, Scan *scan, PlannedStmt *stmt, bool retracts, Tuplestorestate *rows,
			TupleDesc desc)
{
	FastPath *shared = retracts ? NULL : braid_fast_share_make(path, scan);

	if (shared == NULL && !make_alone(path, scan, stmt, retracts))
		return false;
	if (shared)
		path->node->path = PATH_COLUMNS;
	put_groups(shared ? shared : path, rows, desc);
	braid_fast_share_end(path->node);
	return true;
}

/* The same of sessions. */
static bool
make_sessions(FastPath *path, Scan *scan, PlannedStmt *stmt, bool retracts, Tuplestorestate *rows,
			  TupleDesc desc)
{
	path->node->path = PATH_COLUMNS;
	if (!braid_fast_path_take(path, scan, retracts))
	{
		path->node->fast->is_unfit = true;
		return false;
	}
	return braid_fast_session_make(path, stmt, rows, desc);
}

/* Of what the plan reads. */
static bool
make_by_plan(FastPath *path, PlannedStmt *stmt, bool retracts, Tuplestorestate *rows,
			 TupleDesc desc)
{
	Scan *scan = braid_fast_path_scan(path, stmt);

	if (path->node->kind == NODE_SESSION)
		return scan && make_sessions(path, scan, stmt, retracts, rows, desc);
	if (scan)
		return make_groups(path, scan, stmt, retracts, rows, desc);
	path->node->fast->is_unfit = true;
	return false;
}

static bool
make(FastPath *path, bool retracts, Tuplestorestate *rows, TupleDesc desc)
{
	char *sql = psprintf("SELECT %s FROM %s i1", path->select.data, path->from);
	SPIPlanPtr plan = braid_run_plan(sql, braid_run_delta_rows(braid_node_input(path->node)));
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	bool done = make_by_plan(path, linitial(cached->stmt_list), retracts, rows, desc);

	ReleaseCachedPlan(cached, CurrentResourceOwner);
	return done;
}

static bool
select_targets(FastPath *path)
{
	if (!braid_fast_path_select(path))
		return false;
	if (path->node->kind == NODE_SESSION)
		braid_fast_session_select(path);
	return true;
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
braid_fast_follow(ViewNode *node, const char *name, const char *from, FastStatement statement,
				  bool retracts)
{
	FastPath path = {.node = node, .from = from};
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
	done = select_targets(&path) && make(&path, retracts, rows, desc);
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
