/*
 * decorrelate.c
 *	  Taking a query apart: subqueries that refer to the query around them.
 *
 * NOTES
 *	  Such a subquery is made independent, and joined on what tied it to the query
 *	  around it.  Two forms:
 *
 *		rows		SELECT ... FROM s WHERE c(s, t): the columns of s in c become
 *					columns of the subquery, c becomes the condition of the join;
 *					c can be anything
 *		per key		with aggregates, GROUP BY, DISTINCT or LIMIT: each c must be
 *					s.k = t.k; s.k becomes a key of the subquery as well
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "view/refusal.h"
#include "view/take.h"

/* ---------------------------------------------------------------- levels */

typedef struct LevelSearch
{
	int level; /* varlevelsup, seen from the node that the search began with */
	bool deeper;
	int depth;
} LevelSearch;

/* Whether there is a column of that level, or of it and those beyond. */
static bool
refers_to(Node *node, LevelSearch *s)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		int level = (int) ((Var *) node)->varlevelsup - s->depth;

		return level == s->level || (s->deeper && level > s->level);
	}
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup - s->depth >= s->level &&
		s->level > 0)
		return true;
	if (IsA(node, Query))
	{
		bool result;

		s->depth++;
		result = query_tree_walker((Query *) node, refers_to, s, 0);
		s->depth--;
		return result;
	}
	return expression_tree_walker(node, refers_to, s);
}

static bool
has_level(Node *node, int level, bool deeper)
{
	LevelSearch s = {level, deeper, 0};

	return refers_to(node, &s);
}

/* A query counts as one level of its own. */
bool
braid_take_is_correlated(Node *node)
{
	return has_level(node, IsA(node, Query) ? 0 : 1, true);
}

/* ---------------------------------------------------------------- columns */

typedef struct Decorrelation
{
	Planner *planner;
	Query *sub;
	int varno;
	List *keys; /* resnos */
} Decorrelation;

/* A column of the subquery that is the expression, added if there is none. */
static TargetEntry *
column_for(Decorrelation *d, Expr *expression)
{
	TargetEntry *tle;
	ListCell *lc;

	foreach (lc, d->sub->targetList)
	{
		tle = lfirst(lc);
		if (!tle->resjunk && list_member_int(d->keys, tle->resno) && equal(tle->expr, expression))
			return tle;
	}
	tle = makeTargetEntry(copyObject(expression), list_length(d->sub->targetList) + 1,
						  psprintf("key%d", list_length(d->keys) + 1), false);
	d->sub->targetList = lappend(d->sub->targetList, tle);
	d->keys = lappend_int(d->keys, tle->resno);
	return tle;
}

static Var *
reference(Decorrelation *d, TargetEntry *tle)
{
	return makeVarFromTargetEntry(d->varno, tle);
}

/* Columns that only ORDER BY or GROUP BY needs become ordinary ones, so that others can follow. */
static void
show_junk(Query *sub)
{
	ListCell *lc;

	foreach (lc, sub->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
			tle->resname = psprintf("junk%d", tle->resno);
		tle->resjunk = false;
	}
}

/* ---------------------------------------------------------------- rows */

static Node *
export_columns(Node *node, Decorrelation *d)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varlevelsup == 0)
			return (Node *) reference(d, column_for(d, (Expr *) var));
		var = copyObject(var);
		var->varlevelsup--;
		return (Node *) var;
	}
	if (IsA(node, Query))
		braid_refuse(d->planner->pstate, exprLocation((Node *) ((Query *) node)->targetList),
					 "a subquery within the condition that ties another to the query around it");
	return expression_tree_mutator(node, export_columns, d);
}

/* ---------------------------------------------------------------- per key */

static bool
is_inner(Node *node)
{
	return has_level(node, 0, false) && !has_level(node, 1, true);
}

static bool
is_outer(Node *node)
{
	return !has_level(node, 0, false) && has_level(node, 1, true);
}

/* s.k = t.k becomes a condition on a key of the subquery; NULL if it is not that. */
static Node *
key_condition(Decorrelation *d, Node *qual)
{
	OpExpr *op = (OpExpr *) qual;
	Node *left;
	Node *right;
	bool swapped;
	Node *outer;
	Var *key;

	if (!IsA(qual, OpExpr) || list_length(op->args) != 2)
		return NULL;
	left = linitial(op->args);
	right = lsecond(op->args);
	if (!op_mergejoinable(op->opno, exprType(left)))
		return NULL;
	swapped = is_inner(right) && is_outer(left);
	if (!swapped && !(is_inner(left) && is_outer(right)))
		return NULL;
	if (checkExprHasSubLink(qual))
		return NULL;
	outer = copyObject(swapped ? left : right);
	IncrementVarSublevelsUp(outer, -1, 1);
	key = reference(d, column_for(d, swapped ? (Expr *) right : (Expr *) left));
	op = copyObject(op);
	op->args = swapped ? list_make2(outer, key) : list_make2(key, outer);
	return (Node *) op;
}

static void
group_by(Decorrelation *d)
{
	ListCell *lc;

	foreach (lc, d->keys)
	{
		TargetEntry *tle = list_nth(d->sub->targetList, lfirst_int(lc) - 1);
		SortGroupClause *group = makeNode(SortGroupClause);

		group->tleSortGroupRef = assignSortGroupRef(tle, d->sub->targetList);
		get_sort_group_operators(exprType((Node *) tle->expr), true, true, false, &group->sortop,
								 &group->eqop, NULL, &group->hashable);
		if (braid_take_is_grouped(d->sub))
			d->sub->groupClause = lappend(d->sub->groupClause, group);
		if (d->sub->distinctClause)
			d->sub->distinctClause = lappend(d->sub->distinctClause, copyObject(group));
	}
}

/* ---------------------------------------------------------------- the subquery */

static void
refuse_forms(Planner *p, Query *sub)
{
	int location = exprLocation((Node *) sub->targetList);

	if (sub->setOperations || sub->hasWindowFuncs || sub->groupingSets || sub->hasDistinctOn)
		braid_refuse(
			p->pstate, location,
			"set operations, window functions, grouping sets and DISTINCT ON in a subquery that refers to the query around it");
}

List *
braid_take_decorrelate(Planner *p, Query *sub, int varno, List **keys)
{
	Decorrelation d = {p, sub, varno, NIL};
	bool per_key =
		braid_take_is_grouped(sub) || sub->distinctClause || sub->limitCount || sub->limitOffset;
	List *conditions = NIL;
	List *own = NIL;
	ListCell *lc;

	refuse_forms(p, sub);
	show_junk(sub);
	foreach (lc, braid_take_split(sub->jointree->quals))
	{
		Node *qual = lfirst(lc);
		Node *condition;

		if (!has_level(qual, 1, true))
		{
			own = lappend(own, qual);
			continue;
		}
		condition = per_key ? key_condition(&d, qual) : export_columns(qual, &d);
		if (condition == NULL)
			braid_refuse(
				p->pstate, exprLocation(qual),
				"a subquery with aggregates, DISTINCT or LIMIT that is tied to the query around it by anything but equality");
		conditions = lappend(conditions, condition);
	}
	sub->jointree->quals = own ? (Node *) make_ands_explicit(own) : NULL;
	if (per_key)
		group_by(&d);
	if (braid_take_is_correlated((Node *) sub))
		braid_refuse(p->pstate, exprLocation((Node *) sub->targetList),
					 "a subquery that refers to the query around it in this way");
	*keys = sub->limitCount || sub->limitOffset ? d.keys : NIL;
	return conditions;
}
