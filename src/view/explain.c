/*
 * explain.c
 *	  How a view is kept, for braid.explain(), and the worker's figures of it.
 *
 * NOTES
 *	  The graph is made anew from the view's query.  Figures of nodes are in
 *	  shared memory, in a table of fixed size for all databases: when it is full,
 *	  those that were written longest ago make room.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "common/name.h"
#include "common/shmem.h"
#include "common/superuser.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "view/definition.h"
#include "view/event_time.h"
#include "view/explain.h"
#include "view/fast.h"
#include "view/plan.h"

#define MAX_FIGURES 1024

typedef struct ShownFigures
{
	Oid dbid; /* InvalidOid: free */
	int view; /* id */
	int node;
	int64 rows;
	double ms;
	char path;
	uint64 written; /* counts up */
} ShownFigures;

typedef struct FiguresTable
{
	LWLock lock; /* guards all that follows */
	uint64 written;
	ShownFigures figures[MAX_FIGURES];
} FiguresTable;

static FiguresTable *shared = NULL;

static Size
shared_size(void)
{
	return sizeof(FiguresTable);
}

static void
shared_init(void *area)
{
	braid_shmem_init_lock(&((FiguresTable *) area)->lock);
}

static const BraidShmemArea shared_area = {"braid view figures", shared_size, shared_init,
										   (void **) &shared};

void
braid_explain_init(void)
{
	braid_shmem_register(&shared_area);
}

/* ---------------------------------------------------------------- figures */

static bool
are_of(ShownFigures *f, int view, int node)
{
	return f->dbid == MyDatabaseId && f->view == view && f->node == node;
}

/* The node's place, or the one that it shall have. */
static int
find_slot(int view, int node, int guess)
{
	int oldest = 0;

	if (are_of(&shared->figures[guess], view, node))
		return guess;
	for (int i = 0; i < MAX_FIGURES; i++)
	{
		if (are_of(&shared->figures[i], view, node))
			return i;
		if (shared->figures[i].written < shared->figures[oldest].written)
			oldest = i;
	}
	return oldest;
}

void
braid_explain_show(int view, NodeFigures *figures, int highest)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i <= highest; i++)
	{
		NodeFigures *f = &figures[i];

		if (!f->is_new)
			continue;
		f->is_new = false;
		f->slot = find_slot(view, i, f->slot);
		shared->figures[f->slot] = (ShownFigures){
			MyDatabaseId,	  view, i, f->rows, INSTR_TIME_GET_MILLISEC(f->time), f->path,
			++shared->written};
	}
	LWLockRelease(&shared->lock);
}

/* False if there are none. */
static bool
read_figures(int view, int node, ShownFigures *figures)
{
	bool found = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < MAX_FIGURES && !found; i++)
		if (are_of(&shared->figures[i], view, node))
		{
			*figures = shared->figures[i];
			found = true;
		}
	LWLockRelease(&shared->lock);
	return found;
}

/* ---------------------------------------------------------------- the graph */

static char *
counted(int n, const char *noun)
{
	return psprintf("%d %s%s", n, noun, n == 1 ? "" : "s");
}

static char *
join_name(ViewNode *node)
{
	static const char *const marks[] = {"semi join", "anti join", "exists as a column"};

	const char *of = node->is_passing ? "stream " : "";

	if (node->kind == NODE_MARK)
		return psprintf("%s%s", of, marks[node->mark]);
	return psprintf("%s%s join", of, node->is_full ? "full" : "left");
}

