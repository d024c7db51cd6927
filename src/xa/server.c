/*
 * server.c
 *	  Which foreign servers are braid's, and the hidden foreign tables of each.
 *
 * NOTES
 *	  To enlist a branch, the coordinator has to say a word on the very
 *	  connection that postgres_fdw uses for it, and the way to that connection is
 *	  a foreign table.  So each server has a hidden one,
 *	  braid_internal.enlist_<oid of the server>, over a view that every
 *	  participant has, another one for commands (execute.c), and two for snapshots
 *	  (snapshot_probe.c, snapshot_export.c).  They are members of the extension: pg_dump does not see them, and the resolver makes them
 *	  anew where a dump is restored.
 *
 *	  Being members, they would take the extension along when their server is
 *	  dropped with CASCADE, so ddl.c removes them before such a command runs.
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
#include "commands/defrem.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "xa/server.h"

/* Named after their views on the participant: braid_internal.<view>_<server's oid>. */
typedef struct HiddenTable
{
	const char *view;
	const char *columns;
} HiddenTable;

#define ENLIST_VIEW "enlist"
#define EXECUTE_VIEW "execute"
#define SNAPSHOT_VIEW "snapshot"
#define EXPORT_VIEW "exported_snapshot"

static const HiddenTable hidden_tables[] = {{ENLIST_VIEW, "gid pg_catalog.text"},
											{EXECUTE_VIEW,
											 "command pg_catalog.text, want_rows pg_catalog.bool, "
											 "processed pg_catalog.int8, result pg_catalog.text"},
											{SNAPSHOT_VIEW, "fixed pg_catalog.bool"},
											{EXPORT_VIEW, "id pg_catalog.text"}};

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
braid_xa_server_list(Oid fdwid)
{
	List *servers = NIL;
	Relation rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tup);

		if ((!OidIsValid(fdwid) || server->srvfdw == fdwid) &&
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

static char *
hidden_table(const char *view, Oid serverid)
{
	return psprintf("braid_internal.%s_%u", view, serverid);
}

char *
braid_xa_server_enlist_table(Oid serverid)
{
	return hidden_table(ENLIST_VIEW, serverid);
}

char *
braid_xa_server_execute_table(Oid serverid)
{
	return hidden_table(EXECUTE_VIEW, serverid);
}

char *
braid_xa_server_snapshot_table(Oid serverid)
{
	return hidden_table(SNAPSHOT_VIEW, serverid);
}

char *
braid_xa_server_export_table(Oid serverid)
{
	return hidden_table(EXPORT_VIEW, serverid);
}

bool
braid_xa_server_is_execute_table(Relation rel)
{
	/* Look at the name first: this is asked at each write. */
	return strncmp(RelationGetRelationName(rel), EXECUTE_VIEW "_", strlen(EXECUTE_VIEW "_")) == 0 &&
		   RelationGetNamespace(rel) == get_namespace_oid("braid_internal", true);
}

static bool
hidden_table_exists(const char *view, Oid serverid)
{
	Oid nspid = get_namespace_oid("braid_internal", false);

	return OidIsValid(get_relname_relid(psprintf("%s_%u", view, serverid), nspid));
}

static void
create_hidden_table(const HiddenTable *hidden, Oid serverid)
{
	char *table = hidden_table(hidden->view, serverid);
	const char *server = quote_identifier(GetForeignServer(serverid)->servername);

	SPI_connect();
	braid_superuser_execute(
		psprintf("CREATE FOREIGN TABLE %s (%s) SERVER %s OPTIONS (schema_name 'braid_internal', "
				 "table_name '%s', use_remote_estimate 'false')",
				 table, hidden->columns, server, hidden->view));

	/* In this order: pg_dump dumps what is granted on a member later. */
	braid_superuser_execute(psprintf("GRANT SELECT, UPDATE ON %s TO PUBLIC", table));
	braid_superuser_execute(psprintf("ALTER EXTENSION braid ADD FOREIGN TABLE %s", table));
	SPI_finish();
}

void
braid_xa_server_create_hidden_tables(Oid serverid)
{
	LockDatabaseObject(ForeignServerRelationId, serverid, 0, ShareLock);
	if (!SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(serverid)))
		return;
	for (int i = 0; i < lengthof(hidden_tables); i++)
		if (!hidden_table_exists(hidden_tables[i].view, serverid))
			create_hidden_table(&hidden_tables[i], serverid);
}

void
braid_xa_server_drop_hidden_tables(Oid serverid)
{
	LockDatabaseObject(ForeignServerRelationId, serverid, 0, AccessExclusiveLock);
	for (int i = 0; i < lengthof(hidden_tables); i++)
	{
		char *table = hidden_table(hidden_tables[i].view, serverid);

		if (!hidden_table_exists(hidden_tables[i].view, serverid))
			continue;
		SPI_connect();
		braid_superuser_execute(psprintf("ALTER EXTENSION braid DROP FOREIGN TABLE %s", table));
		braid_superuser_execute(psprintf("DROP FOREIGN TABLE %s", table));
		SPI_finish();
	}
}

static bool
is_address(const char *option)
{
	static const char *const names[] = {"host", "hostaddr", "port", "dbname", "service"};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(option, names[i]) == 0)
			return true;
	return false;
}

uint32
braid_xa_server_address(Oid serverid)
{
	uint32 address = 0;
	ListCell *lc;

	foreach (lc, GetForeignServer(serverid)->options)
	{
		DefElem *def = lfirst(lc);

		if (is_address(def->defname))
		{
			address = hash_combine(address, string_hash(def->defname, NAMEDATALEN));
			address = hash_combine(address, string_hash(defGetString(def), MAXPGPATH));
		}
	}
	return address;
}

void
braid_xa_server_return(ReturnSetInfo *rsi, const char *server, Datum value)
{
	Datum values[2] = {0, value};
	bool nulls[2] = {server == NULL, false};
	NameData name;

	if (server)
	{
		namestrcpy(&name, server);
		values[0] = NameGetDatum(&name);
	}
	tuplestore_putvalues(rsi->setResult, rsi->setDesc, values, nulls);
}
