/*
 * grouping.c
 *	  Taking a query apart: GROUP BY, aggregates and DISTINCT.
 *
 * NOTES
 *	  A GROUP stands on a BLOCK that computes the keys, then all arguments and
 *	  filters of aggregates, as columns.  Conditions and expressions over groups
 *	  come above it.
 *
 *	  Grouping sets: each row is multiplied by the sets; the first key is the
 *	  set's number, and the others are null if the set does not have them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_agg.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/session_window.h"
#include "view/take.h"
#include "view/watermark.h"

#define MAX_KEYS 32 /* columns of an index */
#define MAX_SETS 4096
#define INT4_EQUAL 96 /* oid of = for int4 */

bool
braid_take_is_grouped(Query *query)
{
	return query->hasAggs || query->groupClause || query->groupingSets || query->havingQual;
}

void
braid_take_check_key(Planner *p, Node *key)
{
	Oid type = exprType(key);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);

	if (!OidIsValid(entry->lt_opr) || !OidIsValid(entry->eq_opr))
		braid_refuse(p->pstate, exprLocation(key),
					 psprintf("a key of type %s, which has no order,", format_type_be(type)));
}

ViewNode *
braid_take_group_node(Planner *p, ViewNode *input, int nkeys)
{
	ViewNode *group = braid_draft_node(p, NODE_GROUP, list_make1(input), 0);

	if (nkeys > MAX_KEYS)
		braid_refuse(p->pstate, -1, "more than 32 keys");
	group->nkeys = nkeys;
	braid_draft_give_state(p, group);
	return group;
}

ViewNode *
braid_take_distinct(Planner *p, ViewNode *input)
{
	ViewNode *group = braid_take_group_node(p, input, input->ncolumns);

	for (int i = 1; i <= input->ncolumns; i++)
		(void) braid_aggregate_add_key(group, i);
	braid_late_take(p, group, NULL);
	return braid_close_take(p, group);
}

/* ---------------------------------------------------------------- what is needed */

typedef struct Grouping
{
	Draft *draft; /* what is grouped */
	Query *query;
	List *keys;				 /* Node of the query */
	List *aggregates;		 /* Aggref of the query */
	List *functions;		 /* GroupingFunc of the query */
	List *sets;				 /* of lists of sort group references; NIL if there are none */
	List *columns;			 /* Node over the draft: of the GROUP's input */
	char *counts;			 /* which rows of the GROUP's input count as rows; NULL: all */
	SessionGroups *sessions; /* the groups are sessions; or NULL */
} Grouping;

static bool
find_aggregates(Node *node, Grouping *g)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, Aggref) && ((Aggref *) node)->agglevelsup == 0)
	{
		g->aggregates = list_append_unique(g->aggregates, node);
		return false;
	}
	if (IsA(node, GroupingFunc))
	{
		g->functions = list_append_unique(g->functions, node);
		return false;
	}
	return expression_tree_walker(node, find_aggregates, g);
}

/* Columns outside of aggregates and keys: those that depend on a primary key in GROUP BY. */
static bool
find_dependent(Node *node, Grouping *g)
{
	if (node == NULL || IsA(node, Aggref) || IsA(node, GroupingFunc) || IsA(node, Query) ||
		list_member(g->keys, node))
		return false;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
	{
		g->keys = lappend(g->keys, node);
		return false;
	}
	return expression_tree_walker(node, find_dependent, g);
}

static void
find_all(Grouping *g)
{
	Query *q = g->query;
	ListCell *lc;

	foreach (lc, q->groupClause)
		g->keys = list_append_unique(g->keys, get_sortgroupclause_expr(lfirst(lc), q->targetList));
	(void) find_aggregates((Node *) q->targetList, g);
	(void) find_aggregates(q->havingQual, g);
	(void) find_dependent((Node *) q->targetList, g);
	(void) find_dependent(q->havingQual, g);
	if (q->groupingSets)
		g->sets = expand_grouping_sets(q->groupingSets, q->groupDistinct, MAX_SETS);
}

/* ---------------------------------------------------------------- keys */

static Node *
key_of_reference(Grouping *g, int reference)
{
	return (Node *) get_sortgroupref_tle(reference, g->query->targetList)->expr;
}

static bool
set_has(Grouping *g, List *set, Node *key)
{
	ListCell *lc;

	foreach (lc, set)
		if (equal(key_of_reference(g, lfirst_int(lc)), key))
			return true;
	return false;
}

static Expr *
int4(int value)
{
	return (Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(value), false,
							  true);
}

