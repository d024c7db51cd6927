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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "view/refusal.h"

void
braid_refuse(ParseState *pstate, int location, const char *what)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("continuous views do not support %s", what),
		 errhint(
			 "A continuous view reads one table, with WHERE, GROUP BY, HAVING and the aggregates count, sum, avg, min and max; put the rest into an ordinary view over it."),
		 parser_errposition(pstate, location)));
}

/* ---------------------------------------------------------------- locations */

typedef struct FromSearch
{
	int nth; /* how many are still to be passed over */
	int location;
} FromSearch;

static bool
find_from_item(Node *node, FromSearch *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		if (search->nth-- > 0)
			return false;
		search->location = ((RangeVar *) node)->location;
		return true;
	}
	if (IsA(node, RangeSubselect) && search->nth == 0)
	{
		SelectStmt *sub = (SelectStmt *) ((RangeSubselect *) node)->subquery;

		search->location = exprLocation((Node *) sub->targetList);
		return true;
	}
	return raw_expression_tree_walker(node, find_from_item, search);
}

/* The SELECT within a statement that makes a view. */
static SelectStmt *
select_of(Node *stmt)
{
	if (IsA(stmt, CreateTableAsStmt))
		stmt = ((CreateTableAsStmt *) stmt)->query;
	return IsA(stmt, SelectStmt) ? (SelectStmt *) stmt : NULL;
}

int
braid_refusal_location(ParseState *pstate, int nth)
{
	FromSearch search = {nth, -1};
	ListCell *lc;

	if (pstate == NULL || pstate->p_sourcetext == NULL)
		return -1;
	foreach (lc, raw_parser(pstate->p_sourcetext, RAW_PARSE_DEFAULT))
	{
		SelectStmt *select = select_of(lfirst_node(RawStmt, lc)->stmt);

		if (!select)
			continue;
		if (find_from_item((Node *) select->fromClause, &search))
			return search.location;
		return exprLocation((Node *) select->targetList);
	}
	return -1;
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

/* Location of the first node of a kind in the query. */
static int
location_of(Query *query, NodeTag tag)
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
	zoned |= strcmp(name, "date_out") == 0 || strcmp(name, "timestamp_out") == 0 ||
			 strcmp(name, "timestamptz_out") == 0 || strcmp(name, "interval_out") == 0 ||
			 strcmp(name, "to_char") == 0 || strcmp(name, "concat") == 0 ||
			 strcmp(name, "concat_ws") == 0 || strcmp(name, "format") == 0;
	zoned &= proc->pronamespace == PG_CATALOG_NAMESPACE;
	ReleaseSysCache(tup);
	return zoned;
}

static bool
is_unfit_function(Oid function, void *context)
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
	if (check_functions_in_node(node, is_unfit_function, NULL) || IsA(node, SQLValueFunction) ||
		IsA(node, NextValueExpr))
		braid_refuse(pstate, exprLocation(node),
					 "a function whose result can change while the rows do not");
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, refuse_functions, pstate, 0);
	return expression_tree_walker(node, refuse_functions, pstate);
}

/* ---------------------------------------------------------------- constructs */

static int
location_of_sort(Query *query)
{
	return exprLocation(
		(Node *) get_sortgroupclause_tle(linitial(query->sortClause), query->targetList)->expr);
}

void
braid_refuse_constructs(ParseState *pstate, Query *query)
{
	if (query->commandType != CMD_SELECT || query->utilityStmt)
		braid_refuse(pstate, -1, "anything but SELECT");
	if (query->cteList)
		braid_refuse(pstate, ((CommonTableExpr *) linitial(query->cteList))->location,
					 "WITH queries");
	if (query->setOperations)
		braid_refuse(pstate, first_target(query), "UNION, INTERSECT and EXCEPT");
	if (query->hasSubLinks)
		braid_refuse(pstate, location_of(query, T_SubLink), "subqueries");
	if (query->hasWindowFuncs)
		braid_refuse(pstate, location_of(query, T_WindowFunc), "window functions");
	if (query->hasTargetSRFs)
		braid_refuse(pstate, first_target(query), "set-returning functions");
	if (query->distinctClause)
		braid_refuse(pstate, first_target(query), "DISTINCT");
	if (query->groupingSets)
		braid_refuse(pstate, exprLocation(linitial(query->groupingSets)), "grouping sets");
	if (query->limitCount)
		braid_refuse(pstate, exprLocation(query->limitCount), "LIMIT");
	if (query->limitOffset)
		braid_refuse(pstate, exprLocation(query->limitOffset), "OFFSET");
	if (query->sortClause)
		braid_refuse(pstate, location_of_sort(query), "ORDER BY");
	if (query->rowMarks)
		braid_refuse(pstate, first_target(query), "row locks");
	(void) refuse_functions((Node *) query, pstate);
}

