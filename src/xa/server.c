/*
 * server.c
 *	  Which foreign servers are braid's, and the hidden foreign table of each.
 *
 * NOTES
 *	  To enlist a branch, the coordinator has to say a word on the very
 *	  connection that postgres_fdw uses for it, and the way to that connection is
 *	  a foreign table.  So each server has a hidden one,
 *	  braid_internal.enlist_<oid of the server>, over a view that every
 *	  participant has.  It is a member of the extension: pg_dump does not see
 *	  it, and the resolver makes it anew where a dump is restored.
 *
 *	  Being a member, it would take the extension along when its server is
 *	  dropped with CASCADE, so ddl.c removes it before such a command runs.
 *	  Both lock the server: no table can appear between.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "commands/extension.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "xa/server.h"

bool
braid_xa_handler_is_ours(Oid funcid)
{
	List *name = list_make2(makeString("braid"), makeString("braid_fdw_handler"));

	return OidIsValid(funcid) && OidIsValid(get_namespace_oid("braid", true)) &&
		   LookupFuncName(name, 0, NULL, true) == funcid;
}

bool
braid_xa_wrapper_is_ours(Oid fdwid)
{
	return braid_xa_handler_is_ours(GetForeignDataWrapper(fdwid)->fdwhandler);
}

List *
braid_xa_server_list(Oid fdwid, Oid owner)
{
	List *servers = NIL;
	Relation rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tup);

		if ((!OidIsValid(fdwid) || server->srvfdw == fdwid) &&
			(!OidIsValid(owner) || server->srvowner == owner) &&
			braid_xa_wrapper_is_ours(server->srvfdw))
			servers = lappend_oid(servers, server->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return servers;
}

/* Oids of the wrapper's foreign tables. */
static List *
wrapper_tables(Oid fdwid)
{
	List *tables = NIL;
	Relation rel = table_open(ForeignTableRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_foreign_table ft = (Form_pg_foreign_table) GETSTRUCT(tup);

		ForeignServer *server = GetForeignServerExtended(ft->ftserver, FSV_MISSING_OK);

		if (server && server->fdwid == fdwid)
			tables = lappend_oid(tables, ft->ftrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tables;
}

void
braid_xa_wrapper_wait_for_writers(Oid fdwid)
{
	List *tables = wrapper_tables(fdwid);
	ListCell *lc;

	/* In one order for all who do so. */
	list_sort(tables, list_oid_cmp);
	foreach (lc, tables)
		LockRelationOid(lfirst_oid(lc), ExclusiveLock);
}

void
braid_xa_wrapper_invalidate(Oid fdwid)
{
	ListCell *lc;

	foreach (lc, wrapper_tables(fdwid))
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(lc))))
			CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
}

char *
braid_xa_server_enlist_table(Oid serverid)
{
	return psprintf("braid_internal.enlist_%u", serverid);
}

static bool
enlist_table_exists(Oid serverid)
{
	Oid nspid = get_namespace_oid("braid_internal", false);

	return OidIsValid(get_relname_relid(psprintf("enlist_%u", serverid), nspid));
}

void
braid_xa_server_create_enlist_table(Oid serverid)
{
	char *table = braid_xa_server_enlist_table(serverid);
	const char *server;

	LockDatabaseObject(ForeignServerRelationId, serverid, 0, ShareLock);
	if (!SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(serverid)) ||
		enlist_table_exists(serverid))
		return;
	server = quote_identifier(GetForeignServer(serverid)->servername);
	SPI_connect();
	braid_superuser_execute(psprintf("CREATE FOREIGN TABLE %s (gid pg_catalog.text) SERVER %s "
									 "OPTIONS (schema_name 'braid_internal', table_name 'enlist', "
									 "use_remote_estimate 'false')",
									 table, server));

	/* In this order: pg_dump dumps what is granted on a member later. */
	braid_superuser_execute(psprintf("GRANT SELECT, UPDATE ON %s TO PUBLIC", table));
	braid_superuser_execute(psprintf("ALTER EXTENSION braid ADD FOREIGN TABLE %s", table));
	SPI_finish();
}

void
braid_xa_server_drop_enlist_table(Oid serverid)
{
	char *table = braid_xa_server_enlist_table(serverid);

	LockDatabaseObject(ForeignServerRelationId, serverid, 0, AccessExclusiveLock);
	if (!enlist_table_exists(serverid))
		return;
	SPI_connect();
	braid_superuser_execute(psprintf("ALTER EXTENSION braid DROP FOREIGN TABLE %s", table));
	braid_superuser_execute(psprintf("DROP FOREIGN TABLE %s", table));
	SPI_finish();
}
