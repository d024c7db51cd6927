/*
 * sublink.c
 *	  Taking a query apart: subqueries in expressions.
 *
 * NOTES
 *	  EXISTS and IN become semi and anti joins where they are conditions of their
 *	  own, and otherwise a column that says whether there is a match.  A scalar
 *	  subquery becomes a join: with its one row, or, if it refers to the query
 *	  around it, an outer join with its value for each key.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_func.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "view/refusal.h"
#include "view/take.h"

/* varno of the columns of a subquery, in conditions between it and the query */
#define SUBQUERY_VARNO 60000

List *
braid_take_split(Node *qual)
{
	List *result = NIL;
	ListCell *lc;

	if (qual == NULL)
		return NIL;
	if (IsA(qual, List))
	{
		foreach (lc, (List *) qual)
			result = list_concat(result, braid_take_split(lfirst(lc)));
		return result;
	}
	if (is_andclause(qual))
		return braid_take_split((Node *) ((BoolExpr *) qual)->args);
	return list_make1(qual);
}

/* ---------------------------------------------------------------- finding them */

typedef struct SublinkSearch
{
	Draft *draft; /* what it provides is not looked into: aggregates, keys of groups */
	List *found;  /* SubLink that read tables, inner ones of test expressions first */
} SublinkSearch;

static bool
find_sublinks(Node *node, SublinkSearch *s)
{
	if (node == NULL || IsA(node, Query) || braid_draft_has(s->draft, node))
		return false;
	if (IsA(node, SubLink) && braid_take_reads_table(((SubLink *) node)->subselect))
	{
		(void) find_sublinks(((SubLink *) node)->testexpr, s);
		s->found = list_append_unique(s->found, node);
		return false;
	}
	return expression_tree_walker(node, find_sublinks, s);
}

/* ---------------------------------------------------------------- the other side */

/* What an EXISTS or IN is matched with. */
typedef struct Match
{
	ViewNode *node;
	List *originals;  /* Var of SUBQUERY_VARNO: what its columns stand for */
	List *conditions; /* between the query and it */
} Match;

/* Parameters of a test expression stand for the columns of the subquery. */
static Node *
put_columns(Node *node, Query *sub)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return (Node *) makeVarFromTargetEntry(
			SUBQUERY_VARNO, list_nth(sub->targetList, ((Param *) node)->paramid - 1));
	return expression_tree_mutator(node, put_columns, sub);
}

static Node *
test(Node *expression, BoolTestType type)
{
	BooleanTest *t = makeNode(BooleanTest);

	t->arg = (Expr *) expression;
	t->booltesttype = type;
	t->location = -1;
	return (Node *) t;
}

/* For EXISTS only whether there are rows matters. */
static void
select_nothing(Query *sub)
{
	if (braid_take_is_grouped(sub) || sub->setOperations || sub->limitOffset ||
		sub->hasTargetSRFs || sub->distinctClause || sub->hasWindowFuncs)
		return;
	sub->limitCount = NULL;
	sub->sortClause = NIL;
	sub->targetList =
		list_make1(makeTargetEntry((Expr *) makeBoolConst(true, false), 1, "found", false));
}

static Match
make_match(Planner *p, Query *sub, Node *testexpr)
{
	Match m = {NULL};
	List *keys = NIL;

	if (braid_take_is_correlated((Node *) sub))
		m.conditions = braid_take_decorrelate(p, sub, SUBQUERY_VARNO, &keys);
	if (testexpr)
		m.conditions = lappend(m.conditions, put_columns(testexpr, sub));
	m.node = braid_take_node(p, sub, keys);
	for (int i = 1; i <= m.node->ncolumns; i++)
	{
		NodeColumn *c = &m.node->columns[i - 1];

		m.originals =
			lappend(m.originals, makeVar(SUBQUERY_VARNO, i, c->type, c->typmod, c->collation, 0));
	}
	return m;
}

static Match
match_sublink(Planner *p, SubLink *link, BoolTestType type)
{
	Query *sub = copyObject((Query *) link->subselect);
	Node *testexpr = copyObject(link->testexpr);

	if (braid_take_is_correlated((Node *) sub) && braid_take_always_has_row(sub))
		braid_refuse(p->pstate, link->location,
					 "EXISTS or IN with an aggregate that refers to the query around it");
	if (link->subLinkType == EXISTS_SUBLINK)
		select_nothing(sub);
	if (testexpr && type != IS_TRUE)
		testexpr = test(testexpr, type);
	return make_match(p, sub, testexpr);
}

/* ---------------------------------------------------------------- semi and anti joins */

