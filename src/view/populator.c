/*
 * populator.c
 *	  The process that populates one view beside the capture worker.
 *
 * NOTES
 *	  Locks come before the snapshot, as in a cycle, and for the same reason: who
 *	  truncates or rewrites a table does not respect snapshots.  Which tables to
 *	  lock follows from the view's definition, so it is read twice; if it says
 *	  something else under the locks, this attempt has failed.
 *
 *	  The lock on the states keeps out another process that populates the view,
 *	  and not the capture worker, which does not touch them meanwhile.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "view/attempt.h"
#include "view/bulk.h"
#include "view/feed.h"
#include "view/follow.h"
#include "view/keeper.h"
#include "view/population.h"

extern PGDLLEXPORT void braid_populator_main(Datum arg);

static List *
stateful_nodes(ViewPlan *plan)
{
	List *nodes = NIL;
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (braid_node_is_stateful(lfirst(lc)))
			nodes = lappend(nodes, lfirst(lc));
	return nodes;
}

/*
 * A state that is only ever recomputed may depend on the order in which rows are
 * read, as sums of float4 do: then it is read as the capture worker would.
 */
static bool
may_be_parallel(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (((ViewNode *) lfirst(lc))->strategy == STRATEGY_AFFECTED_KEYS)
			return false;
	return true;
}

/* What is locked until the end: tables, and states. */
typedef struct Locks
{
	List *tables;
	List *states;
} Locks;

/* In the caller's memory. */
static bool
find_locks(int id, Locks *locks, MemoryContext context)
{
	KeptView *v;
	MemoryContext old;

	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	v = braid_keeper_load_one(id);
	if (v)
	{
		old = MemoryContextSwitchTo(context);
		locks->tables = list_copy(v->plan->tables);
		locks->states = list_copy(v->states);
		MemoryContextSwitchTo(old);
	}
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	return v != NULL;
}

static void
take_locks(Locks *locks)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, locks->tables)
	{
		LockRelationOid(lfirst_oid(lc), AccessShareLock);
		foreach (lc2, braid_capture_members(lfirst_oid(lc)))
			LockRelationOid(lfirst_oid(lc2), AccessShareLock);
	}
	foreach (lc, locks->states)
		LockRelationOid(lfirst_oid(lc), ShareUpdateExclusiveLock);
}

/* As the view's owner. */
static void
populate(KeptView *v, void *arg)
{
	braid_bulk_begin(may_be_parallel(v->plan));
	braid_population_report_steps(list_length(stateful_nodes(v->plan)));
	braid_follow_populate(v);
	BRAID_FAILPOINT("view-populated");
}

static void
store_result(int view, int64 token, const char *error)
{
	Oid types[4] = {INT4OID, INT8OID, TEXTOID, TEXTOID};
	Datum args[4] = {Int32GetDatum(view), Int64GetDatum(token)};
	char nulls[4] = {' ', ' ', ' ', error ? ' ' : 'n'};
	BraidFrontier s0;

	braid_frontier_from_snapshot(&s0, GetActiveSnapshot());
	args[2] = CStringGetTextDatum(braid_frontier_format(&s0));
	if (error)
		args[3] = CStringGetTextDatum(error);
	SPI_execute_with_args(
		"INSERT INTO braid_internal.populations VALUES ($1, $2, $3::pg_snapshot, $4) "
		"ON CONFLICT (id) DO UPDATE SET token = excluded.token, frontier = excluded.frontier, "
		"error = excluded.error",
		4, types, args, nulls, false, 0);
}

/* Returns whether there is a result, be it an error. */
static bool
populate_under_locks(int view, int64 token, Locks *locks)
{
	KeptView *v;
	bool same;

	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	take_locks(locks);
	PushActiveSnapshot(GetTransactionSnapshot());
	BRAID_FAILPOINT("view-populate");
	SPI_connect();
	v = braid_keeper_load_one(view);
	same = v && equal(v->plan->tables, locks->tables) && equal(v->states, locks->states);
	if (same)
	{
		char *error = braid_attempt_as_owner(v, populate, NULL);

		store_result(view, token, error);
		if (v->feed && !error)
			braid_feed_store(v->feed);
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return same;
}

static void
set_up(int64 *token)
{
	Oid dbid;

	memcpy(token, MyBgworkerEntry->bgw_extra, sizeof(*token));
	memcpy(&dbid, MyBgworkerEntry->bgw_extra + sizeof(*token), sizeof(dbid));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dbid, InvalidOid, 0);
	pgstat_report_appname("braid populate");
	braid_capture_use_settings();

	/* What we write need not be decoded. */
	replorigin_session_origin = DoNotReplicateId;
}

void
braid_populator_main(Datum arg)
{
	Locks locks = {NIL, NIL};
	int64 token;
	int view;

	set_up(&token);
	if (!braid_population_attach(DatumGetInt32(arg), token, &view))
		return;
	pgstat_report_activity(STATE_RUNNING, psprintf("populating continuous view %d", view));
	if (find_locks(view, &locks, TopMemoryContext) && populate_under_locks(view, token, &locks))
		braid_population_set_done();
}
