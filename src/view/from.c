/*
 * from.c
 *	  Taking a query apart: what stands in FROM.
 *
 * NOTES
 *	  Inner joins, of tables and of subqueries that are no more than that, become
 *	  one draft.  An outer join is a node of its own, over its two sides.  What
 *	  depends on the rows beside it alone (functions, VALUES, LATERAL subqueries
 *	  without a table) never changes by itself and stays in the draft as it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "capture/capture.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "stream/stream.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/definition.h"
#include "view/event_time.h"
#include "view/refusal.h"
#include "view/take.h"

static void add_item(Draft *draft, Query *query, Node *item);

/* ---------------------------------------------------------------- what is read */

static bool
reads_table(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RTEKind kind = ((RangeTblEntry *) node)->rtekind;

		return kind == RTE_RELATION || kind == RTE_CTE;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_table, context,
								 QTW_EXAMINE_RTES_BEFORE | QTW_IGNORE_CTE_SUBQUERIES);
	return expression_tree_walker(node, reads_table, context);
}

bool
braid_take_reads_table(Node *node)
{
	return reads_table(node, NULL);
}

typedef struct ColumnSearch
{
	int varno;
	int depth;
	List *vars; /* Var */
} ColumnSearch;

static bool
find_columns(Node *node, ColumnSearch *c)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varno == c->varno && var->varlevelsup == c->depth)
		{
			Var *plain = copyObject(var);

			plain->varlevelsup = 0;
			c->vars = list_append_unique(c->vars, plain);
		}
		return false;
	}
	if (IsA(node, Query))
	{
		bool result;

		c->depth++;
		result = query_tree_walker((Query *) node, find_columns, c, 0);
		c->depth--;
		return result;
	}
	return expression_tree_walker(node, find_columns, c);
}

static int
compare_columns(const ListCell *a, const ListCell *b)
{
	return ((Var *) lfirst(a))->varattno - ((Var *) lfirst(b))->varattno;
}

/* The columns of a range table entry that the query uses, in order. */
static List *
columns_used(Query *query, int varno)
{
	ColumnSearch c = {varno, 0, NIL};

	(void) query_tree_walker(query, find_columns, &c, QTW_IGNORE_JOINALIASES);
	list_sort(c.vars, compare_columns);
	return c.vars;
}

/* ---------------------------------------------------------------- relations */

static ViewNode *
relation_node(Planner *planner, NodeKind kind, Oid relid, List *vars)
{
	ViewNode *node = braid_draft_node(planner, kind, NIL, list_length(vars));
	ListCell *lc;
	int n = 0;

	node->relid = relid;
	node->is_stream = node->is_passing = kind == NODE_TABLE && braid_stream_is(relid);
	node->attnums = palloc(sizeof(AttrNumber) * (node->ncolumns + 1));
	foreach (lc, vars)
	{
		node->attnums[n] = ((Var *) lfirst(lc))->varattno;
		braid_draft_set_column(node, ++n, lfirst(lc));
		node->columns[n - 1].name = get_attname(relid, node->attnums[n - 1], true);
		node->columns[n - 1].image = (uint64) relid << 32 | (uint32) node->attnums[n - 1];
	}
	return node;
}

/* The row of a subquery, or of a view, as a value. */
static void
refuse_whole_rows(Draft *draft, List *vars)
{
	if (vars && ((Var *) linitial(vars))->varattno == 0)
		braid_refuse(draft->planner->pstate, exprLocation(linitial(vars)),
					 "whole rows of anything but tables");
}

static void
add_node(Draft *draft, ViewNode *node, List *originals)
{
	int index = braid_draft_add_node(draft, node);
	ListCell *lc;
	int n = 0;

	foreach (lc, originals)
		braid_draft_provide(draft, lfirst(lc), (Node *) braid_draft_column(draft, index, ++n));
}

