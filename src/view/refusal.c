/*
 * refusal.c
 *	  What a continuous view cannot be made of, and how it is said.
 *
 * NOTES
 *	  Functions: the worker evaluates the view's expressions when rows change,
 *	  the user when the view is verified, and both must agree.  Immutable ones
 *	  do.  Of the stable ones those are let through whose result depends on
 *	  nothing but the time zone and the output formats, which are stored with
 *	  the view: date_trunc('hour', timestamptz) is too useful to be refused.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "capture/capture.h"
#include "catalog/catalog.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parser.h"
#include "stream/stream.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "view/refusal.h"

void
braid_refuse(ParseState *pstate, int location, const char *what)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("continuous views do not support %s", what),
		 errhint(
			 "Compute the rest when it is read, by an ordinary view over a continuous one, or have the whole query run on a schedule: braid.allow_recompute, braid.schedule."),
		 parser_errposition(pstate, location)));
}

/* ---------------------------------------------------------------- locations */

typedef struct RelationSearch
{
	const char *name;
	int location;
} RelationSearch;

static bool
find_relation(Node *node, RelationSearch *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar) && strcmp(((RangeVar *) node)->relname, search->name) == 0)
	{
		search->location = ((RangeVar *) node)->location;
		return true;
	}
	return raw_expression_tree_walker(node, find_relation, search);
}

/*
 * Where a relation is named first in the source text: an analyzed query does
 * not say.  -1 if that cannot be told.
 */
static int
location_of_relation(ParseState *pstate, const char *name)
{
	RelationSearch search = {name, -1};
	ListCell *lc;

	if (pstate == NULL || pstate->p_sourcetext == NULL)
		return -1;
	foreach (lc, raw_parser(pstate->p_sourcetext, RAW_PARSE_DEFAULT))
	{
		Node *stmt = lfirst_node(RawStmt, lc)->stmt;

		if (IsA(stmt, CreateTableAsStmt))
			stmt = ((CreateTableAsStmt *) stmt)->query;
		if (IsA(stmt, SelectStmt) && find_relation(stmt, &search))
			break;
	}
	return search.location;
}

void
braid_refuse_stream(ParseState *pstate, Oid stream, const char *what)
{
	char *name = get_rel_name(stream);

	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("continuous views do not support %s", what),
		 errdetail("\"%s\" is a stream: its rows pass by, and are not kept.", name),
		 errhint(
			 "Keep what is needed of them in a continuous view of its own, CREATE MATERIALIZED VIEW ... WITH (braid.continuous) AS SELECT ... FROM %s, and read that.",
			 quote_identifier(name)),
		 parser_errposition(pstate, location_of_relation(pstate, name))));
}

typedef struct NodeSearch
{
	NodeTag tag;
	int location;
} NodeSearch;

static bool
find_node(Node *node, NodeSearch *search)
{
	if (node == NULL)
		return false;
	if (nodeTag(node) == search->tag)
	{
		search->location = exprLocation(node);
		return true;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_node, search, 0);
	return expression_tree_walker(node, find_node, search);
}

int
braid_refusal_location_of(Query *query, NodeTag tag)
{
	NodeSearch search = {tag, -1};

	(void) find_node((Node *) query, &search);
	return search.location;
}

static int
first_target(Query *query)
{
	return exprLocation((Node *) query->targetList);
}

/* ---------------------------------------------------------------- functions */

/* Stable functions that turn values into text or JSON. */
static const char *const formatting[] = {"date_out",		  "timestamp_out",
										 "timestamptz_out",	  "interval_out",
										 "record_out",		  "array_out",
										 "range_out",		  "multirange_out",
										 "to_char",			  "concat",
										 "concat_ws",		  "format",
										 "anytextcat",		  "textanycat",
										 "array_to_string",	  "to_json",
										 "to_jsonb",		  "row_to_json",
										 "array_to_json",	  "json_agg",
										 "jsonb_agg",		  "json_object_agg",
										 "jsonb_object_agg",  "json_build_array",
										 "json_build_object", "jsonb_build_array",
										 "jsonb_build_object"};

/* Whether a stable function depends on nothing but the settings stored. */
static bool
depends_on_settings_only(Oid function)
{
	HeapTuple tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tup);
	const char *name = NameStr(proc->proname);
	bool zoned = proc->prorettype == TIMESTAMPTZOID || proc->prorettype == TIMETZOID;
	bool text_input = false;

	for (int i = 0; i < proc->pronargs; i++)
	{
		Oid type = proc->proargtypes.values[i];

		zoned |= type == TIMESTAMPTZOID || type == TIMETZOID;
		text_input |= type == CSTRINGOID;
	}

	/* age() of one argument reads the clock; so does input such as 'now'. */
	zoned &= proc->pronargs > 0 && !text_input && strcmp(name, "age") != 0;
	for (int i = 0; i < lengthof(formatting); i++)
		zoned |= strcmp(name, formatting[i]) == 0;
	zoned &= proc->pronamespace == PG_CATALOG_NAMESPACE;
	ReleaseSysCache(tup);
	return zoned;
}

