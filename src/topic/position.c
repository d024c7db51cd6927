/*
 * position.c
 *	  How far a group has come in a partition, and where that is written down.
 *
 * NOTES
 *	  Positions are rows of braid_internal.positions, which are inserted and never
 *	  updated: the one with the highest number counts, and is at the end of an index.
 *	  Rows that were overtaken are not looked at any more, whoever holds back
 *	  vacuum.  Three segments take turns, see position_segment.c.
 *
 *	  Whoever moves a position has a lock until its transaction has ended, locks
 *	  being released after it has become visible.  So the chain of positions
 *	  has no branches: each was made from the one before, by somebody who saw
 *	  that there was no other.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/lock.h"
#include "funcapi.h"
#include "storage/bufmgr.h"
#include "topic/catalog.h"
#include "topic/position.h"
#include "topic/position_segment.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* Columns of braid_internal.positions. */
enum
{
	POSITION_GROUP = 1,
	POSITION_PART,
	POSITION_SEGMENT,
	POSITION_NUMBER,
	POSITION_CONSUMED,
	POSITION_MOVED_AT,
	POSITION_DONE, /* from here on as in braid_internal.position */
	POSITION_TODO,
	POSITION_UPTO,
	POSITION_BELOW,
	POSITION_AS_OF,
	POSITION_NCOLUMNS = POSITION_AS_OF
};

#define NFIELDS (POSITION_NCOLUMNS - POSITION_DONE + 1)

/* ---------------------------------------------------------------- what a position is */

void
braid_position_at_beginning(BraidPosition *p)
{
	memset(p, 0, sizeof(BraidPosition));
	braid_frontier_parse(&p->done, "3:3:");
}

void
braid_position_at(BraidPosition *p, const BraidTopic *topic, Snapshot snapshot)
{
	memset(p, 0, sizeof(BraidPosition));
	braid_topic_frontier(topic, snapshot, &p->done);
}

void
braid_position_copy(BraidPosition *to, const BraidPosition *from)
{
	*to = *from;
	braid_frontier_copy(&to->done, &from->done);
	if (from->has_todo)
		braid_frontier_copy(&to->todo, &from->todo);
	if (from->below > 0)
		braid_frontier_copy(&to->as_of, &from->as_of);
}

bool
braid_position_has_consumed(const BraidPosition *p, uint64 xid, int64 id)
{
	if (braid_frontier_contains_full(&p->done, xid))
		return true;
	if (p->has_todo && id <= p->upto && braid_frontier_contains_full(&p->todo, xid))
		return true;
	return id < p->below && braid_frontier_contains_full(&p->as_of, xid);
}

uint64
braid_position_first_xid(const BraidPosition *p, const BraidFrontier *now)
{
	for (int i = 0; i < p->done.nxip; i++)
		if (braid_frontier_contains_full(now, p->done.xip[i]))
			return p->done.xip[i];
	return p->done.xmax;
}

/* ---------------------------------------------------------------- as values of SQL */

static Datum
snapshot_datum(const BraidFrontier *f)
{
	char *text = braid_frontier_format(f);
	Datum d = OidFunctionCall1(F_PG_SNAPSHOT_IN, CStringGetDatum(text));

	pfree(text);
	return d;
}

static void
parse_snapshot(BraidFrontier *f, Datum d)
{
	char *text = DatumGetCString(OidFunctionCall1(F_PG_SNAPSHOT_OUT, d));

	braid_frontier_parse(f, text);
	pfree(text);
}

static void
form_fields(const BraidPosition *p, Datum *values, bool *nulls)
{
	memset(nulls, true, NFIELDS * sizeof(bool));
	values[0] = snapshot_datum(&p->done);
	nulls[0] = false;
	if (p->has_todo)
	{
		values[1] = snapshot_datum(&p->todo);
		values[2] = Int64GetDatum(p->upto);
		nulls[1] = nulls[2] = false;
	}
	if (p->below > 0)
	{
		values[3] = Int64GetDatum(p->below);
		values[4] = snapshot_datum(&p->as_of);
		nulls[3] = nulls[4] = false;
	}
}

static void
deform_fields(BraidPosition *p, const Datum *values, const bool *nulls)
{
	if (nulls[0] || nulls[1] != nulls[2] || nulls[3] != nulls[4])
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid position"),
						errdetail("\"done\" is null, or one of a pair is.")));
	memset(p, 0, sizeof(BraidPosition));
	parse_snapshot(&p->done, values[0]);
	p->has_todo = !nulls[1];
	if (p->has_todo)
	{
		parse_snapshot(&p->todo, values[1]);
		p->upto = DatumGetInt64(values[2]);
	}
	p->below = nulls[3] ? 0 : DatumGetInt64(values[3]);
	if (p->below > 0)
		parse_snapshot(&p->as_of, values[4]);
}

Datum
braid_position_to_datum(const BraidPosition *p)
{
	Oid type;
	TupleDesc desc;
	Datum values[NFIELDS];
	bool nulls[NFIELDS];
	Datum result;

	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("position"),
						   ObjectIdGetDatum(get_namespace_oid(BRAID_TOPIC_SCHEMA, false)));
	desc = lookup_rowtype_tupdesc(type, -1);
	form_fields(p, values, nulls);
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return result;
}

