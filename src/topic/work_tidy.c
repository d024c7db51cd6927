/*
 * work_tidy.c
 *	  Moves the positions of groups of mode work, and empties tables.
 *
 * NOTES
 *	  Of the two segments that work_done and work_carried have each, one is written to, and the
 *	  other is emptied, all in one transaction:
 *
 *		1. lock its tables against all, if nobody is in the way; so what is in them
 *		   is final, transactions that wrote there have ended and the windows know it
 *		2. for each group that has a window: copy what the topic has of the messages in the window into
 *		   the other segment, under the same numbers, and move the position to where the
 *		   window was loaded: all before that is done, or in the window, or carried
 *		3. for each group: copy what is carried and not done
 *		4. copy the numbers of what is done and still counts: if it is carried in the other segment,
 *		   or if the group's position does not cover it, because it has no window or is
 *		   catching up
 *		5. truncate
 *
 *	  So a number that is not done is in exactly one place at any time, and nothing depends on which
 *	  segment somebody writes to: that one should be spared is a hint, in shared
 *	  memory.  Messages that are copied keep their numbers, and what is done with them meanwhile
 *	  counts for the copy.
 *
 *	  This happens when it is worth it: copying is in proportion to what is pending, so the more is pending,
 *	  the more has to be done between.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "common/query.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "topic/catalog.h"
#include "topic/position.h"
#include "topic/work.h"
#include "topic/work_claim.h"
#include "topic/work_load.h"
#include "topic/work_store.h"
#include "topic/work_tidy.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_work_tidy);

#define WORTH_BLOCKS 128 /* of 8 kB: so much is emptied at once */
#define IDLE_US (10 * USECS_PER_SEC)

static TimestampTz last_turn = 0;

static BlockNumber
blocks_of(Oid table)
{
	Relation rel = table_open(table, AccessShareLock);
	BlockNumber n = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return n;
}

static BlockNumber
blocks_of_segment(int segment)
{
	return blocks_of(braid_work_done_table(segment)) + blocks_of(braid_work_carried_table(segment));
}

/* ---------------------------------------------------------------- the window of a group */

/* What the topic has of the messages in the window, and how far was loaded. */
static WorkEntry *
read_window(WorkWindow *w, WorkArrays *a, uint64 **positions, int *n)
{
	WorkEntry *entries = palloc(Max(w->capacity, 1) * sizeof(WorkEntry));

	*n = 0;
	*positions = braid_work_copy_positions(w);
	for (int i = 0; i < w->capacity; i++)
	{
		const WorkEntry *e = &a->entries[i];

		if (e->state != WORK_FREE && e->state != WORK_DONE && e->segment != WORK_CARRIED)
			entries[(*n)++] = *e;
	}
	return entries;
}

/* In which places the positions differ from those that are stored is not asked: few do not. */
static void
move_positions(BraidTopic *topic, int group, const uint64 *packed)
{
	int n = topic->npartitions;
	BraidPosition *positions = palloc0(n * sizeof(BraidPosition));
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

	braid_work_unpack_positions(packed, positions, n);
	for (int part = 0; part < n; part++)
	{
		BraidStoredPosition stored = {0};

		(void) braid_position_read(group, part, snapshot, &stored);
		stored.position = positions[part];
		braid_position_write(group, part, &stored);
	}
	UnregisterSnapshot(snapshot);
}

/* For good: a transaction that is in progress may be rolled back. */
static bool
is_done(HTAB *done, int64 number)
{
	WorkDone *d = hash_search(done, &number, HASH_FIND, NULL);

	return d && d->is_done && !TransactionIdIsValid(d->xid);
}

/* How often the entry was taken, without what is written down in the segment that it goes to. */
static int
attempts_of(const WorkEntry *e, HTAB *taken)
{
	WorkDone *d = hash_search(taken, &e->number, HASH_FIND, NULL);
	int attempts = e->attempts - (d ? d->attempts : 0);

	if (e->state == WORK_TAKEN && e->before == WORK_READY)
		attempts--; /* which may be rolled back */
	return Max(attempts, 0);
}

/* Whether the positions can be moved past all that is done of the group. */
static bool
has_loaded_all(int group)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock_existing(group, &a);
	bool result;

	if (w == NULL)
		return false;
	result = w->is_built && !w->is_catching_up;
	braid_work_window_unlock(w);
	return result;
}

