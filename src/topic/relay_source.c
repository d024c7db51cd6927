/*
 * relay_source.c
 *	  The side that a relay reads from: what a session with it does here.
 *
 * NOTES
 *	  A relay opens a session with where it has come to, and then asks for one batch after
 *	  the other.  The session knows what it has handed out, so the relay can ask for the next batch
 *	  while it still stores the last one.  What the relay has stored durably it says when it
 *	  asks: then the group that holds messages for it is moved, now and then.
 *
 *	  The group's positions are never used to read from: the relay knows better.  They say
 *	  what may be removed; and by how often they were moved, each side can tell whether the other one
 *	  was restored to an older state.
 *
 *	  Waiting is without a snapshot, so it holds back nothing: that is why asking for a batch
 *	  is a procedure.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/failpoint.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "topic/reader.h"
#include "topic/relay.h"
#include "topic/relay_batch.h"
#include "topic/relay_session.h"
#include "topic/waiters.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_relay_fetch);

#define ACKNOWLEDGE_EVERY_MS 1000
#define MUCH_EFFORT 10000 /* entries of indexes: worth to be stored */

/* ---------------------------------------------------------------- messages */

static BraidRelayBytes
bytes_of(Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	BraidRelayBytes b = {VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v)};

	return b;
}

static BraidRelayBytes
bytes_of_jsonb(Datum value)
{
	Jsonb *json = DatumGetJsonbP(value);
	StringInfoData text;
	BraidRelayBytes b;

	initStringInfo(&text);
	(void) JsonbToCString(&text, &json->root, VARSIZE(json));
	b.data = text.data;
	b.len = text.len;
	return b;
}

/* In the current context, which is reset after each. */
static void
put_message(StringInfo buf, const BraidTopic *topic, int part, TupleTableSlot *slot)
{
	BraidRelayMessage m = {.part = part, .deliver_at = DT_NOBEGIN};
	bool isnull;
	Datum d;

	m.id = DatumGetInt64(slot_getattr(slot, MESSAGE_ID, &isnull));
	m.priority = DatumGetInt16(slot_getattr(slot, MESSAGE_PRIORITY, &isnull));
	d = slot_getattr(slot, MESSAGE_DELIVER_AT, &isnull);
	if (!isnull)
		m.deliver_at = DatumGetTimestampTz(d);
	d = slot_getattr(slot, MESSAGE_KEY, &isnull);
	if (!isnull)
		m.key = bytes_of(d);
	d = slot_getattr(slot, MESSAGE_HEADERS, &isnull);
	if (!isnull)
		m.headers = bytes_of_jsonb(d);
	d = slot_getattr(slot, MESSAGE_PAYLOAD, &isnull);
	if (!isnull)
		m.payload = topic->payload == JSONBOID ? bytes_of_jsonb(d) : bytes_of(d);
	d = slot_getattr(slot, MESSAGE_PATH, &isnull);
	if (!isnull)
		m.path = bytes_of(d);
	braid_relay_batch_put(buf, &m);
}

/* ---------------------------------------------------------------- a batch */

typedef struct Collecting
{
	RelaySession *session;
	BraidTopic *topic;
	StringInfo buf;
	int max_rows;
	int max_bytes;
	BraidRelayBatch batch;
	int64 last_id;
	TimestampTz last_sent_at;
	MemoryContext scratch; /* of a message */
	MemoryContext reading; /* of a partition's reader */
} Collecting;

static bool
is_full(const Collecting *c)
{
	return c->batch.nmessages >= c->max_rows || c->buf->len >= c->max_bytes;
}

/* Takes from a partition what there is room for; false if there was no room for all. */
static bool
collect_part(Collecting *c, int part, Snapshot snapshot)
{
	RelayPart *p = &c->session->parts[part];
	MemoryContext caller = MemoryContextSwitchTo(c->reading);
	BraidReader *reader = braid_reader_open(c->topic, part, &p->at.position, snapshot,
											c->max_rows - c->batch.nmessages);
	TupleTableSlot *slot;
	int n = 0;
	bool all;

	while ((slot = braid_reader_next(reader)) != NULL && !is_full(c))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		c->last_id = DatumGetInt64(slot_getattr(slot, MESSAGE_ID, &isnull));
		c->last_sent_at = DatumGetTimestampTz(slot_getattr(slot, MESSAGE_SENT_AT, &isnull));
		MemoryContextSwitchTo(c->scratch);
		put_message(c->buf, c->topic, part, slot);
		MemoryContextSwitchTo(c->reading);
		MemoryContextReset(c->scratch);
		braid_reader_accept(reader);
		c->batch.nmessages++;
		n++;
	}
	all = slot == NULL;
	braid_relay_session_move(c->session, part, braid_reader_position(reader), n);
	if (n > 0 || braid_reader_effort(reader) > MUCH_EFFORT)
		p->is_touched = true;
	braid_reader_close(reader);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(c->reading);
	return all;
}

