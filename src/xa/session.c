/*
 * session.c
 *	  The resolver's dealings with one participant.
 *
 * NOTES
 *	  The first connection is special: over it the participant is verified, it
 *	  holds the advisory lock that keeps a clone of this coordinator out, and it
 *	  sweeps.  While it stands the participant is ready; when it is lost all is
 *	  closed and begun anew.  Further connections are opened while commands
 *	  queue up, the lowest idle one is used first, and the loss of one costs no
 *	  more than sending its command again on another.
 *
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
 *	  COMMIT PREPARED of an unknown gid (42704): the branch wrote nothing and had
 *	  no xid, so that its COMMIT was an ordinary one, or an earlier attempt whose
 *	  answer was lost has finished it, or somebody has finished it by hand.  The
 *	  participant is asked what it knows of the last (heuristic.c).  A sweep asks
 *	  for that too, in the same command as for P and after it:
 *
 *		H  the gids that were finished by hand on the participant
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "common/failpoint.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "xa/checkup.h"
#include "xa/deadlock.h"
#include "xa/decision.h"
#include "xa/heuristic.h"
#include "xa/session.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/trace.h"
#include "xa/transaction.h"
#include "xa/verify.h"

#define MIN_RETRY_MS 50
#define MAX_RETRY_MS 1000
#define MIN_SWEEP_DELAY_MS 50
#define MAX_ATTEMPTS 3

typedef enum JobKind
{
	JOB_VERIFY,
	JOB_CLAIM,
	JOB_SWEEP,
	JOB_CHECKUP, /* what the participant says of itself */
	JOB_WAITS,	 /* list lock waits for the detector of deadlocks */
	JOB_FINISH,	 /* commit a branch of a transaction under way */
	JOB_RECOVER, /* commit or roll back what a sweep has found */
	JOB_POINT,	 /* make a restore point */
	JOB_SWITCH,	 /* let the segment with it be archived */
	JOB_FORGET	 /* the participant's row of an intervention */
} JobKind;

typedef struct Job
{
	dlist_node node; /* in XaSession.jobs */
	JobKind kind;
	BraidGid gid;	 /* FINISH, RECOVER, FORGET */
	uint64 question; /* CHECKUP */
	uint64 point;	 /* POINT: number of the request */
	int slot;		 /* FINISH */
	bool commit;	 /* RECOVER */
	uint32 round;	 /* WAITS */
	char xid[24];	 /* RECOVER: of the branch */
	bool asking;	 /* FINISH, RECOVER: the gid is unknown; what became of it? */
	int attempts;
} Job;

static void fail_connection(XaSession *s, XaConnection *c, const char *reason);
static void note_verdict(XaSession *s, const Job *job, XaVerdict verdict);

static XaConnection *
control(XaSession *s)
{
	return &s->connections[0];
}

XaSession *
braid_xa_session_create(Oid serverid, const char *name, const XaIdentity *identity,
						const XaConnectionOptions *options)
{
	XaSession *s = palloc0(sizeof(XaSession));

	s->context = CurrentMemoryContext;
	s->serverid = serverid;
	s->name = pstrdup(name);
	s->identity = *identity;
	s->options = *options;
	s->retry_ms = MIN_RETRY_MS;
	s->sweep_delay_ms = MIN_SWEEP_DELAY_MS;
	dlist_init(&s->jobs);
	return s;
}

/* ---------------------------------------------------------------- jobs */

static Job *
make_job(JobKind kind)
{
	Job *job = MemoryContextAllocZero(TopMemoryContext, sizeof(Job));

	job->kind = kind;
	return job;
}

static void
queue_job(XaSession *s, Job *job)
{
	dlist_push_tail(&s->jobs, &job->node);
	s->njobs++;
}

