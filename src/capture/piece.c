/*
 * piece.c
 *	  What transactions brought to tables, held for a later cycle.
 *
 * NOTES
 *	  A piece is what one transaction brought to one table.  Nothing is lost by
 *	  a crash: the slot is never confirmed past the oldest piece, so all of them
 *	  are decoded again, and the table's frontier tells what to skip.
 *
 *	  The wait for a lock can be long, and other tables that are tied to the one
 *	  that is locked are written on; and one cycle can bring what was written in
 *	  an hour.  So of what is visible there is one piece for each table, to which
 *	  rows come as they are decoded, and at the end of a cycle from pieces whose
 *	  transactions have become visible.
 *
 *	  Pieces of a stream hold its messages as they are.
 */
#include "postgres.h"

#include "capture/piece.h"
#include "capture/rows.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MANY_LEAD 2 /* columns in front of those of many */

/*
 * The rows of one transaction; or those of many that are visible, while the table
 * cannot be locked: then their desc has the transaction and the time of its commit in
 * front, unless they are messages, which have both anyhow.
 */
typedef struct Piece
{
	SourceTransaction txn; /* of many: the first, with an invalid xid */
	Oid relid;			   /* of the source */
	TupleDesc desc;		   /* of rows of many */
	int ntransactions;
	TransactionId latest; /* of many: whose rows came last */
	BraidDelta delta;
} Piece;

static MemoryContext piece_context;
static List *pieces = NIL; /* those of many, the others in commit order */

void
braid_piece_setup(void)
{
	piece_context = AllocSetContextCreate(TopMemoryContext, "braid pieces", ALLOCSET_DEFAULT_SIZES);
}

static void
free_piece(Piece *p)
{
	braid_rows_free(&p->delta);
	if (p->desc)
		FreeTupleDesc(p->desc);
	pfree(p);
}

void
braid_piece_forget_all(void)
{
	ListCell *lc;

	foreach (lc, pieces)
		free_piece(lfirst(lc));
	list_free(pieces);
	pieces = NIL;
}

/* ---------------------------------------------------------------- holding */

static void
keep_piece(List **list, Piece *p)
{
	MemoryContext old = MemoryContextSwitchTo(piece_context);

	*list = lappend(*list, p);
	MemoryContextSwitchTo(old);
}

/* Changes of several tables may alternate: one piece for each, the last ones made. */
BraidDelta *
braid_piece_find(const SourceTransaction *t, BraidSource *source)
{
	for (int i = list_length(pieces) - 1; i >= 0; i--)
	{
		Piece *p = list_nth(pieces, i);

		if (p->txn.xid != t->xid || p->txn.commit != t->commit)
			break;
		if (p->relid == source->relid)
			return &p->delta;
	}
	return NULL;
}

BraidDelta *
braid_piece_make(const SourceTransaction *t, BraidSource *source)
{
	Piece *p = MemoryContextAllocZero(piece_context, sizeof(Piece));

	p->txn = *t;
	p->ntransactions = 1;
	p->relid = source->relid;
	keep_piece(&pieces, p);
	return &p->delta;
}

/* The source's columns behind the transaction and its time. */
static TupleDesc
describe_many(BraidSource *source)
{
	TupleDesc desc = CreateTemplateTupleDesc(source->desc->natts + MANY_LEAD);

	TupleDescInitEntry(desc, 1, "transaction", XIDOID, -1, 0);
	TupleDescInitEntry(desc, 2, "committed", TIMESTAMPTZOID, -1, 0);
	for (int i = 1; i <= source->desc->natts; i++)
		TupleDescCopyEntry(desc, i + MANY_LEAD, source->desc, i);
	return desc;
}

static Piece *
make_piece_of_many(BraidSource *source, const SourceTransaction *first)
{
	MemoryContext old = MemoryContextSwitchTo(piece_context);
	Piece *p = palloc0(sizeof(Piece));

	p->txn = *first;
	p->txn.xid = InvalidTransactionId;
	p->relid = source->relid;
	p->desc = source->is_stream ? NULL : describe_many(source);
	MemoryContextSwitchTo(old);
	return p;
}

static bool
is_of_many(Piece *p)
{
	return !TransactionIdIsValid(p->txn.xid);
}

static Piece *
find_piece_of_many(List *list, Oid relid)
{
	ListCell *lc;

	foreach (lc, list)
	{
		Piece *p = lfirst(lc);

		if (!is_of_many(p))
			break;
		if (p->relid == relid)
			return p;
	}
	return NULL;
}

BraidDelta *
braid_piece_share(const SourceTransaction *t, BraidSource *source, TupleDesc *desc)
{
	Piece *p = find_piece_of_many(pieces, source->relid);

	if (p == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(piece_context);

		p = make_piece_of_many(source, t);
		pieces = lcons(p, pieces);
		MemoryContextSwitchTo(old);
	}
	p->ntransactions += p->latest != t->xid;
	p->latest = t->xid;
	*desc = p->desc;
	return &p->delta;
}

