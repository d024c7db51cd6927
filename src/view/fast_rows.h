/*
 * fast_rows.h
 *	  Rows of a delta as columns, some of them at a time.
 */
#ifndef BRAID_FAST_ROWS_H
#define BRAID_FAST_ROWS_H

#include "access/attnum.h"
#include "capture/capture.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"

/* Rows that are looked at together, unless a message brings more. */
#define FAST_ROWS 1024
#define FAST_FEW_ROWS 16

typedef struct FastVector FastVector; /* a simple expression */

/*
 * What is needed of the rows that are looked at together: an expression over the
 * columns of what is scanned.  It is null where its filter is not true, and is
 * not computed there.
 */
typedef struct FastColumn
{
	Expr *expr;
	struct FastColumn *filter; /* NULL: none */
	Oid type;				   /* without domains */
	int16 length;
	bool by_value;
	bool is_null_only;	/* nobody asks for the values */
	AttrNumber attnum;	/* of a plain column; else 0 */
	bool is_kept;		/* needed once rows have met the conditions */
	ExprState *state;	/* of any other, */
	FastVector *vector; /* which is computed once rows have been read, if it is simple; or NULL */
	Datum *values;		/* of the rows that are looked at */
	bool *nulls;
	bool any_null;
	int nroom; /* rows that there is room for in */
	Datum *own_values;
	bool *own_nulls;
	char *own_room; /* of values by reference */
} FastColumn;

/* A column of a message, read when it is asked for. */
typedef struct FastMessageColumn
{
	bool is_read;
	bool any_null;
	int nroom;
	Datum *values;
	bool *nulls;
} FastMessageColumn;

/* A message of a stream, for one who reads it or for several. */
typedef struct FastMessage
{
	BraidDelta *delta;
	BraidSource *source;
	MemoryContext context;		/* of the columns, */
	MemoryContext open_context; /* and of what opening a message takes */
	BraidBatch batch;
	FastMessageColumn *columns; /* by their number in the source */
} FastMessage;

struct FastRows;

/* The next message, false if there is none; it stays until the next call. */
typedef bool (*FastNextMessage)(struct FastRows *rows, BraidBatch *batch);

typedef struct FastRows
{
	Scan *scan;
	List *columns; /* FastColumn; filters before what they are of */
	int nrows;	   /* that are looked at */
	int nroom;	   /* that there is room for */
	bool are_few;  /* there are few in all */
	ExprState *qual;
	List *conditions; /* FastVector, the same; NIL if it is not simple */
	EState *estate;
	ExprContext *context;
	TupleTableSlot *slot;		 /* of a row that is read, */
	TupleTableSlot *inputs_slot; /* and of one that is in columns */
	AttrNumber last;			 /* column of the scanned rows that is needed */
	Tuplestorestate *store;		 /* rows; or */
	FastMessage *message;		 /* messages of a stream, */
	FastNextMessage next_message;
	void *feed;				/* of next_message */
	List *inputs;			/* columns that such expressions refer to, */
	bool *meets;			/* whether a row meets the conditions */
	int *passed;			/* and which rows do */
	bool *no_nulls;			/* of columns without any */
	struct FastRows *alike; /* of the same message, with the same conditions; or NULL */
	bool is_taken;			/* it has been looked at to the end */
} FastRows;

/* The column of an expression, and of one more condition; there is one for all that ask for the same. */
extern FastColumn *braid_fast_column(FastRows *rows, Expr *expr, FastColumn *filter);

/*
 * Begins to read what has the name that the plan scans, or, if all is known but the
 * expressions, prepares to evaluate them; the next rows, none in the end; ends.
 */
extern void braid_fast_rows_open(FastRows *rows, PlannedStmt *stmt);
extern void braid_fast_rows_prepare(FastRows *rows, int jit_flags, TupleDesc desc);
extern bool braid_fast_rows_next(FastRows *rows);
extern void braid_fast_rows_close(FastRows *rows);

/* Room for that many rows, but for columns; and in one of these. */
extern void braid_fast_rows_make_room(FastRows *rows, int nrows);
extern void braid_fast_column_make_room(FastColumn *c, int nrows);

/*
 * If conditions and expressions are simple, so that nothing else is needed for messages: as prepare,
 * which is not called then.
 */
extern bool braid_fast_rows_are_simple(FastRows *rows);

/* fast_batch.c: the same for messages, read from their delta; inputs have been found. */
extern FastMessage *braid_fast_message_make(BraidDelta *delta, BraidSource *source);
extern bool braid_fast_message_next(FastMessage *message);
extern bool braid_fast_batch_read(FastRows *rows, BraidBatch *batch);
extern bool braid_fast_batch_next(FastRows *rows);

/* Looks at the rows of the message; false: some need to be looked at one by one. */
extern bool braid_fast_batch_take(FastRows *rows);

/* Computes an expression for the rows that are looked at, of columns that have been; the same. */
extern bool braid_fast_column_compute(FastRows *rows, FastColumn *c);

/* A value that does not stay where it is. */
static inline Datum
braid_fast_keep(FastColumn *c, int row, Datum value)
{
	char *to = c->own_room + (Size) c->length * row;

	memcpy(to, DatumGetPointer(value), c->length);
	return PointerGetDatum(to);
}

/* Whether a row is left out by the column's filter. */
static inline bool
braid_fast_is_filtered(FastColumn *c, int row)
{
	return c->filter && (c->filter->nulls[row] || !DatumGetBool(c->filter->values[row]));
}

#endif /* BRAID_FAST_ROWS_H */