static Draft *
add_mark(Draft *draft, Match *m, MarkMode mode, Node *original)
{
	Planner *p = draft->planner;
	Draft *left = braid_draft_settle(draft);
	ViewNode *l = linitial(left->nodes);
	Draft *both = braid_draft_new(p);
	Draft *marked = braid_draft_new(p);
	List *quals = NIL;
	ViewNode *node;
	ListCell *lc;
	int index;
	int n = 0;

	(void) braid_draft_add_node(both, l);
	foreach (lc, left->entries)
	{
		DraftEntry *e = lfirst(lc);

		braid_draft_provide(both, e->original, e->mapped);
	}
	index = braid_draft_add_node(both, m->node);
	foreach (lc, m->originals)
		braid_draft_provide(both, lfirst(lc), (Node *) braid_draft_column(both, index, ++n));
	foreach (lc, m->conditions)
		quals = lappend(quals, braid_draft_map(both, lfirst(lc)));

	node =
		braid_draft_node(p, NODE_MARK, list_make2(l, m->node), l->ncolumns + (mode == MARK_COLUMN));
	memcpy(node->columns, l->columns, sizeof(NodeColumn) * l->ncolumns);
	if (mode == MARK_COLUMN)
		node->columns[l->ncolumns] = (NodeColumn){BOOLOID, -1, InvalidOid};
	node->mark = mode;
	node->condition = braid_draft_condition(l, m->node, quals);

	index = braid_draft_add_node(marked, node);
	n = 0;
	foreach (lc, left->entries)
		braid_draft_provide(marked, ((DraftEntry *) lfirst(lc))->original,
							(Node *) braid_draft_column(marked, index, ++n));
	if (original)
		braid_draft_provide(marked, original,
							(Node *) braid_draft_column(marked, index, l->ncolumns + 1));
	marked->pending = left->pending;
	return marked;
}

/* A condition that is EXISTS, IN or ALL, or not one of these; NULL if it is neither. */
static SubLink *
plain_sublink(Node *qual, bool *negated)
{
	*negated = false;
	if (is_notclause(qual))
	{
		*negated = true;
		qual = (Node *) get_notclausearg((Expr *) qual);
	}
	if (IsA(qual, SubLink) && (((SubLink *) qual)->subLinkType == EXISTS_SUBLINK ||
							   ((SubLink *) qual)->subLinkType == ANY_SUBLINK ||
							   ((SubLink *) qual)->subLinkType == ALL_SUBLINK))
		return (SubLink *) qual;
	return NULL;
}

static Draft *
take_condition(Draft *draft, Node *qual)
{
	bool negated;
	SubLink *link = plain_sublink(qual, &negated);
	Match m;

	if (link == NULL)
	{
		draft = braid_take_sublinks(draft, qual);
		draft->quals = lappend(draft->quals, braid_draft_map(draft, qual));
		return draft;
	}
	draft = braid_take_sublinks(draft, link->testexpr);
	switch (link->subLinkType)
	{
		case EXISTS_SUBLINK:
			m = match_sublink(draft->planner, link, IS_TRUE);
			return add_mark(draft, &m, negated ? MARK_ANTI : MARK_SEMI, NULL);
		case ANY_SUBLINK:
			m = match_sublink(draft->planner, link, negated ? IS_NOT_FALSE : IS_TRUE);
			return add_mark(draft, &m, negated ? MARK_ANTI : MARK_SEMI, NULL);
		default:
			/* ALL: none for which it is not so; not ALL: one for which it is false. */
			m = match_sublink(draft->planner, link, negated ? IS_FALSE : IS_NOT_TRUE);
			return add_mark(draft, &m, negated ? MARK_SEMI : MARK_ANTI, NULL);
	}
}

Draft *
braid_take_conditions(Draft *draft, List *quals)
{
	ListCell *lc;
	List *with_tables = NIL;

	foreach (lc, quals)
		if (!braid_take_reads_table(lfirst(lc)))
			draft->quals = lappend(draft->quals, braid_draft_map(draft, lfirst(lc)));
		else
			with_tables = lappend(with_tables, lfirst(lc));
	foreach (lc, with_tables)
		draft = take_condition(draft, lfirst(lc));
	return draft;
}

/* ---------------------------------------------------------------- as values */

/*
 * IN as a value: true if there is a match, null if there might be one.  Two
 * columns are marked; what they are provided for are BooleanTests of the link,
 * which no query contains in this form.
 */
