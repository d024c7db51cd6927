/*
 * ddl.c
 *	  Commands on foreign servers, as far as atomic commit is concerned.
 *
 * CREATE SERVER gets parallel_commit unless the user says otherwise (all
 * PREPAREs go out at once then) and wakes the resolver.  Commands that drop
 * servers lose the servers' hidden tables first, and are refused while a
 * transaction has an unfinished branch there.
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "common/compat.h"
#include "common/worker.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "xa/ddl.h"
#include "xa/server.h"
#include "xa/settings.h"
#include "xa/transaction.h"

static ProcessUtility_hook_type prev_process_utility = NULL;

static bool
creates_our_server(CreateForeignServerStmt *stmt)
{
	ForeignDataWrapper *fdw = GetForeignDataWrapperByName(stmt->fdwname, true);

	return fdw && braid_xa_wrapper_is_ours(fdw->fdwid);
}

static void
default_parallel_commit(CreateForeignServerStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->options)
		if (strcmp(lfirst_node(DefElem, lc)->defname, "parallel_commit") == 0)
			return;
	stmt->options =
		lappend(stmt->options, makeDefElem("parallel_commit", (Node *) makeString("true"), -1));
}

/*
 * ALTER SERVER ... ADD parallel_commit is to work as it does where nobody has
 * set a default: it replaces ours.
 */
static void
replace_parallel_commit(AlterForeignServerStmt *stmt)
{
	ForeignServer *server = GetForeignServerByName(stmt->servername, true);
	bool is_set = false;
	ListCell *lc;

	if (!server || !braid_xa_wrapper_is_ours(server->fdwid))
		return;
	foreach (lc, server->options)
		is_set |= strcmp(lfirst_node(DefElem, lc)->defname, "parallel_commit") == 0;
	foreach (lc, stmt->options)
	{
		DefElem *def = lfirst_node(DefElem, lc);

		if (is_set && strcmp(def->defname, "parallel_commit") == 0 &&
			(def->defaction == DEFELEM_ADD || def->defaction == DEFELEM_UNSPEC))
			def->defaction = DEFELEM_SET;
	}
}

/* Oids of our servers that a DROP names or cascades to. */
static List *
dropped_servers(DropStmt *stmt)
{
	List *servers = NIL;
	ListCell *lc;

	foreach (lc, stmt->objects)
	{
		if (stmt->removeType == OBJECT_FOREIGN_SERVER)
		{
			ForeignServer *server = GetForeignServerByName(strVal(lfirst(lc)), true);

			if (server && braid_xa_wrapper_is_ours(server->fdwid))
				servers = lappend_oid(servers, server->serverid);
		}
		else if (stmt->removeType == OBJECT_FDW && stmt->behavior == DROP_CASCADE)
		{
			ForeignDataWrapper *fdw = GetForeignDataWrapperByName(strVal(lfirst(lc)), true);

			if (fdw)
				servers = list_concat(servers, braid_xa_server_list(fdw->fdwid, InvalidOid));
		}
	}
	return servers;
}

static List *
servers_of_roles(List *roles)
{
	List *servers = NIL;
	ListCell *lc;

	foreach (lc, roles)
	{
		Oid roleid = get_rolespec_oid(lfirst(lc), true);

		if (OidIsValid(roleid) && has_privs_of_role(GetUserId(), roleid))
			servers = list_concat(servers, braid_xa_server_list(InvalidOid, roleid));
	}
	return servers;
}

/* Lets go of servers that are about to be dropped. */
static void
release_servers(List *servers)
{
	ListCell *lc;

	foreach (lc, servers)
	{
		Oid serverid = lfirst_oid(lc);

		/* Whoever may not drop it gets the command's own error. */
		if (!braid_compat_owns(ForeignServerRelationId, serverid))
			continue;
		if (braid_xa_transaction_uses_server(MyDatabaseId, serverid))
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg(
					 "cannot drop server \"%s\" because a global transaction has an unfinished branch on it",
					 GetForeignServer(serverid)->servername),
				 errhint("See braid.transactions.")));
		braid_xa_server_drop_hidden_tables(serverid);
	}
	if (servers != NIL)
		braid_worker_request_at_commit(braid_xa_resolver_kind);
}

static bool
concerns_us(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateForeignServerStmt:
		case T_AlterForeignServerStmt:
		case T_DropOwnedStmt:
			break;
		case T_CreateExtensionStmt:
			return strcmp(((CreateExtensionStmt *) stmt)->extname, "braid") == 0;
		case T_DropStmt:
			if (((DropStmt *) stmt)->removeType != OBJECT_FOREIGN_SERVER &&
				((DropStmt *) stmt)->removeType != OBJECT_FDW)
				return false;
			break;
		default:
			return false;
	}
	return !IsBinaryUpgrade && OidIsValid(get_extension_oid("braid", true));
}

/* What is to be done before the command; may change its tree. */
static void
prepare_command(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateForeignServerStmt:
			if (creates_our_server((CreateForeignServerStmt *) stmt))
			{
				default_parallel_commit((CreateForeignServerStmt *) stmt);
				braid_worker_request_at_commit(braid_xa_resolver_kind);
			}
			break;
		case T_AlterForeignServerStmt:
			replace_parallel_commit((AlterForeignServerStmt *) stmt);
			break;
		case T_CreateExtensionStmt:
			braid_worker_request_at_commit(braid_xa_resolver_kind);
			break;
		case T_DropStmt:
			release_servers(dropped_servers((DropStmt *) stmt));
			break;
		case T_DropOwnedStmt:
			release_servers(servers_of_roles(((DropOwnedStmt *) stmt)->roles));
			break;
		default:
			break;
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	if (concerns_us(pstmt->utilityStmt))
	{
		/* The tree may be a cached plan's. */
		if (read_only_tree)
			pstmt = copyObject(pstmt);
		prepare_command(pstmt->utilityStmt);
	}
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)(
		pstmt, query, read_only_tree, context, params, env, dest, qc);
}

void
braid_xa_ddl_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
