/*
 * work_answer.c
 *	  What becomes of messages that were taken: done, given back, or kept for longer.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "topic/arguments.h"
#include "topic/group.h"
#include "topic/waiters.h"
#include "topic/work_claim.h"
#include "topic/work_store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_acknowledge);
PG_FUNCTION_INFO_V1(braid_sql_reject);
PG_FUNCTION_INFO_V1(braid_sql_extend);

typedef struct Answer
{
	BraidTopic *topic;
	BraidGroup group;
	int64 *ids;
	int *attempts; /* NULL: whatever they are */
	int n;
	WorkEntry *entries; /* copies of those that were found */
	bool *was_taken;	/* by this transaction, which has written that they are done */
	int nentries;
} Answer;

/* ---------------------------------------------------------------- arguments */

BraidTopic *
braid_work_get_group(Oid view, text *name, BraidGroup *group)
{
	BraidTopic *topic = braid_topic_get(view);

	braid_topic_require(topic, ACL_SELECT);
	braid_group_get(topic, text_to_cstring(name), group);
	if (!group->is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("consumer group \"%s\" is of mode log", NameStr(group->name)),
						errhint("Use braid.receive().")));
	return topic;
}

static int64
interval_us(Interval *i, const char *name)
{
	int64 us;

	if (i->time < 0 || i->day < 0 || i->month < 0 || i->month > 12 * 100 || i->day > 36525 ||
		i->time > 36525 * USECS_PER_DAY)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be negative, nor longer than 100 years", name)));
	us = i->time + (i->day + (int64) i->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	return us;
}

int64
braid_work_visible_us(Interval *interval)
{
	int64 us = interval_us(interval, "visible_for");

	if (us == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("visible_for must be greater than zero")));
	return us;
}

static Datum *
read_array(ArrayType *array, Oid type, const char *name, int *n)
{
	Datum *elements;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must have one dimension", name)));
	deconstruct_array(array, type, type == INT8OID ? 8 : 4,
					  type == INT8OID ? FLOAT8PASSBYVAL : true,
					  type == INT8OID ? TYPALIGN_DOUBLE : TYPALIGN_INT, &elements, &nulls, n);
	for (int i = 0; i < *n; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not have null elements", name)));
	return elements;
}

static void
read_answer(Answer *r, FunctionCallInfo fcinfo, int attempts_arg, const char *command)
{
	static const char *const names[] = {"topic", "group_name", "ids"};
	Datum *elements;
	int nattempts;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	PreventCommandDuringRecovery(command);
	PreventCommandIfReadOnly(command);
	r->topic = braid_work_get_group(PG_GETARG_OID(0), PG_GETARG_TEXT_PP(1), &r->group);
	elements = read_array(PG_GETARG_ARRAYTYPE_P(2), INT8OID, "ids", &r->n);
	r->ids = palloc(Max(r->n, 1) * sizeof(int64));
	for (int i = 0; i < r->n; i++)
		r->ids[i] = DatumGetInt64(elements[i]);
	r->entries = palloc(Max(r->n, 1) * sizeof(WorkEntry));
	r->was_taken = palloc0(Max(r->n, 1) * sizeof(bool));
	if (PG_ARGISNULL(attempts_arg))
		return;
	elements = read_array(PG_GETARG_ARRAYTYPE_P(attempts_arg), INT4OID, "attempts", &nattempts);
	if (nattempts != r->n)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("ids and attempts must have as many elements")));
	r->attempts = palloc(Max(r->n, 1) * sizeof(int));
	for (int i = 0; i < r->n; i++)
		r->attempts[i] = DatumGetInt32(elements[i]);
}

/* ---------------------------------------------------------------- entries */

/* The entry of the i-th id if it is the taker's still: held, or taken by this transaction. */
static WorkEntry *
find_entry(Answer *r, WorkWindow *w, WorkArrays *a, int i, bool *is_mine)
{
	WorkEntry *e = braid_work_window_find(w, a, r->ids[i]);

	if (e == NULL || (r->attempts && r->attempts[i] != e->attempts))
		return NULL;
	*is_mine = e->state == WORK_TAKEN && e->next_number == 0 && e->before != WORK_HELD &&
			   braid_work_is_mine(w, a, e);
	return e->state == WORK_HELD || *is_mine ? e : NULL;
}

/*
 * Claims those that are still the taker's.  next: numbers that they go on with, one for each id,
 * or NULL if they are done.
 */
static void
claim_entries(Answer *r, const int64 *next, TimestampTz (*due_of)(const WorkEntry *e, void *arg),
			  void *arg)
{
	WorkArrays a;
	WorkWindow *w;

	braid_work_claims_reserve(2 * r->n);
	w = braid_work_window_lock_existing(r->group.id, &a);
	if (w == NULL)
		return;
	braid_work_window_expire(w, &a, GetCurrentTimestamp());
	for (int i = 0; i < r->n; i++)
	{
		bool is_mine;
		WorkEntry *e = find_entry(r, w, &a, i, &is_mine);
		int at = r->nentries;

		if (e == NULL || (is_mine && next == NULL && !e->is_hold))
		{
			/* Taken by this transaction: it is done by its commit anyway. */
			if (e != NULL)
				r->was_taken[at] = true;
			if (e != NULL)
				r->entries[r->nentries++] = *e;
			continue;
		}
		r->was_taken[at] = is_mine && !e->is_hold;
		if (!is_mine)
		{
			braid_work_window_claim(w, &a, e);
			braid_work_claim(w, &a, e);
		}
		braid_work_reclaim(w, &a, e, next ? next[i] : 0, next ? due_of(e, arg) : 0);
		r->entries[r->nentries++] = *e;
	}
	braid_work_window_unlock(w);
}