/* The job will not be done: recovery takes over. */
static void
give_up_job(XaSession *s, Job *job, const char *reason)
{
	switch (job->kind)
	{
		case JOB_FINISH:
			braid_xa_stat_branch_failed(s->serverid, reason);
			braid_xa_transaction_branch_end(job->slot, job->gid.branch,
											psprintf("server \"%s\": %s", s->name, reason));
			break;
		case JOB_RECOVER:
			braid_xa_stat_branch_failed(s->serverid, reason);
			braid_xa_node_settle_finding(s->serverid, &job->gid, XA_FINDING_FAILED, reason);
			s->sweep_failed = true;
			s->recovering--;
			break;
		case JOB_POINT:
			braid_xa_node_point_done(s->serverid, job->point, InvalidXLogRecPtr, reason);
			break;
		case JOB_WAITS:
			s->waits_pending = false;
			braid_xa_deadlock_receive(s->serverid, s->name, job->round, NULL);
			break;
		default:
			break;
	}
	pfree(job);
}

/* A gid consists of letters, digits and colons, an xid of digits: nothing to quote. */
static char *
job_command(const Job *job)
{
	char gid[BRAID_GID_LEN];

	braid_gid_format(&job->gid, gid);
	if (job->kind == JOB_FORGET)
		return psprintf("SELECT braid_internal.forget_intervention('%s')", gid);
	if (job->asking)
		return psprintf("SELECT * FROM braid_internal.branch_fate('%s', %s%s%s)", gid,
						job->xid[0] ? "'" : "", job->xid[0] ? job->xid : "NULL",
						job->xid[0] ? "'" : "");
	return psprintf("%s PREPARED '%s'",
					job->kind == JOB_FINISH || job->commit ? "COMMIT" : "ROLLBACK", gid);
}

static void
send_job(XaSession *s, XaConnection *c, Job *job)
{
	char *sql = job_command(job);
	bool sent;

	if (job->attempts++ > 0 && !job->asking)
		braid_xa_stat_branch_retried(s->serverid);
	if (job->kind == JOB_FINISH && !job->asking)
		BRAID_FAILPOINT("xa-finish");
	sent = braid_xa_connection_send(c, sql);
	pfree(sql);
	c->job = job;
	if (!sent)
		fail_connection(s, c, PQerrorMessage(c->pg));
}

/* Hands queued jobs to idle connections; opens another one if all are busy. */
static void
dispatch(XaSession *s, TimestampTz now)
{
	int opening = 0;

	for (int i = 0; i < braid_xa_resolver_connections && s->njobs > 0 && s->ready; i++)
	{
		XaConnection *c = &s->connections[i];

		if (c->state == XA_CONNECTION_IDLE)
		{
			Job *job = dlist_container(Job, node, dlist_pop_head_node(&s->jobs));

			s->njobs--;
			send_job(s, c, job);
		}
		else if (c->state == XA_CONNECTION_CONNECTING)
			opening++;
		else if (c->state == XA_CONNECTION_CLOSED && opening < s->njobs && s->more_at <= now)
		{
			const char *error;

			/* If it cannot be opened, the others do. */
			if (braid_xa_connection_open(c, &s->options, &error))
				opening++;
		}
	}
}

void
braid_xa_session_finish(XaSession *s, int slot, int branch)
{
	Job *job = make_job(JOB_FINISH);

	job->slot = slot;
	job->gid = braid_xa_transaction_slot(slot)->gid;
	job->gid.branch = branch;

	/* After a start the first connection attempt is worth waiting for. */
	if (s->ready || !s->tried)
		queue_job(s, job);
	else
		give_up_job(s, job, "it is not ready");
}

/* ---------------------------------------------------------------- failure */

void
braid_xa_session_close(XaSession *s, const char *reason, const char *hint)
{
	s->ready = false;
	s->tried = true;
	braid_xa_node_set_unready(s->serverid, reason, hint);
	for (int i = 0; i < BRAID_XA_MAX_CONNECTIONS; i++)
	{
		XaConnection *c = &s->connections[i];

		if (c->job)
			give_up_job(s, c->job, reason);
		braid_xa_connection_close(c);
	}
	while (!dlist_is_empty(&s->jobs))
		give_up_job(s, dlist_container(Job, node, dlist_pop_head_node(&s->jobs)), reason);
	s->njobs = 0;
	s->sweeping = false;
	s->recovering = 0;
	if (s->waits_asked != 0)
		braid_xa_deadlock_receive(s->serverid, s->name, s->waits_asked, NULL);
	s->waits_asked = 0;
	s->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), s->retry_ms);
	s->retry_ms = Min(s->retry_ms * 2, MAX_RETRY_MS);
}

