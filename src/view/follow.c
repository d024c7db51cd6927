/*
 * follow.c
 *	  One view's state is brought to the snapshot of the cycle.
 *
 * NOTES
 *	  Nodes are taken in order, inputs before their readers.  A node changes if
 *	  one of its inputs does; one that keeps a state merges the deltas of its
 *	  inputs into it, and the delta of one that does not is text in its reader's
 *	  statements or, if it is read more than once, rows that are made here.
 *
 *	  A view that others read leaves a delta of what it shows.  It outlives the
 *	  subtransaction in which the view was brought up, since its readers may have
 *	  one of their own; so it belongs to the transaction.  A view that was
 *	  populated leaves none: its readers are populated too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/failpoint.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "view/explain.h"
#include "view/feed.h"
#include "view/follow.h"
#include "view/growth.h"
#include "view/operators.h"
#include "view/passing.h"
#include "view/populate.h"
#include "view/run.h"
#include "view/text.h"
#include "view/watermark.h"

static KeptView *following = NULL;
static int log_min_duration = -1;

/* ---------------------------------------------------------------- deltas */

static bool
is_made_here(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_BLOCK:
		case NODE_OUTER:
		case NODE_MARK:
		case NODE_UNION:
		case NODE_CLOSE:
			return !node->inlined;
		default:
			return false;
	}
}

static char *
before_name(ViewNode *node)
{
	return psprintf("before_%d", node->number);
}

static char *
after_name(ViewNode *node)
{
	return psprintf("after_%d", node->number);
}

/* Groups that were deleted since they have expired. */
static int64
expired_rows(ViewNode *node)
{
	return Max(braid_run_count(psprintf("expired_%d", node->number)), 0);
}

/* The delta that brings a table of the view to S. */
static BraidDelta *
table_delta(KeptView *view, Oid relid)
{
	return view->catches_up ? braid_populate_delta(view, relid)
							: &braid_capture_source(relid)->delta;
}

/* Rows of the node's delta, or -1 if they are not counted. */
static int64
counted_rows(ViewNode *node)
{
	if (node->is_netted)
		return braid_run_count(braid_node_net_name(node));
	if (node->kind == NODE_TABLE)
		return table_delta(following, node->relid)->nrows;
	if (node->kind == NODE_VIEW)
		return tuplestore_tuple_count(braid_keeper_find(node->view_id)->delta.rows);
	if (braid_node_is_stateful(node))
	{
		int64 before = braid_run_count(before_name(node));
		int64 after = braid_run_count(after_name(node));

		return before < 0 || after < 0 ? -1 : before + after + expired_rows(node);
	}
	return is_made_here(node) ? braid_run_count(braid_node_delta_name(node)) : -1;
}

int64
braid_run_delta_rows(ViewNode *node)
{
	int64 nrows;

	if (!node->changed)
		return 0;
	nrows = counted_rows(node);
	return nrows >= 0 ? nrows : braid_run_rows_below(node);
}

int64
braid_run_rows_below(ViewNode *node)
{
	int64 nrows = 0;
	ListCell *lc;

	foreach (lc, node->inputs)
		if (braid_passing_heeds(node, lfirst(lc)))
			nrows += braid_run_delta_rows(lfirst(lc));
	return nrows;
}

bool
braid_run_retracts(ViewNode *node)
{
	bool retracts = false;
	ListCell *lc;

	if (!node->changed)
		return false;
	if (node->kind == NODE_TABLE)
		return table_delta(following, node->relid)->retracts;
	if (node->kind == NODE_VIEW)
		return braid_keeper_find(node->view_id)->delta.retracts;
	if (braid_node_is_stateful(node))
		return braid_run_count(before_name(node)) != 0 || expired_rows(node) > 0;
	if (node->kind == NODE_CLOSE)
		return braid_run_count(before_name(node->time->group)) > 0 ||
			   expired_rows(node->time->group) > 0;
	foreach (lc, node->inputs)
		retracts |= braid_passing_heeds(node, lfirst(lc)) && braid_run_retracts(lfirst(lc));
	if (node->kind == NODE_UNION || node->kind == NODE_BLOCK || node->is_passing)
		return retracts;

	/* Outer joins and marks: a row of i1 changes with what comes to i2. */
	return retracts || node->is_full || ((ViewNode *) lsecond(node->inputs))->changed;
}

bool
braid_run_delta_is_read(ViewNode *node)
{
	return bms_is_member(node->number, following->read);
}

