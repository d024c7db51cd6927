/*
 * sweep.c
 *	  Looks for prepared branches on a participant that nobody is going to finish.
 *
 * NOTES
 *	  A sweep looks for prepared branches that nobody is going to finish.  The
 *	  order of the three observations matters:
 *
 *		P  the gids that are prepared on the participant
 *		A  then: which of their transactions are under way here (transaction.h)
 *		T  then, with a new snapshot: which are decided
 *
 *	  A gid in P that is not in A: its transaction had ended when A was read, so
 *	  T, which is later, shows a decision if it has committed.  It is committed
 *	  if it is in T and rolled back otherwise.  (Were T read first, a transaction
 *	  could commit and leave A between the two: not in A, not in T, and rolled
 *	  back although it was committed.  Were A read before P, a transaction could
 *	  begin, prepare and still be open at T.)  A branch that gets prepared after
 *	  P was read is seen by the next sweep; after an abort sweeps follow each
 *	  other with growing intervals for that reason, since a PREPARE can still be
 *	  on its way on a connection that postgres_fdw has given up.
 *
 *	  In the same command as for P, and after it, a sweep asks for
 *
 *		H  the gids that were finished by hand on the participant
 *
 *	  which are judged like those in P that turn out to be gone (heuristic.c).
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "common/failpoint.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "xa/decision.h"
#include "xa/finish.h"
#include "xa/heuristic.h"
#include "xa/job.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/sweep.h"
#include "xa/transaction.h"

#define MIN_DELAY_MS 50

/* ---------------------------------------------------------------- forget */

static char *
forget_command(XaSession *s, const XaJob *job)
{
	char gid[BRAID_GID_LEN];

	return psprintf("SELECT braid_internal.forget_intervention('%s')",
					braid_gid_format(&job->gid, gid));
}

/* A void row that stays is met by the next sweep. */
static bool
end_forget(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	char gid[BRAID_GID_LEN];

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not have server \"%s\" forget what was done by hand with "
							 "branch \"%s\": %s",
							 s->name, braid_gid_format(&job->gid, gid),
							 braid_connection_line(PQresultErrorMessage(r)))));
	return true;
}

static const XaJobKind forget = {forget_command, end_forget, NULL};

/* Has the participant remove the row of an intervention that is of no use any more. */
static void
queue_forget(XaSession *s, const BraidGid *gid)
{
	XaJob *job = braid_xa_job_make(&forget);

	job->gid = *gid;
	braid_xa_job_queue(s, job);
}

void
braid_xa_sweep_note_verdict(XaSession *s, const BraidGid *gid, XaVerdict verdict)
{
	if (verdict == XA_VERDICT_VOID)
		queue_forget(s, gid);
	else if (verdict == XA_VERDICT_UNDER_WAY)
		s->sweep_failed = true;
}

/* ---------------------------------------------------------------- sweep */

static void
end_if_complete(XaSession *s)
{
	if (!s->sweeping || s->listing || s->recovering > 0)
		return;
	s->sweeping = false;
	braid_xa_node_sweep_done(s->serverid, s->sweep_requests,
							 s->sweep_failed ? 0 : s->sweep_clean_before, s->sweep_us);
	if (!s->sweep_failed)
		braid_xa_transaction_server_clean(MyDatabaseId, s->serverid, s->sweep_began);
	s->next_sweep = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), s->sweep_delay_ms);
	s->sweep_delay_ms = Min(s->sweep_delay_ms * 2, braid_xa_recovery_interval);
}

void
braid_xa_sweep_branch_ends(XaSession *s, bool settled)
{
	s->sweep_failed |= !settled;
	s->recovering--;
	end_if_complete(s);
}

/* A prepared transaction as the sweep's result shows it. */
static XaFinding
read_finding(XaSession *s, PGresult *p, int row, const BraidGid *gid)
{
	XaFinding f = {0};

	f.dbid = MyDatabaseId;
	f.serverid = s->serverid;
	f.gid = *gid;
	f.prepared = time_t_to_timestamptz(0) + atoll(PQgetvalue(p, row, XA_COLUMN_PREPARED));
	f.locks =
		PQgetisnull(p, row, XA_COLUMN_LOCKS) ? -1 : atoll(PQgetvalue(p, row, XA_COLUMN_LOCKS));
	f.xid_age = atoi(PQgetvalue(p, row, XA_COLUMN_XID_AGE));
	f.seen = s->sweep_began;
	return f;
}

/*
 * P or H, minus A: returns a RECOVER job for each gid that is recovery's
 * business (array of as many), with the row that it is in; notes what is
 * prepared and the others' business.
 */
