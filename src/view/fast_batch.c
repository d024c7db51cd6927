/*
 * fast_batch.c
 *	  Columns of the messages of a stream.
 *
 * NOTES
 *	  Columns come out of a message as arrays, once for all who read it.  Where there is
 *	  nothing else to be computed, no row is looked at, and nothing is copied; conditions and
 *	  expressions are evaluated for whole columns, or else over a virtual row, of the columns that
 *	  they refer to.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/memutils.h"
#include "view/fast_rows.h"
#include "view/fast_vector.h"

/* ---------------------------------------------------------------- a message */

FastMessage *
braid_fast_message_make(BraidDelta *delta, BraidSource *source)
{
	FastMessage *m = palloc0(sizeof(FastMessage));

	m->delta = delta;
	m->source = source;
	m->context = CurrentMemoryContext;
	m->open_context =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_SMALL_SIZES);
	m->columns = palloc0(sizeof(FastMessageColumn) * source->desc->natts);
	return m;
}

static void
forget_columns(FastMessage *m)
{
	for (int i = 1; i < m->source->desc->natts; i++)
		m->columns[i].is_read = false;
}

bool
braid_fast_message_next(FastMessage *m)
{
	MemoryContext old = MemoryContextSwitchTo(m->open_context);
	bool found;

	MemoryContextReset(m->open_context);
	found = braid_delta_next(m->delta, &m->batch);
	MemoryContextSwitchTo(old);
	forget_columns(m);
	return found;
}

bool
braid_fast_batch_read(FastRows *rows, BraidBatch *batch)
{
	return braid_delta_next(rows->message->delta, batch);
}

static void
make_room(FastMessage *m, FastMessageColumn *c)
{
	int nrows = m->batch.nrows;

	if (nrows <= c->nroom)
		return;
	if (c->nroom > 0)
	{
		pfree(c->values);
		pfree(c->nulls);
	}
	c->values = MemoryContextAllocHuge(m->context, sizeof(Datum) * nrows);
	c->nulls = MemoryContextAlloc(m->context, sizeof(bool) * nrows);
	c->nroom = nrows;
}

static FastMessageColumn *
column_of(FastMessage *m, int number)
{
	FastMessageColumn *c = &m->columns[number];

	if (c->is_read)
		return c;
	make_room(m, c);
	c->any_null = braid_delta_column(m->delta, m->source, &m->batch, number, c->values, c->nulls);
	c->is_read = true;
	return c;
}

/* The columns that are plain, as they are in the message. */
static void
read_columns(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);
		FastMessageColumn *from;

		if (c->attnum == 0)
			continue;
		from = column_of(rows->message, c->attnum - 1);
		c->values = from->values;
		c->nulls = from->nulls;
		c->any_null = from->any_null;
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

		rows->inputs_slot->tts_values[c->attnum - 1] = c->values[row];
		rows->inputs_slot->tts_isnull[c->attnum - 1] = c->nulls[row];
	}
	rows->context->ecxt_scantuple = rows->inputs_slot;
}

/* Which rows meet a simple condition; but for the first one those are left that meet the others. */
static bool
meet_at_once(FastRows *rows, FastVector *condition, bool is_first)
{
	bool *pg_restrict meets = rows->meets;
	FastVectorResult result;

	if (!braid_fast_vector_compute(condition, rows->nrows, &result))
		return false;
	if (is_first)
		for (int i = 0; i < rows->nrows; i++)
			meets[i] = (result.values[i] != 0);
	else
		for (int i = 0; i < rows->nrows; i++)
			meets[i] &= (result.values[i] != 0);
	for (int i = 0; result.nulls && i < rows->nrows; i++)
		meets[i] &= !result.nulls[i];
	return true;
}

static bool
meet_all_at_once(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->conditions)
		if (!meet_at_once(rows, lfirst(lc), foreach_current_index(lc) == 0))
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

