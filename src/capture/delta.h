/*
 * delta.h
 *	  Tables that are captured, and what a cycle brings to them.
 */
#ifndef BRAID_DELTA_H
#define BRAID_DELTA_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "common/frontier.h"
#include "common/histogram.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "stream/pack.h"
#include "utils/tuplestore.h"

/* The weight of a row that was deleted, and not updated, if the source tells that apart. */
#define BRAID_DELETED (-3)

/* Rows that came (weight +1) or went (weight -1). */
typedef struct BraidDelta
{
	Tuplestorestate *rows;	  /* NULL while there are none, and see braid_delta_make_rows() */
	Tuplestorestate *batches; /* of a stream: its messages; NULL while there are none */
	TupleTableSlot *reader;	  /* of these; the one read last: where it was logged, by whom */
	XLogRecPtr lsn;
	Oid stream;
	int64 nrows;	 /* in rows, or of all batches */
	int memory;		 /* kB that the rows may take, of the worker's */
	bool retracts;	 /* a weight is negative */
	bool recompute;	 /* rows do not tell: read the table under S */
	bool incomplete; /* a change came without its old row */
} BraidDelta;

/* A table, or the leaf partitions of one, or a stream, whose changes are captured. */
typedef struct BraidSource
{
	Oid relid;
	bool is_stream;
	TupleDesc desc;			 /* of the rows: the weight, then the columns wanted */
	AttrNumber *attnums;	 /* of those columns in relid */
	List *members;			 /* oids, sorted: relid itself or its leaf partitions */
	bool has_frontier;		 /* false: never read, or the slot was lost */
	BraidFrontier frontier;	 /* what the consumer has of this table */
	bool tells_deletes;		 /* rows deleted have a weight of their own */
	bool is_logged;			 /* rows tell who changed them: see braid_capture_want_log() */
	bool reshaped;			 /* rows have another form than before the frontier moved last */
	struct BraidSource *tie; /* towards the representative of those it is tied to */

	List *taps; /* see tap.c */

	/* Of the representative, see component.c. */
	TimestampTz news; /* when changes came last */
	bool rests;		  /* takes no part in the next cycle */
	int64 cost;		  /* of the running cycle: microseconds */

	/* Of the running cycle. */
	bool locked; /* takes part */
	BraidDelta delta;
} BraidSource;

/*
 * From load: rows that were deleted shall have a weight of their own, BRAID_DELETED,
 * in deltas of the table, which is wanted; and whether they have, for somebody, once all is wanted.
 */
extern void braid_capture_want_deletes(Oid relid);
extern bool braid_capture_tells_deletes(Oid relid);

/*
 * From load: all columns of the table, and behind them three that say where a row comes from: the
 * positions of its commit and of its own change in WAL, pg_lsn, and the gid, text, if that was a
 * two-phase commit.  Rows are in no order.  An update is two rows of one change.
 */
extern void braid_capture_want_log(Oid relid);
#define BRAID_LOG_COLUMNS 3

/*
 * The messages of a stream's delta, one after the other, as often as wanted: rewind, then
 * next until it is false.  A batch can be used until the next one is asked for; what it
 * allocates is in the current memory context.  Each of its rows counts +1.  Bytes that are
 * no message are an error, ERRCODE_DATA_CORRUPTED, that names stream and position.
 */
extern void braid_delta_rewind(BraidDelta *delta);
extern bool braid_delta_next(BraidDelta *delta, BraidBatch *batch);

/* Opens a message that another process has of a delta, in an empty one that stands for it. */
extern void braid_delta_take(BraidDelta *delta, BraidBatch *batch, XLogRecPtr lsn, Oid stream,
							 const char *message, Size size);

/*
 * One of the source's columns, from 1, of the batch that came last: values, 0 where nulls says that
 * there is none.  Returns whether that is so for any row.  It is null in all rows if the message has
 * no such column, or one of another type.  Errors name stream and position.
 */
extern bool braid_delta_column(BraidDelta *delta, BraidSource *source, BraidBatch *batch,
							   int column, Datum *values, bool *nulls);

/*
 * Makes the rows of a stream's delta, for statements, unless that has been done in this
 * cycle: with a weight of +1 and the columns wanted.  The second one does so for the delta
 * of a tap, of the source.
 */
extern void braid_delta_make_rows(BraidSource *source);
extern void braid_delta_make_rows_of(BraidDelta *delta, BraidSource *source);

/* Whether there is anything in the delta. */
extern bool braid_delta_is_empty(BraidDelta *delta);

/*
 * When the cycle has committed: adds the times from commit to visible of the cycle's
 * transactions that have changed any of these tables.  Returns how many.
 */
extern uint64 braid_capture_add_latencies(List *relids, TimestampTz visible, BraidHistogram *h);

#endif /* BRAID_DELTA_H */
