/*
 * restore_point.c
 *	  braid.create_restore_point(): one point in time of all nodes.
 *
 * NOTES
 *	  At the point no global transaction is committed on some nodes and not on
 *	  others, nor prepared anywhere and decided.  The steps, and why each is
 *	  enough for the next (README.md has the argument as a whole):
 *
 *	  1. Lock the decision tables.  A transaction with two phases inserts its
 *		 decision before the first PREPARE and keeps the lock that this takes
 *		 until it has committed here.  So when we have our locks, none is
 *		 between its first PREPARE and its decision, and none gets there before
 *		 we let go.
 *	  2. Wait until none is committing: whatever was decided is finished, or was
 *		 left to a sweep.  (The state is set before the lock is released.)
 *	  3. Sweep each server.  What is prepared there now and was decided, then or
 *		 before a restart, is finished by this sweep, or the sweep fails and is
 *		 repeated.
 *	  4. Make the point on each server and here.
 *
 *	  A branch that is prepared at the point is of a transaction that has been
 *	  rolled back here (its PREPARE can still arrive after 3): there is no
 *	  decision at the point either, and whoever restores rolls it back.
 *
 *	  A point can be used when its log segment has been archived.  So segments are
 *	  ended, after all points have been made: that writes the rest of a segment,
 *	  and nobody should wait for it.
 *
 *	  The locks are let go before the function returns.  While they are held,
 *	  COMMITs with two phases wait.  Ours may wait for a transaction whose
 *	  PREPARE waits for a lock that one of those holds: the wait has a limit,
 *	  whether or not somebody sees that circle.
 *
 *	  The points of the servers are made over the resolver's connections: the
 *	  caller needs no rights there.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "common/failpoint.h"
#include "common/lock.h"
#include "common/wait.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "xa/decision.h"
#include "xa/node.h"
#include "xa/server.h"
#include "xa/transaction.h"

PG_FUNCTION_INFO_V1(braid_sql_create_restore_point);
PG_FUNCTION_INFO_V1(braid_sql_create_restore_point_here);
PG_FUNCTION_INFO_V1(braid_sql_switch_wal);

#define POLL_MS 5

/* create_restore_point(name text) returns pg_lsn: on this server alone */
Datum
braid_sql_create_restore_point_here(PG_FUNCTION_ARGS)
{
	Datum lsn = DirectFunctionCall1(pg_create_restore_point, PG_GETARG_DATUM(0));

	/* That inserts the record and no more. */
	XLogFlush(DatumGetLSN(lsn));
	return lsn;
}

/* switch_wal() returns pg_lsn: where the segment ends */
Datum
braid_sql_switch_wal(PG_FUNCTION_ARGS)
{
	PreventCommandDuringRecovery("braid_internal.switch_wal()");
	PG_RETURN_LSN(RequestXLogSwitch(false));
}

static int
milliseconds_to(TimestampTz deadline)
{
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	return (int) Min(left, INT_MAX / 2);
}

static const char *
server_name(Oid serverid)
{
	return GetForeignServer(serverid)->servername;
}

/*
 * Locks the decision tables, within the time that is left or lock_timeout,
 * whichever is shorter.
 */
static void
block_decisions(TimestampTz deadline)
{
	int level = braid_lock_limit_begin(milliseconds_to(deadline));

	braid_xa_decision_block();
	braid_lock_limit_end(level);
}

static bool
any_committing(void)
{
	XaTransaction *t = palloc(sizeof(XaTransaction));
	bool found = false;

	for (int i = 0; !found && braid_xa_transaction_read(i, t); i++)
		found = t->dbid == MyDatabaseId && t->state == XA_COMMITTING;
	pfree(t);
	return found;
}

/* Sleeps a moment; raises the error if there is no time left. */
static void
nap(TimestampTz deadline, const char *detail)
{
	if (milliseconds_to(deadline) <= 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("could not create a restore point in time"), errdetail("%s", detail),
						errhint("See braid.transactions.")));
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
					 braid_wait_begin(BRAID_WAIT_RESTORE_POINT));
	braid_wait_end();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
wait_for_committing(TimestampTz deadline)
{
	while (any_committing())
		nap(deadline, "Committed transactions are being finished.");
}

