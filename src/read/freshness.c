/*
 * freshness.c
 *	  Waiting until continuous views are as fresh as a reader wants them.
 *
 * NOTES
 *	  A reader asks for a cycle that begins after now, waits for its answer, and
 *	  then looks at the states of the views, of which invalidations have told by
 *	  then: they come with the cycle's commit, and the answer comes after it.  Many
 *	  who ask while a cycle runs are answered by the one next cycle.
 *
 *	  Nothing has to be asked for if the last cycle has seen all of WAL.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "common/wait.h"
#include "miscadmin.h"
#include "read/freshness.h"
#include "read/obstacle.h"
#include "read/roster.h"
#include "read/session.h"
#include "storage/latch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define PATIENCE_MS 100 /* between looks whether we stand in our own way */
#define NAP_MS 20		/* before a table or a view is asked for again */

/* The views, looked into; those that have been dropped meanwhile are left out. */
static List *
find_views(List *oids)
{
	List *views = NIL;
	ListCell *lc;

	AcceptInvalidationMessages();
	if (!braid_roster_update())
		return NIL;
	foreach (lc, oids)
	{
		RosterView *v = braid_roster_find(lfirst_oid(lc));

		if (v == NULL)
			continue;
		braid_roster_look_into(v);
		views = lappend(views, v);
	}
	return views;
}

static List *
tables_of(List *views)
{
	List *tables = NIL;
	ListCell *lc;

	foreach (lc, views)
		tables = list_concat_unique_oid(tables, ((RosterView *) lfirst(lc))->tables);
	return tables;
}

static bool
all_live(List *views)
{
	ListCell *lc;

	foreach (lc, views)
		if (braid_roster_not_live(lfirst(lc)) != NULL)
			return false;
	return true;
}

/* One with a schedule, of the view and those that it reads; NULL if there is none. */
static RosterView *
find_scheduled(RosterView *view)
{
	ListCell *lc;

	foreach (lc, braid_roster_list())
	{
		RosterView *v = lfirst(lc);

		if (v->standing->has_schedule && list_member_int(view->ids, v->standing->id))
			return v;
	}
	return NULL;
}

static void
refuse_scheduled(RosterView *v)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("continuous view \"%s\" is recomputed on a schedule", get_rel_name(v->view)),
			 errdetail("It shows what was there when it was computed last."),
			 errhint("Set braid.read to eventual and braid.read_max_age to 0 to read it.")));
}

/* What it waits for can take any time, or is the reader's own business. */
static void
refuse_not_live(RosterView *cause)
{
	const char *name = get_rel_name(cause->view);
	const char *error = braid_roster_error(cause);

	if (cause->standing->state == VIEW_BROKEN)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("continuous view \"%s\" is broken", name),
				 error ? errdetail("%s", error) : 0,
				 errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW; with braid.read = "
						 "eventual it shows what it had.")));
	if (cause->standing->state == VIEW_PAUSED)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is paused", name),
						errhint("braid.resume() lets it catch up; with braid.read = eventual it "
								"shows its query as of then.")));
	if (cause->standing->is_new)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" has not been populated", name),
						errdetail("It was made in this transaction."),
						errhint("It is populated once the transaction has committed.")));

	/* It is exchanged once nobody has a lock on it, such as ours, or an older snapshot. */
	if (cause->standing->is_replaced)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is being made anew", name),
						errdetail("What stands below it has been changed."),
						errhint("Try again; SELECT braid.wait() waits until it is there.")));
}

/* Whether nothing but time keeps the view from being fresh; else an error, if wanted. */
static bool
may_become_fresh(RosterView *view, bool refuse)
{
	RosterView *cause = braid_roster_not_live(view);
	RosterView *scheduled = find_scheduled(view);
	ViewState state = cause ? cause->standing->state : VIEW_LIVE;

	if (refuse && scheduled)
		refuse_scheduled(scheduled);
	if (refuse && cause)
		refuse_not_live(cause);
	return !scheduled && state != VIEW_BROKEN && state != VIEW_PAUSED;
}

static void
nap(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, NAP_MS,
					 braid_wait_begin(BRAID_WAIT_VIEW_LIVE));
	braid_wait_end();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* One cycle that begins after now.  False at the deadline. */