/* Takes over what a subquery reads; vars are the columns of it that are used. */
static void
add_subquery(Draft *draft, Query *sub, List *vars, List *limit_keys)
{
	List *targets;
	Draft *other;
	ListCell *lc;

	refuse_whole_rows(draft, vars);
	other = braid_take_query(draft->planner, sub, limit_keys, &targets);

	braid_draft_absorb(draft, other, targets);
	foreach (lc, vars)
		braid_draft_provide(draft, lfirst(lc),
							list_nth(targets, ((Var *) lfirst(lc))->varattno - 1));
}

/* All columns of a table, in order. */
static List *
all_columns(Oid relid, int varno)
{
	Relation rel = braid_capture_look_at(relid);
	List *all = NIL;

	for (int i = 1; i <= RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), i - 1);

		if (!a->attisdropped)
			all = lappend(all, makeVar(varno, i, a->atttypid, a->atttypmod, a->attcollation, 0));
	}
	RelationClose(rel);
	return all;
}

/*
 * The row as a value: ROW(t.a, t.b)::t.  It is made here, below any outer join,
 * so that a row that is missing becomes null and not a row of nulls.
 */
static void
provide_row(Draft *draft, Oid relid, Var *whole)
{
	RowExpr *row = makeNode(RowExpr);
	Relation rel = braid_capture_look_at(relid);

	for (int i = 1; i <= RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), i - 1);
		Node *value = (Node *) makeNullConst(INT4OID, -1, InvalidOid);

		if (!a->attisdropped)
			value = braid_draft_map(draft, (Node *) makeVar(whole->varno, i, a->atttypid,
															a->atttypmod, a->attcollation, 0));
		row->args = lappend(row->args, value);
		row->colnames = lappend(row->colnames, makeString(pstrdup(NameStr(a->attname))));
	}
	RelationClose(rel);
	row->row_typeid = whole->vartype;
	row->row_format = COERCE_EXPLICIT_CAST;
	row->location = -1;
	braid_draft_provide(draft, (Node *) whole, (Node *) row);
}

/* A table of which the row as a whole is used. */
static void
add_whole_table(Draft *draft, RangeTblEntry *rte, Var *whole)
{
	Planner *p = draft->planner;
	List *vars = all_columns(rte->relid, whole->varno);

	braid_refuse_columns(p->pstate, rte->relid, vars);
	p->plan->tables = list_append_unique_oid(p->plan->tables, rte->relid);
	add_node(draft, relation_node(p, NODE_TABLE, rte->relid, vars), vars);
	provide_row(draft, rte->relid, whole);
}

/* The rows of a view with LIMIT are chosen when it is read, so they are not in its delta. */
static void
refuse_limited(Planner *p, ViewDefinition *def)
{
	Query *query = braid_definition_query(def->query);

	if (!def->has_schedule && (query->limitCount || query->limitOffset))
		braid_refuse(
			p->pstate, -1,
			psprintf("reading \"%s\", a continuous view with LIMIT", get_rel_name(def->view)));
}

/* What is a window in the view is one to those who read it. */
static void
take_windows(ViewNode *node, ViewDefinition *def)
{
	Query *query = braid_definition_query(def->query);
	ViewPlan *plan = braid_event_time_plan(def, query, def->id, NULL);

	for (int i = 0; i < node->ncolumns; i++)
		node->columns[i].window = plan->top->columns[node->attnums[i] - 1].window;
}

void
braid_take_relation(Draft *draft, RangeTblEntry *rte, List *vars)
{
	Planner *p = draft->planner;
	ViewDefinition def;
	ViewNode *node;

	list_sort(vars, compare_columns);
	if (get_rel_relkind(rte->relid) == RELKIND_VIEW && braid_definition_find(rte->relid, &def))
	{
		refuse_whole_rows(draft, vars);
		refuse_limited(p, &def);
		node = relation_node(p, NODE_VIEW, rte->relid, vars);
		node->view_id = def.id;
		if (p->time)
			take_windows(node, &def);
		p->plan->views = list_append_unique_int(p->plan->views, def.id);
		add_node(draft, node, vars);
		return;
	}
	if (get_rel_relkind(rte->relid) == RELKIND_VIEW)
	{
		p->plan->watched = list_append_unique_oid(p->plan->watched, rte->relid);
		add_subquery(draft, braid_definition_query(rte->relid), vars, NIL);
		return;
	}
	braid_refuse_table(p->pstate, rte);
	if (vars && ((Var *) linitial(vars))->varattno == 0)
	{
		add_whole_table(draft, rte, linitial(vars));
		return;
	}
	braid_refuse_columns(p->pstate, rte->relid, vars);
	p->plan->tables = list_append_unique_oid(p->plan->tables, rte->relid);
	add_node(draft, relation_node(p, NODE_TABLE, rte->relid, vars), vars);
}

