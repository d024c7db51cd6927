/*
 * diverted.c
 *	  What users see of event time: the watermark, and rows that came too late.
 *
 * NOTES
 *	  Rows that were put aside are in a state of the view, written by the worker.
 *	  To have them merged a user marks them, and counts the request in
 *	  braid_internal.views, in one transaction; the worker sees both, merges what
 *	  is marked, deletes it, and stores the number of the request.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "view/definition.h"
#include "view/event_time.h"
#include "view/watermark.h"

/* The plan's nodes that put rows aside, for the view's owner. */
static List *
diverting_nodes(Oid view, ViewDefinition *def)
{
	List *nodes = NIL;
	ViewPlan *plan;
	ListCell *lc;

	braid_definition_get(view, def);
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
	plan = braid_event_time_plan(def, braid_definition_query(def->query), def->id, NULL);
	foreach (lc, plan->nodes)
		if (((ViewNode *) lfirst(lc))->kind == NODE_DIVERT)
			nodes = lappend(nodes, lfirst(lc));
	if (nodes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("continuous view \"%s\" does not divert late rows", get_rel_name(view)),
				 errhint("ALTER MATERIALIZED VIEW ... SET (braid.late = 'divert') makes it "
						 "do so.")));
	return nodes;
}

/* "'name', i1.c1, ..." of the columns of a node. */
static char *
named_columns(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->ncolumns; i++)
	{
		const char *name = node->columns[i - 1].name;

		if (name == NULL)
			name = psprintf("c%d", i);
		if (name[0] != '\0')
			appendStringInfo(&s, "%s%s, i1.c%d", s.len > 0 ? ", " : "", quote_literal_cstr(name),
							 i);
	}
	return s.data;
}

static char *
diverted_query(List *nodes)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, nodes)
	{
		ViewNode *node = lfirst(lc);

		appendStringInfo(&s,
						 "%sSELECT jsonb_build_object(%s), i1.w::int, i1.reason, "
						 "i1.watermark::text, i1.at FROM %s i1 WHERE %s",
						 s.len > 0 ? " UNION ALL " : "", named_columns(node), node->state,
						 node->time->counts ? node->time->counts : "true");
	}
	appendStringInfoString(&s, " ORDER BY 5");
	return s.data;
}

PG_FUNCTION_INFO_V1(braid_sql_diverted);

/* braid.diverted(view regclass) */
Datum
braid_sql_diverted(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int level = braid_superuser_fix_search_path();
	ViewDefinition def;
	List *nodes;

	InitMaterializedSRF(fcinfo, 0);
	nodes = diverting_nodes(PG_GETARG_OID(0), &def);
	SPI_connect();
	braid_superuser_execute(diverted_query(nodes));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[5];
		bool nulls[5];

		for (int j = 0; j < lengthof(values); j++)
			values[j] =
				SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, j + 1, &nulls[j]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(braid_sql_merge_diverted);

/* braid.merge_diverted(view regclass) */
Datum
braid_sql_merge_diverted(PG_FUNCTION_ARGS)
{
	int level = braid_superuser_fix_search_path();
	ViewDefinition def;
	int64 nrows = 0;
	List *nodes = diverting_nodes(PG_GETARG_OID(0), &def);
	ListCell *lc;

	SPI_connect();
	foreach (lc, nodes)
	{
		braid_superuser_execute(
			psprintf("UPDATE %s SET merge = true WHERE reason = 'closed' AND NOT merge",
					 ((ViewNode *) lfirst(lc))->state));
		nrows += SPI_processed;
	}
	if (nrows > 0)
		braid_superuser_execute(
			psprintf("UPDATE braid_internal.views SET merges = merges + 1 WHERE id = %d", def.id));
	SPI_finish();
	AtEOXact_GUC(false, level);
	PG_RETURN_INT64(nrows);
}

/* ---------------------------------------------------------------- figures */

PG_FUNCTION_INFO_V1(braid_sql_view_time);

/* braid_internal.view_time(id int): to all, as braid.views is. */
Datum
braid_sql_view_time(PG_FUNCTION_ARGS)
{
	char *state = braid_definition_state_name(PG_GETARG_INT32(0), WATERMARK_NUMBER);
	Datum values[4] = {0};
	bool nulls[4] = {true, true, true, true};
	TupleDesc desc;
	Datum result;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	SPI_connect();
	if (OidIsValid(braid_definition_part(state)))
	{
		braid_superuser_execute(
			psprintf("SELECT value::text, late, dropped, diverted FROM %s", state));
		for (int i = 0; SPI_processed > 0 && i < lengthof(values); i++)
			values[i] =
				SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	}
	result = PointerGetDatum(SPI_returntuple(heap_form_tuple(desc, values, nulls), desc));
	SPI_finish();
	PG_RETURN_DATUM(result);
}
