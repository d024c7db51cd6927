/*
 * standing.c
 *	  What readers of continuous views have to know of them.
 *
 * NOTES
 *	  Definitions are rows of braid_internal.views, written by users' commands;
 *	  states are rows of braid_internal.view_states, written by the capture worker.
 *	  A trigger on the first and the worker itself send a relation cache
 *	  invalidation of the one or the other table with each change, so that readers
 *	  need not look again until then.  That of a state is sent with the commit of
 *	  the cycle, which is before the cycle's requests are answered.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "view/definition.h"
#include "view/keeper.h"
#include "view/view.h"

PG_FUNCTION_INFO_V1(braid_sql_view_error_is_visible);

#define ATTNUM_ID 1 /* of both tables */
#define ATTNUM_VIEW 2
#define ATTNUM_OPTIONS 4
#define ATTNUM_REBUILDS 5
#define ATTNUM_PAUSED 6
#define ATTNUM_REPLACES 7
#define ATTNUM_STATE 2
#define ATTNUM_STATE_REBUILDS 4
#define ATTNUM_ERROR 5
#define ATTNUM_FINGERPRINT 6

typedef struct Reading
{
	List *standings;
	List *rebuilds; /* of these, in the same order */
	List *replaced; /* ids */
} Reading;

typedef void (*ReadRow)(HeapTuple tup, TupleDesc desc, Reading *reading);

static void
read_rows(Oid relid, ReadRow read_row, Reading *reading)
{
	Relation rel = table_open(relid, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
		read_row(tup, RelationGetDescr(rel), reading);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* A string in the options, NULL if it is not there. */
static char *
option(Jsonb *options, const char *name)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&options->root, name, strlen(name), NULL);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
read_definition(HeapTuple tup, TupleDesc desc, Reading *reading)
{
	ViewStanding *s = palloc0(sizeof(ViewStanding));
	Jsonb *options;
	bool isnull;
	Datum replaces;

	s->id = DatumGetInt32(heap_getattr(tup, ATTNUM_ID, desc, &isnull));
	s->view = DatumGetObjectId(heap_getattr(tup, ATTNUM_VIEW, desc, &isnull));
	s->state = VIEW_POPULATING;
	options = DatumGetJsonbP(heap_getattr(tup, ATTNUM_OPTIONS, desc, &isnull));
	s->read = option(options, "read");
	s->has_schedule = option(options, "schedule") != NULL;
	s->is_new = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tup->t_data));
	if (DatumGetBool(heap_getattr(tup, ATTNUM_PAUSED, desc, &isnull)))
		s->state = VIEW_PAUSED;
	replaces = heap_getattr(tup, ATTNUM_REPLACES, desc, &isnull);
	s->is_replacement = !isnull;
	if (s->is_replacement)
		reading->replaced = lappend_int(reading->replaced, DatumGetInt32(replaces));
	reading->standings = lappend(reading->standings, s);
	reading->rebuilds = lappend_int(
		reading->rebuilds, DatumGetInt32(heap_getattr(tup, ATTNUM_REBUILDS, desc, &isnull)));
}

static void
read_state(HeapTuple tup, TupleDesc desc, Reading *reading)
{
	bool isnull;
	int id = DatumGetInt32(heap_getattr(tup, ATTNUM_ID, desc, &isnull));
	char *state = TextDatumGetCString(heap_getattr(tup, ATTNUM_STATE, desc, &isnull));
	int rebuilds = DatumGetInt32(heap_getattr(tup, ATTNUM_STATE_REBUILDS, desc, &isnull));
	ListCell *lc;
	ListCell *lc2;

	forboth(lc, reading->standings, lc2, reading->rebuilds)
	{
		ViewStanding *s = lfirst(lc);
		Datum error;

		if (s->id != id)
			continue;
		(void) heap_getattr(tup, ATTNUM_FINGERPRINT, desc, &isnull);
		s->was_populated = !isnull;
		error = heap_getattr(tup, ATTNUM_ERROR, desc, &isnull);
		if (!isnull)
			s->error = TextDatumGetCString(error);
		if (s->state == VIEW_PAUSED)
			continue;
		s->state = braid_keeper_parse_state(state);

		/* Asked to rebuild, or resumed, what the worker has not seen yet. */
		if (rebuilds != lfirst_int(lc2) || s->state == VIEW_PAUSED)
			s->state = VIEW_REBUILDING;
	}
}

void
braid_view_catalogs(Oid *definitions, Oid *states)
{
	*definitions = braid_definition_catalog();
	*states =
		OidIsValid(*definitions) ? braid_definition_part("braid_internal.view_states") : InvalidOid;
}

List *
braid_view_standings(void)
{
	Reading reading = {NIL, NIL, NIL};
	Oid definitions;
	Oid states;
	ListCell *lc;

	braid_view_catalogs(&definitions, &states);
	if (!OidIsValid(states))
		return NIL;
	read_rows(definitions, read_definition, &reading);
	if (reading.standings != NIL)
		read_rows(states, read_state, &reading);
	foreach (lc, reading.standings)
	{
		ViewStanding *s = lfirst(lc);

		s->is_replaced = list_member_int(reading.replaced, s->id);
	}
	return reading.standings;
}

void
braid_view_inputs(Oid view, List **tables, List **ids, List **looked_into)
{
	ViewDefinition def;
	ViewInputs inputs;

	*tables = *ids = *looked_into = NIL;
	if (!braid_definition_find(view, &def))
		return;
	braid_definition_inputs(&def, &inputs);
	*tables = inputs.tables;
	*ids = lappend_int(inputs.continuous, def.id);
	*looked_into = inputs.views;
}

List *
braid_view_parts(int id)
{
	return braid_definition_states(id);
}

/* ---------------------------------------------------------------- errors */

bool
braid_view_error_is_visible(Oid view)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	Oid operator= get_role_oid("braid_operator", true);
	Oid owner;

	if (!HeapTupleIsValid(tup))
		return false;
	owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;
	ReleaseSysCache(tup);
	return has_privs_of_role(GetUserId(), owner) ||
		   has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		   (OidIsValid(operator) && has_privs_of_role(GetUserId(), operator));
}

Datum
braid_sql_view_error_is_visible(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(braid_view_error_is_visible(PG_GETARG_OID(0)));
}