void
braid_piece_put_shared(BraidDelta *delta, TupleDesc desc, const SourceTransaction *t, Datum *values,
					   bool *nulls)
{
	int n = desc->natts - MANY_LEAD;
	Datum row[MaxTupleAttributeNumber];
	bool row_nulls[MaxTupleAttributeNumber];

	row[0] = TransactionIdGetDatum(t->xid);
	row[1] = TimestampTzGetDatum(t->committed);
	row_nulls[0] = row_nulls[1] = false;
	memcpy(row + MANY_LEAD, values, sizeof(Datum) * n);
	memcpy(row_nulls + MANY_LEAD, nulls, sizeof(bool) * n);
	braid_rows_put(delta, ROWS_OF_MANY, desc, row, row_nulls);
}

/* ---------------------------------------------------------------- letting go */

static void
release_rows_of_many(Piece *p, BraidSource *source)
{
	SourceTransaction t = p->txn;
	RowReader r;

	braid_rows_begin_reading(&r, p->delta.rows, p->desc);
	while (braid_rows_next(&r))
	{
		t.xid = DatumGetTransactionId(r.values[0]);
		t.committed = DatumGetTimestampTz(r.values[1]);
		braid_source_bring(source, &t, r.values + MANY_LEAD, r.nulls + MANY_LEAD);
	}
}

static void
release_messages(Piece *p, BraidSource *source)
{
	TupleTableSlot *slot = braid_rows_make_slot();
	SourceMessage m;

	while (braid_rows_next_message(p->delta.batches, slot, &m))
		braid_source_bring_message(source, &m);
	ExecDropSingleTupleTableSlot(slot);
}

/* Appends what a piece holds to the delta of its source. */
static void
release_piece(Piece *p, BraidSource *source)
{
	braid_rows_add_flags(&source->delta, &p->delta);
	if (p->delta.rows && p->desc)
		release_rows_of_many(p, source);
	else if (p->delta.rows)
		braid_source_bring_all(source, &p->txn, &p->delta);
	if (p->delta.batches)
		release_messages(p, source);
}

static bool
is_visible(Piece *p, const BraidFrontier *s)
{
	return is_of_many(p) || braid_frontier_contains(s, p->txn.xid);
}

void
braid_piece_release(const BraidFrontier *s)
{
	List *left = NIL;
	ListCell *lc;

	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);
		BraidSource *source = braid_source_find(p->relid);

		if (source && !(source->locked && is_visible(p, s)))
		{
			keep_piece(&left, p);
			continue;
		}

		/* A table read as a whole under S has all that is visible in S. */
		if (source && source->has_frontier)
			release_piece(p, source);
		free_piece(p);
	}
	list_free(pieces);
	pieces = left;
}

/* ---------------------------------------------------------------- joining */

static void
join_rows(Piece *many, Piece *p, TupleDesc desc)
{
	RowReader r;

	braid_rows_begin_reading(&r, p->delta.rows, desc);
	while (braid_rows_next(&r))
		braid_piece_put_shared(&many->delta, many->desc, &p->txn, r.values, r.nulls);
}

static void
join_messages(Piece *many, Piece *p)
{
	TupleTableSlot *slot = braid_rows_make_slot();
	SourceMessage m;

	while (braid_rows_next_message(p->delta.batches, slot, &m))
		braid_rows_put_message(&many->delta, ROWS_OF_MANY, &m);
	ExecDropSingleTupleTableSlot(slot);
}

static void
join_piece(Piece *many, Piece *p, BraidSource *source)
{
	braid_rows_add_flags(&many->delta, &p->delta);
	many->txn.commit = Min(many->txn.commit, p->txn.commit);
	many->txn.committed = Min(many->txn.committed, p->txn.committed);
	many->ntransactions++;
	if (p->delta.rows && !many->delta.recompute)
		join_rows(many, p, source->desc);
	if (p->delta.batches)
		join_messages(many, p);
	free_piece(p);
}

void
braid_piece_join(const BraidFrontier *s)
{
	List *many = NIL;
	List *single = NIL;
	ListCell *lc;

	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);
		BraidSource *source = braid_source_find(p->relid);
		Piece *other;

		if (is_of_many(p))
			keep_piece(&many, p);
		else if (!is_visible(p, s) || !source || source->locked)
			keep_piece(&single, p);
		else
		{
			other = find_piece_of_many(many, p->relid);
			if (other == NULL)
			{
				other = make_piece_of_many(source, &p->txn);
				keep_piece(&many, other);
			}
			join_piece(other, p, source);
		}
	}
	list_free(pieces);
	foreach (lc, single)
		keep_piece(&many, lfirst(lc));
	list_free(single);
	pieces = many;
}

/* ---------------------------------------------------------------- what there is */

bool
braid_piece_any(void)
{
	return pieces != NIL;
}

int
braid_piece_count(TimestampTz *oldest)
{
	TransactionId last = InvalidTransactionId;
	int n = 0;
	ListCell *lc;

	*oldest = 0;
	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);

		/* Pieces of one transaction are side by side. */
		if (is_of_many(p) || p->txn.xid != last)
			n += p->ntransactions;
		last = p->txn.xid;
		if (*oldest == 0 || p->txn.committed < *oldest)
			*oldest = p->txn.committed;
	}
	return n;
}

XLogRecPtr
braid_piece_oldest(XLogRecPtr limit)
{
	ListCell *lc;

	foreach (lc, pieces)
		limit = Min(limit, ((Piece *) lfirst(lc))->txn.commit);
	return limit;
}
