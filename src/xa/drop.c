/*
 * drop.c
 *	  Commands that drop what atomic commit depends on.
 *
 * NOTES
 *	  What a command is going to drop is found by following pg_depend from the
 *	  objects that it names, as CASCADE would: servers, user mappings, wrappers
 *	  and the extension itself.  Without CASCADE the command may fail later
 *	  because of what was found; whatever was done here is rolled back then.
 *
 *	  Three things are to be prevented:
 *	  1. that a server, or the resolver's way to it, goes while a branch there is
 *		 not finished: its locks would stay until somebody finds it by hand;
 *	  2. that the extension goes with a server through the server's hidden table
 *		 (server.c): that table is removed first;
 *	  3. that users' servers go with the extension, because their wrapper
 *		 depends on braid's handler: an adopted wrapper is given back, servers of
 *		 braid_fdw have to be dropped by name.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_user_mapping.h"
#include "commands/extension.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "xa/doubt.h"
#include "xa/drop.h"
#include "xa/server.h"
#include "xa/settings.h"

/* What a command drops, of the kinds that matter here: oids. */
typedef struct Dropped
{
	List *servers; /* ours */
	List *mappings;
	List *wrappers; /* any */
	bool extension; /* braid */
} Dropped;

/* ---------------------------------------------------------------- what goes */

static Oid
braid_extension(void)
{
	return get_extension_oid("braid", true);
}

/* The object that a DROP names, if it is one through which servers can go. */
static ObjectAddress
named_object(ObjectType type, Node *name)
{
	ObjectAddress a = InvalidObjectAddress;

	switch (type)
	{
		case OBJECT_FOREIGN_SERVER:
			ObjectAddressSet(a, ForeignServerRelationId,
							 get_foreign_server_oid(strVal(name), true));
			break;
		case OBJECT_FDW:
			ObjectAddressSet(a, ForeignDataWrapperRelationId,
							 get_foreign_data_wrapper_oid(strVal(name), true));
			break;
		case OBJECT_EXTENSION:
			ObjectAddressSet(a, ExtensionRelationId, get_extension_oid(strVal(name), true));
			break;
		case OBJECT_SCHEMA:
			ObjectAddressSet(a, NamespaceRelationId, get_namespace_oid(strVal(name), true));
			break;
		case OBJECT_FUNCTION:
		case OBJECT_ROUTINE:
			ObjectAddressSet(a, ProcedureRelationId,
							 LookupFuncWithArgs(type, castNode(ObjectWithArgs, name), true));
			break;
		default:
			break;
	}
	return a;
}

/*
 * The named objects as rows (class, object) of SQL; NULL if there is none, or if
 * one is not the user's, who then gets the command's own error.
 */
static char *
named_objects(DropStmt *stmt)
{
	StringInfoData rows;
	ListCell *lc;

	initStringInfo(&rows);
	foreach (lc, stmt->objects)
	{
		ObjectAddress a = named_object(stmt->removeType, lfirst(lc));

		if (!OidIsValid(a.objectId))
			continue;
		if (!braid_compat_owns(a.classId, a.objectId))
			return NULL;
		appendStringInfo(&rows, "%s(%u::oid, %u::oid)", rows.len ? ", " : "VALUES ", a.classId,
						 a.objectId);
	}
	return rows.len ? rows.data : NULL;
}

/* The same for all that the roles own in this database. */
static char *
owned_objects(List *roles)
{
	StringInfoData oids;
	ListCell *lc;

	initStringInfo(&oids);
	foreach (lc, roles)
	{
		Oid roleid = get_rolespec_oid(lfirst(lc), true);

		if (OidIsValid(roleid) && has_privs_of_role(GetUserId(), roleid))
			appendStringInfo(&oids, "%s%u", oids.len ? ", " : "", roleid);
	}
	if (oids.len == 0)
		return NULL;
	return psprintf("SELECT classid, objid FROM pg_catalog.pg_shdepend "
					"WHERE dbid = %u AND refclassid = %u AND refobjid IN (%s) AND deptype = 'o'",
					MyDatabaseId, AuthIdRelationId, oids.data);
}

static bool
is_our_server(Oid serverid)
{
	ForeignServer *server = GetForeignServerExtended(serverid, FSV_MISSING_OK);

	return server && braid_xa_wrapper_is_ours(server->fdwid);
}