static char *
operator_name(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_TABLE:
			return psprintf("%s %s", node->is_stream ? "stream" : "table",
							braid_relation_name(node->relid));
		case NODE_VIEW:
			return psprintf("view %s", braid_relation_name(node->relid));
		case NODE_BLOCK:
			return list_length(node->inputs) > 1
					   ? psprintf("%s join of %d", node->is_passing ? "stream" : "inner",
								  list_length(node->inputs))
					   : pstrdup("filter and projection");
		case NODE_OUTER:
		case NODE_MARK:
			return join_name(node);
		case NODE_UNION:
			return pstrdup("union all");
		case NODE_GROUP:
			return psprintf("group by %s, %s", counted(node->nkeys, "key"),
							counted(list_length(node->accumulators), "accumulator"));
		case NODE_SESSION:
			return psprintf("sessions by %s, %s", counted(node->nkeys, "key"),
							counted(list_length(node->accumulators), "accumulator"));
		case NODE_PARTITION:
			return psprintf("compute by %s", counted(node->nkeys, "key"));
		case NODE_QUERY:
			return pstrdup("the whole query");
		case NODE_ROWS:
			return pstrdup("rows");
		case NODE_WATERMARK:
			return psprintf("watermark of %s", counted(list_length(node->inputs), "source"));
		case NODE_DIVERT:
			return pstrdup("late rows put aside");
		case NODE_CLOSE:
			return pstrdup("groups that are closed");
	}
	return NULL;
}

static void
put_text(Datum *value, bool *isnull, const char *text)
{
	*isnull = text == NULL;
	if (text)
		*value = CStringGetTextDatum(text);
}

static const char *
path_name(char path)
{
	if (path == 0)
		return NULL;
	if (path == PATH_TEAM)
		return "columns, by several processes";
	return path == PATH_COLUMNS ? "columns" : "SQL";
}

static void
put_node(ReturnSetInfo *result, int view, ViewNode *node, int depth)
{
	Datum values[8];
	bool nulls[8] = {false};
	ShownFigures figures;

	values[0] = Int32GetDatum(node->number);
	values[1] = Int32GetDatum(depth);
	put_text(&values[2], &nulls[2], operator_name(node));
	put_text(&values[3], &nulls[3],
			 node->inputs == NIL ? NULL : braid_strategy_name(node->strategy));
	nulls[4] = !braid_node_is_stateful(node);
	if (!nulls[4])
		values[4] = ObjectIdGetDatum(braid_definition_part(node->state));
	nulls[5] = nulls[6] = !read_figures(view, node->number, &figures);
	if (!nulls[5])
	{
		values[5] = Int64GetDatum(figures.rows);
		values[6] = Float8GetDatum(figures.ms);
	}
	put_text(&values[7], &nulls[7], nulls[5] ? NULL : path_name(figures.path));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Readers before their inputs; those of a node that is read twice only once. */
static void
put_graph(ReturnSetInfo *result, int view, ViewNode *node, int depth, Bitmapset **seen)
{
	ListCell *lc;

	put_node(result, view, node, depth);
	if (bms_is_member(node->number, *seen))
		return;
	*seen = bms_add_member(*seen, node->number);
	foreach (lc, node->inputs)
		put_graph(result, view, lfirst(lc), depth + 1, seen);
}

PG_FUNCTION_INFO_V1(braid_sql_explain);

/* braid_internal.explain(view regclass) */
Datum
braid_sql_explain(PG_FUNCTION_ARGS)
{
	Oid view = PG_GETARG_OID(0);
	ViewDefinition def;
	ViewPlan *plan;
	Bitmapset *seen = NULL;
	ListCell *lc;
	int level;

	InitMaterializedSRF(fcinfo, 0);
	braid_definition_get(view, &def);
	if (pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, get_rel_name(view));
	level = braid_superuser_fix_search_path();
	plan = braid_event_time_plan(&def, braid_definition_query(def.query), def.id, NULL);
	AtEOXact_GUC(false, level);
	put_graph((ReturnSetInfo *) fcinfo->resultinfo, def.id, plan->top, 0, &seen);

	/* What no other node reads: late rows, and the watermark. */
	foreach (lc, plan->nodes)
		if (braid_node_is_stateful(lfirst(lc)) &&
			!bms_is_member(((ViewNode *) lfirst(lc))->number, seen))
			put_graph((ReturnSetInfo *) fcinfo->resultinfo, def.id, lfirst(lc), 0, &seen);
	PG_RETURN_VOID();
}
