/*
 * delta.h
 *	  Tables that are captured, and what a cycle brings to them.
 */
#ifndef BRAID_DELTA_H
#define BRAID_DELTA_H

#include "access/tupdesc.h"
#include "capture/frontier.h"
#include "common/histogram.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/tuplestore.h"

/* The weight of a row that was deleted, and not updated, if the source tells that apart. */
#define BRAID_DELETED (-3)

/* Rows that came (weight +1) or went (weight -1). */
typedef struct BraidDelta
{
	Tuplestorestate *rows; /* NULL while there are none */
	int64 nrows;
	int memory;		 /* kB that the rows may take, of the worker's */
	bool retracts;	 /* a weight is negative */
	bool recompute;	 /* rows do not tell: read the table under S */
	bool incomplete; /* a change came without its old row */
} BraidDelta;

/* A table, or the leaf partitions of one, whose changes are captured. */
typedef struct BraidSource
{
	Oid relid;
	TupleDesc desc;			 /* of the rows: the weight, then the columns wanted */
	AttrNumber *attnums;	 /* of those columns in relid */
	List *members;			 /* oids, sorted: relid itself or its leaf partitions */
	bool has_frontier;		 /* false: never read, or the slot was lost */
	BraidFrontier frontier;	 /* what the consumer has of this table */
	bool tells_deletes;		 /* rows deleted have a weight of their own */
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
 * When the cycle has committed: adds the times from commit to visible of the cycle's
 * transactions that have changed any of these tables.  Returns how many.
 */
extern uint64 braid_capture_add_latencies(List *relids, TimestampTz visible, BraidHistogram *h);

#endif /* BRAID_DELTA_H */
