/*
 * relay_apply.c
 *	  Stores what has come from a source.
 *
 * NOTES
 *	  Messages and positions are stored in one transaction, so each message is here exactly as
 *	  often as its position says: once.
 *
 *	  Loops: a message carries the topics that it was relayed from, by numbers that are
 *	  different for all topics anywhere.  One that has been in the target before is left out: so
 *	  a to b and b to a may be relayed at the same time, and longer rings too.
 *
 *	  Order: messages of a key come from one partition, in its order, and are sent here in that order
 *	  by one transaction after the other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "topic/relay_batch.h"
#include "topic/relay_link.h"
#include "utils/builtins.h"
#include "utils/expandeddatum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define MAX_HOPS 64

typedef struct Applying
{
	RelayLink *link;
	BraidTopic *topic;
	BraidRelayBatch batch;
	StringInfoData bytes;
	int nparts;
	RelayCount *counts; /* as they are with the batch */
	MemoryContext scratch;
} Applying;

/* ---------------------------------------------------------------- a message */

static char *
convert(Applying *a, const BraidRelayBytes *b, int *len)
{
	/* Verifies it as well. */
	char *text = pg_any_to_server(b->data, b->len, a->link->encoding);

	*len = text == b->data ? b->len : strlen(text);
	return text;
}

static struct varlena *
get_text(Applying *a, const BraidRelayBytes *b)
{
	int len;
	char *text;

	if (b->data == NULL)
		return NULL;
	text = convert(a, b, &len);
	return (struct varlena *) cstring_to_text_with_len(text, len);
}

static struct varlena *
get_jsonb(Applying *a, const BraidRelayBytes *b)
{
	int len;
	char *text;

	if (b->data == NULL)
		return NULL;
	text = convert(a, b, &len);
	return (struct varlena *) DatumGetPointer(
		DirectFunctionCall1(jsonb_in, CStringGetDatum(pnstrdup(text, len))));
}

static struct varlena *
get_bytea(const BraidRelayBytes *b)
{
	if (b->data == NULL)
		return NULL;
	return (struct varlena *) cstring_to_text_with_len(b->data, b->len);
}

static struct varlena *
get_payload(Applying *a, const BraidRelayBytes *b)
{
	if (a->topic->payload == JSONBOID)
		return get_jsonb(a, b);
	return a->topic->payload == BYTEAOID ? get_bytea(b) : get_text(a, b);
}

static bool
path_has(const BraidRelayBytes *path, uint64 topic)
{
	for (int i = 0; i + 8 <= path->len; i += 8)
	{
		uint64 there;

		memcpy(&there, path->data + i, 8);
		if (pg_ntoh64(there) == topic)
			return true;
	}
	return false;
}

/* With the source as well. */
static struct varlena *
extend_path(Applying *a, const BraidRelayBytes *path)
{
	uint64 source = pg_hton64(a->link->source);
	bytea *longer;

	if (path->len >= MAX_HOPS * 8)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a message was relayed through more than %d topics", MAX_HOPS)));
	longer = palloc(VARHDRSZ + path->len + 8);
	SET_VARSIZE(longer, VARHDRSZ + path->len + 8);
	if (path->len > 0)
		memcpy(VARDATA(longer), path->data, path->len);
	memcpy(VARDATA(longer) + path->len, &source, 8);
	return longer;
}

static RelayCount *
count_of(Applying *a, int part)
{
	if (part >= BRAID_MAX_PARTITIONS)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("the source has sent a partition %d", part)));
	if (part >= a->nparts)
	{
		a->counts = repalloc(a->counts, (part + 1) * sizeof(RelayCount));
		memset(a->counts + a->nparts, 0, (part + 1 - a->nparts) * sizeof(RelayCount));
		a->nparts = part + 1;
	}
	return &a->counts[part];
}

static void
put_message(Applying *a, BraidSender *sender, const BraidRelayMessage *from)
{
	struct varlena *payload = get_payload(a, &from->payload);
	BraidMessage m;

	braid_message_init(&m);
	m.payload = PointerGetDatum(payload);
	m.has_payload = payload != NULL;
	m.key = get_text(a, &from->key);
	m.headers = get_jsonb(a, &from->headers);
	m.path = extend_path(a, &from->path);
	m.deliver_at = from->deliver_at;
	m.priority = from->priority;
	(void) braid_sender_put(sender, &m);
}