/* ---------------------------------------------------------------- WITH */

typedef struct CteNode
{
	CommonTableExpr *cte;
	ViewNode *node;
} CteNode;

static CommonTableExpr *
find_cte(Planner *p, RangeTblEntry *rte)
{
	Query *level = list_nth(p->levels, rte->ctelevelsup);
	ListCell *lc;

	foreach (lc, level->cteList)
	{
		CommonTableExpr *cte = lfirst(lc);

		if (strcmp(cte->ctename, rte->ctename) == 0)
			return cte;
	}
	elog(ERROR, "WITH query \"%s\" is missing", rte->ctename);
}

/* A WITH query is one node, however often it is read. */
static ViewNode *
cte_node(Planner *p, RangeTblEntry *rte)
{
	CommonTableExpr *cte = find_cte(p, rte);
	List *levels = p->levels;
	CteNode *c;
	ListCell *lc;

	foreach (lc, p->ctes)
		if (((CteNode *) lfirst(lc))->cte == cte)
			return ((CteNode *) lfirst(lc))->node;
	if (cte->cterecursive)
		braid_refuse(p->pstate, cte->location, "WITH RECURSIVE");
	if (!IsA(cte->ctequery, Query) || ((Query *) cte->ctequery)->commandType != CMD_SELECT)
		braid_refuse(p->pstate, cte->location, "statements that change data in WITH");
	c = palloc(sizeof(CteNode));
	c->cte = cte;
	p->levels = list_copy_tail(levels, rte->ctelevelsup);
	c->node = braid_take_node(p, copyObject((Query *) cte->ctequery), NIL);
	p->levels = levels;
	p->ctes = lappend(p->ctes, c);
	return c->node;
}

/* The columns of the node that are used are found by their numbers. */
static void
add_cte(Draft *draft, RangeTblEntry *rte, List *vars)
{
	int index = braid_draft_add_node(draft, cte_node(draft->planner, rte));
	ListCell *lc;

	refuse_whole_rows(draft, vars);
	foreach (lc, vars)
		braid_draft_provide(
			draft, lfirst(lc),
			(Node *) braid_draft_column(draft, index, ((Var *) lfirst(lc))->varattno));
}

/* ---------------------------------------------------------------- constants */

/* What depends on the rows beside it alone, with its references mapped. */
static void
add_constant(Draft *draft, RangeTblEntry *rte, List *vars)
{
	RangeTblEntry *copy = copyObject(rte);
	int index;
	ListCell *lc;

	copy->functions = (List *) braid_draft_map(draft, (Node *) copy->functions);
	copy->values_lists = (List *) braid_draft_map(draft, (Node *) copy->values_lists);
	copy->tablefunc = (TableFunc *) braid_draft_map(draft, (Node *) copy->tablefunc);
	copy->subquery = (Query *) braid_draft_map(draft, (Node *) copy->subquery);
	index = braid_draft_add_constant(draft, copy);
	foreach (lc, vars)
	{
		Var *var = lfirst(lc);

		braid_draft_provide(draft, (Node *) var,
							(Node *) makeVar(index, var->varattno, var->vartype, var->vartypmod,
											 var->varcollid, 0));
	}
}

/* ---------------------------------------------------------------- LATERAL */

/*
 * LATERAL with an aggregate and without GROUP BY has a row even where it finds
 * none: an outer join with the groups, whose missing values are what the
 * aggregates are over no rows.
 */
