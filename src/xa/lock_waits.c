/*
 * lock_waits.c
 *	  Who waits for whom on this server, for detectors of deadlocks.
 *
 * NOTES
 *	  The edges are those of pg_blocking_pids(): a process that holds a
 *	  conflicting lock, or that waits for one ahead in the queue.  But a process
 *	  is told with all the names by which it can be recognized elsewhere, and a
 *	  prepared transaction, which pg_blocking_pids() shows as 0, is told by the
 *	  virtual transaction under which pg_locks has it; the SQL function around
 *	  this one adds its gid.
 *
 *	  Only who has waited for some time is looked at: the time is in PGPROC, and
 *	  the lock tables are left alone as long as all waits are short.
 */
#include "postgres.h"

#include "common/compat.h"
#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "xa/lock_waits.h"
#include "xa/origin.h"

PG_FUNCTION_INFO_V1(braid_sql_local_lock_waits);

/*
 * A random number of this run of this server, so that processes of two servers
 * do not get mixed up, and that a server that is reached in two ways is one.
 */
typedef struct ServerRun
{
	uint64 id;
} ServerRun;

static ServerRun *run = NULL;

static Size
run_size(void)
{
	return sizeof(ServerRun);
}

static void
run_init(void *area)
{
	if (!pg_strong_random(&((ServerRun *) area)->id, sizeof(uint64)))
		ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate a random number for this server")));
}

static const BraidShmemArea area = {"braid xa server run", run_size, run_init, (void **) &run};

/*
 * All names of a backend, separated by spaces.  The first one holds for its
 * current local transaction; the others name the global one.
 *
 * The locks were read before, so that the backend may have gone on to another
 * transaction.  That makes a wrong edge, but never a cycle that is found again:
 * whoever is in one waits all the time and so stays who it is (deadlock.c).
 */
static char *
backend_names(int pid)
{
	PGPROC *proc = BackendPidGetProc(pid);
	StringInfoData s;
	XaActor actor;
	char buf[BRAID_GID_LEN];

	initStringInfo(&s);
	appendStringInfo(&s, "%c%016llx/%d/%u", XA_NAME_LOCAL, (unsigned long long) run->id, pid,
					 proc ? braid_compat_lxid(proc) : 0);
	if (!braid_xa_origin_read(pid, &actor))
		return s.data;
	if (actor.own.pid != 0)
		appendStringInfo(&s, " %c%s", XA_NAME_ORIGIN, braid_xa_origin_format(&actor.own, buf));
	if (actor.origin.pid != 0)
		appendStringInfo(&s, " %c%s", XA_NAME_ORIGIN, braid_xa_origin_format(&actor.origin, buf));
	if (actor.gid.fxid != 0)
		appendStringInfo(&s, " %c%s", XA_NAME_GID, braid_gid_format_transaction(&actor.gid, buf));
	return s.data;
}

/* A prepared transaction has no backend. */
static char *
prepared_name(const LockInstanceData *instance)
{
	return psprintf("%c%016llx/prepared/%s", XA_NAME_LOCAL, (unsigned long long) run->id,
					braid_compat_instance_vxid(instance));
}

static char *
describe_lock(const LockInstanceData *instance)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(
		&s, "%s on ",
		GetLockmodeName(instance->locktag.locktag_lockmethodid, instance->waitLockMode));
	DescribeLockTag(&s, &instance->locktag);
	return s.data;
}

static void
put_edge(ReturnSetInfo *rsi, const LockInstanceData *waiter, const LockInstanceData *blocker,
		 TimestampTz since)
{
	Datum v[8];
	bool n[8] = {false};
	bool prepared = blocker->leaderPid == 0;

	v[0] = Int32GetDatum(waiter->leaderPid);
	v[1] = CStringGetTextDatum(backend_names(waiter->leaderPid));
	v[2] = Int32GetDatum(blocker->leaderPid);
	n[2] = prepared;
	v[3] =
		CStringGetTextDatum(prepared ? prepared_name(blocker) : backend_names(blocker->leaderPid));
	v[4] = prepared ? CStringGetTextDatum(braid_compat_instance_vxid(blocker)) : (Datum) 0;
	n[4] = !prepared;
	v[5] = TimestampTzGetDatum(since);
	v[6] = Int64GetDatum(TimestampDifferenceMilliseconds(since, GetCurrentTimestamp()));
	v[7] = CStringGetTextDatum(describe_lock(waiter));
	tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
}

/* Does the waiter wait for this holder or requester of the same lock? */
static bool
is_blocked_by(const BlockedProcsData *data, const BlockedProcData *proc,
			  const LockInstanceData *waiter, const LockInstanceData *other)
{
	LOCKMASK conflicts =
		GetLockTagsMethodTable(&waiter->locktag)->conflictTab[waiter->waitLockMode];

	/* Members of a lock group do not block each other. */
	if (other == waiter || other->leaderPid == waiter->leaderPid)
		return false;
	if (conflicts & other->holdMask)
		return true;
	if (other->waitLockMode == NoLock || !(conflicts & LOCKBIT_ON(other->waitLockMode)))
		return false;
	for (int i = 0; i < proc->num_waiters; i++)
		if (data->waiter_pids[proc->first_waiter + i] == other->pid)
			return true;
	return false;
}

static void
put_edges_of(ReturnSetInfo *rsi, int pid, TimestampTz since, const pg_atomic_uint64 *wait_start)
{
	BlockedProcsData *data = GetBlockerStatusData(pid);

	/* Is that still the same wait? */
	if (pg_atomic_read_u64((pg_atomic_uint64 *) wait_start) != (uint64) since)
		return;
	for (int p = 0; p < data->nprocs; p++)
	{
		BlockedProcData *proc = &data->procs[p];
		LockInstanceData *instances = &data->locks[proc->first_lock];
		LockInstanceData *waiter = NULL;

		if (proc->pid != pid)
			continue;
		for (int i = 0; i < proc->num_locks; i++)
			if (instances[i].pid == pid)
				waiter = &instances[i];
		for (int i = 0; waiter && i < proc->num_locks; i++)
			if (is_blocked_by(data, proc, waiter, &instances[i]))
				put_edge(rsi, waiter, &instances[i], since);
	}
}

/* local_lock_waits(min_age_ms int): one row for each waiter and blocker. */
Datum
braid_sql_local_lock_waits(PG_FUNCTION_ARGS)
{
	int min_age_ms = PG_GETARG_INT32(0);
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MaxBackends; i++)
	{
		PGPROC *proc = &ProcGlobal->allProcs[i];
		TimestampTz since = (TimestampTz) pg_atomic_read_u64(&proc->waitStart);
		int pid = proc->pid;

		if (since != 0 && pid != 0 && TimestampDifferenceExceeds(since, now, min_age_ms))
			put_edges_of(rsi, pid, since, &proc->waitStart);
	}
	return (Datum) 0;
}

void
braid_xa_lock_waits_init(void)
{
	braid_shmem_register(&area);
}
