/*
 * relay_open.c
 *	  The side that a relay reads from: opens a session with it, if positions still mean
 *	  what they meant.
 *
 * NOTES
 *	  The answer is a verdict.  What is not "ok" stops the relay until somebody has decided what
 *	  is to be done; what may be different the next time is an error.
 *
 *		another		it was another topic, of another database or cluster
 *		forgotten	there is no group of the relay any more
 *		older		this server was restored to a state before the relay's position: the group was
 *					moved less often than we have confirmed, or WAL ends before
 *		diverged	the position is in no part of this server's history: it was restored,
 *					or a standby was promoted that had not received all
 *		removed		the relay has come back with an older position, and some of what it has
 *					not had is not there any more
 *
 *	  A relay whose own server was restored to an older state, or whose standby was promoted, comes with an
 *	  older position than the group has.  It has lost the messages together with the
 *	  position, so it just gets them again, if they are all still there.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/lock.h"
#include "common/superuser.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "topic/arguments.h"
#include "topic/relay.h"
#include "topic/relay_session.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(braid_sql_relay_open);
PG_FUNCTION_INFO_V1(braid_sql_relay_close);

/* Arguments. */
enum
{
	ARG_TOPIC,
	ARG_GROUP,
	ARG_START,
	ARG_NUMBER,
	ARG_PARTS,
	ARG_POSITIONS,
	ARG_CONFIRMED,
	ARG_SYSTEM,
	ARG_DATABASE,
	ARG_TOPIC_ID,
	ARG_TIMELINE,
	ARG_LSN
};

/* Of those that must not be null. */
static const char *const argument_names[] = {
	[ARG_TOPIC] = "topic",
	[ARG_GROUP] = "group_name",
	[ARG_NUMBER] = "number",
	[ARG_PARTS] = "parts",
	[ARG_POSITIONS] = "positions",
	[ARG_CONFIRMED] = "confirmed",
	[ARG_SYSTEM] = "system",
	[ARG_DATABASE] = "database",
	[ARG_TOPIC_ID] = "topic id",
	[ARG_TIMELINE] = "timeline",
	[ARG_LSN] = "lsn",
};

/* Columns of the answer. */
enum
{
	OUT_VERDICT,
	OUT_DETAIL,
	OUT_SYSTEM,
	OUT_DATABASE,
	OUT_TOPIC,
	OUT_PAYLOAD,
	OUT_IDENTITY,
	OUT_ENCODING,
	OUT_TIMELINE,
	OUT_LSN,
	OUT_CONFIRMED,
	OUT_POSITIONS,
	OUT_NCOLUMNS
};

typedef struct Opening
{
	FunctionCallInfo fcinfo;
	BraidTopic *topic;
	char *group_name;
	bool has_group;
	BraidGroup group;
	BraidPosition *positions; /* the relay's, one for each partition */
	int64 moves;			  /* how often the group was moved */
	const char *verdict;
	char *detail;
} Opening;

/* ---------------------------------------------------------------- the group */

/*
 * Only one session at a time in the name of a relay: a copy of its server has the same.
 * For who may have the group moved, and nobody else.
 */
static void
claim(Opening *o)
{
	uint64 key =
		hash_bytes_extended((unsigned char *) o->group_name, strlen(o->group_name), o->topic->id);

	if (!braid_lock_acquire_for_session(BRAID_LOCK_RELAY_SESSION, (uint32) (key >> 32),
										(uint32) key, ExclusiveLock, false))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another session reads in the name of this relay"),
				 errhint("It is one that has not ended yet, or that of a copy of this server.")));
}

/* Nobody but who made it, or owns the topic, may have a group moved. */
static void
find_group(Opening *o)
{
	o->has_group = braid_group_find(o->topic, o->group_name, &o->group);
	if (!o->has_group)
		return;
	braid_group_require_owner(o->topic, &o->group);
	if (o->group.is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("group \"%s\" is a queue, and not that of a relay", o->group_name)));
}

/* How often the group was moved, over all partitions. */
static int64
count_moves(Opening *o)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 moves = 0;

	for (int i = 0; i < o->topic->npartitions; i++)
	{
		BraidStoredPosition stored;

		if (braid_position_read(o->group.id, i, snapshot, &stored))
			moves += stored.number;
	}
	UnregisterSnapshot(snapshot);
	return moves;
}

