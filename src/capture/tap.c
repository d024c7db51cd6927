/*
 * tap.c
 *	  Changes set aside for what is made beside the worker.
 *
 * NOTES
 *	  To read large tables takes long, and the cycles must not wait for it.  So
 *	  somebody else reads them, under a snapshot S0 of his own, and the worker
 *	  brings what he has made from S0 to the S of a later cycle.  For that it
 *	  needs the changes of just these transactions, and S0 is not known yet when
 *	  they are decoded:
 *
 *		cycle   S1     S2     S3     S4
 *		        |------|------|------|
 *		        tap              ^       what cycles 2, 3 and 4 merged is set
 *		           S0            |       aside, each row with its transaction
 *		           |-- reading --|
 *		                                what of it is not in S0 brings it to S4
 *
 *	  The tap is made in the cycle with S1, and S0 is taken later, so S0 contains
 *	  S1.  What cycles have merged since then is S4 without S1, whatever was held
 *	  in between, and S4 without S0 is a part of that.  S4 is taken when he has
 *	  committed, so S4 contains S0.
 *
 *	  A row is copied when it goes into the delta of a cycle, so that there is
 *	  one place, and only the tables that are tapped pay for it.  Rows have the
 *	  columns that the reader wants, by number, which stay the same when other
 *	  definitions on the table come and go.
 *
 *	  Of a stream messages are set aside as they are.
 *
 *	  A tap lives in the worker's memory, and what is too much for that in
 *	  temporary files.  It breaks when rows do not tell all: the table was
 *	  truncated, its partitions or its form have changed.  Who needs it then
 *	  begins anew, as after a crash.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "capture/rows.h"
#include "capture/source.h"
#include "capture/tap.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define TAP_MEM_KB 65536
#define LEAD 2 /* columns before those of the table: transaction, weight */

/* What is set aside of one table. */
typedef struct TappedTable
{
	BraidTap *tap;
	Oid relid;
	AttrNumber *attnums; /* of the columns */
	int *columns;		 /* where they are in the rows of the source */
	TupleDesc desc;		 /* NULL: of a stream, rows has messages */
	bool tells_deletes;	 /* as the source did when the tap was made */
	Tuplestorestate *rows;
	int memory; /* of rows, kB */
	int64 nrows;
	bool is_asked; /* in this cycle: delta is made */
	BraidDelta delta;
} TappedTable;

struct BraidTap
{
	MemoryContext context;
	ResourceOwner owner; /* of temporary files */
	List *tables;		 /* TappedTable */
	bool broken;
};

static List *taps = NIL; /* in TopMemoryContext */

/* ---------------------------------------------------------------- taps */

BraidTap *
braid_capture_tap_begin(void)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid tap", ALLOCSET_SMALL_SIZES);
	BraidTap *tap = MemoryContextAllocZero(context, sizeof(BraidTap));
	MemoryContext old;

	tap->context = context;
	tap->owner = ResourceOwnerCreate(NULL, "braid tap");
	old = MemoryContextSwitchTo(TopMemoryContext);
	taps = lappend(taps, tap);
	MemoryContextSwitchTo(old);
	return tap;
}

/* Where the source has the column, 0 if it has not. */
static int
column_of(BraidSource *source, AttrNumber attnum)
{
	for (int i = 1; i < source->desc->natts; i++)
		if (source->attnums[i - 1] == attnum)
			return i;
	return 0;
}

/* Finds the columns in the source; false if one is missing or has changed. */
static bool
bind(TappedTable *t, BraidSource *source)
{
	if (source->is_stream || t->desc == NULL)
		return source->is_stream && t->desc == NULL;
	if (t->tells_deletes != source->tells_deletes)
		return false;
	for (int i = 0; i < t->desc->natts - LEAD; i++)
	{
		Form_pg_attribute was = TupleDescAttr(t->desc, LEAD + i);
		int column = column_of(source, t->attnums[i]);
		Form_pg_attribute is = TupleDescAttr(source->desc, column);

		if (column == 0 || is->atttypid != was->atttypid || is->atttypmod != was->atttypmod ||
			is->attcollation != was->attcollation)
			return false;
		t->columns[i] = column;
	}
	return true;
}

