/*
 * definition.c
 *	  What is stored of a continuous view, and finding it.
 *
 * NOTES
 *	  A continuous view v with id 7 is made of
 *
 *		v							ordinary view over the states: what the user reads
 *		braid_internal.state_7_3	table of node 3 of its query, kept by the worker
 *		braid_internal.query_7		ordinary view: the query as the user wrote it
 *		braid_internal.views		a row: id 7, v, settings, options
 *		braid_internal.time_7		if it has a watermark, an ordinary view: its expressions
 *
 *	  The query is kept as an ordinary view, so PostgreSQL follows renames, does
 *	  not let go of columns that are used, and dumps everything in an order that
 *	  can be restored.  The states and query_7 depend on v internally:
 *
 *		base tables <- query_7 -internal-> v -> state_7_3 -internal-> v
 *
 *	  so DROP of v takes all; DROP of a base table names v, and takes it with
 *	  CASCADE; and no part can be dropped alone.  The row is cleared away by the
 *	  worker when v has gone, however it went.
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
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "stream/stream.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "view/definition.h"

#define ATTNUM_ID 1 /* of braid_internal.views */
#define ATTNUM_VIEW 2
#define ATTNUM_OPTIONS 4
#define ATTNUM_PAUSED 6
#define ATTNUM_REPLACES 7

#define SCHEMA_NAME "braid_internal"

char *
braid_definition_state_name(int id, int node)
{
	return psprintf(SCHEMA_NAME ".state_%d_%d", id, node);
}

char *
braid_definition_query_name(int id)
{
	return psprintf(SCHEMA_NAME ".query_%d", id);
}

char *
braid_definition_time_name(int id)
{
	return psprintf(SCHEMA_NAME ".time_%d", id);
}

static Oid
internal_relation(const char *name)
{
	Oid namespace = get_namespace_oid(SCHEMA_NAME, true);

	return OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
}

Oid
braid_definition_catalog(void)
{
	return internal_relation("views");
}

Oid
braid_definition_part(const char *qualified_name)
{
	Assert(strncmp(qualified_name, SCHEMA_NAME ".", strlen(SCHEMA_NAME) + 1) == 0);
	return internal_relation(qualified_name + strlen(SCHEMA_NAME) + 1);
}

void
braid_definition_resolve(ViewDefinition *def)
{
	def->query = internal_relation(psprintf("query_%d", def->id));
	def->time = internal_relation(psprintf("time_%d", def->id));
}

bool
braid_definition_lock(const ViewDefinition *def, LOCKMODE mode)
{
	LockRelationOid(def->view, mode);
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(def->view));
}

/* Whether a name is prefix and a number. */
static bool
is_numbered(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(name, prefix, length) == 0 && name[length] != '\0' &&
		   strspn(name + length, "0123456789") == strlen(name + length);
}

