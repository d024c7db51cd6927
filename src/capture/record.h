/*
 * record.h
 *	  What a record of the log says of transactions.
 */
#ifndef BRAID_CAPTURE_RECORD_H
#define BRAID_CAPTURE_RECORD_H

#include "access/xlogreader.h"
#include "datatype/timestamp.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"

/* A transaction has ended, or a subtransaction was rolled back. */
typedef struct RecordedEnd
{
	bool is_commit;
	TransactionId xid;
	int nsubxacts;			 /* that have ended with it, in the same way */
	TransactionId *subxacts; /* of a commit: sorted by xidComparator(); in the record */
	TimestampTz when;		 /* of a commit */
} RecordedEnd;

/* False if the record that was read last ends nothing.  Who decodes it must have done so. */
extern bool braid_record_is_end(XLogReaderState *record, RecordedEnd *end);

/*
 * The gid, if the record commits a prepared transaction; else NULL.  It is valid until the next
 * call.
 */
extern const char *braid_record_gid(XLogReaderState *record);

/*
 * Whether the record tells which transactions run: then those older than *oldest do not.
 * Subtransactions are younger than their transactions.
 */
extern bool braid_record_tells_oldest(XLogReaderState *record, TransactionId *oldest);

/*
 * Does what the decoder does for every record: tells the reorder buffer of who has written
 * the one that was read last, and returns what it knows of him.
 */
extern ReorderBufferTXN *braid_record_register(LogicalDecodingContext *decoding);

/*
 * His top-level transaction: himself, if the log was not read from its begin, but then its
 * commit will be skipped.
 */
extern ReorderBufferTXN *braid_record_top(ReorderBufferTXN *txn);

#endif /* BRAID_CAPTURE_RECORD_H */
