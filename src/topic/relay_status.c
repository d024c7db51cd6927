/*
 * relay_status.c
 *	  What the worker says of its relays, for everybody to see.
 *
 * It is in shared memory, since it changes often and need not survive anything.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "topic/relay_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_relay_statuses);

#define REASON_LENGTH 512
#define ADVICE_LENGTH 256
#define NCOLUMNS 9

typedef struct RelayStatus
{
	Oid dbid; /* InvalidOid: free */
	int relay;
	RelayStatusState state;
	TimestampTz since;
	TimestampTz contact; /* 0: never */
	int64 behind;
	TimestampTz oldest; /* 0: not known */
	int failures;		/* in a row */
	char reason[REASON_LENGTH];
	char advice[ADVICE_LENGTH];
} RelayStatus;

typedef struct RelayStatusTable
{
	LWLock lock; /* guards all that follows */
	int n;
	RelayStatus entries[FLEXIBLE_ARRAY_MEMBER];
} RelayStatusTable;

static RelayStatusTable *table = NULL;
static int max_relays = 128;

static const char *const state_names[] = {"connecting", "streaming", "held",
										  "failing",	"paused",	 "stopped"};

static Size
table_size(void)
{
	return offsetof(RelayStatusTable, entries) + max_relays * sizeof(RelayStatus);
}

static void
table_init(void *area)
{
	RelayStatusTable *t = area;

	braid_shmem_init_lock(&t->lock);
	t->n = max_relays;
}

static const BraidShmemArea area = {"braid relays", table_size, table_init, (void **) &table};

/* The relay's entry, or a free one that becomes its; with the lock.  NULL: there is no room. */
static RelayStatus *
find(int relay)
{
	RelayStatus *free = NULL;

	for (int i = 0; i < table->n; i++)
	{
		RelayStatus *e = &table->entries[i];

		if (e->dbid == MyDatabaseId && e->relay == relay)
			return e;
		if (!OidIsValid(e->dbid) && free == NULL)
			free = e;
	}
	if (free == NULL)
		return NULL;
	memset(free, 0, sizeof(*free));
	free->dbid = MyDatabaseId;
	free->relay = relay;
	free->since = GetCurrentTimestamp();
	return free;
}

/* As much of it as there is room for; NULL: nothing. */
static void
put_text(char *to, int size, const char *text)
{
	int len = text ? pg_mbcliplen(text, strlen(text), size - 1) : 0;

	memcpy(to, text ? text : "", len);
	to[len] = '\0';
}

void
braid_relay_status_set(int relay, RelayStatusState state, const char *reason, const char *advice)
{
	RelayStatus *e;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	e = find(relay);
	if (e)
	{
		/* While it tries again, the reason why it failed is worth more. */
		bool is_retry = state == RELAY_CONNECTING && e->failures > 0;

		if (!is_retry)
		{
			if (e->state != state)
				e->since = GetCurrentTimestamp();
			e->state = state;
			e->failures = state == RELAY_FAILING ? e->failures + 1 : 0;
			put_text(e->reason, REASON_LENGTH, reason);
			put_text(e->advice, ADVICE_LENGTH, advice);
		}
	}
	LWLockRelease(&table->lock);
}

void
braid_relay_status_contact(int relay, int64 behind, TimestampTz oldest)
{
	RelayStatus *e;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	e = find(relay);
	if (e)
	{
		e->contact = GetCurrentTimestamp();
		e->behind = behind;
		e->oldest = oldest;
	}
	LWLockRelease(&table->lock);
}

void
braid_relay_status_forget(int relay)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->n; i++)
	{
		RelayStatus *e = &table->entries[i];

		if (e->dbid == MyDatabaseId && (relay == 0 || e->relay == relay))
			e->dbid = InvalidOid;
	}
	LWLockRelease(&table->lock);
}

void
braid_relay_status_forget_all(void)
{
	braid_relay_status_forget(0);
}

static void
put_status(ReturnSetInfo *rsi, const RelayStatus *e)
{
	Datum v[NCOLUMNS];
	bool n[NCOLUMNS] = {false};

	v[0] = Int32GetDatum(e->relay);
	v[1] = CStringGetTextDatum(state_names[e->state]);
	n[2] = e->reason[0] == '\0';
	v[2] = CStringGetTextDatum(e->reason);
	v[3] = TimestampTzGetDatum(e->since);
	n[4] = e->contact == 0;
	v[4] = TimestampTzGetDatum(e->contact);
	n[5] = e->contact == 0;
	v[5] = Int64GetDatum(e->behind);
	n[6] = e->oldest == 0;
	v[6] = TimestampTzGetDatum(e->oldest);
	v[7] = Int32GetDatum(e->failures);
	n[8] = e->advice[0] == '\0';
	v[8] = CStringGetTextDatum(e->advice);
	tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
}

Datum
braid_sql_relay_statuses(PG_FUNCTION_ARGS)
{
	RelayStatus *copy = palloc(table->n * sizeof(RelayStatus));

	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(&table->lock, LW_SHARED);
	memcpy(copy, table->entries, table->n * sizeof(RelayStatus));
	LWLockRelease(&table->lock);
	for (int i = 0; i < table->n; i++)
		if (copy[i].dbid == MyDatabaseId)
			put_status((ReturnSetInfo *) fcinfo->resultinfo, &copy[i]);
	return (Datum) 0;
}

void
braid_relay_status_init(void)
{
	DefineCustomIntVariable(
		"braid.topic_max_relays",
		"Sets for how many relays, in all databases, braid.relays shows what they do.",
		"Those beyond run all the same.", &max_relays, 128, 1, 100000, PGC_POSTMASTER, 0, NULL,
		NULL, NULL);
	braid_shmem_register(&area);
}
