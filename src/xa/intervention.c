/*
 * intervention.c
 *	  Participants: branches that somebody other than their coordinator finishes.
 *
 * NOTES
 *	  When the coordinator comes to finish such a branch it finds its gid
 *	  unknown, and has to learn what became of it.  So whoever finishes a branch
 *	  by hand leaves a row in braid_internal.interventions first: gid, xid of the
 *	  branch, what was asked for, who and when.  The row is committed before the
 *	  branch is touched, in a transaction of its own.  (Within one transaction
 *	  with it it would be committed after the branch, and a crash between the
 *	  two would leave a finished branch without a row.)
 *
 *	  So the row is an intention, not an outcome: a crash may come between, or
 *	  the command may fail, and the coordinator may finish the branch after all.
 *	  The outcome is what the log of transactions says of the branch's xid; the
 *	  row tells which xid that is, and who did it.  heuristic.c judges.
 *
 *	  COMMIT PREPARED cannot run in a function, because it cannot be rolled back
 *	  with the function's transaction, and neither can the row.  What
 *	  braid.xa_commit() and braid.xa_rollback() ask for is therefore done by a
 *	  background worker that runs for one branch.  It is handed a segment of
 *	  dynamic shared memory with the order, in which it leaves its answer.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "common/failpoint.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "xa/gid.h"
#include "xa/intervention.h"

PG_FUNCTION_INFO_V1(braid_sql_full_xid);
PG_FUNCTION_INFO_V1(braid_sql_finish_branch);

/* Order and answer of a finisher. */
typedef struct FinishOrder
{
	Oid dbid;
	bool commit;
	char gid[BRAID_GID_LEN];
	char who[NAMEDATALEN];
	bool done; /* answered; then an sqlstate of 0 is success */
	int sqlstate;
	char message[256];
} FinishOrder;

/* ---------------------------------------------------------------- record */

/* Inserts the row; a later intention for the same branch replaces an earlier one. */
static void
insert_record(const char *gid, bool commit, bool everything, const char *who)
{
	const char *owner = everything ? "" : psprintf(" AND p.ownerid = %u", GetUserId());

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	braid_superuser_execute(
		psprintf("INSERT INTO braid_internal.interventions (gid, xid, outcome, decided_by) "
				 "SELECT p.gid, braid_internal.full_xid(p.transaction), '%s', %s "
				 "FROM pg_catalog.pg_prepared_xact() p "
				 "WHERE p.gid = %s AND p.dbid = %u%s "
				 "ON CONFLICT (gid) DO UPDATE SET outcome = excluded.outcome, "
				 "decided_by = excluded.decided_by, decided_at = excluded.decided_at",
				 commit ? "commit" : "rollback", quote_literal_cstr(who), quote_literal_cstr(gid),
				 MyDatabaseId, owner));
	if (SPI_processed > 0)
		ereport(LOG, (errmsg("prepared transaction \"%s\" is %s by role \"%s\"", gid,
							 commit ? "committed" : "rolled back", who),
					  errdetail("Its coordinator has not decided that; it will be told.")));
	SPI_finish();
	PopActiveSnapshot();
}

void
braid_xa_intervention_record(const char *gid, bool commit, bool everything, const char *who)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!OidIsValid(get_extension_oid("braid", true)))
		return;

	/* Finishing is allowed where the session only reads by default. */
	XactReadOnly = false;
	insert_record(gid, commit, everything, who);
	ForceSyncCommit();
	CommitTransactionCommand();
	BRAID_FAILPOINT("xa-intervention-recorded");
	StartTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/* full_xid(xid) returns xid8: the transaction id with its epoch */
Datum
braid_sql_full_xid(PG_FUNCTION_ARGS)
{
	TransactionId xid = PG_GETARG_TRANSACTIONID(0);
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	/* A prepared one is less than 2^31 older than the next. */
	PG_RETURN_DATUM(UInt64GetDatum(next - (uint32) ((uint32) next - xid)));
}

/* ---------------------------------------------------------------- worker */

static void
carry_out(FinishOrder *order)
{
	StartTransactionCommand();
	braid_xa_intervention_record(order->gid, order->commit, true, order->who);
	FinishPreparedTransaction(order->gid, order->commit);
	CommitTransactionCommand();
}

/* Entry point of the background worker; arg: handle of the segment. */
void
braid_finisher_main(Datum arg)
{
	dsm_segment *segment;
	FinishOrder *order;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	segment = dsm_attach(DatumGetUInt32(arg));
	if (!segment)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the session that wants a branch to be finished does not wait for it")));
	order = dsm_segment_address(segment);
	BackgroundWorkerInitializeConnectionByOid(order->dbid, InvalidOid, 0);
	PG_TRY();
	{
		carry_out(order);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		order->sqlstate = error->sqlerrcode;
		strlcpy(order->message, error->message, sizeof(order->message));
		EmitErrorReport();
	}
	PG_END_TRY();
	order->done = true;
	proc_exit(0);
}

static BackgroundWorkerHandle *
start_finisher(dsm_segment *segment)
{
	BackgroundWorker w = {0};
	BackgroundWorkerHandle *handle;

	w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(w.bgw_library_name, "braid", sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "braid_finisher_main", sizeof(w.bgw_function_name));
	strlcpy(w.bgw_name, "braid finisher", sizeof(w.bgw_name));
	strlcpy(w.bgw_type, "braid finisher", sizeof(w.bgw_type));
	w.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	w.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&w, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not finish the branch: no background worker slot is free"),
				 errhint("Run COMMIT PREPARED or ROLLBACK PREPARED as a statement of its own, or "
						 "raise \"max_worker_processes\" and restart the server.")));
	return handle;
}

/*
 * finish_branch(gid text, commit bool, who name) returns void: finishes a
 * prepared branch, at once and whatever becomes of the current transaction.
 */
Datum
braid_sql_finish_branch(PG_FUNCTION_ARGS)
{
	char *gid = text_to_cstring(PG_GETARG_TEXT_PP(0));
	dsm_segment *segment = dsm_create(sizeof(FinishOrder), 0);
	FinishOrder *order = dsm_segment_address(segment);
	BackgroundWorkerHandle *handle;
	BraidGid parsed;

	if (!braid_gid_parse(gid, &parsed))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not the name of a branch of a global transaction", gid)));
	memset(order, 0, sizeof(*order));
	order->dbid = MyDatabaseId;
	order->commit = PG_GETARG_BOOL(1);
	strlcpy(order->gid, gid, sizeof(order->gid));
	strlcpy(order->who, NameStr(*PG_GETARG_NAME(2)), sizeof(order->who));

	handle = start_finisher(segment);
	(void) WaitForBackgroundWorkerShutdown(handle);
	if (!order->done)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("the worker that was to finish branch \"%s\" has ended early", gid),
						errhint("See the server log, and braid.branches for whether the branch "
								"is still prepared.")));
	if (order->sqlstate != 0)
		ereport(ERROR, (errcode(order->sqlstate), errmsg("%s", order->message),
						errcontext("finishing branch \"%s\"", gid)));
	dsm_detach(segment);
	PG_RETURN_VOID();
}
