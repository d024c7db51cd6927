/*
 * draft.c
 *	  A part of a query on its way to becoming a node.
 *
 * NOTES
 *	  Texts are made by PostgreSQL's own deparser, from a query tree whose inputs
 *	  are references to WITH queries that do not exist: these are printed as bare
 *	  names, the tokens, in whose place the inputs' texts are put later.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "view/carry.h"
#include "view/draft.h"
#include "view/refusal.h"
#include "view/take.h"
#include "view/window.h"

Draft *
braid_draft_new(Planner *planner)
{
	Draft *d = palloc0(sizeof(Draft));

	d->planner = planner;
	return d;
}

/* ---------------------------------------------------------------- nodes */

/* Made of rows that pass, and without a state. */
static bool
passes(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, braid_node_is_stateful(node) ? NIL : node->inputs)
		if (((ViewNode *) lfirst(lc))->is_passing)
			return true;
	return false;
}

ViewNode *
braid_draft_node(Planner *planner, NodeKind kind, List *inputs, int ncolumns)
{
	ViewNode *node = palloc0(sizeof(ViewNode));

	node->kind = kind;
	node->inputs = inputs;
	node->ncolumns = ncolumns;
	node->columns = palloc0(sizeof(NodeColumn) * (ncolumns + 1));
	planner->plan->nodes = lappend(planner->plan->nodes, node);
	node->number = list_length(planner->plan->nodes);
	node->is_passing = passes(node);
	return node;
}

void
braid_draft_set_column(ViewNode *node, int column, Node *expression)
{
	node->columns[column - 1] =
		(NodeColumn){exprType(expression), exprTypmod(expression), exprCollation(expression)};
}

void
braid_draft_give_state(Planner *planner, ViewNode *node)
{
	node->state = psprintf("braid_internal.state_%d_%d", planner->id, node->number);
}

/* ---------------------------------------------------------------- inputs */

static List *
column_names(int ncolumns)
{
	List *names = NIL;

	for (int i = 1; i <= ncolumns; i++)
		names = lappend(names, makeString(psprintf("c%d", i)));
	return names;
}

/* A range table entry that is printed as the token of the nth input. */
static RangeTblEntry *
input_entry(ViewNode *node, int nth)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_CTE;
	rte->ctename = braid_node_token(nth);
	rte->eref = makeAlias(psprintf("i%d", nth), column_names(node->ncolumns));
	rte->alias = makeAlias(rte->eref->aliasname, NIL);
	rte->inFromCl = true;
	for (int i = 0; i < node->ncolumns; i++)
	{
		rte->coltypes = lappend_oid(rte->coltypes, node->columns[i].type);
		rte->coltypmods = lappend_int(rte->coltypmods, node->columns[i].typmod);
		rte->colcollations = lappend_oid(rte->colcollations, node->columns[i].collation);
	}
	return rte;
}

static int
add_entry(Draft *draft, RangeTblEntry *rte, ViewNode *node)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	draft->rtable = lappend(draft->rtable, rte);
	draft->nodes = lappend(draft->nodes, node);
	ref->rtindex = list_length(draft->rtable);
	draft->from = lappend(draft->from, ref);
	return ref->rtindex;
}

int
braid_draft_add_node(Draft *draft, ViewNode *node)
{
	return add_entry(draft, input_entry(node, 1), node);
}

static void
name_constant(RangeTblEntry *rte, int index)
{
	rte->eref = makeAlias(psprintf("f%d", index), rte->eref->colnames);
	rte->alias = makeAlias(rte->eref->aliasname, copyObject(rte->eref->colnames));
}

int
braid_draft_add_constant(Draft *draft, RangeTblEntry *rte)
{
	name_constant(rte, list_length(draft->rtable) + 1);
	return add_entry(draft, rte, NULL);
}

Var *
braid_draft_column(Draft *draft, int index, int column)
{
	ViewNode *node = list_nth(draft->nodes, index - 1);
	NodeColumn *c = &node->columns[column - 1];

	return makeVar(index, column, c->type, c->typmod, c->collation, 0);
}