static void
describe(TappedTable *t, BraidSource *source, Bitmapset *attnums)
{
	int n = bms_num_members(attnums);
	int attnum = -1;
	int i = 0;

	t->attnums = palloc(sizeof(AttrNumber) * (n + 1));
	t->columns = palloc(sizeof(int) * (n + 1));
	t->desc = CreateTemplateTupleDesc(LEAD + n);
	TupleDescInitEntry(t->desc, 1, "xid", XIDOID, -1, 0);
	TupleDescCopyEntry(t->desc, 2, source->desc, 1);
	while ((attnum = bms_next_member(attnums, attnum)) >= 0)
	{
		int column = column_of(source, attnum);

		Assert(column > 0);
		t->attnums[i++] = attnum;
		TupleDescCopyEntry(t->desc, LEAD + i, source->desc, column + 1);
	}
	if (!bind(t, source))
		elog(ERROR, "could not tap table with OID %u", source->relid);
}

void
braid_capture_tap_add(BraidTap *tap, Oid relid, Bitmapset *attnums)
{
	BraidSource *source = braid_source_find(relid);
	MemoryContext old = MemoryContextSwitchTo(tap->context);
	ResourceOwner owner = CurrentResourceOwner;
	TappedTable *t = palloc0(sizeof(TappedTable));

	Assert(source && source->locked);
	t->tap = tap;
	t->relid = relid;
	t->tells_deletes = source->tells_deletes;
	if (!source->is_stream)
		describe(t, source, attnums);
	CurrentResourceOwner = tap->owner;
	t->memory = braid_capture_take_memory(TAP_MEM_KB);
	t->rows = tuplestore_begin_heap(false, true, t->memory);
	CurrentResourceOwner = owner;
	tap->tables = lappend(tap->tables, t);
	MemoryContextSwitchTo(GetMemoryChunkContext(source));
	source->taps = lappend(source->taps, t);
	MemoryContextSwitchTo(old);
}

static void
free_delta(TappedTable *t)
{
	braid_rows_free(&t->delta);
	t->is_asked = false;
}

/* The rows are of no use any more, and take room. */
static void
free_rows(BraidTap *tap)
{
	ListCell *lc;

	foreach (lc, tap->tables)
	{
		TappedTable *t = lfirst(lc);
		BraidSource *source = braid_source_find(t->relid);

		if (source)
			source->taps = list_delete_ptr(source->taps, t);
		free_delta(t);
		if (t->rows)
			tuplestore_end(t->rows);
		t->rows = NULL;
		braid_capture_return_memory(t->memory);
		t->memory = 0;
	}
}

static void
break_tap(BraidTap *tap)
{
	free_rows(tap);
	tap->broken = true;
}

bool
braid_capture_tap_is_broken(BraidTap *tap)
{
	return tap->broken;
}

void
braid_capture_tap_end(BraidTap *tap)
{
	free_rows(tap);
	taps = list_delete_ptr(taps, tap);
	ResourceOwnerDelete(tap->owner);
	MemoryContextDelete(tap->context);
}

/* ---------------------------------------------------------------- rows */

void
braid_tap_put(BraidSource *source, TransactionId xid, const Datum *values, const bool *nulls)
{
	ListCell *lc;

	foreach (lc, source->taps)
	{
		TappedTable *t = lfirst(lc);
		Datum row[MaxTupleAttributeNumber];
		bool row_nulls[MaxTupleAttributeNumber];

		row[0] = TransactionIdGetDatum(xid);
		row[1] = values[0];
		row_nulls[0] = row_nulls[1] = false;
		for (int i = LEAD; i < t->desc->natts; i++)
		{
			row[i] = values[t->columns[i - LEAD]];
			row_nulls[i] = nulls[t->columns[i - LEAD]];
		}
		tuplestore_putvalues(t->rows, t->desc, row, row_nulls);
		t->nrows++;
	}
}