/* libpq's message as one line. */
static char *
one_line(const char *message)
{
	char *copy = palloc(strlen(message) + 1);
	char *to = copy;

	for (const char *from = message; *from; from++)
	{
		char c = *from == '\n' || *from == '\t' ? ' ' : *from;

		if (c != ' ' || (to > copy && to[-1] != ' '))
			*to++ = c;
	}
	while (to > copy && to[-1] == ' ')
		to--;
	*to = '\0';
	return copy;
}

static void
close_unreachable(XaSession *s, const char *error)
{
	braid_xa_session_close(s, psprintf("could not connect to it: %s", error),
						   "Check its address, that it is up, that CREATE EXTENSION braid "
						   "was run there, and the user mapping for role \"" BRAID_XA_RESOLVER_ROLE
						   "\".");
}

static void
fail_connection(XaSession *s, XaConnection *c, const char *reason)
{
	char *line = one_line(reason);
	Job *job = c->job;

	if (c == control(s))
	{
		if (s->ready)
			ereport(LOG, (errmsg("lost the connection to server \"%s\": %s", s->name, line)));
		close_unreachable(s, line);
		return;
	}
	c->job = NULL;
	braid_xa_connection_close(c);
	s->more_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MAX_RETRY_MS);
	if (job && job->attempts < MAX_ATTEMPTS)
	{
		braid_xa_stat_branch_failed(s->serverid, line);
		queue_job(s, job);
	}
	else if (job)
		give_up_job(s, job, line);
}

/* ---------------------------------------------------------------- verify */

static void
refuse_without_password(XaSession *s)
{
	braid_xa_session_close(
		s, "its owner is not a superuser, and the resolver's connection does not use a password",
		"Give the password in the user mapping for role \"" BRAID_XA_RESOLVER_ROLE "\", "
		"or let a superuser own the server.");
}

static void
refuse_copy(XaSession *s)
{
	braid_xa_session_close(
		s, "this server is a copy of the coordinator's files that was not promoted",
		"If the original is lost for good, run braid.take_over(); to live beside it, "
		"run braid_internal.new_identity().");
}

static void
ask(XaSession *s, JobKind kind, const char *sql)
{
	XaConnection *c = control(s);

	c->job = make_job(kind);
	if (!braid_xa_connection_send(c, sql))
		fail_connection(s, c, PQerrorMessage(c->pg));
}

static void
begin_verify(XaSession *s)
{
	if (s->options.needs_password && !PQconnectionUsedPassword(control(s)->pg))
		refuse_without_password(s);
	else
		ask(s, JOB_VERIFY, braid_xa_verify_query());
}

/* false if the answer is none, or says that the participant cannot take part. */
static bool
passes(XaSession *s, PGresult *r, bool is_claim)
{
	const char *hint = NULL;
	const char *fault;

	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1)
		fault = one_line(PQresultErrorMessage(r));
	else if (is_claim)
		fault = braid_xa_verify_claim_fault(r, &hint);
	else
		fault = braid_xa_verify_fault(s->serverid, r, &hint);
	if (fault)
		braid_xa_session_close(s, fault, hint);
	return fault == NULL;
}

static void
end_verify(XaSession *s, PGresult *r)
{
	if (passes(s, r, false))
		ask(s, JOB_CLAIM, braid_xa_verify_claim(s->serverid, &s->identity));
}

static void
end_claim(XaSession *s, PGresult *r)
{
	if (!passes(s, r, true))
		return;
	s->ready = true;
	s->retry_ms = MIN_RETRY_MS;
	s->next_sweep = 0;
	s->sweep_delay_ms = MIN_SWEEP_DELAY_MS;
	braid_xa_node_set_ready(s->serverid, braid_xa_verify_version(r));
}