static void
raise_not_ready(Oid serverid, const XaNode *node)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("could not create a restore point because server \"%s\" is not ready",
					server_name(serverid)),
			 node->reason[0] ? errdetail("The reason is: %s.", node->reason) : 0,
			 node->hint[0] ? errhint("%s", node->hint) : errhint("See braid.participants.")));
}

/* Sweeps the server until all that was decided is finished there. */
static void
settle_server(Oid serverid, uint64 request, TimestampTz deadline)
{
	for (;;)
	{
		XaNode node;

		bool swept =
			request != 0 && braid_xa_node_wait_sweep(serverid, request, milliseconds_to(deadline));

		if (!braid_xa_node_find(serverid, &node) || !node.ready)
			raise_not_ready(serverid, &node);
		if (swept && node.clean)
			return;
		nap(deadline,
			psprintf("Server \"%s\" has branches that are not finished.", server_name(serverid)));
		request = braid_xa_node_request_sweep(MyDatabaseId, serverid);
	}
}

static void
settle_servers(List *servers, TimestampTz deadline)
{
	uint64 *requests = palloc(sizeof(uint64) * (list_length(servers) + 1));
	ListCell *lc;

	/* All at the same time. */
	foreach (lc, servers)
		requests[foreach_current_index(lc)] =
			braid_xa_node_request_sweep(MyDatabaseId, lfirst_oid(lc));
	foreach (lc, servers)
		settle_server(lfirst_oid(lc), requests[foreach_current_index(lc)], deadline);
	pfree(requests);
}

/*
 * The decision tables are locked, all that was decided is finished.  From here
 * on some nodes may have the point when an error ends us.
 */
static void
create_points(const char *name, List *servers, TimestampTz deadline, ReturnSetInfo *rsi)
{
	uint64 *requests = palloc(sizeof(uint64) * (list_length(servers) + 1));
	ListCell *lc;
	Datum lsn;

	foreach (lc, servers)
		requests[foreach_current_index(lc)] = braid_xa_node_request_point(lfirst_oid(lc), name);
	lsn = DirectFunctionCall1(braid_sql_create_restore_point_here, CStringGetTextDatum(name));
	braid_xa_server_return(rsi, NULL, lsn);
	foreach (lc, servers)
	{
		XaNodePoint point;

		if (!braid_xa_node_wait_point(lfirst_oid(lc), requests[foreach_current_index(lc)],
									  milliseconds_to(deadline), &point))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("could not create restore point \"%s\" on server \"%s\"", name,
							server_name(lfirst_oid(lc))),
					 point.error[0] ? errdetail("%s", point.error)
									: errdetail("It did not answer in time."),
					 errhint("Use another name for the next attempt: other servers have a restore "
							 "point of this name now.")));
		braid_xa_server_return(rsi, server_name(lfirst_oid(lc)), LSNGetDatum(point.lsn));
	}
	pfree(requests);
}

static char *
check_name(FunctionCallInfo fcinfo)
{
	char *name;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("name and time-out of a restore point must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (name[0] == '\0' || strlen(name) >= MAXFNAMELEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("name of a restore point must have between 1 and %d bytes",
							   MAXFNAMELEN - 1)));
	return name;
}

/* create_restore_point(name text, timeout interval) returns setof (server, lsn) */
Datum
braid_sql_create_restore_point(PG_FUNCTION_ARGS)
{
	char *name = check_name(fcinfo);
	TimestampTz deadline = DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), PG_GETARG_DATUM(1)));
	List *servers;
	ListCell *lc;

	PreventCommandDuringRecovery("braid.create_restore_point()");
	InitMaterializedSRF(fcinfo, 0);

	/* Nobody needs to be stopped to find out that it will not work. */
	foreach (lc, braid_xa_server_list(InvalidOid))
		braid_xa_node_wait_ready(lfirst_oid(lc), braid_xa_server_address(lfirst_oid(lc)));

	block_decisions(deadline);

	/* A server that comes later has no decided transaction yet. */
	servers = braid_xa_server_list(InvalidOid);
	wait_for_committing(deadline);
	settle_servers(servers, deadline);
	BRAID_FAILPOINT("xa-restore-point");
	create_points(name, servers, deadline, (ReturnSetInfo *) fcinfo->resultinfo);
	braid_xa_decision_unblock();

	/* The segment takes a while to fill up: the servers do it meanwhile (session.c). */
	(void) RequestXLogSwitch(false);
	return (Datum) 0;
}