/* CASE number WHEN 1 THEN ... END */
static Node *
by_set(Node *number, List *results, Node *otherwise)
{
	CaseExpr *c = makeNode(CaseExpr);
	ListCell *lc;
	int n = 0;

	foreach (lc, results)
	{
		CaseWhen *when;

		n++;
		if (lfirst(lc) == NULL)
			continue;
		when = makeNode(CaseWhen);
		when->expr = make_opclause(INT4_EQUAL, BOOLOID, false, copyObject((Expr *) number), int4(n),
								   InvalidOid, InvalidOid);
		set_opfuncid((OpExpr *) when->expr);
		when->result = copyObject(lfirst(lc));
		when->location = -1;
		c->args = lappend(c->args, when);
	}
	if (c->args == NIL)
		return otherwise;
	c->casetype = exprType(otherwise);
	c->casecollid = exprCollation(otherwise);
	c->defresult = (Expr *) otherwise;
	c->location = -1;
	return (Node *) c;
}

/* VALUES (1), (2), ...: the numbers of the sets, as another thing in FROM. */
static Node *
add_set_numbers(Grouping *g)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	int index;

	rte->rtekind = RTE_VALUES;
	for (int i = 1; i <= list_length(g->sets); i++)
		rte->values_lists = lappend(rte->values_lists, list_make1(int4(i)));
	rte->coltypes = list_make1_oid(INT4OID);
	rte->coltypmods = list_make1_int(-1);
	rte->colcollations = list_make1_oid(InvalidOid);
	rte->eref = makeAlias("sets", list_make1(makeString("number")));
	rte->inFromCl = true;
	index = braid_draft_add_constant(g->draft, rte);
	return (Node *) makeVar(index, 1, INT4OID, -1, InvalidOid, 0);
}

static void
add_keys_of_sets(Grouping *g)
{
	Node *number = add_set_numbers(g);
	ListCell *key;
	ListCell *set;

	g->columns = list_make1(number);
	foreach (key, g->keys)
	{
		Node *mapped = braid_draft_map(g->draft, lfirst(key));
		Node *null =
			(Node *) makeNullConst(exprType(mapped), exprTypmod(mapped), exprCollation(mapped));
		List *results = NIL;

		foreach (set, g->sets)
			results = lappend(results, set_has(g, lfirst(set), lfirst(key)) ? mapped : NULL);
		g->columns = lappend(g->columns, by_set(number, results, null));
	}
}

static void
add_keys(Grouping *g)
{
	ListCell *lc;

	foreach (lc, g->keys)
		braid_take_check_key(g->draft->planner, lfirst(lc));
	if (g->sessions)
		g->columns = braid_session_groups_columns(g->sessions);
	else if (g->sets)
		add_keys_of_sets(g);
	else if (g->keys == NIL)
		g->columns = list_make1(makeBoolConst(true, false));
	else
		foreach (lc, g->keys)
			g->columns = lappend(g->columns, braid_draft_map(g->draft, lfirst(lc)));
}

/* The key of the group that exists without rows. */
static char *
permanent_key(Grouping *g)
{
	char *found = NULL;
	ListCell *lc;

	if (g->sets == NIL)
		return g->keys ? NULL : pstrdup("true");
	foreach (lc, g->sets)
	{
		StringInfoData s;

		if (lfirst(lc) != NIL)
			continue;
		if (found)
			braid_refuse(g->draft->planner->pstate, -1, "the empty grouping set twice");
		initStringInfo(&s);
		appendStringInfo(&s, "%d", foreach_current_index(lc) + 1);
		for (int i = 0; i < list_length(g->keys); i++)
			appendStringInfoString(&s, ", NULL");
		found = s.data;
	}
	return found;
}

/* ---------------------------------------------------------------- aggregates */

/* The number of the input's column that is this expression of the query. */
static int
column_of(Grouping *g, Node *expression, int first)
{
	Node *mapped = braid_draft_map(g->draft, expression);

	for (int i = first; i < list_length(g->columns); i++)
		if (equal(list_nth(g->columns, i), mapped))
			return i + 1;
	g->columns = lappend(g->columns, mapped);
	return list_length(g->columns);
}

static Var *
input_column(Grouping *g, Node *expression, int first)
{
	int column = column_of(g, expression, first);

	return makeVar(1, column, exprType(expression), exprTypmod(expression),
				   exprCollation(expression), 0);
}

/* Direct arguments of ordered-set aggregates: constants, or keys. */
static List *
direct_arguments(Grouping *g, Aggref *aggregate, int nkeys)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, aggregate->aggdirectargs)
	{
		Node *argument = lfirst(lc);
		int column = 0;

		if (!contain_var_clause(argument) && !braid_take_reads_table(argument))
		{
			result = lappend(result, argument);
			continue;
		}
		for (int i = 0; i < list_length(g->keys) && g->sets == NIL; i++)
			if (equal(list_nth(g->keys, i), argument))
				column = i + 1;
		if (column == 0)
			braid_refuse(g->draft->planner->pstate, exprLocation(argument),
						 "a direct argument that is neither a constant nor in GROUP BY");
		result = lappend(result, makeVar(1, column, exprType(argument), exprTypmod(argument),
										 exprCollation(argument), 0));
	}
	return result;
}

/*
 * An argument where the filter does not hold is not computed: it may be an error.  The
 * input computes both.
 */