void
braid_draft_provide(Draft *draft, Node *original, Node *mapped)
{
	DraftEntry *e = palloc(sizeof(DraftEntry));

	e->original = original;
	e->mapped = mapped;
	draft->entries = lappend(draft->entries, e);
}

void
braid_draft_override(Draft *draft, Node *original, Node *mapped)
{
	ListCell *lc;

	foreach (lc, draft->entries)
	{
		DraftEntry *e = lfirst(lc);

		if (equal(e->original, original))
			e->mapped = mapped;
	}
}

bool
braid_draft_has(Draft *draft, Node *original)
{
	ListCell *lc;

	foreach (lc, draft->entries)
		if (equal(((DraftEntry *) lfirst(lc))->original, original))
			return true;
	return false;
}

/* Names the inputs in their order: i1, i2, ... */
static void
name_inputs(Draft *draft)
{
	int n = 0;
	ListCell *lc;
	ListCell *node;

	forboth(lc, draft->rtable, node, draft->nodes) if (lfirst(node)) lfirst(lc) =
		input_entry(lfirst(node), ++n);
}

/* ---------------------------------------------------------------- mapping */

typedef struct MapContext
{
	List *entries;
	ParseState *pstate;
	int depth; /* of subqueries within the expression */
} MapContext;

static Node *
find_entry(MapContext *c, Node *node)
{
	ListCell *lc;

	foreach (lc, c->entries)
	{
		DraftEntry *e = lfirst(lc);

		if (equal(e->original, node))
			return copyObject(e->mapped);
	}
	return NULL;
}

/* A column of the draft's query within a subquery that stays where it is. */
static Node *
map_deep_var(Var *var, MapContext *c)
{
	Var *plain = copyObject(var);
	Node *found;

	plain->varlevelsup = 0;
	found = find_entry(c, (Node *) plain);
	if (found)
		IncrementVarSublevelsUp(found, c->depth, 0);
	return found;
}

static Node *
map_mutator(Node *node, MapContext *c)
{
	Node *found = NULL;

	if (node == NULL)
		return NULL;
	if (c->depth == 0)
		found = find_entry(c, node);
	else if (IsA(node, Var) && ((Var *) node)->varlevelsup == c->depth)
		found = map_deep_var((Var *) node, c);
	if (found)
		return found;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup >= c->depth)
		braid_refuse(c->pstate, exprLocation(node),
					 ((Var *) node)->varlevelsup > c->depth
						 ? "a subquery that refers to the query around it in this way"
						 : "a column in a place where it is neither grouped nor joined");
	if (IsA(node, Query))
	{
		Query *result;

		c->depth++;
		result = query_tree_mutator((Query *) node, map_mutator, c, 0);
		c->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, map_mutator, c);
}

Node *
braid_draft_map(Draft *draft, Node *expression)
{
	MapContext c = {draft->entries, draft->planner->pstate, 0};

	return map_mutator(expression, &c);
}

typedef struct ProvideContext
{
	List *entries;
	int depth;
} ProvideContext;

/* Whether something is missing. */
static bool
is_missing(Node *node, ProvideContext *c)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == c->depth)
	{
		Var *plain = copyObject((Var *) node);

		plain->varlevelsup = 0;
		foreach (lc, c->entries)
			if (equal(((DraftEntry *) lfirst(lc))->original, plain))
				return false;
		return true;
	}
	if (IsA(node, Query))
	{
		bool result;

		c->depth++;
		result = query_tree_walker((Query *) node, is_missing, c, 0);
		c->depth--;
		return result;
	}
	return expression_tree_walker(node, is_missing, c);
}

bool
braid_draft_provides(Draft *draft, Node *expression)
{
	ProvideContext c = {draft->entries, 0};

	return !is_missing(expression, &c);
}

