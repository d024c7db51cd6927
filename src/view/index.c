/*
 * index.c
 *	  Indexes that users make on continuous views.
 *
 * NOTES
 *	  What the user reads is an ordinary view, and conditions on it reach the
 *	  tables below: an index on those columns of a state that the view shows as
 *	  they are is one on the view.  A column that is computed when the view is
 *	  read has none.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "common/compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "view/definition.h"
#include "view/index.h"

/* The column of a table that an output column of a query is. */
typedef struct ColumnOrigin
{
	Oid relid;
	AttrNumber attnum;
} ColumnOrigin;

static bool find_in_query(Query *query, AttrNumber attnum, ColumnOrigin *origin);

static bool
find_expression(Query *query, Node *node, ColumnOrigin *origin)
{
	RangeTblEntry *rte;
	Var *var = (Var *) node;

	if (!IsA(node, Var) || var->varlevelsup > 0 || var->varattno <= 0)
		return false;
	rte = rt_fetch(var->varno, query->rtable);
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			*origin = (ColumnOrigin){rte->relid, var->varattno};
			return true;
		case RTE_SUBQUERY:
			return find_in_query(rte->subquery, var->varattno, origin);
		case RTE_JOIN:
			return find_expression(query, list_nth(rte->joinaliasvars, var->varattno - 1), origin);
		default:
			return false;
	}
}

static bool
find_in_query(Query *query, AttrNumber attnum, ColumnOrigin *origin)
{
	TargetEntry *tle = get_tle_by_resno(query->targetList, attnum);

	if (query->setOperations || tle == NULL)
		return false;
	return find_expression(query, (Node *) tle->expr, origin);
}

/* The column of the state that a column of the view shows. */
static ColumnOrigin
find_column(Oid view, int id, const char *name)
{
	AttrNumber attnum = get_attnum(view, name);
	ColumnOrigin origin;

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" does not exist", name)));
	if (!find_in_query(braid_definition_query(view), attnum, &origin) ||
		!list_member_oid(braid_definition_states(id), origin.relid))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("column \"%s\" of continuous view \"%s\" cannot be indexed", name,
							   get_rel_name(view)),
						errdetail("It is computed when the view is read.")));
	return origin;
}

static void
refuse(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("indexes on continuous views cannot be %s", what),
					hint ? errhint("%s", hint) : 0));
}

static void
retarget_column(IndexElem *element, Oid view, int id, Oid *state)
{
	ColumnOrigin origin;

	if (element->name == NULL)
		refuse("on expressions", "Make the expression a column of the view.");
	origin = find_column(view, id, element->name);
	if (OidIsValid(*state) && *state != origin.relid)
		refuse("on columns of several state tables", "SELECT * FROM braid.explain() shows them.");
	*state = origin.relid;
	element->name = get_attname(origin.relid, origin.attnum, false);
}

void
braid_index_retarget(IndexStmt *stmt, Oid view)
{
	ViewDefinition def;
	Oid state = InvalidOid;
	ListCell *lc;

	braid_definition_get(view, &def);
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
	if (stmt->unique)
		refuse("unique", "The keys of groups are unique anyway.");
	if (stmt->whereClause)
		refuse("partial", NULL);
	if (stmt->concurrent)
		refuse("made CONCURRENTLY",
			   "Without it nobody waits who writes or reads; the view is held back meanwhile.");
	if (stmt->tableSpace)
		refuse("made in a tablespace", "ALTER INDEX ... SET TABLESPACE puts them there.");
	foreach (lc, stmt->indexParams)
		retarget_column(lfirst(lc), view, def.id, &state);
	foreach (lc, stmt->indexIncludingParams)
		retarget_column(lfirst(lc), view, def.id, &state);
	stmt->relation = makeRangeVar(get_namespace_name(get_rel_namespace(state)), get_rel_name(state),
								  stmt->relation->location);
}
