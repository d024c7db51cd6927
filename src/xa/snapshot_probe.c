/*
 * snapshot_probe.c
 *	  Has other servers take their part of a snapshot.
 *
 * NOTES
 *	  The part on a server has to be that of the transaction in which postgres_fdw
 *	  reads there later.  It begins that, of REPEATABLE READ at least, when a scan
 *	  begins, and the first query in it takes the snapshot for all that follow.
 *	  While the gate is closed it has to be quick, and to all servers at once; but
 *	  postgres_fdw sends queries one after the other.
 *
 *	  What it sends at once is the end of a subtransaction: RELEASE SAVEPOINT, to all
 *	  servers with parallel_commit.  So
 *
 *		begin	in a subtransaction, begin a scan on each server and end it again:
 *				connects, START TRANSACTION, SAVEPOINT
 *				(the gate is closed)
 *		fix		commit the subtransaction: RELEASE SAVEPOINT
 *
 *	  and the participant (snapshot_fix.c) takes the snapshot at that command.
 *
 *	  That this works depends on how postgres_fdw does savepoints.  So it is not
 *	  trusted before it was seen: when a session first has a snapshot on a server,
 *	  a query follows, which says whether there was a snapshot already.  If there
 *	  was not, then the query has taken it, still behind the closed gate, and goes
 *	  on doing so.
 *
 *	  The local snapshot must not be taken before the gate is closed, so the scans
 *	  are planned and begun under a snapshot of the catalog.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "xa/server.h"
#include "xa/snapshot_probe.h"

struct XaProbe
{
	List *serverids;
	MemoryContext context; /* the caller's */
	ResourceOwner owner;
};

/* Servers (oids) on which it was seen to work, in this session. */
static List *proven = NIL;

/* The scan of the servers that were asked for last; their SQL. */
static SPIPlanPtr scan = NULL;
static char *scan_sql = NULL;

static void
forget_proofs(Datum arg, int cacheid, uint32 hashvalue)
{
	list_free(proven);
	proven = NIL;
}

/* ---------------------------------------------------------------- begin */

static char *
sql_of(List *serverids)
{
	StringInfoData sql;
	ListCell *lc;

	initStringInfo(&sql);
	foreach (lc, serverids)
		appendStringInfo(&sql, "%sSELECT FROM %s", sql.len > 0 ? " UNION ALL " : "",
						 braid_xa_server_snapshot_table(lfirst_oid(lc)));
	return sql.data;
}

/* Most sessions ask for the same servers each time.  SPI must be connected. */
static void
prepare_scan(const char *sql)
{
	SPIPlanPtr plan;

	if (scan && strcmp(scan_sql, sql) == 0)
		return;
	plan = SPI_prepare(sql, 0, NULL);
	if (!plan)
		elog(ERROR, "SPI_prepare returned %s for \"%s\"", SPI_result_code_string(SPI_result), sql);
	if (scan)
	{
		SPI_freeplan(scan);
		pfree(scan_sql);
		scan = NULL;
	}
	scan_sql = MemoryContextStrdup(TopMemoryContext, sql);
	SPI_keepplan(plan);
	scan = plan;
}

/* The scans are begun and not run: nothing is queried.  Not by the hooks, it is no user's query. */
static void
begin_transactions(const char *sql)
{
	CachedPlan *plan;
	QueryDesc *query;

	SPI_connect();
	prepare_scan(sql);
	plan = SPI_plan_get_cached_plan(scan);
	query = CreateQueryDesc(linitial_node(PlannedStmt, plan->stmt_list), sql, GetActiveSnapshot(),
							InvalidSnapshot, None_Receiver, NULL, NULL, 0);
	standard_ExecutorStart(query, 0);
	standard_ExecutorFinish(query);
	standard_ExecutorEnd(query);
	FreeQueryDesc(query);
	ReleaseCachedPlan(plan, CurrentResourceOwner);
	SPI_finish();
}

XaProbe *
braid_xa_probe_begin(List *serverids)
{
	XaProbe *probe = palloc0(sizeof(XaProbe));

	probe->serverids = serverids;
	probe->context = CurrentMemoryContext;
	probe->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(probe->context);
	if (serverids != NIL)
	{
		PushActiveSnapshot(GetCatalogSnapshot(InvalidOid));
		begin_transactions(sql_of(serverids));
		PopActiveSnapshot();
	}
	return probe;
}

/* ---------------------------------------------------------------- fix */

/* Asks whether the server had a snapshot; it has one then in any case. */
static void
query_server(Oid serverid)
{
	char *sql = psprintf("SELECT fixed FROM %s", braid_xa_server_snapshot_table(serverid));
	MemoryContext old;
	bool isnull;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not take a snapshot on server \"%s\"",
							   GetForeignServer(serverid)->servername),
						errdetail("It did not answer as a server with braid does."),
						errhint("See braid.doctor().")));
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		proven = list_append_unique_oid(proven, serverid);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	PopActiveSnapshot();
}

void
braid_xa_probe_fix(XaProbe *probe)
{
	ListCell *lc;

	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(probe->context);
	CurrentResourceOwner = probe->owner;
	foreach (lc, probe->serverids)
		if (!list_member_oid(proven, lfirst_oid(lc)))
			query_server(lfirst_oid(lc));
	pfree(probe);
}

void
braid_xa_probe_init(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, forget_proofs, 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, forget_proofs, 0);
}