static int
highest_number(ViewPlan *plan)
{
	int highest = 0;
	ListCell *lc;

	foreach (lc, plan->nodes)
		highest = Max(highest, ((ViewNode *) lfirst(lc))->number);
	return highest;
}

static bool
is_join(ViewNode *node)
{
	return node->kind == NODE_OUTER || node->kind == NODE_MARK ||
		   (node->kind == NODE_BLOCK && list_length(node->inputs) > 1);
}

/* The delta of a node is read if it goes into a state, to another view, or to a feed. */
void
braid_follow_prepare(KeptView *view)
{
	List *nodes = view->plan->nodes;

	view->figures = palloc0(sizeof(NodeFigures) * (highest_number(view->plan) + 1));
	if (view->is_read || view->feed)
		view->read = bms_add_member(view->read, view->plan->top->number);
	for (int i = list_length(nodes) - 1; i >= 0; i--)
	{
		ViewNode *node = list_nth(nodes, i);
		ListCell *lc;

		/* The delta of groups that are closed is made of their state. */
		if (node->kind == NODE_CLOSE)
			continue;
		if (!braid_node_is_stateful(node) && !bms_is_member(node->number, view->read))
			continue;
		foreach (lc, node->inputs)
		{
			ViewNode *input = lfirst(lc);

			if (!braid_passing_heeds(node, input))
				continue;
			view->read = bms_add_member(view->read, input->number);
			input->is_joined |= is_join(node);
		}
	}
}

/* ---------------------------------------------------------------- what is to be done */

/*
 * A view with a schedule does not follow: it is populated again when its time has
 * come and there may be something new.
 */
static bool
is_due(KeptView *view)
{
	return view->stale && GetCurrentTimestamp() >= view->due;
}

bool
braid_follow_needs_populating(KeptView *view)
{
	ListCell *lc;

	if (view->catches_up)
		return false;
	if (view->state != VIEW_LIVE)
		return true;
	if (view->plan->is_recomputed)
		return is_due(view);
	foreach (lc, view->plan->heeded_tables)
	{
		BraidSource *source = braid_capture_source(lfirst_oid(lc));

		if (!source->has_frontier || source->delta.recompute)
			return true;
	}
	foreach (lc, view->plan->heeded_views)
		if (braid_keeper_find(lfirst_int(lc))->repopulated)
			return true;
	return false;
}

/* Whether a view with a schedule has something to do, having seen what is new. */
static bool
schedule_is_needed(KeptView *view)
{
	ListCell *lc;

	view->stale |= view->plan->is_ageing;
	foreach (lc, view->plan->tables)
	{
		BraidSource *source = braid_capture_source(lfirst_oid(lc));

		view->stale |= source->delta.nrows > 0 || source->delta.recompute ||
					   source->delta.incomplete || !source->has_frontier;
	}
	foreach (lc, view->plan->views)
	{
		KeptView *input = braid_keeper_find(lfirst_int(lc));

		view->stale |= input->delta.rows || input->repopulated;
	}
	return braid_follow_needs_populating(view);
}

bool
braid_follow_is_wanted(KeptView *view)
{
	ViewNode *watermark = view->plan ? view->plan->watermark : NULL;

	if (view->state != VIEW_LIVE)
		return false;
	if (braid_feed_view_begins(view))
		return true;
	if (watermark == NULL)
		return false;
	return view->merges != view->merged ||
		   (watermark->time->idle_due != 0 && GetCurrentTimestamp() >= watermark->time->idle_due);
}

bool
braid_follow_is_needed(KeptView *view)
{
	ListCell *lc;

	if (view->plan->is_recomputed)
		return schedule_is_needed(view);

	if (braid_follow_needs_populating(view) || view->catches_up || braid_follow_is_wanted(view))
		return true;
	foreach (lc, view->plan->heeded_tables)
	{
		BraidDelta *delta = &braid_capture_source(lfirst_oid(lc))->delta;

		if (delta->nrows > 0 || delta->incomplete)
			return true;
	}
	foreach (lc, view->plan->heeded_views)
		if (braid_keeper_find(lfirst_int(lc))->delta.rows)
			return true;
	return false;
}

static void
refuse_incomplete(KeptView *view)
{
	ListCell *lc;

	foreach (lc, view->plan->heeded_tables)
		if (table_delta(view, lfirst_oid(lc))->incomplete)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("replica identity of table \"%s\" is no longer FULL",
								   get_rel_name(lfirst_oid(lc))),
							errdetail("REFRESH MATERIALIZED VIEW sets it again")));
}

/* ---------------------------------------------------------------- figures */

