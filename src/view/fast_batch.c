/*
 * fast_batch.c
 *	  Columns of the messages of a stream.
 *
 * NOTES
 *	  Columns come out of a message as arrays.  Where there is nothing else to be
 *	  computed, no row is looked at; conditions and expressions are evaluated over a
 *	  virtual row, of the columns that they refer to.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/memutils.h"
#include "view/fast_rows.h"

void
braid_fast_batch_open(FastRows *rows)
{
	rows->context_of_batch =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_SMALL_SIZES);
	ExecStoreAllNullTuple(rows->slot);
}

bool
braid_fast_batch_read(FastRows *rows, BraidBatch *batch)
{
	return braid_delta_next(rows->batches, batch);
}

/* ---------------------------------------------------------------- plain columns */

static void
read_columns(FastRows *rows, BraidBatch *batch)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum > 0)
			c->any_null = braid_delta_column(rows->batches, rows->source, batch, c->attnum - 1,
											 c->values, c->nulls);
	}
}

/* ---------------------------------------------------------------- conditions */

/* Puts what expressions refer to into the row. */
static inline void
set_row(FastRows *rows, int row)
{
	ListCell *lc;

	foreach (lc, rows->inputs)
	{
		FastColumn *c = lfirst(lc);

		rows->slot->tts_values[c->attnum - 1] = c->values[row];
		rows->slot->tts_isnull[c->attnum - 1] = c->nulls[row];
	}
}

static void
leave_out(FastRows *rows, FastColumn *c, int npassed)
{
	bool any_null = false;

	for (int i = 0; i < npassed; i++)
		c->values[i] = c->values[rows->passed[i]];
	for (int i = 0; c->any_null && i < npassed; i++)
		any_null |= c->nulls[i] = c->nulls[rows->passed[i]];
	c->any_null = any_null;
}

/* Which rows meet a simple condition; those are left that meet the others. */
static bool
meet_at_once(FastRows *rows, FastVector *condition)
{
	FastVectorResult result;

	if (!braid_fast_vector_compute(condition, rows->nrows, &result))
		return false;
	for (int i = 0; i < rows->nrows; i++)
		rows->meets[i] &= (result.values[i] != 0);
	for (int i = 0; result.nulls && i < rows->nrows; i++)
		rows->meets[i] &= !result.nulls[i];
	return true;
}

static bool
meet_all_at_once(FastRows *rows)
{
	ListCell *lc;

	memset(rows->meets, true, rows->nrows);
	foreach (lc, rows->conditions)
		if (!meet_at_once(rows, lfirst(lc)))
			return false;
	return rows->conditions != NIL;
}

static void
meet_by_row(FastRows *rows)
{
	for (int i = 0; i < rows->nrows; i++)
	{
		ResetExprContext(rows->context);
		set_row(rows, i);
		rows->meets[i] = ExecQual(rows->qual, rows->context);
	}
}

/* Leaves out rows that do not meet the conditions. */
static void
meet_conditions(FastRows *rows)
{
	int npassed = 0;
	ListCell *lc;

	if (!meet_all_at_once(rows))
		meet_by_row(rows);
	for (int i = 0; i < rows->nrows; i++)
	{
		rows->passed[npassed] = i;
		npassed += rows->meets[i];
	}
	if (npassed == rows->nrows)
		return;
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum > 0)
			leave_out(rows, c, npassed);
	}
	rows->nrows = npassed;
}

/* ---------------------------------------------------------------- expressions */

static bool
compute_at_once(FastRows *rows, FastColumn *c)
{
	FastVectorResult result;

	if (c->vector == NULL || !braid_fast_vector_compute(c->vector, rows->nrows, &result))
		return false;
	memcpy(c->values, result.values, sizeof(Datum) * rows->nrows);
	c->any_null = result.nulls != NULL;
	if (result.nulls)
		memcpy(c->nulls, result.nulls, rows->nrows);
	else
		memset(c->nulls, false, rows->nrows);
	return true;
}

static void
compute_by_row(FastRows *rows, FastColumn *c)
{
	for (int i = 0; i < rows->nrows; i++)
	{
		bool isnull = true;
		Datum value = (Datum) 0;

		if (!braid_fast_is_filtered(c, i))
		{
			ResetExprContext(rows->context);
			set_row(rows, i);
			value = ExecEvalExprSwitchContext(c->state, rows->context, &isnull);
		}
		c->nulls[i] = isnull;
		c->any_null |= isnull;
		c->values[i] =
			isnull || c->is_null_only || c->by_value ? value : braid_fast_keep(c, i, value);
	}
}

static void
filter_column(FastRows *rows, FastColumn *c)
{
	for (int i = 0; i < rows->nrows; i++)
		c->nulls[i] |= braid_fast_is_filtered(c, i);
	c->any_null = true;
}

static void
compute_columns(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum == 0 && !compute_at_once(rows, c))
			compute_by_row(rows, c);
		else if (c->filter)
			filter_column(rows, c);
	}
}

/* ---------------------------------------------------------------- the next rows */

bool
braid_fast_batch_next(FastRows *rows)
{
	while (rows->nrows == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(rows->context_of_batch);
		BraidBatch batch;
		bool found;

		MemoryContextReset(rows->context_of_batch);
		found = rows->next_message(rows, &batch);
		MemoryContextSwitchTo(old);
		if (!found)
			return false;
		rows->nrows = batch.nrows;
		braid_fast_rows_make_room(rows, batch.nrows);
		read_columns(rows, &batch);
		if (rows->qual)
			meet_conditions(rows);
	}
	compute_columns(rows);
	return true;
}