/* Moves the position to where the window was loaded; false if there is no window. */
static bool
carry_window(BraidTopic *topic, int group, int to, HTAB *done, HTAB *taken)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid work copy", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller;
	WorkArrays a;
	WorkWindow *w;
	WorkEntry *entries;
	uint64 *positions;
	int n;

	for (int part = 0; part < topic->npartitions; part++)
		(void) braid_position_lock(group, part, true);
	w = braid_work_window_lock_existing(group, &a);
	if (w == NULL)
		return false;
	entries = read_window(w, &a, &positions, &n);
	braid_work_window_unlock(w);
	if (positions == NULL)
		return false;
	braid_work_claims_reserve(n);
	caller = MemoryContextSwitchTo(context);
	for (int i = 0; i < n; i++)
	{
		WorkEntry *e = &entries[i];
		TimestampTz due = e->state == WORK_DELAYED ? e->time : DT_NOBEGIN;
		WorkMessage m;

		if (is_done(done, e->number) || !braid_work_fetch(topic, group, e, &m))
			continue;
		braid_work_write_carried(to, group, e->number, due, attempts_of(e, taken), NULL, &m);
		braid_work_claim_moved(w, group, e->id, e->number, due);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	move_positions(topic, group, positions);
	return true;
}

/* ---------------------------------------------------------------- the tables */

static void
run(const char *format, int from, int to, int group, const char *numbers)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (const char *p = format; *p != '\0'; p++)
	{
		if (*p == '<')
			appendStringInfo(&sql, "%d", from);
		else if (*p == '>')
			appendStringInfo(&sql, "%d", to);
		else if (*p == '#')
			appendStringInfo(&sql, "%d", group);
		else if (*p == '@')
			appendStringInfoString(&sql, numbers);
		else
			appendStringInfoChar(&sql, *p);
	}
	braid_superuser_execute(sql.data);
	pfree(sql.data);
}

/* What is carried and not done; with how often it was taken, unless that is kept. */
static void
carry_on(int group, int from, int to, bool keeps_taken)
{
	run("INSERT INTO braid_internal.work_carried_> SELECT c.group_id, c.number, c.due, c.attempts + "
		"CASE WHEN @ THEN 0 ELSE (SELECT pg_catalog.count(*) FROM braid_internal.work_done_< t "
		"WHERE t.group_id OPERATOR(pg_catalog.=) # AND t.kind OPERATOR(pg_catalog.=) 't' "
		"AND c.number OPERATOR(pg_catalog.=) ANY (t.numbers)) END, "
		"c.error, c.id, c.part, c.priority, c.sent_at, c.deliver_at, c.key, c.headers, c.payload "
		"FROM braid_internal.work_carried_< c "
		"WHERE c.group_id OPERATOR(pg_catalog.=) # AND NOT EXISTS "
		"(SELECT FROM (SELECT pg_catalog.unnest(d.numbers) AS number FROM "
		"(SELECT * FROM braid_internal.work_done_0 UNION ALL "
		"SELECT * FROM braid_internal.work_done_1) d "
		"WHERE d.group_id OPERATOR(pg_catalog.=) # AND d.kind OPERATOR(pg_catalog.=) 'd') d "
		"WHERE d.number OPERATOR(pg_catalog.=) c.number)",
		from, to, group, keeps_taken ? "true" : "false");
}

/* What is done, or was taken, and still counts: all, or what is carried in the other segment. */
static void
keep_done(int group, int from, int to, bool all)
{
	run("INSERT INTO braid_internal.work_done_> SELECT # , d.kind, pg_catalog.array_agg(d.number) "
		"FROM (SELECT kind, number, pg_catalog.row_number() OVER () AS i FROM "
		"(SELECT kind, pg_catalog.unnest(numbers) AS number FROM braid_internal.work_done_< "
		"WHERE group_id OPERATOR(pg_catalog.=) #) u WHERE @ OR EXISTS "
		"(SELECT FROM braid_internal.work_carried_> c WHERE c.group_id OPERATOR(pg_catalog.=) # "
		"AND c.number OPERATOR(pg_catalog.=) u.number)) d "
		"GROUP BY d.kind, d.i OPERATOR(pg_catalog./) 1000",
		from, to, group, all ? "true" : "false");
}

static void
move_group(BraidTopic *topic, int group, int from, int to)
{
	bool is_covered = has_loaded_all(group);
	HTAB *done = braid_work_read_done(group, from);
	HTAB *taken = braid_work_read_done(group, to);

	keep_done(group, from, to, !is_covered);
	carry_on(group, from, to, !is_covered);
	if (!carry_window(topic, group, to, done, taken) && is_covered)
		keep_done(group, from, to, true); /* the window has gone at this moment */
	hash_destroy(done);
	hash_destroy(taken);
}

/* Groups of which something is in the segment. */
static int *
groups_in(int segment, int *n)
{
	int *groups;

	run("SELECT group_id FROM braid_internal.work_done_< UNION "
		"SELECT group_id FROM braid_internal.work_carried_<",
		segment, 0, 0, "");
	*n = (int) SPI_processed;
	groups = palloc(Max(*n, 1) * sizeof(int));
	for (int i = 0; i < *n; i++)
	{
		bool is_null;

		groups[i] =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
	}
	return groups;
}

