/*
 * state.c
 *	  The tables in which a view's stateful nodes keep their rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "common/superuser.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "view/definition.h"
#include "view/operators.h"
#include "view/state.h"
#include "view/watermark.h"

static char *
columns_of(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_GROUP:
			return braid_group_state_columns(node);
		case NODE_SESSION:
			return braid_session_state_columns(node);
		case NODE_PARTITION:
			return braid_partition_state_columns(node);
		case NODE_WATERMARK:
			return braid_watermark_state_columns(node);
		case NODE_DIVERT:
			return braid_divert_state_columns(node);
		default:
			Assert(node->kind == NODE_ROWS);
			return braid_rows_state_columns(node);
	}
}

static char *
index_of(ViewNode *node, const char *name)
{
	switch (node->kind)
	{
		case NODE_GROUP:
			return braid_group_state_index(node, name);
		case NODE_SESSION:
			return braid_session_state_index(node, name);
		case NODE_PARTITION:
			return braid_partition_state_index(node, name);
		case NODE_WATERMARK:
			return braid_watermark_state_index(node, name);
		case NODE_DIVERT:
			return braid_divert_state_index(node, name);
		default:
			Assert(node->kind == NODE_ROWS);
			return braid_rows_state_index(node, name);
	}
}

/* Room on each page, so that groups are updated in place; rows never are. */
static int
fillfactor_of(ViewNode *node)
{
	return node->kind == NODE_ROWS || node->kind == NODE_DIVERT ? 100 : 50;
}

static void
make_closing_index(ViewNode *node, const char *name)
{
	char *index = node->kind == NODE_SESSION ? braid_session_closing_index(node, name) : NULL;

	if (index)
		braid_superuser_execute(psprintf("CREATE %s", index));
}

void
braid_state_make_one(ViewNode *node)
{
	char *name = strchr(node->state, '.') + 1;

	braid_superuser_execute(psprintf("CREATE TABLE %s (%s) WITH (fillfactor = %d)", node->state,
									 columns_of(node), fillfactor_of(node)));
	braid_superuser_execute(psprintf("CREATE %s", index_of(node, psprintf("%s_key", name))));
	make_closing_index(node, psprintf("%s_closing", name));
	braid_superuser_execute(psprintf("ALTER TABLE %s OWNER TO %s", node->state,
									 quote_identifier(GetUserNameFromId(GetUserId(), false))));
	braid_superuser_execute(
		psprintf("COMMENT ON TABLE %s IS 'braid: state of a continuous view'", node->state));
}

void
braid_state_make(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (braid_node_is_stateful(lfirst(lc)))
			braid_state_make_one(lfirst(lc));
}

/* ---------------------------------------------------------------- whether they fit */

/* The columns as CREATE TABLE would understand them: ColumnDef. */
static List *
parse_columns(const char *columns)
{
	List *parsed = raw_parser(psprintf("CREATE TABLE t (%s)", columns), RAW_PARSE_DEFAULT);
	RawStmt *raw = linitial_node(RawStmt, parsed);

	return castNode(CreateStmt, raw->stmt)->tableElts;
}

static bool
is_same_column(ColumnDef *wanted, Form_pg_attribute attribute)
{
	Oid type;
	int32 typmod;
	Oid collation;

	typenameTypeIdAndMod(NULL, wanted->typeName, &type, &typmod);
	collation = wanted->collClause ? get_collation_oid(wanted->collClause->collname, false)
								   : get_typcollation(type);
	return !attribute->attisdropped && strcmp(wanted->colname, NameStr(attribute->attname)) == 0 &&
		   type == attribute->atttypid && typmod == attribute->atttypmod &&
		   collation == attribute->attcollation;
}

static bool
has_columns(Oid table, List *wanted)
{
	Relation rel = braid_capture_look_at(table);
	TupleDesc desc = RelationGetDescr(rel);
	bool same = desc->natts == list_length(wanted);

	for (int i = 0; i < desc->natts && same; i++)
		same = is_same_column(list_nth_node(ColumnDef, wanted, i), TupleDescAttr(desc, i));
	RelationClose(rel);
	return same;
}

bool
braid_state_fits(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);
		Oid table;

		if (!braid_node_is_stateful(node))
			continue;
		table = braid_definition_part(node->state);
		if (!OidIsValid(table) || !has_columns(table, parse_columns(columns_of(node))))
			return false;
	}
	return true;
}

bool
braid_state_are_indexed(List *tables)
{
	bool indexed = true;
	ListCell *lc;

	foreach (lc, tables)
	{
		HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));

		indexed &= HeapTupleIsValid(tup) && ((Form_pg_class) GETSTRUCT(tup))->relhasindex;
		if (HeapTupleIsValid(tup))
			ReleaseSysCache(tup);
	}
	return indexed;
}
