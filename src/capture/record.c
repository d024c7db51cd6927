/*
 * record.c
 *	  What a record of the log says of transactions.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "capture/record.h"
#include "storage/standbydefs.h"
#include "utils/builtins.h"

static void
read_commit(XLogReaderState *record, RecordedEnd *end)
{
	xl_xact_parsed_commit c;

	ParseCommitRecord(XLogRecGetInfo(record), (xl_xact_commit *) XLogRecGetData(record), &c);
	end->is_commit = true;
	end->xid = TransactionIdIsValid(c.twophase_xid) ? c.twophase_xid : XLogRecGetXid(record);
	end->nsubxacts = c.nsubxacts;
	end->subxacts = c.subxacts;
	end->when = c.xinfo & XACT_XINFO_HAS_ORIGIN ? c.origin_timestamp : c.xact_time;
	qsort(end->subxacts, end->nsubxacts, sizeof(TransactionId), xidComparator);
}

static void
read_abort(XLogReaderState *record, RecordedEnd *end)
{
	xl_xact_parsed_abort a;

	ParseAbortRecord(XLogRecGetInfo(record), (xl_xact_abort *) XLogRecGetData(record), &a);
	end->is_commit = false;
	end->xid = TransactionIdIsValid(a.twophase_xid) ? a.twophase_xid : XLogRecGetXid(record);
	end->nsubxacts = a.nsubxacts;
	end->subxacts = a.subxacts;
	end->when = 0;
}

bool
braid_record_is_end(XLogReaderState *record, RecordedEnd *end)
{
	if (XLogRecGetRmid(record) != RM_XACT_ID)
		return false;
	switch (XLogRecGetInfo(record) & XLOG_XACT_OPMASK)
	{
		case XLOG_XACT_COMMIT:
		case XLOG_XACT_COMMIT_PREPARED:
			read_commit(record, end);
			return true;
		case XLOG_XACT_ABORT:
		case XLOG_XACT_ABORT_PREPARED:
			read_abort(record, end);
			return true;
		default:
			return false;
	}
}

const char *
braid_record_gid(XLogReaderState *record)
{
	static char gid[GIDSIZE];
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		(XLogRecGetInfo(record) & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT_PREPARED)
		return NULL;
	ParseCommitRecord(XLogRecGetInfo(record), (xl_xact_commit *) XLogRecGetData(record), &parsed);
	strlcpy(gid, parsed.twophase_gid, sizeof(gid));
	return gid[0] == '\0' ? NULL : gid;
}

bool
braid_record_tells_oldest(XLogReaderState *record, TransactionId *oldest)
{
	if (XLogRecGetRmid(record) != RM_STANDBY_ID ||
		(XLogRecGetInfo(record) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS)
		return false;
	*oldest = ((xl_running_xacts *) XLogRecGetData(record))->oldestRunningXid;
	return true;
}

ReorderBufferTXN *
braid_record_register(LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	TransactionId xid = XLogRecGetXid(record);
	ReorderBufferTXN *txn;

	if (TransactionIdIsValid(XLogRecGetTopXid(record)))
		ReorderBufferAssignChild(decoding->reorder, XLogRecGetTopXid(record), xid,
								 record->ReadRecPtr);
	ReorderBufferProcessXid(decoding->reorder, xid, record->ReadRecPtr);

	/* The last one that was looked up. */
	txn = decoding->reorder->by_txn_last_txn;
	Assert(txn->xid == xid);
	return txn;
}

ReorderBufferTXN *
braid_record_top(ReorderBufferTXN *txn)
{
	return rbtxn_is_known_subxact(txn) ? txn->toptxn : txn;
}
