/*
 * obstacle.c
 *	  What keeps the capture worker from bringing views up to date.
 *
 * NOTES
 *	  A cycle locks its tables ACCESS SHARE and the tables in which views are kept
 *	  ROW EXCLUSIVE, and does without those that it cannot have at once.  Somebody
 *	  who waits for a stronger lock is as much in its way as somebody who has one.
 *	  If what he waits for is a lock of the reader, nobody would ever go on: no
 *	  deadlock that PostgreSQL could see, since the worker does not wait.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "miscadmin.h"
#include "read/obstacle.h"
#include "read/roster.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define CONFLICTS_WITH_ACCESS_SHARE LOCKBIT_ON(AccessExclusiveLock)
#define CONFLICTS_WITH_ROW_EXCLUSIVE                                                               \
	(LOCKBIT_ON(ShareLock) | LOCKBIT_ON(ShareRowExclusiveLock) | LOCKBIT_ON(ExclusiveLock) |       \
	 LOCKBIT_ON(AccessExclusiveLock))

/* Somebody whose lock, or wait for one, is in the worker's way. */
typedef struct Blocker
{
	int pid; /* 0: there is none */
	Oid relid;
	LOCKMODE mode;
	bool waits;
} Blocker;

/* What a cycle locks for the views. */
typedef struct Needed
{
	List *tables; /* oids, ACCESS SHARE */
	List *states; /* oids, ROW EXCLUSIVE */
} Needed;

static void
find_needed(List *views, Needed *needed)
{
	ListCell *lc;
	ListCell *lc2;

	needed->tables = needed->states = NIL;
	foreach (lc, views)
	{
		RosterView *v = lfirst(lc);

		foreach (lc2, v->tables)
		{
			needed->tables = list_append_unique_oid(needed->tables, lfirst_oid(lc2));
			needed->tables =
				list_concat_unique_oid(needed->tables, braid_capture_members(lfirst_oid(lc2)));
		}
		foreach (lc2, v->ids)
			needed->states = list_concat(needed->states, braid_view_parts(lfirst_int(lc2)));
	}
}

static LOCKMASK
conflicts(const Needed *needed, const LockInstanceData *lock)
{
	Oid relid = lock->locktag.locktag_field2;

	if (lock->locktag.locktag_type != LOCKTAG_RELATION ||
		lock->locktag.locktag_field1 != MyDatabaseId)
		return 0;
	if (list_member_oid(needed->tables, relid))
		return CONFLICTS_WITH_ACCESS_SHARE;
	if (list_member_oid(needed->states, relid))
		return CONFLICTS_WITH_ROW_EXCLUSIVE;
	return 0;
}

/* The strongest mode in a mask. */
static LOCKMODE
strongest(LOCKMASK mask)
{
	LOCKMODE mode = MaxLockMode;

	while (mode > NoLock && !(mask & LOCKBIT_ON(mode)))
		mode--;
	return mode;
}

/* What the process has or wants, if that is in the worker's way. */
static bool
is_blocker(const Needed *needed, const LockInstanceData *lock, int worker, Blocker *b)
{
	LOCKMASK mask = conflicts(needed, lock);

	if (mask == 0 || lock->pid == worker)
		return false;
	b->pid = lock->pid;
	b->relid = lock->locktag.locktag_field2;
	b->waits = !(lock->holdMask & mask);
	b->mode = b->waits ? lock->waitLockMode : strongest(lock->holdMask & mask);
	return !b->waits || (lock->waitLockMode != NoLock && (LOCKBIT_ON(lock->waitLockMode) & mask));
}

static bool
any_conflict(LOCKMASK held, LOCKMODE wanted)
{
	for (LOCKMODE mode = AccessShareLock; mode <= MaxLockMode; mode++)
		if ((held & LOCKBIT_ON(mode)) && DoLockModesConflict(mode, wanted))
			return true;
	return false;
}

/* Whether the blocker can wait for this process. */
static bool
waits_for_me(const LockData *locks, const Blocker *b)
{
	for (int i = 0; b->waits && i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (lock->pid == MyProcPid && lock->locktag.locktag_type == LOCKTAG_RELATION &&
			lock->locktag.locktag_field1 == MyDatabaseId &&
			lock->locktag.locktag_field2 == b->relid && any_conflict(lock->holdMask, b->mode))
			return true;
	}
	return false;
}