List *
braid_definition_states(int id)
{
	char *prefix = psprintf("state_%d_", id);
	char *end = psprintf("state_%d`", id); /* the character after _ */
	Oid namespace = get_namespace_oid(SCHEMA_NAME, true);
	List *states = NIL;
	ScanKeyData keys[2];
	Relation rel = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tup;

	ScanKeyInit(&keys[0], Anum_pg_class_relname, BTGreaterEqualStrategyNumber, F_NAMEGE,
				CStringGetDatum(prefix));
	ScanKeyInit(&keys[1], Anum_pg_class_relname, BTLessStrategyNumber, F_NAMELT,
				CStringGetDatum(end));
	scan = systable_beginscan(rel, ClassNameNspIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_class c = (Form_pg_class) GETSTRUCT(tup);

		if (c->relnamespace == namespace && c->relkind == RELKIND_RELATION &&
			is_numbered(NameStr(c->relname), prefix))
			states = lappend_oid(states, c->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return states;
}

static void
read_row(HeapTuple tup, TupleDesc desc, ViewDefinition *def)
{
	bool isnull;

	def->id = DatumGetInt32(heap_getattr(tup, ATTNUM_ID, desc, &isnull));
	def->view = DatumGetObjectId(heap_getattr(tup, ATTNUM_VIEW, desc, &isnull));
	def->options = palloc0(sizeof(ContinuousOptions));
	braid_options_of_stored(DatumGetJsonbP(heap_getattr(tup, ATTNUM_OPTIONS, desc, &isnull)),
							def->options);
	def->has_schedule = def->options->schedule != NULL;
	def->paused = DatumGetBool(heap_getattr(tup, ATTNUM_PAUSED, desc, &isnull));
}

/*
 * The row with an oid or number in a column.  Scans the catalog, which is short;
 * no privileges are needed.
 */
static bool
find_row(AttrNumber attnum, uint32 value, ViewDefinition *def)
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
		Datum is = heap_getattr(tup, attnum, RelationGetDescr(rel), &isnull);

		found = !isnull && DatumGetUInt32(is) == value;
		if (found)
			read_row(tup, RelationGetDescr(rel), def);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (found)
		braid_definition_resolve(def);
	return found;
}

bool
braid_definition_find(Oid view, ViewDefinition *def)
{
	return find_row(ATTNUM_VIEW, view, def);
}

/* What a relation depends on internally, if that is a relation. */
static Oid
bound_to(Oid part)
{
	ScanKeyData keys[2];
	Relation rel = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tup;
	Oid view = InvalidOid;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(part));
	scan = systable_beginscan(rel, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tup);

		if (d->refclassid == RelationRelationId && d->deptype == DEPENDENCY_INTERNAL)
			view = d->refobjid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return view;
}

bool
braid_definition_find_by_part(Oid part, ViewDefinition *def)
{
	Oid namespace = get_rel_namespace(part);
	Oid view;

	if (!OidIsValid(namespace) || namespace != get_namespace_oid(SCHEMA_NAME, true))
		return false;
	view = bound_to(part);
	return OidIsValid(view) && braid_definition_find(view, def);
}

bool
braid_definition_is_own_index(const char *state, const char *index)
{
	size_t length = strlen(state);

	return strncmp(index, state, length) == 0 &&
		   (strcmp(index + length, "_key") == 0 || strcmp(index + length, "_closing") == 0);
}

Oid
braid_definition_table_of_key(Oid index)
{
	char *name = get_rel_name(index);
	Oid table;

	if (strncmp(name, "state_", strlen("state_")) != 0)
		return InvalidOid;
	table = IndexGetRelation(index, true);
	return OidIsValid(table) && braid_definition_is_own_index(get_rel_name(table), name)
			   ? table
			   : InvalidOid;
}

bool
braid_definition_find_replacement(int id, ViewDefinition *def)
{
	return find_row(ATTNUM_REPLACES, (uint32) id, def);
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

/* The worker holds no lock on what it looks at: it can have been dropped. */
static HeapTuple
look_up(Oid relid)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tup))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	return tup;
}

int
braid_definition_natts(Oid relid)
{
	HeapTuple tup = look_up(relid);
	int natts = ((Form_pg_class) GETSTRUCT(tup))->relnatts;

	ReleaseSysCache(tup);
	return natts;
}

Oid
braid_definition_owner(Oid relid)
{
	HeapTuple tup = look_up(relid);
	Oid owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;

	ReleaseSysCache(tup);
	return owner;
}

Query *
braid_definition_query(Oid view)
{
	Relation rel = braid_capture_look_at(view);
	Query *query = copyObject(get_view_query(rel));

	RelationClose(rel);
	return query;
}

/* ---------------------------------------------------------------- tables below */

static void find_inputs_of_view(Oid view, ViewInputs *inputs);

static bool
find_inputs(Node *node, ViewInputs *inputs)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, find_inputs, inputs);
	foreach (lc, ((Query *) node)->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind != RTE_RELATION)
			continue;
		if (rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_PARTITIONED_TABLE ||
			braid_stream_is(rte->relid))
			inputs->tables = list_append_unique_oid(inputs->tables, rte->relid);
		else if (rte->relkind == RELKIND_VIEW)
			find_inputs_of_view(rte->relid, inputs);
	}
	return query_tree_walker((Query *) node, find_inputs, inputs, 0);
}