static void
add_lateral_row(Draft *draft, RangeTblEntry *rte, int rtindex, List *vars, List *conditions)
{
	Draft *left = braid_draft_settle(draft);
	ViewNode *right = braid_take_node(draft->planner, copyObject(rte->subquery), NIL);
	List *originals = NIL;
	ListCell *lc;
	Draft *joined;

	for (int i = 1; i <= right->ncolumns; i++)
		originals = lappend(originals, makeVar(rtindex, i, right->columns[i - 1].type,
											   right->columns[i - 1].typmod,
											   right->columns[i - 1].collation, 0));
	joined = braid_take_left_join(left, right, originals, conditions);
	foreach (lc, vars)
	{
		Var *var = lfirst(lc);
		Node *empty = braid_take_empty_value(rte->subquery, var->varattno);

		if (empty)
			braid_draft_override(joined, (Node *) var,
								 braid_take_or_empty(braid_draft_map(joined, llast(originals)),
													 braid_draft_map(joined, (Node *) var), empty));
	}
	*draft = *joined;
}

/* A LATERAL subquery that reads tables: conditions tie it to what stands before it. */
static void
add_lateral(Draft *draft, Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	List *vars = columns_used(query, rtindex);
	bool always_has_row = braid_take_always_has_row(rte->subquery);
	List *keys;
	List *conditions = braid_take_decorrelate(draft->planner, rte->subquery, rtindex, &keys);
	int ncolumns = list_length(rte->subquery->targetList);

	if (always_has_row)
	{
		add_lateral_row(draft, rte, rtindex, vars, conditions);
		return;
	}
	for (int i = 1; i <= ncolumns; i++)
	{
		TargetEntry *tle = list_nth(rte->subquery->targetList, i - 1);

		if (!tle->resjunk)
			vars = list_append_unique(vars, makeVarFromTargetEntry(rtindex, tle));
	}
	add_subquery(draft, rte->subquery, vars, keys);
	draft->pending = list_concat(draft->pending, conditions);
}

static void
add_subquery_entry(Draft *draft, Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);

	if (!braid_take_reads_table((Node *) rte->subquery))
		add_constant(draft, rte, columns_used(query, rtindex));
	else if (braid_take_is_correlated((Node *) rte->subquery))
		add_lateral(draft, query, rtindex);
	else
		add_subquery(draft, rte->subquery, columns_used(query, rtindex), NIL);
}

static void
add_range(Draft *draft, Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			braid_take_relation(draft, rte, columns_used(query, rtindex));
			break;
		case RTE_SUBQUERY:
			add_subquery_entry(draft, query, rtindex);
			break;
		case RTE_CTE:
			add_cte(draft, rte, columns_used(query, rtindex));
			break;
		case RTE_FUNCTION:
		case RTE_VALUES:
		case RTE_TABLEFUNC:
			add_constant(draft, rte, columns_used(query, rtindex));
			break;
		case RTE_RESULT:
			break;
		default:
			braid_refuse(draft->planner->pstate, -1, "this kind of FROM item");
	}
}

/* ---------------------------------------------------------------- joins */

/* Whether a side of a join only depends on the rows beside it. */
static bool
is_constant_item(Query *query, Node *item)
{
	RangeTblEntry *rte;

	if (!IsA(item, RangeTblRef))
		return false;
	rte = rt_fetch(((RangeTblRef *) item)->rtindex, query->rtable);
	return rte->rtekind == RTE_FUNCTION || rte->rtekind == RTE_VALUES ||
		   rte->rtekind == RTE_TABLEFUNC ||
		   (rte->rtekind == RTE_SUBQUERY && !braid_take_reads_table((Node *) rte->subquery));
}

/* Conditions that hold subqueries wait until FROM has been read. */
static void
add_conditions(Draft *draft, List *quals)
{
	ListCell *lc;

	foreach (lc, quals)
		if (braid_take_reads_table(lfirst(lc)))
			draft->pending = lappend(draft->pending, lfirst(lc));
		else
			draft->quals = lappend(draft->quals, braid_draft_map(draft, lfirst(lc)));
}

