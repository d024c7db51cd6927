/*
 * receive.c
 *	  braid.receive(): the next messages of a group, and its position after them.
 *
 * NOTES
 *	  The position moves in the caller's transaction, so what he makes of the messages is
 *	  committed with it or not at all.
 *
 *	  A consumer that is no member takes one partition that nobody else has taken and that has
 *	  messages; so several of them share a group's partitions.  A member
 *	  takes all of its own that have messages.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "topic/arguments.h"
#include "topic/follow.h"
#include "topic/fence.h"
#include "topic/group.h"
#include "topic/idle.h"
#include "topic/position.h"
#include "topic/reader.h"
#include "topic/waiters.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_receive);

/* A position that moved so far past nothing is worth to be stored. */
#define STORE_AFTER 1000

/* Columns of the result. */
enum
{
	RECEIVED_PARTITION,
	RECEIVED_ID,
	RECEIVED_KEY,
	RECEIVED_HEADERS,
	RECEIVED_PAYLOAD,
	RECEIVED_SENT_AT,
	RECEIVED_DELIVER_AT,
	RECEIVED_PRIORITY,
	RECEIVED_NCOLUMNS
};

typedef struct Request
{
	BraidTopic *topic;
	BraidGroup group;
	int max_rows;
	int64 max_bytes;
	TimestampTz until; /* to wait until then */
	bool waits;
	int part; /* -1: any */
	bool is_member;
	int64 member;
	BraidMembership membership;

	ReturnSetInfo *result;
	int nrows;
	int64 nbytes;
	BraidParts found;
	MemoryContext context; /* reset after each row, and each look */
} Request;

/* ---------------------------------------------------------------- rows */

static const int columns[RECEIVED_NCOLUMNS] = {[RECEIVED_PARTITION] = MESSAGE_PART,
											   [RECEIVED_ID] = MESSAGE_ID,
											   [RECEIVED_KEY] = MESSAGE_KEY,
											   [RECEIVED_HEADERS] = MESSAGE_HEADERS,
											   [RECEIVED_PAYLOAD] = MESSAGE_PAYLOAD,
											   [RECEIVED_SENT_AT] = MESSAGE_SENT_AT,
											   [RECEIVED_DELIVER_AT] = MESSAGE_DELIVER_AT,
											   [RECEIVED_PRIORITY] = MESSAGE_PRIORITY};

static bool
is_varlena(int column)
{
	return column == RECEIVED_KEY || column == RECEIVED_HEADERS || column == RECEIVED_PAYLOAD;
}

/* What counts for max_bytes: what the user has sent, uncompressed. */
static int64
size_of_message(TupleTableSlot *slot)
{
	int64 size = 0;

	for (int i = 0; i < RECEIVED_NCOLUMNS; i++)
	{
		bool is_null;
		Datum d;

		if (!is_varlena(i))
			continue;
		d = slot_getattr(slot, columns[i], &is_null);
		if (!is_null)
			size += toast_raw_datum_size(d) - VARHDRSZ;
	}
	return size;
}

/* Nothing may point to the table's own toast: it may be truncated before the rows are read. */
static void
put_row(Request *q, TupleTableSlot *slot)
{
	MemoryContext caller = MemoryContextSwitchTo(q->context);
	Datum values[RECEIVED_NCOLUMNS];
	bool nulls[RECEIVED_NCOLUMNS];

	for (int i = 0; i < RECEIVED_NCOLUMNS; i++)
	{
		values[i] = slot_getattr(slot, columns[i], &nulls[i]);
		if (is_varlena(i) && !nulls[i] && VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			values[i] = PointerGetDatum(
				detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
	}
	values[RECEIVED_PARTITION] = Int32GetDatum(DatumGetInt16(values[RECEIVED_PARTITION]));
	values[RECEIVED_PRIORITY] = Int32GetDatum(DatumGetInt16(values[RECEIVED_PRIORITY]));
	tuplestore_putvalues(q->result->setResult, q->result->setDesc, values, nulls);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(q->context);
}

/* Of one partition; how many there were. */
static int
put_rows(Request *q, BraidReader *reader)
{
	TupleTableSlot *slot;
	int n = 0;

	while (q->nrows < q->max_rows && (slot = braid_reader_next(reader)) != NULL)
	{
		int64 size = size_of_message(slot);

		if (q->nrows > 0 && q->nbytes + size > q->max_bytes)
		{
			q->nbytes = q->max_bytes;
			break;
		}
		put_row(q, slot);
		braid_reader_accept(reader);
		q->nrows++;
		q->nbytes += size;
		n++;
	}
	return n;
}

static bool
is_full(const Request *q)
{
	return q->nrows >= q->max_rows || q->nbytes >= q->max_bytes;
}

/* ---------------------------------------------------------------- partitions */

/*
 * The position as it is now, and the snapshot to read from, which is registered.  In
 * REPEATABLE READ a transaction sees what was there when it began, and nothing else.
 */
static Snapshot
read_position(Request *q, int part, BraidStoredPosition *stored)
{
	Snapshot latest = RegisterSnapshot(GetLatestSnapshot());
	BraidStoredPosition seen = {.number = 0};
	Snapshot mine;

	if (!braid_position_read(q->group.id, part, latest, stored))
	{
		/* A partition that the topic got later. */
		memset(stored, 0, sizeof(BraidStoredPosition));
		braid_position_at_beginning(&stored->position);
	}
	if (!IsolationUsesXactSnapshot())
		return latest;
	UnregisterSnapshot(latest);
	mine = RegisterSnapshot(GetTransactionSnapshot());
	(void) braid_position_read(q->group.id, part, mine, &seen);
	if (seen.number != stored->number)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent receive"),
						errdetail("The position of group \"%s\" in partition %d has moved since "
								  "this transaction began.",
								  NameStr(q->group.name), part)));
	return mine;
}