static Draft *
add_in_value(Draft *draft, SubLink *link, bool all)
{
	Node *sure = test((Node *) copyObject(link), IS_TRUE);
	Node *maybe = test((Node *) copyObject(link), IS_NOT_FALSE);
	Match m = match_sublink(draft->planner, link, all ? IS_FALSE : IS_TRUE);
	CaseExpr *c = makeNode(CaseExpr);
	CaseWhen *when_sure = makeNode(CaseWhen);
	CaseWhen *when_maybe = makeNode(CaseWhen);

	draft = add_mark(draft, &m, MARK_COLUMN, sure);
	m = match_sublink(draft->planner, link, all ? IS_NOT_TRUE : IS_NOT_FALSE);
	draft = add_mark(draft, &m, MARK_COLUMN, maybe);
	when_sure->expr = (Expr *) braid_draft_map(draft, sure);
	when_sure->result = (Expr *) makeBoolConst(!all, false);
	when_sure->location = -1;
	when_maybe->expr = (Expr *) braid_draft_map(draft, maybe);
	when_maybe->result = (Expr *) makeBoolConst(false, true);
	when_maybe->location = -1;
	c->casetype = BOOLOID;
	c->args = list_make2(when_sure, when_maybe);
	c->defresult = (Expr *) makeBoolConst(all, false);
	c->location = -1;
	braid_draft_provide(draft, (Node *) link, (Node *) c);
	return draft;
}

/* ---------------------------------------------------------------- scalars */

bool
braid_take_always_has_row(Query *query)
{
	return query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL &&
		   query->havingQual == NULL && query->limitCount == NULL && query->limitOffset == NULL &&
		   !query->hasTargetSRFs && query->setOperations == NULL;
}

/*
 * (SELECT aggregate(NULL) WHERE false): for those of whose result nothing is known,
 * such as an aggregate of the user's with an initial state.
 */
static Node *
select_over_no_rows(Aggref *aggregate)
{
	Aggref *agg = copyObject(aggregate);
	Query *query = makeNode(Query);
	SubLink *link = makeNode(SubLink);
	ListCell *lc;

	agg->aggfilter = NULL;
	foreach (lc, agg->args)
	{
		TargetEntry *tle = lfirst(lc);
		Node *expr = (Node *) tle->expr;

		tle->expr = (Expr *) makeNullConst(exprType(expr), exprTypmod(expr), exprCollation(expr));
	}
	query->commandType = CMD_SELECT;
	query->hasAggs = true;
	query->targetList = list_make1(makeTargetEntry((Expr *) agg, 1, "value", false));
	query->jointree = makeFromExpr(NIL, makeBoolConst(false, false));
	link->subLinkType = EXPR_SUBLINK;
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

/* What an expression over aggregates is when there are no rows. */
static Node *
over_no_rows(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref))
	{
		Aggref *agg = (Aggref *) node;
		Oid f = agg->aggfnoid;

		if (f == F_COUNT_ || f == F_COUNT_ANY || f == F_REGR_COUNT)
			return (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(0),
									  false, FLOAT8PASSBYVAL);
		if (f < FirstNormalObjectId && agg->aggkind != AGGKIND_HYPOTHETICAL)
			return (Node *) makeNullConst(agg->aggtype, exprTypmod(node), agg->aggcollid);
		return select_over_no_rows(agg);
	}
	return expression_tree_mutator(node, over_no_rows, context);
}

Node *
braid_take_empty_value(Query *query, int resno)
{
	TargetEntry *tle = list_nth(query->targetList, resno - 1);
	Node *empty;

	if (!contain_agg_clause((Node *) tle->expr))
		return NULL;
	empty = over_no_rows((Node *) tle->expr, NULL);
	return IsA(empty, Const) && ((Const *) empty)->constisnull ? NULL : empty;
}

Node *
braid_take_or_empty(Node *key, Node *value, Node *empty)
{
	CaseExpr *c = makeNode(CaseExpr);
	CaseWhen *when = makeNode(CaseWhen);
	NullTest *is_null = makeNode(NullTest);

	is_null->arg = (Expr *) key;
	is_null->nulltesttype = IS_NULL;
	is_null->location = -1;
	when->expr = (Expr *) is_null;
	when->result = (Expr *) empty;
	when->location = -1;
	c->casetype = exprType(value);
	c->casecollid = exprCollation(value);
	c->args = list_make1(when);
	c->defresult = (Expr *) value;
	c->location = -1;
	return (Node *) c;
}