/* What a node has done, in terms of its state or, if it has none, of its delta. */
static void
take_figures(KeptView *view, ViewNode *node, void (*action)(ViewNode *node))
{
	NodeFigures *figures = &view->figures[node->number];
	int64 processed = braid_run_processed();
	instr_time start;
	int64 nrows;

	INSTR_TIME_SET_CURRENT(start);
	action(node);
	INSTR_TIME_SET_CURRENT(figures->time);
	INSTR_TIME_SUBTRACT(figures->time, start);
	nrows = braid_node_is_stateful(node) ? braid_run_processed() - processed : counted_rows(node);
	figures->is_new = nrows >= 0;
	figures->path = node->path;
	figures->rows = nrows;
}

/* ---------------------------------------------------------------- following */

static void
name_table_delta(ViewNode *node)
{
	BraidSource *source = braid_capture_source(node->relid);
	BraidDelta *delta = table_delta(following, node->relid);
	char *name = braid_node_table_delta_name(node->relid);

	if (braid_run_count(name) >= 0)
		return;
	if (source->is_stream)
		braid_run_name_batches(name, delta, source);
	else
		braid_run_name(name, delta->rows, source->desc);
}

static void
name_view_delta(ViewNode *node)
{
	ViewDelta *delta = &braid_keeper_find(node->view_id)->delta;
	char *name = braid_node_view_delta_name(node->view_id);

	if (braid_run_count(name) < 0)
		braid_run_name(name, delta->rows, delta->desc);
}

static bool
has_changed_input(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, node->inputs)
		if (((ViewNode *) lfirst(lc))->changed && braid_passing_heeds(node, lfirst(lc)))
			return true;
	return false;
}

/* " w, c1, c2" */
static char *
delta_columns(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, "d.w");
	for (int i = 1; i <= node->ncolumns; i++)
		appendStringInfo(&s, ", d.c%d", i);
	return s.data;
}

/* What makes the delta of a node that is not part of its readers' statements. */
static char *
delta_text(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_BLOCK:
			return braid_block_delta(node);
		case NODE_OUTER:
			return braid_outer_delta(node);
		case NODE_MARK:
			return braid_mark_delta(node);
		case NODE_CLOSE:
			return braid_close_delta(node);
		default:
			Assert(node->kind == NODE_UNION);
			return braid_union_delta(node);
	}
}

static char *
delta_statement(ViewNode *node, const char *text)
{
	return psprintf("SELECT %s FROM %s d", delta_columns(node), text);
}

static void
make_delta(ViewNode *node)
{
	if (braid_run_delta_is_read(node))
		node->changed =
			braid_run_into(braid_node_delta_name(node), delta_statement(node, delta_text(node)),
						   braid_run_rows_below(node)) > 0;
}

/*
 * Adds up the rows of a delta that is to be joined: each of them can have many
 * matches, and a row that is updated often, or in columns that are not asked for,
 * comes and goes for nothing.
 */
static void
net_delta(ViewNode *node)
{
	char *net = braid_text_net(node, braid_text_all_columns(node), braid_node_delta(node));
	int64 nrows = braid_run_delta_rows(node);

	node->changed = braid_run_into(braid_node_net_name(node),
								   psprintf("SELECT sign(x.n)::int8 AS w%s FROM (%s) x, "
											"generate_series(1, abs(x.n))",
											braid_text_columns("x", node->ncolumns), net),
								   nrows) > 0;
	node->is_netted = true;
}

/* Whether groups came to be shown, or those that are have changed. */
static bool
closes(ViewNode *node)
{
	return node->time->watermark->changed || expired_rows(node->time->group) > 0 ||
		   braid_run_count(before_name(node->time->group)) >= 0;
}

/* Whether rows that were put aside go from this node to another one, or come to it. */
static bool
merges(ViewNode *node)
{
	if (node->kind == NODE_DIVERT)
		return braid_late_merges(node->time->group);
	return (node->kind == NODE_GROUP || node->kind == NODE_SESSION) && braid_late_merges(node);
}

/* Says of each node whether it changes, inputs before their readers. */
static bool
is_touched(ViewNode *node)
{
	node->is_netted = false;
	if (node->kind == NODE_TABLE)
		node->changed = table_delta(following, node->relid)->nrows > 0;
	else if (node->kind == NODE_VIEW)
		node->changed = braid_keeper_find(node->view_id)->delta.rows != NULL;
	else if (node->kind == NODE_WATERMARK)
		return true;
	else if (node->kind == NODE_CLOSE)
		node->changed = closes(node);
	else
		node->changed = has_changed_input(node) || merges(node);
	return node->changed;
}

