/*
 * member.c
 *	  Members of consumer groups, among whom partitions are divided.
 *
 * NOTES
 *	  Members are in shared memory alone.  After a restart there are none, and whoever was one
 *	  is told so and joins again; ids are random, so that none is mistaken
 *	  for another one.
 *
 *	  Who does not show up for the time that it has asked for is given up when
 *	  another member of the group shows up and finds that out.  Partitions are divided by the
 *	  order in which members have joined: that of rank r of n has each
 *	  partition p with p mod n = r.  This is who is to read what; that nobody commits what
 *	  somebody else has read meanwhile is the work of fence.c.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "topic/arguments.h"
#include "topic/group.h"
#include "topic/member.h"
#include "topic/waiters.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_group_join);
PG_FUNCTION_INFO_V1(braid_sql_group_leave);
PG_FUNCTION_INFO_V1(braid_sql_group_heartbeat);
PG_FUNCTION_INFO_V1(braid_sql_members);

/* Guarded by the lock of Members. */
typedef struct Member
{
	int64 id; /* 0: free */
	Oid dbid;
	int topic;
	int group;
	int npartitions; /* of the topic when it joined */
	Oid role;
	int timeout_ms;
	uint64 joined; /* a number that grows */
	int64 generation;
	TimestampTz since; /* of the generation */
	TimestampTz seen;
} Member;

typedef struct Members
{
	LWLock lock; /* guards all that follows */
	uint64 njoined;
	int64 ngenerations;
	int n; /* entries from here on were never used */
	Member members[FLEXIBLE_ARRAY_MEMBER];
} Members;

static Members *members = NULL;
static int max_members = 1024;

static Size
members_size(void)
{
	return offsetof(Members, members) + max_members * sizeof(Member);
}

static void
members_init(void *area)
{
	braid_shmem_init_lock(&((Members *) area)->lock);
}

static const BraidShmemArea area = {"braid members", members_size, members_init,
									(void **) &members};

/* ---------------------------------------------------------------- with the lock held */

static Member *
find(int64 id)
{
	for (int i = 0; i < members->n; i++)
		if (members->members[i].id == id && members->members[i].dbid == MyDatabaseId && id != 0)
			return &members->members[i];
	return NULL;
}

static bool
is_in(const Member *m, int group)
{
	return m->id != 0 && m->dbid == MyDatabaseId && m->group == group;
}

static void
begin_generation(int group, TimestampTz now)
{
	members->ngenerations++;
	for (int i = 0; i < members->n; i++)
	{
		Member *m = &members->members[i];

		if (!is_in(m, group))
			continue;
		m->generation = members->ngenerations;
		m->since = now;
	}
}

/* Gives up those of a group that have not shown up for too long, but for one; true if there were any. */
static bool
give_up_the_lost(int group, int64 but, TimestampTz now)
{
	bool any = false;

	for (int i = 0; i < members->n; i++)
	{
		Member *m = &members->members[i];

		if (!is_in(m, group) || m->id == but ||
			!TimestampDifferenceExceeds(m->seen, now, m->timeout_ms))
			continue;
		m->id = 0;
		any = true;
	}
	if (any)
		begin_generation(group, now);
	return any;
}

static void
describe(const Member *member, BraidMembership *membership)
{
	membership->generation = member->generation;
	membership->since = member->since;
	membership->timeout_ms = member->timeout_ms;
	membership->rank = 0;
	membership->nmembers = 0;
	for (int i = 0; i < members->n; i++)
	{
		Member *m = &members->members[i];

		if (!is_in(m, member->group))
			continue;
		membership->nmembers++;
		if (m->joined < member->joined)
			membership->rank++;
	}
}

static Member *
free_entry(void)
{
	for (int i = 0; i < members->n; i++)
		if (members->members[i].id == 0)
			return &members->members[i];
	return members->n < max_members ? &members->members[members->n++] : NULL;
}

/* ---------------------------------------------------------------- showing up */

