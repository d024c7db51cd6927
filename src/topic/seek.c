/*
 * seek.c
 *	  Putting a group somewhere else: to a time, a message, the beginning or the end.
 *
 * NOTES
 *	  Messages are read in the order of commits, which is neither that of times nor that of
 *	  ids.  So the retained messages of the partition are looked through for the first
 *	  interval that has one that is sought; reading goes on from there, and what is
 *	  visible now and has a lower id than the first that is sought is skipped.
 *	  Transactions that are still open are not touched by that: what they have sent comes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "topic/arguments.h"
#include "topic/follow.h"
#include "topic/position.h"
#include "topic/reader.h"
#include "topic/seek.h"
#include "topic/waiters.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_seek_text);
PG_FUNCTION_INFO_V1(braid_sql_seek_time);
PG_FUNCTION_INFO_V1(braid_sql_seek_id);

typedef enum TargetKind
{
	TARGET_BEGINNING,
	TARGET_END,
	TARGET_TIME,
	TARGET_ID
} TargetKind;

typedef struct Target
{
	TargetKind kind;
	TimestampTz time;
	int64 id;
} Target;

static bool
is_sought(const Target *target, TupleTableSlot *slot)
{
	bool is_null;

	if (target->kind == TARGET_TIME)
		return DatumGetTimestampTz(slot_getattr(slot, MESSAGE_SENT_AT, &is_null)) >= target->time;
	return DatumGetInt64(slot_getattr(slot, MESSAGE_ID, &is_null)) >= target->id;
}

/* The position before the first one that is sought; after all there are if there is none. */
static void
find(BraidTopic *topic, int part, const Target *target, Snapshot snapshot, BraidPosition *found)
{
	BraidPosition beginning;
	BraidReader *reader;
	TupleTableSlot *slot;
	int64 below = 0;

	braid_position_at_beginning(&beginning);
	braid_position_at(found, topic, snapshot);
	reader = braid_reader_open(topic, part, &beginning, snapshot, PG_INT32_MAX);
	while ((slot = braid_reader_next(reader)) != NULL)
	{
		int64 id = braid_reader_place(reader).id;

		if (is_sought(target, slot))
		{
			if (below == 0)
				braid_frontier_copy(&found->done, &braid_reader_position(reader)->done);
			below = below == 0 ? id : Min(below, id);
		}
		braid_reader_accept(reader);
	}
	braid_reader_close(reader);
	if (below > 0)
	{
		found->below = below;
		braid_topic_frontier(topic, snapshot, &found->as_of);
	}
}

static void
seek_in(BraidTopic *topic, const BraidGroup *group, int part, const Target *target)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid seek", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	BraidStoredPosition stored = {.number = 0};
	Snapshot snapshot;

	(void) braid_position_lock(group->id, part, true);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	(void) braid_position_read(group->id, part, snapshot, &stored);
	if (target->kind == TARGET_BEGINNING)
		braid_position_at_beginning(&stored.position);
	else if (target->kind == TARGET_END)
		braid_position_at(&stored.position, topic, snapshot);
	else
		find(topic, part, target, snapshot, &stored.position);
	UnregisterSnapshot(snapshot);
	braid_position_write(group->id, part, &stored);
	braid_waiters_wake_at_end(topic->id, group->id, BRAID_PART(part), 1);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

static void
seek(BraidTopic *topic, const BraidGroup *group, const Target *target, int part)
{
	int first = part < 0 ? 0 : part;
	int last = part < 0 ? topic->npartitions - 1 : part;

	if (part >= topic->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic \"%s\" has no partition %d", braid_topic_name(topic), part),
				 errdetail("Its partitions are numbered from 0 to %d.", topic->npartitions - 1)));
	for (int i = first; i <= last; i++)
	{
		CHECK_FOR_INTERRUPTS();
		seek_in(topic, group, i, target);
	}
}

static void
parse_target(const char *text, Target *target)
{
	memset(target, 0, sizeof(Target));
	if (strcmp(text, "beginning") == 0)
		target->kind = TARGET_BEGINNING;
	else if (strcmp(text, "end") == 0)
		target->kind = TARGET_END;
	else
	{
		target->kind = TARGET_TIME;
		target->time = DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
								Int32GetDatum(-1)));
	}
}

void
braid_seek_text(BraidTopic *topic, const BraidGroup *group, const char *target_text, int part)
{
	Target target;

	parse_target(target_text, &target);
	seek(topic, group, &target, part);
}

/* braid.seek(topic, group_name, target, partition), for three types of target */
static void
seek_as_called(FunctionCallInfo fcinfo, const Target *target)
{
	static const char *const names[] = {"topic", "group_name", "target"};
	BraidTopic *topic;
	BraidGroup group;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	topic = braid_topic_get(PG_GETARG_OID(0));
	braid_group_get(topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), &group);
	braid_group_require_owner(topic, &group);
	if (group.is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("consumer group \"%s\" is of mode work", NameStr(group.name)),
						errdetail("It has no position that could be sought, but single messages "
								  "that are done or not.")));
	if (!PG_ARGISNULL(3) && PG_GETARG_INT32(3) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("partitions are numbered from 0")));
	seek(topic, &group, target, PG_ARGISNULL(3) ? -1 : PG_GETARG_INT32(3));
}

Datum
braid_sql_seek_text(PG_FUNCTION_ARGS)
{
	Target target = {0};

	if (!PG_ARGISNULL(2))
		parse_target(text_to_cstring(PG_GETARG_TEXT_PP(2)), &target);
	seek_as_called(fcinfo, &target);
	PG_RETURN_VOID();
}

Datum
braid_sql_seek_time(PG_FUNCTION_ARGS)
{
	Target target = {.kind = TARGET_TIME};

	if (!PG_ARGISNULL(2))
		target.time = PG_GETARG_TIMESTAMPTZ(2);
	seek_as_called(fcinfo, &target);
	PG_RETURN_VOID();
}

Datum
braid_sql_seek_id(PG_FUNCTION_ARGS)
{
	Target target = {.kind = TARGET_ID};

	if (!PG_ARGISNULL(2))
		target.id = PG_GETARG_INT64(2);
	seek_as_called(fcinfo, &target);
	PG_RETURN_VOID();
}
