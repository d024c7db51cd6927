/*
 * transaction.c
 *	  The global transactions of this server that are under way, in shared memory.
 *
 * NOTES
 *	  The pool is the "active set" of the recovery protocol (README.md): a
 *	  branch that is found prepared and whose transaction is active here, or
 *	  whose branch is queued, is left alone.  Everything else about a
 *	  transaction is durable elsewhere; the pool may be lost at any moment.
 *
 *	  A transaction is committed for its client before its branches are: what a
 *	  wait that is cut short leaves undone, the resolver does later.  The wait
 *	  follows the rules of SyncRepWaitForLSN(): no error, a warning that tells
 *	  the truth.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "common/worker.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "xa/gate.h"
#include "xa/identity.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/trace.h"
#include "xa/transaction.h"

#define SPARE_SLOTS 256 /* beyond one per backend: unfinished ones */
#define MAX_QUEUES 1024 /* as many as identities */

/* Transactions of one database that its resolver has yet to take. */
typedef struct XaQueue
{
	Oid dbid;
	int head; /* -1: empty */
	int tail;
} XaQueue;

typedef struct XaPool
{
	LWLock lock; /* guards all that follows */
	int nslots;
	int last_taken;			 /* where to look for a free slot */
	uint64 recycled;		 /* slots that were taken from transactions in LEFT */
	TimestampTz recycled_at; /* the last time */
	int nqueues;
	XaQueue queues[MAX_QUEUES];
	XaTransaction slots[FLEXIBLE_ARRAY_MEMBER];
} XaPool;

static XaPool *pool = NULL;

static int
pool_slots(void)
{
	return MaxBackends + SPARE_SLOTS;
}

static Size
pool_size(void)
{
	return offsetof(XaPool, slots) + pool_slots() * sizeof(XaTransaction);
}

static void
pool_init(void *area)
{
	XaPool *p = area;

	braid_shmem_init_lock(&p->lock);
	p->nslots = pool_slots();
}

static const BraidShmemArea pool_area = {"braid xa transactions", pool_size, pool_init,
										 (void **) &pool};

XaTransaction *
braid_xa_transaction_slot(int slot)
{
	Assert(slot >= 0 && slot < pool->nslots);
	return &pool->slots[slot];
}

/* ---------------------------------------------------------------- queue */

/* The caller holds the lock exclusively.  NULL when there are too many. */
static XaQueue *
queue_of(Oid dbid)
{
	XaQueue *q;

	for (int i = 0; i < pool->nqueues; i++)
		if (pool->queues[i].dbid == dbid)
			return &pool->queues[i];
	if (pool->nqueues == MAX_QUEUES)
		return NULL;
	q = &pool->queues[pool->nqueues++];
	q->dbid = dbid;
	q->head = q->tail = -1;
	return q;
}

/* The caller holds the lock exclusively. */
static void
enqueue(int slot)
{
	XaQueue *q = queue_of(pool->slots[slot].dbid);

	/* braid_xa_identity_begin() refuses a database too many before this. */
	Assert(q != NULL);
	pool->slots[slot].next = -1;
	if (q->head < 0)
		q->head = slot;
	else
		pool->slots[q->tail].next = slot;
	q->tail = slot;
}

int
braid_xa_transaction_dequeue(Oid dbid)
{
	XaQueue *q;
	int slot;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	q = queue_of(dbid);
	slot = q->head;
	if (slot >= 0)
		q->head = pool->slots[slot].next;
	LWLockRelease(&pool->lock);
	return slot;
}

void
braid_xa_transaction_requeue(Oid dbid)
{
	XaQueue *q;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	q = queue_of(dbid);
	q->head = q->tail = -1;
	for (int i = 0; i < pool->nslots; i++)
		if (pool->slots[i].state == XA_COMMITTING && pool->slots[i].dbid == dbid)
			enqueue(i);
	LWLockRelease(&pool->lock);
}

/* ---------------------------------------------------------------- backend */

/* The caller holds the lock exclusively.  -1 if all are in use. */
static int
find_slot(XaState state)
{
	for (int n = 0; n < pool->nslots; n++)
	{
		int i = (pool->last_taken + 1 + n) % pool->nslots;

		if (pool->slots[i].state == state)
		{
			pool->last_taken = i;
			return i;
		}
	}
	return -1;
}

