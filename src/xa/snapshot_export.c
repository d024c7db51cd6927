/*
 * snapshot_export.c
 *	  braid.export_snapshot(): lets other sessions use a snapshot over servers.
 *
 * NOTES
 *	  PostgreSQL exports a snapshot under a name that is good on that server, as
 *	  long as the transaction is open.  So each server exports its part, in the
 *	  transaction that has it, and whoever connects to the servers one by one
 *	  (pg_dump) imports them one by one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "xa/server.h"
#include "xa/snapshot.h"

PG_FUNCTION_INFO_V1(braid_sql_export_snapshot);

static void
export_part(ReturnSetInfo *rsi, Oid serverid)
{
	const char *server = GetForeignServer(serverid)->servername;
	char *sql = psprintf("SELECT id FROM %s", braid_xa_server_export_table(serverid));
	char *id;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not export the snapshot of server \"%s\"", server),
						errdetail("It did not answer as a server with braid does."),
						errhint("See braid.doctor().")));
	id = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	braid_xa_server_return(rsi, server, CStringGetTextDatum(id));
	SPI_finish();
}

/* export_snapshot() returns setof (server name, snapshot text) */
Datum
braid_sql_export_snapshot(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	bool taken;
	List *servers = braid_xa_snapshot_servers(&taken);
	ListCell *lc;

	if (!taken)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the transaction has no snapshot over servers"),
						errdetail("Without, what is exported would be of different moments."),
						errhint("Begin with BEGIN ISOLATION LEVEL REPEATABLE READ and SET LOCAL "
								"braid.snapshot.")));
	InitMaterializedSRF(fcinfo, 0);
	braid_xa_server_return(rsi, NULL, CStringGetTextDatum(ExportSnapshot(GetActiveSnapshot())));
	foreach (lc, servers)
		export_part(rsi, lfirst_oid(lc));
	return (Datum) 0;
}