/* Which rows meet the conditions; returns how many.  Below zero: they cannot be told at once. */
static int
meet_conditions(FastRows *rows)
{
	int npassed = 0;

	if (!meet_all_at_once(rows))
	{
		if (rows->qual == NULL)
			return -1;
		meet_by_row(rows);
	}
	for (int i = 0; i < rows->nrows; i++)
	{
		rows->passed[npassed] = i;
		npassed += rows->meets[i];
	}
	return npassed;
}

/* Leaves only those rows of a column. */
static void
leave(FastColumn *c, const int *passed, int npassed)
{
	const Datum *values = c->values;
	const bool *nulls = c->nulls;
	bool any_null = false;

	braid_fast_column_make_room(c, npassed);
	for (int i = 0; i < npassed; i++)
		c->own_values[i] = values[passed[i]];
	if (c->any_null)
		for (int i = 0; i < npassed; i++)
			any_null |= c->own_nulls[i] = nulls[passed[i]];
	else
		memset(c->own_nulls, false, npassed);
	c->values = c->own_values;
	c->nulls = c->own_nulls;
	c->any_null = any_null;
}

static bool
leave_out(FastRows *rows)
{
	FastRows *alike = rows->alike;
	int npassed = alike ? alike->nrows : meet_conditions(rows);
	ListCell *lc;

	if (npassed < 0)
		return false;
	if (npassed == rows->nrows)
		return true;
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum > 0 && c->is_kept)
			leave(c, alike ? alike->passed : rows->passed, npassed);
	}
	rows->nrows = npassed;
	return true;
}

/* ---------------------------------------------------------------- expressions */

static bool
compute_at_once(FastRows *rows, FastColumn *c)
{
	FastVectorResult result;

	if (c->vector == NULL || !braid_fast_vector_compute(c->vector, rows->nrows, &result))
		return false;
	c->values = (Datum *) result.values;
	c->nulls = result.nulls ? (bool *) result.nulls : rows->no_nulls;
	c->any_null = result.nulls != NULL;
	return true;
}

static void
compute_by_row(FastRows *rows, FastColumn *c)
{
	braid_fast_column_make_room(c, rows->nrows);
	c->values = c->own_values;
	c->nulls = c->own_nulls;
	c->any_null = false;
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
	const bool *nulls = c->nulls;

	braid_fast_column_make_room(c, rows->nrows);
	for (int i = 0; i < rows->nrows; i++)
		c->own_nulls[i] = nulls[i] | braid_fast_is_filtered(c, i);
	c->nulls = c->own_nulls;
	c->any_null = true;
}

bool
braid_fast_column_compute(FastRows *rows, FastColumn *c)
{
	bool done = compute_at_once(rows, c);

	if (!done && c->state == NULL)
		return false;
	if (!done)
		compute_by_row(rows, c);
	else if (c->filter)
		filter_column(rows, c);
	return true;
}

static bool
compute_columns(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum == 0 && !braid_fast_column_compute(rows, c))
			return false;
		if (c->attnum > 0 && c->filter)
			filter_column(rows, c);
	}
	return true;
}

/* ---------------------------------------------------------------- the next rows */

bool
braid_fast_batch_take(FastRows *rows)
{
	rows->nrows = rows->message->batch.nrows;
	braid_fast_rows_make_room(rows, rows->nrows);
	read_columns(rows);
	if (rows->scan->plan.qual != NIL && !leave_out(rows))
		return false;
	return rows->nrows == 0 || compute_columns(rows);
}

bool
braid_fast_batch_next(FastRows *rows)
{
	FastMessage *m = rows->message;

	while (rows->nrows == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(m->open_context);
		bool found;

		MemoryContextReset(m->open_context);
		found = rows->next_message(rows, &m->batch);
		MemoryContextSwitchTo(old);
		if (!found)
			return false;
		forget_columns(m);
		(void) braid_fast_batch_take(rows);
	}
	return true;
}
