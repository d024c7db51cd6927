/*
 * send.c
 *	  Writing messages into the open segment of a topic.
 *
 * NOTES
 *	  Rows go through the server's table and index interfaces, without a plan: nothing but the
 *	  privileges on the view decides who may send, and a segment has neither triggers nor
 *	  constraints that could fail.  So one that is sent costs what an INSERT costs, and
 *	  many go page by page.
 *
 *	  Which segment: a sender locks the one that it believes open, and looks again whether it
 *	  is.  Locking takes in what others have committed, so once a segment that was
 *	  closed is locked against writers for a moment, nobody writes into it any more but
 *	  transactions that hold a lock on it anyway.  Rotation rests on that (segment.c).
 *
 *	  Ticks: readers need snapshots that are not far from each other.  Whoever sends a message
 *	  whose id is a multiple of BRAID_TICK_EVERY stores the snapshot of that moment among
 *	  the messages.  Any snapshot that was ever taken will do, so nothing depends on when the tick
 *	  becomes visible.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "topic/dedup.h"
#include "topic/follow.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define BUFFERED_ROWS 500
#define BUFFERED_BYTES 65536
#define MANY_ROWS 2000 /* from here on it is worth to have pages of one's own */

typedef struct BufferedRow
{
	int64 id;
	uint64 xid;
	int part;
} BufferedRow;

struct BraidSender
{
	BraidTopic *topic;
	Relation table;
	Relation index;
	IndexInfo *index_info;
	uint64 xid;
	TimestampTz now;
	int64 nsent;
	bool one; /* rows are written as they come */

	/* What is not written yet. */
	MemoryContext owner;   /* of all but the rows */
	MemoryContext context; /* of the rows */
	int nrows;
	Size nbytes;
	BufferedRow *rows;
	TupleTableSlot **slots;
	int nslots; /* that were made */
	BulkInsertState pages;
	int *counts; /* of messages by part */
};

/* The last tick of this process: another one that says the same is not needed. */
static struct
{
	int topic;
	uint64 mine;
	uint64 xmax;
	int nxip;
} last_tick;

void
braid_message_init(BraidMessage *m)
{
	memset(m, 0, sizeof(*m));
	m->deliver_at = DT_NOBEGIN;
	m->part = -1;
}

/* Does not depend on the collation: keys are the same if their bytes are. */
int
braid_topic_partition_of(const struct varlena *key, int npartitions)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key),
							   0) %
		   npartitions;
}

/* ---------------------------------------------------------------- rows */

static void
insert_into_index(BraidSender *s, const BufferedRow *row, ItemPointer tid)
{
	Datum values[MESSAGE_INDEX_NCOLUMNS];
	bool nulls[MESSAGE_INDEX_NCOLUMNS] = {false};

	values[MESSAGE_INDEX_PART - 1] = Int16GetDatum(row->part);
	values[MESSAGE_INDEX_XID - 1] = UInt64GetDatum(row->xid);
	values[MESSAGE_INDEX_ID - 1] = Int64GetDatum(row->id);
	(void) index_insert(s->index, values, nulls, tid, s->table, UNIQUE_CHECK_NO, false,
						s->index_info);
}