/* ---------------------------------------------------------------- the table */

static void
refuse_relation_kind(ParseState *pstate, Relation rel)
{
	char kind = rel->rd_rel->relkind;

	if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_WRONG_OBJECT_TYPE),
		 errmsg("continuous views cannot read \"%s\", which is not a table",
				RelationGetRelationName(rel)),
		 errhint(
			 "Only changes of ordinary and partitioned tables can be captured: name the table that it reads."),
		 parser_errposition(pstate, braid_refusal_location(pstate, 0))));
}

static void
refuse_relation(ParseState *pstate, Relation rel, RangeTblEntry *rte)
{
	int location = braid_refusal_location(pstate, 0);

	refuse_relation_kind(pstate, rel);
	if (IsCatalogRelation(rel) || RelationGetRelid(rel) < FirstNormalObjectId)
		braid_refuse(pstate, location, "system catalogs");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		braid_refuse(pstate, location, "temporary tables");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		braid_refuse(pstate, location, "unlogged tables");
	if (rte->tablesample)
		braid_refuse(pstate, location, "TABLESAMPLE");
	if (rte->inh && rel->rd_rel->relkind == RELKIND_RELATION && has_subclass(RelationGetRelid(rel)))
		braid_refuse(pstate, location, "tables that others inherit from");
	if (!rte->inh && rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		braid_refuse(pstate, location, "ONLY with a partitioned table");
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		braid_refuse(pstate, location, "tables with row security that applies to the view's owner");
}

void
braid_refuse_table(ParseState *pstate, RangeTblEntry *rte)
{
	Relation rel;

	if (rte->rtekind == RTE_SUBQUERY && !OidIsValid(rte->relid))
		braid_refuse(pstate, braid_refusal_location(pstate, 0), "subqueries");
	if (rte->rtekind != RTE_RELATION)
		braid_refuse(pstate, braid_refusal_location(pstate, 0), "anything but a table in FROM");
	rel = braid_capture_look_at(rte->relid);
	refuse_relation(pstate, rel, rte);
	RelationClose(rel);
}

/* ---------------------------------------------------------------- expressions */

void
braid_refuse_aggregate(ParseState *pstate, Aggref *agg, const char *name)
{
	static const char *const known[] = {"count", "sum", "avg", "min", "max"};
	bool found = false;

	for (int i = 0; i < lengthof(known) && name; i++)
		found |= strcmp(name, known[i]) == 0;
	if (!found)
		braid_refuse(pstate, exprLocation((Node *) agg),
					 psprintf("aggregate %s", format_procedure(agg->aggfnoid)));
	if (agg->aggdistinct)
		braid_refuse(pstate, exprLocation((Node *) agg), "DISTINCT in an aggregate");
	if (agg->aggorder)
		braid_refuse(pstate, exprLocation((Node *) agg), "ORDER BY in an aggregate");
	Assert(agg->aggkind == AGGKIND_NORMAL && agg->agglevelsup == 0);
}

typedef struct ColumnCheck
{
	ParseState *pstate;
	Oid relid;
} ColumnCheck;

static bool
refuse_column(Node *node, ColumnCheck *check)
{
	ParseState *pstate = check->pstate;

	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varattno < 0)
		braid_refuse(pstate, exprLocation(node), "system columns");
	if (IsA(node, Var) && ((Var *) node)->varattno == 0)
		braid_refuse(pstate, exprLocation(node), "whole rows");

	/* Virtual columns, of PostgreSQL 18, are not in WAL. */
	if (IsA(node, Var) && get_attgenerated(check->relid, ((Var *) node)->varattno) == 'v')
		braid_refuse(pstate, exprLocation(node), "virtual generated columns");
	return expression_tree_walker(node, refuse_column, check);
}

void
braid_refuse_columns(ParseState *pstate, Query *query, Oid relid)
{
	ColumnCheck check = {pstate, relid};

	(void) refuse_column((Node *) query->targetList, &check);
	(void) refuse_column(query->havingQual, &check);
	(void) refuse_column(query->jointree->quals, &check);
}