static bool
await_cycle(List *views, TimestampTz deadline)
{
	uint64 request;

	if (braid_capture_is_current())
		return true;
	request = braid_capture_request();
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz until = TimestampTzPlusMilliseconds(now, PATIENCE_MS);

		if (braid_capture_await(request, Min(until, deadline)))
			return true;
		if (until >= deadline)
			return false;
		braid_obstacle_refuse_own(views);
	}
}

/* At once, and then now and then. */
static void
look_for_ourselves(List *views, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now < *next)
		return;
	braid_obstacle_refuse_own(views);
	*next = TimestampTzPlusMilliseconds(now, PATIENCE_MS);
}

static TimestampTz
get_deadline(void)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), braid_read_timeout);
}

static void
note_commits(List *views, uint64 commits)
{
	ListCell *lc;

	foreach (lc, views)
		((RosterView *) lfirst(lc))->commits = commits;
}

static bool
all_may_become_fresh(List *views)
{
	ListCell *lc;

	foreach (lc, views)
		if (!may_become_fresh(lfirst(lc), true))
			return false;
	return true;
}

void
braid_freshness_wait(List *oids)
{
	TimestampTz deadline = get_deadline();
	TimestampTz next_look = 0;
	uint64 commits = braid_read_session_commits();
	List *views = find_views(oids);

	while (views != NIL && all_may_become_fresh(views))
	{
		if (!await_cycle(views, deadline))
			braid_obstacle_report(views);
		views = find_views(oids);
		if (!braid_capture_holds_back(tables_of(views)))
		{
			if (all_live(views))
				break;
		}
		else
			look_for_ourselves(views, &next_look);
		if (GetCurrentTimestamp() >= deadline && views != NIL)
			braid_obstacle_report(views);
		nap();
	}
	note_commits(views, commits);
}

/* Splits off the views that are fresh after a cycle; returns them. */
static List *
take_fresh(List **views)
{
	List *fresh = NIL;
	ListCell *lc;

	foreach (lc, *views)
	{
		RosterView *v = lfirst(lc);

		if (braid_roster_not_live(v) || braid_capture_holds_back(v->tables))
			continue;
		fresh = lappend(fresh, v);
		*views = foreach_delete_current(*views, lc);
	}
	return fresh;
}

/* Views that are not live may not be so for hours: nobody waits for these. */
static List *
leave_out_not_live(List *views)
{
	ListCell *lc;

	foreach (lc, views)
		if (braid_roster_not_live(lfirst(lc)) || find_scheduled(lfirst(lc)))
			views = foreach_delete_current(views, lc);
	return views;
}

static List *
oids_of(List *views)
{
	List *oids = NIL;
	ListCell *lc;

	foreach (lc, views)
		oids = lappend_oid(oids, ((RosterView *) lfirst(lc))->view);
	return oids;
}

List *
braid_freshness_try(List *oids)
{
	TimestampTz deadline = get_deadline();
	TimestampTz next_look = 0;
	uint64 commits = braid_read_session_commits();
	List *views = leave_out_not_live(find_views(oids));
	List *done = NIL;

	while (views != NIL)
	{
		List *fresh;

		if (!await_cycle(views, deadline))
			break;
		views = leave_out_not_live(find_views(oids_of(views)));
		fresh = take_fresh(&views);
		note_commits(fresh, commits);
		done = list_concat(done, oids_of(fresh));
		if (views == NIL || GetCurrentTimestamp() >= deadline)
			break;
		look_for_ourselves(views, &next_look);
		nap();
	}
	return done;
}

/*
 * What was decoded and was not visible in the cycle's snapshot is held; as nothing is,
 * all of it is merged.
 */
bool
braid_freshness_has(List *oids, XLogRecPtr position)
{
	BraidCaptureStatus status;
	uint64 commits = braid_read_session_commits();
	List *views = find_views(oids);

	braid_capture_look(&status);
	if (!all_live(views) || !status.is_complete || status.position < position)
		return false;
	note_commits(views, commits);
	return true;
}

bool
braid_freshness_is_young(List *oids)
{
	BraidCaptureStatus status;
	List *views = find_views(oids);

	if (!all_live(views) || braid_capture_holds_back(tables_of(views)))
		return false;
	if (braid_capture_is_current())
		return true;
	braid_capture_look(&status);
	return status.when != 0 &&
		   !TimestampDifferenceExceeds(status.when, GetCurrentTimestamp(), braid_read_max_age);
}
