/*
 * errand.c
 *	  What else a participant is asked for, over the control connection.
 *
 * Restore points (restore_point.c), lock waits (deadlock.c) and what the
 * participant says of itself (checkup.c).  Each is asked for by somebody who has
 * set a request, and goes out when the connection is idle.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "xa/checkup.h"
#include "xa/deadlock.h"
#include "xa/errand.h"
#include "xa/job.h"
#include "xa/node.h"

/* ---------------------------------------------------------------- restore points */

/* Nobody waits for it, and the segment will be full one day. */
static bool
end_switch(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not end the log segment of server \"%s\": %s", s->name,
							 braid_connection_line(PQresultErrorMessage(r)))));
	return true;
}

/* Lets the segment with the point be archived. */
static const XaJobKind switch_log = {NULL, end_switch, NULL};

static bool
end_point(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	uint32 high;
	uint32 low;

	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 &&
		sscanf(PQgetvalue(r, 0, 0), "%X/%X", &high, &low) == 2)
	{
		braid_xa_node_point_done(s->serverid, job->number, (uint64) high << 32 | low, NULL);
		braid_xa_job_send(s, braid_xa_job_make(&switch_log), "SELECT braid_internal.switch_wal()");
	}
	else
		braid_xa_node_point_done(s->serverid, job->number, InvalidXLogRecPtr,
								 braid_connection_line(PQresultErrorMessage(r)));
	return true;
}

static void
give_up_point(XaSession *s, XaJob *job, const char *reason)
{
	braid_xa_node_point_done(s->serverid, job->number, InvalidXLogRecPtr, reason);
}

static const XaJobKind make_point = {NULL, end_point, give_up_point};

/* Makes the restore point that is asked for, if there is one and nothing is under way. */
static void
tend_point(XaSession *s)
{
	XaNodePoint point;
	XaJob *job;
	char *sql;

	if (!braid_xa_job_may_send(s) ||
		!braid_xa_node_point_requested(s->serverid, s->point_request, &point))
		return;
	s->point_request = point.requested;
	sql =
		psprintf("SELECT braid_internal.create_restore_point(%s)", quote_literal_cstr(point.name));
	job = braid_xa_job_make(&make_point);
	job->number = point.requested;
	braid_xa_job_send(s, job, sql);
	pfree(sql);
}

/* ---------------------------------------------------------------- lock waits */

bool
braid_xa_errand_ask_waits(XaSession *s, uint32 round, int min_age_ms)
{
	if (!s->ready || s->waits_pending)
		return false;
	s->waits_asked = round;
	s->waits_min_age_ms = min_age_ms;
	return true;
}

static bool
end_waits(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	s->waits_pending = false;
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		ereport(LOG, (errmsg("could not list the lock waits of server \"%s\": %s", s->name,
							 braid_connection_line(PQresultErrorMessage(r)))));
	braid_xa_deadlock_receive(s->serverid, s->name, job->number, r);
	return true;
}

static void
give_up_waits(XaSession *s, XaJob *job, const char *reason)
{
	s->waits_pending = false;
	braid_xa_deadlock_receive(s->serverid, s->name, job->number, NULL);
}

static const XaJobKind list_waits = {NULL, end_waits, give_up_waits};

static void
begin_waits(XaSession *s)
{
	XaJob *job = braid_xa_job_make(&list_waits);
	char *sql = psprintf("SELECT * FROM braid_internal.lock_waits(%d)", s->waits_min_age_ms);

	job->number = s->waits_asked;
	s->waits_asked = 0;
	s->waits_pending = true;
	braid_xa_job_send(s, job, sql);
	pfree(sql);
}

/* ---------------------------------------------------------------- check-up */

static bool
end_checkup(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r)
{
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
		braid_xa_checkup_answer(s->serverid, job->number, PQgetvalue(r, 0, 0), NULL);
	else
		braid_xa_checkup_answer(s->serverid, job->number, NULL,
								braid_connection_line(PQresultErrorMessage(r)));
	return true;
}

static const XaJobKind check_up = {NULL, end_checkup, NULL};

static void
tend_checkup(XaSession *s)
{
	XaJob *job;
	uint64 question;

	if (!braid_xa_job_may_send(s))
		return;
	question = braid_xa_checkup_asked(s->serverid);
	if (question == 0)
		return;
	job = braid_xa_job_make(&check_up);
	job->number = question;
	braid_xa_job_send(s, job, "SELECT braid_internal.xa_checkup_report()");
}

/* ---------------------------------------------------------------- session */

void
braid_xa_errand_tend(XaSession *s)
{
	tend_checkup(s);
	tend_point(s);
	if (s->waits_asked != 0 && braid_xa_job_may_send(s))
		begin_waits(s);
}

void
braid_xa_errand_end_all(XaSession *s)
{
	if (s->waits_asked != 0)
		braid_xa_deadlock_receive(s->serverid, s->name, s->waits_asked, NULL);
	s->waits_asked = 0;
}
