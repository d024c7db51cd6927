/*
 * fast_share.c
 *	  Groups that several views make of the messages of one stream together.
 *
 * NOTES
 *	  Views are followed one after the other.  The first one that is to group a large
 *	  delta of a stream groups it for all that have done so before: each message is
 *	  taken apart once, and looked at by all while it is in the caches.
 *
 *		message ──► columns ──► conditions, expressions ──► groups of this view
 *		                   ├──► conditions, expressions ──► groups of another one
 *		                   └──► as the first one's ───────► same groups, other values
 *		next message
 *
 *	  The others find their groups made.  For them this must not raise an error, nor call a
 *	  function as somebody else: only plain columns and simple expressions (fast_vector.c)
 *	  are for here, and if these need to be evaluated row by row the view is left to itself.
 *	  What a view asked for last time need not be what it asks for now; it is compared with its
 *	  plan before groups are taken.
 *
 *	  Views with the same conditions and keys look for the groups of rows once.
 */
#include "postgres.h"

#include "common/compat.h"
#include "miscadmin.h"
#include "rewrite/rewriteManip.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "view/fast_share.h"
#include "view/fast_team.h"
#include "view/run.h"

#define SHARE_ROWS 500 /* of a large delta */

/* What a node asks for.  It lives as long as the node. */
typedef struct FastShare
{
	ViewNode *node;
	BraidSource *source;
	TupleDesc desc; /* of the source */
	Scan *asked;
	Scan *scan;		/* the same; what is scanned has the number 1 in all plans */
	bool is_barred; /* it has to be alone */
	bool is_wanted; /* what was made last has been taken */

	/* Of a transaction, in a context of it. */
	LocalTransactionId transaction;
	BraidDelta *delta;
	MemoryContext context;
	FastPath path;
	bool is_made;
	int memory; /* kB */
} FastShare;

static List *shares = NIL; /* in their context */
static MemoryContext shares_context = NULL;

/* ---------------------------------------------------------------- who asks for what */

static void
free_memory(FastShare *share)
{
	braid_capture_return_memory(share->memory);
	share->memory = 0;
}

/* The nodes are going. */
static void
forget_all(void *arg)
{
	ListCell *lc;

	foreach (lc, shares)
		free_memory(lfirst(lc));
	shares = NIL;
	shares_context = NULL;
}

static void
begin_shares(MemoryContext context)
{
	MemoryContextCallback *callback = MemoryContextAllocZero(context, sizeof(*callback));

	callback->func = forget_all;
	MemoryContextRegisterResetCallback(context, callback);
	shares_context = context;
}

static FastShare *
find_share(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, shares)
		if (((FastShare *) lfirst(lc))->node == node)
			return lfirst(lc);
	return NULL;
}

/* The node's, as far as nodes of one context are concerned; NULL for others. */
static FastShare *
get_share(ViewNode *node)
{
	MemoryContext context = GetMemoryChunkContext(node);
	FastShare *share = find_share(node);
	MemoryContext old;

	if (share)
		return share;
	if (shares_context == NULL)
		begin_shares(context);
	if (context != shares_context)
		return NULL;
	old = MemoryContextSwitchTo(context);
	share = palloc0(sizeof(FastShare));
	share->node = node;
	shares = lappend(shares, share);
	MemoryContextSwitchTo(old);
	return share;
}

static bool
asks_the_same(FastShare *share, Scan *scan, BraidSource *source)
{
	return share->asked && share->source == source && share->desc == source->desc &&
		   equal(share->asked->plan.targetlist, scan->plan.targetlist) &&
		   equal(share->asked->plan.qual, scan->plan.qual);
}

static void
set_asked(FastShare *share, Scan *scan, BraidSource *source)
{
	MemoryContext old = MemoryContextSwitchTo(shares_context);

	braid_fast_share_end(share->node);
	share->source = source;
	share->desc = source->desc;
	share->asked = copyObject(scan);
	share->scan = copyObject(scan);
	ChangeVarNodes((Node *) share->scan->plan.targetlist, (int) scan->scanrelid, 1, 0);
	ChangeVarNodes((Node *) share->scan->plan.qual, (int) scan->scanrelid, 1, 0);
	share->is_barred = false;
	MemoryContextSwitchTo(old);
}

/* Whether its groups of the delta have been begun, and maybe taken. */
static bool
was_begun(FastShare *share, BraidDelta *delta)
{
	return share->delta == delta && share->transaction == braid_compat_lxid(MyProc);
}

static bool
has_groups(FastShare *share, BraidDelta *delta)
{
	return share->is_made && was_begun(share, delta);
}

/* ---------------------------------------------------------------- begin */

static bool
has_same_keys(FastGroups *a, FastGroups *b)
{
	bool same = a->nkeys == b->nkeys;

	for (int i = 0; same && i < a->nkeys; i++)
		same = equal(a->keys[i].column->expr, b->keys[i].column->expr);
	return same;
}