static void
follow_node(ViewNode *node)
{
	if (node->kind == NODE_TABLE)
		name_table_delta(node);
	else if (node->kind == NODE_VIEW)
		name_view_delta(node);
	else if (is_made_here(node))
		make_delta(node);
	else if (node->kind == NODE_GROUP)
		braid_group_follow(node);
	else if (node->kind == NODE_SESSION)
		braid_session_follow(node);
	else if (node->kind == NODE_PARTITION)
		braid_partition_follow(node);
	else if (node->kind == NODE_ROWS)
		braid_rows_follow(node);
	else if (node->kind == NODE_WATERMARK)
		braid_watermark_follow(node);
	else if (node->kind == NODE_DIVERT)
		braid_divert_follow(node);

	/* A state that was merged into without effect is no news to its readers. */
	if (braid_node_is_stateful(node) && braid_run_delta_is_read(node))
		node->changed = counted_rows(node) != 0;

	/* That of ROWS is added up already, under the same name. */
	if (node->is_joined && node->kind != NODE_ROWS && !node->tells_deletes &&
		braid_run_delta_is_read(node) && braid_run_retracts(node))
		net_delta(node);
}

/* ---------------------------------------------------------------- populating */

static void
populate_node(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_GROUP:
			braid_group_populate(node);
			break;
		case NODE_SESSION:
			braid_session_populate(node);
			break;
		case NODE_PARTITION:
			braid_partition_populate(node);
			break;
		case NODE_ROWS:
			braid_rows_populate(node);
			break;
		case NODE_WATERMARK:
			braid_watermark_populate(node);
			break;
		default:
			break;
	}
}

/* The planner knows nothing yet of what was just made; if it is locked, let it be. */
static void
analyze(ViewNode *node)
{
	if (SPI_execute(psprintf("ANALYZE (SKIP_LOCKED) %s", node->state), false, 0) < 0)
		elog(ERROR, "could not analyze \"%s\"", node->state);
}

static void
make_state(ViewNode *node)
{
	populate_node(node);
	analyze(node);
}

/* What is kept of streams begins with the first cycle, and then just goes on. */
static void
begin_state(ViewNode *node)
{
	if (node->time)
		node->time->merges = false;
	if (node->kind == NODE_GROUP)
		braid_group_begin(node);
	else if (node->kind == NODE_WATERMARK)
		braid_watermark_begin(node);
}

/* What the cycle brings of streams; a new view begins with the next one. */
static void
go_on(KeptView *view, ViewNode *node)
{
	if (braid_node_is_stateful(node))
		begin_state(node);
	if (view->state != VIEW_POPULATING && is_touched(node))
		take_figures(view, node, follow_node);
}

static void
populate(KeptView *view)
{
	ListCell *lc;

	foreach (lc, view->plan->nodes)
		((ViewNode *) lfirst(lc))->changed = false;
	foreach (lc, view->plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->is_streamed)
			go_on(view, node);
		else if (braid_node_is_stateful(node))
			take_figures(view, node, make_state);
	}
	view->repopulated = true;
}

/* ---------------------------------------------------------------- deltas for other views */

static void
free_delta(ViewDelta *delta)
{
	if (delta->rows)
		tuplestore_end(delta->rows);
	braid_capture_return_memory(delta->memory);
	memset(delta, 0, sizeof(ViewDelta));
}

/* Keeps the delta of the top until the end of the cycle, for those who read it. */
static void
leave_delta(KeptView *view)
{
	ViewNode *top = view->plan->top;
	ViewDelta *delta = &view->delta;
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	ResourceOwner owner = CurrentResourceOwner;
	Tuplestorestate *rows;

	CurrentResourceOwner = TopTransactionResourceOwner;
	delta->memory = braid_capture_take_memory(work_mem);
	rows = tuplestore_begin_heap(false, false, delta->memory);
	CurrentResourceOwner = owner;
	delta->rows = rows;
	delta->retracts = braid_run_retracts(top);
	delta->desc = braid_run_append(rows, delta_statement(top, braid_node_delta(top)),
								   braid_run_delta_rows(top));
	MemoryContextSwitchTo(old);
	if (tuplestore_tuple_count(rows) == 0)
		free_delta(delta);
}