/* Each partition in turn, beginning with the one that had no room the last time. */
static void
collect(Collecting *c)
{
	RelaySession *s = c->session;
	Snapshot snapshot = RegisterSnapshot(GetTransactionSnapshot());

	PushActiveSnapshot(snapshot);
	c->batch.more = false;
	for (int i = 0; i < s->nparts; i++)
	{
		if (!collect_part(c, s->next_part, snapshot))
		{
			c->batch.more = true;
			break;
		}
		s->next_part = (s->next_part + 1) % s->nparts;
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
}

/* A partition that always has more must not keep the others waiting. */
static void
turn(RelaySession *s)
{
	s->next_part = (s->next_part + 1) % s->nparts;
}

static bool
any_touched(const RelaySession *s)
{
	for (int i = 0; i < s->nparts; i++)
		if (s->parts[i].is_touched)
			return true;
	return false;
}

/* The batch's header and positions.  Only now is it durable what the batch is made of. */
static bytea *
finish(Collecting *c)
{
	RelaySession *s = c->session;

	if (any_touched(s))
	{
		c->batch.number = ++s->number;
		c->batch.lsn = braid_relay_flush();
	}
	c->batch.timeline = braid_relay_timeline();
	c->batch.confirmed = s->confirmed;
	if (c->batch.more)
	{
		c->batch.behind = Max(braid_relay_last_id(c->topic) - c->last_id, 1);
		c->batch.oldest = c->last_sent_at;
		turn(s);
	}
	c->batch.npositions = braid_relay_session_hand_out(s, c->buf);
	return braid_relay_batch_end(c->buf, &c->batch);
}

/* As it is now, if it may still be read. */
static BraidTopic *
current_topic(const RelaySession *s)
{
	BraidTopic *topic = braid_topic_by_id(s->topic);

	if (topic == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the topic was dropped")));
	braid_topic_require(topic, ACL_SELECT);
	if (topic->npartitions != s->nparts)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the number of partitions of the topic has changed")));
	return topic;
}

/* Until there is something, or it is time; at a time without a snapshot. */
static void
collect_until(Collecting *c, TimestampTz deadline)
{
	braid_waiter_enlist(c->session->topic, c->session->group.id, BRAID_ALL_PARTS, false);
	for (;;)
	{
		c->topic = current_topic(c->session);
		collect(c);
		InvalidateCatalogSnapshot();
		if (any_touched(c->session) || !braid_waiter_sleep(deadline))
			break;
	}
	braid_waiter_leave(BRAID_ALL_PARTS);
}

/* ---------------------------------------------------------------- fetch */

static void
require_no_transaction(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("braid_internal.relay_fetch() cannot be called within a transaction "
							   "block")));
}

/* A record of one column. */
static Datum
result(FunctionCallInfo fcinfo, bytea *batch)
{
	TupleDesc desc;
	Datum value;
	bool isnull = false;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "relay_fetch returns no record");
	value = PointerGetDatum(batch);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), &value, &isnull));
}

/*
 * braid_internal.relay_fetch(acknowledged, max_rows, max_bytes, wait_ms, INOUT batch)
 *
 * Ends the caller's transaction, to be rid of its snapshot, which is all that it has.
 */
Datum
braid_sql_relay_fetch(PG_FUNCTION_ARGS)
{
	int64 acknowledged = PG_GETARG_INT64(0);
	int wait_ms = PG_GETARG_INT32(3);
	MemoryContext caller = CurrentMemoryContext;
	bytea *batch;
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Max(wait_ms, 0));
	Collecting c = {0};
	StringInfoData buf;

	require_no_transaction(fcinfo);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	c.session = braid_relay_session_get();
	braid_relay_session_acknowledge(c.session, acknowledged);
	if (braid_relay_session_is_due(c.session))
		braid_relay_session_move_group(c.session);
	SPI_commit();
	braid_relay_session_moved_group(c.session);

	/* From here on there is a transaction that has no snapshot. */
	MemoryContextSwitchTo(caller);
	initStringInfo(&buf);
	c.buf = &buf;
	braid_relay_batch_begin(&buf);
	c.max_rows = Max(PG_GETARG_INT32(1), 1);
	c.max_bytes = Max(PG_GETARG_INT32(2), 1);
	c.scratch = AllocSetContextCreate(caller, "braid relayed message", ALLOCSET_DEFAULT_SIZES);
	c.reading = AllocSetContextCreate(caller, "braid relay reader", ALLOCSET_DEFAULT_SIZES);
	collect_until(&c, deadline);
	BRAID_FAILPOINT("relay-source-collected");
	batch = finish(&c);
	MemoryContextDelete(c.scratch);
	MemoryContextDelete(c.reading);
	braid_relay_session_release(c.session);
	SPI_finish();
	return result(fcinfo, batch);
}
