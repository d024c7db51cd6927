/*
 * group_define.c
 *	  Making, changing and dropping consumer groups.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "topic/arguments.h"
#include "topic/follow.h"
#include "topic/catalog.h"
#include "topic/group.h"
#include "topic/member.h"
#include "topic/position.h"
#include "topic/seek.h"
#include "topic/waiters.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_group_create);
PG_FUNCTION_INFO_V1(braid_sql_group_drop);
PG_FUNCTION_INFO_V1(braid_sql_group_alter);

/* ---------------------------------------------------------------- create */

static bool
parse_mode(const char *mode)
{
	if (strcmp(mode, "log") != 0 && strcmp(mode, "work") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid mode \"%s\" of a consumer group", mode),
						errhint("Modes are log and work.")));
	return strcmp(mode, "work") == 0;
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("invalid name of a consumer group: \"%s\"", name),
						errdetail("It has between 1 and %d bytes.", NAMEDATALEN - 1)));
}

/* Who may receive from a topic may do so in a group of his own, but not keep messages for it. */
static void
require_for_create(BraidTopic *topic, bool holds)
{
	if (holds)
		braid_topic_require_owner(topic);
	else
		braid_topic_require(topic, ACL_SELECT);
}

/*
 * Two that make a group of the same name are kept apart by the index; the topic is kept from
 * being dropped meanwhile by a lock on its view.
 */
static void
insert_group(const BraidTopic *topic, const char *name, bool is_work, bool holds, Datum options,
			 BraidGroup *group)
{
	Relation rel = table_open(braid_topic_relation("groups"), RowExclusiveLock);
	Datum values[8];
	bool nulls[8] = {false};

	memset(group, 0, sizeof(BraidGroup));
	group->id = (int) nextval_internal(braid_topic_relation("group_ids"), false);
	group->topic = topic->id;
	group->is_work = is_work;
	group->holds = holds;
	group->owner = GetUserId();
	namestrcpy(&group->name, name);
	values[0] = Int32GetDatum(group->id);
	values[1] = Int32GetDatum(group->topic);
	values[2] = NameGetDatum(&group->name);
	values[3] = ObjectIdGetDatum(group->owner);
	values[4] = BoolGetDatum(is_work);
	values[5] = BoolGetDatum(holds);
	values[6] = options;
	values[7] = TimestampTzGetDatum(GetCurrentTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Until it is committed nobody knows that the group wants what is sent from its start on. */
static void
hold_segments(const BraidTopic *topic)
{
	for (int i = 0; i < topic->nsegments; i++)
		LockRelationOid(topic->tables[i], AccessShareLock);
}

/* braid.create_group(topic, group_name, mode, start, holds, options) */
Datum
braid_sql_group_create(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"topic", "group_name", "mode", "start", "holds", "options"};
	BraidTopic *topic;
	BraidGroup group;
	char *name;
	bool is_work;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	LockRelationOid(PG_GETARG_OID(0), AccessShareLock);
	topic = braid_topic_get(PG_GETARG_OID(0));
	require_for_create(topic, PG_GETARG_BOOL(4));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	check_name(name);
	is_work = parse_mode(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (braid_group_find(topic, name, &group))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("consumer group \"%s\" of topic \"%s\" already exists", name,
							   braid_topic_name(topic))));
	braid_group_check_options(is_work, PG_GETARG_DATUM(5));
	hold_segments(topic);
	insert_group(topic, name, is_work, PG_GETARG_BOOL(4), PG_GETARG_DATUM(5), &group);
	braid_seek_text(topic, &group, text_to_cstring(PG_GETARG_TEXT_PP(3)), -1);
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- drop and alter */

static HeapTuple
find_row(Relation rel, const BraidGroup *group)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group->id));
	scan = systable_beginscan(rel, braid_topic_relation("groups_id"), true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (!HeapTupleIsValid(row))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("consumer group \"%s\" does not exist", NameStr(group->name))));
	row = heap_copytuple(row);
	systable_endscan(scan);
	return row;
}

static BraidTopic *
get_owned(FunctionCallInfo fcinfo, BraidGroup *group)
{
	static const char *const names[] = {"topic", "group_name"};
	BraidTopic *topic;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	topic = braid_topic_get(PG_GETARG_OID(0));
	braid_group_get(topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), group);
	braid_group_require_owner(topic, group);
	return topic;
}

/*
 * braid.drop_group(topic, group_name).  Transactions that have received for the group go on
 * to their end; what they write about its position does no harm.
 */
Datum
braid_sql_group_drop(PG_FUNCTION_ARGS)
{
	BraidGroup group;
	BraidTopic *topic = get_owned(fcinfo, &group);
	Relation rel = table_open(braid_topic_relation("groups"), RowExclusiveLock);
	HeapTuple row = find_row(rel, &group);

	CatalogTupleDelete(rel, &row->t_self);
	table_close(rel, RowExclusiveLock);
	braid_waiters_wake_all(topic->id, group.id);
	PG_RETURN_VOID();
}

/* braid.alter_group(topic, group_name, new_name, holds, options) */
Datum
braid_sql_group_alter(PG_FUNCTION_ARGS)
{
	BraidGroup group;
	BraidTopic *topic = get_owned(fcinfo, &group);
	Relation rel = table_open(braid_topic_relation("groups"), RowExclusiveLock);
	HeapTuple row = find_row(rel, &group);
	Datum values[8];
	bool nulls[8];
	NameData name;

	heap_deform_tuple(row, RelationGetDescr(rel), values, nulls);
	if (!PG_ARGISNULL(2))
	{
		char *new_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
		BraidGroup other;

		check_name(new_name);
		if (strcmp(new_name, NameStr(group.name)) != 0 && braid_group_find(topic, new_name, &other))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("consumer group \"%s\" of topic \"%s\" already exists", new_name,
								   braid_topic_name(topic))));
		namestrcpy(&name, new_name);
		values[2] = NameGetDatum(&name);
	}
	if (!PG_ARGISNULL(3))
	{
		require_for_create(topic, PG_GETARG_BOOL(3));
		values[5] = PG_GETARG_DATUM(3);
	}
	if (!PG_ARGISNULL(4))
	{
		braid_group_check_options(group.is_work, PG_GETARG_DATUM(4));
		values[6] = PG_GETARG_DATUM(4);
	}
	CatalogTupleUpdate(rel, &row->t_self, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	PG_RETURN_VOID();
}
