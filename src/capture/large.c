/*
 * large.c
 *	  Rows of large transactions, while these are in progress.
 *
 * NOTES
 *	  Changes wait in the reorder buffer until their transaction commits.  When
 *	  there is no more room, it puts those of the largest one into files, with a
 *	  system call for each change, to read them back at the commit.  Here it hands
 *	  them over instead, while the transaction goes on, and what is kept are the
 *	  columns that are wanted of the tables that are captured, in tuplestores:
 *
 *		reorder buffer full:  start  change, change, ...  stop
 *		again:                start  change, change, ...  stop
 *		commit record:        start  change, change, ...  stop  commit
 *
 *	  At the commit it is known where the rows go, as it is for other transactions
 *	  (source.c); a tuplestore is passed on as it is, if it can be.
 *
 *	  Subtransactions that are rolled back must leave nothing behind.  Rows come
 *	  in the order in which they were written, so those of one subtransaction make
 *	  few runs: a new one begins where a subtransaction begins or ends.  Whose runs
 *	  count is asked at the commit: the reorder buffer then has the top-level
 *	  transaction and those subtransactions that have committed with it, as it
 *	  forgets others when it reads their abort record.  It also tells of these, but
 *	  not always: a subtransaction that was in files before is not marked as handed
 *	  over.  The runs are few beside what the reorder buffer itself keeps of each
 *	  subtransaction.
 *
 *	  Someone may abort while changes of his are decoded, and catalogs that only he
 *	  has changed be cleaned up.  PostgreSQL notices that whenever it reads a
 *	  catalog here, and throws away all that it has of the top-level transaction.
 *	  As the abort record was not read yet, these are changes of what is aborted;
 *	  and notes that catalogs have changed by commits of others, which count for
 *	  all that the transaction does afterwards.  So it is given the catalogs as of
 *	  the present position, which have these and all before.  Without that, tables
 *	  that others have rewritten meanwhile would not be found by their files.
 *
 *	  While a transaction goes on that has changed catalogs, ordinary commands and
 *	  the decoding of its changes see these differently, without any invalidation
 *	  in between: decoder.c then flushes the caches each time.
 *
 *	  Nothing of this outlives the worker.  The slot keeps the WAL of a transaction
 *	  in progress from its first record on, and a new worker decodes all of it.
 *	  What lies below the confirmed position is not handed over before the end is
 *	  known to lie above: it goes through files.
 */
#include "postgres.h"

#include "access/transam.h"
#include "capture/capture.h"
#include "capture/large.h"
#include "capture/record.h"
#include "capture/rows.h"
#include "capture/source.h"
#include "common/compat.h"
#include "replication/reorderbuffer.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

bool braid_capture_in_progress = true;

/* Rows that follow each other, of one (sub)transaction. */
typedef struct Run
{
	TransactionId xid;
	int64 first; /* row */
	bool retracts;
	bool recompute;
	bool incomplete;
} Run;

/* What a transaction has changed of one table. */
typedef struct Part
{
	Oid relid;		  /* of the source */
	bool is_merged;	  /* the source's frontier has the transaction: nothing is kept */
	BraidDelta delta; /* of all runs; its flags are those of the last */
	Run *runs;
	int nruns;
	int room; /* for runs */
} Part;

typedef struct LargeTransaction
{
	TransactionId xid; /* top-level */
	MemoryContext context;
	bool is_aborted; /* nothing is kept */
	bool has_ddl;	 /* it has changed catalogs */
	bool is_cut;	 /* changes were thrown away */
	List *parts;
} LargeTransaction;

static List *transactions = NIL; /* in TopMemoryContext */

/* Between start and stop. */
static LargeTransaction *coming = NULL;
static Part *coming_part = NULL;

static bool any_cut = false;

/* ---------------------------------------------------------------- what is kept */

static LargeTransaction *
find(TransactionId xid)
{
	ListCell *lc;

	foreach (lc, transactions)
		if (((LargeTransaction *) lfirst(lc))->xid == xid)
			return lfirst(lc);
	return NULL;
}

static LargeTransaction *
make(TransactionId xid)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid large transaction", ALLOCSET_SMALL_SIZES);
	LargeTransaction *t = MemoryContextAllocZero(context, sizeof(LargeTransaction));
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	t->xid = xid;
	t->context = context;
	transactions = lappend(transactions, t);
	MemoryContextSwitchTo(old);
	return t;
}

static void
free_parts(LargeTransaction *t)
{
	ListCell *lc;

	foreach (lc, t->parts)
		braid_rows_free(&((Part *) lfirst(lc))->delta);
	t->parts = NIL;
}