/* ---------------------------------------------------------------- sweep */

static void
begin_sweep(XaSession *s)
{
	XaConnection *c = control(s);
	char prefix[BRAID_GID_LEN];
	char *sql = psprintf("SELECT * FROM braid_internal.branches_of('%s')",
						 braid_gid_prefix(s->identity.coordinator, prefix));

	s->sweeping = true;
	s->sweep_failed = false;
	s->sweep_began = GetCurrentTimestamp();
	s->sweep_clean_before = s->sweep_began;
	s->sweep_requests = braid_xa_node_sweeps_requested(s->serverid);
	c->job = make_job(JOB_SWEEP);
	if (!braid_xa_connection_send(c, sql))
		fail_connection(s, c, PQerrorMessage(c->pg));
	pfree(sql);
}

static void
end_sweep_if_complete(XaSession *s)
{
	if (!s->sweeping || s->recovering > 0 ||
		(control(s)->job && ((Job *) control(s)->job)->kind == JOB_SWEEP))
		return;
	s->sweeping = false;
	braid_xa_node_sweep_done(s->serverid, s->sweep_requests,
							 s->sweep_failed ? 0 : s->sweep_clean_before, s->sweep_us);
	if (!s->sweep_failed)
		braid_xa_transaction_server_clean(MyDatabaseId, s->serverid, s->sweep_began);
	s->next_sweep = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), s->sweep_delay_ms);
	s->sweep_delay_ms = Min(s->sweep_delay_ms * 2, braid_xa_recovery_interval);
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
sift(XaSession *s, PGresult *p, Job **found, int *rows)
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
			Job *job = make_job(JOB_RECOVER);

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

/* Has the participant removed the row of an intervention that is no use any more? */
static void
queue_forget(XaSession *s, const BraidGid *gid)
{
	Job *job = make_job(JOB_FORGET);

	job->gid = *gid;
	queue_job(s, job);
}

/* Looks at T for those in P, judges those in H, and drops what is to be forgotten. */
static void
consult_decisions(XaSession *s, PGresult *p, int n, Job **found, const int *rows)
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
			note_verdict(s, found[i], braid_xa_heuristic_judge(s->serverid, &gids[i], p, rows[i]));
	}
	braid_xa_heuristic_forget(s->serverid, p);
	CommitTransactionCommand();
}

/* P and H have arrived: look at A, then at T, and settle what is to be settled. */
static void
settle(XaSession *s, PGresult *p)
{
	MemoryContext caller = CurrentMemoryContext;
	Job **found = palloc(sizeof(Job *) * (PQntuples(p) + 1));
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
		queue_job(s, found[i]);
	}
	pfree(found);
	pfree(rows);
}

static void
end_sweep_query(XaSession *s, PGresult *r)
{
	s->sweep_us = GetCurrentTimestamp() - s->sweep_began;
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		settle(s, r);
	else
	{
		ereport(LOG, (errmsg("could not list the prepared transactions of server \"%s\": %s",
							 s->name, one_line(PQresultErrorMessage(r)))));
		s->sweep_failed = true;
	}
}

/* ---------------------------------------------------------------- restore points */

/* Makes the restore point that is asked for, if there is one and nothing is under way. */
static void
tend_point(XaSession *s)
{
	XaConnection *c = control(s);
	XaNodePoint point;
	char *sql;

	if (!s->ready || c->state != XA_CONNECTION_IDLE ||
		!braid_xa_node_point_requested(s->serverid, s->point_request, &point))
		return;
	s->point_request = point.requested;
	sql =
		psprintf("SELECT braid_internal.create_restore_point(%s)", quote_literal_cstr(point.name));
	c->job = make_job(JOB_POINT);
	((Job *) c->job)->point = point.requested;
	if (!braid_xa_connection_send(c, sql))
		fail_connection(s, c, PQerrorMessage(c->pg));
	pfree(sql);
}