/* Reads on from the position, which is the caller's; true if it has moved. */
static bool
read_on(Request *q, int part)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid receive", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	BraidStoredPosition stored;
	Snapshot snapshot = read_position(q, part, &stored);
	int64 number = stored.number;
	BraidReader *reader =
		braid_reader_open(q->topic, part, &stored.position, snapshot, q->max_rows);
	int n = put_rows(q, reader);
	bool moves = n > 0 || braid_reader_effort(reader) >= STORE_AFTER;

	if (moves)
	{
		stored.consumed += n;
		braid_position_copy(&stored.position, braid_reader_position(reader));
	}
	braid_reader_close(reader);
	UnregisterSnapshot(snapshot);
	if (moves)
		braid_position_write(q->group.id, part, &stored);
	if (moves && q->is_member)
		braid_fence_note(q->group.id, part, number, q->member);
	if (n > 0)
		q->found |= BRAID_PART(part);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return moves;
}

/* When the transaction ends, others may go on there. */
static void
hand_on_at_end(Request *q, int part)
{
	braid_waiters_wake_at_end(q->topic->id, q->group.id, BRAID_PART(part), 1);
}

/* The position stays locked if it has moved. */
static void
try_as_anyone(Request *q, int part)
{
	if (!braid_position_lock(q->group.id, part, false))
		return;
	if (read_on(q, part))
		hand_on_at_end(q, part);
	else
		braid_position_unlock(q->group.id, part);
}

/* See fence.c. */
static void
try_as_member(Request *q, int part)
{
	bool is_held;
	bool has_moved = false;

	if (!braid_fence_enter(q->group.id, part, &q->membership, &is_held))
		return;
	if (braid_position_lock(q->group.id, part, false))
	{
		has_moved = read_on(q, part);
		braid_position_unlock(q->group.id, part);
	}
	if (has_moved)
		hand_on_at_end(q, part);
	else if (is_held)
		braid_fence_leave(q->group.id, part);
}

/* ---------------------------------------------------------------- looking and waiting */

static void
look_as_anyone(Request *q)
{
	static int last = 0; /* so that all get their turn */
	int n = q->topic->npartitions;

	if (q->part >= 0)
	{
		try_as_anyone(q, q->part);
		return;
	}
	for (int i = 1; i <= n && q->nrows == 0; i++)
	{
		int part = (last + i) % n;

		try_as_anyone(q, part);
		if (q->nrows > 0)
			last = part;
	}
}

static void
look_as_member(Request *q)
{
	static int last = 0;
	int n = q->topic->npartitions;
	int first = last + 1;

	for (int i = 0; i < n && !is_full(q); i++)
	{
		int part = (first + i) % n;

		if (!braid_member_owns(&q->membership, part) || (q->part >= 0 && q->part != part))
			continue;
		try_as_member(q, part);
		if (is_full(q))
			last = part;
	}
}

static void
show_up(Request *q)
{
	if (q->is_member)
		braid_member_show_up(q->member, q->group.id, &q->membership);
}

static void
look(Request *q)
{
	if (q->is_member)
		look_as_member(q);
	else
		look_as_anyone(q);
}