static int
index_of_item(Node *item)
{
	return IsA(item, RangeTblRef) ? ((RangeTblRef *) item)->rtindex : ((JoinExpr *) item)->rtindex;
}

/* Adds the columns of one side to those of a join; the deparser counts on them. */
static List *
add_join_columns(Draft *draft, RangeTblEntry *join, Node *item)
{
	int index = index_of_item(item);
	RangeTblEntry *rte = rt_fetch(index, draft->rtable);
	List *numbers = NIL;
	ListCell *lc;

	foreach (lc, rte->eref->colnames)
	{
		numbers = lappend_int(numbers, foreach_current_index(lc) + 1);
		join->eref->colnames = lappend(join->eref->colnames, copyObject(lfirst(lc)));
		join->joinaliasvars =
			lappend(join->joinaliasvars,
					makeVar(index, foreach_current_index(lc) + 1, INT4OID, -1, InvalidOid, 0));
	}
	return numbers;
}

/* Makes a join of the query tree from two items that stand at the end of FROM. */
static void
join_in_place(Draft *draft, Node *left, Node *right, JoinType type, List *quals)
{
	JoinExpr *join = makeNode(JoinExpr);
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_JOIN;
	rte->jointype = type;
	rte->eref = makeAlias("unnamed_join", NIL);
	rte->inFromCl = true;
	rte->joinleftcols = add_join_columns(draft, rte, left);
	rte->joinrightcols = add_join_columns(draft, rte, right);
	draft->rtable = lappend(draft->rtable, rte);
	draft->nodes = lappend(draft->nodes, NULL);
	join->jointype = type;
	join->larg = left;
	join->rarg = right;
	join->quals = (Node *) make_ands_explicit(quals);
	join->rtindex = list_length(draft->rtable);
	draft->from = lappend(draft->from, join);
}

/* ... LEFT JOIN f(...) ON ...: within the draft. */
static void
add_constant_join(Draft *draft, Query *query, JoinExpr *join)
{
	int start = list_length(draft->from);
	List *quals = braid_take_split(join->quals);
	List *mapped = NIL;
	Node *right;
	ListCell *lc;

	add_item(draft, query, join->larg);
	start = Min(start, list_length(draft->from) - 1);
	while (list_length(draft->from) > start + 1)
	{
		Node *last = llast(draft->from);
		Node *before;

		draft->from = list_delete_last(draft->from);
		before = llast(draft->from);
		draft->from = list_delete_last(draft->from);
		join_in_place(draft, before, last, JOIN_INNER, NIL);
	}
	add_item(draft, query, join->rarg);
	foreach (lc, quals)
		mapped = lappend(mapped, braid_draft_map(draft, lfirst(lc)));
	if (braid_take_reads_table((Node *) quals))
		braid_refuse(draft->planner->pstate, exprLocation((Node *) quals),
					 "a subquery in the condition of an outer join");
	right = llast(draft->from);
	draft->from = list_delete_last(draft->from);
	{
		Node *left = llast(draft->from);

		draft->from = list_delete_last(draft->from);
		join_in_place(draft, left, right, JOIN_LEFT, mapped);
	}
}

static List *
originals_of(Draft *draft)
{
	List *originals = NIL;
	ListCell *lc;

	foreach (lc, draft->entries)
		originals = lappend(originals, ((DraftEntry *) lfirst(lc))->original);
	return originals;
}

static Draft *
outer_join(Draft *left, ViewNode *right, List *right_originals, List *quals, bool is_full)
{
	Planner *p = left->planner;
	Draft *both = braid_draft_new(p);
	Draft *joined = braid_draft_new(p);
	List *left_originals = originals_of(left);
	ViewNode *l = linitial(left->nodes);
	ViewNode *node;
	List *mapped = NIL;
	ListCell *lc;
	int n = 0;

	add_node(both, l, left_originals);
	add_node(both, right, right_originals);
	foreach (lc, quals)
	{
		if (braid_take_reads_table(lfirst(lc)))
			braid_refuse(p->pstate, exprLocation(lfirst(lc)),
						 "a subquery in the condition of an outer join");
		mapped = lappend(mapped, braid_draft_map(both, lfirst(lc)));
	}
	node = braid_draft_node(p, NODE_OUTER, list_make2(l, right), l->ncolumns + right->ncolumns);
	for (int i = 0; i < l->ncolumns; i++)
		node->columns[n++] = l->columns[i];
	for (int i = 0; i < right->ncolumns; i++)
		node->columns[n++] = right->columns[i];
	node->is_full = is_full;
	node->condition = braid_draft_condition(l, right, mapped);
	add_node(joined, node, list_concat(left_originals, list_copy(right_originals)));
	joined->pending = left->pending;
	return joined;
}

