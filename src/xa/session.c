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
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "xa/errand.h"
#include "xa/job.h"
#include "xa/session.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/sweep.h"
#include "xa/verify.h"

#define MIN_RETRY_MS 50
#define MAX_RETRY_MS 1000
#define MAX_ATTEMPTS 3

static void fail_connection(XaSession *s, BraidConnection *c, const char *reason);

static BraidConnection *
control(XaSession *s)
{
	return &s->connections[0];
}

XaSession *
braid_xa_session_create(Oid serverid, const char *name, const XaIdentity *identity,
						const BraidConnectionOptions *options)
{
	XaSession *s = palloc0(sizeof(XaSession));

	s->context = CurrentMemoryContext;
	s->serverid = serverid;
	s->name = pstrdup(name);
	s->identity = *identity;
	s->options = *options;
	s->retry_ms = MIN_RETRY_MS;
	dlist_init(&s->jobs);
	braid_xa_sweep_start(s);
	return s;
}

/* ---------------------------------------------------------------- jobs */

XaJob *
braid_xa_job_make(const XaJobKind *kind)
{
	XaJob *job = MemoryContextAllocZero(TopMemoryContext, sizeof(XaJob));

	job->kind = kind;
	return job;
}

void
braid_xa_job_queue(XaSession *s, XaJob *job)
{
	dlist_push_tail(&s->jobs, &job->node);
	s->njobs++;
}

void
braid_xa_job_queue_first(XaSession *s, XaJob *job)
{
	dlist_push_head(&s->jobs, &job->node);
	s->njobs++;
}

void
braid_xa_job_give_up(XaSession *s, XaJob *job, const char *reason)
{
	if (job->kind->give_up)
		job->kind->give_up(s, job, reason);
	pfree(job);
}

bool
braid_xa_job_may_send(XaSession *s)
{
	return s->ready && control(s)->state == BRAID_CONNECTION_IDLE;
}

static void
send_on(XaSession *s, BraidConnection *c, XaJob *job, const char *sql)
{
	c->job = job;
	job->attempts++;
	if (!braid_connection_send(c, sql))
		fail_connection(s, c, PQerrorMessage(c->pg));
}

void
braid_xa_job_send(XaSession *s, XaJob *job, const char *sql)
{
	send_on(s, control(s), job, sql);
}

static XaJob *
next_job(XaSession *s)
{
	s->njobs--;
	return dlist_container(XaJob, node, dlist_pop_head_node(&s->jobs));
}

/* Hands queued jobs to idle connections; opens another one if all are busy. */
static void
dispatch(XaSession *s, TimestampTz now)
{
	int opening = 0;

	for (int i = 0; i < braid_xa_resolver_connections && s->njobs > 0 && s->ready; i++)
	{
		BraidConnection *c = &s->connections[i];

		if (c->state == BRAID_CONNECTION_IDLE)
		{
			XaJob *job = next_job(s);
			char *sql = job->kind->command(s, job);

			send_on(s, c, job, sql);
			pfree(sql);
		}
		else if (c->state == BRAID_CONNECTION_CONNECTING)
			opening++;
		else if (c->state == BRAID_CONNECTION_CLOSED && opening < s->njobs && s->more_at <= now)
		{
			const char *error;

			/* If it cannot be opened, the others do. */
			if (braid_connection_open(c, &s->options, &error))
				opening++;
		}
	}
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
		BraidConnection *c = &s->connections[i];

		if (c->job)
			braid_xa_job_give_up(s, c->job, reason);
		braid_connection_close(c);
	}
	while (!dlist_is_empty(&s->jobs))
		braid_xa_job_give_up(s, next_job(s), reason);
	braid_xa_sweep_start(s);
	braid_xa_errand_end_all(s);
	s->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), s->retry_ms);
	s->retry_ms = Min(s->retry_ms * 2, MAX_RETRY_MS);
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
fail_connection(XaSession *s, BraidConnection *c, const char *reason)
{
	char *line = braid_connection_line(reason);
	XaJob *job = c->job;

	if (c == control(s))
	{
		if (s->ready)
			ereport(LOG, (errmsg("lost the connection to server \"%s\": %s", s->name, line)));
		close_unreachable(s, line);
		return;
	}
	c->job = NULL;
	braid_connection_close(c);
	s->more_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MAX_RETRY_MS);
	if (job && job->attempts < MAX_ATTEMPTS)
	{
		braid_xa_stat_branch_failed(s->serverid, line);
		braid_xa_job_queue(s, job);
	}
	else if (job)
		braid_xa_job_give_up(s, job, line);
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

/* false if the answer is none, or says that the participant cannot take part. */
static bool
passes(XaSession *s, PGresult *r, bool is_claim)
{
	const char *hint = NULL;
	const char *fault;

	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1)
		fault = braid_connection_line(PQresultErrorMessage(r));
	else if (is_claim)
		fault = braid_xa_verify_claim_fault(r, &hint);
	else
		fault = braid_xa_verify_fault(s->serverid, r, &hint);
	if (fault)
		braid_xa_session_close(s, fault, hint);
	return fault == NULL;
}

static bool
end_claim(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	if (!passes(s, r, true))
		return true;
	s->ready = true;
	s->retry_ms = MIN_RETRY_MS;
	braid_xa_sweep_start(s);
	braid_xa_node_set_ready(s->serverid, braid_xa_verify_version(r));
	return true;
}

static const XaJobKind claim = {NULL, end_claim, NULL};

static bool
end_verify(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	if (passes(s, r, false))
		braid_xa_job_send(s, braid_xa_job_make(&claim),
						  braid_xa_verify_claim(s->serverid, &s->identity));
	return true;
}

static const XaJobKind verify = {NULL, end_verify, NULL};

static void
begin_verify(XaSession *s)
{
	if (s->options.needs_password && !PQconnectionUsedPassword(control(s)->pg))
		refuse_without_password(s);
	else
		braid_xa_job_send(s, braid_xa_job_make(&verify), braid_xa_verify_query());
}

static void
process_result(XaSession *s, BraidConnection *c)
{
	PGresult *r = braid_connection_take_result(c);
	XaJob *job = c->job;

	c->job = NULL;
	if (job->kind->end(s, c, job, r))
		pfree(job);
	PQclear(r);
}

void
braid_xa_session_advance(XaSession *s, BraidConnection *c)
{
	switch (braid_connection_advance(c))
	{
		case BRAID_OUTCOME_NONE:
			break;
		case BRAID_OUTCOME_CONNECTED:
			if (c == control(s))
				begin_verify(s);
			break;
		case BRAID_OUTCOME_RESULT:
			process_result(s, c);
			break;
		case BRAID_OUTCOME_FAILED:
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
		BraidConnection *c = &s->connections[i];
		TimestampTz deadline;

		if (c->state != BRAID_CONNECTION_CONNECTING && c->state != BRAID_CONNECTION_BUSY)
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
	if (control(s)->state != BRAID_CONNECTION_CLOSED)
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
	if (!braid_connection_open(control(s), &s->options, &error))
	{
		close_unreachable(s, braid_connection_line(error));
		return s->retry_ms;
	}
	return LONG_MAX;
}

long
braid_xa_session_tend(XaSession *s)
{
	TimestampTz now = GetCurrentTimestamp();
	long nap = check_time_outs(s, now);

	nap = Min(nap, tend_control(s, now));
	nap = Min(nap, braid_xa_sweep_tend(s, now));
	braid_xa_errand_tend(s);
	dispatch(s, now);
	return nap;
}
