/*
 * work_take.c
 *	  braid.take(): messages of a group of mode work, which nobody else gets.
 *
 * NOTES
 *	  Who has which message is decided in the window.  That it is done, when the transaction
 *	  commits, is a row in work_done, written at once.  If it is taken for some time, the row only
 *	  says that it was: so that attempts are counted through a crash.
 *
 *	  Messages that were taken too often are not given out: whoever meets them
 *	  writes them to the dead letters, in its own transaction, and is done with them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "topic/arguments.h"
#include "topic/follow.h"
#include "topic/group.h"
#include "topic/waiters.h"
#include "topic/work_claim.h"
#include "topic/work_load.h"
#include "topic/work_store.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_take);

#define LOAD_EVERY_US 50000 /* although there is something to take: it may be of higher priority */
#define LOOK_AGAIN_MS 10
#define MAX_ROWS 100000

/* Columns of the result. */
enum
{
	TAKEN_ID,
	TAKEN_ATTEMPT,
	TAKEN_PARTITION,
	TAKEN_KEY,
	TAKEN_HEADERS,
	TAKEN_PAYLOAD,
	TAKEN_SENT_AT,
	TAKEN_DELIVER_AT,
	TAKEN_PRIORITY,
	TAKEN_NCOLUMNS
};

typedef struct Request
{
	BraidTopic *topic;
	BraidGroup group;
	WorkOptions options;
	int max_rows;
	TimestampTz until;
	bool waits;
	int64 visible_us; /* 0: until the end of the transaction */
	ReturnSetInfo *result;
	MemoryContext context; /* reset after each message */
	WorkEntry *taken;	   /* copies of the entries */
	int64 *done;
	int64 *held;
	int nrows;
} Request;

/* ---------------------------------------------------------------- messages */

static void
put_row(Request *q, const WorkEntry *e, const WorkMessage *m)
{
	static const int columns[TAKEN_NCOLUMNS] = {[TAKEN_ID] = CARRIED_ID,
												[TAKEN_PARTITION] = CARRIED_PART,
												[TAKEN_KEY] = CARRIED_KEY,
												[TAKEN_HEADERS] = CARRIED_HEADERS,
												[TAKEN_PAYLOAD] = CARRIED_PAYLOAD,
												[TAKEN_SENT_AT] = CARRIED_SENT_AT,
												[TAKEN_DELIVER_AT] = CARRIED_DELIVER_AT,
												[TAKEN_PRIORITY] = CARRIED_PRIORITY};
	Datum values[TAKEN_NCOLUMNS];
	bool nulls[TAKEN_NCOLUMNS] = {false};

	for (int i = 0; i < TAKEN_NCOLUMNS; i++)
	{
		if (i == TAKEN_ATTEMPT)
			continue;
		values[i] = m->values[columns[i] - 1];
		nulls[i] = m->nulls[columns[i] - 1];
	}
	values[TAKEN_ATTEMPT] = Int32GetDatum(e->attempts);
	values[TAKEN_PARTITION] = Int32GetDatum(DatumGetInt16(values[TAKEN_PARTITION]));
	values[TAKEN_PRIORITY] = Int32GetDatum(DatumGetInt16(values[TAKEN_PRIORITY]));
	tuplestore_putvalues(q->result->setResult, q->result->setDesc, values, nulls);
	q->nrows++;
}

static bool
is_exhausted(const Request *q, const WorkEntry *e)
{
	return q->options.max_attempts > 0 && e->attempts > q->options.max_attempts;
}

static void
bury(Request *q, const WorkEntry *e, const WorkMessage *m)
{
	const char *error = e->failure == WORK_TIMED_OUT
							? "the time for which it was taken was over"
							: "the transaction that had taken it did not commit";

	braid_work_write_dead(q->group.id, e->number, e->attempts - 1, error, m);
}

/* It is not retained any more, and done when the transaction commits. */
static void
hold_no_more(Request *q, WorkEntry *e)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock(q->topic->id, q->group.id, &a);

	braid_work_reclaim(w, &a, braid_work_window_find(w, &a, e->id), 0, 0);
	braid_work_window_unlock(w);
	e->is_hold = false;
}

/* Of those that were taken: out, to the dead letters, or nowhere if it is not retained any more. */
static void
deliver(Request *q, int n)
{
	MemoryContext caller = MemoryContextSwitchTo(q->context);
	int ndone = 0;
	int nheld = 0;
	int ndead = 0;

	for (int i = 0; i < n; i++)
	{
		WorkEntry *e = &q->taken[i];
		WorkMessage m;
		bool found = braid_work_fetch(q->topic, q->group.id, e, &m);

		if (found && is_exhausted(q, e))
		{
			bury(q, e, &m);
			ndead++;
		}
		else if (found)
			put_row(q, e, &m);
		if (!found && e->is_hold)
			hold_no_more(q, e);
		if (e->is_hold)
			q->held[nheld++] = e->number;
		else
			q->done[ndone++] = e->number;
		MemoryContextReset(q->context);
	}
	if (ndone > 0)
		braid_work_write_done(q->group.id, 'd', q->done, ndone);
	if (nheld > 0)
		braid_work_write_done(q->group.id, 't', q->held, nheld);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(q->context);
	if (ndead > 0)
	{
		WorkArrays a;
		WorkWindow *w = braid_work_window_lock(q->topic->id, q->group.id, &a);

		w->dead += ndead;
		braid_work_window_unlock(w);
	}
}