/* ---------------------------------------------------------------- the batch */

static void
apply_messages(Applying *a)
{
	RelayLink *l = a->link;
	BraidSender *sender = braid_sender_begin(a->topic);

	for (int i = 0; i < a->batch.nmessages; i++)
	{
		int start = a->bytes.cursor;
		MemoryContext caller;
		BraidRelayMessage m;
		RelayCount *count;

		CHECK_FOR_INTERRUPTS();
		braid_relay_batch_get(&a->bytes, &m);
		count = count_of(a, m.part);
		count->last_id = Max(count->last_id, m.id);
		if (l->source == l->target || path_has(&m.path, l->target))
		{
			count->looped++;
			continue;
		}
		caller = MemoryContextSwitchTo(a->scratch);
		put_message(a, sender, &m);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(a->scratch);
		count->messages++;
		count->bytes += a->bytes.cursor - start;
	}
	braid_sender_end(sender);
}

static void
apply_positions(Applying *a)
{
	for (int i = 0; i < a->batch.npositions; i++)
	{
		BraidRelayPosition p = {.number = a->batch.number,
								.timeline = a->batch.timeline,
								.lsn = a->batch.lsn,
								.confirmed = a->batch.confirmed};
		RelayCount *count;

		braid_relay_batch_get_position(&a->bytes, &p.part, &p.position);
		pg_verifymbstr(p.position, strlen(p.position), false);
		count = count_of(a, p.part);
		p.last_id = count->last_id;
		p.messages = count->messages;
		p.bytes = count->bytes;
		p.looped = count->looped;
		braid_relay_write_position(a->link->relay.id, &p);
	}
	braid_relay_batch_read_end(&a->bytes);
}

static void
check_number(Applying *a)
{
	if (a->batch.npositions == 0 && a->batch.nmessages == 0)
		return;
	if (a->batch.number != a->link->number + 1)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("the source has sent batch %lld after batch %lld",
							   (long long) a->batch.number, (long long) a->link->number)));
}

/* The batch is committed. */
static void
take_over(Applying *a)
{
	RelayLink *l = a->link;

	l->number = a->batch.number;
	l->confirmed = Max(l->confirmed, a->batch.confirmed);
	if (a->nparts > l->nparts)
	{
		if (l->counts)
			pfree(l->counts);
		l->counts = MemoryContextAlloc(l->context, a->nparts * sizeof(RelayCount));
		l->nparts = a->nparts;
	}
	memcpy(l->counts, a->counts, l->nparts * sizeof(RelayCount));
}

static void
store(Applying *a)
{
	a->topic = braid_topic_by_id(a->link->relay.target);
	if (a->topic == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("its target was dropped"),
						errhint("Drop the relay as well, by braid.drop_relay().")));
	PushActiveSnapshot(GetTransactionSnapshot());
	if (a->batch.nmessages > 0)
		apply_messages(a);
	apply_positions(a);
	PopActiveSnapshot();
	BRAID_FAILPOINT("relay-stored");
}

static void
read_batch(Applying *a, PGresult *batch)
{
	/* Not to be written to, which nobody does who reads messages. */
	a->bytes.data = PQgetvalue(batch, 0, 0);
	a->bytes.len = PQgetlength(batch, 0, 0);
	a->bytes.maxlen = a->bytes.len;
	a->bytes.cursor = 0;
	braid_relay_batch_read(&a->bytes, &a->batch);
	check_number(a);
}

bool
braid_relay_apply(RelayLink *l, PGresult *batch)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid relay batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Applying a = {.link = l, .nparts = l->nparts};
	bool done;

	read_batch(&a, batch);
	a.scratch = AllocSetContextCreate(context, "braid relayed message", ALLOCSET_DEFAULT_SIZES);
	a.counts = palloc(Max(a.nparts, 1) * sizeof(RelayCount));
	memcpy(a.counts, l->counts, a.nparts * sizeof(RelayCount));

	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	done = braid_relay_try_lock(l->relay.id) && !braid_relay_has_changed();
	if (done && a.batch.npositions > 0)
		store(&a);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	BRAID_FAILPOINT("relay-committed");
	if (done && a.batch.npositions > 0)
		take_over(&a);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return done;
}
