/*
 * identity.c
 *	  Who this database is as a coordinator.
 *
 * NOTES
 *	  The identity is a random number in the one row of
 *	  braid_internal.coordinator.  It travels with physical replication and
 *	  backups, so that a promoted standby knows its predecessor's transactions.
 *
 *	  From a promotion on there are two lines of history with one identity, and
 *	  only one of them may go on.  The row therefore says on which server it was
 *	  used last: by system identifier, timeline and the inode of a file of the
 *	  data directory.
 *
 *		the same server				the line goes on
 *		another timeline			promoted: a new line in a later epoch, which
 *									participants let supersede the old one
 *		another system identifier	pg_upgrade: the line goes on
 *		only another directory		a copy of the files that nobody has promoted,
 *									perhaps beside its living original: it
 *									does nothing before braid.take_over()
 *
 *	  Lines count their incarnations from random numbers, so that their gids differ
 *	  although both go on from the same transaction id.  Within a line, and from
 *	  it to the next, no pair of incarnation and xid comes twice: the incarnation
 *	  is durable before its first gid, and only an xid that a crash has lost is
 *	  handed out again, in the next incarnation.
 *
 *	  CREATE DATABASE ... TEMPLATE copies the row too.  The copy is another
 *	  database of the same server, so the row says for which database it was
 *	  made, and a copy draws a new number and drops the decisions that it
 *	  inherited: they are the original's.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/query.h"
#include "common/shmem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/builtins.h"
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

/* Gives a database that is a copy of another an identity of its own. */
static void
leave_template(void)
{
	char *sql =
		psprintf("UPDATE braid_internal.coordinator SET dbid = %u, "
				 "id = braid_internal.random_id(), system_identifier = NULL WHERE dbid <> %u",
				 MyDatabaseId, MyDatabaseId);

	braid_query_execute(sql, SPI_OK_UPDATE);
	if (SPI_processed > 0)
		braid_xa_decision_forget_all();
}

/* Number of the directory that this server's files are in. */
static int64
directory_number(void)
{
	struct stat st;

	if (stat("PG_VERSION", &st) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not stat file \"%s\": %m", "PG_VERSION")));
	return (int64) st.st_ino;
}

/* Notes on which server the line goes on, and begins a new one if it was promoted. */
static void
follow_promotion(uint64 system_identifier, TimeLineID timeline, int64 directory)
{
	braid_query_execute(
		psprintf("UPDATE braid_internal.coordinator "
				 "SET epoch = greatest(epoch + 1, %u), line = braid_internal.random_id(), "
				 "incarnation = braid_internal.random_incarnation() "
				 "WHERE system_identifier = %lld AND timeline <> %u",
				 timeline, (long long) system_identifier, timeline),
		SPI_OK_UPDATE);
	if (SPI_processed > 0)
		ereport(LOG, (errmsg("this server was promoted and takes over the global transactions of "
							 "its predecessor")));
	braid_query_execute(psprintf("UPDATE braid_internal.coordinator "
								 "SET system_identifier = %lld, timeline = %u, directory = %lld "
								 "WHERE system_identifier IS DISTINCT FROM %lld OR timeline <> %u",
								 (long long) system_identifier, timeline, (long long) directory,
								 (long long) system_identifier, timeline),
						SPI_OK_UPDATE);
}

static int64
column(int number)
{
	bool isnull;

	return DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull));
}

/* Begins an incarnation, unless this is a copy.  SPI is connected. */
static XaIdentity
begin_incarnation(void)
{
	int64 directory = directory_number();
	XaIdentity identity;

	leave_template();
	follow_promotion(GetSystemIdentifier(), GetWALInsertionTimeLine(), directory);
	braid_query_execute(
		psprintf("UPDATE braid_internal.coordinator "
				 "SET incarnation = incarnation + CASE WHEN directory = %lld THEN 1 ELSE 0 END "
				 "RETURNING id, incarnation::bigint, epoch, line, (directory <> %lld)::int::bigint",
				 (long long) directory, (long long) directory),
		SPI_OK_UPDATE_RETURNING);
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("table \"%s\" must have one row, not %llu",
							   "braid_internal.coordinator", (unsigned long long) SPI_processed)));
	identity.coordinator = (uint64) column(1);
	identity.incarnation = (uint32) column(2);
	identity.epoch = column(3);
	identity.line = column(4);
	identity.is_copy = column(5) != 0;
	return identity;
}

XaIdentity
braid_xa_identity_begin(void)
{
	MemoryContext caller = braid_query_begin();
	XaIdentity identity;

	identity = begin_incarnation();

	/* No gid may carry an incarnation that a crash could make begin again. */
	ForceSyncCommit();
	braid_query_end(caller);

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
