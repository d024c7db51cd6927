/*
 * database.c
 *	  Commands on whole databases, as far as braid's workers are in their way.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME / SET TABLESPACE and CREATE DATABASE
 * ... TEMPLATE want a database without connections.  A worker is not a user:
 * it steps aside for them, and is back when they have ended if the database still
 * is.  Whoever may not run the command does not stop the workers either.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "common/compat.h"
#include "common/database.h"
#include "common/worker.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/syscache.h"

static ProcessUtility_hook_type prev_process_utility = NULL;
static void (*moved_hook)(Oid dbid) = NULL;

void
braid_database_when_moved(void (*moved)(Oid dbid))
{
	moved_hook = moved;
}

/* Name of the database that the command wants for itself, or NULL. */
static const char *
wanted_database(Node *stmt)
{
	ListCell *lc;

	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) stmt)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) stmt)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			foreach (lc, ((AlterDatabaseStmt *) stmt)->options)
				if (strcmp(lfirst_node(DefElem, lc)->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) stmt)->dbname;
			return NULL;
		case T_CreatedbStmt:
			foreach (lc, ((CreatedbStmt *) stmt)->options)
			{
				DefElem *def = lfirst_node(DefElem, lc);

				if (strcmp(def->defname, "template") == 0 && def->arg)
					return defGetString(def);
			}
			return "template1";
		default:
			return NULL;
	}
}

static bool
may_create_databases(void)
{
	HeapTuple tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool may = superuser();

	if (HeapTupleIsValid(tup))
	{
		may |= ((Form_pg_authid) GETSTRUCT(tup))->rolcreatedb;
		ReleaseSysCache(tup);
	}
	return may;
}

/* Can the command succeed, as far as one can tell by now? */
static bool
may_disturb(Oid dbid, Node *stmt)
{
	/* The session's own database can be copied, and nothing else. */
	if (IsA(stmt, CreatedbStmt))
		return may_create_databases();
	return dbid != MyDatabaseId && braid_compat_owns(DatabaseRelationId, dbid);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	const char *name = wanted_database(pstmt->utilityStmt);
	Oid dbid = name ? get_database_oid(name, true) : InvalidOid;

	bool disturbs = OidIsValid(dbid) && may_disturb(dbid, pstmt->utilityStmt);
	bool drops = IsA(pstmt->utilityStmt, DropdbStmt);

	if (disturbs)
		braid_worker_stop_database(dbid);
	PG_TRY();
	{
		(prev_process_utility ? prev_process_utility : standard_ProcessUtility)(
			pstmt, query, read_only_tree, context, params, env, dest, qc);
	}
	PG_CATCH();
	{
		if (disturbs)
			braid_worker_let_back(dbid);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (disturbs && IsA(pstmt->utilityStmt, AlterDatabaseStmt) && moved_hook)
		moved_hook(dbid);

	/* Until the commit the command's lock on the database keeps them waiting. */
	if (disturbs && !drops)
		braid_worker_let_back(dbid);
}

void
braid_database_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
