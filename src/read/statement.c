/*
 * statement.c
 *	  Statements that read continuous views.
 *
 * NOTES
 *	  The views that a statement reads are known when its execution starts, and by
 *	  then it has a snapshot.  If it has to wait it needs another one, since what
 *	  the capture worker commits meanwhile is not in that.  Which depends on whose
 *	  the snapshot is:
 *
 *	  Of the statement alone, as in READ COMMITTED: it is exchanged, here.  Whoever
 *			runs the statement may have made the old one the active one, and the stack
 *			of active snapshots belongs to him; so the new one is pushed on top of it
 *			while the statement runs.  Parallel workers get the active one.
 *	  Of a statement around it, as in functions that are not VOLATILE: those of its
 *			statements that read views get another one, which is made once for each
 *			execution of the statement around, if that has not waited for the same
 *			views itself.  So such a function returns the same all the time, as it
 *			promises, and its view is up to date.
 *	  Of the transaction, as in REPEATABLE READ: it has waited before, or the
 *			statement fails; see transaction.c.
 *
 *	  Executions are therefore watched, in a stack on the C stack, as soon as a
 *	  setting or an option in this backend makes statements wait.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/compat.h"
#include "common/name.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "read/promise.h"
#include "read/roster.h"
#include "read/statement.h"
#include "read/transaction.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* A snapshot for statements within an execution, or its own, and the views that it is good for. */
typedef struct Later
{
	Snapshot snapshot; /* registered with the execution's owner */
	List *views;	   /* oids */
} Later;

typedef struct Execution
{
	QueryDesc *query;
	ResourceOwner owner;
	List *later; /* in the query's memory */
	bool is_pushed;
	struct Execution *outer;
} Execution;

/*
 * The statement that has waited last, until its execution begins; what is found
 * here is forgotten when another one is started in its place.
 */
static struct
{
	QueryDesc *query;
	List *views; /* oids, in TopMemoryContext */
} waited = {NULL, NIL};

static Execution *running = NULL; /* the innermost */
static bool watching = false;

static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;

void
braid_read_watch_statements(void)
{
	watching = true;
}

/* ---------------------------------------------------------------- what is read */

/* Our own workers read views when they make and compare them. */
static bool
am_own_worker(void)
{
	return MyBgworkerEntry && strcmp(MyBgworkerEntry->bgw_library_name, "braid") == 0;
}

/* What a parallel worker starts first is part of a statement that has waited. */
static bool
is_part_of_parallel(void)
{
	static bool started = false;

	if (!IsParallelWorker() || started)
		return false;
	started = true;
	return true;
}

/* Constants of type regclass, as in braid.wait('v'), are among the oids of a plan too. */
static bool
is_in_range_table(PlannedStmt *stmt, Oid view)
{
	ListCell *lc;

	foreach (lc, stmt->rtable)
		if (lfirst_node(RangeTblEntry, lc)->relid == view)
			return true;
	return false;
}

/* The continuous views that a statement reads, as RosterView, each once. */
static List *
find_views(PlannedStmt *stmt)
{
	List *views = NIL;
	ListCell *lc;

	if (stmt->relationOids == NIL || am_own_worker() || !braid_roster_update())
		return NIL;
	foreach (lc, stmt->relationOids)
	{
		RosterView *v = braid_roster_find(lfirst_oid(lc));

		if (v != NULL && is_in_range_table(stmt, v->view))
			views = list_append_unique_ptr(views, v);
	}
	return views;
}

static void
refuse_unpopulated(RosterView *v)
{
	const char *name = get_rel_name(v->view);
	const char *error = braid_roster_error(v);

	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("continuous view \"%s\" has not been populated", name),
					error ? errdetail("%s", error) : 0,
					v->standing->state == VIEW_BROKEN
						? errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW.")
					: v->standing->state == VIEW_PAUSED
						? errhint("It is paused: braid.resume() has it populated.")
						: errhint("SELECT braid.wait('%s') waits until it is.",
								  braid_relation_name(v->view))));
}