static void
flush(BraidSender *s)
{
	MemoryContext caller;

	if (s->nrows == 0)
		return;
	caller = MemoryContextSwitchTo(s->owner);
	if (s->pages == NULL && s->nsent >= MANY_ROWS)
		s->pages = GetBulkInsertState();
	MemoryContextSwitchTo(s->context);
	table_multi_insert(s->table, s->slots, s->nrows, GetCurrentCommandId(true), 0, s->pages);
	for (int i = 0; i < s->nrows; i++)
	{
		insert_into_index(s, &s->rows[i], &s->slots[i]->tts_tid);
		ExecClearTuple(s->slots[i]);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(s->context);
	s->nrows = 0;
	s->nbytes = 0;
	CHECK_FOR_INTERRUPTS();
}

static TupleTableSlot *
next_slot(BraidSender *s)
{
	if (s->nrows == s->nslots)
	{
		MemoryContext caller = MemoryContextSwitchTo(s->owner);

		s->slots[s->nslots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(s->table), &TTSOpsHeapTuple);
		MemoryContextSwitchTo(caller);
	}
	return s->slots[s->nrows];
}

static void
put_row(BraidSender *s, const BufferedRow *row, Datum *values, bool *nulls)
{
	MemoryContext caller;
	HeapTuple tuple;

	values[MESSAGE_ID - 1] = Int64GetDatum(row->id);
	values[MESSAGE_XID - 1] = UInt64GetDatum(row->xid);
	values[MESSAGE_SENT_AT - 1] = TimestampTzGetDatum(s->now);
	values[MESSAGE_SEGMENT - 1] = Int16GetDatum(s->topic->segment);
	values[MESSAGE_PART - 1] = Int16GetDatum(row->part);
	if (s->one)
	{
		TupleTableSlot *slot = next_slot(s);

		ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(s->table), values, nulls), slot, true);
		table_tuple_insert(s->table, slot, GetCurrentCommandId(true), 0, NULL);
		insert_into_index(s, row, &slot->tts_tid);
		ExecClearTuple(slot);
		return;
	}
	caller = MemoryContextSwitchTo(s->context);
	tuple = heap_form_tuple(RelationGetDescr(s->table), values, nulls);
	ExecStoreHeapTuple(tuple, next_slot(s), false);
	MemoryContextSwitchTo(caller);
	s->rows[s->nrows++] = *row;
	s->nbytes += tuple->t_len;
	if (s->nrows == BUFFERED_ROWS || s->nbytes >= BUFFERED_BYTES)
		flush(s);
}

static void
put_tick(BraidSender *s, int64 id)
{
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS];
	BufferedRow row = {id, 0, BRAID_TICK_PART};
	BraidFrontier now;

	braid_topic_frontier(s->topic, GetLatestSnapshot(), &now);
	if (last_tick.topic == s->topic->id && last_tick.mine == s->xid && last_tick.xmax == now.xmax &&
		last_tick.nxip == now.nxip)
		return;
	last_tick.topic = s->topic->id;
	last_tick.mine = s->xid;
	last_tick.xmax = row.xid = now.xmax;
	last_tick.nxip = now.nxip;
	memset(nulls, true, sizeof(nulls));
	memset(nulls, false, MESSAGE_PRIORITY * sizeof(bool));
	nulls[MESSAGE_KEY - 1] = false;
	values[MESSAGE_PRIORITY - 1] = Int16GetDatum(0);
	values[MESSAGE_KEY - 1] = CStringGetTextDatum(braid_frontier_format(&now));
	put_row(s, &row, values, nulls);
	pfree(DatumGetPointer(values[MESSAGE_KEY - 1]));
	pfree(now.xip);
}

/* ---------------------------------------------------------------- the segment */

/*
 * Opens the open segment for writing, of the topic as it is now: that is, of another
 * description of it if it has changed.
 */
static BraidTopic *
open_segment(BraidTopic *topic, Relation *table)
{
	for (;;)
	{
		Oid view = topic->view;
		Oid segment = topic->tables[topic->segment];

		*table = try_table_open(segment, RowExclusiveLock);
		topic = braid_topic_get(view);
		if (*table && topic->tables[topic->segment] == segment)
			return topic;
		if (*table)
			table_close(*table, RowExclusiveLock);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
begin(BraidSender *s, BraidTopic *topic, bool one)
{
	PreventCommandIfReadOnly("braid.send()");
	PreventCommandIfParallelMode("braid.send()");
	memset(s, 0, sizeof(*s));
	s->one = one;
	s->owner = CurrentMemoryContext;
	s->topic = open_segment(topic, &s->table);
	s->index = index_open(s->topic->indexes[s->topic->segment], RowExclusiveLock);
	s->index_info = BuildIndexInfo(s->index);
	s->xid = braid_topic_xid(s->topic, GetTopFullTransactionId());
	s->now = GetCurrentTimestamp();
}

static void
end(BraidSender *s)
{
	for (int i = 0; i < s->nslots; i++)
		ExecDropSingleTupleTableSlot(s->slots[i]);
	pfree(s->index_info);
	index_close(s->index, NoLock);
	table_close(s->table, NoLock);
}

/* ---------------------------------------------------------------- messages */

static void
check_message(const BraidTopic *topic, const BraidMessage *m)
{
	if (m->priority < PG_INT16_MIN || m->priority > PG_INT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("priority %d is out of range", m->priority),
						errdetail("It is from %d to %d.", PG_INT16_MIN, PG_INT16_MAX)));
	if (m->part < -1 || m->part >= topic->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic \"%s\" has no partition %d", braid_topic_name(topic), m->part),
				 errdetail("It has %d, from 0 on.", topic->npartitions)));
	if (TIMESTAMP_IS_NOEND(m->deliver_at))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a message cannot be delivered at infinity")));
	if (m->dedup_key && !topic->has_keys)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" does not de-duplicate messages", braid_topic_name(topic)),
			 errhint(
				 "Set its option dedup_window, by braid.alter_topic(), or leave the key out.")));
}