static void
begin_switch(XaSession *s, XaConnection *c)
{
	c->job = make_job(JOB_SWITCH);
	if (!braid_xa_connection_send(c, "SELECT braid_internal.switch_wal()"))
		fail_connection(s, c, PQerrorMessage(c->pg));
}

/* Nobody waits for it, and the segment will be full one day. */
static void
end_switch(XaSession *s, PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not end the log segment of server \"%s\": %s", s->name,
							 one_line(PQresultErrorMessage(r)))));
}

static void
end_point(XaSession *s, XaConnection *c, Job *job, PGresult *r)
{
	uint32 high;
	uint32 low;

	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 &&
		sscanf(PQgetvalue(r, 0, 0), "%X/%X", &high, &low) == 2)
	{
		braid_xa_node_point_done(s->serverid, job->point, (uint64) high << 32 | low, NULL);
		begin_switch(s, c);
	}
	else
		braid_xa_node_point_done(s->serverid, job->point, InvalidXLogRecPtr,
								 one_line(PQresultErrorMessage(r)));
}

/* ---------------------------------------------------------------- lock waits */

bool
braid_xa_session_ask_waits(XaSession *s, uint32 round, int min_age_ms)
{
	if (!s->ready || s->waits_pending)
		return false;
	s->waits_asked = round;
	s->waits_min_age_ms = min_age_ms;
	return true;
}

static void
begin_waits(XaSession *s)
{
	XaConnection *c = control(s);
	Job *job = make_job(JOB_WAITS);
	char *sql = psprintf("SELECT * FROM braid_internal.lock_waits(%d)", s->waits_min_age_ms);

	job->round = s->waits_asked;
	s->waits_asked = 0;
	s->waits_pending = true;
	c->job = job;
	if (!braid_xa_connection_send(c, sql))
		fail_connection(s, c, PQerrorMessage(c->pg));
	pfree(sql);
}

static void
end_waits(XaSession *s, Job *job, PGresult *r)
{
	s->waits_pending = false;
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not list the lock waits of server \"%s\": %s", s->name,
							 one_line(PQresultErrorMessage(r)))));
	braid_xa_deadlock_receive(s->serverid, s->name, job->round, r);
}

/* ---------------------------------------------------------------- check-up */

static long
tend_checkup(XaSession *s)
{
	XaConnection *c = control(s);
	Job *job;
	uint64 question;

	if (!s->ready || c->state != XA_CONNECTION_IDLE)
		return LONG_MAX;
	question = braid_xa_checkup_asked(s->serverid);
	if (question == 0)
		return LONG_MAX;
	job = make_job(JOB_CHECKUP);
	job->question = question;
	c->job = job;
	if (!braid_xa_connection_send(c, "SELECT braid_internal.xa_checkup_report()"))
		fail_connection(s, c, PQerrorMessage(c->pg));
	return LONG_MAX;
}

static void
end_checkup(XaSession *s, Job *job, PGresult *r)
{
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
		braid_xa_checkup_answer(s->serverid, job->question, PQgetvalue(r, 0, 0), NULL);
	else
		braid_xa_checkup_answer(s->serverid, job->question, NULL,
								one_line(PQresultErrorMessage(r)));
}

/* ---------------------------------------------------------------- results */

/*
 * There is no prepared transaction of that name: asks the participant what it
 * knows of it, for which the job goes on.
 */
static bool
ask_if_unknown(XaSession *s, Job *job, PGresult *r)
{
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if ((job->kind != JOB_FINISH && job->kind != JOB_RECOVER) || job->asking || !sqlstate ||
		strcmp(sqlstate, "42704") != 0)
		return false;
	job->asking = true;
	dlist_push_head(&s->jobs, &job->node);
	s->njobs++;
	return true;
}

static void
note_verdict(XaSession *s, const Job *job, XaVerdict verdict)
{
	if (verdict == XA_VERDICT_VOID)
		queue_forget(s, &job->gid);
	else if (verdict == XA_VERDICT_UNDER_WAY)
		s->sweep_failed = true;
}

