/*
 * definition.c
 *	  What is stored of a continuous view, and finding it.
 *
 * NOTES
 *	  A continuous view v with id 7 is made of
 *
 *		v							ordinary view over state_7: what the user reads
 *		braid_internal.state_7		table, kept by the capture worker
 *		braid_internal.query_7		ordinary view: the query as the user wrote it
 *		braid_internal.views		a row: id 7, v, settings, options
 *
 *	  The query is kept as an ordinary view, so PostgreSQL follows renames, does
 *	  not let go of columns that are used, and dumps everything in an order that
 *	  can be restored.  state_7 and query_7 depend on v internally:
 *
 *		base table <- query_7 -internal-> v -> state_7 -internal-> v
 *
 *	  so DROP of v takes all; DROP of the base table names v, and takes it with
 *	  CASCADE; and neither part can be dropped alone.  The row is cleared away
 *	  by the worker when v has gone, however it went.
 *
 *	  A dump does not carry the internal dependencies; the worker records them
 *	  again before it populates a restored view.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/definition.h"

#define ATTNUM_ID 1 /* of braid_internal.views */
#define ATTNUM_VIEW 2

char *
braid_definition_state_name(int id)
{
	return psprintf("braid_internal.state_%d", id);
}

char *
braid_definition_query_name(int id)
{
	return psprintf("braid_internal.query_%d", id);
}

static Oid
internal_relation(const char *name)
{
	Oid namespace = get_namespace_oid("braid_internal", true);

	return OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
}

Oid
braid_definition_catalog(void)
{
	return internal_relation("views");
}

/* The table that the stored query reads. */
static Oid
source_of(Oid query_view)
{
	Query *query = braid_definition_query(query_view);
	RangeTblRef *ref;

	if (list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return InvalidOid;
	ref = linitial_node(RangeTblRef, query->jointree->fromlist);
	return ((RangeTblEntry *) list_nth(query->rtable, ref->rtindex - 1))->relid;
}

void
braid_definition_resolve(ViewDefinition *def)
{
	def->state = internal_relation(psprintf("state_%d", def->id));
	def->query = internal_relation(psprintf("query_%d", def->id));
	def->source = OidIsValid(def->query) ? source_of(def->query) : InvalidOid;
}

/* Scans the catalog, which is short; no privileges are needed. */
bool
braid_definition_find(Oid view, ViewDefinition *def)
{
	Oid catalog = braid_definition_catalog();
	Relation rel;
	SysScanDesc scan;
	HeapTuple tup;
	bool found = false;

	if (!OidIsValid(catalog))
		return false;
	rel = table_open(catalog, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool isnull;

		if (DatumGetObjectId(heap_getattr(tup, ATTNUM_VIEW, RelationGetDescr(rel), &isnull)) !=
			view)
			continue;
		def->id = DatumGetInt32(heap_getattr(tup, ATTNUM_ID, RelationGetDescr(rel), &isnull));
		def->view = view;
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (found)
		braid_definition_resolve(def);
	return found;
}

void
braid_definition_get(Oid view, ViewDefinition *def)
{
	if (!braid_definition_find(view, def))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a continuous view",
							   get_rel_name(view) ? get_rel_name(view) : "?"),
						errhint("The view braid.views lists those that exist.")));
}

Query *
braid_definition_query(Oid view)
{
	Relation rel = braid_capture_look_at(view);
	Query *query = copyObject(get_view_query(rel));

	RelationClose(rel);
	return query;
}

static bool
is_bound(Oid part, Oid view)
{
	ScanKeyData keys[2];
	Relation rel = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tup;
	bool bound = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(part));
	scan = systable_beginscan(rel, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tup);

		bound |= d->refclassid == RelationRelationId && d->refobjid == view &&
				 d->deptype == DEPENDENCY_INTERNAL;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return bound;
}

void
braid_definition_bind(const ViewDefinition *def)
{
	Oid parts[2] = {def->state, def->query};

	for (int i = 0; i < 2; i++)
	{
		ObjectAddress part;
		ObjectAddress view;

		ObjectAddressSet(part, RelationRelationId, parts[i]);
		ObjectAddressSet(view, RelationRelationId, def->view);
		if (!is_bound(parts[i], def->view))
			recordDependencyOn(&part, &view, DEPENDENCY_INTERNAL);
	}
	CommandCounterIncrement();
}

int
braid_definition_fix_search_path(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}
