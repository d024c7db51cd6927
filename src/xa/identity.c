/*
 * identity.c
 *	  Who this database is as a coordinator.
 *
 * NOTES
 *	  The identity is a random number in the one row of
 *	  braid_internal.coordinator.  It travels with physical replication and
 *	  backups, so that a promoted standby knows its predecessor's transactions;
 *	  that two servers with one identity do not act at the same time is the
 *	  business of the advisory lock that the resolver holds on each participant.
 *
 *	  CREATE DATABASE ... TEMPLATE copies the row too.  The copy is another
 *	  database of the same server, so the row says for which database it was
 *	  made, and a copy draws a new number and drops the decisions that it
 *	  inherited: they are the original's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/shmem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "xa/decision.h"
#include "xa/identity.h"

#define MAX_IDENTITIES 1024 /* databases, over the life of the server */

typedef struct PublishedIdentity
{
	Oid dbid;
	XaIdentity identity;
} PublishedIdentity;

typedef struct IdentityTable
{
	slock_t mutex; /* guards all */
	int n;
	PublishedIdentity entries[MAX_IDENTITIES];
} IdentityTable;

static IdentityTable *table = NULL;

static Size
table_size(void)
{
	return sizeof(IdentityTable);
}

static void
table_init(void *area)
{
	SpinLockInit(&((IdentityTable *) area)->mutex);
}

static const BraidShmemArea area = {"braid xa identities", table_size, table_init,
									(void **) &table};

static bool
publish(XaIdentity identity)
{
	bool done = false;

	SpinLockAcquire(&table->mutex);
	for (int i = 0; i < MAX_IDENTITIES && !done; i++)
	{
		PublishedIdentity *e = &table->entries[i];

		if (i < table->n && e->dbid != MyDatabaseId)
			continue;
		e->dbid = MyDatabaseId;
		e->identity = identity;
		table->n = Max(table->n, i + 1);
		done = true;
	}
	SpinLockRelease(&table->mutex);
	return done;
}

static void
run(const char *sql, int expected)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc != expected)
		elog(ERROR, "SPI_execute returned %s for \"%s\"", SPI_result_code_string(rc), sql);
}

/* Gives a database that is a copy of another an identity of its own. */
static void
leave_template(void)
{
	char *sql = psprintf("UPDATE braid_internal.coordinator SET dbid = %u, "
						 "id = braid_internal.random_id() WHERE dbid <> %u",
						 MyDatabaseId, MyDatabaseId);

	run(sql, SPI_OK_UPDATE);
	if (SPI_processed > 0)
		braid_xa_decision_forget_all();
}

XaIdentity
braid_xa_identity_begin(void)
{
	XaIdentity identity;
	bool isnull;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	leave_template();
	run("UPDATE braid_internal.coordinator SET incarnation = incarnation + 1 "
		"RETURNING id, incarnation",
		SPI_OK_UPDATE_RETURNING);
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("table \"%s\" must have one row, not %llu",
							   "braid_internal.coordinator", (unsigned long long) SPI_processed)));
	identity.coordinator = (uint64) DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	identity.incarnation = (uint32) DatumGetInt32(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	SPI_finish();
	PopActiveSnapshot();

	/* No gid may carry an incarnation that a crash could make begin again. */
	ForceSyncCommit();
	CommitTransactionCommand();

	if (!publish(identity))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("no more than %d databases of a server can coordinate global transactions",
						MAX_IDENTITIES)));
	return identity;
}

bool
braid_xa_identity_get(XaIdentity *identity)
{
	bool found = false;

	SpinLockAcquire(&table->mutex);
	for (int i = 0; i < table->n; i++)
		if (table->entries[i].dbid == MyDatabaseId)
		{
			*identity = table->entries[i].identity;
			found = true;
		}
	SpinLockRelease(&table->mutex);
	return found;
}

void
braid_xa_identity_init(void)
{
	braid_shmem_register(&area);
}
