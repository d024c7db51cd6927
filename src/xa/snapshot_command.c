/*
 * snapshot_command.c
 *	  Commands and settings that ask for a snapshot over servers.
 *
 * NOTES
 *	  A snapshot is taken by the first query of a transaction, before anybody knows
 *	  what it reads; of the commands before it some do not take it, SET and BEGIN
 *	  among them.  So SET LOCAL braid.snapshot takes it, and with
 *	  braid.default_snapshot BEGIN does, or whatever makes the transaction one of
 *	  REPEATABLE READ.
 *
 *	  Parameters can be set in other ways too, which have taken the local snapshot
 *	  before or know of no transaction: the check of braid.snapshot lets a value
 *	  pass only while this file runs the command.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_foreign_server.h"
#include "common/xact.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"
#include "xa/server.h"
#include "xa/settings.h"
#include "xa/snapshot.h"
#include "xa/snapshot_command.h"
#include "xa/xa.h"

#define ALL "all"
#define STATEMENT "statement"

char *braid_default_snapshot = NULL;
int braid_snapshot_timeout = 2000;

static char *snapshot = NULL; /* the value of braid.snapshot */

static ProcessUtility_hook_type previous_hook = NULL;

/* Does SET LOCAL braid.snapshot run? */
static bool setting = false;

/* ---------------------------------------------------------------- servers */

static bool
may_read(Oid serverid)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(GetUserId()),
								 ObjectIdGetDatum(serverid)) ||
		   SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								 ObjectIdGetDatum(serverid));
}

/* All to which the current user can connect; the others he will not read. */
static List *
all_servers(void)
{
	List *servers = NIL;
	ListCell *lc;

	foreach (lc, braid_xa_server_list(InvalidOid))
		if (may_read(lfirst_oid(lc)))
			servers = lappend_oid(servers, lfirst_oid(lc));
	return servers;
}

static Oid
server_by_name(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (!server)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("server \"%s\" does not exist", name),
				 errdetail("A snapshot is asked for over this server."),
				 errhint("Name foreign servers, separated by commas, or \"" ALL "\".")));
	if (!braid_xa_wrapper_is_ours(server->fdwid))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" cannot be part of a snapshot", name),
						errdetail("Its foreign-data wrapper does not commit atomically."),
						errhint("See braid.adopt().")));
	return server->serverid;
}

/* In the order of their oids, which is the same for all. */
static List *
servers_of(const char *value)
{
	List *names = NIL;
	List *servers = NIL;
	ListCell *lc;

	if (pg_strcasecmp(value, ALL) == 0)
		servers = all_servers();
	else if (!SplitIdentifierString(pstrdup(value), ',', &names))
		elog(ERROR, "list \"%s\" has become invalid", value);
	foreach (lc, names)
		servers = list_append_unique_oid(servers, server_by_name(lfirst(lc)));
	list_sort(servers, list_oid_cmp);
	return servers;
}

/* ---------------------------------------------------------------- settings */

