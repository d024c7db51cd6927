/*
 * node.c
 *	  The participants as their coordinator sees them, in shared memory.
 *
 * NOTES
 *	  The resolver writes, backends read and wait.  A server is "ready" while the
 *	  resolver holds a verified connection to it; a write to a server that is not
 *	  ready is refused before anything was written, because nobody could finish
 *	  its two-phase commit.  Readiness may end right after it was looked at: then
 *	  the PREPARE fails, or a prepared branch waits for recovery.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "common/wait.h"
#include "common/worker.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
#include "xa/node.h"
#include "xa/settings.h"

#define MAX_FINDINGS 512

typedef struct XaNodeTable
{
	LWLock lock; /* guards all but the condition variable */
	ConditionVariable changed;
	int nnodes;
	XaFinding findings[MAX_FINDINGS];
	XaNode nodes[FLEXIBLE_ARRAY_MEMBER];
} XaNodeTable;

static XaNodeTable *table = NULL;

static Size
table_size(void)
{
	return offsetof(XaNodeTable, nodes) + braid_xa_max_servers * sizeof(XaNode);
}

static void
table_init(void *area)
{
	XaNodeTable *t = area;

	braid_shmem_init_lock(&t->lock);
	ConditionVariableInit(&t->changed);
	t->nnodes = braid_xa_max_servers;
}

static const BraidShmemArea area = {"braid xa nodes", table_size, table_init, (void **) &table};

/* The caller holds the lock.  NULL if the server is not entered. */
static XaNode *
find_node(Oid dbid, Oid serverid)
{
	for (int i = 0; i < table->nnodes; i++)
		if (table->nodes[i].dbid == dbid && table->nodes[i].serverid == serverid)
			return &table->nodes[i];
	return NULL;
}

/* ---------------------------------------------------------------- resolver */

bool
braid_xa_node_add(Oid serverid, uint32 address)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (!node)
	{
		node = find_node(InvalidOid, InvalidOid);
		if (node)
		{
			memset(node, 0, sizeof(*node));
			node->dbid = MyDatabaseId;
			node->serverid = serverid;
			strlcpy(node->reason, "it was not connected to yet", sizeof(node->reason));
			node->since = GetCurrentTimestamp();
		}
	}
	if (node)
		node->address = address;
	LWLockRelease(&table->lock);
	return node != NULL;
}

void
braid_xa_node_remove(Oid serverid)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node)
		memset(node, 0, sizeof(*node));
	LWLockRelease(&table->lock);
	braid_xa_node_forget_findings(serverid);
	ConditionVariableBroadcast(&table->changed);
}

void
braid_xa_node_set_ready(Oid serverid, const char *version)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node)
	{
		node->ready = true;
		node->clean = false;
		node->reason[0] = node->hint[0] = '\0';
		strlcpy(node->version, version, sizeof(node->version));
		node->since = GetCurrentTimestamp();
	}
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->changed);
}

/* The caller holds the lock exclusively. */
static void
make_unready(XaNode *node, const char *reason, const char *hint)
{
	if (node->ready)
		node->since = GetCurrentTimestamp();
	node->ready = node->clean = false;
	strlcpy(node->reason, reason, sizeof(node->reason));
	strlcpy(node->hint, hint ? hint : "", sizeof(node->hint));
}

void
braid_xa_node_set_unready(Oid serverid, const char *reason, const char *hint)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node)
		make_unready(node, reason, hint);
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->changed);
}

void
braid_xa_node_remove_all(Oid dbid)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->nnodes; i++)
		if (table->nodes[i].dbid == dbid)
			memset(&table->nodes[i], 0, sizeof(XaNode));
	for (int i = 0; i < MAX_FINDINGS; i++)
		if (table->findings[i].dbid == dbid)
			table->findings[i].dbid = InvalidOid;
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->changed);
}

uint64
braid_xa_node_sweeps_requested(Oid serverid)
{
	XaNode *node;
	uint64 requests = 0;

	LWLockAcquire(&table->lock, LW_SHARED);
	node = find_node(MyDatabaseId, serverid);
	if (node)
		requests = node->sweeps_requested;
	LWLockRelease(&table->lock);
	return requests;
}

void
braid_xa_node_sweep_done(Oid serverid, uint64 requests, TimestampTz clean_before,
						 int64 round_trip_us)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node)
	{
		node->clean = clean_before != 0;
		if (clean_before != 0)
			node->clean_before = clean_before;
		node->sweeps_done = Max(node->sweeps_done, requests);
		node->round_trip_us = round_trip_us;
		node->last_sweep = GetCurrentTimestamp();
	}
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->changed);
}