/* The answer to what became of an unknown gid. */
static XaVerdict
judge(XaSession *s, const Job *job, PGresult *r)
{
	MemoryContext caller = CurrentMemoryContext;
	XaVerdict verdict;

	StartTransactionCommand();
	verdict = braid_xa_heuristic_judge(s->serverid, &job->gid, r, 0);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	note_verdict(s, job, verdict);
	return verdict;
}

/* NULL if the command did its work; *verdict if it had none. */
static const char *
finish_error(XaSession *s, const Job *job, PGresult *r, XaVerdict *verdict)
{
	*verdict = XA_VERDICT_NONE;
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		return one_line(PQresultErrorMessage(r));
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
count_outcome(XaSession *s, XaConnection *c, const Job *job, const char *error)
{
	int64 elapsed = GetCurrentTimestamp() - c->began;

	if (error)
		braid_xa_stat_branch_failed(s->serverid, error);
	else if (job->kind == JOB_FINISH)
		braid_xa_stat_branch_finished(s->serverid, XA_STAT_BRANCH_COMMITTED, elapsed);
	else if (!job->asking)
		braid_xa_stat_branch_finished(s->serverid,
									  job->commit ? XA_STAT_BRANCH_RECOVERY_COMMITTED
												  : XA_STAT_BRANCH_RECOVERY_ROLLED_BACK,
									  elapsed);
}

static void
end_finish(XaSession *s, XaConnection *c, Job *job, PGresult *r)
{
	XaVerdict verdict;
	const char *error = finish_error(s, job, r, &verdict);

	count_outcome(s, c, job, error);
	if (!error)
		braid_xa_trace_branch_committed(&job->gid, s->name);
	if (verdict == XA_VERDICT_CONTRADICTS || verdict == XA_VERDICT_UNKNOWN)
		braid_xa_transaction_by_hand(job->slot);
	braid_xa_transaction_branch_end(job->slot, job->gid.branch,
									error ? psprintf("server \"%s\": %s", s->name, error) : NULL);
	BRAID_FAILPOINT("xa-branch-finished");
	if (error)
	{
		/* Recovery has it now; do not make it wait for its turn. */
		s->sweep_delay_ms = MIN_SWEEP_DELAY_MS;
		s->next_sweep = Min(s->next_sweep,
							TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MIN_SWEEP_DELAY_MS));
	}
}

static void
end_recover(XaSession *s, XaConnection *c, Job *job, PGresult *r)
{
	XaVerdict verdict;
	const char *error = finish_error(s, job, r, &verdict);
	bool committed = job->commit != (verdict == XA_VERDICT_CONTRADICTS);
	char gid[BRAID_GID_LEN];

	count_outcome(s, c, job, error);
	braid_gid_format(&job->gid, gid);
	s->recovering--;
	if (error && verdict < XA_VERDICT_AGREES)
	{
		s->sweep_failed = true;
		ereport(LOG, (errmsg("could not finish prepared transaction \"%s\" on server \"%s\": %s",
							 gid, s->name, error)));
		braid_xa_node_settle_finding(s->serverid, &job->gid, XA_FINDING_FAILED, error);
		return;
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
}

/* A void row that stays is met by the next sweep. */
static void
end_forget(XaSession *s, Job *job, PGresult *r)
{
	char gid[BRAID_GID_LEN];

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not have server \"%s\" forget what was done by hand with "
							 "branch \"%s\": %s",
							 s->name, braid_gid_format(&job->gid, gid),
							 one_line(PQresultErrorMessage(r)))));
}

static void
process_result(XaSession *s, XaConnection *c)
{
	PGresult *r = braid_xa_connection_take_result(c);
	Job *job = c->job;

	c->job = NULL;
	if (ask_if_unknown(s, job, r))
	{
		PQclear(r);
		return;
	}
	switch (job->kind)
	{
		case JOB_VERIFY:
			end_verify(s, r);
			break;
		case JOB_CLAIM:
			end_claim(s, r);
			break;
		case JOB_SWEEP:
			end_sweep_query(s, r);
			break;
		case JOB_WAITS:
			end_waits(s, job, r);
			break;
		case JOB_CHECKUP:
			end_checkup(s, job, r);
			break;
		case JOB_FINISH:
			end_finish(s, c, job, r);
			break;
		case JOB_RECOVER:
			end_recover(s, c, job, r);
			break;
		case JOB_FORGET:
			end_forget(s, job, r);
			break;
		case JOB_POINT:
			end_point(s, c, job, r);
			break;
		case JOB_SWITCH:
			end_switch(s, r);
			break;
	}
	PQclear(r);
	pfree(job);
	end_sweep_if_complete(s);
}

