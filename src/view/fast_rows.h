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
	ExprState *state;	/* of any other, */
	FastVector *vector; /* and if it is simple; or NULL */
	Datum *values;		/* those by reference have room of their own */
	bool *nulls;
	bool any_null;
	char *room;
} FastColumn;

struct FastRows;

/* The next message, false if there is none; it stays until the next call. */
typedef bool (*FastNextMessage)(struct FastRows *rows, BraidBatch *batch);

typedef struct FastRows
{
	Scan *scan;
	List *columns; /* FastColumn; filters before what they are of */
	int nrows;	   /* that are looked at */
	int nroom;	   /* that there is room for */
	ExprState *qual;
	List *conditions; /* FastVector, the same; NIL if it is not simple */
	EState *estate;
	ExprContext *context;
	TupleTableSlot *slot;
	AttrNumber last;		/* column of the scanned rows that is needed */
	Tuplestorestate *store; /* rows; or */
	BraidDelta *batches;	/* messages of a stream, */
	BraidSource *source;
	FastNextMessage next_message;
	void *feed;	  /* of next_message */
	List *inputs; /* their columns that expressions refer to, */
	MemoryContext context_of_batch;
	bool *meets; /* whether a row meets the conditions */
	int *passed; /* and which rows do */
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

/* Room for that many rows. */
extern void braid_fast_rows_make_room(FastRows *rows, int nrows);

/* fast_batch.c: the same for messages; inputs have been found.  They are read from the delta. */
extern void braid_fast_batch_open(FastRows *rows);
extern bool braid_fast_batch_read(FastRows *rows, BraidBatch *batch);
extern bool braid_fast_batch_next(FastRows *rows);

/*
 * fast_vector.c: an expression over columns that can be computed for all rows at once;
 * NULL if it cannot.  Computing returns false if some row needs to be looked at by itself.
 */
typedef struct FastVectorResult
{
	const Datum *values;
	const bool *nulls; /* NULL: there are none */
} FastVectorResult;

extern FastVector *braid_fast_vector(FastRows *rows, Expr *expr);
extern bool braid_fast_vector_compute(FastVector *v, int nrows, FastVectorResult *result);

/* A value that does not stay where it is. */
static inline Datum
braid_fast_keep(FastColumn *c, int row, Datum value)
{
	char *to = c->room + (Size) c->length * row;

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
