/*
 * event_time.c
 *	  The watermark of a view as the user defines it, and as it is stored.
 *
 * NOTES
 *	  The expressions are kept as an ordinary view over the tables, time_<id>, for
 *	  the same reasons as the query is: PostgreSQL follows renames, holds on to the
 *	  columns, and dumps it.  It is never run as it stands.
 *
 *	  An error in an expression is reported at its place in the option.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/name.h"
#include "common/superuser.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "view/deparse.h"
#include "view/event_time.h"
#include "view/refusal.h"
#include "view/statement.h"

#define SELECT_TEXT "SELECT "

/* ---------------------------------------------------------------- what is read */

/* A relation that the query reads, and a name for it. */
typedef struct Source
{
	Oid relid;
	char *alias;
} Source;

static bool
is_alias_taken(List *sources, const char *alias)
{
	ListCell *lc;

	foreach (lc, sources)
		if (strcmp(((Source *) lfirst(lc))->alias, alias) == 0)
			return true;
	return false;
}

static void
add_source(List **sources, RangeTblEntry *rte)
{
	Source *source = palloc(sizeof(Source));
	ListCell *lc;

	foreach (lc, *sources)
		if (((Source *) lfirst(lc))->relid == rte->relid)
			return;
	source->relid = rte->relid;
	source->alias = rte->eref->aliasname;
	if (is_alias_taken(*sources, source->alias))
		source->alias = get_rel_name(rte->relid);
	while (is_alias_taken(*sources, source->alias))
		source->alias = psprintf("%s_", source->alias);
	*sources = lappend(*sources, source);
}

static bool
find_sources(Node *node, List **sources)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		ViewDefinition def;

		if (rte->rtekind != RTE_RELATION || !rte->inFromCl)
			return false;
		if (get_rel_relkind(rte->relid) == RELKIND_VIEW && !braid_definition_find(rte->relid, &def))
			return find_sources((Node *) braid_definition_query(rte->relid), sources);
		add_source(sources, rte);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_sources, sources, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, find_sources, sources);
}

static char *
from_list(List *sources)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, sources)
	{
		Source *source = lfirst(lc);

		appendStringInfo(&s, "%s%s AS %s", s.len > 0 ? ", " : "",
						 braid_relation_name(source->relid), quote_identifier(source->alias));
	}
	return s.data;
}

/* ---------------------------------------------------------------- what is refused */

static bool
is_event_time(Oid type)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
		case DATEOID:
		case INT4OID:
		case INT8OID:
			return true;
		default:
			return false;
	}
}

static void
check_expression(Node *expression, Oid *type)
{
	Bitmapset *tables = pull_varnos(NULL, expression);

	if (bms_num_members(tables) != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("each expression of a watermark must be over columns of one table"),
						errhint("Write one expression for each table, separated by commas."),
						errposition(exprLocation(expression) + 1)));
	if (!is_event_time(exprType(expression)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a watermark cannot be of type %s", format_type_be(exprType(expression))),
				 errdetail("It can be of type timestamp with or without time zone, date, "
						   "integer or bigint."),
				 errposition(exprLocation(expression) + 1)));
	if (OidIsValid(*type) && *type != exprType(expression))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expressions of a watermark are of types %s and %s",
							   format_type_be(*type), format_type_be(exprType(expression))),
						errposition(exprLocation(expression) + 1)));
	*type = exprType(expression);
}

static void
check_sources(Query *query, int nsources, const char *text)
{
	ParseState *pstate = make_parsestate(NULL);
	Oid type = InvalidOid;
	ListCell *lc;

	pstate->p_sourcetext = text;
	if (list_length(query->rtable) != nsources || query->jointree->quals || query->hasAggs ||
		query->hasWindowFuncs || query->hasSubLinks || query->hasTargetSRFs ||
		query->distinctClause || query->groupClause || query->sortClause || query->limitCount)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("a watermark must be expressions over columns, without subqueries "
							   "and aggregates")));
	braid_refuse_functions(pstate, query);
	foreach (lc, query->targetList)
		check_expression((Node *) ((TargetEntry *) lfirst(lc))->expr, &type);
	free_parsestate(pstate);
}

