/*
 * reader.c
 *	  Reads the messages of a partition, in order, from a position on.
 *
 * NOTES
 *	  The reader goes from one interval to the next until it has come to its own
 *	  snapshot.  An interval begins where the last one ended.  It ends at the first tick
 *	  of which a message that has not been consumed is part: so it is small
 *	  when there is a lot to read, and partitions in which nothing happened cost one
 *	  look.  If there is no such tick it ends at the reader's snapshot.
 *
 *	  The messages of an interval are those of transactions
 *
 *		- that were in progress in done and are part of todo: each by itself;
 *		- from xmax of done to xmax of todo, if they are part of todo: a range.
 *
 *	  A transaction that was open for long is one of the first, and costs a look into
 *	  the index of each segment while it is open.
 *
 *	  They are to be given out by id, while the index has them by transaction.  So
 *	  their places are collected from the index, the first so many by id, and sorted.
 *	  If there are more, as of a transaction with a million messages, those come
 *	  when these are through; within a transaction the index has ids in order, so that what is
 *	  too early or too late is skipped by a search, and not read.  A session that has
 *	  not used up what it has collected finds it again with its next reader.
 *
 *	  The index also has messages of transactions that have aborted, which is found out when
 *	  the row is fetched.  Vacuum may have given their place to another message since:
 *	  it has another id.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/compat.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "topic/collected.h"
#include "topic/reader.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#define MIN_COLLECTED 1024
#define MAX_COLLECTED 65536

/* So many entries of one transaction are passed over before the index is searched for the next. */
#define SEARCH_AFTER 32

#define NKEYS 3

typedef struct Segment
{
	int number;
	Relation heap;
	Relation index;
	IndexScanDesc scan;
	IndexFetchTableData *fetch; /* NULL until a row is fetched */
} Segment;

struct BraidReader
{
	BraidTopic *topic;
	int part;
	Snapshot snapshot;
	BraidFrontier now; /* what is visible in the snapshot */
	BraidPosition position;
	int64 effort;
	int nsegments;
	Segment segments[BRAID_MAX_SEGMENTS]; /* those that are not empty */
	BraidCollected collected;			  /* places of the interval's messages */
	TupleTableSlot *slot;
	bool has_row; /* in slot, of the next one of collected */
	MemoryContext context;
};

/* ---------------------------------------------------------------- the index */

static bool
open_segment(Segment *s, const BraidTopic *topic, int number)
{
	s->number = number;
	s->fetch = NULL;
	s->heap = table_open(topic->tables[number], AccessShareLock);
	if (RelationGetNumberOfBlocks(s->heap) == 0)
	{
		table_close(s->heap, AccessShareLock);
		return false;
	}
	s->index = index_open(topic->indexes[number], AccessShareLock);
	return true;
}

static void
begin_scan(BraidReader *r, Segment *s)
{
	s->scan = braid_compat_index_beginscan(s->heap, s->index, r->snapshot, NKEYS);
	s->scan->xs_want_itup = true;
	r->collected.files[s->number] = s->heap->rd_rel->relfilenode;
}

static void
close_segment(Segment *s)
{
	if (s->fetch)
		table_index_fetch_end(s->fetch);
	index_endscan(s->scan);
	index_close(s->index, AccessShareLock);
	table_close(s->heap, AccessShareLock);
}

/* Entries of a partition with xid from low on and below high. */
static void
search_range(Segment *s, int part, uint64 low, uint64 high)
{
	ScanKeyData keys[NKEYS];

	ScanKeyInit(&keys[0], MESSAGE_INDEX_PART, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(part));
	ScanKeyInit(&keys[1], MESSAGE_INDEX_XID, BTGreaterEqualStrategyNumber, F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(low)));
	ScanKeyInit(&keys[2], MESSAGE_INDEX_XID, BTLessStrategyNumber, F_XID8LT,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(high)));
	index_rescan(s->scan, keys, NKEYS, NULL, 0);
}

