/*
 * gate.c
 *	  The gate through which decisions to commit pass, and that snapshots close.
 *
 * NOTES
 *	  A snapshot over several servers is torn if a transaction is visible in one
 *	  part of it and not in another.  A transaction becomes visible on one server
 *	  after the other, and the parts are taken one after the other: what is needed
 *	  is a while in which nothing becomes visible on any of the servers.
 *
 *	  The gate is a lock of two kinds, each compatible with itself:
 *
 *		W (RowExclusiveLock)	a transaction that commits, from when all its branches
 *							are prepared until it is handed over to the resolver
 *		R (ShareLock)		a snapshot, until it has all its parts
 *
 *	  and these are the steps of a snapshot over the servers S:
 *
 *		1. take R
 *		2. wait until no branch on S that was handed over is unfinished
 *		3. take the snapshot here and on each server of S
 *		4. release R
 *
 *	  Claim: from the end of 2 to 4 no transaction of this coordinator becomes
 *	  visible on a server of S, and each is visible on all its servers of S and
 *	  here, or nowhere.  The branches of a transaction are committed by
 *
 *	  - the resolver, out of the queue.  A transaction gets there under W, after its
 *		own commit here has become visible, and its branches are QUEUED until they
 *		have been committed.  So when R is held, none can be added, and those that
 *		are there are waited for in 2.
 *	  - the resolver, by a sweep.  What a sweep commits was decided and was not
 *		finished.  Either it is LEFT in the list of transactions, and 2 gives up, or
 *		it is not in the list, because that was lost with a restart or ran over:
 *		then the server has not been swept cleanly since, and the snapshot does
 *		not begin (braid_xa_node_await_settled()).
 *	  - postgres_fdw, in one phase.  That COMMIT is sent and answered under W.  If the
 *		answer is lost, the transaction may become visible at any time; but it is on
 *		one server, and whoever has seen it commits after that, for which he needs
 *		W as well: nothing that depends on it can be in a snapshot without it.
 *	  - hand, on the participant.  Nobody here knows of it; see docs/limitations.md.
 *
 *	  The local part.  A transaction with branches becomes visible here under W, so it
 *	  is in the snapshot if and only if it was handed over before R.  Transactions
 *	  without branches do not pass the gate, and need not: everything else stands
 *	  still, so that the cut is the state of all nodes at the moment of the local
 *	  snapshot.  (One-phase commits do need to: of two servers both would go on.)
 *
 *	  Crash: the lock and the list are in the memory of the server, and are lost with
 *	  it; a snapshot is, too.  What was decided before is found by the sweeps.
 *
 *	  Deadlocks.  W is taken when all branches are prepared: nobody who holds it, or
 *	  waits for it, will wait for a lock of a row any more.  Before PREPARE a participant can
 *	  wait in a deferred constraint for a row that another transaction holds, which
 *	  waits for W: behind a snapshot, which waits for the first.  A COMMIT in one
 *	  phase can do just that, because there is no moment between its last
 *	  wait and its being visible.  So the wait of a snapshot, in which others
 *	  are kept waiting, has a limit (braid.snapshot_timeout) and then makes room.
 *
 *	  The lock manager's queue is first come, first served: neither kind starves the other, and
 *	  snapshots that wait together go together.
 */
#include "postgres.h"

#include "common/lock.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/condition_variable.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "xa/gate.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/transaction.h"

#define WRITER RowExclusiveLock
#define READER ShareLock

typedef struct Gate
{
	ConditionVariable branch_ended;
} Gate;

static Gate *gate = NULL;

/* Has this session closed it? */
static bool closed = false;

static Size
gate_size(void)
{
	return sizeof(Gate);
}

static void
gate_init(void *area)
{
	ConditionVariableInit(&((Gate *) area)->branch_ended);
}

static const BraidShmemArea area = {"braid xa gate", gate_size, gate_init, (void **) &gate};

/* ---------------------------------------------------------------- transactions */

void
braid_xa_gate_enter(void)
{
	instr_time began;
	instr_time took;

	/* Usually it is open; the clock is read if not. */
	if (braid_lock_acquire(BRAID_LOCK_GATE, 0, 0, WRITER, false))
		return;
	INSTR_TIME_SET_CURRENT(began);
	(void) braid_wait_begin(BRAID_WAIT_GATE);
	(void) braid_lock_acquire(BRAID_LOCK_GATE, 0, 0, WRITER, true);
	braid_wait_end();
	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, began);
	braid_xa_stat_duration(XA_TIME_GATE_WAIT, INSTR_TIME_GET_MICROSEC(took));
}

void
braid_xa_gate_branch_ended(void)
{
	ConditionVariableBroadcast(&gate->branch_ended);
}

/* ---------------------------------------------------------------- snapshots */

/* What the lock manager says when the time is up, in our words. */
static void
explain_timeout(void *arg)
{
	if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
		return;
	errmsg("could not get a consistent snapshot in time");
	errdetail("COMMITs that were under way did not end within %d ms.", LockTimeout);
	errhint("Try again.  The time is limited by \"braid.snapshot_timeout\" and \"lock_timeout\".");
}

static void
wait_and_close(int ms)
{
	ErrorContextCallback context = {error_context_stack, explain_timeout, NULL};
	int level = braid_lock_limit_begin(ms);

	error_context_stack = &context;
	(void) braid_wait_begin(BRAID_WAIT_SNAPSHOT);
	(void) braid_lock_acquire_for_session(BRAID_LOCK_GATE, 0, 0, READER, true);
	braid_wait_end();
	error_context_stack = context.previous;
	braid_lock_limit_end(level);
}

/*
 * For the session, so that it can be opened whatever resource owner an error
 * has left behind, and before anything else is cleaned up.
 */
void
braid_xa_gate_close(TimestampTz deadline)
{
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	Assert(!closed);
	if (!braid_lock_acquire_for_session(BRAID_LOCK_GATE, 0, 0, READER, false))
		wait_and_close((int) Min(left, INT_MAX));
	closed = true;
}

void
braid_xa_gate_open(void)
{
	if (closed)
		braid_lock_release_for_session(BRAID_LOCK_GATE, 0, 0, READER);
	closed = false;
}

static void
raise_unfinished(const XaTransaction *t, int branch)
{
	char gid[BRAID_GID_LEN];
	long ms = TimestampDifferenceMilliseconds(t->decided, GetCurrentTimestamp());

	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
		 errmsg("could not get a consistent snapshot because transaction \"%s\" is not finished "
				"on server \"%s\"",
				braid_gid_format_transaction(&t->gid, gid),
				GetForeignServer(t->branches[branch].serverid)->servername),
		 errdetail("It was committed %ld.%03ld s ago, and its changes cannot be seen there yet.",
				   ms / 1000, ms % 1000),
		 errhint("Run the transaction again; see braid.transactions.")));
}

void
braid_xa_gate_await_finished(int nservers, const Oid *servers, TimestampTz deadline)
{
	XaTransaction t;
	int branch;

	ConditionVariablePrepareToSleep(&gate->branch_ended);
	while (braid_xa_transaction_find_unfinished(nservers, servers, &t, &branch))
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (left <= 0 || t.branches[branch].state == XA_BRANCH_LEFT)
		{
			ConditionVariableCancelSleep();
			raise_unfinished(&t, branch);
		}
		(void) ConditionVariableTimedSleep(&gate->branch_ended, left,
										   braid_wait_begin(BRAID_WAIT_SNAPSHOT));
		braid_wait_end();
	}
	ConditionVariableCancelSleep();
}

void
braid_xa_gate_init(void)
{
	braid_shmem_register(&area);
}
