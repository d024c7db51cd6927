/*
 * rows.h
 *	  Rows and messages that deltas and pieces consist of.
 */
#ifndef BRAID_CAPTURE_ROWS_H
#define BRAID_CAPTURE_ROWS_H

#include "access/xlogdefs.h"
#include "capture/delta.h"

/* What they belong to, which says how long they are kept and how much in memory. */
typedef enum RowsOwner
{
	ROWS_OF_CYCLE,		 /* until the transaction ends */
	ROWS_OF_TRANSACTION, /* until they are freed; of one of many */
	ROWS_OF_MANY		 /* until they are freed; of many transactions, or a large one */
} RowsOwner;

/* Rows one after the other, from where another reader has stopped.  At the last one it ends itself. */
typedef struct RowReader
{
	Tuplestorestate *rows;
	TupleTableSlot *slot;
	Datum *values; /* of the row read last, until the next one is */
	bool *nulls;
} RowReader;

/* A message of a stream, and who wrote it. */
typedef struct SourceMessage
{
	XLogRecPtr lsn;		   /* where it was logged */
	TimestampTz committed; /* 0: not yet */
	TransactionId xid;
	Oid stream;
	int nrows;
	struct varlena *bytes; /* not compressed, with a header of four bytes */
} SourceMessage;

/* Once, in a worker. */
extern void braid_rows_setup(void);

/* Begins a tuplestore; *memory grows by what it may keep in memory, in kB. */
extern Tuplestorestate *braid_rows_begin(RowsOwner owner, int *memory);

/* Appends to a delta or a piece, which has one owner for all that it has. */
extern void
braid_rows_put(BraidDelta *delta, RowsOwner owner, TupleDesc desc, Datum *values, bool *nulls);
extern void braid_rows_put_message(BraidDelta *delta, RowsOwner owner, const SourceMessage *m);
extern void braid_rows_append_message(Tuplestorestate *messages, const SourceMessage *m);

/*
 * Messages in a tuplestore: the next one, false if there is none.  Its bytes are the slot's, and
 * stay until the next call.
 */
extern TupleTableSlot *braid_rows_make_slot(void);
extern bool
braid_rows_next_message(Tuplestorestate *messages, TupleTableSlot *slot, SourceMessage *m);

/*
 * Between begin and end the error context names a message, by where it was logged, and its
 * stream, if that is known.
 */
typedef struct MessagePlace
{
	ErrorContextCallback callback;
	XLogRecPtr lsn;
	Oid stream;
} MessagePlace;

extern void braid_rows_begin_place(MessagePlace *place, XLogRecPtr lsn, Oid stream);
extern void braid_rows_end_place(MessagePlace *place);

/* Rows of the form of desc. */
extern void braid_rows_begin_reading(RowReader *reader, Tuplestorestate *rows, TupleDesc desc);
extern bool braid_rows_next(RowReader *reader);
extern void braid_rows_end_reading(RowReader *reader);

/* Adds what is true of all rows. */
extern void braid_rows_add_flags(BraidDelta *to, const BraidDelta *from);

/* Joins the rows of both, of a table, in one of them; from has some left, or none. */
extern void braid_rows_join(BraidDelta *to, BraidDelta *from, TupleDesc desc);

/* Frees all that the delta has, and makes it empty. */
extern void braid_rows_free(BraidDelta *delta);

#endif /* BRAID_CAPTURE_ROWS_H */