/* Processes with locks that the worker really waits for, when it makes a slot for example. */
static List *
find_waited_for(int worker)
{
	ArrayType *array;
	int32 *pids;
	List *list = NIL;

	if (worker == 0)
		return NIL;
	array = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(worker)));
	pids = (int32 *) ARR_DATA_PTR(array);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
		list = lappend_int(list, pids[i]);
	return list;
}

static const char *
mode_name(LOCKMODE mode)
{
	return GetLockmodeName(DEFAULT_LOCKMETHOD, mode);
}

static void
refuse_own(const Blocker *b)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("continuous views cannot be brought up to date in this transaction"),
					errdetail("It has locked table \"%s\" (%s) itself.", get_rel_name(b->relid),
							  mode_name(b->mode)),
					errhint("End the transaction first, or set braid.read to eventual.")));
}

static void
refuse_deadlock(const Blocker *b)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					errmsg("deadlock detected while waiting for continuous views"),
					errdetail("Process %d waits for %s on table \"%s\", which this transaction has "
							  "locked; the views cannot follow the table before it has got that.",
							  b->pid, mode_name(b->mode), get_rel_name(b->relid)),
					errhint("Try the transaction again.")));
}

void
braid_obstacle_refuse_own(List *views)
{
	BraidCaptureStatus status;
	Needed needed;
	LockData *locks;

	braid_capture_look(&status);
	if (list_member_int(find_waited_for(status.pid), MyProcPid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous views cannot be brought up to date in this transaction"),
						errdetail("The capture worker waits until it ends."),
						errhint("End the transaction first, or set braid.read to eventual.")));
	find_needed(views, &needed);
	locks = GetLockStatusData();
	for (int i = 0; i < locks->nelements; i++)
	{
		Blocker b;

		if (!is_blocker(&needed, &locks->locks[i], status.pid, &b))
			continue;
		if (b.pid == MyProcPid)
			refuse_own(&b);
		if (waits_for_me(locks, &b))
			refuse_deadlock(&b);
	}
}

/* ---------------------------------------------------------------- at the end of a wait */

#define HINT_OF_TIMEOUT "Raise braid.read_timeout, or set braid.read to eventual."

/* The same head for all reasons; the rest is of each. */
static int
head(RosterView *v)
{
	return errmsg("continuous view \"%s\" did not come up to date within %d ms",
				  get_rel_name(v->view), braid_read_timeout);
}

static void
report_worker(RosterView *v, int worker)
{
	List *pids;

	if (worker == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), head(v),
						errdetail("The capture worker of this database is not running."),
						errhint("The server's log says why.")));
	pids = find_waited_for(worker);
	if (pids != NIL)
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), head(v),
						errdetail("The capture worker (process %d) waits for process %d.", worker,
								  linitial_int(pids)),
						errhint(HINT_OF_TIMEOUT)));
}

static void
report_state(RosterView *v)
{
	RosterView *other = braid_roster_not_live(v);

	if (other != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), head(v),
				 errdetail(other->standing->state == VIEW_REBUILDING
							   ? "Continuous view \"%s\" is being rebuilt."
							   : "Continuous view \"%s\" has not been populated yet.",
						   get_rel_name(other->view)),
				 errhint("SELECT braid.wait() waits until it is; braid.progress shows how far it "
						 "has come.")));
}

static void
report_locks(RosterView *v, int worker)
{
	LockData *locks = GetLockStatusData();
	Needed needed;

	find_needed(list_make1(v), &needed);
	for (int i = 0; i < locks->nelements; i++)
	{
		Blocker b;

		if (is_blocker(&needed, &locks->locks[i], worker, &b))
			ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), head(v),
							errdetail(b.waits ? "Process %d waits for %s on table \"%s\"."
											  : "Process %d holds %s on table \"%s\".",
									  b.pid, mode_name(b.mode), get_rel_name(b.relid)),
							errhint(HINT_OF_TIMEOUT)));
	}
}

void
braid_obstacle_report(List *views)
{
	BraidCaptureStatus status;
	ListCell *lc;

	braid_capture_look(&status);
	report_worker(linitial(views), status.pid);
	foreach (lc, views)
		report_state(lfirst(lc));
	foreach (lc, views)
		report_locks(lfirst(lc), status.pid);
	ereport(
		ERROR,
		(errcode(ERRCODE_QUERY_CANCELED), head(linitial(views)),
		 errdetail("The capture worker (process %d) has more to do than it could within the time.",
				   status.pid),
		 errhint(HINT_OF_TIMEOUT)));
}