/* braid_internal.single(x): the only value, or error 21000 if there are several. */
static Expr *
single_value(Expr *argument)
{
	Oid type = ANYELEMENTOID;
	Aggref *agg = makeNode(Aggref);
	TargetEntry *tle = makeTargetEntry(argument, 1, NULL, false);

	agg->aggfnoid = LookupFuncName(list_make2(makeString("braid_internal"), makeString("single")),
								   1, &type, false);
	agg->aggtype = exprType((Node *) argument);
	agg->aggcollid = exprCollation((Node *) argument);
	agg->inputcollid = agg->aggcollid;
	agg->aggargtypes = list_make1_oid(agg->aggtype);
	agg->args = list_make1(tle);
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	return (Expr *) agg;
}

/* Groups the value by the keys, so that there is one row for each of them. */
static void
make_single(Query *sub, List *keys)
{
	TargetEntry *value = linitial(sub->targetList);
	ListCell *lc;

	value->expr = single_value(value->expr);
	value->ressortgroupref = 0;
	sub->hasAggs = true;
	sub->sortClause = NIL;
	foreach (lc, keys)
	{
		TargetEntry *key = list_nth(sub->targetList, lfirst_int(lc) - 1);
		SortGroupClause *group = makeNode(SortGroupClause);

		group->tleSortGroupRef = assignSortGroupRef(key, sub->targetList);
		get_sort_group_operators(exprType((Node *) key->expr), true, true, false, &group->sortop,
								 &group->eqop, NULL, &group->hashable);
		sub->groupClause = lappend(sub->groupClause, group);
	}
}

/* SELECT ... FROM (sub), so that an aggregate can be put on top. */
static Query *
wrap(Query *sub)
{
	Query *outer = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblRef *ref = makeNode(RangeTblRef);
	List *names = NIL;
	ListCell *lc;

	foreach (lc, sub->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		names = lappend(names, makeString(tle->resname ? tle->resname : "?column?"));
	}
	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = sub;
	rte->eref = makeAlias("subquery", names);
	rte->inFromCl = true;
	ref->rtindex = 1;
	outer->commandType = CMD_SELECT;
	outer->rtable = list_make1(rte);
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	foreach (lc, sub->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			outer->targetList =
				lappend(outer->targetList,
						makeTargetEntry((Expr *) makeVarFromTargetEntry(1, tle),
										list_length(outer->targetList) + 1, tle->resname, false));
	}
	IncrementVarSublevelsUp((Node *) sub, 1, 1);
	return outer;
}

static bool
is_plain_select(Query *sub)
{
	return !braid_take_is_grouped(sub) && !sub->setOperations && !sub->limitCount &&
		   !sub->limitOffset && !sub->distinctClause && !sub->hasWindowFuncs && !sub->hasTargetSRFs;
}

static bool
takes_one_row(Query *sub)
{
	Const *limit = (Const *) eval_const_expressions(NULL, sub->limitCount);

	return limit && IsA(limit, Const) && !limit->constisnull && !sub->limitOffset &&
		   DatumGetInt64(limit->constvalue) <= 1 && sub->limitOption == LIMIT_OPTION_COUNT;
}

static Draft *
add_constant_scalar(Draft *draft, Query *sub, Node *original)
{
	ViewNode *node;
	int index;

	if (!braid_take_always_has_row(sub))
	{
		if (!is_plain_select(sub))
			sub = wrap(sub);
		make_single(sub, NIL);
	}
	node = braid_take_node(draft->planner, sub, NIL);
	node->is_single = true;
	index = braid_draft_add_node(draft, node);
	braid_draft_provide(draft, original, (Node *) braid_draft_column(draft, index, 1));
	return draft;
}

static Draft *
add_correlated_scalar(Draft *draft, Query *sub, Node *original)
{
	Planner *p = draft->planner;
	bool always_has_row = braid_take_always_has_row(sub);
	bool one_row = takes_one_row(sub);
	Node *empty = always_has_row ? braid_take_empty_value(sub, 1) : NULL;
	List *keys;
	List *conditions;
	List *originals = NIL;
	ViewNode *node;
	Draft *joined;
	Node *value;

	if (!always_has_row && !one_row && is_plain_select(sub))
	{
		/* So that keys are looked for, and not conditions of any kind. */
		make_single(sub, NIL);
	}
	else if (!always_has_row && !one_row)
		braid_refuse(p->pstate, exprLocation(original),
					 "a scalar subquery of this form that refers to the query around it");
	conditions = braid_take_decorrelate(p, sub, SUBQUERY_VARNO, &keys);
	node = braid_take_node(p, sub, keys);
	for (int i = 1; i <= node->ncolumns; i++)
	{
		NodeColumn *c = &node->columns[i - 1];

		originals =
			lappend(originals, makeVar(SUBQUERY_VARNO, i, c->type, c->typmod, c->collation, 0));
	}
	joined = braid_take_left_join(braid_draft_settle(draft), node, originals, conditions);
	value = braid_draft_map(joined, linitial(originals));
	if (empty)
		value = braid_take_or_empty(braid_draft_map(joined, llast(originals)), value, empty);
	joined->entries = list_truncate(joined->entries, list_length(joined->entries) - node->ncolumns);
	braid_draft_provide(joined, original, value);
	return joined;
}