/* Of a continuous view, those of its query. */
static void
find_inputs_of_view(Oid view, ViewInputs *inputs)
{
	ViewDefinition def;

	/* The rule of a view names the view itself. */
	if (list_member_oid(inputs->views, view))
		return;
	inputs->views = lappend_oid(inputs->views, view);
	if (braid_definition_find(view, &def))
	{
		inputs->continuous = lappend_int(inputs->continuous, def.id);
		view = def.query;
		inputs->views = lappend_oid(inputs->views, view);
	}
	if (OidIsValid(view))
		(void) find_inputs((Node *) braid_definition_query(view), inputs);
}

void
braid_definition_inputs(const ViewDefinition *def, ViewInputs *inputs)
{
	memset(inputs, 0, sizeof(*inputs));
	if (OidIsValid(def->query))
		find_inputs_of_view(def->query, inputs);
}

bool
braid_definition_is_shown(const ViewDefinition *def)
{
	ViewInputs inputs = {NIL, NIL, NIL};
	ListCell *lc;

	(void) find_inputs((Node *) braid_definition_query(def->view), &inputs);
	foreach (lc, braid_definition_states(def->id))
		if (list_member_oid(inputs.tables, lfirst_oid(lc)))
			return true;
	return false;
}

static Datum
oid_array(List *oids)
{
	Datum *elements = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, oids)
		elements[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(
		construct_array(elements, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT));
}

static Datum
int_array(List *ints)
{
	Datum *elements = palloc(sizeof(Datum) * (list_length(ints) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, ints)
		elements[n++] = Int32GetDatum(lfirst_int(lc));
	return PointerGetDatum(
		construct_array(elements, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(braid_sql_view_inputs);

/* braid_internal.view_inputs(view regclass) */
Datum
braid_sql_view_inputs(PG_FUNCTION_ARGS)
{
	ViewDefinition def;
	ViewInputs inputs = {NIL, NIL, NIL};
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false, false};

	if (braid_definition_find(PG_GETARG_OID(0), &def))
		braid_definition_inputs(&def, &inputs);
	values[0] = oid_array(inputs.tables);
	values[1] = int_array(inputs.continuous);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---------------------------------------------------------------- parts */

/*
 * The worker finds parts without a lock, and their owner can drop them meanwhile,
 * by giving the view another query.  What depends on a view without existing would
 * make every DROP of it fail: so it is only what we can lock, and then see.
 */
bool
braid_definition_bind_part(Oid part, Oid view)
{
	ObjectAddress depender;
	ObjectAddress referenced;

	if (bound_to(part) == view)
		return true;
	if (!ConditionalLockRelationOid(part, AccessShareLock) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(part)))
		return false;
	ObjectAddressSet(depender, RelationRelationId, part);
	ObjectAddressSet(referenced, RelationRelationId, view);
	recordDependencyOn(&depender, &referenced, DEPENDENCY_INTERNAL);
	return true;
}

void
braid_definition_unbind_part(Oid part, Oid view)
{
	deleteDependencyRecordsForSpecific(RelationRelationId, part, DEPENDENCY_INTERNAL,
									   RelationRelationId, view);
}

bool
braid_definition_bind(const ViewDefinition *def)
{
	bool bound = true;
	List *parts = lcons_oid(def->query, braid_definition_states(def->id));
	ListCell *lc;

	if (OidIsValid(def->time))
		parts = lcons_oid(def->time, parts);
	foreach (lc, parts)
		bound &= braid_definition_bind_part(lfirst_oid(lc), def->view);
	CommandCounterIncrement();
	return bound;
}

/* Relations that depend on the view internally. */
static List *
bound_parts(Oid view)
{
	List *parts = NIL;
	ScanKeyData keys[2];
	Relation rel = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tup;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(view));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tup);

		if (d->classid == RelationRelationId && d->deptype == DEPENDENCY_INTERNAL)
			parts = lappend_oid(parts, d->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parts;
}

void
braid_definition_unbind(const ViewDefinition *def)
{
	ListCell *lc;

	foreach (lc, bound_parts(def->view))
		braid_definition_unbind_part(lfirst_oid(lc), def->view);
	CommandCounterIncrement();
}