void
braid_draft_absorb(Draft *draft, Draft *other, List *mapped)
{
	int offset = list_length(draft->rtable);
	ListCell *lc;

	foreach (lc, other->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_FUNCTION)
			OffsetVarNodes((Node *) rte->functions, offset, 0);
		else if (rte->rtekind == RTE_VALUES)
			OffsetVarNodes((Node *) rte->values_lists, offset, 0);
		else if (rte->rtekind == RTE_TABLEFUNC)
			OffsetVarNodes((Node *) rte->tablefunc, offset, 0);
		else if (rte->rtekind == RTE_SUBQUERY)
			OffsetVarNodes((Node *) rte->subquery, offset, 1);
		if (rte->rtekind != RTE_CTE && rte->rtekind != RTE_JOIN)
			name_constant(rte, offset + foreach_current_index(lc) + 1);
	}
	OffsetVarNodes((Node *) other->from, offset, 0);
	OffsetVarNodes((Node *) other->quals, offset, 0);
	OffsetVarNodes((Node *) mapped, offset, 0);
	draft->rtable = list_concat(draft->rtable, other->rtable);
	draft->nodes = list_concat(draft->nodes, other->nodes);
	draft->from = list_concat(draft->from, other->from);
	draft->quals = list_concat(draft->quals, other->quals);
}

/* ---------------------------------------------------------------- text */

/*
 * Names of columns are qualified in the text only if the range table has more
 * than one entry; in ORDER BY others could mean a column of the target list.
 */
static Query *
to_query(Draft *draft, List *targets)
{
	Query *query = makeNode(Query);
	RangeTblEntry *second = makeNode(RangeTblEntry);

	second->rtekind = RTE_RESULT;
	second->eref = makeAlias("unused", NIL);
	name_inputs(draft);
	query->commandType = CMD_SELECT;
	query->rtable = lappend(list_copy(draft->rtable), second);
	query->jointree = makeFromExpr(draft->from, NULL);
	if (draft->quals)
		query->jointree->quals = (Node *) make_ands_explicit(draft->quals);
	query->targetList = targets;
	return query;
}

/*
 * What a text reads has to be an input, or nobody would notice its changes.
 * Subqueries have become inputs wherever that is known how to do; they are still
 * there as arguments of functions in FROM, in VALUES, in the frame of a window.
 */
static bool
refuse_subqueries(Node *node, ParseState *pstate)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) && braid_take_reads_table(((SubLink *) node)->subselect))
		braid_refuse(pstate, ((SubLink *) node)->location, "a subquery in this place");
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, refuse_subqueries, pstate, 0);
	return expression_tree_walker(node, refuse_subqueries, pstate);
}

static char *
query_text(Draft *draft, Query *query)
{
	(void) refuse_subqueries((Node *) query, draft->planner ? draft->planner->pstate : NULL);
	return pg_get_querydef(copyObject(query), false);
}

char *
braid_draft_text(Draft *draft, List *targets, Query *like)
{
	Query *query = to_query(draft, targets);

	if (like)
	{
		query->sortClause = like->sortClause;
		query->limitCount = like->limitCount;
		query->limitOffset = like->limitOffset;
		query->limitOption = like->limitOption;
		query->distinctClause = like->distinctClause;
		query->hasDistinctOn = like->hasDistinctOn;
		query->windowClause = like->windowClause;
	}
	return query_text(draft, query);
}

/* Puts a text in place of the nth input's token. */
static char *
put_input(char *text, int nth, const char *input)
{
	char *token = psprintf("%s i%d", braid_node_token(nth), nth);
	char *found = strstr(text, token);

	if (found == NULL)
		elog(ERROR, "input %d is missing in \"%s\"", nth, text);
	return psprintf("%.*s%s i%d%s", (int) (found - text), text, input, nth, found + strlen(token));
}

char *
braid_draft_visible(Draft *draft, List *targets, Query *like)
{
	char *text = braid_draft_text(draft, targets, like);
	int n = 0;
	ListCell *lc;

	foreach (lc, draft->nodes)
		if (lfirst(lc))
		{
			n++;
			text = put_input(text, n, braid_node_new(lfirst(lc)));
		}
	return pstrdup(text + strspn(text, " "));
}