static bool
check_list(char **value, void **extra, GucSource source)
{
	List *names;
	char *copy = pstrdup(*value);
	bool valid = SplitIdentifierString(copy, ',', &names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	else if (list_length(names) == 1 && strcmp(linitial(names), STATEMENT) == 0)
	{
		valid = false;
		GUC_check_errcode(ERRCODE_FEATURE_NOT_SUPPORTED);
		GUC_check_errmsg("snapshots of single statements over servers are not possible");
		GUC_check_errdetail("postgres_fdw keeps one snapshot on each server until the transaction "
							"ends, whatever its isolation level is here.");
		GUC_check_errhint(
			"Use BEGIN ISOLATION LEVEL REPEATABLE READ and SET LOCAL braid.snapshot.");
	}
	list_free(names);
	pfree(copy);
	return valid;
}

static bool
check_snapshot(char **value, void **extra, GucSource source)
{
	if ((*value)[0] == '\0' || InitializingParallelWorker)
		return true;
	if (!check_list(value, extra, source))
		return false;
	if (setting)
		return true;
	GUC_check_errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	GUC_check_errmsg("parameter \"braid.snapshot\" can be set by SET LOCAL only");
	GUC_check_errdetail("The command takes a snapshot, for the current transaction.");
	GUC_check_errhint("To have one in each transaction, set \"braid.default_snapshot\".");
	return false;
}

static void
define_settings(void)
{
	DefineCustomStringVariable(
		"braid.snapshot", "Takes one consistent snapshot over servers for the transaction.",
		"SET LOCAL takes it: here and on the servers in the list, or on all of them if that is "
		"\"" ALL "\".  An empty string is none.",
		&snapshot, "", PGC_USERSET, GUC_LIST_INPUT | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
		check_snapshot, NULL, NULL);
	DefineCustomStringVariable(
		"braid.default_snapshot",
		"Sets the servers over which each transaction of REPEATABLE READ has one snapshot.",
		"It is taken when the transaction begins, as by SET LOCAL braid.snapshot.  An empty "
		"string is none.",
		&braid_default_snapshot, "", PGC_USERSET, GUC_LIST_INPUT, check_list, NULL, NULL);
	DefineCustomIntVariable(
		"braid.snapshot_timeout",
		"Sets how long it may take to get a snapshot over servers, while commits wait.",
		"The time that it takes to connect to servers does not count.  If it passes, the command "
		"fails, and can be tried again.",
		&braid_snapshot_timeout, 2000, 1, INT_MAX / 2, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* ---------------------------------------------------------------- commands */

static bool
sets_snapshot(Node *stmt)
{
	VariableSetStmt *set = (VariableSetStmt *) stmt;

	return IsA(stmt, VariableSetStmt) && set->kind == VAR_SET_VALUE && set->is_local &&
		   pg_strcasecmp(set->name, "braid.snapshot") == 0;
}

static void
refuse_outside_block(void)
{
	if (!IsTransactionBlock())
		ereport(ERROR, (errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
						errmsg("SET LOCAL braid.snapshot can only be used in transaction blocks"),
						errdetail("The snapshot would end with the command."),
						errhint("Use BEGIN ISOLATION LEVEL REPEATABLE READ first.")));
}

static void
take_set_snapshot(void)
{
	setting = false;
	if (snapshot[0] == '\0')
		return;
	if (IsolationIsSerializable())
		ereport(
			NOTICE,
			(errmsg("isolation level SERIALIZABLE holds on each server, not over all of them"),
			 errdetail("The snapshot is consistent over all servers.  Write skew between rows on "
					   "different servers is not detected.")));
	braid_xa_snapshot_take(servers_of(snapshot));
}

static void
take_default_snapshot(bool begins)
{
	bool taken;

	(void) braid_xa_snapshot_servers(&taken);
	if (taken || !braid_xa_snapshot_is_default() || !IsTransactionBlock() || FirstSnapshotSet ||
		RecoveryInProgress())
		return;

	/* BEGIN itself: the block that has begun is to have a subtransaction. */
	if (begins)
	{
		CommitTransactionCommand();
		StartTransactionCommand();
	}
	braid_xa_snapshot_take(servers_of(braid_default_snapshot));
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	bool sets = sets_snapshot(pstmt->utilityStmt);
	bool begins = braid_xact_may_begin(pstmt->utilityStmt);

	if (sets)
	{
		refuse_outside_block();
		setting = true;
	}
	(previous_hook ? previous_hook : standard_ProcessUtility)(pstmt, query, read_only_tree, context,
															  params, env, dest, qc);
	if (sets)
		take_set_snapshot();
	else if (begins)
		take_default_snapshot(IsA(pstmt->utilityStmt, TransactionStmt));
}

/* The command has failed. */
static void
end_of_transaction(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		setting = false;
}

static void
end_of_subtransaction(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		setting = false;
}

void
braid_xa_snapshot_command_init(void)
{
	define_settings();
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
	braid_xact_register_subxact(end_of_subtransaction);
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