/* Those of one transaction with an id above upto. */
static void
search_transaction(Segment *s, int part, uint64 xid, int64 upto)
{
	ScanKeyData keys[NKEYS];

	ScanKeyInit(&keys[0], MESSAGE_INDEX_PART, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(part));
	ScanKeyInit(&keys[1], MESSAGE_INDEX_XID, BTEqualStrategyNumber, F_XID8EQ,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	ScanKeyInit(&keys[2], MESSAGE_INDEX_ID, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(upto));
	index_rescan(s->scan, keys, NKEYS, NULL, 0);
}

/* The next entry that was searched for. */
static ItemPointer
next_entry(BraidReader *r, Segment *s, uint64 *xid, int64 *id)
{
	IndexScanDesc scan = s->scan;
	ItemPointer tid = index_getnext_tid(scan, ForwardScanDirection);
	bool is_null;

	CHECK_FOR_INTERRUPTS();
	if (tid == NULL)
		return NULL;
	*xid = U64FromFullTransactionId(DatumGetFullTransactionId(
		index_getattr(scan->xs_itup, MESSAGE_INDEX_XID, scan->xs_itupdesc, &is_null)));
	*id =
		DatumGetInt64(index_getattr(scan->xs_itup, MESSAGE_INDEX_ID, scan->xs_itupdesc, &is_null));
	return tid;
}

/* The row at a place; false if it is not visible, or another one's. */
static bool
fetch_row(BraidReader *r, Segment *s, ItemPointer tid, int64 id)
{
	bool call_again = false;
	bool is_null;

	if (s->fetch == NULL)
		s->fetch = table_index_fetch_begin(s->heap);
	if (!table_index_fetch_tuple(s->fetch, tid, r->snapshot, r->slot, &call_again, NULL))
		return false;
	return DatumGetInt64(slot_getattr(r->slot, MESSAGE_ID, &is_null)) == id;
}

/* ---------------------------------------------------------------- where an interval ends */

static bool
was_skipped(const BraidPosition *p, uint64 xid, int64 id)
{
	return id < p->below && braid_frontier_contains_full(&p->as_of, xid);
}

/* Lowers *first to a transaction with messages in the segment that were not consumed. */
static void
find_first_in(BraidReader *r, Segment *s, uint64 *first)
{
	const BraidFrontier *done = &r->position.done;
	ItemPointer tid;
	uint64 xid;
	int64 id;

	for (int i = 0; i < done->nxip && done->xip[i] < *first; i++)
	{
		if (!braid_frontier_contains_full(&r->now, done->xip[i]))
			continue;
		r->effort++;
		search_transaction(s, r->part, done->xip[i], 0);
		if (next_entry(r, s, &xid, &id))
		{
			*first = xid;
			return;
		}
	}
	if (done->xmax >= *first)
		return;
	search_range(s, r->part, done->xmax, *first);
	while ((tid = next_entry(r, s, &xid, &id)) != NULL)
	{
		if (braid_frontier_contains_full(&r->now, xid) && !was_skipped(&r->position, xid, id))
		{
			*first = xid;
			return;
		}
		if (++r->effort % SEARCH_AFTER == 0 && !braid_frontier_contains_full(&r->now, xid))
			search_range(s, r->part, xid + 1, *first);
	}
}

/* The first transaction with messages that were not consumed; false if there is none. */
static bool
find_first(BraidReader *r, uint64 *first)
{
	*first = r->now.xmax;
	for (int i = 0; i < r->nsegments; i++)
		find_first_in(r, &r->segments[i], first);
	return *first < r->now.xmax;
}

/* The frontier that a tick says, in the current memory context. */
static void
read_tick(BraidReader *r, BraidFrontier *f)
{
	bool is_null;
	Datum d = slot_getattr(r->slot, MESSAGE_KEY, &is_null);

	if (is_null)
		elog(ERROR, "a tick of topic %d has no snapshot", r->topic->id);
	braid_frontier_parse(f, TextDatumGetCString(d));
}

/* Makes *end, if *found, a tick that is earlier, later than done, and has the transaction as a part. */
static void
find_tick_in(BraidReader *r, Segment *s, uint64 xid, BraidFrontier *end, bool *found)
{
	uint64 low = Max(r->position.done.xmax, xid + 1);
	ItemPointer tid;
	uint64 xmax;
	int64 id;

	search_range(s, BRAID_TICK_PART, low, *found ? end->xmax + 1 : r->now.xmax + 1);
	while ((tid = next_entry(r, s, &xmax, &id)) != NULL)
	{
		BraidFrontier tick;

		r->effort++;
		if (!fetch_row(r, s, tid, id))
			continue;
		read_tick(r, &tick);
		if (!braid_frontier_contains_full(&tick, xid) ||
			braid_frontier_compare(&tick, &r->position.done) <= 0)
		{
			pfree(tick.xip);
			continue;
		}
		if (braid_frontier_compare(&tick, *found ? end : &r->now) >= 0)
			break;
		*end = tick;
		*found = true;
		break;
	}
}

/* ---------------------------------------------------------------- intervals */

/* True if the entry is one of the first of the interval. */
static bool
collect(BraidReader *r, Segment *s, uint64 xid, int64 id, ItemPointer tid)
{
	BraidPlace place;

	if (id <= r->position.upto || was_skipped(&r->position, xid, id))
		return false;
	place.id = id;
	place.tid = *tid;
	place.segment = s->number;
	return braid_collected_add(&r->collected, &place);
}

static void
collect_transaction(BraidReader *r, Segment *s, uint64 xid)
{
	ItemPointer tid;
	int64 id;

	search_transaction(s, r->part, xid, r->position.upto);
	while ((tid = next_entry(r, s, &xid, &id)) != NULL)
	{
		if (collect(r, s, xid, id, tid))
			continue;
		r->effort++;
		if (id >= r->position.below)
			break; /* the others are later still */
	}
}

static void
collect_range(BraidReader *r, Segment *s)
{
	uint64 high = r->position.todo.xmax;
	uint64 last = 0;
	bool wanted = false;
	int in_vain = 0;
	ItemPointer tid;
	uint64 xid;
	int64 id;

	if (r->position.done.xmax >= high)
		return;
	search_range(s, r->part, r->position.done.xmax, high);
	while ((tid = next_entry(r, s, &xid, &id)) != NULL)
	{
		if (xid != last)
		{
			last = xid;
			in_vain = 0;
			wanted = braid_frontier_contains_full(&r->position.todo, xid);
		}
		if (wanted && collect(r, s, xid, id, tid))
			continue;
		r->effort++;
		if (++in_vain < SEARCH_AFTER)
			continue;
		if (wanted && id <= r->position.upto)
			collect_transaction(r, s, xid);
		else if (wanted && id < r->position.below)
			continue;
		search_range(s, r->part, xid + 1, high);
	}
}

static void
collect_interval(BraidReader *r)
{
	const BraidPosition *p = &r->position;

	braid_collected_clear(&r->collected);
	for (int i = 0; i < r->nsegments; i++)
	{
		Segment *s = &r->segments[i];

		for (int j = 0; j < p->done.nxip; j++)
			if (braid_frontier_contains_full(&p->todo, p->done.xip[j]))
				collect_transaction(r, s, p->done.xip[j]);
		collect_range(r, s);
	}
	braid_collected_sort(&r->collected);
}

static void
end_interval(BraidReader *r)
{
	BraidPosition *p = &r->position;

	p->done = p->todo;
	p->has_todo = false;
	p->upto = 0;
	memset(&p->todo, 0, sizeof(BraidFrontier));
	if (p->below > 0 && braid_frontier_compare(&p->as_of, &p->done) <= 0)
		p->below = 0;
}

/* False if there is nothing to read any more: the position is that of the snapshot then. */
static bool
begin_interval(BraidReader *r)
{
	BraidPosition *p = &r->position;
	BraidFrontier end;
	bool found = false;
	uint64 first;

	if (!find_first(r, &first))
	{
		if (braid_frontier_compare(&p->done, &r->now) < 0)
		{
			p->todo = r->now;
			end_interval(r);
		}
		return false;
	}
	for (int i = 0; i < r->nsegments; i++)
		find_tick_in(r, &r->segments[i], first, &end, &found);
	p->todo = found ? end : r->now;
	p->has_todo = true;
	p->upto = 0;
	return true;
}

/* ---------------------------------------------------------------- for those who read */

BraidReader *
braid_reader_open(BraidTopic *topic, int part, const BraidPosition *start, Snapshot snapshot,
				  int nwanted)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid reader", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	BraidReader *r = palloc0(sizeof(BraidReader));

	r->context = context;
	r->topic = topic;
	r->part = part;
	r->snapshot = snapshot;
	braid_topic_frontier(topic, snapshot, &r->now);
	braid_position_copy(&r->position, start);
	braid_collected_begin(&r->collected, topic, part,
						  Max(MIN_COLLECTED, Min(2 * (int64) nwanted, MAX_COLLECTED)));
	for (int i = 0; i < topic->nsegments; i++)
		if (open_segment(&r->segments[r->nsegments], topic, i))
			begin_scan(r, &r->segments[r->nsegments++]);
	if (r->nsegments > 0)
		r->slot = table_slot_create(r->segments[0].heap, NULL);
	if (r->position.has_todo && !braid_collected_take_over(&r->collected, &r->position))
		collect_interval(r);
	MemoryContextSwitchTo(caller);
	return r;
}