static Node *
filtered(Node *argument, Expr *filter)
{
	CaseWhen *when;
	CaseExpr *result;

	if (filter == NULL || IsA(argument, Var))
		return argument;
	when = makeNode(CaseWhen);
	when->expr = filter;
	when->result = (Expr *) argument;
	when->location = -1;
	result = makeNode(CaseExpr);
	result->casetype = exprType(argument);
	result->casecollid = exprCollation(argument);
	result->args = list_make1(when);
	result->defresult =
		(Expr *) makeNullConst(exprType(argument), exprTypmod(argument), exprCollation(argument));
	result->location = -1;
	return (Node *) result;
}

/* The aggregate over columns of the input. */
static Aggref *
over_input(Grouping *g, Aggref *aggregate, int nkeys)
{
	Aggref *copy = copyObject(aggregate);
	ListCell *lc;

	foreach (lc, copy->args)
	{
		TargetEntry *tle = lfirst(lc);

		if (!IsA(tle->expr, Const))
			tle->expr = (Expr *) input_column(g, filtered((Node *) tle->expr, aggregate->aggfilter),
											  g->sets ? nkeys : 0);
	}
	if (copy->aggfilter)
		copy->aggfilter = (Expr *) input_column(g, (Node *) copy->aggfilter, g->sets ? nkeys : 0);
	copy->aggdirectargs = direct_arguments(g, aggregate, nkeys);
	return copy;
}

/* ---------------------------------------------------------------- GROUPING() */

static int
grouping_bits(Grouping *g, List *set, GroupingFunc *f)
{
	int bits = 0;
	ListCell *lc;

	foreach (lc, f->refs)
		bits = bits << 1 | !set_has(g, set, key_of_reference(g, lfirst_int(lc)));
	return bits;
}

static Node *
grouping_value(Grouping *g, GroupingFunc *f, Node *number)
{
	List *results = NIL;
	ListCell *lc;

	if (g->sets == NIL)
		return (Node *) int4(0);
	foreach (lc, g->sets)
		results = lappend(results, int4(grouping_bits(g, lfirst(lc), f)));
	return by_set(number, results, (Node *) int4(0));
}

/* ---------------------------------------------------------------- groups */

static Draft *
above(Grouping *g, ViewNode *group, List *inputs)
{
	Draft *draft = braid_draft_new(g->draft->planner);
	int shift = g->sets ? 1 : 0;
	List *columns = NIL;
	int index;
	ListCell *lc;
	ListCell *input;
	int n = 0;

	for (int i = 1; i <= list_length(g->keys) + shift; i++)
		columns = lappend_int(columns, g->sessions ? braid_session_groups_add(g->sessions, group, i)
												   : braid_aggregate_add_key(group, i));
	foreach (lc, inputs)
		columns =
			lappend_int(columns, braid_aggregate_add(group, lfirst(lc), draft->planner->pstate));
	braid_late_take(draft->planner, group, g->counts);
	index = braid_draft_add_node(draft, braid_close_take(draft->planner, group));
	foreach (lc, g->keys)
		braid_draft_provide(
			draft, lfirst(lc),
			(Node *) braid_draft_column(draft, index, list_nth_int(columns, shift + n++)));
	foreach (input, g->aggregates)
		braid_draft_provide(
			draft, lfirst(input),
			(Node *) braid_draft_column(draft, index, list_nth_int(columns, shift + n++)));
	foreach (lc, g->functions)
		braid_draft_provide(
			draft, lfirst(lc),
			grouping_value(g, lfirst(lc),
						   shift ? (Node *) braid_draft_column(draft, index, linitial_int(columns))
								 : NULL));
	return draft;
}

Draft *
braid_take_groups(Draft *draft, Query *query)
{
	Grouping g = {draft, query};
	List *inputs = NIL;
	ViewNode *rows;
	ViewNode *input;
	ViewNode *group;
	int nkeys;
	ListCell *lc;

	find_all(&g);
	if (g.sets == NIL)
		g.sessions = braid_session_groups_find(draft, g.keys, g.aggregates);
	if (g.sessions)
		g.draft = g.sessions->rows;
	add_keys(&g);
	nkeys = list_length(g.columns);
	foreach (lc, g.aggregates)
		inputs = lappend(inputs, over_input(&g, lfirst(lc), nkeys));
	rows = braid_draft_close(g.draft, g.columns);
	if (g.sessions)
		return above(&g, braid_session_groups_node(g.sessions, rows), inputs);
	input = braid_take_distinct_arguments(draft->planner, rows, nkeys, &inputs);
	group = braid_take_group_node(draft->planner, input, nkeys);
	group->permanent_key = permanent_key(&g);
	group->is_single = g.sets == NIL && g.keys == NIL;

	/* Of a UNION with distinct arguments, only the rows themselves count. */
	if (input != rows)
		g.counts = psprintf("i1.c%d", rows->ncolumns + 1);
	return above(&g, group, inputs);
}