/* ---------------------------------------------------------------- ARRAY(SELECT ...) */

/* SELECT x ... ORDER BY y becomes SELECT array_agg(x ORDER BY y) ... */
static void
make_array(Planner *p, Query *sub)
{
	Aggref *agg = makeNode(Aggref);
	TargetEntry *value = linitial(sub->targetList);
	Oid type = exprType((Node *) value->expr);
	ListCell *lc;

	if (!is_plain_select(sub))
		braid_refuse(p->pstate, exprLocation((Node *) value->expr),
					 "ARRAY of a subquery with aggregates, DISTINCT, LIMIT or set operations");
	agg->aggtype = get_promoted_array_type(type);
	agg->aggfnoid = agg->aggtype == type ? F_ARRAY_AGG_ANYARRAY : F_ARRAY_AGG_ANYNONARRAY;
	agg->inputcollid = agg->aggcollid = exprCollation((Node *) value->expr);
	agg->aggargtypes = list_make1_oid(type);
	agg->args = sub->targetList;
	agg->aggorder = sub->sortClause;
	foreach (lc, agg->args)
		((TargetEntry *) lfirst(lc))->resjunk = foreach_current_index(lc) > 0;
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	sub->targetList = list_make1(makeTargetEntry((Expr *) agg, 1, "array", false));
	sub->sortClause = NIL;
	sub->hasAggs = true;
}

static Draft *
add_array(Draft *draft, SubLink *link)
{
	Query *sub = copyObject((Query *) link->subselect);
	CoalesceExpr *c = makeNode(CoalesceExpr);
	Node *value;
	Oid type;

	make_array(draft->planner, sub);
	if (braid_take_is_correlated((Node *) sub))
		draft = add_correlated_scalar(draft, sub, (Node *) link);
	else
		draft = add_constant_scalar(draft, sub, (Node *) link);
	value = braid_draft_map(draft, (Node *) link);
	type = exprType(value);
	c->coalescetype = type;
	c->coalescecollid = exprCollation(value);
	c->args = list_make2(
		value, makeConst(type, -1, exprCollation(value), -1,
						 PointerGetDatum(construct_empty_array(get_base_element_type(type))), false,
						 false));
	c->location = -1;
	braid_draft_override(draft, (Node *) link, (Node *) c);
	return draft;
}

static Draft *
add_sublink(Draft *draft, SubLink *link)
{
	Planner *p = draft->planner;
	Query *sub = (Query *) link->subselect;
	Match m;

	switch (link->subLinkType)
	{
		case EXISTS_SUBLINK:
			m = match_sublink(p, link, IS_TRUE);
			return add_mark(draft, &m, MARK_COLUMN, (Node *) link);
		case ANY_SUBLINK:
			return add_in_value(draft, link, false);
		case ALL_SUBLINK:
			return add_in_value(draft, link, true);
		case EXPR_SUBLINK:
			if (braid_take_is_correlated((Node *) sub))
				return add_correlated_scalar(draft, copyObject(sub), (Node *) link);
			return add_constant_scalar(draft, copyObject(sub), (Node *) link);
		case ARRAY_SUBLINK:
			return add_array(draft, link);
		default:
			braid_refuse(p->pstate, link->location, "comparisons of rows with a subquery");
	}
}

Draft *
braid_take_sublinks(Draft *draft, Node *expression)
{
	SublinkSearch s = {draft};
	ListCell *lc;

	(void) find_sublinks(expression, &s);
	foreach (lc, s.found)
		if (!braid_draft_has(draft, lfirst(lc)))
			draft = add_sublink(draft, lfirst(lc));
	return draft;
}

static bool
is_single_value(SubLink *link)
{
	return (link->subLinkType == EXPR_SUBLINK || link->subLinkType == ARRAY_SUBLINK) &&
		   !braid_take_is_correlated(link->subselect);
}

bool
braid_take_tied_sublinks(Draft **draft, Node *expression)
{
	SublinkSearch s = {*draft};
	bool others = false;
	ListCell *lc;

	(void) find_sublinks(expression, &s);
	foreach (lc, s.found)
		if (braid_draft_has(*draft, lfirst(lc)))
			continue;
		else if (is_single_value(lfirst(lc)))
			others = true;
		else
			*draft = add_sublink(*draft, lfirst(lc));
	return others;
}