static Segment *
segment_with(BraidReader *r, int number)
{
	for (int i = 0; i < r->nsegments; i++)
		if (r->segments[i].number == number)
			return &r->segments[i];
	return NULL;
}

/* Goes to the next place that has a visible row; false if the interval is through. */
static bool
advance(BraidReader *r)
{
	BraidCollected *c = &r->collected;

	for (;;)
	{
		BraidPlace *place;
		Segment *s;

		CHECK_FOR_INTERRUPTS();
		if (c->next == c->n)
		{
			if (!c->is_cut)
				return false;
			collect_interval(r);
			continue;
		}
		place = &c->places[c->next];
		s = segment_with(r, place->segment);
		if (s && fetch_row(r, s, &place->tid, place->id))
			return true;
		r->position.upto = place->id;
		r->effort++;
		c->next++;
	}
}

TupleTableSlot *
braid_reader_next(BraidReader *r)
{
	MemoryContext caller = MemoryContextSwitchTo(r->context);

	while (!r->has_row)
	{
		if (!r->position.has_todo)
		{
			if (!begin_interval(r))
				break;
			collect_interval(r);
		}
		if (advance(r))
			r->has_row = true;
		else
			end_interval(r);
	}
	MemoryContextSwitchTo(caller);
	return r->has_row ? r->slot : NULL;
}

