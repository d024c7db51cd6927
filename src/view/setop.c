/*
 * setop.c
 *	  Taking a query apart: UNION, INTERSECT and EXCEPT.
 *
 * NOTES
 *	  UNION ALL is a node; UNION the distinct rows of it.  INTERSECT and EXCEPT
 *	  group the rows of both sides and count where they come from; how often a row
 *	  is in the result follows from the two counts.
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "lib/stringinfo.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/take.h"
#include "view/window.h"

static ViewNode *take_side(Planner *p, Query *query, Node *side);

/* The columns of a draft's targets in the types of the set operation. */
static List *
coerce_targets(Planner *p, List *targets, SetOperationStmt *op)
{
	List *result = NIL;
	ListCell *lc;
	int n = 0;

	foreach (lc, targets)
	{
		Node *target = lfirst(lc);
		Oid type = list_nth_oid(op->colTypes, n);
		int32 typmod = list_nth_int(op->colTypmods, n++);

		if (exprType(target) != type)
			target = coerce_to_target_type(NULL, target, exprType(target), type, typmod,
										   COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
		if (target == NULL)
			braid_refuse(p->pstate, -1, "this combination of types in a set operation");
		result = lappend(result, target);
	}
	return result;
}

/* All rows of one side; count > 0 adds columns that say which of two sides it is. */
static ViewNode *
take_leaf(Planner *p, Query *query, Node *side, SetOperationStmt *op, int which)
{
	List *targets;
	Draft *draft;

	if (IsA(side, RangeTblRef))
	{
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) side)->rtindex, query->rtable);

		draft = braid_take_query(p, rte->subquery, NIL, &targets);
	}
	else
	{
		ViewNode *node = take_side(p, query, side);
		int index;

		draft = braid_draft_new(p);
		index = braid_draft_add_node(draft, node);
		targets = NIL;
		for (int i = 1; i <= node->ncolumns; i++)
			targets = lappend(targets, braid_draft_column(draft, index, i));
	}
	targets = coerce_targets(p, targets, op);
	for (int i = 1; which && i <= 2; i++)
		targets = lappend(targets, makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
											 Int32GetDatum(1), which != i, true));
	return braid_draft_close(draft, targets);
}

/* UNION ALL of sides, those of nested ones among them. */
static List *
union_inputs(Planner *p, Query *query, Node *side, SetOperationStmt *top)
{
	SetOperationStmt *op = (SetOperationStmt *) side;

	if (IsA(side, SetOperationStmt) && op->op == SETOP_UNION && (op->all || !top->all) &&
		equal(op->colTypes, top->colTypes))
		return list_concat(union_inputs(p, query, op->larg, top),
						   union_inputs(p, query, op->rarg, top));
	return list_make1(take_leaf(p, query, side, top, 0));
}

static ViewNode *
union_node(Planner *p, List *inputs)
{
	ViewNode *first = linitial(inputs);
	ViewNode *node = braid_draft_node(p, NODE_UNION, inputs, first->ncolumns);

	memcpy(node->columns, first->columns, sizeof(NodeColumn) * first->ncolumns);
	return node;
}

static void
set_columns(ViewNode *node, SetOperationStmt *op)
{
	for (int i = 0; i < list_length(op->colTypes); i++)
		node->columns[i] =
			(NodeColumn){list_nth_oid(op->colTypes, i), list_nth_int(op->colTypmods, i),
						 list_nth_oid(op->colCollations, i)};
}

static void
check_columns(Planner *p, SetOperationStmt *op)
{
	for (int i = 0; i < list_length(op->colTypes); i++)
		braid_take_check_key(p,
							 (Node *) makeNullConst(list_nth_oid(op->colTypes, i), -1, InvalidOid));
}

static ViewNode *
take_union(Planner *p, Query *query, SetOperationStmt *op)
{
	ViewNode *node = union_node(p, union_inputs(p, query, (Node *) op, op));

	set_columns(node, op);
	braid_window_unite(node);
	if (op->all)
		return node;
	check_columns(p, op);
	node = braid_take_distinct(p, node);
	return node;
}

static Aggref *
count_of(int column)
{
	Aggref *agg = makeNode(Aggref);

	agg->aggfnoid = F_COUNT_ANY;
	agg->aggtype = INT8OID;
	agg->aggargtypes = list_make1_oid(INT4OID);
	agg->args = list_make1(
		makeTargetEntry((Expr *) makeVar(1, column, INT4OID, -1, InvalidOid, 0), 1, NULL, false));
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	return agg;
}

/*
 * What turns a group into rows of the result, from the counts l and r: " WHERE
 * ..." for one row, or rows of a function.
 */
static char *
occurrences(SetOperationStmt *op, const char *l, const char *r)
{
	if (op->op == SETOP_INTERSECT)
		return op->all ? psprintf(", LATERAL generate_series(1, least(%s, %s)) f2", l, r)
					   : psprintf(" WHERE %s > 0 AND %s > 0", l, r);
	return op->all ? psprintf(", LATERAL generate_series(1, %s - %s) f2", l, r)
				   : psprintf(" WHERE %s > 0 AND %s = 0", l, r);
}

/* INTERSECT, EXCEPT */
static ViewNode *
take_difference(Planner *p, Query *query, SetOperationStmt *op)
{
	int n = list_length(op->colTypes);
	ViewNode *left = take_leaf(p, query, op->larg, op, 1);
	ViewNode *right = take_leaf(p, query, op->rarg, op, 2);
	ViewNode *both = union_node(p, list_make2(left, right));
	ViewNode *group;
	ViewNode *node;
	StringInfoData s;

	check_columns(p, op);
	set_columns(both, op);
	group = braid_take_group_node(p, both, n);
	for (int i = 1; i <= n; i++)
		(void) braid_aggregate_add_key(group, i);
	(void) braid_aggregate_add(group, count_of(n + 1), p->pstate);
	(void) braid_aggregate_add(group, count_of(n + 2), p->pstate);
	node = braid_draft_node(p, NODE_BLOCK, list_make1(group), n);
	set_columns(node, op);
	initStringInfo(&s);
	appendStringInfoString(&s, "SELECT $1 AS w");
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, ", i1.c%d AS c%d", i, i);
	appendStringInfo(&s, " FROM %s i1%s", braid_node_token(1),
					 occurrences(op, psprintf("i1.c%d", n + 1), psprintf("i1.c%d", n + 2)));
	node->select = s.data;
	return node;
}

static ViewNode *
take_side(Planner *p, Query *query, Node *side)
{
	SetOperationStmt *op = castNode(SetOperationStmt, side);

	return op->op == SETOP_UNION ? take_union(p, query, op) : take_difference(p, query, op);
}

Draft *
braid_take_set_operation(Planner *p, Query *query)
{
	SetOperationStmt *op = castNode(SetOperationStmt, query->setOperations);
	Draft *draft = braid_draft_new(p);
	int index = braid_draft_add_node(draft, take_side(p, query, (Node *) op));
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			braid_draft_provide(draft, (Node *) tle->expr,
								(Node *) braid_draft_column(draft, index, tle->resno));
	}
	return draft;
}
