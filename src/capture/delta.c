/*
 * delta.c
 *	  What consumers ask of a delta.
 *
 * NOTES
 *	  The delta of a table is rows.  That of a stream is the messages, as they were
 *	  logged: who can read them by column does so, and rows are made for those
 *	  who cannot, once for all of them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "capture/rows.h"
#include "utils/memutils.h"

bool
braid_delta_is_empty(BraidDelta *delta)
{
	return delta->rows == NULL && delta->batches == NULL;
}

/* ---------------------------------------------------------------- batches */

void
braid_delta_rewind(BraidDelta *delta)
{
	MemoryContext old;

	if (delta->batches == NULL)
		return;
	tuplestore_rescan(delta->batches);
	if (delta->reader)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	delta->reader = braid_rows_make_slot();
	MemoryContextSwitchTo(old);
}

void
braid_delta_take(BraidDelta *delta, BraidBatch *batch, XLogRecPtr lsn, Oid stream,
				 const char *message, Size size)
{
	MessagePlace place;

	delta->lsn = lsn;
	delta->stream = stream;
	braid_rows_begin_place(&place, lsn, stream);
	braid_batch_open(batch, message, size);
	braid_rows_end_place(&place);
}

bool
braid_delta_next(BraidDelta *delta, BraidBatch *batch)
{
	SourceMessage m;

	if (delta->batches == NULL || !braid_rows_next_message(delta->batches, delta->reader, &m))
		return false;
	braid_delta_take(delta, batch, m.lsn, m.stream, VARDATA(m.bytes), VARSIZE(m.bytes) - VARHDRSZ);
	return true;
}

/*
 * Whether the batch has the column with values of this type.  One that a view reads cannot be
 * altered; but the delta may go back to before it was, if nobody read the column then, and who
 * reads it now began with what has been written since.
 */
static bool
has_column(BraidBatch *batch, AttrNumber attnum, Oid type)
{
	int i = Min(batch->ncolumns, attnum) - 1;

	while (i >= 0 && batch->columns[i].attnum > attnum)
		i--;
	return i >= 0 && batch->columns[i].attnum == attnum && batch->columns[i].type == type;
}

bool
braid_delta_column(BraidDelta *delta, BraidSource *source, BraidBatch *batch, int column,
				   Datum *values, bool *nulls)
{
	AttrNumber attnum = source->attnums[column - 1];
	Oid type = TupleDescAttr(source->desc, column)->atttypid; /* the first one is the weight */
	MessagePlace place;
	bool any_null;

	if (!has_column(batch, attnum, type))
	{
		memset(values, 0, sizeof(Datum) * batch->nrows);
		memset(nulls, true, sizeof(bool) * batch->nrows);
		return true;
	}
	braid_rows_begin_place(&place, delta->lsn, delta->stream);
	(void) braid_batch_column(batch, attnum, type, values, nulls, &any_null);
	braid_rows_end_place(&place);
	if (!any_null)
		memset(nulls, false, sizeof(bool) * batch->nrows);
	return any_null;
}

/* ---------------------------------------------------------------- rows */

/* The columns of a batch that the source wants, each as an array. */
typedef struct Columns
{
	Datum **values;
	bool **nulls;
} Columns;

static void
put_rows(Tuplestorestate *rows, BraidSource *source, BraidBatch *batch, Columns *c)
{
	Datum values[MaxTupleAttributeNumber];
	bool nulls[MaxTupleAttributeNumber];
	int n = source->desc->natts;

	values[0] = Int64GetDatum(1);
	nulls[0] = false;
	for (int row = 0; row < batch->nrows; row++)
	{
		for (int i = 1; i < n; i++)
		{
			values[i] = c->values[i][row];
			nulls[i] = c->nulls[i][row];
		}
		tuplestore_putvalues(rows, source->desc, values, nulls);
	}
}

static void
put_batch(Tuplestorestate *rows, BraidDelta *delta, BraidSource *source, BraidBatch *batch)
{
	Columns c;

	c.values = palloc(sizeof(Datum *) * source->desc->natts);
	c.nulls = palloc(sizeof(bool *) * source->desc->natts);
	for (int i = 1; i < source->desc->natts; i++)
	{
		c.values[i] = palloc(sizeof(Datum) * batch->nrows);
		c.nulls[i] = palloc(sizeof(bool) * batch->nrows);
		(void) braid_delta_column(delta, source, batch, i, c.values[i], c.nulls[i]);
	}
	put_rows(rows, source, batch, &c);
}

/* If it throws nothing is made, and what was begun goes with the transaction. */
void
braid_delta_make_rows_of(BraidDelta *delta, BraidSource *source)
{
	Tuplestorestate *rows;
	BraidBatch batch;
	MemoryContext context;
	MemoryContext old;

	if (delta->rows || delta->batches == NULL)
		return;
	rows = braid_rows_begin(ROWS_OF_CYCLE, &delta->memory);
	context = AllocSetContextCreate(CurrentMemoryContext, "braid batch", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	braid_delta_rewind(delta);
	while (braid_delta_next(delta, &batch))
	{
		put_batch(rows, delta, source, &batch);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	delta->rows = rows;
}

void
braid_delta_make_rows(BraidSource *source)
{
	braid_delta_make_rows_of(&source->delta, source);
}
