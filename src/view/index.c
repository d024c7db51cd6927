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

#include "access/attmap.h"
#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "common/compat.h"
#include "common/name.h"
#include "common/superuser.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "parser/parse_utilcmd.h"
#include "parser/parsetree.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
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

/* ---------------------------------------------------------------- another state */

/* Where a column of a state is in another view's, by way of what both views show. */
static bool
find_counterpart(const ViewDefinition *from, const ViewDefinition *to, ColumnOrigin *column)
{
	int natts = braid_definition_natts(from->view);
	ColumnOrigin origin;

	for (int i = 1; i <= natts; i++)
		if (find_in_query(braid_definition_query(from->view), i, &origin) &&
			origin.relid == column->relid && origin.attnum == column->attnum &&
			find_in_query(braid_definition_query(to->view), i, &origin) &&
			list_member_oid(braid_definition_states(to->id), origin.relid))
		{
			*column = origin;
			return true;
		}
	return false;
}

/* Puts the names of the counterparts into the elements, from the column first on. */
static bool
move_columns(const ViewDefinition *from, const ViewDefinition *to, Relation index, List *elements,
			 int first, Oid *state)
{
	ListCell *lc;

	foreach (lc, elements)
	{
		ColumnOrigin column = {index->rd_index->indrelid,
							   index->rd_index->indkey.values[first + foreach_current_index(lc)]};

		if (column.attnum <= 0 || !find_counterpart(from, to, &column) ||
			(OidIsValid(*state) && *state != column.relid))
			return false;
		*state = column.relid;
		((IndexElem *) lfirst(lc))->name = get_attname(column.relid, column.attnum, false);
	}
	return true;
}

static char *
copy_prefix(int id)
{
	return psprintf("next_%d_", id);
}

static void
run_statement(Node *stmt)
{
	PlannedStmt *pstmt = makeNode(PlannedStmt);

	pstmt->commandType = CMD_UTILITY;
	pstmt->utilityStmt = stmt;
	pstmt->stmt_location = -1;
	ProcessUtility(pstmt, "", false, PROCESS_UTILITY_SUBCOMMAND, NULL, NULL, None_Receiver, NULL);
	CommandCounterIncrement();
}

static void
copy_index(const ViewDefinition *from, const ViewDefinition *to, Relation index)
{
	AttrMap *map = make_attrmap(braid_definition_natts(index->rd_index->indrelid));
	IndexStmt *stmt = generateClonedIndexStmt(NULL, index, map, NULL);
	Oid state = InvalidOid;

	if (!move_columns(from, to, index, stmt->indexParams, 0, &state) ||
		!move_columns(from, to, index, stmt->indexIncludingParams, list_length(stmt->indexParams),
					  &state))
	{
		ereport(NOTICE, (errmsg("index \"%s\" is not kept", RelationGetRelationName(index)),
						 errdetail("Its columns are not kept as they are by the new query.")));
		return;
	}
	stmt->relation =
		makeRangeVar(get_namespace_name(get_rel_namespace(state)), get_rel_name(state), -1);
	stmt->idxname = psprintf("%s%u", copy_prefix(to->id), RelationGetRelid(index));
	run_statement((Node *) stmt);
}

/* Indexes of the view's states that are not the states' own. */
static List *
users_indexes(const ViewDefinition *def)
{
	List *found = NIL;
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, braid_definition_states(def->id))
	{
		Relation state = table_open(lfirst_oid(lc), AccessShareLock);

		foreach (lc2, RelationGetIndexList(state))
			if (!braid_definition_is_own_index(RelationGetRelationName(state),
											   get_rel_name(lfirst_oid(lc2))))
				found = lappend_oid(found, lfirst_oid(lc2));
		table_close(state, NoLock);
	}
	return found;
}

void
braid_index_copy(const ViewDefinition *from, const ViewDefinition *to)
{
	Oid user;
	int security;
	ListCell *lc;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	foreach (lc, users_indexes(from))
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		copy_index(from, to, index);
		index_close(index, NoLock);
	}
	SetUserIdAndSecContext(user, security);
}

static void
rename_index(Oid index, const char *name)
{
	braid_superuser_execute(psprintf("ALTER INDEX %s RENAME TO %s", braid_relation_name(index),
									 quote_identifier(name)));
}

void
braid_index_take_names(const ViewDefinition *view)
{
	char *prefix = copy_prefix(view->id);
	ListCell *lc;

	foreach (lc, users_indexes(view))
	{
		char *name = get_rel_name(lfirst_oid(lc));
		Oid original = InvalidOid;

		if (strncmp(name, prefix, strlen(prefix)) == 0)
			original = strtou64(name + strlen(prefix), NULL, 10);
		name = OidIsValid(original) ? get_rel_name(original) : NULL;
		if (name == NULL)
			continue;
		rename_index(original, psprintf("replaced_%u", original));
		rename_index(lfirst_oid(lc), name);
	}
}