/* Those that the transaction has taken without a time are written down as done already. */
static void
write_done(Answer *r)
{
	int64 *numbers = palloc(Max(r->nentries, 1) * sizeof(int64));
	int n = 0;

	for (int i = 0; i < r->nentries; i++)
		if (!r->was_taken[i])
			numbers[n++] = r->entries[i].number;
	if (n > 0)
		braid_work_write_done(r->group.id, 'd', numbers, n);
}

/* ---------------------------------------------------------------- acknowledge */

/* braid.acknowledge(topic, group_name, ids, attempts) */
Datum
braid_sql_acknowledge(PG_FUNCTION_ARGS)
{
	Answer r = {0};

	read_answer(&r, fcinfo, 3, "braid.acknowledge()");
	claim_entries(&r, NULL, NULL, NULL);
	write_done(&r);
	PG_RETURN_INT32(r.nentries);
}

/* ---------------------------------------------------------------- reject */

typedef struct Rejection
{
	WorkOptions options;
	bool has_delay;
	int64 delay;
	TimestampTz now;
} Rejection;

static TimestampTz
due_after_rejection(const WorkEntry *e, void *arg)
{
	const Rejection *j = arg;

	return j->now + (j->has_delay ? j->delay : braid_work_backoff(&j->options, e->attempts));
}

static bool
is_dead(const Rejection *j, const WorkEntry *e)
{
	return j->options.max_attempts > 0 && e->attempts >= j->options.max_attempts;
}

/* It is done instead of going on, or goes on; with an entry that was claimed. */
static void
bury_or_carry(Answer *r, const Rejection *j, const char *error)
{
	int ndead = 0;

	for (int i = 0; i < r->nentries; i++)
	{
		WorkEntry *e = &r->entries[i];
		WorkMessage m;

		if (!braid_work_fetch(r->topic, r->group.id, e, &m))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("message %lld is not retained any more", (long long) e->id)));
		if (is_dead(j, e))
		{
			braid_work_write_dead(r->group.id, e->next_number, e->attempts, error, &m);
			ndead++;
		}
		else
			braid_work_write_carried(braid_work_window_segment(), r->group.id, e->next_number,
									 e->next_due, e->attempts, error, &m);
	}
	if (ndead > 0)
	{
		WorkArrays a;
		WorkWindow *w = braid_work_window_lock(r->topic->id, r->group.id, &a);

		braid_work_claims_reserve(ndead);
		w->dead += ndead;
		for (int i = 0; i < r->nentries; i++)
			if (is_dead(j, &r->entries[i]))
				braid_work_reclaim(w, &a, braid_work_window_find(w, &a, r->entries[i].id),
								   WORK_IS_DONE, 0);
		braid_work_window_unlock(w);
	}
}

/* braid.reject(topic, group_name, ids, error, delay, attempts) */
Datum
braid_sql_reject(PG_FUNCTION_ARGS)
{
	Answer r = {0};
	Rejection j = {.has_delay = !PG_ARGISNULL(4), .now = GetCurrentTimestamp()};
	int64 *next;

	read_answer(&r, fcinfo, 5, "braid.reject()");
	braid_work_options_read(r.group.id, &j.options);
	if (j.has_delay)
		j.delay = interval_us(PG_GETARG_INTERVAL_P(4), "delay");
	next = palloc(Max(r.n, 1) * sizeof(int64));
	for (int i = 0; i < r.n; i++)
		next[i] = nextval_internal(r.topic->ids, false);
	claim_entries(&r, next, due_after_rejection, &j);
	write_done(&r);
	bury_or_carry(&r, &j, PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_INT32(r.nentries);
}

/* ---------------------------------------------------------------- extend */

/* braid.extend(topic, group_name, ids, visible_for, attempts) */
Datum
braid_sql_extend(PG_FUNCTION_ARGS)
{
	Answer r = {0};
	TimestampTz time;
	WorkArrays a;
	WorkWindow *w;
	int n = 0;

	read_answer(&r, fcinfo, 4, "braid.extend()");
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("visible_for must not be null")));
	time = GetCurrentTimestamp() + braid_work_visible_us(PG_GETARG_INTERVAL_P(3));
	w = braid_work_window_lock_existing(r.group.id, &a);
	if (w == NULL)
		PG_RETURN_INT32(0);
	braid_work_window_expire(w, &a, GetCurrentTimestamp());
	for (int i = 0; i < r.n; i++)
	{
		bool is_mine;
		WorkEntry *e = find_entry(&r, w, &a, i, &is_mine);

		if (e == NULL || (is_mine && !e->is_hold))
			continue;
		if (is_mine)
			e->time = time;
		else
			braid_work_window_set_time(w, &a, e, time);
		n++;
	}
	braid_work_window_unlock(w);
	PG_RETURN_INT32(n);
}