/* Rows that were put aside are merged if that was asked for since it was last done. */
static void
begin_merge(KeptView *view)
{
	ListCell *lc;

	foreach (lc, view->plan->nodes)
	{
		EventTime *time = ((ViewNode *) lfirst(lc))->time;

		if (time && time->diverted)
			time->merges = view->merges != view->merged && !view->catches_up;
	}
}

/* ---------------------------------------------------------------- a cycle */

static void
follow(KeptView *view)
{
	ListCell *lc;

	refuse_incomplete(view);
	begin_merge(view);
	foreach (lc, view->plan->nodes)
		if (is_touched(lfirst(lc)))
			take_figures(view, lfirst(lc), follow_node);
	if (view->merges != view->merged && !view->catches_up)
	{
		braid_watermark_set_merged(view->plan->watermark, view->merges);
		view->has_merged = true;
	}
	if (view->catches_up)
		view->repopulated = true;
	else if (view->is_read && view->plan->top->changed)
		leave_delta(view);
}

/* Rows of the deltas that the view reads. */
static int64
rows_to_merge(KeptView *view)
{
	int64 nrows = 0;
	ListCell *lc;

	foreach (lc, view->plan->tables)
		nrows += table_delta(view, lfirst_oid(lc))->nrows;
	foreach (lc, view->plan->views)
	{
		ViewDelta *delta = &braid_keeper_find(lfirst_int(lc))->delta;

		nrows += delta->rows ? tuplestore_tuple_count(delta->rows) : 0;
	}
	return nrows;
}

static void
log_if_slow(KeptView *view, bool is_populated)
{
	ViewWork *work = &view->work;
	int slowest = 0;

	if (log_min_duration < 0 || work->us < (uint64) log_min_duration * 1000)
		return;
	for (int i = 1; i < highest_number(view->plan); i++)
		if (INSTR_TIME_GET_MICROSEC(view->figures[i].time) >
			INSTR_TIME_GET_MICROSEC(view->figures[slowest].time))
			slowest = i;
	ereport(LOG, (errmsg(is_populated ? "populating continuous view \"%s\" took %.3f ms"
									  : "continuous view \"%s\" took %.3f ms to follow",
						 get_rel_name(view->def.view), work->us / 1000.0),
				  errdetail("%lld rows came in; node %d, see braid.explain(), took %.3f ms.",
							(long long) work->rows, slowest + 1,
							INSTR_TIME_GET_MILLISEC(view->figures[slowest].time))));
}

/* What was done, to be counted if the cycle commits. */
static void
take_work(KeptView *view, bool is_populated, const instr_time *start)
{
	ViewWork *work = &view->work;
	instr_time time;

	INSTR_TIME_SET_CURRENT(time);
	INSTR_TIME_SUBTRACT(time, *start);
	work->us = INSTR_TIME_GET_MICROSEC(time);
	work->rows = is_populated ? 0 : rows_to_merge(view);
	work->is_live = view->state == VIEW_LIVE && !view->plan->is_recomputed;
	work->is_rebuild = (is_populated || view->catches_up) && view->state != VIEW_POPULATING &&
					   !view->plan->is_recomputed;
	work->done = true;
	log_if_slow(view, is_populated);
}

static void
run(KeptView *view, void (*action)(KeptView *view))
{
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	view->work.done = false;
	for (int i = 0; i < highest_number(view->plan); i++)
		INSTR_TIME_SET_ZERO(view->figures[i].time);
	if (braid_growth_makes_plans_old(view))
	{
		braid_run_free_plans(view->plans);
		view->plans = braid_run_make_plans(GetMemoryChunkContext(view));
	}
	following = view;
	braid_run_begin(view->plans);
	braid_feed_view_before(view, action == populate);
	action(view);
	braid_feed_view_after(view, action == populate);
	braid_run_end();
	take_work(view, action == populate, &start);
	braid_explain_show(view->def.id, view->figures, highest_number(view->plan));
	following = NULL;
}

void
braid_follow(KeptView *view)
{
	BRAID_FAILPOINT("view-merge");
	run(view, braid_follow_needs_populating(view) ? populate : follow);
}

void
braid_follow_populate(KeptView *view)
{
	run(view, populate);
}

void
braid_follow_forget(KeptView *view)
{
	free_delta(&view->delta);
	view->repopulated = false;
	if (view->feed)
		view->feed->is_sent = false;
}

void
braid_follow_init(void)
{
	DefineCustomIntVariable(
		"braid.view_log_min_duration",
		"Sets how long it has to take to bring a continuous view up to date for it to be logged.",
		"0 logs every time, -1 none.", &log_min_duration, -1, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS,
		NULL, NULL, NULL);
}