static void
free_large(LargeTransaction *t)
{
	free_parts(t);
	MemoryContextDelete(t->context);
}

static void
forget(LargeTransaction *t)
{
	transactions = list_delete_ptr(transactions, t);
	free_large(t);
}

void
braid_large_forget(void)
{
	while (transactions != NIL)
		forget(linitial(transactions));
	coming = NULL;
}

bool
braid_large_has(TransactionId xid)
{
	return find(xid) != NULL;
}

bool
braid_large_any(void)
{
	return transactions != NIL;
}

bool
braid_large_any_ddl(void)
{
	ListCell *lc;

	foreach (lc, transactions)
		if (((LargeTransaction *) lfirst(lc))->has_ddl)
			return true;
	return false;
}

/* ---------------------------------------------------------------- rows */

static Part *
find_part(LargeTransaction *t, Oid relid)
{
	ListCell *lc;

	foreach (lc, t->parts)
		if (((Part *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

static Part *
make_part(LargeTransaction *t, BraidSource *source)
{
	MemoryContext old = MemoryContextSwitchTo(t->context);
	Part *part = palloc0(sizeof(Part));

	part->relid = source->relid;
	part->is_merged = source->has_frontier && braid_frontier_contains(&source->frontier, t->xid);
	part->room = 4;
	part->runs = palloc(sizeof(Run) * part->room);
	t->parts = lappend(t->parts, part);
	MemoryContextSwitchTo(old);
	return part;
}

/* What was said of the last run stays with it. */
static void
end_run(Part *part)
{
	Run *run;

	if (part->nruns == 0)
		return;
	run = &part->runs[part->nruns - 1];
	run->retracts |= part->delta.retracts;
	run->recompute |= part->delta.recompute;
	run->incomplete |= part->delta.incomplete;
	part->delta.retracts = part->delta.recompute = part->delta.incomplete = false;
}

static void
begin_run(Part *part, TransactionId xid)
{
	end_run(part);
	if (part->nruns == part->room)
	{
		part->room *= 2;
		part->runs = repalloc_huge(part->runs, sizeof(Run) * part->room);
	}
	part->runs[part->nruns++] = (Run){.xid = xid, .first = part->delta.nrows};
}

bool
braid_large_is_coming(void)
{
	return coming != NULL;
}

BraidDelta *
braid_large_target(BraidSource *source, TransactionId xid)
{
	if (coming->is_aborted)
		return NULL;
	if (coming_part == NULL || coming_part->relid != source->relid)
		coming_part = find_part(coming, source->relid);
	if (coming_part == NULL)
		coming_part = make_part(coming, source);
	if (coming_part->is_merged)
		return NULL;
	if (coming_part->nruns == 0 || coming_part->runs[coming_part->nruns - 1].xid != xid)
		begin_run(coming_part, xid);
	return &coming_part->delta;
}

void
braid_large_put(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls)
{
	braid_rows_put(delta, ROWS_OF_MANY, desc, values, nulls);
}

void
braid_large_begin(TransactionId xid)
{
	Assert(coming == NULL);
	coming = find(xid);
	if (coming == NULL)
		coming = make(xid);
	coming_part = NULL;
}

void
braid_large_stop(void)
{
	coming = NULL;
}

/* ---------------------------------------------------------------- the commit */

/* The top-level transaction and those of its subtransactions that have committed, sorted. */
static TransactionId *
committed_xids(ReorderBufferTXN *txn, int *n)
{
	TransactionId *xids =
		palloc_extended(sizeof(TransactionId) * (txn->nsubtxns + 1), MCXT_ALLOC_HUGE);
	dlist_iter iter;

	*n = 0;
	xids[(*n)++] = txn->xid;
	dlist_foreach (iter, &txn->subtxns)
		xids[(*n)++] = dlist_container(ReorderBufferTXN, node, iter.cur)->xid;
	qsort(xids, *n, sizeof(TransactionId), xidComparator);
	return xids;
}

/* Sets the flags that count; returns whether all runs do. */
static bool
judge_runs(Part *part, const TransactionId *xids, int n)
{
	bool all = true;

	end_run(part);
	for (int i = 0; i < part->nruns; i++)
	{
		Run *run = &part->runs[i];

		if (bsearch(&run->xid, xids, n, sizeof(TransactionId), xidComparator))
		{
			part->delta.retracts |= run->retracts;
			part->delta.recompute |= run->recompute;
			part->delta.incomplete |= run->incomplete;
		}
		else
		{
			run->xid = InvalidTransactionId;
			all = false;
		}
	}
	return all;
}

/* Hands on the rows of the runs that count. */
static void
put_runs(Part *part, BraidSource *source, BraidDelta *to)
{
	RowReader r;

	braid_rows_begin_reading(&r, part->delta.rows, source->desc);
	for (int i = 0; i < part->nruns; i++)
	{
		int64 next = i + 1 < part->nruns ? part->runs[i + 1].first : part->delta.nrows;
		int64 n = next - part->runs[i].first;

		if (part->runs[i].xid == InvalidTransactionId)
		{
			if (n > 0)
				(void) tuplestore_skiptuples(part->delta.rows, n, true);
			continue;
		}
		while (n-- > 0 && braid_rows_next(&r))
			braid_source_put(to, source->desc, r.values, r.nulls);
	}
	braid_rows_end_reading(&r);
}

static void
hand_over(Part *part, const TransactionId *xids, int n)
{
	BraidSource *source = braid_source_find(part->relid);
	BraidDelta *to = source ? braid_source_target(source) : NULL;
	bool all;

	if (to == NULL)
		return;
	all = judge_runs(part, xids, n);
	braid_rows_add_flags(to, &part->delta);
	if (all)
		braid_source_put_all(source, &part->delta);
	else
		put_runs(part, source, to);
}

void
braid_large_commit(ReorderBufferTXN *txn)
{
	LargeTransaction *t = find(txn->xid);
	TransactionId *xids;
	ListCell *lc;
	int n;

	if (t == NULL)
		return;
	xids = committed_xids(txn, &n);
	foreach (lc, t->parts)
		hand_over(lfirst(lc), xids, n);
	pfree(xids);
	forget(t);
}

static void
forget_xid(TransactionId xid)
{
	LargeTransaction *t = find(xid);

	if (t)
		forget(t);
}

void
braid_large_end(const RecordedEnd *end)
{
	forget_xid(end->xid);
	for (int i = 0; i < end->nsubxacts; i++)
		forget_xid(end->subxacts[i]);
}

void
braid_large_forget_older(TransactionId oldest)
{
	ListCell *lc;

	foreach (lc, transactions)
	{
		LargeTransaction *t = lfirst(lc);

		if (!TransactionIdPrecedes(t->xid, oldest))
			continue;
		transactions = foreach_delete_current(transactions, lc);
		free_large(t);
	}
}

/* ---------------------------------------------------------------- callbacks */

static void
stream_start_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	braid_large_begin(txn->xid);
	if (!coming->is_aborted && TransactionIdDidAbort(txn->xid))
	{
		free_parts(coming);
		coming->is_aborted = true;
	}
}

static bool
has_known_aborted(ReorderBufferTXN *txn)
{
	dlist_iter iter;

	dlist_foreach (iter, &txn->subtxns)
		if (braid_compat_is_known_aborted(dlist_container(ReorderBufferTXN, node, iter.cur)))
			return true;
	return false;
}

static void
stream_stop_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	coming->has_ddl |= rbtxn_has_catalog_changes(txn);
	coming->is_cut = has_known_aborted(txn);
	any_cut |= coming->is_cut;
	braid_large_stop();
}

/*
 * Not in the callback, where the reorder buffer has these changes in hand.  What
 * the record that was just read has added is of the subtransaction that is aborted,
 * if it is of this transaction.
 */
void
braid_large_mend(LogicalDecodingContext *ctx)
{
	ListCell *lc;

	if (!any_cut)
		return;
	any_cut = false;
	foreach (lc, transactions)
	{
		LargeTransaction *t = lfirst(lc);

		if (!t->is_cut)
			continue;
		t->is_cut = false;
		if (ReorderBufferXidHasBaseSnapshot(ctx->reorder, t->xid))
			ReorderBufferAddSnapshot(ctx->reorder, t->xid, ctx->reader->EndRecPtr,
									 braid_compat_catalog_snapshot(ctx->snapshot_builder));
	}
}

/* Also called for subtransactions, whose runs are looked at when all is over. */
static void
stream_abort_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr abort_lsn)
{
	forget_xid(txn->xid);
}

static void
stream_commit_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	braid_source_begin_transaction(txn->xid, commit_lsn, txn->xact_time.commit_time);
	braid_large_commit(txn);
}

void
braid_large_set_callbacks(OutputPluginCallbacks *cb)
{
	cb->stream_start_cb = stream_start_cb;
	cb->stream_stop_cb = stream_stop_cb;
	cb->stream_abort_cb = stream_abort_cb;
	cb->stream_commit_cb = stream_commit_cb;
}
