/*
 * single.c
 *	  Transactions of one row, decoded several at a time.
 *
 * NOTES
 *	  To decode a transaction PostgreSQL makes a subtransaction of ours, takes a
 *	  historic snapshot, and gives up both.  For a transaction of one row that is
 *	  most of the work.  But it is done once for a transaction with all of its
 *	  subtransactions, and the reorder buffer may learn which these are as late as
 *	  at the commit.  So commits of transactions with one row are gathered: the
 *	  second one and those that follow are made known as subtransactions of the
 *	  first, by what the decoder itself calls for those that a commit record
 *	  names, and then the first one is committed.
 *
 *		commit records		 10    11    12    13
 *		told:				 -	   11 is a child of 10, 12 and 13 as well; 10 commits
 *		begin callback		 10
 *		change callbacks	 rows of 10, 11, 12, 13, by their position in the log;
 *							 each begins the transaction that the change names
 *
 *	  Which is right as long as
 *	  - they have the same view of the catalogs.  They have one change each, so
 *		none was handed a newer snapshot while it ran; and what is gathered is
 *		brought before any commit is decoded that changes catalogs, or invalidates
 *		caches;
 *	  - their rows do not depend on each other's.  Toasted values come in several
 *		changes, as do speculative insertions;
 *	  - nothing takes the first for a transaction in progress: a record of the
 *		running transactions would end it as one that has crashed, and the reorder
 *		buffer may put transactions on disk, or hand them over, when it is full.
 *		So what is gathered is brought before the one is decoded, or the other can be;
 *	  - the position of each is known to the slot until its rows have been brought,
 *		which they have before the cycle is.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlogreader.h"
#include "capture/message.h"
#include "capture/single.h"
#include "capture/source.h"
#include "common/compat.h"
#include "replication/origin.h"
#include "replication/reorderbuffer.h"
#include "replication/snapbuild.h"
#include "storage/standbydefs.h"

#define MANY 100 /* transactions: more would not make it cheaper */

/* The first, which has the others as children; NULL: nothing is gathered. */
static ReorderBufferTXN *first = NULL;
static int gathered = 0;
static bool bringing = false;

static bool
is_row(ReorderBufferChange *change)
{
	return change->action == REORDER_BUFFER_CHANGE_INSERT ||
		   change->action == REORDER_BUFFER_CHANGE_UPDATE ||
		   change->action == REORDER_BUFFER_CHANGE_DELETE;
}

/*
 * The transaction, if it has written one row and nothing else that is decoded.  It is the one that the
 * reorder buffer has looked up last, after it was asked for something of it.
 */
static ReorderBufferTXN *
find_single(ReorderBuffer *reorder, TransactionId xid)
{
	ReorderBufferTXN *txn;

	if (!ReorderBufferXidHasBaseSnapshot(reorder, xid) || reorder->by_txn_last_xid != xid)
		return NULL;
	txn = reorder->by_txn_last_txn;
	if (txn->txn_flags != 0 || txn->nentries != 1 || txn->nentries_mem != 1 || txn->nsubtxns != 0 ||
		txn->ntuplecids != 0 || txn->ninvalidations != 0)
		return NULL;
	return is_row(dlist_head_element(ReorderBufferChange, node, &txn->changes)) ? txn : NULL;
}

static void
gather(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, XLogReaderState *record,
	   const xl_xact_parsed_commit *c)
{
	braid_compat_note_commit(decoding->snapshot_builder, record->ReadRecPtr, txn->xid, c->xinfo);
	txn->final_lsn = record->ReadRecPtr;
	txn->end_lsn = record->EndRecPtr;
	txn->xact_time.commit_time = c->xact_time;
	if (first == NULL)
		first = txn;
	else
		ReorderBufferCommitChild(decoding->reorder, first->xid, txn->xid, record->ReadRecPtr,
								 record->EndRecPtr);
	gathered++;
}

/* Of a commit record: whether it ends one transaction by itself, and nothing else. */
static bool
is_plain(XLogReaderState *record, const xl_xact_parsed_commit *c)
{
	return c->nsubxacts == 0 && !TransactionIdIsValid(c->twophase_xid) &&
		   (c->xinfo & (XACT_XINFO_HAS_INVALS | XACT_XINFO_HAS_ORIGIN)) == 0 &&
		   XLogRecGetOrigin(record) == InvalidRepOriginId;
}

/* Whether the decoder would decode the rows of a transaction that ends with the record. */
static bool
is_decoded(LogicalDecodingContext *decoding, XLogReaderState *record)
{
	return SnapBuildCurrentState(decoding->snapshot_builder) == SNAPBUILD_CONSISTENT &&
		   !SnapBuildXactNeedsSkip(decoding->snapshot_builder, record->ReadRecPtr);
}

/* Half of what makes the reorder buffer look for the largest transaction. */
static bool
is_filling(ReorderBuffer *reorder)
{
	return reorder->size > logical_decoding_work_mem * (Size) 1024 / 2;
}

/* A commit record: true if it is taken.  *before: what is gathered has to be brought first. */
static bool
take_commit(LogicalDecodingContext *decoding, XLogReaderState *record, bool *before)
{
	TransactionId xid = XLogRecGetXid(record);
	xl_xact_parsed_commit c;
	ReorderBufferTXN *txn;

	/* As of one that has written to streams alone: nothing is to be decoded. */
	*before = false;
	if (first == NULL && !ReorderBufferXidHasBaseSnapshot(decoding->reorder, xid))
		return false;
	ParseCommitRecord(XLogRecGetInfo(record), (xl_xact_commit *) XLogRecGetData(record), &c);
	*before = true;
	if (!is_plain(record, &c) || !is_decoded(decoding, record) || is_filling(decoding->reorder))
		return false;
	txn = find_single(decoding->reorder, xid);
	if (txn && !braid_message_has_written(xid))
	{
		gather(decoding, txn, record, &c);
		return true;
	}
	*before = ReorderBufferXidHasBaseSnapshot(decoding->reorder, xid);
	return false;
}

bool
braid_single_take(LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	uint8 rmid = XLogRecGetRmid(record);
	bool before = rmid == RM_XACT_ID || rmid == RM_STANDBY_ID || rmid == RM_XLOG_ID;
	bool taken = false;

	if (rmid == RM_XACT_ID && (XLogRecGetInfo(record) & XLOG_XACT_OPMASK) == XLOG_XACT_COMMIT)
		taken = take_commit(decoding, record, &before);
	if (gathered >= MANY || (first && !taken && (before || is_filling(decoding->reorder))))
		braid_single_bring(decoding);
	return taken;
}

void
braid_single_bring(LogicalDecodingContext *decoding)
{
	ReorderBufferTXN *txn = first;

	if (txn == NULL)
		return;
	first = NULL;
	gathered = 0;
	bringing = true;
	ReorderBufferCommit(decoding->reorder, txn->xid, txn->final_lsn, txn->end_lsn,
						txn->xact_time.commit_time, InvalidRepOriginId, InvalidXLogRecPtr);
	bringing = false;
	UpdateDecodingStats(decoding);
}

void
braid_single_begin(ReorderBufferChange *change)
{
	if (bringing)
		braid_source_begin_transaction(change->txn->xid, change->txn->final_lsn,
									   change->txn->xact_time.commit_time);
}
