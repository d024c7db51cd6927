/*
 * verify.c
 *	  Waiting for a view, and comparing it with its query.
 *
 * NOTES
 *	  What the view should be depends on its frontier, and only the worker ever
 *	  has a snapshot that equals it: S, within a cycle, after the deltas were
 *	  applied.  So the worker compares.  A request is a slot in shared memory;
 *	  the answer is rows of braid_internal.differences, committed with the
 *	  cycle, with a row without content as the last.  Rows of requests that
 *	  nobody waits for any more are deleted by the next comparison.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "view/attempt.h"
#include "view/definition.h"
#include "view/difference.h"
#include "view/keeper.h"
#include "view/passing.h"
#include "view/verify.h"
#include "view/view.h"

#define MAX_REQUESTS 16
#define POPULATING_NAP_MS 20 /* between looks at a view that is not live yet */

typedef struct VerifyRequest
{
	Oid dbid;	  /* InvalidOid: the slot is free */
	int view;	  /* id */
	int64 number; /* random; names the answer, and chooses the sample */
	double sample;
	bool taken; /* the worker has begun to answer */
} VerifyRequest;

typedef struct VerifyRequests
{
	LWLock lock; /* guards all that follows */
	VerifyRequest requests[MAX_REQUESTS];
} VerifyRequests;

static VerifyRequests *shared = NULL;

static Size
shared_size(void)
{
	return sizeof(VerifyRequests);
}

static void
shared_init(void *area)
{
	braid_shmem_init_lock(&((VerifyRequests *) area)->lock);
}

static const BraidShmemArea shared_area = {"braid verifications", shared_size, shared_init,
										   (void **) &shared};

void
braid_verify_init(void)
{
	braid_shmem_register(&shared_area);
}

/* ---------------------------------------------------------------- worker */

bool
braid_verify_wanted(void)
{
	bool wanted = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < MAX_REQUESTS; i++)
		wanted |= shared->requests[i].dbid == MyDatabaseId && !shared->requests[i].taken;
	LWLockRelease(&shared->lock);
	return wanted;
}

/* Takes a request that is not yet taken.  False if there is none. */
static bool
take_request(VerifyRequest *request)
{
	bool found = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_REQUESTS && !found; i++)
	{
		VerifyRequest *r = &shared->requests[i];

		if (r->dbid != MyDatabaseId || r->taken)
			continue;
		r->taken = true;
		*request = *r;
		found = true;
	}
	LWLockRelease(&shared->lock);
	return found;
}

static void
delete_old_answers(void)
{
	StringInfoData numbers;

	initStringInfo(&numbers);
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < MAX_REQUESTS; i++)
		if (OidIsValid(shared->requests[i].dbid))
			appendStringInfo(&numbers, ", " INT64_FORMAT, shared->requests[i].number);
	LWLockRelease(&shared->lock);
	SPI_execute(psprintf("DELETE FROM braid_internal.differences WHERE request NOT IN (-1%s)",
						 numbers.data),
				false, 0);
}

static void
store_answer(int64 number, const char *difference, Datum row, const char *error)
{
	Oid types[4] = {INT8OID, TEXTOID, JSONBOID, TEXTOID};
	Datum args[4] = {Int64GetDatum(number), 0, row, 0};
	char nulls[4] = {' ', difference ? ' ' : 'n', difference ? ' ' : 'n', error ? ' ' : 'n'};

	if (difference)
		args[1] = CStringGetTextDatum(difference);
	if (error)
		args[3] = CStringGetTextDatum(error);
	SPI_execute_with_args("INSERT INTO braid_internal.differences VALUES ($1, $2, $3, $4)", 4,
						  types, args, nulls, false, 0);
}

typedef struct Differences
{
	VerifyRequest *request;
	MemoryContext context;
	uint64 n;
	bool *missing;
	Datum *rows;
} Differences;

/* As the view's owner. */
static void
compare(KeptView *v, void *arg)
{
	Differences *d = arg;
	MemoryContext old;

	SPI_execute(braid_difference_query(&v->def, v->plan, d->request->sample, d->request->number),
				false, 0);
	old = MemoryContextSwitchTo(d->context);
	d->n = SPI_processed;
	d->missing = palloc(sizeof(bool) * (d->n + 1));
	d->rows = palloc(sizeof(Datum) * (d->n + 1));
	for (uint64 i = 0; i < d->n; i++)
	{
		bool isnull;

		d->missing[i] =
			DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		d->rows[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull)));
	}
	MemoryContextSwitchTo(old);
}

