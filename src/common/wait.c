/*
 * wait.c
 *	  What processes wait for in braid: names of the waits, and who waits now.
 *
 * NOTES
 *	  From PostgreSQL 17 on, an extension's waits have names of their own in
 *	  pg_stat_activity; before that they are all called "Extension".  So each
 *	  process also notes its wait here, for braid.activity.
 *
 *	  A process writes its own entry and no other, without a lock.  A reader may
 *	  see the time of one wait with the name of the next, for an instant; it
 *	  never sees an entry of a process that has not waited.  An entry that an
 *	  error has left behind goes with the abort, and one of a process that has
 *	  ended names a pid that nobody has.
 */
#include "postgres.h"

#include "common/compat.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "common/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_waits);

static const char *const names[BRAID_NWAITS] = {
	[BRAID_WAIT_NONE] = NULL,
	[BRAID_WAIT_CAPTURE_ANSWER] = "BraidCaptureAnswer",
	[BRAID_WAIT_CAPTURE_BATCH] = "BraidCaptureBatch",
	[BRAID_WAIT_CAPTURE_LAG] = "BraidCaptureLag",
	[BRAID_WAIT_CAPTURE_MAIN] = "BraidCaptureMain",
	[BRAID_WAIT_COMMIT_FINISH] = "BraidCommitFinish",
	[BRAID_WAIT_FAILPOINT] = "BraidFailpoint",
	[BRAID_WAIT_GATE] = "BraidGate",
	[BRAID_WAIT_LAUNCHER_MAIN] = "BraidLauncherMain",
	[BRAID_WAIT_LOCK_WAITS] = "BraidLockWaits",
	[BRAID_WAIT_MESSAGES] = "BraidMessages",
	[BRAID_WAIT_OWN_COMMIT] = "BraidOwnCommit",
	[BRAID_WAIT_POPULATION_END] = "BraidPopulationEnd",
	[BRAID_WAIT_RELAY_MAIN] = "BraidRelayMain",
	[BRAID_WAIT_RESOLVER_MAIN] = "BraidResolverMain",
	[BRAID_WAIT_RESTORE_POINT] = "BraidRestorePoint",
	[BRAID_WAIT_SERVER_CHECKUP] = "BraidServerCheckup",
	[BRAID_WAIT_SERVER_READY] = "BraidServerReady",
	[BRAID_WAIT_SERVER_SWEEP] = "BraidServerSweep",
	[BRAID_WAIT_SNAPSHOT] = "BraidSnapshot",
	[BRAID_WAIT_TOPIC_MAIN] = "BraidTopicMain",
	[BRAID_WAIT_VIEW_LIVE] = "BraidViewLive",
	[BRAID_WAIT_WORK_LOAD] = "BraidWorkLoad",
	[BRAID_WAIT_WORKERS_STOP] = "BraidWorkersStop",
};

static uint32 events[BRAID_NWAITS];

/* Written by its process alone; wait is set last and cleared first. */
typedef struct WaitEntry
{
	volatile BraidWait wait;
	int pid;
	TimestampTz since;
} WaitEntry;

/* One for each process that can have a transaction, by its place in the array of PGPROCs. */
static WaitEntry *entries = NULL;

static Size
entries_size(void)
{
	return MaxBackends * sizeof(WaitEntry);
}

static void
entries_init(void *area)
{
	/* Zeroed: nobody waits. */
}

static const BraidShmemArea area = {"braid waits", entries_size, entries_init, (void **) &entries};

/* NULL for auxiliary processes, which run none of our code. */
static WaitEntry *
my_entry(void)
{
	int i = MyProc ? (int) (MyProc - ProcGlobal->allProcs) : -1;

	return entries && i >= 0 && i < MaxBackends ? &entries[i] : NULL;
}

void
braid_wait_prepare(BraidWait wait)
{
	if (events[wait] == 0)
		events[wait] = braid_compat_wait_event(names[wait]);
}

uint32
braid_wait_begin(BraidWait wait)
{
	WaitEntry *e = my_entry();

	Assert(wait > BRAID_WAIT_NONE && wait < BRAID_NWAITS);
	if (e)
	{
		e->since = GetCurrentTimestamp();
		e->pid = MyProcPid;
		pg_write_barrier();
		e->wait = wait;
	}
	braid_wait_prepare(wait);
	return events[wait];
}

void
braid_wait_end(void)
{
	WaitEntry *e = my_entry();

	if (e)
		e->wait = BRAID_WAIT_NONE;
}

static void
end_of_transaction(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		braid_wait_end();
}

/* One row per process that waits. */
Datum
braid_sql_waits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MaxBackends; i++)
	{
		BraidWait wait = entries[i].wait;
		Datum v[3];
		bool n[3] = {false};

		pg_read_barrier();
		if (wait == BRAID_WAIT_NONE)
			continue;
		v[0] = Int32GetDatum(entries[i].pid);
		v[1] = CStringGetTextDatum(names[wait]);
		v[2] = TimestampTzGetDatum(entries[i].since);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	return (Datum) 0;
}

void
braid_wait_init(void)
{
	braid_shmem_register(&area);
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
}
