/*
 * transaction.c
 *	  Transactions with one snapshot, which have to wait before they take it.
 *
 * NOTES
 *	  In REPEATABLE READ and SERIALIZABLE the first query takes the snapshot for all
 *	  of them, before anybody knows what it reads.  So these transactions wait when
 *	  they begin, for all views of which the settings, as they are then, promise
 *	  something.  The settings and the level may also be set after BEGIN and before
 *	  the first query: each such command is looked at.  A wait that ends in vain is
 *	  no error here, as the transaction may never read such a view; if it does, the
 *	  statement fails.  So does one whose transaction did not begin by a command:
 *	  a single statement, after COMMIT AND CHAIN, or with a snapshot of somebody else.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/xact.h"
#include "read/freshness.h"
#include "read/promise.h"
#include "read/session.h"
#include "read/transaction.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static ProcessUtility_hook_type previous_hook = NULL;

/* Of the running transaction, in its memory. */
static List *waited = NIL; /* views (oids) that were waited for */
static List *fresh = NIL;  /* those of them with success */
static bool has_foreign_snapshot = false;

/* ---------------------------------------------------------------- waiting */

static void
wait_before_snapshot(void)
{
	List *owed = NIL;
	MemoryContext old;
	ListCell *lc;

	if (!IsolationUsesXactSnapshot() || FirstSnapshotSet || RecoveryInProgress() ||
		!braid_roster_update())
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	foreach (lc, braid_roster_list())
	{
		RosterView *v = lfirst(lc);

		if (braid_promise_is_open(v) && !list_member_oid(waited, v->view))
			owed = lappend_oid(owed, v->view);
	}
	if (owed != NIL)
	{
		waited = list_concat(waited, owed);
		fresh = list_concat(fresh, braid_freshness_try(owed));
	}
	MemoryContextSwitchTo(old);
}

static void
report_not_waited(Oid view)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("continuous view \"%s\" cannot be brought up to date for a snapshot that has been "
				"taken",
				get_rel_name(view)),
		 errdetail("A transaction of this isolation level waits for views when it begins, by a "
				   "BEGIN or SET before its first query."),
		 errhint("Set braid.read first and then BEGIN, or begin with SET LOCAL braid.read; for "
				 "single statements, use READ COMMITTED.")));
}

static void
report_in_vain(Oid view)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("continuous view \"%s\" was not up to date when the transaction began",
					get_rel_name(view)),
			 errdetail("It did not come up to date within %d ms (braid.read_timeout), or was not "
					   "live; braid.views shows its state.",
					   braid_read_timeout),
			 errhint("Try the transaction again, or set braid.read to eventual.")));
}

bool
braid_read_transaction_is_foreign(void)
{
	return has_foreign_snapshot;
}

void
braid_read_transaction_check(List *views)
{
	ListCell *lc;

	foreach (lc, views)
	{
		if (has_foreign_snapshot || !list_member_oid(waited, lfirst_oid(lc)))
			report_not_waited(lfirst_oid(lc));
		if (!list_member_oid(fresh, lfirst_oid(lc)))
			report_in_vain(lfirst_oid(lc));
	}
}

/* ---------------------------------------------------------------- commands */

static bool
takes_snapshot(Node *stmt)
{
	VariableSetStmt *set = (VariableSetStmt *) stmt;

	return IsA(stmt, VariableSetStmt) && set->kind == VAR_SET_MULTI &&
		   strcmp(set->name, "TRANSACTION SNAPSHOT") == 0;
}

static void
process_utility(PlannedStmt *pstmt, const char *source_text, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node *stmt = pstmt->utilityStmt;
	bool begins = braid_xact_may_begin(stmt);
	bool commits_prepared = IsA(stmt, TransactionStmt) &&
							((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
	bool imports = takes_snapshot(stmt);

	if (previous_hook)
		previous_hook(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	if (imports)
		has_foreign_snapshot = true;
	if (commits_prepared)
		braid_read_session_commits_prepared();
	if (begins)
		wait_before_snapshot();
}

static void
end_of_transaction(XactEvent event)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		waited = fresh = NIL;
		has_foreign_snapshot = false;
	}
}

void
braid_read_transaction_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
}