int
braid_xa_transaction_begin(const BraidGid *gid)
{
	int slot;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	slot = find_slot(XA_FREE);
	if (slot < 0)
	{
		slot = find_slot(XA_LEFT);
		if (slot >= 0)
		{
			pool->recycled++;
			pool->recycled_at = GetCurrentTimestamp();
		}
	}
	if (slot >= 0)
	{
		XaTransaction *t = &pool->slots[slot];

		memset(t, 0, sizeof(*t));
		t->state = XA_ACTIVE;
		t->dbid = MyDatabaseId;
		t->gid = *gid;
		t->pid = MyProcPid;
		t->started = GetCurrentTransactionStartTimestamp();
	}
	LWLockRelease(&pool->lock);
	if (slot < 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many global transactions are waiting to be finished"),
						errhint("See braid.transactions for what they wait for.")));
	return slot;
}

void
braid_xa_transaction_set_branches(int slot, int nbranches, const Oid *serverids)
{
	XaTransaction *t = &pool->slots[slot];

	Assert(nbranches <= BRAID_XA_MAX_BRANCHES);
	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	t->nbranches = nbranches;
	for (int i = 0; i < nbranches; i++)
		t->branches[i].serverid = serverids[i];
	LWLockRelease(&pool->lock);
}

void
braid_xa_transaction_abort(int slot)
{
	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	pool->slots[slot].state = XA_FREE;
	LWLockRelease(&pool->lock);
}

uint64
braid_xa_transaction_commit(int slot, XLogRecPtr commit_end, bool wait)
{
	XaTransaction *t = &pool->slots[slot];
	uint64 recycled;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	t->state = XA_COMMITTING;
	t->decided = GetCurrentTimestamp();
	t->commit_end = commit_end;
	t->waiter = wait ? MyLatch : NULL;
	for (int i = 0; i < t->nbranches; i++)
		t->branches[i].state = XA_BRANCH_QUEUED;
	recycled = pool->recycled;
	enqueue(slot);
	LWLockRelease(&pool->lock);
	braid_worker_wake(braid_xa_resolver_kind, MyDatabaseId);
	return recycled;
}

/* Why a wait ends before all branches are committed. */
static const char *
interruption(TimestampTz deadline)
{
	if (ProcDiePending)
	{
		braid_xa_stat_count(XA_STAT_WAIT_TERMINATED);
		return "the connection is being terminated";
	}
	if (QueryCancelPending)
	{
		QueryCancelPending = false;
		braid_xa_stat_count(XA_STAT_WAIT_CANCELED);
		return "the wait was canceled";
	}
	if (GetCurrentTimestamp() >= deadline)
	{
		braid_xa_stat_count(XA_STAT_WAIT_TIMED_OUT);
		return "the wait timed out";
	}
	return NULL;
}

/*
 * Detaches the backend; true if all branches are done.  by_hand: one was
 * finished by hand the other way.
 */
static bool
stop_waiting(XaTransaction *t, bool *by_hand, char *error, Size error_size)
{
	bool complete = true;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < t->nbranches; i++)
		complete &= t->branches[i].state == XA_BRANCH_DONE;
	*by_hand = t->by_hand;
	strlcpy(error, t->last_error, error_size);
	t->waiter = NULL;
	if (t->state == XA_FINISHED)
		t->state = complete ? XA_FREE : XA_LEFT;
	LWLockRelease(&pool->lock);
	return complete;
}

static void
warn_unfinished(const char *gid, const char *why)
{
	ereport(WARNING, (errcode(ERRCODE_WARNING),
					  errmsg("transaction \"%s\" is committed, but not yet on all servers", gid),
					  why[0] ? errdetail("It will be finished in the background: %s.", why)
							 : errdetail("It will be finished in the background."),
					  errhint("See braid.transactions.")));
}

static void
warn_by_hand(const char *gid, const char *why)
{
	ereport(WARNING, (errcode(ERRCODE_WARNING),
					  errmsg("transaction \"%s\" is committed, but not on all servers", gid),
					  errdetail("Somebody has decided otherwise by hand: %s.", why),
					  errhint("See braid.transactions.")));
}