/* Those that the consumer may read. */
static BraidParts
parts_of(const Request *q)
{
	BraidParts parts = 0;

	if (q->part >= 0)
		return BRAID_PART(q->part);
	if (!q->is_member)
		return BRAID_ALL_PARTS;
	for (int part = 0; part < q->topic->npartitions; part++)
		if (braid_member_owns(&q->membership, part))
			parts |= BRAID_PART(part);
	return parts;
}

/* A member has to show up while it waits. */
static TimestampTz
until_next_look(const Request *q)
{
	if (!q->is_member)
		return q->until;
	return Min(q->until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 Max(q->membership.timeout_ms / 3, 20)));
}

/* The topic and the group may be others by now, or gone. */
static void
look_up_again(Request *q)
{
	Oid view = q->topic->view;
	char *name = pstrdup(NameStr(q->group.name));

	AcceptInvalidationMessages();
	q->topic = braid_topic_get(view);
	braid_group_get(q->topic, name, &q->group);
	pfree(name);
}

static void
wait_and_look(Request *q)
{
	BraidIdle idle;

	braid_waiter_enlist(q->topic->id, q->group.id, parts_of(q), false);
	for (;;)
	{
		look(q);
		if (q->nrows > 0 || GetCurrentTimestamp() >= q->until)
			break;
		braid_idle_begin(&idle);
		(void) braid_waiter_sleep(until_next_look(q));
		braid_idle_end(&idle);
		look_up_again(q);
		show_up(q);
		braid_waiter_change_parts(parts_of(q));
	}
	braid_waiter_leave(q->found);
}

/* ---------------------------------------------------------------- arguments */

static void
read_limits(Request *q, FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTimestamp();

	q->max_rows = PG_GETARG_INT32(2);
	q->max_bytes = PG_GETARG_INT64(3);
	if (q->max_rows < 1 || q->max_bytes < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_rows and max_bytes must be greater than zero")));
	q->until = braid_end_of_wait(now, PG_GETARG_DATUM(4));

	/* Nothing comes into the snapshot of a transaction. */
	q->waits = q->until > now && !IsolationUsesXactSnapshot();
}

static void
read_part(Request *q, FunctionCallInfo fcinfo)
{
	q->part = PG_ARGISNULL(5) ? -1 : PG_GETARG_INT32(5);
	if (!PG_ARGISNULL(5) && (q->part < 0 || q->part >= q->topic->npartitions))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("topic \"%s\" has no partition %d", braid_topic_name(q->topic), q->part),
			 errdetail("Its partitions are numbered from 0 to %d.", q->topic->npartitions - 1)));
}

static void
read_member(Request *q, FunctionCallInfo fcinfo)
{
	q->is_member = !PG_ARGISNULL(6);
	if (q->is_member)
	{
		q->member = PG_GETARG_INT64(6);
		show_up(q);
		return;
	}
	if (braid_member_any(q->group.id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("consumer group \"%s\" has members", NameStr(q->group.name)),
				 errdetail("Its partitions are divided among them."),
				 errhint("Become one with braid.join_group(), and pass its number as member.")));
}

static void
read_group(Request *q, FunctionCallInfo fcinfo)
{
	q->topic = braid_topic_get(PG_GETARG_OID(0));
	braid_topic_require(q->topic, ACL_SELECT);
	braid_group_get(q->topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), &q->group);
	if (q->group.is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("consumer group \"%s\" is of mode work", NameStr(q->group.name)),
						errhint("Use braid.take().")));
}

/* braid.receive(topic, group_name, max_rows, max_bytes, wait, from_partition, member) */
Datum
braid_sql_receive(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"topic", "group_name", "max_rows", "max_bytes", "wait"};
	Request q = {0};

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	PreventCommandDuringRecovery("braid.receive()");
	PreventCommandIfReadOnly("braid.receive()");
	read_group(&q, fcinfo);
	read_limits(&q, fcinfo);
	read_part(&q, fcinfo);
	read_member(&q, fcinfo);

	InitMaterializedSRF(fcinfo, 0);
	q.result = (ReturnSetInfo *) fcinfo->resultinfo;
	braid_topic_require_payload(
		q.topic, TupleDescAttr(q.result->setDesc, RECEIVED_PAYLOAD)->atttypid, "receive");
	q.context =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_DEFAULT_SIZES);
	look(&q);
	if (q.nrows == 0 && q.waits)
		wait_and_look(&q);
	MemoryContextDelete(q.context);
	return (Datum) 0;
}