void
braid_tap_put_message(BraidSource *source, const SourceMessage *m)
{
	ListCell *lc;

	foreach (lc, source->taps)
	{
		TappedTable *t = lfirst(lc);

		braid_rows_append_message(t->rows, m);
		t->nrows += m->nrows;
	}
}

/* A row as the source's deltas have it; columns that nobody wanted are null. */
static void
put_back(TappedTable *t, BraidSource *source, const RowReader *r)
{
	Datum values[MaxTupleAttributeNumber];
	bool nulls[MaxTupleAttributeNumber];

	memset(nulls, true, source->desc->natts);
	memset(values, 0, source->desc->natts * sizeof(Datum));
	values[0] = r->values[1];
	nulls[0] = false;
	for (int i = LEAD; i < t->desc->natts; i++)
	{
		values[t->columns[i - LEAD]] = r->values[i];
		nulls[t->columns[i - LEAD]] = r->nulls[i];
	}
	braid_rows_put(&t->delta, ROWS_OF_CYCLE, source->desc, values, nulls);
	t->delta.retracts |= DatumGetInt64(values[0]) < 0;
}

static TappedTable *
find_table(BraidTap *tap, Oid relid)
{
	ListCell *lc;

	foreach (lc, tap->tables)
		if (((TappedTable *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	elog(ERROR, "table with OID %u is not tapped", relid);
}

static void
make_delta(TappedTable *t, BraidSource *source, const BraidFrontier *s0)
{
	TransactionId last = InvalidTransactionId;
	bool is_in_s0 = false;
	RowReader r;

	braid_rows_begin_reading(&r, t->rows, t->desc);
	while (braid_rows_next(&r))
	{
		TransactionId xid = DatumGetTransactionId(r.values[0]);

		if (xid != last)
			is_in_s0 = braid_frontier_contains(s0, xid);
		last = xid;
		if (!is_in_s0)
			put_back(t, source, &r);
	}
}

/* The same for a stream. */
static void
make_batches(TappedTable *t, const BraidFrontier *s0)
{
	TupleTableSlot *slot = braid_rows_make_slot();
	SourceMessage m;

	while (braid_rows_next_message(t->rows, slot, &m))
		if (!braid_frontier_contains(s0, m.xid))
			braid_rows_put_message(&t->delta, ROWS_OF_CYCLE, &m);
	ExecDropSingleTupleTableSlot(slot);
}

BraidDelta *
braid_capture_tap_delta(BraidTap *tap, Oid relid, const BraidFrontier *s0)
{
	TappedTable *t = find_table(tap, relid);
	BraidSource *source = braid_source_find(relid);

	Assert(!tap->broken && source->locked);
	if (!t->is_asked)
	{
		tuplestore_rescan(t->rows);
		if (source->is_stream)
			make_batches(t, s0);
		else
			make_delta(t, source, s0);
		t->is_asked = true;
	}
	return &t->delta;
}

/* ---------------------------------------------------------------- the cycle */

void
braid_tap_end_of_decoding(void)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, taps)
	{
		BraidTap *tap = lfirst(lc);

		foreach (lc2, tap->tables)
		{
			BraidSource *source = braid_source_find(((TappedTable *) lfirst(lc2))->relid);

			if (!tap->broken && (source->delta.recompute || source->delta.incomplete))
				break_tap(tap);
		}
	}
}

void
braid_tap_end_cycle(void)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, taps)
		foreach (lc2, ((BraidTap *) lfirst(lc))->tables)
			free_delta(lfirst(lc2));
}

void
braid_tap_rebind(void)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, taps)
	{
		BraidTap *tap = lfirst(lc);
		bool fits = true;

		if (tap->broken)
			continue;
		foreach (lc2, tap->tables)
		{
			TappedTable *t = lfirst(lc2);
			BraidSource *source = braid_source_find(t->relid);

			fits = fits && source && source->has_frontier && bind(t, source);
			if (source)
			{
				MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(source));

				source->taps = lappend(source->taps, t);
				MemoryContextSwitchTo(old);
			}
		}
		if (!fits)
			break_tap(tap);
	}
}
