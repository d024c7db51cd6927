/*
 * policy.c
 *	  Row-level security of the tables that a view reads.
 *
 * NOTES
 *	  A view shows the rows that its owner sees, as a materialized view does that
 *	  was just refreshed.  What the worker reads from a table it reads as the owner,
 *	  and PostgreSQL applies the policies.  What comes from WAL has asked nobody: the
 *	  same conditions are put around the delta of the table, in a subquery that the
 *	  planner does not look into, so that no function of the view's query ever gets a
 *	  row that its owner may not see.
 *
 *	  For a row to be seen or not must follow from the row alone.  So a policy with
 *	  subqueries, or with functions that depend on anything else, is refused; but
 *	  current_user is the owner whenever a condition is evaluated.
 *
 *	  The conditions and the owner's name are part of the plan's fingerprint.  Who
 *	  changes a policy, a role or its members makes the definitions be loaded again,
 *	  before anything else is merged, and the view be rebuilt.
 *
 *	  To verify a view its query is run, and there an ordinary view in between reads
 *	  with its own owner's eyes.  If that is somebody else, the tables must have no
 *	  row-level security that applies to either.
 *
 *	  Policies are taken from the relation cache and chosen as rowsecurity.c does,
 *	  which would need a lock on the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "capture/capture.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "view/definition.h"
#include "view/policy.h"
#include "view/refusal.h"

/* ---------------------------------------------------------------- choosing */

static bool
is_for_role(RowSecurityPolicy *policy, Oid role)
{
	Oid *roles = (Oid *) ARR_DATA_PTR(policy->roles);

	if (policy->polcmd != '*' && policy->polcmd != ACL_SELECT_CHR)
		return false;
	for (int i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
		if (roles[i] == ACL_ID_PUBLIC || has_privs_of_role(role, roles[i]))
			return true;
	return false;
}

/*
 * The conditions of the table's policies that hold for the role: all restrictive
 * ones, and one of the permissive ones.  If there is none of these, no row is seen.
 */
static Node *
condition_for(Relation rel, Oid role)
{
	List *permissive = NIL;
	List *restrictive = NIL;
	ListCell *lc;

	if (row_security_policy_hook_permissive || row_security_policy_hook_restrictive)
		braid_refuse(NULL, -1, "row security while an extension adds policies of its own");
	foreach (lc, rel->rd_rsdesc ? rel->rd_rsdesc->policies : NIL)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		if (!is_for_role(policy, role) || policy->qual == NULL)
			continue;
		if (policy->permissive)
			permissive = lappend(permissive, copyObject(policy->qual));
		else
			restrictive = lappend(restrictive, copyObject(policy->qual));
	}
	if (permissive == NIL)
		return makeBoolConst(false, false);
	return (Node *) make_ands_explicit(lappend(restrictive, make_orclause(permissive)));
}

/* ---------------------------------------------------------------- refusals */

static bool
is_current_user(Node *node)
{
	SQLValueFunction *f = (SQLValueFunction *) node;

	return IsA(node, SQLValueFunction) &&
		   (f->op == SVFOP_CURRENT_USER || f->op == SVFOP_CURRENT_ROLE || f->op == SVFOP_USER);
}

static bool
refuse_condition(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		braid_refuse(NULL, -1, "row security policies with subqueries");
	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
		braid_refuse(NULL, -1, "row security policies on whole rows or system columns");
	if (is_current_user(node))
		return false;
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr) ||
		check_functions_in_node(node, braid_refusal_is_unfit_function, NULL))
		braid_refuse(NULL, -1,
					 "row security policies that depend on anything but the row and current_user");
	return expression_tree_walker(node, refuse_condition, context);
}

/* A view in between of another owner, over tables whose rows not everybody sees. */
static void
refuse_other_eyes(ViewPlan *plan, Oid role)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, plan->watched)
	{
		Oid owner = braid_definition_owner(lfirst_oid(lc));

		foreach (lc2, owner == role ? NIL : plan->tables)
			if (check_enable_rls(lfirst_oid(lc2), role, true) == RLS_ENABLED ||
				check_enable_rls(lfirst_oid(lc2), owner, true) == RLS_ENABLED)
				braid_refuse(NULL, -1,
							 "tables with row security together with ordinary views that "
							 "belong to another role");
	}
}

/* ---------------------------------------------------------------- the plan */

static void
take_condition(ViewPlan *plan, Oid relid, Node *condition)
{
	Bitmapset *columns = NULL;
	Bitmapset *attnums = NULL;
	int column = -1;
	ListCell *lc;

	pull_varattnos(condition, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
		attnums = bms_add_member(attnums, column + FirstLowInvalidHeapAttributeNumber);
	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind != NODE_TABLE || node->relid != relid)
			continue;
		node->policy = condition;
		node->policy_columns = attnums;
	}
}

void
braid_policy_apply(ViewPlan *plan, Oid role)
{
	StringInfoData s;
	ListCell *lc;

	if (!plan->is_recomputed)
		refuse_other_eyes(plan, role);
	initStringInfo(&s);
	foreach (lc, plan->tables)
	{
		Oid relid = lfirst_oid(lc);
		Relation rel;
		Node *condition;

		if (check_enable_rls(relid, role, true) != RLS_ENABLED)
			continue;
		rel = braid_capture_look_at(relid);
		condition = condition_for(rel, role);
		RelationClose(rel);
		appendStringInfo(&s, "%u %s ", relid, nodeToString(condition));
		if (plan->is_recomputed)
			continue;
		(void) refuse_condition(condition, NULL);
		take_condition(plan, relid, condition);
	}
	if (s.len == 0)
		return;
	appendStringInfo(&s, "%u %s", role, GetUserNameFromId(role, false));
	braid_plan_add_to_fingerprint(plan, s.data);
}

char *
braid_policy_text(ViewNode *table)
{
	return deparse_expression(table->policy, deparse_context_for("d", table->relid), true, false);
}