static int
sift(XaSession *s, PGresult *p, XaJob **found, int *rows)
{
	int nfound = 0;

	for (int i = 0; i < PQntuples(p); i++)
	{
		bool prepared = !PQgetisnull(p, i, XA_COLUMN_PREPARED);
		BraidGid gid;
		XaFinding f;
		TimestampTz decided;
		bool live;

		if (!braid_gid_parse(PQgetvalue(p, i, XA_COLUMN_GID), &gid) ||
			gid.coordinator != s->identity.coordinator)
			continue;
		live = braid_xa_transaction_is_live(&gid, &decided);
		if (live)
			s->sweep_clean_before = Min(s->sweep_clean_before, decided);
		else
		{
			XaJob *job = braid_xa_job_make(&braid_xa_recover_job);

			job->gid = gid;
			job->asking = !prepared;
			strlcpy(job->xid, PQgetvalue(p, i, XA_COLUMN_XID), sizeof(job->xid));
			rows[nfound] = i;
			found[nfound++] = job;
		}
		if (!prepared)
			continue;
		f = read_finding(s, p, i, &gid);
		f.state = live ? XA_FINDING_ACTIVE : XA_FINDING_FAILED;
		braid_xa_node_add_finding(&f);
	}
	return nfound;
}

/* Looks at T for those in P, judges those in H, and drops what is to be forgotten. */
static void
consult_decisions(XaSession *s, PGresult *p, int n, XaJob **found, const int *rows)
{
	BraidGid *gids = palloc(sizeof(BraidGid) * n);
	bool *committed = palloc(sizeof(bool) * n);

	for (int i = 0; i < n; i++)
		gids[i] = found[i]->gid;
	StartTransactionCommand();
	if (n > 0)
		braid_xa_decision_look_up(n, gids, committed);
	for (int i = 0; i < n; i++)
	{
		found[i]->commit = committed[i];
		if (found[i]->asking)
			braid_xa_sweep_note_verdict(
				s, &gids[i], braid_xa_heuristic_judge(s->serverid, &gids[i], p, rows[i]));
	}
	braid_xa_heuristic_forget(s->serverid, p);
	CommitTransactionCommand();
}

/* P and H have arrived: look at A, then at T, and settle what is to be settled. */
static void
settle(XaSession *s, PGresult *p)
{
	MemoryContext caller = CurrentMemoryContext;
	XaJob **found = palloc(sizeof(XaJob *) * (PQntuples(p) + 1));
	int *rows = palloc(sizeof(int) * (PQntuples(p) + 1));
	int nfound;

	braid_xa_node_forget_findings(s->serverid);
	nfound = sift(s, p, found, rows);
	if (nfound > 0)
		BRAID_FAILPOINT("xa-sweep");
	consult_decisions(s, p, nfound, found, rows);
	MemoryContextSwitchTo(caller);
	for (int i = 0; i < nfound; i++)
	{
		if (found[i]->asking)
		{
			pfree(found[i]);
			continue;
		}
		s->recovering++;
		braid_xa_job_queue(s, found[i]);
	}
	pfree(found);
	pfree(rows);
}

static bool
end_sweep(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	s->listing = false;
	s->sweep_us = GetCurrentTimestamp() - s->sweep_began;
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		settle(s, r);
	else
	{
		ereport(LOG, (errmsg("could not list the prepared transactions of server \"%s\": %s",
							 s->name, braid_connection_line(PQresultErrorMessage(r)))));
		s->sweep_failed = true;
	}
	end_if_complete(s);
	return true;
}

static const XaJobKind sweep = {NULL, end_sweep, NULL};

static void
begin_sweep(XaSession *s)
{
	char prefix[BRAID_GID_LEN];
	char *sql = psprintf("SELECT * FROM braid_internal.branches_of('%s')",
						 braid_gid_prefix(s->identity.coordinator, prefix));

	s->sweeping = s->listing = true;
	s->sweep_failed = false;
	s->sweep_began = GetCurrentTimestamp();
	s->sweep_clean_before = s->sweep_began;
	s->sweep_requests = braid_xa_node_sweeps_requested(s->serverid);
	braid_xa_job_send(s, braid_xa_job_make(&sweep), sql);
	pfree(sql);
}

void
braid_xa_sweep_soon(XaSession *s)
{
	s->sweep_delay_ms = MIN_DELAY_MS;
	s->next_sweep =
		Min(s->next_sweep, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MIN_DELAY_MS));
}

void
braid_xa_sweep_start(XaSession *s)
{
	s->sweeping = s->listing = false;
	s->recovering = 0;
	s->next_sweep = 0;
	s->sweep_delay_ms = MIN_DELAY_MS;
}

long
braid_xa_sweep_tend(XaSession *s, TimestampTz now)
{
	uint64 requests = braid_xa_node_sweeps_requested(s->serverid);

	if (!s->ready || s->sweeping)
		return LONG_MAX;
	if (requests != s->requests_seen)
	{
		s->requests_seen = requests;
		s->sweep_delay_ms = MIN_DELAY_MS;
		s->next_sweep = now;
	}
	if (s->next_sweep > now)
		return TimestampDifferenceMilliseconds(now, s->next_sweep) + 1;

	/* If it is busy, its result comes soon and brings us here again. */
	if (braid_xa_job_may_send(s))
		begin_sweep(s);
	return LONG_MAX;
}