bool
braid_xa_transaction_wait(int slot)
{
	XaTransaction *t = &pool->slots[slot];
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), braid_xa_finish_timeout);
	const char *why = NULL;
	bool by_hand;
	char error[sizeof(t->last_error)];
	char gid[BRAID_GID_LEN];
	bool complete;

	braid_gid_format_transaction(&t->gid, gid);
	for (;;)
	{
		int rc;

		ResetLatch(MyLatch);
		pg_memory_barrier();
		if (*(volatile XaState *) &t->state == XA_FINISHED)
			break;
		why = interruption(deadline);
		if (why)
			break;
		rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_POSTMASTER_DEATH | WL_TIMEOUT,
					   TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline) + 1,
					   braid_wait_begin(BRAID_WAIT_COMMIT_FINISH));
		braid_wait_end();
		if (rc & WL_POSTMASTER_DEATH)
		{
			/* As in SyncRepWaitForLSN(): nobody could be told any more. */
			ProcDiePending = true;
			whereToSendOutput = DestNone;
			why = "the server is going down";
			break;
		}
	}

	/* Whoever set the latch for another reason finds it set. */
	SetLatch(MyLatch);
	complete = stop_waiting(t, &by_hand, error, sizeof(error));
	if (!complete && by_hand && !why)
		warn_by_hand(gid, error);
	else if (!complete)
		warn_unfinished(gid, why ? why : error);

	/* As in SyncRepWaitForLSN(): the warning, but not "COMMIT". */
	if (!complete && ProcDiePending)
		whereToSendOutput = DestNone;
	return complete;
}

bool
braid_xa_transaction_watch(int slot, const BraidGid *gid, Oid serverid, Latch *latch)
{
	XaTransaction *t = &pool->slots[slot];
	bool committing;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	committing = t->state == XA_COMMITTING && braid_gid_same_transaction(&t->gid, gid);
	if (committing)
	{
		t->watcher = latch;
		t->watched_server = serverid;
	}
	LWLockRelease(&pool->lock);
	return committing;
}

/* ---------------------------------------------------------------- resolver */

/* The caller holds the lock exclusively.  true if complete; *left: see LEFT. */
static bool
finish_if_complete(XaTransaction *t, bool *left)
{
	*left = false;

	for (int i = 0; i < t->nbranches; i++)
	{
		if (t->branches[i].state == XA_BRANCH_QUEUED)
			return false;
		*left |= t->branches[i].state == XA_BRANCH_LEFT;
	}
	if (t->waiter)
		t->state = XA_FINISHED;
	else
		t->state = *left ? XA_LEFT : XA_FREE;
	return true;
}

void
braid_xa_transaction_by_hand(int slot)
{
	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	pool->slots[slot].by_hand = true;
	LWLockRelease(&pool->lock);
}

void
braid_xa_transaction_branch_end(int slot, int branch, const char *error)
{
	XaTransaction *t = &pool->slots[slot];
	TimestampTz decided = t->decided;
	BraidGid gid = t->gid;
	Latch *waiter;
	bool complete;
	bool left;

	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	Assert(t->state == XA_COMMITTING);
	t->attempts++;
	t->branches[branch].state = error ? XA_BRANCH_LEFT : XA_BRANCH_DONE;
	if (error)
	{
		t->left_at = GetCurrentTimestamp();
		strlcpy(t->last_error, error, sizeof(t->last_error));
	}
	complete = finish_if_complete(t, &left);
	waiter = t->waiter;
	if (!complete || !waiter)
		waiter = t->branches[branch].serverid == t->watched_server ? t->watcher : NULL;
	LWLockRelease(&pool->lock);

	/* Not under the lock, which who wakes up wants next. */
	if (waiter)
		SetLatch(waiter);
	braid_xa_gate_branch_ended();
	if (complete)
	{
		braid_xa_stat_finished(decided, left);
		braid_xa_trace_finished(&gid, left);
	}
}

/* The caller holds the lock. */
static bool
branch_is_live(const XaTransaction *t, uint32 branch)
{
	if (t->state == XA_ACTIVE)
		return true;
	return t->state == XA_COMMITTING && branch < t->nbranches &&
		   t->branches[branch].state == XA_BRANCH_QUEUED;
}

