/*
 * populate.c
 *	  Populating views beside the capture worker: the worker's side.
 *
 * NOTES
 *	  A view of large tables is populated by a process of its own, so that other
 *	  views go on; see the README of capture for how its result, made under a
 *	  snapshot S0, becomes one of a cycle.  Here that process is started and
 *	  watched.
 *
 *	  What the process has made counts when its row in braid_internal.populations
 *	  is visible in a cycle's S: it commits with the state.  The token tells the
 *	  row from one that an earlier attempt has left.
 *
 *	  Whatever happens in between, the view is populated anew: after a crash of
 *	  either side, when the view was changed, when a table was truncated.  So
 *	  nothing has to be undone, and the states that are stored know nothing of it.
 *
 *	  The process holds locks on the tables for as long as it reads.  Somebody
 *	  who waits for a stronger one would wait as long, and all others behind him.
 *	  In the cycle that shows as a table that cannot be locked: then the lock
 *	  table is looked at, and the process told to end if somebody waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "view/populate.h"
#include "view/population.h"

#define FIRST_DELAY_MS 1000 /* before another attempt; doubles */
#define MAX_DELAY_MS 60000

typedef struct Job
{
	int view;
	int rebuilds;	   /* of the view when it began, */
	char *fingerprint; /* and its plan's */
	int64 token;
	int slot;	   /* POPULATION_NO_SLOT: waits for not_before, and for its turn */
	BraidTap *tap; /* NULL while there is no slot */
	BackgroundWorkerHandle *handle;
	bool is_ready; /* s0 is known */
	BraidFrontier s0;
	int delay_ms;
	TimestampTz not_before;
} Job;

static int max_processes = 2;
static int size_limit = 16384;

static List *jobs = NIL; /* Job */
static MemoryContext jobs_context = NULL;

static Job *
find_job(int view)
{
	ListCell *lc;

	foreach (lc, jobs)
		if (((Job *) lfirst(lc))->view == view)
			return lfirst(lc);
	return NULL;
}

/* ---------------------------------------------------------------- beginning */

static int
running_jobs(void)
{
	int n = 0;
	ListCell *lc;

	foreach (lc, jobs)
		n += ((Job *) lfirst(lc))->slot != POPULATION_NO_SLOT;
	return n;
}

static bool
start_process(Job *job)
{
	BackgroundWorker w = {0};
	MemoryContext old = MemoryContextSwitchTo(jobs_context);
	bool started;

	w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(w.bgw_library_name, "braid", sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "braid_populator_main", sizeof(w.bgw_function_name));
	snprintf(w.bgw_name, sizeof(w.bgw_name), "braid populate of continuous view %d", job->view);
	strlcpy(w.bgw_type, "braid populate", sizeof(w.bgw_type));
	w.bgw_main_arg = Int32GetDatum(job->slot);
	memcpy(w.bgw_extra, &job->token, sizeof(job->token));
	memcpy(w.bgw_extra + sizeof(job->token), &MyDatabaseId, sizeof(MyDatabaseId));
	w.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&w, &job->handle);
	MemoryContextSwitchTo(old);
	if (!started)
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg(
				 "could not start a process that populates a continuous view: no background worker slot is free"),
			 errhint("Raise \"max_worker_processes\" in postgresql.conf and restart the server.")));
	return started;
}

/* Sets the changes from now on aside; the process takes its snapshot later. */
static BraidTap *
tap_tables(KeptView *v)
{
	BraidTap *tap = braid_capture_tap_begin();
	ListCell *lc;

	foreach (lc, v->plan->tables)
		braid_capture_tap_add(tap, lfirst_oid(lc), braid_plan_columns(v->plan, lfirst_oid(lc)));
	return tap;
}

static void
wait_for_another_attempt(Job *job)
{
	job->delay_ms = job->delay_ms ? Min(job->delay_ms * 2, MAX_DELAY_MS) : FIRST_DELAY_MS;
	job->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), job->delay_ms);
}

