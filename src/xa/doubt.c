/*
 * doubt.c
 *	  Which servers have, or may have, branches that are not finished.
 *
 * NOTES
 *	  Shared memory knows all transactions that were under way since it was made,
 *	  until they are finished on all servers (transaction.h).  What was decided
 *	  before that is in the decision tables, where a row says no more than that
 *	  a branch may be there still: it is ruled out by a sweep that found the server
 *	  clean after the decision.  Prepared branches that a sweep could not finish
 *	  are the third source.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "xa/doubt.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/transaction.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_doubt_on_server);

/* Constant after it was initialized. */
typedef struct DoubtShared
{
	TimestampTz since; /* when shared memory was made */
} DoubtShared;

static DoubtShared *shared = NULL;

static Size
shared_size(void)
{
	return sizeof(DoubtShared);
}

static void
shared_init(void *area)
{
	((DoubtShared *) area)->since = GetCurrentTimestamp();
}

static const BraidShmemArea area = {"braid xa doubt", shared_size, shared_init, (void **) &shared};

static bool
is_found_in_doubt(Oid serverid)
{
	XaFinding f;

	for (int i = 0; braid_xa_node_read_finding(i, &f); i++)
		if (f.dbid == MyDatabaseId && f.serverid == serverid && f.state == XA_FINDING_FAILED)
			return true;
	return false;
}

/* A time as an SQL expression, to the microsecond and in any DateStyle. */
static char *
time_expression(TimestampTz t)
{
	return psprintf("(timestamptz '2000-01-01 00:00+00' + %lld * interval '1 microsecond')",
					(long long) t);
}

/* Is the server named by a decision of which nobody knows whether it is finished? */
static bool
is_decided_unchecked(Oid serverid)
{
	XaNode node;
	char *unchecked;
	bool found;

	/* Without an entry nothing is known to be clean. */
	(void) braid_xa_node_find(serverid, &node);
	unchecked =
		psprintf("SELECT FROM braid_internal.decisions WHERE %u = ANY (servers) "
				 "AND decided >= %s AND decided < %s LIMIT 1",
				 serverid, time_expression(node.clean_before), time_expression(shared->since));
	SPI_connect();
	braid_superuser_execute(unchecked);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

bool
braid_xa_doubt_on_server(Oid serverid)
{
	return braid_xa_transaction_uses_server(MyDatabaseId, serverid) ||
		   is_found_in_doubt(serverid) || is_decided_unchecked(serverid);
}

bool
braid_xa_doubt_remains_on_server(Oid serverid)
{
	uint64 request = braid_xa_node_request_sweep(MyDatabaseId, serverid);

	/* A server that is not ready is not waited for. */
	if (request != 0)
		(void) braid_xa_node_wait_sweep(serverid, request, braid_xa_ready_timeout);
	return braid_xa_doubt_on_server(serverid);
}

char *
braid_xa_doubt_prepared_here(void)
{
	MemoryContext caller = CurrentMemoryContext;
	char *gid = NULL;

	SPI_connect();
	braid_superuser_execute("SELECT gid FROM pg_catalog.pg_prepared_xacts "
							"WHERE database = pg_catalog.current_database() "
							"AND pg_catalog.starts_with(gid, 'braid:') ORDER BY prepared LIMIT 1");
	if (SPI_processed > 0)
		gid = MemoryContextStrdup(caller,
								  SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return gid;
}

/* xa_doubt_on_server(oid) returns bool */
Datum
braid_sql_xa_doubt_on_server(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(braid_xa_doubt_on_server(PG_GETARG_OID(0)));
}

void
braid_xa_doubt_init(void)
{
	braid_shmem_register(&area);
}
