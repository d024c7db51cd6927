/*
 * snapshot_fix.c
 *	  The participant's side of a snapshot over servers.
 *
 * NOTES
 *	  A coordinator has the transaction that postgres_fdw has begun here take its
 *	  snapshot by a RELEASE SAVEPOINT, before any query (snapshot_probe.c).  To
 *	  anybody else who uses a savepoint of such a name before the first query of a
 *	  transaction with one snapshot, it is taken a command earlier than usual.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"
#include "xa/snapshot_fix.h"

PG_FUNCTION_INFO_V1(braid_sql_snapshot_is_fixed);

static ProcessUtility_hook_type previous_hook = NULL;

/* The last transaction whose snapshot was taken here. */
static LocalTransactionId fixed_in = InvalidLocalTransactionId;

/* As postgres_fdw names its savepoints: s, and the depth. */
static bool
is_postgres_fdws(const char *savepoint)
{
	return savepoint[0] == 's' && savepoint[1] != '\0' &&
		   strspn(savepoint + 1, "0123456789") == strlen(savepoint + 1);
}

static bool
asks_for_snapshot(Node *stmt)
{
	TransactionStmt *t = (TransactionStmt *) stmt;

	return IsA(stmt, TransactionStmt) && t->kind == TRANS_STMT_RELEASE &&
		   IsolationUsesXactSnapshot() && !FirstSnapshotSet && !IsAbortedTransactionBlockState() &&
		   is_postgres_fdws(t->savepoint_name);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	bool asked = asks_for_snapshot(pstmt->utilityStmt);

	(previous_hook ? previous_hook : standard_ProcessUtility)(pstmt, query, read_only_tree, context,
															  params, env, dest, qc);
	if (!asked)
		return;
	BRAID_FAILPOINT("xa-snapshot-fix");
	(void) GetTransactionSnapshot();
	fixed_in = braid_compat_lxid(MyProc);
}

/* snapshot_is_fixed() returns bool */
Datum
braid_sql_snapshot_is_fixed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(fixed_in == braid_compat_lxid(MyProc));
}

void
braid_xa_snapshot_fix_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