/* All of the group look again what is theirs. */
static void
tell_the_others(int topic, int group)
{
	braid_waiters_wake_all(topic, group);
}

static void
refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this member does not belong to the consumer group"),
			 errdetail("It has left, was given up because it had not shown up for its session "
					   "time-out, or the server was restarted since."),
			 errhint("Join again with braid.join_group().")));
}

void
braid_member_show_up(int64 id, int group, BraidMembership *membership)
{
	TimestampTz now = GetCurrentTimestamp();
	bool lost = false;
	int topic = 0;
	Oid role = InvalidOid;
	Member *m;

	LWLockAcquire(&members->lock, LW_EXCLUSIVE);
	m = find(id);
	if (m && (group == 0 || m->group == group))
	{
		m->seen = now;
		role = m->role;
		topic = m->topic;
		group = m->group;
		lost = give_up_the_lost(group, id, now);
		describe(m, membership);
	}
	LWLockRelease(&members->lock);
	if (!OidIsValid(role))
		refuse();
	if (lost)
		tell_the_others(topic, group);
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for a member that another role has joined as")));
}

bool
braid_member_owns(const BraidMembership *membership, int part)
{
	return part % membership->nmembers == membership->rank;
}

bool
braid_member_is_alive(int64 id)
{
	bool alive;

	LWLockAcquire(&members->lock, LW_SHARED);
	alive = find(id) != NULL;
	LWLockRelease(&members->lock);
	return alive;
}

/* Those that are lost and not yet given up do not count. */
bool
braid_member_any(int group)
{
	TimestampTz now = GetCurrentTimestamp();
	bool any = false;

	LWLockAcquire(&members->lock, LW_SHARED);
	for (int i = 0; i < members->n && !any; i++)
	{
		Member *m = &members->members[i];

		any = is_in(m, group) && !TimestampDifferenceExceeds(m->seen, now, m->timeout_ms);
	}
	LWLockRelease(&members->lock);
	return any;
}

/* ---------------------------------------------------------------- SQL */

static int64
random_id(void)
{
	uint64 id = 0;

	if (!pg_strong_random(&id, sizeof(id)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate the random id of a member")));
	return (int64) (id >> 11) + 1; /* fits into a number of JSON */
}

/* Generation and partitions, as the last columns of a row. */
static void
put_membership(const BraidMembership *membership, int npartitions, Datum *values)
{
	Datum *parts = palloc(npartitions * sizeof(Datum));
	int n = 0;

	for (int part = 0; part < npartitions; part++)
		if (braid_member_owns(membership, part))
			parts[n++] = Int32GetDatum(part);
	values[0] = Int64GetDatum(membership->generation);
	values[1] =
		PointerGetDatum(construct_array(parts, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static int
session_timeout(Interval *interval)
{
	double ms = interval->time / 1000.0 + interval->day * 86400000.0;

	if (interval->month != 0 || ms < 100 || ms > 86400000.0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("session_timeout must be between 100 milliseconds and a day")));
	return (int) ms;
}

static TupleDesc
row_type(FunctionCallInfo fcinfo)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

/* braid.join_group(topic, group_name, session_timeout) */
Datum
braid_sql_group_join(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"topic", "group_name", "session_timeout"};
	BraidMembership membership;
	BraidTopic *topic;
	BraidGroup group;
	int timeout_ms;
	int64 id = random_id();
	TimestampTz now = GetCurrentTimestamp();
	Datum values[3];
	bool nulls[3] = {false};
	Member *m;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	topic = braid_topic_get(PG_GETARG_OID(0));
	braid_topic_require(topic, ACL_SELECT);
	braid_group_get(topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), &group);
	if (group.is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("consumer group \"%s\" has no members", NameStr(group.name)),
						errdetail("It is of mode work: its consumers compete for messages.")));
	timeout_ms = session_timeout(PG_GETARG_INTERVAL_P(2));

	LWLockAcquire(&members->lock, LW_EXCLUSIVE);
	give_up_the_lost(group.id, 0, now);
	m = free_entry();
	if (m)
	{
		*m = (Member){.id = id,
					  .dbid = MyDatabaseId,
					  .topic = topic->id,
					  .group = group.id,
					  .npartitions = topic->npartitions,
					  .role = GetUserId(),
					  .timeout_ms = timeout_ms,
					  .joined = ++members->njoined,
					  .seen = now};
		begin_generation(group.id, now);
		describe(m, &membership);
	}
	LWLockRelease(&members->lock);
	if (!m)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many members of consumer groups"),
						errhint("Raise \"braid.topic_max_members\" and restart the server.")));
	tell_the_others(topic->id, group.id);
	values[0] = Int64GetDatum(id);
	put_membership(&membership, topic->npartitions, &values[1]);
	return HeapTupleGetDatum(heap_form_tuple(row_type(fcinfo), values, nulls));
}

