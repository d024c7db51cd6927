/*
 * rights.c
 *	  What the owner of a view has to be allowed.
 *
 * NOTES
 *	  Capturing asks nobody: rows enter a delta whatever the owner may read, and
 *	  whatever row security says.  So the privileges that the query needs are
 *	  checked when the view is made, and again whenever definitions are loaded.
 *	  Tables that the query reads by way of an ordinary view are read by the
 *	  worker itself: the owner needs the right to read them too.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "common/compat.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "view/policy.h"
#include "view/rights.h"

static bool
check_queries(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, check_queries, context);
	braid_compat_check_query_permissions((Query *) node);
	return query_tree_walker((Query *) node, check_queries, context, 0);
}

void
braid_rights_check_query(Query *query)
{
	(void) check_queries((Node *) query, NULL);
}

static void
refuse_access(ViewPlan *plan, Oid relid)
{
	if (plan->watched == NIL)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for %s %s",
					get_rel_relkind(relid) == RELKIND_VIEW ? "view" : "table", get_rel_name(relid)),
			 errdetail("The owner of a continuous view needs SELECT also on what it reads "
					   "by way of ordinary views.")));
}

/* A query that uses no column at all needs the right to read any. */
static void
check_columns(ViewPlan *plan, Oid relid, Oid role)
{
	Bitmapset *attnums = braid_plan_columns(plan, relid);
	int attnum = -1;

	if (bms_is_empty(attnums) && pg_class_aclcheck(relid, role, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, role, ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		refuse_access(plan, relid);
	while ((attnum = bms_next_member(attnums, attnum)) >= 0)
		if (!braid_compat_column_readable(relid, attnum, role))
			refuse_access(plan, relid);
}

static void
check_view(ViewPlan *plan, ViewNode *node, Oid role)
{
	for (int i = 0; i < node->ncolumns; i++)
		if (!braid_compat_column_readable(node->relid, node->attnums[i], role))
			refuse_access(plan, node->relid);
}

void
braid_rights_apply(ViewPlan *plan, Oid role)
{
	ListCell *lc;

	foreach (lc, plan->tables)
		check_columns(plan, lfirst_oid(lc), role);
	foreach (lc, plan->nodes)
		if (((ViewNode *) lfirst(lc))->kind == NODE_VIEW)
			check_view(plan, lfirst(lc), role);
	braid_policy_apply(plan, role);
}
