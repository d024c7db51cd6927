/*
 * ddl.c
 *	  Commands on foreign servers, as far as atomic commit is concerned.
 *
 * CREATE SERVER gets parallel_commit unless the user says otherwise (all
 * PREPAREs go out at once then) and wakes the resolver.  A wrapper that gets
 * another handler, as by braid.adopt(), waits for its writers.  What is dropped is
 * looked at in drop.c.
 */
#include "postgres.h"

#include "catalog/pg_foreign_data_wrapper.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "xa/ddl.h"
#include "xa/drop.h"
#include "xa/server.h"
#include "xa/settings.h"

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

static bool
names_our_handler(AlterFdwStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->func_options)
	{
		DefElem *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "handler") == 0 && def->arg)
			return braid_xa_handler_is_ours(LookupFuncName((List *) def->arg, 0, NULL, true));
	}
	return false;
}

/*
 * A wrapper that gets another handler.  Sessions have the old one in their cached
 * descriptions of its foreign tables, and transactions may have written through
 * it: these are waited for here, those invalidated after the command.
 */
static void
prepare_handler_change(AlterFdwStmt *stmt)
{
	ForeignDataWrapper *fdw = GetForeignDataWrapperByName(stmt->fdwname, true);
	List *servers;
	ListCell *lc;

	if (!fdw || !superuser() || !(braid_xa_wrapper_is_ours(fdw->fdwid) || names_our_handler(stmt)))
		return;
	braid_xa_wrapper_wait_for_writers(fdw->fdwid);
	servers = braid_xa_server_list(fdw->fdwid);
	foreach (lc, servers)
		braid_xa_drop_refuse_in_doubt(lfirst_oid(lc),
									  psprintf("change the handler of server \"%s\"",
											   GetForeignServer(lfirst_oid(lc))->servername));

	/* If it is to stay ours, the resolver makes them anew. */
	foreach (lc, servers)
		braid_xa_server_drop_hidden_tables(lfirst_oid(lc));
	braid_worker_request_at_commit(braid_xa_resolver_kind);
}

/* The record of an adoption follows the wrapper's name. */
static void
rename_adoption(RenameStmt *stmt)
{
	char *old = strVal(stmt->object);
	ForeignDataWrapper *fdw = GetForeignDataWrapperByName(old, true);

	if (!fdw || !braid_compat_owns(ForeignDataWrapperRelationId, fdw->fdwid))
		return;
	SPI_connect();
	braid_superuser_execute(
		psprintf("UPDATE braid_internal.adoptions SET wrapper = %s WHERE wrapper = %s",
				 quote_literal_cstr(stmt->newname), quote_literal_cstr(old)));
	SPI_finish();
}

static void
finish_handler_change(AlterFdwStmt *stmt)
{
	ForeignDataWrapper *fdw = GetForeignDataWrapperByName(stmt->fdwname, true);

	if (fdw)
		braid_xa_wrapper_invalidate(fdw->fdwid);
}

static bool
drops_servers(DropStmt *stmt)
{
	switch (stmt->removeType)
	{
		case OBJECT_FOREIGN_SERVER:
		case OBJECT_FDW:
		case OBJECT_EXTENSION:
			return true;
		case OBJECT_SCHEMA:
		case OBJECT_FUNCTION:
		case OBJECT_ROUTINE:
			return stmt->behavior == DROP_CASCADE;
		default:
			return false;
	}
}

static bool
concerns_us(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateForeignServerStmt:
		case T_AlterForeignServerStmt:
		case T_DropOwnedStmt:
		case T_DropUserMappingStmt:
			break;
		case T_AlterFdwStmt:
			if (((AlterFdwStmt *) stmt)->func_options == NIL)
				return false;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType != OBJECT_FDW)
				return false;
			break;
		case T_CreateExtensionStmt:
			return strcmp(((CreateExtensionStmt *) stmt)->extname, "braid") == 0;
		case T_DropStmt:
			if (!drops_servers((DropStmt *) stmt))
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
			braid_xa_drop_objects((DropStmt *) stmt);
			break;
		case T_DropOwnedStmt:
			braid_xa_drop_owned((DropOwnedStmt *) stmt);
			break;
		case T_DropUserMappingStmt:
			braid_xa_drop_user_mapping((DropUserMappingStmt *) stmt);
			break;
		case T_AlterFdwStmt:
			prepare_handler_change((AlterFdwStmt *) stmt);
			break;
		case T_RenameStmt:
			rename_adoption((RenameStmt *) stmt);
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
	bool ours = concerns_us(pstmt->utilityStmt);

	if (ours)
	{
		/* The tree may be a cached plan's. */
		if (read_only_tree)
			pstmt = copyObject(pstmt);
		prepare_command(pstmt->utilityStmt);
	}
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)(
		pstmt, query, read_only_tree, context, params, env, dest, qc);
	if (ours && IsA(pstmt->utilityStmt, AlterFdwStmt))
		finish_handler_change((AlterFdwStmt *) pstmt->utilityStmt);
}

void
braid_xa_ddl_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
