/*
 * rotate.c
 *	  Giving back the space of messages: what SQL (rotate in topic.sql) needs of C, and the worker.
 *
 * NOTES
 *	  A segment goes through
 *
 *		empty --opened--> open --the next one is opened--> closed --sealed--> sealed --truncated--> empty
 *
 *	  Closed: who has not heard yet may still begin to write into it.  Sealed: it was locked against
 *	  writers for a moment after the next one was opened for all to see, or is until the
 *	  transaction that opens the next one commits.  Who gets a lock on it after that takes in what
 *	  has changed and goes elsewhere (open_segment() in send.c).  So its last transaction is known,
 *	  and it goes when that one is behind all positions.
 *
 *	  Locks are taken only if nobody is in the way, but for keys of de-duplication that are
 *	  overdue.  The worker is the only one that rotates unasked; without it topics only grow.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/lock.h"
#include "common/query.h"
#include "common/superuser.h"
#include "common/wait.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "topic/catalog.h"
#include "topic/follow.h"
#include "topic/rotate.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static int rotate_interval = 10000;
static int segment_size = 65536;
static int segment_age = 60;
static int lag_alarm = 600000;
static int worker_kind;

/* ---------------------------------------------------------------- functions */

PG_FUNCTION_INFO_V1(braid_sql_topic_hold);

/* braid_internal.topic_hold(topic int, OUT is_held boolean, OUT xid xid8) */
Datum
braid_sql_topic_hold(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false};
	uint64 xid;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(braid_topic_is_held(PG_GETARG_INT32(0), &xid));
	values[1] = UInt64GetDatum(xid);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(braid_sql_try_lock);

/* braid_internal.try_lock(relation regclass, exclusive boolean) */
Datum
braid_sql_try_lock(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ConditionalLockRelationOid(PG_GETARG_OID(0),
											  PG_GETARG_BOOL(1) ? AccessExclusiveLock : ShareLock));
}

bool
braid_rotate_lock(int topic, bool wait)
{
	return braid_lock_acquire_object(braid_topic_relation("topics"), topic, wait);
}

PG_FUNCTION_INFO_V1(braid_sql_lock_topic);

/* braid_internal.lock_topic(topic int, wait boolean) */
Datum
braid_sql_lock_topic(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(braid_rotate_lock(PG_GETARG_INT32(0), PG_GETARG_BOOL(1)));
}

PG_FUNCTION_INFO_V1(braid_sql_topic_changed);

/* braid_internal.topic_changed(topic int) */
Datum
braid_sql_topic_changed(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = braid_topic_load(InvalidOid, PG_GETARG_INT32(0));

	if (topic)
		braid_topic_invalidate(topic->view);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(braid_sql_rotate_topic);

/* braid.rotate_topic(topic regclass) */
Datum
braid_sql_rotate_topic(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = braid_topic_get(PG_GETARG_OID(0));
	bool isnull;

	braid_topic_require_owner(topic);
	return braid_superuser_ask(
		psprintf("SELECT " BRAID_TOPIC_SCHEMA ".rotate(%d, true)", topic->id), &isnull);
}

PG_FUNCTION_INFO_V1(braid_sql_topic_problem);

/* braid_internal.topic_problem() */
Datum
braid_sql_topic_problem(PG_FUNCTION_ARGS)
{
	char *problem = braid_worker_problem(worker_kind, MyDatabaseId);

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/* ---------------------------------------------------------------- the worker */

/* Ids of the topics that have something to rotate, in the caller's context; -1: there are no topics. */
static int
find_topics(int **ids)
{
	MemoryContext caller = braid_query_begin();
	int n;

	braid_query_execute("SELECT FROM " BRAID_TOPIC_SCHEMA ".topics LIMIT 1", SPI_OK_SELECT);
	if (SPI_processed == 0)
	{
		braid_query_end(caller);
		return -1;
	}
	braid_query_execute("SELECT " BRAID_TOPIC_SCHEMA ".topics_to_rotate()", SPI_OK_SELECT);
	n = (int) SPI_processed;
	*ids = MemoryContextAlloc(caller, sizeof(int) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		(*ids)[i] =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	braid_query_end(caller);
	return n;
}

static int topic_to_rotate;

static void
rotate(void)
{
	braid_query_execute(
		psprintf("SELECT " BRAID_TOPIC_SCHEMA ".rotate(%d, false)", topic_to_rotate),
		SPI_OK_SELECT);
}

/* In a transaction, with SPI.  What is wrong with one topic does not keep the others. */
static void
attempt(void (*work)(void))
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		(void) braid_query_begin();
		work();
		braid_query_end(context);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	CHECK_FOR_INTERRUPTS();
}

static void
use_settings(void)
{
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("statement_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
}

static void
rotate_main(void)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid rotation", ALLOCSET_DEFAULT_SIZES);

	pgstat_report_appname("braid topic");
	pgstat_report_activity(STATE_IDLE, NULL);
	use_settings();
	MemoryContextSwitchTo(context);
	for (;;)
	{
		int *ids = NULL;
		int n;

		if (!braid_worker_begin_turn())
			return;
		n = find_topics(&ids);
		if (n < 0)
			return;
		for (int i = 0; i < n; i++)
		{
			topic_to_rotate = ids[i];
			attempt(rotate);
		}
		braid_topic_tell_tidy(attempt);
		pgstat_report_stat(false);
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, rotate_interval,
						 braid_wait_begin(BRAID_WAIT_TOPIC_MAIN));
		braid_wait_end();
		ResetLatch(MyLatch);
	}
}

void
braid_rotate_request(void)
{
	braid_worker_request_at_commit(worker_kind);
}

void
braid_rotate_wake(void)
{
	braid_worker_wake(worker_kind, MyDatabaseId);
}

static const BraidWorkerKind rotate_kind = {"braid topic", rotate_main, NULL, 0};

void
braid_rotate_init(void)
{
	DefineCustomIntVariable("braid.topic_rotate_interval",
							"Sets how often topics are looked at for messages that can go.",
							"The longer, the longer they take space.", &rotate_interval, 10000, 100,
							3600000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.topic_segment_size",
		"Sets the size at which messages of a topic go to the next segment.",
		"For topics without retain_size; those that have it change segments by that.",
		&segment_size, 65536, 64, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.topic_segment_age",
		"Sets the time after which messages of a topic go to the next segment.",
		"For topics without retain; those that have it change segments by that.", &segment_age, 60,
		1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.topic_lag_alarm",
		"Sets how far consumer groups and relays may be behind before braid.doctor() warns.",
		"Also for how long topics may keep what should have gone.", &lag_alarm, 600000, 1, INT_MAX,
		PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	worker_kind = braid_worker_register_kind(&rotate_kind);
}
