/*
 * checkup.c
 *	  What participants say of themselves, for braid.doctor().
 *
 * NOTES
 *	  Only the resolver can speak to all participants, whoever asks.  A backend
 *	  leaves a question here; the resolver puts it to the participant over its
 *	  control connection and leaves the answer, a text in JSON.  Questions are
 *	  numbered throughout the server, and an answer says up to which one it
 *	  is good, so that nobody takes an answer that is older than the question.
 *	  An entry stays with its server until another one needs the room.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "common/wait.h"
#include "common/worker.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "xa/checkup.h"
#include "xa/node.h"
#include "xa/settings.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_checkups);

#define REPORT_LEN 8192

typedef struct Checkup
{
	Oid dbid; /* InvalidOid: not used yet */
	Oid serverid;
	uint64 asked;	 /* newest question */
	uint64 answered; /* newest question that the report answers */
	bool is_error;
	char report[REPORT_LEN];
} Checkup;

typedef struct CheckupTable
{
	LWLock lock; /* guards what is not atomic */
	ConditionVariable answered;
	uint64 questions;		 /* put so far */
	pg_atomic_uint32 askers; /* backends that wait for an answer */
	Checkup entries[FLEXIBLE_ARRAY_MEMBER];
} CheckupTable;

static CheckupTable *table = NULL;

static Size
table_size(void)
{
	return offsetof(CheckupTable, entries) + braid_xa_max_servers * sizeof(Checkup);
}

static void
table_init(void *area)
{
	CheckupTable *t = area;

	braid_shmem_init_lock(&t->lock);
	ConditionVariableInit(&t->answered);
	pg_atomic_init_u32(&t->askers, 0);
}

static const BraidShmemArea area = {"braid xa checkups", table_size, table_init, (void **) &table};

/* The caller holds the lock.  NULL if there is no entry. */
static Checkup *
find_entry(Oid dbid, Oid serverid)
{
	for (int i = 0; i < braid_xa_max_servers; i++)
		if (table->entries[i].dbid == dbid && table->entries[i].serverid == serverid)
			return &table->entries[i];
	return NULL;
}

/* ---------------------------------------------------------------- resolver */

uint64
braid_xa_checkup_asked(Oid serverid)
{
	Checkup *c;
	uint64 asked;

	/* Called often, asked rarely. */
	if (pg_atomic_read_u32(&table->askers) == 0)
		return 0;
	LWLockAcquire(&table->lock, LW_SHARED);
	c = find_entry(MyDatabaseId, serverid);
	asked = c && c->answered < c->asked ? c->asked : 0;
	LWLockRelease(&table->lock);
	return asked;
}

void
braid_xa_checkup_answer(Oid serverid, uint64 question, const char *report, const char *error)
{
	Checkup *c;

	if (!error && strlen(report) >= REPORT_LEN)
		error = "its report is too long";
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	c = find_entry(MyDatabaseId, serverid);
	if (c && c->answered < question)
	{
		c->answered = question;
		c->is_error = error != NULL;
		strlcpy(c->report, error ? error : report, REPORT_LEN);
	}
	LWLockRelease(&table->lock);
	ConditionVariableBroadcast(&table->answered);
}

/* ---------------------------------------------------------------- backends */

/* The server's entry, else one that nobody waits for.  The caller holds the lock. */
static Checkup *
take_entry(Oid serverid)
{
	Checkup *c = find_entry(MyDatabaseId, serverid);

	for (int i = 0; i < braid_xa_max_servers && !c; i++)
		if (table->entries[i].answered >= table->entries[i].asked)
		{
			c = &table->entries[i];
			memset(c, 0, sizeof(*c));
			c->dbid = MyDatabaseId;
			c->serverid = serverid;
		}
	return c;
}

/* Returns the question's number, 0 if there is no room. */
static uint64
ask(Oid serverid)
{
	Checkup *c;
	uint64 question = 0;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	c = take_entry(serverid);
	if (c)
		question = c->asked = ++table->questions;
	LWLockRelease(&table->lock);
	return question;
}

/* false if the question was not answered yet. */
static bool
read_answer(Oid serverid, uint64 question, char *report, bool *is_error)
{
	Checkup *c;
	bool answered = false;

	LWLockAcquire(&table->lock, LW_SHARED);
	c = find_entry(MyDatabaseId, serverid);
	if (c && c->answered >= question)
	{
		answered = true;
		*is_error = c->is_error;
		strlcpy(report, c->report, REPORT_LEN);
	}
	LWLockRelease(&table->lock);
	return answered;
}

static bool
wait_answer(Oid serverid, uint64 question, TimestampTz deadline, char *report, bool *is_error)
{
	bool answered;

	ConditionVariablePrepareToSleep(&table->answered);
	while (!(answered = read_answer(serverid, question, report, is_error)))
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&table->answered, left,
										   braid_wait_begin(BRAID_WAIT_SERVER_CHECKUP));
		braid_wait_end();
	}
	ConditionVariableCancelSleep();
	return answered;
}

/* Puts the question to all servers that are ready; returns how many there are. */
static int
ask_ready_servers(Oid *serverids, uint64 *questions)
{
	int n = 0;
	XaNode node;

	for (int i = 0; braid_xa_node_read(i, &node); i++)
	{
		if (node.dbid != MyDatabaseId || !node.ready)
			continue;
		serverids[n] = node.serverid;
		questions[n] = ask(node.serverid);
		n += questions[n] != 0;
	}
	return n;
}

/*
 * xa_checkups(timeout_ms int) returns (server oid, report text, error text): all
 * servers that are ready.  Both null: no answer in time.
 */
Datum
braid_sql_xa_checkups(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(0));
	Oid *serverids = palloc(sizeof(Oid) * braid_xa_max_servers);
	uint64 *questions = palloc(sizeof(uint64) * braid_xa_max_servers);
	char *report = palloc(REPORT_LEN);
	int n;

	InitMaterializedSRF(fcinfo, 0);
	pg_atomic_fetch_add_u32(&table->askers, 1);
	PG_TRY();
	{
		n = ask_ready_servers(serverids, questions);
		braid_worker_wake(braid_xa_resolver_kind, MyDatabaseId);
		for (int i = 0; i < n; i++)
		{
			Datum v[3];
			bool null[3] = {false, true, true};
			bool is_error;

			v[0] = ObjectIdGetDatum(serverids[i]);
			if (wait_answer(serverids[i], questions[i], deadline, report, &is_error))
			{
				v[is_error ? 2 : 1] = CStringGetTextDatum(report);
				null[is_error ? 2 : 1] = false;
			}
			tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, null);
		}
	}
	PG_FINALLY();
	{
		pg_atomic_fetch_sub_u32(&table->askers, 1);
	}
	PG_END_TRY();
	return (Datum) 0;
}

void
braid_xa_checkup_init(void)
{
	braid_shmem_register(&area);
}