void
braid_xa_node_forget_findings(Oid serverid)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_FINDINGS; i++)
		if (table->findings[i].dbid == MyDatabaseId && table->findings[i].serverid == serverid)
			table->findings[i].dbid = InvalidOid;
	LWLockRelease(&table->lock);
}

void
braid_xa_node_add_finding(const XaFinding *finding)
{
	/* For display only: what finds no room is settled all the same. */
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_FINDINGS; i++)
		if (!OidIsValid(table->findings[i].dbid))
		{
			table->findings[i] = *finding;
			break;
		}
	LWLockRelease(&table->lock);
}

void
braid_xa_node_settle_finding(Oid serverid, const BraidGid *gid, XaFindingState state,
							 const char *error)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_FINDINGS; i++)
	{
		XaFinding *f = &table->findings[i];

		if (f->dbid == MyDatabaseId && f->serverid == serverid && f->gid.branch == gid->branch &&
			braid_gid_same_transaction(&f->gid, gid))
		{
			f->state = state;
			strlcpy(f->error, error ? error : "", sizeof(f->error));
		}
	}
	LWLockRelease(&table->lock);
}

bool
braid_xa_node_point_requested(Oid serverid, uint64 than, XaNodePoint *copy)
{
	XaNode *node;
	bool found = false;

	LWLockAcquire(&table->lock, LW_SHARED);
	node = find_node(MyDatabaseId, serverid);
	if (node && node->point.requested > than && node->point.requested != node->point.done)
	{
		*copy = node->point;
		found = true;
	}
	LWLockRelease(&table->lock);
	return found;
}

void
braid_xa_node_point_done(Oid serverid, uint64 request, XLogRecPtr lsn, const char *error)
{
	XaNode *node;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node && node->point.requested == request)
	{
		node->point.done = request;
		node->point.lsn = lsn;
		strlcpy(node->point.error, error ? error : "", sizeof(node->point.error));
	}
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->changed);
}

/* ---------------------------------------------------------------- backends */

bool
braid_xa_node_find(Oid serverid, XaNode *copy)
{
	XaNode *node;

	memset(copy, 0, sizeof(*copy));
	LWLockAcquire(&table->lock, LW_SHARED);
	node = find_node(MyDatabaseId, serverid);
	if (node)
		*copy = *node;
	LWLockRelease(&table->lock);
	return node != NULL;
}

static bool
is_ready(Oid serverid, XaNode *copy)
{
	return braid_xa_node_find(serverid, copy) && copy->ready;
}

static void
raise_not_ready(Oid serverid, const XaNode *node)
{
	const char *reason = "the resolver of this database does not run, or has not looked at it yet";
	const char *hint =
		"A server can be written to once the transaction that created it has committed.  "
		"If that was long ago, see the server log for messages of \"braid resolver\".";

	if (OidIsValid(node->dbid))
	{
		reason = node->ready ? "its address was changed just now" : node->reason;
		hint = node->hint;
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("server \"%s\" is not ready for atomic transactions",
						   GetForeignServer(serverid)->servername),
					errdetail("Reading works.  Writing does not: %s.", reason),
					hint[0] ? errhint("%s", hint) : errhint("See braid.participants.")));
}

/* Sleeps until something changed or the deadline; false if it has passed. */
static bool
sleep_until(TimestampTz deadline, BraidWait wait)
{
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	if (left <= 0)
		return false;
	(void) ConditionVariableTimedSleep(&table->changed, left, braid_wait_begin(wait));
	braid_wait_end();
	return true;
}

void
braid_xa_node_wait_ready(Oid serverid, uint32 address)
{
	XaNode node;
	TimestampTz deadline;
	bool ready;

	if (is_ready(serverid, &node) && node.address == address)
		return;
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), braid_xa_ready_timeout);
	braid_worker_request(braid_xa_resolver_kind, MyDatabaseId);
	ConditionVariablePrepareToSleep(&table->changed);
	while (!(ready = is_ready(serverid, &node) && node.address == address))
		if (!sleep_until(deadline, BRAID_WAIT_SERVER_READY))
			break;
	ConditionVariableCancelSleep();
	if (!ready)
		raise_not_ready(serverid, &node);
}

List *
braid_xa_node_aliases(List *serverids)
{
	List *aliases = list_copy(serverids);
	ListCell *lc;

	LWLockAcquire(&table->lock, LW_SHARED);
	foreach (lc, serverids)
	{
		XaNode *node = find_node(MyDatabaseId, lfirst_oid(lc));

		for (int i = 0; node && i < table->nnodes; i++)
			if (table->nodes[i].dbid == MyDatabaseId && table->nodes[i].address == node->address)
				aliases = list_append_unique_oid(aliases, table->nodes[i].serverid);
	}
	LWLockRelease(&table->lock);
	return aliases;
}