static void
answer(VerifyRequest *request)
{
	KeptView *v = braid_keeper_find(request->view);
	Differences d = {request, CurrentMemoryContext};
	char *error;

	/* Asked again; a table that is not locked may not be at S. */
	if (v == NULL || !braid_keeper_is_at_snapshot(v))
		return;
	error = braid_attempt_as_owner(v, compare, &d);
	if (error)
		store_answer(request->number, NULL, (Datum) 0, error);
	else
		for (uint64 i = 0; i < d.n; i++)
			store_answer(request->number, d.missing[i] ? "missing" : "surplus", d.rows[i], NULL);
	store_answer(request->number, NULL, (Datum) 0, NULL);
}

void
braid_verify_answer(void)
{
	VerifyRequest request;

	if (!braid_verify_wanted())
		return;
	delete_old_answers();
	while (take_request(&request))
		answer(&request);
}

/* ---------------------------------------------------------------- waiting */

static TimestampTz
deadline_after(Interval *timeout)
{
	Datum now = TimestampTzGetDatum(GetCurrentTimestamp());

	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval, now, IntervalPGetDatum(timeout)));
}

static void
check_readable(Oid view)
{
	if (pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, get_rel_name(view));
}

/* Runs a query as superuser that sees what is committed now. */
static void
read_latest(const char *sql)
{
	PushActiveSnapshot(GetLatestSnapshot());
	{
		Oid user;
		int context;

		GetUserIdAndSecContext(&user, &context);
		SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
		if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not run \"%s\"", sql);
		SetUserIdAndSecContext(user, context);
	}
	PopActiveSnapshot();
}

/* Ids of the view and of those that it reads, as "7, 3, 4". */
static char *
id_list(ViewDefinition *def, ViewInputs *inputs)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfo(&s, "%d", def->id);
	foreach (lc, inputs->continuous)
		appendStringInfo(&s, ", %d", lfirst_int(lc));
	return s.data;
}

/* The view, or one that it reads, stands still. */
static void
refuse_standing(HeapTuple row, TupleDesc desc, const char *state)
{
	Oid view = atooid(SPI_getvalue(row, desc, 4));
	char *error;

	if (strcmp(state, "paused") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("continuous view \"%s\" is paused", SPI_getvalue(row, desc, 3)),
				 errhint("It shows its query as of then; braid.resume() lets it catch up.")));
	error = SPI_getvalue(row, desc, 2);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("continuous view \"%s\" is broken", SPI_getvalue(row, desc, 3)),
					error && braid_view_error_is_visible(view) ? errdetail("%s", error) : 0,
					errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW.")));
}

/*
 * Whether the view is live, and those that it reads; raises an error if one is
 * broken or paused.
 */
static bool
is_live(ViewDefinition *def, ViewInputs *inputs)
{
	bool live = true;

	read_latest(psprintf(
		"SELECT CASE WHEN v.paused THEN 'paused' ELSE nullif(s.state, 'paused') END, s.error, c.relname, c.oid "
		"FROM braid_internal.views v JOIN pg_class c ON c.oid = v.view LEFT JOIN "
		"braid_internal.view_states s ON s.id = v.id AND s.rebuilds = v.rebuilds "
		"WHERE v.id IN (%s)",
		id_list(def, inputs)));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *state = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		if (state && (strcmp(state, "broken") == 0 || strcmp(state, "paused") == 0))
			refuse_standing(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, state);
		live &= state && strcmp(state, "live") == 0;
	}
	return live;
}

/* One answered request after which the view is live. */
static bool
wait_until_live(ViewDefinition *def, TimestampTz deadline)
{
	ViewInputs inputs;

	braid_definition_inputs(def, &inputs);
	(void) is_live(def, &inputs);
	while (braid_capture_wait(inputs.tables, deadline))
	{
		if (is_live(def, &inputs))
			return true;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POPULATING_NAP_MS, braid_wait_begin(BRAID_WAIT_VIEW_LIVE));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (GetCurrentTimestamp() >= deadline)
			return false;
	}
	(void) is_live(def, &inputs);
	return false;
}

