/*
 * group.c
 *	  Consumer groups of topics: rows of braid_internal.groups.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "common/compat.h"
#include "miscadmin.h"
#include "topic/follow.h"
#include "topic/catalog.h"
#include "topic/group.h"
#include "topic/position.h"
#include "topic/reader.h"
#include "topic/work.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns of braid_internal.groups. */
enum
{
	GROUP_ID = 1,
	GROUP_TOPIC,
	GROUP_NAME,
	GROUP_OWNER,
	GROUP_IS_WORK,
	GROUP_HOLDS
};

static void
deform(BraidGroup *group, HeapTuple row, TupleDesc desc)
{
	bool is_null;

	memset(group, 0, sizeof(BraidGroup));
	group->id = DatumGetInt32(heap_getattr(row, GROUP_ID, desc, &is_null));
	group->topic = DatumGetInt32(heap_getattr(row, GROUP_TOPIC, desc, &is_null));
	group->is_work = DatumGetBool(heap_getattr(row, GROUP_IS_WORK, desc, &is_null));
	group->holds = DatumGetBool(heap_getattr(row, GROUP_HOLDS, desc, &is_null));
	group->owner = DatumGetObjectId(heap_getattr(row, GROUP_OWNER, desc, &is_null));
	group->name = *DatumGetName(heap_getattr(row, GROUP_NAME, desc, &is_null));
}

/* Of one topic, or of all if it is 0. */
static SysScanDesc
begin_scan(Relation rel, int topic, const char *name, ScanKeyData *keys)
{
	int nkeys = 0;

	if (topic != 0)
		ScanKeyInit(&keys[nkeys++], GROUP_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum(topic));
	if (name != NULL)
		ScanKeyInit(&keys[nkeys++], GROUP_NAME, BTEqualStrategyNumber, F_NAMEEQ,
					CStringGetDatum(name));
	return systable_beginscan(rel, braid_topic_relation("groups_name"), nkeys > 0, NULL, nkeys,
							  keys);
}

bool
braid_group_find(const BraidTopic *topic, const char *name, BraidGroup *group)
{
	Relation rel = table_open(braid_topic_relation("groups"), AccessShareLock);
	NameData padded;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple row;

	namestrcpy(&padded, name);
	scan = begin_scan(rel, topic->id, NameStr(padded), keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		deform(group, row, RelationGetDescr(rel));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(row);
}

void
braid_group_get(const BraidTopic *topic, const char *name, BraidGroup *group)
{
	if (!braid_group_find(topic, name, group))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("consumer group \"%s\" of topic \"%s\" does not exist", name,
							   braid_topic_name(topic)),
						errhint("See braid.groups, and braid.create_group().")));
}

List *
braid_group_list(int topic)
{
	Relation rel = table_open(braid_topic_relation("groups"), AccessShareLock);
	ScanKeyData keys[1];
	SysScanDesc scan = begin_scan(rel, topic, NULL, keys);
	List *groups = NIL;
	HeapTuple row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		BraidGroup *group = palloc(sizeof(BraidGroup));

		deform(group, row, RelationGetDescr(rel));
		groups = lappend(groups, group);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return groups;
}

void
braid_group_require_owner(const BraidTopic *topic, const BraidGroup *group)
{
	if (!has_privs_of_role(GetUserId(), group->owner) &&
		!braid_compat_is_relation_owner(topic->view, GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of consumer group \"%s\", or of its topic",
							   NameStr(group->name))));
}

void
braid_group_check_options(bool is_work, Datum options)
{
	Jsonb *jsonb = DatumGetJsonbP(options);

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options of a consumer group must be a JSON object")));
	if (!is_work && JB_ROOT_COUNT(jsonb) > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("consumer groups of mode log have no options")));
	if (is_work)
		braid_work_check_options(options);
}

/* ---------------------------------------------------------------- retention and dropping */

/*
 * Lowers *xid to the first of a message that the group has not consumed.  What cannot be seen
 * yet does not count: it is in a segment that is still written to.  Positions do not move while
 * nothing comes, so what they say themselves would hold messages for as long.
 */
static void
lower_for_partition(const BraidGroup *group, BraidTopic *topic, int part, Snapshot snapshot,
					uint64 *xid)
{
	BraidStoredPosition stored;
	BraidReader *reader;

	if (!braid_position_read(group->id, part, snapshot, &stored))
	{
		*xid = 0; /* it is being written anew */
		return;
	}
	reader = braid_reader_open(topic, part, &stored.position, snapshot, 1);
	if (braid_reader_next(reader) != NULL)
	{
		BraidFrontier now;

		braid_topic_frontier(topic, snapshot, &now);
		*xid = Min(*xid, braid_position_first_xid(braid_reader_position(reader), &now));
	}
	braid_reader_close(reader);
}

static bool
groups_hold(int topic_id, uint64 *xid)
{
	List *groups = braid_group_list(topic_id);
	BraidTopic *topic = braid_topic_by_id(topic_id);
	bool holds = false;
	ListCell *lc;

	if (topic == NULL)
		return false;
	foreach (lc, groups)
	{
		BraidGroup *group = lfirst(lc);
		Snapshot snapshot;

		if (!group->holds)
			continue;
		holds = true;
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		for (int part = 0; part < topic->npartitions; part++)
			lower_for_partition(group, topic, part, snapshot, xid);
		UnregisterSnapshot(snapshot);
	}
	return holds;
}

/* Groups go with the topic if that may be. */
static void
drop_groups(int topic_id, bool cascade)
{
	List *groups = braid_group_list(topic_id);
	Relation rel;
	ScanKeyData keys[1];
	SysScanDesc scan;
	HeapTuple row;

	if (groups == NIL)
		return;
	if (!cascade)
	{
		BraidGroup *first = linitial(groups);

		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("cannot drop the topic because consumer groups depend on it"),
						errdetail("There are %d, for example \"%s\".", list_length(groups),
								  NameStr(first->name)),
						errhint("Drop them with braid.drop_group(), or use DROP ... CASCADE.")));
	}
	rel = table_open(braid_topic_relation("groups"), RowExclusiveLock);
	scan = begin_scan(rel, topic_id, NULL, keys);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
		simple_heap_delete(rel, &row->t_self);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

static const BraidTopicFollower follower = {
	.holds = groups_hold, .drop = drop_groups, .tidy = braid_position_rotate};

void
braid_group_init(void)
{
	braid_topic_register(&follower);
}