bool
braid_refusal_is_unfit_function(Oid function, void *context)
{
	char volatility = func_volatile(function);

	return volatility == PROVOLATILE_VOLATILE ||
		   (volatility == PROVOLATILE_STABLE && !depends_on_settings_only(function));
}

static bool
refuse_functions(Node *node, ParseState *pstate)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, braid_refusal_is_unfit_function, NULL) ||
		IsA(node, SQLValueFunction) || IsA(node, NextValueExpr))
		braid_refuse(pstate, exprLocation(node),
					 "a function whose result can change while the rows do not");
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, refuse_functions, pstate, 0);
	return expression_tree_walker(node, refuse_functions, pstate);
}

/* ---------------------------------------------------------------- constructs */

void
braid_refuse_constructs(ParseState *pstate, Query *query)
{
	if (query->commandType != CMD_SELECT || query->utilityStmt)
		braid_refuse(pstate, -1, "anything but SELECT");
	if (query->hasRecursive)
		braid_refuse(pstate, ((CommonTableExpr *) linitial(query->cteList))->location,
					 "WITH RECURSIVE");
	if (query->hasModifyingCTE)
		braid_refuse(pstate, ((CommonTableExpr *) linitial(query->cteList))->location,
					 "statements that change data in WITH");
	if (query->rowMarks)
		braid_refuse(pstate, first_target(query), "row locks");
	if (query->targetList == NIL)
		braid_refuse(pstate, -1, "a query without columns");
}

void
braid_refuse_functions(ParseState *pstate, Query *query)
{
	(void) refuse_functions((Node *) query, pstate);
}

/* ---------------------------------------------------------------- the table */

static void
refuse_relation_kind(ParseState *pstate, Relation rel)
{
	char kind = rel->rd_rel->relkind;

	if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
		braid_stream_is(RelationGetRelid(rel)))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_WRONG_OBJECT_TYPE),
		 errmsg("continuous views cannot read \"%s\", which is not a table",
				RelationGetRelationName(rel)),
		 errhint(
			 "Only changes of ordinary and partitioned tables and of streams can be captured: name the table that it reads."),
		 parser_errposition(pstate, location_of_relation(pstate, RelationGetRelationName(rel)))));
}

/* Rows of those cannot be captured, or not be read again. */
static void
refuse_foreign_partitions(ParseState *pstate, Relation rel, int location)
{
	ListCell *lc;

	foreach (lc, braid_capture_members(RelationGetRelid(rel)))
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("continuous views do not support partitioned tables with "
								   "partitions that are foreign tables or streams"),
							errdetail("\"%s\" is one of \"%s\".", get_rel_name(lfirst_oid(lc)),
									  RelationGetRelationName(rel)),
							errhint("Read the partitions, each by a view of its own."),
							parser_errposition(pstate, location)));
}

static void
refuse_relation(ParseState *pstate, Relation rel, RangeTblEntry *rte)
{
	int location = location_of_relation(pstate, RelationGetRelationName(rel));

	refuse_relation_kind(pstate, rel);
	if (IsCatalogRelation(rel) || RelationGetRelid(rel) < FirstNormalObjectId)
		braid_refuse(pstate, location, "system catalogs");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		braid_refuse(pstate, location, "temporary tables");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		braid_refuse(pstate, location, "unlogged tables");
	if (rte->tablesample)
		braid_refuse(pstate, location, "TABLESAMPLE");
	if (rte->inh && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE &&
		has_subclass(RelationGetRelid(rel)))
		braid_refuse(pstate, location, "tables that others inherit from");
	if (!rte->inh && rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		braid_refuse(pstate, location, "ONLY with a partitioned table");
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		refuse_foreign_partitions(pstate, rel, location);
}

void
braid_refuse_table(ParseState *pstate, RangeTblEntry *rte)
{
	Relation rel = braid_capture_look_at(rte->relid);

	refuse_relation(pstate, rel, rte);
	RelationClose(rel);
}

void
braid_refuse_columns(ParseState *pstate, Oid relid, List *vars)
{
	ListCell *lc;

	foreach (lc, vars)
	{
		Var *var = lfirst(lc);

		if (var->varattno < 0)
			braid_refuse(pstate, var->location, "system columns");

		/* Virtual columns, of PostgreSQL 18, are not in WAL. */
		if (get_attgenerated(relid, var->varattno) == 'v')
			braid_refuse(pstate, var->location, "virtual generated columns");
	}
}
