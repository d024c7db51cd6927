/*
 * stream.c
 *	  Which relations are streams.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "foreign/foreign.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "stream/pending.h"
#include "stream/stream.h"
#include "utils/lsyscache.h"

bool
braid_stream_is(Oid relid)
{
	List *handler = list_make2(makeString("braid"), makeString("braid_stream_handler"));
	ForeignServer *server;
	Oid ours;

	if (get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE ||
		!OidIsValid(get_namespace_oid("braid", true)))
		return false;
	ours = LookupFuncName(handler, 0, NULL, true);
	server = GetForeignServer(GetForeignTable(relid)->serverid);
	return OidIsValid(ours) && GetForeignDataWrapper(server->fdwid)->fdwhandler == ours;
}

void
braid_stream_init(void)
{
	braid_pending_init();
}
