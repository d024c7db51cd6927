/*
 * snapshot.c
 *	  One snapshot over this server and others, in the current transaction.
 *
 * NOTES
 *	  gate.c has the protocol and its argument.  The order of the steps here follows
 *	  from what may take long: whatever can be done before the gate is closed is
 *	  done before, and while it is closed the time is limited, because commits wait
 *	  meanwhile.  An error opens it at once, before postgres_fdw begins to clean up.
 *
 *	  postgres_fdw keeps one connection, with one remote transaction, for each user
 *	  mapping.  The snapshot covers those of the user who has taken it.  What would be
 *	  read by another mapping (through a view of somebody else's, or on a server
 *	  that was not named) would be of a later moment, and is refused.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "common/failpoint.h"
#include "common/xact.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "xa/branch.h"
#include "xa/gate.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/snapshot.h"
#include "xa/snapshot_probe.h"
#include "xa/statistics.h"
#include "xa/transaction.h"

/* What the snapshot of the current transaction covers; in its memory. */
typedef struct Cover
{
	List *servers;	/* oids */
	List *mappings; /* of users, oids */
} Cover;

static Cover *cover = NULL;

/* Is one being taken?  Then nothing is covered yet. */
static bool taking = false;

/*
 * Has one been begun?  If that has failed, and the error was caught, servers may
 * have snapshots of some moment: there is no second attempt in the transaction.
 */
static bool attempted = false;

/* ---------------------------------------------------------------- time */

static TimeoutId timeout = MAX_TIMEOUTS; /* not registered yet */
static volatile sig_atomic_t timed_out = false;

/* In a signal handler: has the running command canceled, as SIGINT does. */
static void
cancel_late_snapshot(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Says why the command was canceled, if that was us. */
static void
explain_cancel(void *arg)
{
	if (!timed_out || geterrcode() != ERRCODE_QUERY_CANCELED)
		return;
	errcode(ERRCODE_LOCK_NOT_AVAILABLE);
	errmsg("could not get a consistent snapshot in time");
	errdetail("A server did not answer within %d ms.", braid_snapshot_timeout);
	errhint("Try again.  The time is limited by \"braid.snapshot_timeout\".");
}

static void
begin_limit(TimestampTz deadline)
{
	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, cancel_late_snapshot);
	timed_out = false;
	enable_timeout_at(timeout, deadline);
}

/* If it has struck after the last look at interrupts, nothing is to be canceled any more. */
static void
end_limit(void)
{
	if (timeout == MAX_TIMEOUTS)
		return;
	disable_timeout(timeout, false);
	if (timed_out)
		QueryCancelPending = false;
	timed_out = false;
}

/* ---------------------------------------------------------------- taking */

static void
refuse_if_impossible(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a consistent snapshot cannot be had during recovery"),
						errdetail("Transactions are finished by the primary server, and only there "
								  "it is known which are."),
						errhint("Connect to the primary server.")));
	if (!IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a snapshot over servers needs a transaction of isolation level REPEATABLE "
						"READ or SERIALIZABLE"),
				 errdetail("In READ COMMITTED each statement has a snapshot of its own."),
				 errhint("Begin with BEGIN ISOLATION LEVEL REPEATABLE READ.")));
	if (XactDeferrable && XactReadOnly && IsolationIsSerializable())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a DEFERRABLE transaction cannot have a snapshot over servers"),
						errdetail("It would wait for its snapshot while others wait for it."),
						errhint("Begin the transaction NOT DEFERRABLE.")));
	if (FirstSnapshotSet)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("the transaction has a snapshot already"),
						errdetail("A snapshot over servers is taken before the first query."),
						errhint("Let SET LOCAL braid.snapshot follow BEGIN.")));
	if (attempted)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("the transaction has tried to get a snapshot over servers before"),
						errdetail("Some of them may have taken their part then."),
						errhint("Roll back the whole transaction, and begin again.")));
}

static Cover *
make_cover(List *serverids)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Cover *c = palloc0(sizeof(Cover));
	ListCell *lc;

	c->servers = list_copy(serverids);
	foreach (lc, serverids)
		c->mappings = lappend_oid(c->mappings, GetUserMapping(GetUserId(), lfirst_oid(lc))->umid);
	MemoryContextSwitchTo(old);
	return c;
}

static void
await_settled(List *serverids, int timeout_ms)
{
	TimestampTz recycled_at;
	ListCell *lc;

	(void) braid_xa_transaction_recycled(&recycled_at);
	foreach (lc, serverids)
		braid_xa_node_await_settled(lfirst_oid(lc), recycled_at, timeout_ms);
}