/* Cuts the condition out of "SELECT true AS ... WHERE condition". */
char *
braid_draft_condition(ViewNode *one, ViewNode *two, List *quals)
{
	Draft *d = braid_draft_new(NULL);
	char *text;
	char *where;

	if (quals == NIL)
		return pstrdup("true");
	(void) braid_draft_add_node(d, one);
	(void) braid_draft_add_node(d, two);
	d->quals = quals;
	text = braid_draft_text(
		d, list_make1(makeTargetEntry((Expr *) makeBoolConst(true, false), 1, "c1", false)), NULL);
	where = strstr(text, " WHERE ");
	return pstrdup(where + strlen(" WHERE "));
}

/* ---------------------------------------------------------------- closing */

/* Whether the expressions are just the columns of the only input, in order. */
static ViewNode *
only_input(Draft *draft, List *mapped)
{
	ViewNode *node = list_length(draft->rtable) == 1 ? linitial(draft->nodes) : NULL;
	ListCell *lc;
	int n = 0;

	if (node == NULL || draft->quals || list_length(mapped) != node->ncolumns)
		return NULL;
	foreach (lc, mapped)
	{
		Var *var = lfirst(lc);

		if (!IsA(var, Var) || var->varattno != ++n)
			return NULL;
	}
	return node;
}

/* "SELECT $1 AS w, ... AS c1": the weight is put in place of $1 later. */
static List *
weighted_targets(List *mapped)
{
	Param *weight = makeNode(Param);
	List *targets;
	ListCell *lc;
	int n = 0;

	weight->paramkind = PARAM_EXTERN;
	weight->paramid = 1;
	weight->paramtype = INT8OID;
	weight->paramtypmod = -1;
	weight->location = -1;
	targets = list_make1(makeTargetEntry((Expr *) weight, 1, "w", false));
	foreach (lc, mapped)
	{
		n++;
		targets = lappend(targets, makeTargetEntry(lfirst(lc), n + 1, psprintf("c%d", n), false));
	}
	return targets;
}

static List *
inputs_of(Draft *draft)
{
	List *inputs = NIL;
	ListCell *lc;

	foreach (lc, draft->nodes)
		if (lfirst(lc))
			inputs = lappend(inputs, lfirst(lc));
	return inputs;
}

/* What a user would call the expression; NULL if that is not known. */
static const char *
name_of(Draft *draft, Node *mapped)
{
	Var *var = (Var *) mapped;
	ViewNode *node;

	if (IsA(mapped, FuncExpr))
		return get_func_name(((FuncExpr *) mapped)->funcid);
	if (!IsA(mapped, Var) || var->varlevelsup > 0 || var->varattno <= 0)
		return NULL;
	node = list_nth(draft->nodes, var->varno - 1);
	if (node == NULL)
		return strVal(
			list_nth(rt_fetch(var->varno, draft->rtable)->eref->colnames, var->varattno - 1));
	return node->columns[var->varattno - 1].name;
}

ViewNode *
braid_draft_close(Draft *draft, List *mapped)
{
	ViewNode *node = only_input(draft, mapped);
	ListCell *lc;
	int n = 0;

	if (node)
		return node;
	node = braid_draft_node(draft->planner, NODE_BLOCK, inputs_of(draft), list_length(mapped));
	foreach (lc, mapped)
	{
		braid_draft_set_column(node, ++n, lfirst(lc));
		node->columns[n - 1].window = braid_window_find(draft, lfirst(lc));
		node->columns[n - 1].name = name_of(draft, lfirst(lc));
		if (draft->planner->time)
			node->columns[n - 1].image = braid_carry_image(draft, lfirst(lc));
	}
	node->select = braid_draft_text(draft, weighted_targets(mapped), NULL);
	node->select += strspn(node->select, " ");
	return node;
}

Draft *
braid_draft_settle(Draft *draft)
{
	Draft *settled = braid_draft_new(draft->planner);
	List *mapped = NIL;
	ListCell *lc;
	int index;
	int n = 0;

	foreach (lc, draft->entries)
		mapped = lappend(mapped, ((DraftEntry *) lfirst(lc))->mapped);
	index = braid_draft_add_node(settled, braid_draft_close(draft, mapped));
	foreach (lc, draft->entries)
		braid_draft_provide(settled, ((DraftEntry *) lfirst(lc))->original,
							(Node *) braid_draft_column(settled, index, ++n));
	settled->pending = draft->pending;
	return settled;
}