static void
set_column(Datum *values, bool *nulls, MessageColumn column, const void *value)
{
	nulls[column - 1] = value == NULL;
	values[column - 1] = PointerGetDatum(value);
}

static int64
put(BraidSender *s, BraidMessage *m)
{
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS] = {false};
	BufferedRow row;

	check_message(s->topic, m);
	row.id = nextval_internal(s->topic->ids, false);
	row.xid = s->xid;
	if (m->dedup_key)
	{
		int64 first = braid_dedup_claim(s->topic, m->dedup_key, row.id);

		m->is_duplicate = first != row.id;
		if (m->is_duplicate)
			return first;
	}
	row.part = m->part >= 0 ? m->part
			   : m->key		? braid_topic_partition_of(m->key, s->topic->npartitions)
							: row.id % s->topic->npartitions;
	values[MESSAGE_PRIORITY - 1] = Int16GetDatum(m->priority);
	values[MESSAGE_DELIVER_AT - 1] = TimestampTzGetDatum(m->deliver_at);
	nulls[MESSAGE_DELIVER_AT - 1] = TIMESTAMP_IS_NOBEGIN(m->deliver_at);
	set_column(values, nulls, MESSAGE_KEY, m->key);
	set_column(values, nulls, MESSAGE_HEADERS, m->headers);
	set_column(values, nulls, MESSAGE_DEDUP_KEY, m->dedup_key);
	set_column(values, nulls, MESSAGE_PATH, m->path);
	values[MESSAGE_PAYLOAD - 1] = m->payload;
	nulls[MESSAGE_PAYLOAD - 1] = !m->has_payload;
	put_row(s, &row, values, nulls);
	m->sent_part = row.part;
	m->sent_at = s->now;
	s->nsent++;
	if (row.id % BRAID_TICK_EVERY == 0)
		put_tick(s, row.id);
	return row.id;
}

int64
braid_topic_send(BraidTopic *topic, BraidMessage *m)
{
	TupleTableSlot *slot = NULL;
	BraidSender s;
	int64 id;

	begin(&s, topic, true);
	s.slots = &slot;
	id = put(&s, m);
	end(&s);
	if (!m->is_duplicate)
		braid_topic_tell_sent(s.topic, m->sent_part, 1);
	return id;
}

BraidSender *
braid_sender_begin(BraidTopic *topic)
{
	BraidSender *s = palloc(sizeof(BraidSender));

	begin(s, topic, false);
	s->context =
		AllocSetContextCreate(CurrentMemoryContext, "braid messages", ALLOCSET_DEFAULT_SIZES);
	s->counts = palloc0(sizeof(int) * s->topic->npartitions);
	s->rows = palloc(sizeof(BufferedRow) * BUFFERED_ROWS);
	s->slots = palloc(sizeof(TupleTableSlot *) * BUFFERED_ROWS);
	return s;
}

int64
braid_sender_put(BraidSender *s, BraidMessage *m)
{
	int64 id = put(s, m);

	if (!m->is_duplicate)
		s->counts[m->sent_part]++;
	return id;
}

void
braid_sender_end(BraidSender *s)
{
	flush(s);
	if (s->pages)
		FreeBulkInsertState(s->pages);
	MemoryContextDelete(s->context);
	end(s);
	for (int part = 0; part < s->topic->npartitions; part++)
		if (s->counts[part] > 0)
			braid_topic_tell_sent(s->topic, part, s->counts[part]);
	pfree(s->counts);
	pfree(s->rows);
	pfree(s->slots);
	pfree(s);
}
