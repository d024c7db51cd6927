/*
 * large.h
 *	  Rows of large transactions, while these are in progress.
 */
#ifndef BRAID_LARGE_H
#define BRAID_LARGE_H

#include "access/tupdesc.h"
#include "capture/delta.h"
#include "capture/record.h"
#include "replication/logical.h"

extern bool braid_capture_in_progress;

/* All callbacks for transactions in progress but those that take changes. */
extern void braid_large_set_callbacks(OutputPluginCallbacks *cb);

/*
 * For callbacks: whether the changes that come are of a transaction in progress,
 * and where rows of the source then go, that the (sub)transaction xid has changed;
 * NULL for nowhere.
 */
extern bool braid_large_is_coming(void);
extern BraidDelta *braid_large_target(BraidSource *source, TransactionId xid);
extern void braid_large_put(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls);

/*
 * From the reading of the log: rows of a transaction in progress come, by its top-level id, until
 * stop; and whether any have.
 */
extern void braid_large_begin(TransactionId xid);
extern void braid_large_stop(void);
extern bool braid_large_has(TransactionId xid);

/* The transaction that braid_source_begin_transaction() was told of commits. */
extern void braid_large_commit(ReorderBufferTXN *txn);

/* A transaction has ended, or those older than that: what was not handed over is not wanted. */
extern void braid_large_end(const RecordedEnd *end);
extern void braid_large_forget_older(TransactionId oldest);

/* After each record that was decoded. */
extern void braid_large_mend(LogicalDecodingContext *ctx);

/* Whether anything is kept that was decoded of transactions in progress. */
extern bool braid_large_any(void);
/* Whether one of these transactions has changed catalogs. */
extern bool braid_large_any_ddl(void);

/* All will be decoded again. */
extern void braid_large_forget(void);

#endif /* BRAID_LARGE_H */