static void
create_group(Opening *o)
{
	bool isnull;
	char *sql = psprintf(
		"INSERT INTO braid_internal.groups (id, topic, name, owner, is_work, holds) VALUES "
		"(pg_catalog.nextval('braid_internal.group_ids'), %d, %s, %u, false, true)",
		o->topic->id, quote_literal_cstr(o->group_name), GetUserId());

	/* As for every group that holds messages. */
	braid_topic_require_owner(o->topic);
	(void) braid_superuser_ask(sql, &isnull);
	CommandCounterIncrement();
	braid_group_get(o->topic, o->group_name, &o->group);
	o->has_group = true;
}

/* The group holds what the relay has not had, from now on. */
static void
set_group(Opening *o)
{
	for (int i = 0; i < o->topic->npartitions; i++)
	{
		BraidStoredPosition stored = {0};
		Snapshot snapshot;

		(void) braid_position_lock(o->group.id, i, true);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		(void) braid_position_read(o->group.id, i, snapshot, &stored);
		UnregisterSnapshot(snapshot);
		stored.position = o->positions[i];
		braid_position_write(o->group.id, i, &stored);
	}
	CommandCounterIncrement();

	/* The relay is told how often the group was moved, and believes that this cannot become less. */
	ForceSyncCommit();
}

/* ---------------------------------------------------------------- where to begin */

/* All with a lower id that is visible now is not wanted. */
static void
skip_below(Opening *o, int64 id)
{
	BraidPosition now;

	braid_position_at(&now, o->topic, GetActiveSnapshot());
	for (int i = 0; i < o->topic->npartitions; i++)
	{
		braid_position_at_beginning(&o->positions[i]);
		o->positions[i].below = id;
		o->positions[i].as_of = now.done;
	}
}

/*
 * The lowest id that was sent at the time or later; ids are not in the order of times
 * exactly, so some that come with it are older.
 */
static int64
first_id_since(Opening *o, TimestampTz time)
{
	bool isnull;
	Datum id = braid_superuser_ask(
		psprintf("SELECT min(id) FROM braid_internal.topic_%d WHERE part >= 0 AND "
				 "sent_at >= %s::pg_catalog.timestamptz",
				 o->topic->id, quote_literal_cstr(timestamptz_to_str(time))),
		&isnull);

	return isnull ? braid_relay_last_id(o->topic) + 1 : DatumGetInt64(id);
}

/* As parse_start() of relay_command.c writes it. */
static void
begin_at(Opening *o, const char *start)
{
	if (strcmp(start, "position") == 0)
		return;
	if (strncmp(start, "id ", 3) == 0)
		skip_below(o, strtoll(start + 3, NULL, 10) + 1);
	else if (strncmp(start, "time ", 5) == 0)
		skip_below(o, first_id_since(o, strtoll(start + 5, NULL, 10)));
	else
		for (int i = 0; i < o->topic->npartitions; i++)
		{
			if (strcmp(start, "end") == 0)
				braid_position_at(&o->positions[i], o->topic, GetActiveSnapshot());
			else
				braid_position_at_beginning(&o->positions[i]);
		}
}

/* ---------------------------------------------------------------- verdicts */

/* Always false, for the caller to pass on. */
static bool
refuse(Opening *o, const char *verdict, char *detail)
{
	o->verdict = verdict;
	o->detail = detail;
	return false;
}

static bool
is_same_topic(Opening *o)
{
	FunctionCallInfo fcinfo = o->fcinfo;

	if ((uint64) PG_GETARG_INT64(ARG_SYSTEM) != GetSystemIdentifier())
		return refuse(o, "another",
					  pstrdup("the source is in another cluster than before: it was restored from "
							  "a dump, upgraded, or replaced"));
	if (PG_GETARG_OID(ARG_DATABASE) != MyDatabaseId)
		return refuse(o, "another", pstrdup("the source is another database than before"));
	if (PG_GETARG_INT32(ARG_TOPIC_ID) != o->topic->id)
		return refuse(o, "another",
					  pstrdup("the source is another topic of that name than before"));
	return true;
}