/* ---------------------------------------------------------------- taking */

static bool
has_to_load(const WorkWindow *w, TimestampTz now)
{
	if (!w->is_built || w->nready == 0)
		return true;
	if (w->loader != 0)
		return false;
	return (w->is_cut && w->nready < w->capacity / 4) ||
		   (w->nused < w->capacity / 2 && now - w->loaded_at >= LOAD_EVERY_US);
}

static void
take_entry(Request *q, WorkWindow *w, WorkArrays *a, WorkEntry *e, TimestampTz now)
{
	e->attempts = Min(e->attempts + 1, PG_UINT16_MAX);
	if (q->visible_us > 0 && !is_exhausted(q, e))
	{
		e->is_hold = true;
		e->time = now + q->visible_us;
	}
	w->taken++;
	braid_work_claim(w, a, e);
}

/* What is in the window; how many.  *next is when there may be more. */
static int
take_from_window(Request *q, bool *has_loaded, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock(q->topic->id, q->group.id, &a);
	WorkEntry *e;
	int n = 0;

	w->one_per_key = q->options.one_per_key;
	braid_work_window_expire(w, &a, now);
	if (w->nprepared > 0)
		(void) braid_work_window_end_prepared(w, &a);
	if (!*has_loaded && has_to_load(w, now))
	{
		braid_work_window_unlock(w);
		*has_loaded = true;
		(void) braid_work_load(q->topic, &q->group);
		return take_from_window(q, has_loaded, next);
	}
	while (n < q->max_rows - q->nrows && (e = braid_work_window_take(w, &a)) != NULL)
	{
		take_entry(q, w, &a, e, now);
		q->taken[n++] = *e;
	}
	if (n == 0 && w->is_cut && w->nused < w->capacity)
		*has_loaded = false; /* others were faster, and there is more */
	*next = braid_work_window_next_time(w, &a);
	braid_work_window_unlock(w);
	return n;
}

/* What there is, unless all of it was too often taken. */
static void
look(Request *q, TimestampTz *next)
{
	for (;;)
	{
		bool has_loaded = false;
		int n;

		braid_work_claims_reserve(2 * q->max_rows);
		n = take_from_window(q, &has_loaded, next);
		deliver(q, n);
		if (q->nrows > 0 || (n == 0 && has_loaded))
			break;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
wait_and_look(Request *q)
{
	braid_waiter_enlist(q->topic->id, q->group.id, BRAID_ALL_PARTS, true);
	for (;;)
	{
		TimestampTz next = DT_NOEND;

		look(q, &next);
		if (q->nrows > 0 || GetCurrentTimestamp() >= q->until)
			break;
		/* What is due may have no room. */
		next = Max(next, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AGAIN_MS));
		(void) braid_waiter_sleep(Min(next, q->until));
	}
	braid_waiter_leave(q->nrows > 0 ? BRAID_ALL_PARTS : 0);
}

/* ---------------------------------------------------------------- arguments */

static void
read_limits(Request *q, FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTimestamp();

	q->max_rows = PG_GETARG_INT32(2);
	if (q->max_rows < 1 || q->max_rows > MAX_ROWS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_rows must be between 1 and %d", MAX_ROWS)));
	q->max_rows = Min(q->max_rows, braid_work_window_capacity());
	q->until = braid_end_of_wait(now, PG_GETARG_DATUM(3));
	q->waits = q->until > now;
	q->visible_us = 0;
	if (!PG_ARGISNULL(4))
		q->visible_us = braid_work_visible_us(PG_GETARG_INTERVAL_P(4));
}

/* braid.take(topic, group_name, max_rows, wait, visible_for) */
Datum
braid_sql_take(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"topic", "group_name", "max_rows", "wait"};
	Request q = {0};
	TimestampTz next;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	PreventCommandDuringRecovery("braid.take()");
	PreventCommandIfReadOnly("braid.take()");
	q.topic = braid_work_get_group(PG_GETARG_OID(0), PG_GETARG_TEXT_PP(1), &q.group);
	read_limits(&q, fcinfo);
	braid_work_options_read(q.group.id, &q.options);
	InitMaterializedSRF(fcinfo, 0);
	q.result = (ReturnSetInfo *) fcinfo->resultinfo;
	braid_topic_require_payload(q.topic, TupleDescAttr(q.result->setDesc, TAKEN_PAYLOAD)->atttypid,
								"take");
	q.taken = palloc(q.max_rows * sizeof(WorkEntry));
	q.done = palloc(q.max_rows * sizeof(int64));
	q.held = palloc(q.max_rows * sizeof(int64));
	q.context =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_DEFAULT_SIZES);
	look(&q, &next);
	if (q.nrows == 0 && q.waits)
		wait_and_look(&q);
	MemoryContextDelete(q.context);
	return (Datum) 0;
}