void
braid_position_from_datum(BraidPosition *p, Datum datum)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(datum);
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), -1);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	Datum values[NFIELDS];
	bool nulls[NFIELDS];

	if (desc->natts != NFIELDS)
		elog(ERROR, "a position has %d fields, and not %d", NFIELDS, desc->natts);
	heap_deform_tuple(&tuple, desc, values, nulls);
	deform_fields(p, values, nulls);
	ReleaseTupleDesc(desc);
}

/* ---------------------------------------------------------------- the lock */

bool
braid_position_lock(int group, int part, bool wait)
{
	return braid_lock_acquire(BRAID_LOCK_POSITION, group, part, ExclusiveLock, wait);
}

void
braid_position_unlock(int group, int part)
{
	braid_lock_release(BRAID_LOCK_POSITION, group, part, ExclusiveLock);
}

/* ---------------------------------------------------------------- reading */

/* What is done with each row of a segment, the highest number first; false: no more. */
typedef bool (*RowVisitor)(HeapTuple row, TupleDesc desc, void *arg);

static void
visit_segment(int segment, int group, int part, Snapshot snapshot, RowVisitor visit, void *arg)
{
	Relation heap = table_open(braid_position_segment(segment), AccessShareLock);
	Relation index;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple row;

	if (RelationGetNumberOfBlocks(heap) == 0)
	{
		table_close(heap, AccessShareLock);
		return;
	}
	index = index_open(braid_position_index(segment), AccessShareLock);
	ScanKeyInit(&keys[0], POSITION_GROUP, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group));
	ScanKeyInit(&keys[1], POSITION_PART, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(part));
	scan = systable_beginscan_ordered(heap, index, snapshot, 2, keys);
	while ((row = systable_getnext_ordered(scan, BackwardScanDirection)) != NULL)
		if (!visit(row, RelationGetDescr(heap), arg))
			break;
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
}

static int64
number_of(HeapTuple row, TupleDesc desc)
{
	bool is_null;

	return DatumGetInt64(heap_getattr(row, POSITION_NUMBER, desc, &is_null));
}

typedef struct Newest
{
	int64 number;
	HeapTuple row;
	TupleDesc desc;
} Newest;

static bool
keep_newest(HeapTuple row, TupleDesc desc, void *arg)
{
	Newest *newest = arg;
	int64 number = number_of(row, desc);

	if (newest->row == NULL || number > newest->number)
	{
		if (newest->row)
			heap_freetuple(newest->row);
		newest->row = heap_copytuple(row);
		newest->desc = newest->desc ? newest->desc : CreateTupleDescCopy(desc);
		newest->number = number;
	}
	return false;
}

bool
braid_position_read(int group, int part, Snapshot snapshot, BraidStoredPosition *stored)
{
	Newest newest = {0};
	Datum values[POSITION_NCOLUMNS];
	bool nulls[POSITION_NCOLUMNS];

	for (int i = 0; i < BRAID_POSITION_SEGMENTS; i++)
		visit_segment(i, group, part, snapshot, keep_newest, &newest);
	if (newest.row == NULL)
		return false;
	heap_deform_tuple(newest.row, newest.desc, values, nulls);
	stored->number = newest.number;
	stored->segment = DatumGetInt16(values[POSITION_SEGMENT - 1]);
	stored->consumed = DatumGetInt64(values[POSITION_CONSUMED - 1]);
	stored->moved_at = DatumGetTimestampTz(values[POSITION_MOVED_AT - 1]);
	deform_fields(&stored->position, &values[POSITION_DONE - 1], &nulls[POSITION_DONE - 1]);
	heap_freetuple(newest.row);
	return true;
}

typedef struct Overtaken
{
	int64 number;
	bool found;
} Overtaken;

static bool
look_for_others(HeapTuple row, TupleDesc desc, void *arg)
{
	Overtaken *o = arg;

	if (number_of(row, desc) <= o->number)
		return false;
	o->found = !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
	return !o->found;
}

bool
braid_position_was_overtaken(int group, int part, Snapshot snapshot, int64 number)
{
	Overtaken o = {number, false};

	for (int i = 0; i < BRAID_POSITION_SEGMENTS && !o.found; i++)
		visit_segment(i, group, part, snapshot, look_for_others, &o);
	return o.found;
}

/* ---------------------------------------------------------------- writing */

void
braid_position_write(int group, int part, BraidStoredPosition *stored)
{
	int segment = braid_position_current_segment();
	Relation heap = table_open(braid_position_segment(segment), RowExclusiveLock);
	Datum values[POSITION_NCOLUMNS];
	bool nulls[POSITION_NCOLUMNS] = {false};
	HeapTuple row;

	stored->number++;
	stored->moved_at = GetCurrentTimestamp();
	values[POSITION_GROUP - 1] = Int32GetDatum(group);
	values[POSITION_PART - 1] = Int16GetDatum(part);
	values[POSITION_SEGMENT - 1] = Int16GetDatum(segment);
	values[POSITION_NUMBER - 1] = Int64GetDatum(stored->number);
	values[POSITION_CONSUMED - 1] = Int64GetDatum(stored->consumed);
	values[POSITION_MOVED_AT - 1] = TimestampTzGetDatum(stored->moved_at);
	form_fields(&stored->position, &values[POSITION_DONE - 1], &nulls[POSITION_DONE - 1]);
	row = heap_form_tuple(RelationGetDescr(heap), values, nulls);
	CatalogTupleInsert(heap, row);
	heap_freetuple(row);
	table_close(heap, NoLock); /* the segment is not emptied before this is seen */
	CommandCounterIncrement();
}