void
braid_xa_session_advance(XaSession *s, XaConnection *c)
{
	switch (braid_xa_connection_advance(c))
	{
		case XA_OUTCOME_NONE:
			break;
		case XA_OUTCOME_CONNECTED:
			if (c == control(s))
				begin_verify(s);
			break;
		case XA_OUTCOME_RESULT:
			process_result(s, c);
			break;
		case XA_OUTCOME_FAILED:
			fail_connection(s, c, PQerrorMessage(c->pg));
			break;
	}
}

/* ---------------------------------------------------------------- tend */

/* Gives up what takes too long; returns the milliseconds to the next check. */
static long
check_time_outs(XaSession *s, TimestampTz now)
{
	long nap = LONG_MAX;

	for (int i = 0; i < BRAID_XA_MAX_CONNECTIONS; i++)
	{
		XaConnection *c = &s->connections[i];
		TimestampTz deadline;

		if (c->state != XA_CONNECTION_CONNECTING && c->state != XA_CONNECTION_BUSY)
			continue;
		deadline = TimestampTzPlusMilliseconds(c->began, braid_xa_finish_timeout);
		if (deadline <= now)
			fail_connection(s, c, "it does not answer");
		else
			nap = Min(nap, TimestampDifferenceMilliseconds(now, deadline) + 1);
	}
	return nap;
}

static long
tend_control(XaSession *s, TimestampTz now)
{
	const char *error;

	if (!braid_xa_resolver)
	{
		braid_xa_session_close(s, "\"braid.xa_resolver\" is off",
							   "Set it to on when the server's options lead to the right place.");
		return LONG_MAX;
	}
	if (control(s)->state != XA_CONNECTION_CLOSED)
		return LONG_MAX;
	if (s->retry_at > now)
		return TimestampDifferenceMilliseconds(now, s->retry_at) + 1;
	if (s->identity.is_copy)
	{
		refuse_copy(s);
		return s->retry_ms;
	}
	if (s->options.needs_password && !s->options.has_password)
	{
		refuse_without_password(s);
		return s->retry_ms;
	}
	if (!braid_xa_connection_open(control(s), &s->options, &error))
	{
		close_unreachable(s, one_line(error));
		return s->retry_ms;
	}
	return LONG_MAX;
}

static long
tend_sweep(XaSession *s, TimestampTz now)
{
	uint64 requests = braid_xa_node_sweeps_requested(s->serverid);

	if (!s->ready || s->sweeping)
		return LONG_MAX;
	if (requests != s->requests_seen)
	{
		s->requests_seen = requests;
		s->sweep_delay_ms = MIN_SWEEP_DELAY_MS;
		s->next_sweep = now;
	}
	if (s->next_sweep > now)
		return TimestampDifferenceMilliseconds(now, s->next_sweep) + 1;

	/* If it is busy, its result comes soon and brings us here again. */
	if (control(s)->state == XA_CONNECTION_IDLE)
		begin_sweep(s);
	return LONG_MAX;
}

long
braid_xa_session_tend(XaSession *s)
{
	TimestampTz now = GetCurrentTimestamp();
	long nap = check_time_outs(s, now);

	nap = Min(nap, tend_control(s, now));
	nap = Min(nap, tend_sweep(s, now));
	nap = Min(nap, tend_checkup(s));
	tend_point(s);
	if (s->waits_asked != 0 && control(s)->state == XA_CONNECTION_IDLE)
		begin_waits(s);
	dispatch(s, now);
	return nap;
}
