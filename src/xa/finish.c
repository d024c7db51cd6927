/*
 * finish.c
 *	  Commits and rolls back prepared branches on a participant.
 *
 * NOTES
 *	  COMMIT PREPARED of an unknown gid (42704): the branch wrote nothing and had
 *	  no xid, so that its COMMIT was an ordinary one, or an earlier attempt whose
 *	  answer was lost has finished it, or somebody has finished it by hand.  The
 *	  participant is asked what it knows of the last (heuristic.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/failpoint.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "xa/finish.h"
#include "xa/heuristic.h"
#include "xa/job.h"
#include "xa/node.h"
#include "xa/statistics.h"
#include "xa/sweep.h"
#include "xa/trace.h"
#include "xa/transaction.h"

static const XaJobKind finish;

/* A gid consists of letters, digits and colons, an xid of digits: nothing to quote. */
static char *
ask_command(const XaJob *job)
{
	char gid[BRAID_GID_LEN];

	return psprintf("SELECT * FROM braid_internal.branch_fate('%s', %s%s%s)",
					braid_gid_format(&job->gid, gid), job->xid[0] ? "'" : "",
					job->xid[0] ? job->xid : "NULL", job->xid[0] ? "'" : "");
}

static char *
command(XaSession *s, const XaJob *job)
{
	bool commit = job->kind == &finish || job->commit;
	char gid[BRAID_GID_LEN];

	if (job->asking)
		return ask_command(job);
	if (job->attempts > 0)
		braid_xa_stat_branch_retried(s->serverid);
	if (job->kind == &finish)
		BRAID_FAILPOINT("xa-finish");
	return psprintf("%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK",
					braid_gid_format(&job->gid, gid));
}

/*
 * There is no prepared transaction of that name: asks the participant what it
 * knows of it, for which the job goes on.
 */
static bool
ask_if_unknown(XaSession *s, XaJob *job, PGresult *r)
{
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (job->asking || !sqlstate || strcmp(sqlstate, "42704") != 0)
		return false;
	job->asking = true;
	braid_xa_job_queue_first(s, job);
	return true;
}

/* The answer to what became of an unknown gid. */
static XaVerdict
judge(XaSession *s, const XaJob *job, PGresult *r)
{
	MemoryContext caller = CurrentMemoryContext;
	XaVerdict verdict;

	StartTransactionCommand();
	verdict = braid_xa_heuristic_judge(s->serverid, &job->gid, r, 0);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	braid_xa_sweep_note_verdict(s, &job->gid, verdict);
	return verdict;
}

/* NULL if the command did its work; *verdict if it had none. */
static const char *
error_of(XaSession *s, const XaJob *job, PGresult *r, XaVerdict *verdict)
{
	*verdict = XA_VERDICT_NONE;
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		return braid_connection_line(PQresultErrorMessage(r));
	if (!job->asking)
		return NULL;
	*verdict = judge(s, job, r);
	switch (*verdict)
	{
		case XA_VERDICT_UNDER_WAY:
			return "somebody is finishing its branch by hand";
		case XA_VERDICT_CONTRADICTS:
			return "its branch was finished by hand, against the decision";
		case XA_VERDICT_UNKNOWN:
			return "its branch was finished by hand, and how is not known";
		default:
			return NULL;
	}
}

/* For the statistics: what a command that finishes a branch has done. */
static void
count_outcome(XaSession *s, BraidConnection *c, const XaJob *job, const char *error)
{
	int64 elapsed = GetCurrentTimestamp() - c->began;

	if (error)
		braid_xa_stat_branch_failed(s->serverid, error);
	else if (job->kind == &finish)
		braid_xa_stat_branch_finished(s->serverid, XA_STAT_BRANCH_COMMITTED, elapsed);
	else if (!job->asking)
		braid_xa_stat_branch_finished(s->serverid,
									  job->commit ? XA_STAT_BRANCH_RECOVERY_COMMITTED
												  : XA_STAT_BRANCH_RECOVERY_ROLLED_BACK,
									  elapsed);
}

/* ---------------------------------------------------------------- branches of commits */

static bool
end_finish(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	XaVerdict verdict;
	const char *error;

	if (ask_if_unknown(s, job, r))
		return false;
	error = error_of(s, job, r, &verdict);
	count_outcome(s, c, job, error);
	if (!error)
		braid_xa_trace_branch_committed(&job->gid, s->name);
	if (verdict == XA_VERDICT_CONTRADICTS || verdict == XA_VERDICT_UNKNOWN)
		braid_xa_transaction_by_hand(job->slot);
	braid_xa_transaction_branch_end(job->slot, job->gid.branch,
									error ? psprintf("server \"%s\": %s", s->name, error) : NULL);
	BRAID_FAILPOINT("xa-branch-finished");
	if (error)
		braid_xa_sweep_soon(s);
	return true;
}

static void
give_up_finish(XaSession *s, XaJob *job, const char *reason)
{
	braid_xa_stat_branch_failed(s->serverid, reason);
	braid_xa_transaction_branch_end(job->slot, job->gid.branch,
									psprintf("server \"%s\": %s", s->name, reason));
}

static const XaJobKind finish = {command, end_finish, give_up_finish};

void
braid_xa_finish_branch(XaSession *s, int slot, int branch)
{
	XaJob *job = braid_xa_job_make(&finish);

	job->slot = slot;
	job->gid = braid_xa_transaction_slot(slot)->gid;
	job->gid.branch = branch;

	/* After a start the first connection attempt is worth waiting for. */
	if (s->ready || !s->tried)
		braid_xa_job_queue(s, job);
	else
		braid_xa_job_give_up(s, job, "it is not ready");
}

/* ---------------------------------------------------------------- branches that a sweep has found */

static bool
end_recover(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	XaVerdict verdict;
	const char *error;
	bool committed;
	char gid[BRAID_GID_LEN];

	if (ask_if_unknown(s, job, r))
		return false;
	error = error_of(s, job, r, &verdict);
	committed = job->commit != (verdict == XA_VERDICT_CONTRADICTS);
	count_outcome(s, c, job, error);
	braid_gid_format(&job->gid, gid);
	if (error && verdict < XA_VERDICT_AGREES)
	{
		ereport(LOG, (errmsg("could not finish prepared transaction \"%s\" on server \"%s\": %s",
							 gid, s->name, error)));
		braid_xa_node_settle_finding(s->serverid, &job->gid, XA_FINDING_FAILED, error);
		braid_xa_sweep_branch_ends(s, false);
		return true;
	}

	/* If we had to ask, whoever was to finish it was faster than we: between P and A. */
	if (!job->asking)
		ereport(LOG, (errmsg("recovery has %s prepared transaction \"%s\" on server \"%s\"",
							 job->commit ? "committed" : "rolled back", gid, s->name)));
	braid_xa_node_settle_finding(s->serverid, &job->gid,
								 verdict == XA_VERDICT_UNKNOWN ? XA_FINDING_FAILED
								 : committed				   ? XA_FINDING_COMMITTED
															   : XA_FINDING_ROLLED_BACK,
								 error);
	braid_xa_sweep_branch_ends(s, true);
	return true;
}

static void
give_up_recover(XaSession *s, XaJob *job, const char *reason)
{
	braid_xa_stat_branch_failed(s->serverid, reason);
	braid_xa_node_settle_finding(s->serverid, &job->gid, XA_FINDING_FAILED, reason);
	braid_xa_sweep_branch_ends(s, false);
}

const XaJobKind braid_xa_recover_job = {command, end_recover, give_up_recover};