static bool
is_settled(Oid serverid, TimestampTz before, XaNode *copy)
{
	return is_ready(serverid, copy) && copy->clean_before != 0 && copy->clean_before >= before;
}

static void
raise_not_settled(Oid serverid, const XaNode *node)
{
	const char *server = GetForeignServer(serverid)->servername;

	if (!node->ready)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not get a consistent snapshot because server \"%s\" is not ready",
						server),
				 errdetail("Nobody knows what is unfinished there: %s.",
						   OidIsValid(node->dbid) ? node->reason
												  : "the resolver of this database does not run, "
													"or has not looked at it yet"),
				 node->hint[0] ? errhint("%s", node->hint) : errhint("See braid.participants.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("could not get a consistent snapshot because server \"%s\" is recovering", server),
		 errdetail("Transactions that were committed before a restart may not be finished there, "
				   "and not all of them have been by now."),
		 errhint("Try again later; see braid.transactions.")));
}

void
braid_xa_node_await_settled(Oid serverid, TimestampTz before, int timeout_ms)
{
	TimestampTz deadline;
	XaNode node;
	bool settled;

	if (is_settled(serverid, before, &node))
		return;
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	braid_worker_request(braid_xa_resolver_kind, MyDatabaseId);
	if (node.clean_before != 0)
		(void) braid_xa_node_request_sweep(MyDatabaseId, serverid);
	ConditionVariablePrepareToSleep(&table->changed);
	while (!(settled = is_settled(serverid, before, &node)))
		if (!sleep_until(deadline, BRAID_WAIT_SERVER_READY))
			break;
	ConditionVariableCancelSleep();
	if (!settled)
		raise_not_settled(serverid, &node);
}

uint64
braid_xa_node_request_sweep(Oid dbid, Oid serverid)
{
	XaNode *node;
	uint64 request = 0;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(dbid, serverid);
	if (node)
		request = ++node->sweeps_requested;
	LWLockRelease(&table->lock);
	braid_worker_wake(braid_xa_resolver_kind, dbid);
	return request;
}

bool
braid_xa_node_wait_sweep(Oid serverid, uint64 request, int timeout_ms)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	XaNode node;
	bool ready;

	ConditionVariablePrepareToSleep(&table->changed);
	while ((ready = is_ready(serverid, &node)) && node.sweeps_done < request)
		if (!sleep_until(deadline, BRAID_WAIT_SERVER_SWEEP))
			break;
	ConditionVariableCancelSleep();
	return ready && node.sweeps_done >= request;
}

uint64
braid_xa_node_request_point(Oid serverid, const char *name)
{
	XaNode *node;
	uint64 request = 0;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	node = find_node(MyDatabaseId, serverid);
	if (node)
	{
		request = ++node->point.requested;
		strlcpy(node->point.name, name, sizeof(node->point.name));
		node->point.lsn = InvalidXLogRecPtr;
		node->point.error[0] = '\0';
	}
	LWLockRelease(&table->lock);
	braid_worker_wake(braid_xa_resolver_kind, MyDatabaseId);
	return request;
}

bool
braid_xa_node_wait_point(Oid serverid, uint64 request, int timeout_ms, XaNodePoint *copy)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	XaNode node;

	/* An entry that was made anew does not know the request. */
	ConditionVariablePrepareToSleep(&table->changed);
	while (is_ready(serverid, &node) && node.point.requested >= request &&
		   node.point.done < request)
		if (!sleep_until(deadline, BRAID_WAIT_RESTORE_POINT))
			break;
	ConditionVariableCancelSleep();
	*copy = node.point;
	return request != 0 && node.point.done == request && node.point.lsn != InvalidXLogRecPtr;
}

bool
braid_xa_node_read(int i, XaNode *copy)
{
	if (i >= table->nnodes)
		return false;
	LWLockAcquire(&table->lock, LW_SHARED);
	*copy = table->nodes[i];
	LWLockRelease(&table->lock);
	return true;
}

bool
braid_xa_node_read_finding(int i, XaFinding *copy)
{
	if (i >= MAX_FINDINGS)
		return false;
	LWLockAcquire(&table->lock, LW_SHARED);
	*copy = table->findings[i];
	LWLockRelease(&table->lock);
	return true;
}

void
braid_xa_node_init(void)
{
	braid_shmem_register(&area);
}