/* Positions are those in the option. */
static void
move_error_position(void *arg)
{
	int position = geterrposition();
	int offset = strlen(SELECT_TEXT);

	if (position > offset && position <= offset + (int) strlen(arg) + 1)
	{
		errposition(0);
		internalerrposition(position - offset);
		internalerrquery(arg);
	}
	errcontext("parameter \"braid.watermark\"");
}

/* w1, w2, ...: columns of the view that stores them. */
static void
name_targets(Query *query)
{
	ListCell *lc;

	foreach (lc, query->targetList)
		((TargetEntry *) lfirst(lc))->resname = psprintf("w%d", foreach_current_index(lc) + 1);
}

Query *
braid_event_time_analyze(const ContinuousOptions *options, Query *query)
{
	char *expressions = options->time.watermark;
	ErrorContextCallback callback = {error_context_stack, move_error_position, expressions};
	List *sources = NIL;
	Query *result;
	char *text;

	if (expressions == NULL)
		return NULL;
	(void) find_sources((Node *) query, &sources);
	if (sources == NIL)
		return NULL; /* the query is refused soon */
	text = psprintf(SELECT_TEXT "%s\n FROM %s", expressions, from_list(sources));
	error_context_stack = &callback;
	result = braid_statement_analyze(text);
	check_sources(result, list_length(sources), text);
	error_context_stack = callback.previous;
	name_targets(result);
	return result;
}

/* ---------------------------------------------------------------- what is stored */

void
braid_event_time_create(int id, Query *sources)
{
	char *name = braid_definition_time_name(id);
	char *owner = pstrdup(quote_identifier(GetUserNameFromId(GetUserId(), false)));

	braid_superuser_execute(psprintf("CREATE VIEW %s AS %s", name, braid_deparse_query(sources)));
	braid_superuser_execute(psprintf("ALTER VIEW %s OWNER TO %s", name, owner));
	braid_superuser_execute(
		psprintf("COMMENT ON VIEW %s IS 'braid: watermark of a continuous view'", name));
}

Query *
braid_event_time_sources(const ViewDefinition *def)
{
	return OidIsValid(def->time) ? braid_definition_query(def->time) : NULL;
}

/* As if the table of the expression were the only one. */
static char *
expression_text(Query *sources, Node *expression)
{
	Node *copy = copyObject(expression);
	int varno = bms_singleton_member(pull_varnos(NULL, expression));
	RangeTblEntry *rte = rt_fetch(varno, sources->rtable);

	ChangeVarNodes(copy, varno, 1, 0);
	return deparse_expression(copy, deparse_context_for(rte->eref->aliasname, rte->relid), true,
							  false);
}

char *
braid_event_time_text(const ViewDefinition *def)
{
	Query *sources = braid_event_time_sources(def);
	StringInfoData s;
	ListCell *lc;

	if (sources == NULL)
		return NULL;
	initStringInfo(&s);
	foreach (lc, sources->targetList)
		appendStringInfo(&s, "%s%s", s.len > 0 ? ", " : "",
						 expression_text(sources, (Node *) ((TargetEntry *) lfirst(lc))->expr));
	return s.data;
}

ViewPlan *
braid_event_time_plan(const ViewDefinition *def, Query *query, int id, ParseState *pstate)
{
	PlanTime time;

	if (def->has_schedule)
		return braid_plan_recompute(query, id, pstate);
	if (def->options == NULL || def->options->time.watermark == NULL)
		return braid_plan_make(query, id, NULL, pstate);
	time.options = &def->options->time;
	time.sources = braid_event_time_sources(def);
	if (time.sources == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the watermark of the continuous view is missing")));
	return braid_plan_make(query, id, &time, pstate);
}