PG_FUNCTION_INFO_V1(braid_sql_wait);

/* braid.wait(view regclass, timeout interval) */
Datum
braid_sql_wait(PG_FUNCTION_ARGS)
{
	ViewDefinition def;
	bool done;

	braid_definition_get(PG_GETARG_OID(0), &def);
	check_readable(def.view);
	SPI_connect();
	done = wait_until_live(&def, deadline_after(PG_GETARG_INTERVAL_P(1)));
	SPI_finish();
	PG_RETURN_BOOL(done);
}

/* ---------------------------------------------------------------- verification */

/* Returns the slot's index. */
static int
put_request(int view, int64 number, double sample)
{
	int found = -1;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_REQUESTS && found < 0; i++)
		if (!OidIsValid(shared->requests[i].dbid))
			found = i;
	if (found >= 0)
		shared->requests[found] = (VerifyRequest){MyDatabaseId, view, number, sample, false};
	LWLockRelease(&shared->lock);
	if (found < 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many continuous views are being verified"),
						errdetail("At most %d may be at a time.", MAX_REQUESTS)));
	return found;
}

static void
remove_request(int code, Datum arg)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->requests[DatumGetInt32(arg)].dbid = InvalidOid;
	LWLockRelease(&shared->lock);
}

static void
ask_again(int slot)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->requests[slot].taken = false;
	LWLockRelease(&shared->lock);
}

/* Waits for the answer and returns it, as rows of SPI. */
static void
ask(ViewDefinition *def, int slot, int64 number, TimestampTz deadline)
{
	for (;;)
	{
		if (!wait_until_live(def, deadline))
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
							errmsg("continuous view \"%s\" was not verified within the timeout",
								   get_rel_name(def->view))));
		read_latest(psprintf("SELECT difference, \"row\", error FROM braid_internal.differences "
							 "WHERE request = " INT64_FORMAT
							 " ORDER BY difference IS NULL AND error IS NULL, difference",
							 number));
		if (SPI_processed > 0)
			return;
		ask_again(slot);
	}
}

static void
return_rows(ReturnSetInfo *result)
{
	for (uint64 i = 0; i + 1 < SPI_processed; i++)
	{
		Datum values[2];
		bool nulls[2];
		char *error = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3);

		if (error)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("could not compare the view with its query: %s", error)));
		for (int j = 0; j < 2; j++)
			values[j] =
				SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, j + 1, &nulls[j]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(braid_sql_verify);

/* braid.verify(view regclass, sample float8, timeout interval) */
Datum
braid_sql_verify(PG_FUNCTION_ARGS)
{
	ViewDefinition def;
	double sample = PG_GETARG_FLOAT8(1);
	TimestampTz deadline = deadline_after(PG_GETARG_INTERVAL_P(2));
	uint64 random;
	int64 number;
	int slot;

	InitMaterializedSRF(fcinfo, 0);
	braid_definition_get(PG_GETARG_OID(0), &def);
	check_readable(def.view);
	if (def.has_schedule)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous view \"%s\" is recomputed on a schedule",
							   get_rel_name(def.view)),
						errhint("REFRESH MATERIALIZED VIEW computes it now.")));
	if (braid_passing_is_read(&def))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous view \"%s\" reads a stream and cannot be verified",
							   get_rel_name(def.view)),
						errdetail("Rows of streams are not kept, so its query cannot be run."),
						errhint("Views that read it can be.")));
	if (!(sample > 0 && sample <= 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("sample must be greater than 0 and at most 1")));
	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
	number = (int64) (random >> 1);
	SPI_connect();
	slot = put_request(def.id, number, sample);
	PG_ENSURE_ERROR_CLEANUP(remove_request, Int32GetDatum(slot));
	{
		ask(&def, slot, number, deadline);
		return_rows((ReturnSetInfo *) fcinfo->resultinfo);
	}
	PG_END_ENSURE_ERROR_CLEANUP(remove_request, Int32GetDatum(slot));
	remove_request(0, Int32GetDatum(slot));
	SPI_finish();
	PG_RETURN_VOID();
}