/* Below the next transaction id there is room for all that the relay has seen. */
static bool
are_ids_known(Opening *o)
{
	uint64 next = braid_topic_xid(o->topic, ReadNextFullTransactionId());

	for (int i = 0; i < o->topic->npartitions; i++)
	{
		const BraidPosition *p = &o->positions[i];

		if (p->done.xmax > next || (p->has_todo && p->todo.xmax > next) ||
			(p->below > 0 && p->as_of.xmax > next))
			return false;
	}
	return true;
}

static bool
is_same_history(Opening *o)
{
	FunctionCallInfo fcinfo = o->fcinfo;
	uint32 timeline = PG_GETARG_INT32(ARG_TIMELINE);
	XLogRecPtr lsn = PG_GETARG_LSN(ARG_LSN);
	char *place = psprintf("%X/%X of timeline %u", LSN_FORMAT_ARGS(lsn), timeline);

	if (o->moves < PG_GETARG_INT64(ARG_CONFIRMED) || !are_ids_known(o) ||
		(timeline == braid_relay_timeline() && !braid_relay_remembers(timeline, lsn)))
		return refuse(o, "older",
					  psprintf("the source was restored to an older state, before %s", place));
	if (!braid_relay_remembers(timeline, lsn))
		return refuse(o, "diverged",
					  psprintf("the source's history, on timeline %u now, does not have %s: it was "
							   "restored to a state before, or is a standby that was promoted and "
							   "had not received all",
							   braid_relay_timeline(), place));
	return true;
}

/* Whether all is still there that the relay has not had. */
static bool
is_all_there(Opening *o)
{
	bool isnull;
	Datum removed =
		braid_superuser_ask(psprintf("SELECT removed FROM braid_internal.topic_segments "
									 "WHERE topic = %d AND NOT is_keys AND removed IS NOT NULL "
									 "ORDER BY removed DESC LIMIT 1",
									 o->topic->id),
							&isnull);
	BraidFrontier now;
	Snapshot snapshot;
	bool all = true;

	if (isnull)
		return true;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	braid_topic_frontier(o->topic, snapshot, &now);
	for (int i = 0; i < o->topic->npartitions && all; i++)
	{
		BraidStoredPosition stored;
		uint64 first = braid_position_first_xid(&o->positions[i], &now);

		/* Beyond the group's position nothing can have been removed. */
		if (braid_position_read(o->group.id, i, snapshot, &stored) &&
			first < braid_position_first_xid(&stored.position, &now))
			all = first > DatumGetUInt64(removed);
	}
	UnregisterSnapshot(snapshot);
	return all || refuse(o, "removed",
						 pstrdup("this side has come back with an older position, and the source "
								 "has removed some of what came after it"));
}

static bool
may_go_on(Opening *o)
{
	return is_same_topic(o) &&
		   (o->has_group ||
			refuse(
				o, "forgotten",
				pstrdup("the source does not know the relay: its group was dropped there, or the "
						"source was restored to a state before the relay was made"))) &&
		   is_same_history(o) && is_all_there(o);
}

/* ---------------------------------------------------------------- the answer */

/* The relay's positions; a partition that it does not know begins at its beginning. */
static void
read_positions(Opening *o)
{
	FunctionCallInfo fcinfo = o->fcinfo;
	Datum *parts;
	Datum *texts;
	int n;
	int ntexts;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(ARG_PARTS), INT2OID, 2, true, 's', &parts, NULL, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(ARG_POSITIONS), TEXTOID, -1, false, 'i', &texts, NULL,
					  &ntexts);
	if (n != ntexts)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("there must be one position for each partition")));
	o->positions = palloc0(o->topic->npartitions * sizeof(BraidPosition));
	for (int i = 0; i < o->topic->npartitions; i++)
		braid_position_at_beginning(&o->positions[i]);
	for (int i = 0; i < n; i++)
	{
		int part = DatumGetInt16(parts[i]);

		if (part >= 0 && part < o->topic->npartitions)
			braid_relay_position_in(&o->positions[part], TextDatumGetCString(texts[i]));
	}
}

static Datum
position_texts(Opening *o)
{
	Datum *texts = palloc(o->topic->npartitions * sizeof(Datum));

	for (int i = 0; i < o->topic->npartitions; i++)
		texts[i] = CStringGetTextDatum(braid_relay_position_out(&o->positions[i]));
	return PointerGetDatum(construct_array(texts, o->topic->npartitions, TEXTOID, -1, false, 'i'));
}