/* Steps 1 to 4 of gate.c, but for the last. */
static void
take_parts(XaProbe *probe, List *nodes, TimestampTz deadline)
{
	Oid *servers = palloc(sizeof(Oid) * (list_length(nodes) + 1));
	ListCell *lc;

	foreach (lc, nodes)
		servers[foreach_current_index(lc)] = lfirst_oid(lc);
	BRAID_FAILPOINT("xa-snapshot-closed");
	braid_xa_gate_await_finished(list_length(nodes), servers, deadline);

	/* What ran over, or what a restart has left: as before, now that nothing is added. */
	await_settled(nodes, 0);
	BRAID_FAILPOINT("xa-snapshot-drained");
	(void) GetTransactionSnapshot();

	/* Here somebody else is waited for, who knows of no deadline. */
	begin_limit(deadline);
	braid_xa_probe_fix(probe);
	pfree(servers);
}

static int64
microseconds_since(instr_time began)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, began);
	return INSTR_TIME_GET_MICROSEC(now);
}

static void
take_closed(XaProbe *probe, List *nodes)
{
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), braid_snapshot_timeout);
	ErrorContextCallback context = {error_context_stack, explain_cancel, NULL};
	instr_time closed;

	braid_xa_gate_close(deadline);
	INSTR_TIME_SET_CURRENT(closed);
	error_context_stack = &context;
	PG_TRY();
	{
		take_parts(probe, nodes, deadline);
	}
	PG_FINALLY();
	{
		/* Before anything else: an error is followed by cleaning up, with other servers. */
		braid_xa_gate_open();
		end_limit();
	}
	PG_END_TRY();
	error_context_stack = context.previous;
	braid_xa_stat_duration(XA_TIME_GATE_CLOSED, microseconds_since(closed));
}

void
braid_xa_snapshot_take(List *serverids)
{
	List *nodes;
	XaProbe *probe;
	Cover *c;
	instr_time began;

	refuse_if_impossible();
	INSTR_TIME_SET_CURRENT(began);
	c = make_cover(serverids);
	nodes = braid_xa_node_aliases(serverids);
	await_settled(nodes, braid_xa_ready_timeout);
	taking = attempted = true;
	probe = braid_xa_probe_begin(serverids);
	Assert(!FirstSnapshotSet);
	BRAID_FAILPOINT("xa-snapshot-connected");
	take_closed(probe, nodes);
	taking = false;
	cover = c;
	braid_xa_stat_duration(XA_TIME_SNAPSHOT, microseconds_since(began));
}

/* ---------------------------------------------------------------- having it */

List *
braid_xa_snapshot_servers(bool *taken)
{
	*taken = cover != NULL;
	return cover ? cover->servers : NIL;
}

static void
refuse_access(Oid serverid, Oid userid)
{
	const char *server = GetForeignServer(serverid)->servername;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the snapshot of the transaction does not cover server \"%s\"", server),
			 list_member_oid(cover->servers, serverid)
				 ? errdetail("It was taken for another user mapping than that of user \"%s\", "
							 "which is used here.",
							 GetUserNameFromId(userid, true))
				 : errdetail("What is read there would be of a later moment."),
			 list_member_oid(cover->servers, serverid)
				 ? errhint("Read through views of the user's own, or let a user mapping for PUBLIC "
						   "serve both.")
				 : errhint("Name it in braid.snapshot as well.")));
}

/*
 * Sessions that see no schema of users without naming it are those of tools that
 * other sessions use, as postgres_fdw, or that want a snapshot of their own, as pg_dump.
 */
static bool
is_tool_session(void)
{
	return strcmp(namespace_search_path, "pg_catalog") == 0 || namespace_search_path[0] == '\0' ||
		   strcmp(namespace_search_path, "\"\"") == 0;
}

bool
braid_xa_snapshot_is_default(void)
{
	return braid_default_snapshot[0] != '\0' && IsolationUsesXactSnapshot() &&
		   MyBackendType == B_BACKEND && !is_tool_session();
}

static void
refuse_without(Oid serverid)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("the transaction has no snapshot that covers server \"%s\"",
				GetForeignServer(serverid)->servername),
		 errdetail("\"braid.default_snapshot\" asks for one in each transaction of this isolation "
				   "level; it is taken at BEGIN, and cannot be taken after the first query."),
		 errhint("Use BEGIN, also for single statements, or READ COMMITTED, or set "
				 "braid.default_snapshot to an empty string.")));
}

void
braid_xa_snapshot_check_access(Oid serverid, Oid userid)
{
	if (cover)
	{
		if (!list_member_oid(cover->mappings, GetUserMapping(userid, serverid)->umid))
			refuse_access(serverid, userid);
	}
	else if (!taking && braid_xa_snapshot_is_default())
		refuse_without(serverid);
}

static void
end_of_transaction(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	cover = NULL;
	taking = attempted = false;
}

static void
end_of_subtransaction(SubXactEvent event)
{
	/* The snapshot itself stays, whatever subtransaction has taken it. */
	if (event == SUBXACT_EVENT_ABORT_SUB)
		taking = false;
}

void
braid_xa_snapshot_init(void)
{
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
	braid_xact_register_subxact(end_of_subtransaction);
	braid_xa_probe_init();
}