/* NULL if the group was dropped. */
static const BraidGroup *
find_group(List *groups, int id)
{
	ListCell *lc;

	foreach (lc, groups)
		if (((BraidGroup *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

static bool
lock_segment(int segment)
{
	return ConditionalLockRelationOid(braid_work_done_table(segment), AccessExclusiveLock) &&
		   ConditionalLockRelationOid(braid_work_carried_table(segment), AccessExclusiveLock);
}

/*
 * Groups without a window get one, as long as there is room.  Not with the lock on a segment:
 * somebody else may be loading, and be waiting for it.
 */
static void
load_windows(int segment)
{
	List *groups = braid_group_list(0);
	int nwindows;
	int n;
	int *ids;

	if (blocks_of_segment(segment) == 0)
		return;
	ids = groups_in(segment, &n);

	for (int i = 0; i < n; i++)
	{
		const BraidGroup *group = find_group(groups, ids[i]);
		BraidTopic *topic = group ? braid_topic_by_id(group->topic) : NULL;

		(void) braid_work_window_groups(&nwindows);
		if (topic && !has_loaded_all(group->id) && nwindows < braid_work_window_max() / 2)
			(void) braid_work_load(topic, group);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Of dropped groups, nothing is copied.  False if somebody is in the way. */
static bool
empty_segment(int segment)
{
	List *groups;
	int *ids;
	int n;

	if (blocks_of_segment(segment) == 0)
		return true;
	if (!lock_segment(segment))
		return false;
	groups = braid_group_list(0);
	ids = groups_in(segment, &n);
	for (int i = 0; i < n; i++)
	{
		const BraidGroup *group = find_group(groups, ids[i]);
		BraidTopic *topic = group ? braid_topic_by_id(group->topic) : NULL;

		if (topic)
			move_group(topic, group->id, segment, 1 - segment);
		CHECK_FOR_INTERRUPTS();
	}
	run("TRUNCATE braid_internal.work_done_<, braid_internal.work_carried_<", segment, 0, 0, "");
	run("DELETE FROM braid_internal.dead_letters d WHERE NOT EXISTS "
		"(SELECT FROM braid_internal.groups g WHERE g.id OPERATOR(pg_catalog.=) d.group_id)",
		0, 0, 0, "");
	return true;
}

/* ---------------------------------------------------------------- when */

/* Whether the group's window is full of messages that are to wait for their time. */
static bool
is_crowded(int group)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock_existing(group, &a);
	bool result = w && braid_work_window_is_crowded(w);

	if (w)
		braid_work_window_unlock(w);
	return result;
}

/* Makes room in such windows.  Nothing is emptied, so nothing needs to be final. */
static bool
relieve_windows(int segment)
{
	bool found = false;
	ListCell *lc;

	foreach (lc, braid_group_list(0))
	{
		const BraidGroup *group = lfirst(lc);
		BraidTopic *topic = NULL;
		HTAB *done;

		if (group->is_work && is_crowded(group->id))
			topic = braid_topic_by_id(group->topic);
		if (topic == NULL)
			continue;
		done = braid_work_read_done(group->id, -1);
		found = carry_window(topic, group->id, segment, done, done) || found;
		hash_destroy(done);
		CHECK_FOR_INTERRUPTS();
	}
	return found;
}

/* Whether what is done is worth to copy what is pending, or there is little of either. */
static bool
is_worth_it(int segment)
{
	BlockNumber done = blocks_of(braid_work_done_table(segment));
	BlockNumber carried = blocks_of(braid_work_carried_table(segment));
	TimestampTz now = GetCurrentTimestamp();

	return done >= WORTH_BLOCKS + carried / 2 ||
		   (done > 0 && carried < WORTH_BLOCKS && now - last_turn >= IDLE_US);
}

static void
tidy(void)
{
	int current = braid_work_window_segment();

	bool is_turn = is_worth_it(current);

	if (relieve_windows(current))
		return;
	for (int i = 0; i < WORK_SEGMENTS; i++)
		if (i != current || is_turn)
			load_windows(i);
	if (!empty_segment(1 - current) || !is_turn)
		return;
	last_turn = GetCurrentTimestamp();
	braid_work_window_set_segment(1 - current);
	(void) empty_segment(current);
}

/* braid_internal.work_tidy() */
Datum
braid_sql_work_tidy(PG_FUNCTION_ARGS)
{
	int current = braid_work_window_segment();
	bool done;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("work cannot be tidied in this transaction"),
						errdetail("It has to see what is committed meanwhile.")));
	SPI_connect();
	for (int i = 0; i < WORK_SEGMENTS; i++)
		load_windows(i);
	done = empty_segment(1 - current);
	if (done)
	{
		CommandCounterIncrement();
		braid_work_window_set_segment(1 - current);
		done = empty_segment(current);
	}
	SPI_finish();
	PG_RETURN_BOOL(done);
}

static const BraidTopicFollower follower = {.tidy = tidy};

void
braid_work_tidy_init(void)
{
	braid_topic_register(&follower);
}