static void
add_dropped(Dropped *d, Oid classid, Oid objid)
{
	switch (classid)
	{
		case ForeignServerRelationId:
			if (is_our_server(objid))
				d->servers = lappend_oid(d->servers, objid);
			break;
		case UserMappingRelationId:
			d->mappings = lappend_oid(d->mappings, objid);
			break;
		case ForeignDataWrapperRelationId:
			d->wrappers = lappend_oid(d->wrappers, objid);
			break;
		case ExtensionRelationId:
			d->extension |= objid == braid_extension();
			break;
	}
}

/* All that goes with these objects (rows of SQL). */
static Dropped
find_dropped(const char *objects)
{
	MemoryContext caller = CurrentMemoryContext;
	Dropped d = {0};

	SPI_connect();
	braid_superuser_execute(
		psprintf("WITH RECURSIVE gone (classid, objid) AS (%s UNION "
				 "SELECT d.classid, d.objid FROM gone JOIN pg_catalog.pg_depend d "
				 "ON d.refclassid = gone.classid AND d.refobjid = gone.objid) "
				 "SELECT classid, objid FROM gone WHERE classid IN (%u, %u, %u, %u)",
				 objects, ForeignServerRelationId, UserMappingRelationId,
				 ForeignDataWrapperRelationId, ExtensionRelationId));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Datum classid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		Datum objid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		add_dropped(&d, DatumGetObjectId(classid), DatumGetObjectId(objid));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return d;
}

/* ---------------------------------------------------------------- refusals */

void
braid_xa_drop_refuse_in_doubt(Oid serverid, const char *action)
{
	if (!braid_xa_doubt_remains_on_server(serverid))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_IN_USE),
		 errmsg("cannot %s because a global transaction has an unfinished branch on it", action),
		 errhint("See braid.transactions.  It is finished by itself once the server is ready.")));
}

static void
refuse_server(Oid serverid)
{
	braid_xa_drop_refuse_in_doubt(
		serverid, psprintf("drop server \"%s\"", GetForeignServer(serverid)->servername));
}

/* The resolver needs its mapping, and no other one, to finish branches. */
static void
refuse_mapping(Oid umid)
{
	HeapTuple tup = SearchSysCache1(USERMAPPINGOID, ObjectIdGetDatum(umid));
	Form_pg_user_mapping mapping;
	Oid serverid = InvalidOid;

	if (!HeapTupleIsValid(tup))
		return;
	mapping = (Form_pg_user_mapping) GETSTRUCT(tup);
	if (OidIsValid(mapping->umuser) &&
		mapping->umuser == get_role_oid(BRAID_XA_RESOLVER_ROLE, true) &&
		is_our_server(mapping->umserver))
		serverid = mapping->umserver;
	ReleaseSysCache(tup);
	if (OidIsValid(serverid))
		braid_xa_drop_refuse_in_doubt(
			serverid, psprintf("drop the user mapping of role \"" BRAID_XA_RESOLVER_ROLE
							   "\" for server \"%s\"",
							   GetForeignServer(serverid)->servername));
}

/* ---------------------------------------------------------------- extension */

static bool
is_braids_own(Oid fdwid)
{
	return getExtensionOfObject(ForeignDataWrapperRelationId, fdwid) == braid_extension();
}

static char *
server_names(List *serverids)
{
	StringInfoData names;
	ListCell *lc;

	initStringInfo(&names);
	foreach (lc, serverids)
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
						 GetForeignServer(lfirst_oid(lc))->servername);
	return names.data;
}

static void
refuse_branch_here(void)
{
	char *gid = braid_xa_doubt_prepared_here();

	if (gid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot drop extension \"%s\" because prepared transaction \"%s\" is a "
						"branch of a global transaction",
						"braid", gid),
				 errhint("Let its coordinator finish it first; see braid.transactions there.")));
}

/* The wrapper that comes with the extension goes with it, but not its servers. */
static void
refuse_own_wrapper(Oid fdwid)
{
	List *servers = braid_xa_server_list(fdwid);

	if (servers == NIL)
		return;
	ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					errmsg("cannot drop extension \"%s\" because servers use it", "braid"),
					errdetail("Servers of foreign-data wrapper \"%s\": %s.",
							  GetForeignDataWrapper(fdwid)->fdwname, server_names(servers)),
					errhint("Drop these servers first, each by its name.")));
}

