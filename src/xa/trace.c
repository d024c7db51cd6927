/*
 * trace.c
 *	  Log lines from which one global transaction can be followed over all servers.
 *
 * NOTES
 *	  The lines of a transaction in two phases, each on the server where it
 *	  happens:
 *
 *		coordinator	global transaction "G" begins
 *		coordinator	global transaction "G" prepares its branches
 *		participant	branch "G:0" is prepared
 *		coordinator	global transaction "G" is decided: commit
 *		participant	branch "G:0" is committed
 *		coordinator	branch "G:0" is committed on server "a"
 *		coordinator	global transaction "G" is finished
 *		coordinator	duration: ... ms  global transaction "G"
 *
 *	  What is logged after the commit record is formatted in ErrorContext, which
 *	  keeps memory in reserve, from what was allocated before.
 */
#include "postgres.h"

#include <limits.h>

#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "xa/branch.h"
#include "xa/trace.h"

#define US_PER_MS 1000.0

static bool log_transactions = false;
static int log_min_duration = -1; /* ms */

/*
 * The branches of the commit under way, for log lines; in TopTransactionContext.
 * NULL unless something may be logged.
 */
static char *description = NULL;

static char *
describe(List *branches)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	foreach (lc, branches)
	{
		XaBranch *b = lfirst(lc);
		ForeignServer *server = GetForeignServerExtended(b->serverid, FSV_MISSING_OK);

		/* A transaction can drop a server after it has written to it. */
		appendStringInfo(&text, "%s%d on server \"%s\"", text.len ? ", " : "", b->number,
						 server ? server->servername : "(dropped)");
	}
	MemoryContextSwitchTo(old);
	return text.data;
}

void
braid_xa_trace_begin(const BraidGid *gid)
{
	char text[BRAID_GID_LEN];

	if (log_transactions)
		ereport(LOG, (errmsg("global transaction \"%s\" begins",
							 braid_gid_format_transaction(gid, text)),
					  errhidestmt(true), errhidecontext(true)));
}

void
braid_xa_trace_commit(const BraidGid *gid, List *branches)
{
	char text[BRAID_GID_LEN];

	description = NULL;
	if (!log_transactions && log_min_duration < 0)
		return;
	description = describe(branches);
	if (log_transactions && gid)
		ereport(LOG,
				(errmsg("global transaction \"%s\" prepares its branches",
						braid_gid_format_transaction(gid, text)),
				 errdetail("Branches: %s.", description), errhidestmt(true), errhidecontext(true)));
}

void
braid_xa_trace_decided(const BraidGid *gid)
{
	char text[BRAID_GID_LEN];

	if (log_transactions)
		ereport(LOG, (errmsg("global transaction \"%s\" is decided: commit",
							 braid_gid_format_transaction(gid, text)),
					  errhidestmt(true), errhidecontext(true)));
}

void
braid_xa_trace_aborted(const BraidGid *gid)
{
	char text[BRAID_GID_LEN];

	if (log_transactions)
		ereport(LOG, (errmsg("global transaction \"%s\" is decided: rollback",
							 braid_gid_format_transaction(gid, text)),
					  errhidestmt(true), errhidecontext(true)));
}

static void
log_two_phases(const BraidGid *gid, const int64 *us)
{
	char text[BRAID_GID_LEN];

	ereport(LOG, (errmsg("duration: %.3f ms  global transaction \"%s\"",
						 us[XA_PHASE_TOTAL] / US_PER_MS, braid_gid_format_transaction(gid, text)),
				  errdetail("Enlist %.3f ms, prepare %.3f ms, local commit %.3f ms, wait %.3f ms; "
							"branches: %s.",
							us[XA_PHASE_ENLIST] / US_PER_MS, us[XA_PHASE_PREPARE] / US_PER_MS,
							us[XA_PHASE_LOCAL_COMMIT] / US_PER_MS, us[XA_PHASE_WAIT] / US_PER_MS,
							description),
				  errhidestmt(true), errhidecontext(true)));
}

void
braid_xa_trace_duration(const BraidGid *gid, const int64 *us)
{
	bool slow = log_min_duration >= 0 && us[XA_PHASE_TOTAL] >= log_min_duration * INT64CONST(1000);

	if (description && slow && gid)
		log_two_phases(gid, us);
	else if (description && slow)
		ereport(LOG,
				(errmsg("duration: %.3f ms  commit in one phase", us[XA_PHASE_TOTAL] / US_PER_MS),
				 errdetail("Branches: %s.", description), errhidestmt(true), errhidecontext(true)));
	description = NULL;
}

void
braid_xa_trace_branch_committed(const BraidGid *branch, const char *server)
{
	char text[BRAID_GID_LEN];

	if (log_transactions)
		ereport(LOG, (errmsg("branch \"%s\" is committed on server \"%s\"",
							 braid_gid_format(branch, text), server)));
}

void
braid_xa_trace_finished(const BraidGid *gid, bool left)
{
	char text[BRAID_GID_LEN];

	if (!log_transactions)
		return;
	braid_gid_format_transaction(gid, text);
	ereport(LOG, (left ? errmsg("global transaction \"%s\" is left to recovery", text)
					   : errmsg("global transaction \"%s\" is finished", text)));
}

void
braid_xa_trace_prepared(const char *branch)
{
	if (log_transactions)
		ereport(LOG, (errmsg("branch \"%s\" is prepared", branch), errhidestmt(true),
					  errhidecontext(true)));
}

void
braid_xa_trace_prepared_finished(const char *branch, bool commit)
{
	if (log_transactions)
		ereport(LOG, (commit ? errmsg("branch \"%s\" is committed", branch)
							 : errmsg("branch \"%s\" is rolled back", branch),
					  errhidestmt(true), errhidecontext(true)));
}

void
braid_xa_trace_init(void)
{
	DefineCustomBoolVariable(
		"braid.xa_log_transactions",
		"Logs each step of global transactions, here and as a participant, with their gid.", NULL,
		&log_transactions, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.xa_log_min_duration",
		"Sets the time from which on a COMMIT over foreign servers is logged with its phases.",
		"-1 logs none, 0 all.", &log_min_duration, -1, -1, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL,
		NULL, NULL);
}
