/*
 * passing.c
 *	  Nodes whose rows pass by: those of streams.
 *
 * NOTES
 *	  A stream keeps no rows.  In the cycle that brings them there is a delta, and
 *	  neither before nor after that is there anything to be read.  So a node over a
 *	  stream has a delta, but no new and no old rows; it is *passing*, and so is all
 *	  that is made of it without a state.  Whoever keeps a state of it has to do with
 *	  its deltas, and can compute nothing again.
 *
 *	  A stream that is joined meets the rows that the other side has then, under the
 *	  cycle's S: the delta of R x T is dR x T, with T's new rows.  What happens to T
 *	  later does not touch rows that have passed: they are not there any more.  So the
 *	  join *heeds* R and not T.
 *
 *	  Of the states, those are *streamed* that change by streams alone: all that they
 *	  heed is streamed.  They are never made anew, since they could not be; when the view
 *	  is, they stay, and go on with the cycle's delta.  All other states are made from
 *	  rows that are there, of tables and of states below them.
 *
 *	  What is refused follows: another side of a join that would look for rows that have
 *	  passed, also if it is the view's own state of a stream, another state that may need them, and UNION with rows that come from elsewhere,
 *	  whose state would be streamed in part.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "stream/stream.h"
#include "utils/lsyscache.h"
#include "view/accumulator.h"
#include "view/definition.h"
#include "view/passing.h"
#include "view/refusal.h"
#include "view/watermark.h"

bool
braid_passing_heeds(ViewNode *reader, ViewNode *input)
{
	return !reader->is_passing || reader->kind == NODE_UNION || input->is_passing;
}

/* ---------------------------------------------------------------- refusals */

/* Some stream whose rows come to the node without a state in between. */
static Oid
stream_below(ViewNode *node)
{
	ListCell *lc;

	if (node->is_stream)
		return node->relid;
	foreach (lc, node->inputs)
		if (((ViewNode *) lfirst(lc))->is_passing)
			return stream_below(lfirst(lc));
	return InvalidOid;
}

static void
refuse(Planner *p, ViewNode *node, const char *what)
{
	ListCell *lc;

	if (node->is_passing)
		braid_refuse_stream(p->pstate, stream_below(node), what);
	foreach (lc, node->inputs)
		if (((ViewNode *) lfirst(lc))->is_passing)
			braid_refuse_stream(p->pstate, stream_below(lfirst(lc)), what);
	pg_unreachable();
}

static int
passing_inputs(ViewNode *node)
{
	int n = 0;
	ListCell *lc;

	foreach (lc, node->inputs)
		n += ((ViewNode *) lfirst(lc))->is_passing;
	return n;
}

static bool
stands_on_stream(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, node->inputs)
		if (stands_on_stream(lfirst(lc)))
			return true;
	return node->is_stream;
}

/* A group that shows nothing but that it is there, and cannot go. */
static bool
only_appears(ViewNode *group)
{
	ListCell *lc;

	foreach (lc, group->outputs)
		if (((char *) lfirst(lc))[0] != 'k')
			return false;
	return group->permanent_key == NULL && group->time == NULL;
}

bool
braid_passing_only_grows(ViewNode *node)
{
	ListCell *lc;

	switch (node->kind)
	{
		case NODE_TABLE:
			return node->is_stream;
		case NODE_BLOCK:
		case NODE_UNION:
		case NODE_ROWS:
			break;
		case NODE_OUTER:
		case NODE_MARK:
			if (!node->is_passing)
				return false;
			break;
		case NODE_GROUP:
			if (!only_appears(node))
				return false;
			break;
		default:
			return false;
	}
	foreach (lc, node->inputs)
		if (braid_passing_heeds(node, lfirst(lc)) && !braid_passing_only_grows(lfirst(lc)))
			return false;
	return true;
}

/* The aggregate as it was written, as far as that is known. */
static char *
opaque_aggregate(ViewNode *group)
{
	ListCell *lc;

	foreach (lc, group->accumulators)
	{
		Accumulator *a = lfirst(lc);

		if (a->kind == ACCUMULATE_OPAQUE && a->aggregate && strchr(a->aggregate, '('))
			return pnstrdup(a->aggregate, strchr(a->aggregate, '(') - a->aggregate);
	}
	return NULL;
}

static void
check_group(Planner *p, ViewNode *node)
{
	char *name;

	if (node->strategy == STRATEGY_AFFECTED_KEYS)
	{
		name = opaque_aggregate(node);
		refuse(
			p, node,
			name ? psprintf("%s() over a stream, as it is computed from all rows of a group", name)
				 : "aggregates over a stream that are computed from all rows of a group");
	}
	if (node->strategy != STRATEGY_ALGEBRAIC && !braid_passing_only_grows(linitial(node->inputs)))
		refuse(p, node,
			   "aggregates over a stream together with groups of it, of which some may change");
}