/* An adopted wrapper must not go with braid's handler. */
static void
release_wrapper(Oid fdwid, DropBehavior behavior)
{
	List *servers = braid_xa_server_list(fdwid);
	const char *name = quote_literal_cstr(GetForeignDataWrapper(fdwid)->fdwname);

	if (servers != NIL && behavior != DROP_CASCADE)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop extension \"%s\" because foreign-data wrapper \"%s\" has "
						"adopted its handler",
						"braid", GetForeignDataWrapper(fdwid)->fdwname),
				 errdetail("Transactions over its servers would not be atomic any more: %s.",
						   server_names(servers)),
				 errhint("Run SELECT braid.release(%s) first, or use DROP EXTENSION ... CASCADE, "
						 "which does the same and keeps the servers.",
						 name)));
	SPI_connect();
	braid_superuser_execute(psprintf("SELECT braid.release(%s)", name));
	SPI_finish();
}

/* The extension goes, and with it these wrappers. */
static void
detach_wrappers(List *wrappers, DropBehavior behavior)
{
	ListCell *lc;

	foreach (lc, wrappers)
		if (is_braids_own(lfirst_oid(lc)))
			refuse_own_wrapper(lfirst_oid(lc));
	foreach (lc, wrappers)
		if (braid_xa_wrapper_is_ours(lfirst_oid(lc)) && !is_braids_own(lfirst_oid(lc)))
			release_wrapper(lfirst_oid(lc), behavior);
}

/* ---------------------------------------------------------------- commands */

/* The record of an adopted wrapper goes with it. */
static void
forget_adoption(Oid fdwid)
{
	SPI_connect();
	braid_superuser_execute(psprintf("DELETE FROM braid_internal.adoptions WHERE wrapper = %s",
									 quote_literal_cstr(GetForeignDataWrapper(fdwid)->fdwname)));
	SPI_finish();
}

/* So does what is known of the node that a server was. */
static void
forget_node(Oid serverid)
{
	SPI_connect();
	braid_superuser_execute(
		psprintf("DELETE FROM braid_internal.server_nodes WHERE server = %u", serverid));
	SPI_finish();
}

static void
clear_the_way(const char *objects, DropBehavior behavior)
{
	Dropped d;
	ListCell *lc;

	if (!objects)
		return;
	d = find_dropped(objects);
	foreach (lc, d.servers)
		refuse_server(lfirst_oid(lc));
	foreach (lc, d.mappings)
		refuse_mapping(lfirst_oid(lc));
	if (d.extension)
	{
		refuse_branch_here();
		detach_wrappers(d.wrappers, behavior);
		return;
	}
	foreach (lc, d.servers)
	{
		braid_xa_server_drop_hidden_tables(lfirst_oid(lc));
		forget_node(lfirst_oid(lc));
	}
	foreach (lc, d.wrappers)
		forget_adoption(lfirst_oid(lc));
	if (d.servers != NIL)
		braid_worker_request_at_commit(braid_xa_resolver_kind);
}

void
braid_xa_drop_objects(DropStmt *stmt)
{
	clear_the_way(named_objects(stmt), stmt->behavior);
}

void
braid_xa_drop_owned(DropOwnedStmt *stmt)
{
	clear_the_way(owned_objects(stmt->roles), stmt->behavior);
}

void
braid_xa_drop_user_mapping(DropUserMappingStmt *stmt)
{
	ForeignServer *server = GetForeignServerByName(stmt->servername, true);
	Oid roleid;
	HeapTuple tup;
	Oid umid;

	if (!server || stmt->user->roletype == ROLESPEC_PUBLIC)
		return;
	roleid = get_rolespec_oid(stmt->user, true);
	tup = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(roleid),
						  ObjectIdGetDatum(server->serverid));
	if (!HeapTupleIsValid(tup))
		return;
	umid = ((Form_pg_user_mapping) GETSTRUCT(tup))->oid;
	ReleaseSysCache(tup);
	if (braid_compat_owns(ForeignServerRelationId, server->serverid))
		refuse_mapping(umid);
}
