/*
 * version.c
 *	  The version of the loaded library, which braid.control alone defines.
 *
 * NOTES
 *	  New files are installed, the server is restarted with the new library, and
 *	  only then ALTER EXTENSION UPDATE brings each database to the new version.
 *	  Until then its tables may not be what the library takes them for: so no
 *	  worker runs there meanwhile, and says why.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "common/version.h"
#include "common/worker.h"
#include "fmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#ifndef BRAID_VERSION
#error "BRAID_VERSION comes from the Makefile, which reads braid.control"
#endif

static ProcessUtility_hook_type previous_hook = NULL;

PG_FUNCTION_INFO_V1(braid_sql_version);

Datum
braid_sql_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(BRAID_VERSION));
}

char *
braid_version_installed(void)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tup;
	char *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("braid"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool isnull;
		Datum value =
			heap_getattr(tup, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

char *
braid_version_problem(void)
{
	char *installed = braid_version_installed();

	if (installed == NULL || strcmp(installed, BRAID_VERSION) == 0)
		return NULL;
	return psprintf(
		_("extension \"braid\" has version %s in this database, its library version %s"), installed,
		BRAID_VERSION);
}

/* ALTER EXTENSION braid UPDATE: now the workers can run. */
static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node *stmt = pstmt->utilityStmt;

	(previous_hook ? previous_hook : standard_ProcessUtility)(pstmt, query, read_only_tree, context,
															  params, env, dest, qc);
	if (!IsA(stmt, AlterExtensionStmt) ||
		strcmp(((AlterExtensionStmt *) stmt)->extname, "braid") != 0)
		return;
	braid_worker_request_all_at_commit();
	if (braid_version_problem())
		ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						  errmsg("%s", braid_version_problem()),
						  errhint("Restart the server, so that it loads the new library.")));
}

void
braid_version_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
