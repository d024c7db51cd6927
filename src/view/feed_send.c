/*
 * feed_send.c
 *	  From rows to the messages of a feed.
 *
 * NOTES
 *	  Messages are part of the transaction that brings the view, or what is
 *	  captured of the table, to S: they are there exactly once, as the state is.
 *
 *	  The rows come from one statement, with their JSON; the messages go through
 *	  the topic's own way of sending many.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "topic/topic.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "view/feed_send.h"
#include "view/run.h"

#define ROWS_NAME "feed_rows"

/* Columns of the rows. */
enum
{
	ROW_WEIGHT = 1,
	ROW_TIE,
	ROW_KEY,
	ROW_ROW,
	ROW_LSN,
	ROW_GID
};

typedef struct FeedSender
{
	Feed *feed;
	BraidTopic *topic;
	BraidSender *sender;
	const char *comes;	   /* the operation of a row that comes without another one that went */
	char *lsn;			   /* of what has none of its own */
	StringInfoData text;   /* of the message */
	MemoryContext message; /* what one takes */
	MemoryContext group;   /* what rows with one tie take */
	char *tie;			   /* of these; NULL: no row has come */
	List *went;			   /* FeedRow: those that went */
	int nmatched;		   /* of them, something has come for the first so many */
} FeedSender;

typedef struct FeedRow
{
	char *key;
	char *row;
	char *lsn;
	char *gid;
} FeedRow;

char *
braid_feed_row_text(const char *columns)
{
	return psprintf("(SELECT to_jsonb(r.*) FROM (SELECT %s) r)::text", columns);
}

/* ---------------------------------------------------------------- messages */

static void
begin(FeedSender *s, Feed *feed, const char *comes)
{
	memset(s, 0, sizeof(*s));
	s->feed = feed;
	s->comes = comes;
	s->topic = braid_topic_get(feed->topic);
	braid_topic_require(s->topic, ACL_INSERT);
	s->sender = braid_sender_begin(s->topic);
	s->lsn =
		DatumGetCString(DirectFunctionCall1(pg_lsn_out, LSNGetDatum(braid_capture_position())));
	s->message = AllocSetContextCreate(CurrentMemoryContext, "feed message", ALLOCSET_SMALL_SIZES);
	s->group = AllocSetContextCreate(CurrentMemoryContext, "feed rows", ALLOCSET_SMALL_SIZES);
	initStringInfo(&s->text);
}

static void
end(FeedSender *s)
{
	braid_sender_end(s->sender);
	MemoryContextDelete(s->message);
	MemoryContextDelete(s->group);
	pfree(s->text.data);
}

static void
append_string(StringInfo s, const char *name, const char *value)
{
	appendStringInfo(s, ", \"%s\": ", name);
	escape_json(s, value);
}

/* old and new are JSON, or NULL; key NULL: to the partition that is given. */
static void
send(FeedSender *s, const char *op, const FeedRow *old, const FeedRow *new, int part)
{
	const FeedRow *row = new ? new : old;
	MemoryContext caller = MemoryContextSwitchTo(s->message);
	BraidMessage m;

	resetStringInfo(&s->text);
	appendStringInfo(&s->text, "{\"op\": \"%s\", \"old\": %s, \"new\": %s", op,
					 old ? old->row : "null", new ? new->row : "null");
	append_string(&s->text, "relation", s->feed->name);
	append_string(&s->text, "lsn", row && row->lsn ? row->lsn : s->lsn);
	if (row && row->gid)
		append_string(&s->text, "gid", row->gid);
	appendStringInfoChar(&s->text, '}');
	braid_message_init(&m);
	m.payload = DirectFunctionCall1(jsonb_in, CStringGetDatum(s->text.data));
	m.has_payload = true;
	m.key = row ? cstring_to_text(row->key) : NULL;
	m.part = part;
	(void) braid_sender_put(s->sender, &m);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(s->message);
}

/* ---------------------------------------------------------------- rows */

static char *
text_of(TupleTableSlot *slot, int column)
{
	bool isnull;
	Datum value;

	if (column > slot->tts_tupleDescriptor->natts)
		return NULL;
	value = slot_getattr(slot, column, &isnull);
	return isnull ? NULL : TextDatumGetCString(value);
}

/* What went, and nothing came for it. */
static void
flush(FeedSender *s)
{
	for (; s->nmatched < list_length(s->went); s->nmatched++)
		send(s, "delete", list_nth(s->went, s->nmatched), NULL, -1);
	s->went = NIL;
	s->nmatched = 0;
	s->tie = NULL;
	MemoryContextReset(s->group);
}

static void
take_coming(FeedSender *s, const FeedRow *row)
{
	FeedRow *old = NULL;

	if (s->nmatched < list_length(s->went))
		old = list_nth(s->went, s->nmatched++);
	if (old && strcmp(old->key, row->key) == 0)
		send(s, "update", old, row, -1);
	else
	{
		if (old)
			send(s, "delete", old, NULL, -1);
		send(s, s->comes, NULL, row, -1);
	}
}

static void
take_row(FeedSender *s, TupleTableSlot *slot)
{
	bool isnull;
	int64 weight = DatumGetInt64(slot_getattr(slot, ROW_WEIGHT, &isnull));
	char *tie = text_of(slot, ROW_TIE);
	MemoryContext caller;
	FeedRow *row;

	if (s->tie == NULL || strcmp(s->tie, tie) != 0)
	{
		flush(s);
		s->tie = MemoryContextStrdup(s->group, tie);
	}
	caller = MemoryContextSwitchTo(s->group);
	row = palloc(sizeof(FeedRow));
	row->key = text_of(slot, ROW_KEY);
	row->row = text_of(slot, ROW_ROW);
	row->lsn = text_of(slot, ROW_LSN);
	row->gid = text_of(slot, ROW_GID);
	for (; weight < 0; weight++)
		s->went = lappend(s->went, row);
	for (; weight > 0; weight--)
		take_coming(s, row);
	MemoryContextSwitchTo(caller);
	pfree(tie);
}

static void
send_rows(FeedSender *s)
{
	TupleDesc desc;
	Tuplestorestate *rows = braid_run_rows(ROWS_NAME, &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	tuplestore_select_read_pointer(rows, 0);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
		take_row(s, slot);
	flush(s);
	ExecDropSingleTupleTableSlot(slot);
}

void
braid_feed_send_changes(Feed *feed, const char *sql, int64 nrows)
{
	FeedSender s;

	if (braid_run_into(ROWS_NAME, sql, nrows) == 0)
		return;
	begin(&s, feed, "insert");
	send_rows(&s);
	end(&s);
}

void
braid_feed_send_all(Feed *feed, const char *op, const char *sql, int64 nrows)
{
	FeedSender s;

	(void) braid_run_into(ROWS_NAME, sql, nrows);
	begin(&s, feed, "read");
	for (int part = 0; part < s.topic->npartitions; part++)
		send(&s, op, NULL, NULL, part);
	send_rows(&s);
	end(&s);
}