Draft *
braid_take_left_join(Draft *left, ViewNode *right, List *right_originals, List *quals)
{
	return outer_join(left, right, right_originals, quals, false);
}

/*
 * One side of an outer join, as a draft over one node with one column for each
 * thing provided.  Conditions that reach beyond it are left in *beyond.
 */
static Draft *
take_side(Planner *p, Query *query, Node *item, List **beyond)
{
	Draft *side = braid_draft_new(p);
	List *own = NIL;
	List *pending;
	ListCell *lc;

	add_item(side, query, item);
	pending = side->pending;
	side->pending = NIL;
	foreach (lc, pending)
		if (braid_draft_provides(side, lfirst(lc)))
			own = lappend(own, lfirst(lc));
		else
			*beyond = lappend(*beyond, lfirst(lc));
	return braid_draft_settle(braid_take_conditions(side, own));
}

static void
add_outer_join(Draft *draft, Query *query, JoinExpr *join)
{
	Node *l = join->jointype == JOIN_RIGHT ? join->rarg : join->larg;
	Node *r = join->jointype == JOIN_RIGHT ? join->larg : join->rarg;
	List *quals = braid_take_split(join->quals);
	Draft *left = take_side(draft->planner, query, l, &draft->pending);
	Draft *right = take_side(draft->planner, query, r, &quals);
	Draft *joined = outer_join(left, linitial(right->nodes), originals_of(right), quals,
							   join->jointype == JOIN_FULL);
	List *mapped = NIL;
	ListCell *lc;

	foreach (lc, joined->entries)
		mapped = lappend(mapped, ((DraftEntry *) lfirst(lc))->mapped);
	braid_draft_absorb(draft, joined, mapped);
	draft->entries = list_concat(draft->entries, joined->entries);
}

/* ... LEFT JOIN LATERAL (SELECT aggregates ...) ON true: there is always a row. */
static bool
finds_a_row(Query *query, JoinExpr *join)
{
	RangeTblEntry *rte;

	if (join->jointype != JOIN_LEFT || !IsA(join->rarg, RangeTblRef))
		return false;
	rte = rt_fetch(((RangeTblRef *) join->rarg)->rtindex, query->rtable);
	return rte->rtekind == RTE_SUBQUERY && braid_take_always_has_row(rte->subquery) &&
		   braid_take_is_correlated((Node *) rte->subquery) &&
		   (join->quals == NULL ||
			(IsA(join->quals, Const) && DatumGetBool(((Const *) join->quals)->constvalue)));
}

static void
add_join(Draft *draft, Query *query, JoinExpr *join)
{
	if (join->jointype == JOIN_INNER || finds_a_row(query, join))
	{
		add_item(draft, query, join->larg);
		add_item(draft, query, join->rarg);
		add_conditions(draft, braid_take_split(join->quals));
	}
	else if (join->jointype == JOIN_LEFT && is_constant_item(query, join->rarg))
		add_constant_join(draft, query, join);
	else
		add_outer_join(draft, query, join);
}

static void
add_item(Draft *draft, Query *query, Node *item)
{
	if (IsA(item, RangeTblRef))
		add_range(draft, query, ((RangeTblRef *) item)->rtindex);
	else
		add_join(draft, query, castNode(JoinExpr, item));
}

void
braid_take_from(Draft *draft, Query *query)
{
	ListCell *lc;

	foreach (lc, query->jointree->fromlist)
		add_item(draft, query, lfirst(lc));
}