uint64
braid_reader_xid(BraidReader *r)
{
	bool is_null;

	Assert(r->has_row);
	return U64FromFullTransactionId(
		DatumGetFullTransactionId(slot_getattr(r->slot, MESSAGE_XID, &is_null)));
}

BraidPlace
braid_reader_place(BraidReader *r)
{
	Assert(r->has_row);
	return r->collected.places[r->collected.next];
}

void
braid_reader_accept(BraidReader *r)
{
	Assert(r->has_row);
	r->has_row = false;
	r->position.upto = r->collected.places[r->collected.next++].id;
	if (r->collected.next == r->collected.n && !r->collected.is_cut)
		end_interval(r);
}

const BraidPosition *
braid_reader_position(BraidReader *r)
{
	return &r->position;
}

int64
braid_reader_effort(BraidReader *r)
{
	return r->effort;
}

int64
braid_reader_newest_id(BraidReader *r)
{
	int64 newest = 0;

	for (int i = 0; i < r->nsegments; i++)
	{
		IndexScanDesc scan = r->segments[i].scan;
		bool is_null;

		search_range(&r->segments[i], BRAID_TICK_PART, 0, PG_UINT64_MAX);
		if (index_getnext_tid(scan, BackwardScanDirection) != NULL)
			newest = Max(newest, DatumGetInt64(index_getattr(scan->xs_itup, MESSAGE_INDEX_ID,
															 scan->xs_itupdesc, &is_null)));
	}
	return newest;
}

void
braid_reader_close(BraidReader *r)
{
	if (r->position.has_todo)
		braid_collected_keep(&r->collected, &r->position);
	if (r->slot)
		ExecDropSingleTupleTableSlot(r->slot);
	for (int i = 0; i < r->nsegments; i++)
		close_segment(&r->segments[i]);
	MemoryContextDelete(r->context);
}