/* Gives back what an attempt holds. */
static void
stop(Job *job)
{
	if (job->slot != POPULATION_NO_SLOT)
		braid_population_close(job->slot);
	job->slot = POPULATION_NO_SLOT;
	if (job->tap)
		braid_capture_tap_end(job->tap);
	job->tap = NULL;
	if (job->handle)
		pfree(job->handle);
	job->handle = NULL;
	if (job->is_ready)
		pfree(job->s0.xip);
	job->is_ready = false;
}

static void
start(Job *job, KeptView *v)
{
	if (running_jobs() >= max_processes || job->not_before > GetCurrentTimestamp())
		return;
	if (!pg_strong_random(&job->token, sizeof(job->token)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
	job->slot = braid_population_open(job->view, job->token);
	if (job->slot == POPULATION_NO_SLOT)
		return;
	job->tap = tap_tables(v);
	if (!start_process(job))
	{
		stop(job);
		wait_for_another_attempt(job);
	}
}

static Job *
make_job(KeptView *v)
{
	MemoryContext old = MemoryContextSwitchTo(jobs_context);
	Job *job = palloc0(sizeof(Job));

	job->view = v->def.id;
	job->rebuilds = v->rebuilds;
	job->fingerprint = pstrdup(v->plan->fingerprint);
	job->slot = POPULATION_NO_SLOT;
	jobs = lappend(jobs, job);
	MemoryContextSwitchTo(old);
	return job;
}

static void
end_job(Job *job)
{
	stop(job);
	jobs = list_delete_ptr(jobs, job);
	pfree(job->fingerprint);
	pfree(job);
}

/* ---------------------------------------------------------------- watching */

static uint64
blocks_of(Oid relid)
{
	uint64 blocks = 0;
	ListCell *lc;

	foreach (lc, braid_capture_source(relid)->members)
	{
		Relation rel = table_open(lfirst_oid(lc), NoLock);

		blocks += RelationGetNumberOfBlocks(rel);
		table_close(rel, NoLock);
	}
	return blocks;
}

/*
 * A view that reads others is populated in the cycle: only there do these and
 * the tables stand for the same snapshot.  Rows of streams would pass by meanwhile.
 */
static bool
is_for_a_process(KeptView *v)
{
	uint64 blocks = 0;
	ListCell *lc;

	if (max_processes == 0 || v->plan->views != NIL || v->is_hurried)
		return false;
	foreach (lc, v->plan->tables)
		blocks += blocks_of(lfirst_oid(lc));
	return blocks * (BLCKSZ / 1024) > size_limit;
}

/* The row that the process has committed; false if S does not show it yet. */
static bool
read_result(Job *job, char **error)
{
	Oid types[2] = {INT4OID, INT8OID};
	Datum args[2] = {Int32GetDatum(job->view), Int64GetDatum(job->token)};
	MemoryContext old;
	char *frontier;

	SPI_execute_with_args("SELECT frontier, error FROM braid_internal.populations "
						  "WHERE id = $1 AND token = $2",
						  2, types, args, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	frontier = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	*error = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	old = MemoryContextSwitchTo(jobs_context);
	braid_frontier_parse(&job->s0, frontier);
	MemoryContextSwitchTo(old);
	job->is_ready = true;
	return true;
}

/* Whether the process has ended, or never come to life, without a result. */
static bool
has_failed(Job *job)
{
	pid_t pid;

	if (GetBackgroundWorkerPid(job->handle, &pid) == BGWH_STOPPED)
		braid_population_fail(job->slot);
	return braid_population_state(job->slot) == POPULATION_FAILED;
}

static bool
is_outdated(Job *job, KeptView *v)
{
	return job->rebuilds != v->rebuilds || strcmp(job->fingerprint, v->plan->fingerprint) != 0;
}

PopulateStep
braid_populate_look(KeptView *v, char **error)
{
	Job *job = find_job(v->def.id);

	*error = NULL;
	if (job && is_outdated(job, v))
	{
		end_job(job);
		job = NULL;
	}
	if (job == NULL)
	{
		if (!is_for_a_process(v))
			return POPULATE_HERE;
		job = make_job(v);
	}
	else if (job->slot != POPULATION_NO_SLOT)
	{
		if (braid_capture_tap_is_broken(job->tap))
			stop(job);
		else if (has_failed(job))
		{
			stop(job);
			wait_for_another_attempt(job);
		}
		else if (braid_population_state(job->slot) == POPULATION_DONE && read_result(job, error))
			return POPULATE_FOLLOW;
		else
			return POPULATE_WAIT;
	}
	start(job, v);
	return POPULATE_WAIT;
}

BraidDelta *
braid_populate_delta(KeptView *v, Oid relid)
{
	Job *job = find_job(v->def.id);

	Assert(job && job->is_ready);
	return braid_capture_tap_delta(job->tap, relid, &job->s0);
}

void
braid_populate_end(KeptView *v)
{
	Job *job = find_job(v->def.id);

	if (job == NULL)
		return;
	SPI_execute(psprintf("DELETE FROM braid_internal.populations WHERE id = %d", job->view), false,
				0);
	end_job(job);
}

/* ---------------------------------------------------------------- tidying */

/* What the process of the view locks. */
static List *
locked_relations(KeptView *v)
{
	List *relids = list_concat_copy(v->plan->tables, v->states);
	ListCell *lc;

	foreach (lc, v->plan->tables)
		relids = list_concat_unique_oid(relids, braid_capture_source(lfirst_oid(lc))->members);
	return relids;
}

/* Whether another process than this waits for a lock on one of the relations. */
static bool
somebody_waits(List *relids, pid_t but_not)
{
	LockData *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		LockInstanceData *lock = &locks->locks[i];

		if (lock->waitLockMode != NoLock && lock->pid != but_not &&
			lock->locktag.locktag_type == LOCKTAG_RELATION &&
			lock->locktag.locktag_field1 == MyDatabaseId &&
			list_member_oid(relids, lock->locktag.locktag_field2))
			return true;
	}
	return false;
}

static bool
is_in_the_way(Job *job, KeptView *v)
{
	pid_t pid;
	ListCell *lc;
	bool held_back = false;

	foreach (lc, v->plan->tables)
		held_back |= !braid_capture_is_locked(lfirst_oid(lc));
	return held_back && GetBackgroundWorkerPid(job->handle, &pid) == BGWH_STARTED &&
		   somebody_waits(locked_relations(v), pid);
}

void
braid_populate_tidy(void)
{
	ListCell *lc;

	foreach (lc, jobs)
	{
		Job *job = lfirst(lc);
		KeptView *v = braid_keeper_find(job->view);

		if (v == NULL || v->plan == NULL || v->state == VIEW_LIVE || v->state == VIEW_BROKEN)
		{
			jobs = foreach_delete_current(jobs, lc);
			end_job(job);
		}
		else if (job->slot != POPULATION_NO_SLOT && is_in_the_way(job, v))
		{
			ereport(LOG, (errmsg("populating a continuous view gives way to a command that waits "
								 "for a lock, and begins anew later")));
			stop(job);
			wait_for_another_attempt(job);
		}
	}
}

static void
end_all_at_exit(int code, Datum arg)
{
	braid_population_end_all(false);
}

void
braid_populate_start(void)
{
	if (jobs_context != NULL)
		return;
	jobs_context = AllocSetContextCreate(TopMemoryContext, "braid populate", ALLOCSET_SMALL_SIZES);
	before_shmem_exit(end_all_at_exit, 0);
	braid_population_end_all(true);
}

void
braid_populate_init(void)
{
	DefineCustomIntVariable(
		"braid.view_populate_processes",
		"Sets how many continuous views of a database may be populated beside its capture worker.",
		"0 populates all views in the capture worker, where the other views wait for it; "
		"\"max_worker_processes\" has to allow for more.",
		&max_processes, 2, 0, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.view_populate_limit",
		"Sets how large the tables of a continuous view may be, together, for it to be populated "
		"in the capture worker.",
		"The higher, the longer other views may wait; 0 leaves all views to other processes.",
		&size_limit, 16384, 0, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	braid_population_init();
}