bool
braid_xa_transaction_is_live(const BraidGid *gid, TimestampTz *decided)
{
	bool live = false;

	LWLockAcquire(&pool->lock, LW_SHARED);
	for (int i = 0; i < pool->nslots && !live; i++)
	{
		XaTransaction *t = &pool->slots[i];

		live = t->state != XA_FREE && braid_gid_same_transaction(&t->gid, gid) &&
			   branch_is_live(t, gid->branch);
		*decided = t->state == XA_ACTIVE ? DT_NOEND : t->decided;
	}
	LWLockRelease(&pool->lock);
	return live;
}

void
braid_xa_transaction_server_clean(Oid dbid, Oid serverid, TimestampTz began)
{
	LWLockAcquire(&pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pool->nslots; i++)
	{
		XaTransaction *t = &pool->slots[i];
		bool left = false;

		if (t->state == XA_FREE || t->state == XA_ACTIVE || t->dbid != dbid)
			continue;

		/* Left after the sweep's list was made, and perhaps still on it. */
		if (t->left_at >= began)
			continue;
		for (int j = 0; j < t->nbranches; j++)
		{
			if (t->branches[j].serverid == serverid && t->branches[j].state == XA_BRANCH_LEFT)
				t->branches[j].state = XA_BRANCH_DONE;
			left |= t->branches[j].state == XA_BRANCH_LEFT;
		}
		if (t->state == XA_LEFT && !left)
			t->state = XA_FREE;
	}
	LWLockRelease(&pool->lock);
}

/* ---------------------------------------------------------------- everybody */

uint64
braid_xa_transaction_recycled(TimestampTz *last)
{
	uint64 recycled;

	LWLockAcquire(&pool->lock, LW_SHARED);
	recycled = pool->recycled;
	if (last)
		*last = pool->recycled_at;
	LWLockRelease(&pool->lock);
	return recycled;
}

bool
braid_xa_transaction_read(int slot, XaTransaction *copy)
{
	if (slot >= pool->nslots)
		return false;
	LWLockAcquire(&pool->lock, LW_SHARED);
	*copy = pool->slots[slot];
	LWLockRelease(&pool->lock);
	return true;
}

/* The caller holds the lock. */
static bool
is_unfinished(const XaBranchEntry *b, int nservers, const Oid *servers)
{
	if (b->state != XA_BRANCH_QUEUED && b->state != XA_BRANCH_LEFT)
		return false;
	for (int i = 0; i < nservers; i++)
		if (servers[i] == b->serverid)
			return true;
	return false;
}

bool
braid_xa_transaction_find_unfinished(int nservers, const Oid *servers, XaTransaction *copy,
									 int *branch)
{
	XaTransaction *found = NULL;
	bool left = false;

	LWLockAcquire(&pool->lock, LW_SHARED);
	for (int i = 0; i < pool->nslots && !left; i++)
	{
		XaTransaction *t = &pool->slots[i];

		if (t->state == XA_FREE || t->state == XA_ACTIVE || t->dbid != MyDatabaseId)
			continue;
		for (int j = 0; j < t->nbranches && !left; j++)
		{
			if (!is_unfinished(&t->branches[j], nservers, servers))
				continue;
			left = t->branches[j].state == XA_BRANCH_LEFT;
			if (found && !left)
				continue;
			found = t;
			*branch = j;
		}
	}
	if (found)
		*copy = *found;
	LWLockRelease(&pool->lock);
	return found != NULL;
}

bool
braid_xa_transaction_uses_server(Oid dbid, Oid serverid)
{
	bool found = false;

	LWLockAcquire(&pool->lock, LW_SHARED);
	for (int i = 0; i < pool->nslots && !found; i++)
	{
		XaTransaction *t = &pool->slots[i];

		if (t->state == XA_FREE || t->dbid != dbid)
			continue;
		for (int j = 0; j < t->nbranches; j++)
			found |= t->branches[j].serverid == serverid && t->branches[j].state != XA_BRANCH_DONE;
	}
	LWLockRelease(&pool->lock);
	return found;
}

void
braid_xa_transaction_init(void)
{
	braid_shmem_register(&pool_area);
}