static Datum
answer(Opening *o, bool has_begun)
{
	TupleDesc desc;
	Datum values[OUT_NCOLUMNS];
	bool nulls[OUT_NCOLUMNS] = {false};

	if (get_call_result_type(o->fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "relay_open returns no record");
	nulls[OUT_DETAIL] = o->detail == NULL;
	nulls[OUT_POSITIONS] = !has_begun;
	values[OUT_VERDICT] = CStringGetTextDatum(o->verdict);
	values[OUT_DETAIL] = o->detail ? CStringGetTextDatum(o->detail) : (Datum) 0;
	values[OUT_SYSTEM] = Int64GetDatum((int64) GetSystemIdentifier());
	values[OUT_DATABASE] = ObjectIdGetDatum(MyDatabaseId);
	values[OUT_TOPIC] = Int32GetDatum(o->topic->id);
	values[OUT_PAYLOAD] = CStringGetTextDatum(format_type_be(o->topic->payload));
	values[OUT_IDENTITY] = Int64GetDatum((int64) braid_relay_identity(o->topic->id));
	values[OUT_ENCODING] = CStringGetTextDatum(GetDatabaseEncodingName());
	values[OUT_TIMELINE] = Int32GetDatum(braid_relay_timeline());
	values[OUT_LSN] = LSNGetDatum(has_begun ? braid_relay_flush() : InvalidXLogRecPtr);
	values[OUT_CONFIRMED] = Int64GetDatum(o->moves);
	values[OUT_POSITIONS] = has_begun ? position_texts(o) : (Datum) 0;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static void
find_topic(Opening *o)
{
	FunctionCallInfo fcinfo = o->fcinfo;
	Datum view = DirectFunctionCall1(
		regclassin, CStringGetDatum(text_to_cstring(PG_GETARG_TEXT_PP(ARG_TOPIC))));

	o->topic = braid_topic_get(DatumGetObjectId(view));
	braid_topic_require(o->topic, ACL_SELECT);
}

/*
 * A session that nobody listens to any more is in the way of the relay's next one: it
 * is to find out while it waits for messages.
 */
static void
watch_client(void)
{
	if (WaitEventSetCanReportClosed())
		SetConfigOption("client_connection_check_interval", "500ms", PGC_USERSET, PGC_S_SESSION);
}

/* braid_internal.relay_open() */
Datum
braid_sql_relay_open(PG_FUNCTION_ARGS)
{
	Opening o = {.fcinfo = fcinfo, .verdict = "ok"};
	bool begins = !PG_ARGISNULL(ARG_START);

	braid_refuse_nulls(fcinfo, argument_names, lengthof(argument_names));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("the server is a standby"),
				 errhint("Let the server's options point to the primary.")));
	watch_client();
	find_topic(&o);
	o.group_name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_GROUP));
	find_group(&o);
	if (begins && !o.has_group)
		create_group(&o);
	if (o.has_group)
		claim(&o);
	read_positions(&o);
	if (begins)
	{
		begin_at(&o, text_to_cstring(PG_GETARG_TEXT_PP(ARG_START)));
		set_group(&o);
	}
	o.moves = o.has_group ? count_moves(&o) : 0;
	if (begins || may_go_on(&o))
		(void) braid_relay_session_begin(o.topic, &o.group, o.positions,
										 PG_GETARG_INT64(ARG_NUMBER) + begins, o.moves);
	return answer(&o, begins);
}

/* braid_internal.relay_close(source, group_name) */
Datum
braid_sql_relay_close(PG_FUNCTION_ARGS)
{
	List *name = textToQualifiedNameList(PG_GETARG_TEXT_PP(0));
	Oid view = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, true);
	Opening o = {.topic = braid_topic_find(view)};
	bool isnull;

	if (o.topic == NULL)
		PG_RETURN_VOID();
	o.group_name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	find_group(&o);
	if (o.has_group)
		(void) braid_superuser_ask(psprintf("SELECT braid.drop_group(%u::pg_catalog.regclass, %s)",
											view, quote_literal_cstr(o.group_name)),
								   &isnull);
	PG_RETURN_VOID();
}
