/*
 * lookup.c
 *	  Whether matches can be looked up by an index.
 *
 * NOTES
 *	  The planner knows, whatever the input is made of: it is asked for a plan of
 *	  a subquery that counts the matches of one row, with everything else but
 *	  index scans discouraged.  There is a way if all scans in that plan are of
 *	  indexes, and by values that come from outside of the scan.
 *
 *	  An index made or dropped later is a change of the table's definition, which
 *	  makes definitions be loaded again, and so the node be made anew.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "view/lookup.h"
#include "view/text.h"

typedef enum Answer
{
	UNKNOWN,
	INDEXED,
	NOT_INDEXED
} Answer;

static bool
has_param(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return true;
	return expression_tree_walker(node, has_param, context);
}

static bool is_indexed(Plan *plan);

static bool
all_indexed(List *plans)
{
	ListCell *lc;

	foreach (lc, plans)
		if (!is_indexed(lfirst(lc)))
			return false;
	return true;
}

static bool
is_indexed(Plan *plan)
{
	if (plan == NULL)
		return true;
	switch (nodeTag(plan))
	{
		case T_IndexScan:
			return has_param((Node *) ((IndexScan *) plan)->indexqual, NULL);
		case T_IndexOnlyScan:
			return has_param((Node *) ((IndexOnlyScan *) plan)->indexqual, NULL);
		case T_BitmapIndexScan:
			return has_param((Node *) ((BitmapIndexScan *) plan)->indexqual, NULL);
		case T_SeqScan:
		case T_SampleScan:
		case T_CteScan:
		case T_ForeignScan:
		case T_CustomScan:
			return false;
		case T_Append:
			return all_indexed(((Append *) plan)->appendplans);
		case T_MergeAppend:
			return all_indexed(((MergeAppend *) plan)->mergeplans);
		case T_BitmapAnd:
			return all_indexed(((BitmapAnd *) plan)->bitmapplans);
		case T_BitmapOr:
			return all_indexed(((BitmapOr *) plan)->bitmapplans);
		case T_SubqueryScan:
			return is_indexed(((SubqueryScan *) plan)->subplan);
		default:
			return is_indexed(outerPlan(plan)) && is_indexed(innerPlan(plan));
	}
}

/* Counts the matches of a row. */
static char *
probing_query(ViewNode *node, int side)
{
	ViewNode *input = list_nth(node->inputs, side - 1);
	ViewNode *other = list_nth(node->inputs, 2 - side);

	return psprintf("SELECT (SELECT count(*) FROM %s i%d WHERE %s) FROM (SELECT %s OFFSET 0) i%d",
					braid_node_new(input), side, node->condition,
					braid_text_list(braid_text_nulls(other, 1)), 3 - side);
}

static bool
ask_planner(const char *query)
{
	static const char *const discouraged[] = {"enable_seqscan", "enable_hashjoin",
											  "enable_mergejoin", "enable_material"};
	int level = NewGUCNestLevel();
	SPIPlanPtr plan;
	CachedPlan *cached;
	bool indexed;

	for (int i = 0; i < lengthof(discouraged); i++)
		(void) set_config_option(discouraged[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
	cached = SPI_plan_get_cached_plan(plan);
	indexed = all_indexed(linitial_node(PlannedStmt, cached->stmt_list)->subplans);
	ReleaseCachedPlan(cached, NULL);
	SPI_freeplan(plan);
	AtEOXact_GUC(false, level);
	return indexed;
}

bool
braid_lookup_is_indexed(ViewNode *node, int side)
{
	if (node->lookup[side - 1] == UNKNOWN)
		node->lookup[side - 1] = ask_planner(probing_query(node, side)) ? INDEXED : NOT_INDEXED;
	return node->lookup[side - 1] == INDEXED;
}