/* braid.leave_group(member): whether it was one. */
Datum
braid_sql_group_leave(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	bool may = false;
	Member left = {0};
	Member *m;

	LWLockAcquire(&members->lock, LW_EXCLUSIVE);
	m = find(id);
	if (m)
		left = *m;
	LWLockRelease(&members->lock);
	if (left.id == 0)
		PG_RETURN_BOOL(false);
	may = has_privs_of_role(GetUserId(), left.role);
	if (!may)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for a member that another role has joined as")));

	LWLockAcquire(&members->lock, LW_EXCLUSIVE);
	m = find(id);
	if (m)
	{
		m->id = 0;
		begin_generation(left.group, GetCurrentTimestamp());
	}
	LWLockRelease(&members->lock);
	tell_the_others(left.topic, left.group);
	PG_RETURN_BOOL(m != NULL);
}

/* braid.heartbeat(member) */
Datum
braid_sql_group_heartbeat(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	BraidMembership membership;
	int npartitions = 1;
	Datum values[2];
	bool nulls[2] = {false};
	Member *m;

	braid_member_show_up(id, 0, &membership);
	LWLockAcquire(&members->lock, LW_SHARED);
	m = find(id);
	if (m)
		npartitions = m->npartitions;
	LWLockRelease(&members->lock);
	put_membership(&membership, npartitions, values);
	return HeapTupleGetDatum(heap_form_tuple(row_type(fcinfo), values, nulls));
}

/* A row per member of this database, lost ones included. */
Datum
braid_sql_members(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	Member *copy;
	int n = 0;

	InitMaterializedSRF(fcinfo, 0);
	copy = palloc(max_members * sizeof(Member));
	LWLockAcquire(&members->lock, LW_SHARED);
	for (int i = 0; i < members->n; i++)
		if (members->members[i].id != 0 && members->members[i].dbid == MyDatabaseId)
			copy[n++] = members->members[i];
	LWLockRelease(&members->lock);
	for (int i = 0; i < n; i++)
	{
		Member *m = &copy[i];
		BraidMembership membership = {.generation = m->generation};
		Interval *timeout = palloc0(sizeof(Interval));
		Datum v[8];
		bool nulls[8] = {false};

		for (int j = 0; j < n; j++)
			if (copy[j].group == m->group)
			{
				membership.nmembers++;
				membership.rank += copy[j].joined < m->joined;
			}
		timeout->time = (TimeOffset) m->timeout_ms * 1000;
		v[0] = Int32GetDatum(m->group);
		v[1] = Int64GetDatum(m->id);
		v[2] = ObjectIdGetDatum(m->role);
		put_membership(&membership, m->npartitions, &v[3]);
		v[5] = TimestampTzGetDatum(m->since);
		v[6] = TimestampTzGetDatum(m->seen);
		v[7] = IntervalPGetDatum(timeout);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, nulls);
	}
	return (Datum) 0;
}

void
braid_member_init(void)
{
	DefineCustomIntVariable("braid.topic_max_members",
							"So many members can all consumer groups of the server have together.",
							"One more is refused. 0: groups have no members.", &max_members, 1024,
							0, 100000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	braid_shmem_register(&area);
}