/*
 * A state of the same view that is made of a stream changes with the rows that pass,
 * and those before were to meet it as it is now: the query says so.  A view is
 * another matter, it is read as it is at the time.
 */
static void
check_join(Planner *p, ViewNode *node)
{
	ViewNode *right = list_length(node->inputs) > 1 ? lsecond(node->inputs) : NULL;
	ListCell *lc;

	if (passing_inputs(node) > 1)
		refuse(p, node, "joins of streams with each other");
	foreach (lc, node->inputs)
		if (!((ViewNode *) lfirst(lc))->is_passing && stands_on_stream(lfirst(lc)))
			refuse(p, node, "joins of a stream with groups of a stream");
	if (node->kind == NODE_MARK && right->is_passing)
		refuse(p, node, "a stream in EXISTS, IN, ANY or ALL");
	if (node->kind == NODE_OUTER && node->is_full)
		refuse(p, node, "FULL JOIN with a stream");
	if (node->kind == NODE_OUTER && right->is_passing)
		refuse(p, node, "a stream on the nullable side of an outer join");
}

/* A node that reads what passes. */
static void
check(Planner *p, ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_BLOCK:
		case NODE_OUTER:
		case NODE_MARK:
			check_join(p, node);
			break;
		case NODE_UNION:
			if (!node->is_streamed)
				refuse(p, node, "UNION, INTERSECT or EXCEPT of a stream with a table");
			break;
		case NODE_GROUP:
		case NODE_SESSION:
			check_group(p, node);
			break;
		case NODE_PARTITION:
			refuse(p, node, "window functions, DISTINCT ON and LIMIT for each key over a stream");
			break;
		default:
			break;
	}
}

/* ---------------------------------------------------------------- the plan */

static bool
is_streamed(ViewNode *node)
{
	ListCell *lc;

	if (node->inputs == NIL)
		return node->is_stream;
	if (node->kind == NODE_CLOSE && !node->time->watermark->is_streamed)
		return false;
	foreach (lc, node->inputs)
		if (braid_passing_heeds(node, lfirst(lc)) && !((ViewNode *) lfirst(lc))->is_streamed)
			return false;
	return true;
}

/* What happens to the node comes to a state. */
static void
heed(ViewPlan *plan, ViewNode *node, Bitmapset **heeded)
{
	ListCell *lc;

	if (bms_is_member(node->number, *heeded))
		return;
	*heeded = bms_add_member(*heeded, node->number);
	if (node->kind == NODE_TABLE)
		plan->heeded_tables = list_append_unique_oid(plan->heeded_tables, node->relid);
	if (node->kind == NODE_VIEW)
		plan->heeded_views = list_append_unique_int(plan->heeded_views, node->view_id);
	foreach (lc, node->inputs)
		if (braid_passing_heeds(node, lfirst(lc)))
			heed(plan, lfirst(lc), heeded);
}

void
braid_passing_finish(Planner *p)
{
	ViewPlan *plan = p->plan;
	Bitmapset *heeded = NULL;
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		node->is_streamed = is_streamed(node);
		if (node->is_stream)
			plan->streams = list_append_unique_oid(plan->streams, node->relid);
		if (passing_inputs(node) > 0)
			check(p, node);
	}
	foreach (lc, plan->nodes)
		if (braid_node_is_stateful(lfirst(lc)) || lfirst(lc) == plan->top)
			heed(plan, lfirst(lc), &heeded);
}

/* ---------------------------------------------------------------- a view */

static bool
reads_stream(Node *node, List **seen)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, reads_stream, seen);
	foreach (lc, ((Query *) node)->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		ViewDefinition def;

		if (rte->rtekind != RTE_RELATION)
			continue;
		if (braid_stream_is(rte->relid))
			return true;
		if (rte->relkind != RELKIND_VIEW || list_member_oid(*seen, rte->relid) ||
			braid_definition_find(rte->relid, &def))
			continue;
		*seen = lappend_oid(*seen, rte->relid);
		if (reads_stream((Node *) braid_definition_query(rte->relid), seen))
			return true;
	}
	return query_tree_walker((Query *) node, reads_stream, seen, 0);
}

bool
braid_passing_is_read(const ViewDefinition *def)
{
	List *seen = list_make1_oid(def->query); /* its rule names it */

	return OidIsValid(def->query) &&
		   reads_stream((Node *) braid_definition_query(def->query), &seen);
}