/* Tells a reader what he could not know from the rows. */
static void
tell(RosterView *v)
{
	RosterView *cause = braid_roster_not_live(v);
	TimestampTz now = GetCurrentStatementStartTimestamp();
	const char *error;

	if (cause == NULL)
		return;
	if (!v->standing->was_populated)
		refuse_unpopulated(v);
	if (v->warned == now)
		return;
	v->warned = now;
	if (cause->standing->state == VIEW_REBUILDING || cause->standing->state == VIEW_POPULATING)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("continuous view \"%s\" is being rebuilt", get_rel_name(cause->view)),
				 errdetail("What is read is as it was before.")));
	error = braid_roster_error(cause);
	if (cause->standing->state == VIEW_BROKEN)
		ereport(WARNING, (errcode(ERRCODE_WARNING),
						  errmsg("continuous view \"%s\" is broken", get_rel_name(cause->view)),
						  error ? errdetail("What is read is as it was before the error: %s", error)
								: errdetail("What is read is as it was before the error."),
						  errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW.")));
}

/* Of the views, those (oids) of which something is promised. */
static List *
find_promised(List *views)
{
	List *promised = NIL;
	ListCell *lc;

	foreach (lc, views)
		if (braid_promise_is_made(lfirst(lc)))
			promised = lappend_oid(promised, ((RosterView *) lfirst(lc))->view);
	return promised;
}

/* Of the views, those (oids) for which it has to be waited. */
static List *
find_owed(List *views)
{
	List *owed = NIL;
	ListCell *lc;

	foreach (lc, views)
	{
		RosterView *v = lfirst(lc);

		braid_promise_check_server(v);
		if (braid_promise_is_open(v))
			owed = lappend_oid(owed, v->view);
		else
			tell(v);
	}
	return owed;
}

/* ---------------------------------------------------------------- snapshots */

static void
use_snapshot(QueryDesc *query, Snapshot snapshot)
{
	snapshot = RegisterSnapshot(snapshot);
	UnregisterSnapshot(query->snapshot);
	query->snapshot = snapshot;
}

/* With the same commands of this transaction visible as before. */
static void
exchange_snapshot(QueryDesc *query)
{
	CommandId curcid = query->snapshot->curcid;

	use_snapshot(query, GetTransactionSnapshot());
	query->snapshot->curcid = curcid;
}

/* The execution whose snapshot the statement has been given; NULL if it has its own. */
static Execution *
find_lender(QueryDesc *query)
{
	return running && running->query->snapshot == query->snapshot ? running : NULL;
}

/* A snapshot that was made before for all of the views; NULL if none was. */
static Snapshot
find_later(Execution *e, List *views)
{
	ListCell *lc;

	foreach (lc, e->later)
	{
		Later *later = lfirst(lc);

		if (list_difference_oid(views, later->views) == NIL)
			return later->snapshot;
	}
	return NULL;
}

/* In the memory of the execution's query; the views are copied. */
static Snapshot
add_later(Execution *e, Snapshot snapshot, List *views)
{
	MemoryContext old = MemoryContextSwitchTo(e->query->estate->es_query_cxt);
	Later *later = palloc(sizeof(Later));

	later->views = list_copy(views);
	later->snapshot = RegisterSnapshotOnOwner(snapshot, e->owner);
	e->later = lappend(e->later, later);
	MemoryContextSwitchTo(old);
	return later->snapshot;
}

static Snapshot
make_later(Execution *e, List *views)
{
	Snapshot snapshot = add_later(e, GetTransactionSnapshot(), views);

	snapshot->curcid = e->query->snapshot->curcid;
	return snapshot;
}

static void
note_waited(QueryDesc *query, List *views)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	list_free(waited.views);
	waited.views = list_copy(views);
	waited.query = query;
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------- start */

static void
refuse_transactions_in_worker(void)
{
	if (IsParallelWorker() && IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous views cannot be brought up to date in a parallel worker "
							   "in this isolation level"),
						errhint("Mark the function that reads them as PARALLEL RESTRICTED.")));
}

static void
keep_promises(QueryDesc *query, List *views)
{
	Execution *lender = find_lender(query);
	List *promised = lender ? find_promised(views) : NIL;
	Snapshot later = promised ? find_later(lender, promised) : NULL;
	List *owed;

	if (later)
	{
		use_snapshot(query, later);
		return;
	}
	owed = find_owed(views);
	if (owed == NIL)
		return;
	if (IsolationUsesXactSnapshot())
	{
		refuse_transactions_in_worker();
		braid_read_transaction_check(owed);
		return;
	}
	watching = true;
	braid_promise_keep(owed);
	if (lender)
		use_snapshot(query, make_later(lender, owed));
	else
		exchange_snapshot(query);
	note_waited(query, owed);
}

static bool
may_read_views(QueryDesc *query, int eflags)
{
	return query->plannedstmt->relationOids != NIL && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) &&
		   !(eflags & EXEC_FLAG_WITH_NO_DATA) && query->snapshot &&
		   IsMVCCSnapshot(query->snapshot) && query->crosscheck_snapshot == InvalidSnapshot;
}

static void
executor_start(QueryDesc *query, int eflags)
{
	bool has_waited = is_part_of_parallel();

	if (waited.query == query)
		waited.query = NULL;
	if (!has_waited && may_read_views(query, eflags))
	{
		List *views = find_views(query->plannedstmt);

		if (views != NIL)
			keep_promises(query, views);
	}
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* ---------------------------------------------------------------- running */

static void
enter(Execution *e, QueryDesc *query)
{
	e->query = query;
	e->owner = CurrentResourceOwner;
	e->later = NIL;
	e->is_pushed = query->snapshot && IsMVCCSnapshot(query->snapshot) && ActiveSnapshotSet() &&
				   GetActiveSnapshot() != query->snapshot;
	e->outer = running;
	if (e->is_pushed)
		PushActiveSnapshot(query->snapshot);
	if (waited.query == query)
		(void) add_later(e, query->snapshot, waited.views);
	running = e;
}

/* After an error the end of the transaction does the same with the snapshots. */
static void
leave(Execution *e)
{
	ListCell *lc;

	foreach (lc, e->later)
		UnregisterSnapshotFromOwner(((Later *) lfirst(lc))->snapshot, e->owner);
	if (e->is_pushed)
		PopActiveSnapshot();
	running = e->outer;
}

static void
call_run(BRAID_EXECUTOR_RUN_PARAMS)
{
	if (previous_run)
		previous_run(BRAID_EXECUTOR_RUN_ARGS);
	else
		standard_ExecutorRun(BRAID_EXECUTOR_RUN_ARGS);
}

static void
executor_run(BRAID_EXECUTOR_RUN_PARAMS)
{
	Execution e;

	if (!watching)
	{
		call_run(BRAID_EXECUTOR_RUN_ARGS);
		return;
	}
	enter(&e, query);
	PG_TRY();
	{
		call_run(BRAID_EXECUTOR_RUN_ARGS);
	}
	PG_CATCH();
	{
		running = e.outer;
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave(&e);
}

static void
call_finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* Triggers are fired here. */
static void
executor_finish(QueryDesc *query)
{
	Execution e;

	if (!watching)
	{
		call_finish(query);
		return;
	}
	enter(&e, query);
	PG_TRY();
	{
		call_finish(query);
	}
	PG_CATCH();
	{
		running = e.outer;
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave(&e);
}

void
braid_read_statement_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = executor_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = executor_finish;
}