/* One that is begun, and looks for the same groups of the same rows; NULL if there is none. */
static FastShare *
find_alike(FastShare *share, List *begun)
{
	ListCell *lc;

	foreach (lc, begun)
	{
		FastShare *other = lfirst(lc);

		if (other->path.task.rows.alike == NULL &&
			equal(other->scan->plan.qual, share->scan->plan.qual) &&
			has_same_keys(&other->path.task.groups, &share->path.task.groups))
			return other;
	}
	return NULL;
}

/* False: it has to be alone. */
static bool
prepare(FastShare *share, FastMessage *message, Size limit)
{
	FastPath *path = &share->path;

	memset(path, 0, sizeof(FastPath));
	path->node = share->node;
	path->task.rows.message = message;
	if (!braid_fast_path_select(path) || !braid_fast_path_take(path, share->scan, false) ||
		!braid_fast_rows_are_simple(&path->task.rows))
		return false;
	braid_fast_path_open_groups(path, limit);
	return true;
}

static List *
begin(FastShare *share, FastMessage *message, Size limit, List *begun)
{
	FastShare *alike;
	MemoryContext old;

	free_memory(share);
	share->is_made = share->is_wanted = false;
	share->transaction = braid_compat_lxid(MyProc);
	share->delta = message->delta;
	share->context = AllocSetContextCreate(TopTransactionContext, "braid shared groups of a delta",
										   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(share->context);
	share->is_barred = !prepare(share, message, limit);
	MemoryContextSwitchTo(old);
	if (share->is_barred)
		return begun;
	alike = find_alike(share, begun);
	if (alike)
	{
		share->path.task.rows.alike = &alike->path.task.rows;
		share->path.task.groups.alike = &alike->path.task.groups;
	}
	return lappend(begun, share);
}

/* Those who ask for groups of the delta, or are expected to. */
static List *
begin_all(FastShare *first, FastMessage *message, int kb)
{
	List *asking = list_make1(first);
	List *begun = NIL;
	ListCell *lc;

	foreach (lc, shares)
	{
		FastShare *share = lfirst(lc);

		if (share != first && share->is_wanted && !share->is_barred &&
			share->source == message->source && share->desc == message->source->desc &&
			!was_begun(share, message->delta))
			asking = lappend(asking, share);
	}
	foreach (lc, asking)
		begun = begin(lfirst(lc), message, (Size) kb * 1024 / list_length(asking), begun);
	return begun;
}

/* ---------------------------------------------------------------- all messages */

/* False: it cannot be done here. */
static bool
take_message(FastShare *share)
{
	FastTask *task = &share->path.task;
	MemoryContext old;
	bool done;

	if (task->rows.alike && !task->rows.alike->is_taken)
		return false;
	old = MemoryContextSwitchTo(share->context);
	task->rows.is_taken = false;
	done =
		braid_fast_batch_take(&task->rows) && (task->rows.nrows == 0 || braid_fast_task_take(task));
	share->is_barred = !done;
	task->rows.is_taken = done;
	MemoryContextSwitchTo(old);
	return done;
}

static List *
take_messages(FastMessage *message, List *begun)
{
	braid_delta_rewind(message->delta);
	while (begun != NIL && braid_fast_message_next(message))
	{
		ListCell *lc;

		CHECK_FOR_INTERRUPTS();
		foreach (lc, begun)
			if (!take_message(lfirst(lc)))
				begun = foreach_delete_current(begun, lc);
	}
	return begun;
}

/* Makes the groups of all, in the memory that there is for one view. */
static void
make_all(FastShare *first, BraidDelta *delta, BraidSource *source)
{
	FastMessage *message = braid_fast_message_make(delta, source);
	int kb = braid_run_take_memory(PG_INT32_MAX);
	List *made = take_messages(message, begin_all(first, message, kb));
	ListCell *lc;

	braid_run_return_memory(kb);
	foreach (lc, made)
	{
		FastShare *share = lfirst(lc);

		share->is_made = true;
		share->memory = braid_capture_take_memory(
			(int) Min(MemoryContextMemAllocated(share->context, true) / 1024, PG_INT32_MAX));
	}
}

/* ---------------------------------------------------------------- one view */

FastPath *
braid_fast_share_make(FastPath *path, Scan *scan)
{
	BraidSource *source;
	BraidDelta *delta = braid_run_batches(((NamedTuplestoreScan *) scan)->enrname, &source);
	FastShare *share;

	if (delta == NULL || delta->nrows < SHARE_ROWS || braid_fast_team_has_helpers(delta->nrows))
		return NULL;
	share = get_share(path->node);
	if (share == NULL)
		return NULL;
	if (!asks_the_same(share, scan, source))
		set_asked(share, scan, source);
	if (!share->is_barred && !has_groups(share, delta))
		make_all(share, delta, source);
	if (!has_groups(share, delta))
		return NULL;
	share->is_wanted = true;
	return &share->path;
}

void
braid_fast_share_end(ViewNode *node)
{
	FastShare *share = find_share(node);

	if (share == NULL || !share->is_made)
		return;
	if (share->transaction == braid_compat_lxid(MyProc))
		MemoryContextDelete(share->context);
	free_memory(share);
	share->is_made = false;
}
