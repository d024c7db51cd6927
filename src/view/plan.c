/*
 * plan.c
 *	  A view's query, taken apart into a graph of nodes.
 *
 * NOTES
 *	  The graph is made from the query tree alone, each time it is needed: by
 *	  CREATE, and by the worker from the rule of the stored query.  Nothing of it
 *	  is stored but a fingerprint, so renamed columns and tables need no care.
 *
 *	  A query is taken apart in the order in which it is evaluated: FROM, WHERE,
 *	  GROUP BY, HAVING, window functions, DISTINCT; ORDER BY and LIMIT at the top
 *	  are left to whoever reads the view.
 *
 *	  The top is what the user's view reads.  If it is an expression over one
 *	  stateful node (and over single values) it is evaluated when it is read;
 *	  otherwise its rows are kept by a ROWS node.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "stream/stream.h"
#include "utils/lsyscache.h"
#include "view/accumulator.h"
#include "view/definition.h"
#include "view/operators.h"
#include "view/passing.h"
#include "view/plan.h"
#include "view/refusal.h"
#include "view/session_window.h"
#include "view/take.h"
#include "view/text.h"
#include "view/watermark.h"

/* ---------------------------------------------------------------- normal form */

static Node *
normal(Query *query, Node *expression)
{
	return braid_compat_flatten_join_aliases(query, expression);
}

static void
normalize_joins(Query *query, Node *item)
{
	if (IsA(item, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) item;

		normalize_joins(query, join->larg);
		normalize_joins(query, join->rarg);
		join->quals = normal(query, join->quals);
	}
}

/* References to columns of joins become those to columns of their inputs. */
static void
normalize(Query *query)
{
	ListCell *lc;

	braid_compat_flatten_group_exprs(query);
	query->targetList = (List *) normal(query, (Node *) query->targetList);
	query->havingQual = normal(query, query->havingQual);
	query->jointree->quals = normal(query, query->jointree->quals);
	foreach (lc, query->jointree->fromlist)
		normalize_joins(query, lfirst(lc));
	foreach (lc, query->windowClause)
	{
		WindowClause *w = lfirst(lc);

		w->startOffset = normal(query, w->startOffset);
		w->endOffset = normal(query, w->endOffset);
	}
	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		rte->functions = (List *) normal(query, (Node *) rte->functions);
		rte->values_lists = (List *) normal(query, (Node *) rte->values_lists);
		rte->tablefunc = (TableFunc *) normal(query, (Node *) rte->tablefunc);
		if (rte->subquery)
			rte->subquery =
				(Query *) braid_compat_flatten_join_aliases(query, (Node *) rte->subquery);
	}
}

/* ---------------------------------------------------------------- reading */

static bool is_readable(ViewNode *node);

/* One stateful input, and any number of single values. */
static bool
reads_one(List *inputs)
{
	int readable = 0;
	ListCell *lc;

	foreach (lc, inputs)
	{
		ViewNode *node = lfirst(lc);

		if (!is_readable(node))
			return false;
		readable += !node->is_single;
	}
	return inputs != NIL && readable <= 1;
}

/* Whether the rows of a node can be had at once when the view is read. */
static bool
is_readable(ViewNode *node)
{
	ListCell *lc;

	switch (node->kind)
	{
		case NODE_GROUP:
		case NODE_SESSION:
		case NODE_PARTITION:
		case NODE_ROWS:
		case NODE_CLOSE:
			return true;
		case NODE_BLOCK:
			return reads_one(node->inputs);
		case NODE_UNION:
			foreach (lc, node->inputs)
				if (!is_readable(lfirst(lc)))
					return false;
			return true;
		default:
			return false;
	}
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

/* A ROWS node of these expressions, as a draft that provides what they are for. */
static Draft *
keep(Draft *draft, List *originals, List *mapped)
{
	Planner *p = draft->planner;
	ViewNode *input = braid_draft_close(draft, mapped);
	ViewNode *rows = braid_draft_node(p, NODE_ROWS, list_make1(input), input->ncolumns);
	Draft *kept = braid_draft_new(p);
	ListCell *lc;
	int index;
	int n = 0;

	memcpy(rows->columns, input->columns, sizeof(NodeColumn) * input->ncolumns);
	braid_draft_give_state(p, rows);
	index = braid_draft_add_node(kept, rows);
	foreach (lc, originals)
		braid_draft_provide(kept, lfirst(lc), (Node *) braid_draft_column(kept, index, ++n));
	return kept;
}

/* Keeps all that the draft provides. */
static Draft *
keep_entries(Draft *draft)
{
	List *originals = NIL;
	List *mapped = NIL;
	ListCell *lc;

	foreach (lc, draft->entries)
	{
		originals = lappend(originals, ((DraftEntry *) lfirst(lc))->original);
		mapped = lappend(mapped, ((DraftEntry *) lfirst(lc))->mapped);
	}
	return keep(draft, originals, mapped);
}

/* ---------------------------------------------------------------- a query */

/* Subqueries below the grouping: in keys and in arguments of aggregates. */
static bool
collect_arguments(Node *node, List **found)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, Aggref))
	{
		*found = lappend(*found, node);
		return false;
	}
	return expression_tree_walker(node, collect_arguments, found);
}

static Draft *
take_grouping(Draft *draft, Query *query)
{
	List *arguments = NIL;
	ListCell *lc;

	foreach (lc, query->groupClause)
		arguments = lappend(arguments, get_sortgroupclause_expr(lfirst(lc), query->targetList));
	(void) collect_arguments((Node *) query->targetList, &arguments);
	(void) collect_arguments(query->havingQual, &arguments);
	draft = braid_take_sublinks(draft, (Node *) arguments);
	draft = braid_take_groups(draft, query);
	return braid_take_conditions(draft, braid_take_split(query->havingQual));
}

static List *
map_targets(Draft *draft, Query *query, bool junk)
{
	List *targets = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (junk || !tle->resjunk)
			targets = lappend(targets, braid_draft_map(draft, (Node *) tle->expr));
	}
	return targets;
}

/* GROUP BY can leave keys in the target list that are not selected. */
static void
drop_junk(Query *query)
{
	List *selected = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			selected = lappend(selected, lfirst(lc));
	query->targetList = selected;
}

/* The distinct rows of what is selected, which is all that ORDER BY can name. */
static Draft *
take_distinct(Draft *draft, Query *query)
{
	Planner *p = draft->planner;
	Draft *distinct = braid_draft_new(p);
	ListCell *lc;
	int index;
	int n = 0;

	drop_junk(query);
	foreach (lc, query->targetList)
		braid_take_check_key(p, (Node *) ((TargetEntry *) lfirst(lc))->expr);
	index = braid_draft_add_node(
		distinct,
		braid_take_distinct(p, braid_draft_close(draft, map_targets(draft, query, true))));
	foreach (lc, query->targetList)
		braid_draft_provide(distinct, (Node *) ((TargetEntry *) lfirst(lc))->expr,
							(Node *) braid_draft_column(distinct, index, ++n));
	return distinct;
}

static bool
any_passes(List *nodes)
{
	ListCell *lc;

	foreach (lc, nodes)
		if (((ViewNode *) lfirst(lc))->is_passing)
			return true;
	return false;
}

/*
 * Subqueries in the target list.  At the top, single values are left to whoever
 * reads the view: otherwise all rows would change with them.  Rows of streams have
 * those of when they came.
 */
static Draft *
take_target_sublinks(Draft *draft, Query *query, bool is_top)
{
	bool single = braid_take_tied_sublinks(&draft, (Node *) query->targetList);

	if (single && !any_passes(inputs_of(draft)) && is_top && !query->distinctClause &&
		!query->hasWindowFuncs && !query->hasTargetSRFs && !reads_one(inputs_of(draft)))
		draft = keep_entries(draft);
	return braid_take_sublinks(draft, (Node *) query->targetList);
}

/* All but ORDER BY and LIMIT; the draft can map the target list. */
static Draft *
take_select(Planner *p, Query *query, bool is_top)
{
	Draft *draft;
	List *levels = p->levels;

	normalize(query);
	braid_refuse_constructs(p->pstate, query);
	p->levels = lcons(query, list_copy(levels)); /* lcons() changes its list */
	if (query->setOperations)
		draft = braid_take_set_operation(p, query);
	else
	{
		draft = braid_draft_new(p);
		braid_take_from(draft, query);
		draft = braid_take_conditions(
			draft, list_concat(braid_take_split(query->jointree->quals), draft->pending));
		draft->pending = NIL;
		if (braid_take_is_grouped(query))
			draft = take_grouping(draft, query);
		draft = take_target_sublinks(draft, query, is_top);
	}
	if (query->hasWindowFuncs)
		draft = braid_take_windows(draft, query);
	if (query->distinctClause)
		draft = query->hasDistinctOn ? braid_take_distinct_on(draft, query)
									 : take_distinct(draft, query);
	p->levels = levels;
	return draft;
}

Draft *
braid_take_query(Planner *p, Query *query, List *limit_keys, List **targets)
{
	Draft *draft = take_select(p, query, false);

	if (query->limitCount || query->limitOffset)
	{
		if (limit_keys == NIL)
			braid_refuse(p->pstate,
						 exprLocation(query->limitCount ? query->limitCount : query->limitOffset),
						 "LIMIT and OFFSET in a subquery");
		draft = braid_take_limit(draft, query, limit_keys);
	}
	*targets = map_targets(draft, query, false);
	if (query->hasTargetSRFs)
	{
		ViewNode *node = braid_draft_close(draft, *targets);
		int index;

		draft = braid_draft_new(p);
		index = braid_draft_add_node(draft, node);
		*targets = NIL;
		for (int i = 1; i <= node->ncolumns; i++)
			*targets = lappend(*targets, braid_draft_column(draft, index, i));
	}
	return draft;
}

ViewNode *
braid_take_node(Planner *p, Query *query, List *limit_keys)
{
	List *targets;
	Draft *draft = braid_take_query(p, query, limit_keys, &targets);
	ViewNode *node = braid_draft_close(draft, targets);

	braid_session_window_pass_on(draft, targets, node);
	return node;
}

/* ---------------------------------------------------------------- the top */

/* Keeps all of the target list, with what only ORDER BY needs. */
static Draft *
keep_rows(Draft *draft, Query *query)
{
	List *originals = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
		originals = lappend(originals, ((TargetEntry *) lfirst(lc))->expr);
	return keep(draft, originals, map_targets(draft, query, true));
}

/* The target list of what the user sees, under the user's names. */
static List *
visible_targets(Draft *draft, Query *query)
{
	List *targets = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = copyObject(lfirst(lc));

		tle->expr = (Expr *) braid_draft_map(draft, (Node *) tle->expr);
		targets = lappend(targets, tle);
	}
	return targets;
}

/* It would be evaluated when the view is read, over tables as they are then. */
static void
refuse_subquery_in_limit(Planner *p, Node *limit)
{
	if (checkExprHasSubLink(limit))
		braid_refuse(p->pstate, exprLocation(limit), "a subquery in LIMIT or OFFSET");
}

static void
take_top(Planner *p, Query *query)
{
	Draft *draft = take_select(p, query, true);
	Query *like = makeNode(Query);

	refuse_subquery_in_limit(p, query->limitCount);
	refuse_subquery_in_limit(p, query->limitOffset);
	if (!reads_one(inputs_of(draft)))
		draft = keep_rows(draft, query);
	like->sortClause = query->sortClause;
	like->limitCount = query->limitCount;
	like->limitOffset = query->limitOffset;
	like->limitOption = query->limitOption;
	p->plan->is_limited = query->limitCount || query->limitOffset;
	p->plan->visible = braid_draft_visible(draft, visible_targets(draft, query), like);
	p->plan->top = braid_draft_close(draft, map_targets(draft, query, false));
}

/* ---------------------------------------------------------------- the graph */

/* Whether the reader has the input's delta once in its statements. */
static bool
reads_delta_once(ViewNode *reader)
{
	if (reader->kind == NODE_SESSION)
		return reader->time == NULL;
	return reader->kind == NODE_GROUP || reader->kind == NODE_ROWS ||
		   reader->kind == NODE_PARTITION || reader->kind == NODE_WATERMARK ||
		   (reader->kind == NODE_BLOCK && list_length(reader->inputs) == 1);
}

static Strategy
strategy_of(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_QUERY:
			return STRATEGY_RECOMPUTE;
		case NODE_PARTITION:
			return STRATEGY_AFFECTED_KEYS;
		case NODE_GROUP:
		case NODE_SESSION:
			return node->strategy;
		default:
			return STRATEGY_ALGEBRAIC;
	}
}

/* Nodes that nobody reads: of parts that were made, and for which there was something better. */
static void
drop_unread(ViewPlan *plan)
{
	for (int i = list_length(plan->nodes) - 1; i >= 0; i--)
	{
		ViewNode *node = list_nth(plan->nodes, i);
		ListCell *lc;

		if (node == plan->top || node->nreaders > 0 ||
			(node->kind != NODE_PARTITION && node->kind != NODE_BLOCK))
			continue;
		foreach (lc, node->inputs)
			((ViewNode *) lfirst(lc))->nreaders--;
		plan->nodes = list_delete_nth_cell(plan->nodes, i);
	}
}

static void
finish_graph(ViewPlan *plan)
{
	ListCell *lc;
	ListCell *input;

	foreach (lc, plan->nodes)
	{
		ViewNode *reader = lfirst(lc);

		reader->strategy = strategy_of(reader);
		foreach (input, reader->inputs)
			((ViewNode *) lfirst(input))->nreaders++;
	}
	drop_unread(plan);
	foreach (lc, plan->nodes)
	{
		ViewNode *reader = lfirst(lc);

		foreach (input, reader->inputs)
		{
			ViewNode *node = lfirst(input);

			node->inlined = (node->kind == NODE_BLOCK || node->kind == NODE_UNION) &&
							node->nreaders == 1 && reads_delta_once(reader);
		}
	}
}

/* ---------------------------------------------------------------- fingerprints */

#define HASH_DIGITS 16

static void
put_text(StringInfo s, const char *text)
{
	appendStringInfo(s, " %s", text ? text : "-");
}

static void
describe_columns(StringInfo s, ViewNode *node)
{
	for (int i = 0; i < node->ncolumns; i++)
		appendStringInfo(s, " %u %d %u", node->columns[i].type, node->columns[i].typmod,
						 node->columns[i].collation);
}

static bool
has_outputs(ViewNode *node)
{
	return node->kind == NODE_GROUP || node->kind == NODE_SESSION;
}

/* What a node makes of its inputs; of a group, what it keeps. */
static void
describe(StringInfo s, ViewNode *node)
{
	ListCell *lc;

	appendStringInfo(s, "%d %d %u %d %d", node->kind, node->nkeys, node->relid, node->is_full,
					 node->mark);
	put_text(s, node->definition ? node->definition : node->select);
	put_text(s, node->condition);
	put_text(s, node->permanent_key);
	if (node->gap)
		put_text(s, node->gap);
	for (int i = 0; node->attnums && i < node->ncolumns; i++)
		appendStringInfo(s, " %d", node->attnums[i]);
	if (!has_outputs(node))
		describe_columns(s, node);
	foreach (lc, node->inputs)
		appendStringInfo(s, " <" UINT64_FORMAT, ((ViewNode *) lfirst(lc))->rows_hash);
	foreach (lc, node->accumulators)
	{
		Accumulator *a = lfirst(lc);

		appendStringInfo(s, " +%d %d", a->kind, a->number);
		put_text(s, a->argument);
		put_text(s, a->filter);
		put_text(s, a->aggregate);
	}
}

/* A group shows expressions over what it keeps. */
static void
describe_outputs(StringInfo s, ViewNode *node)
{
	ListCell *lc;

	if (!has_outputs(node))
		return;
	describe_columns(s, node);
	foreach (lc, node->outputs)
		put_text(s, lfirst(lc));
}

/* The visible query, with the id of the view taken out of the names of states. */
static uint64
hash_visible(ViewPlan *plan, int id)
{
	char *prefix = psprintf("state_%d_", id);
	StringInfoData s;
	const char *text = plan->visible;
	const char *found;

	initStringInfo(&s);
	while ((found = strstr(text, prefix)) != NULL)
	{
		appendBinaryStringInfo(&s, text, (int) (found - text));
		appendStringInfoString(&s, "state_");
		text = found + strlen(prefix);
	}
	appendStringInfoString(&s, text);
	return braid_text_hash(s.data);
}

/* In words that renaming does not change, as far as that can be had. */
static void
take_fingerprints(ViewPlan *plan, int id)
{
	StringInfoData states;
	ListCell *lc;

	initStringInfo(&states);
	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);
		StringInfoData s;

		initStringInfo(&s);
		describe(&s, node);
		node->state_hash = braid_text_hash(s.data);
		describe_outputs(&s, node);
		node->rows_hash = braid_text_hash(s.data);
		if (braid_node_is_stateful(node))
			appendStringInfo(&states, " %d=" UINT64_FORMAT, node->number, node->state_hash);
	}
	plan->fingerprint =
		psprintf("%016llx.%016llx", (unsigned long long) braid_text_hash(states.data),
				 (unsigned long long) hash_visible(plan, id));
}

void
braid_plan_add_to_fingerprint(ViewPlan *plan, const char *text)
{
	uint64 hash = braid_text_hash(psprintf("%.*s %s", HASH_DIGITS, plan->fingerprint, text));

	plan->fingerprint =
		psprintf("%016llx%s", (unsigned long long) hash, plan->fingerprint + HASH_DIGITS);
}

bool
braid_plan_same_states(const char *a, const char *b)
{
	return strncmp(a, b, HASH_DIGITS) == 0;
}

bool
braid_plan_same_visible(const char *a, const char *b)
{
	return strcmp(a + HASH_DIGITS, b + HASH_DIGITS) == 0;
}

ViewPlan *
braid_plan_make(Query *query, int id, const PlanTime *time, ParseState *pstate)
{
	Planner p = {palloc0(sizeof(ViewPlan)), id, pstate, .time = time};

	braid_refuse_functions(pstate, query);
	if (time)
		braid_watermark_take(&p);
	take_top(&p, query);
	if (p.plan->tables == NIL && p.plan->views == NIL)
		braid_refuse(pstate, exprLocation((Node *) query->targetList), "a query without a table");
	finish_graph(p.plan);
	if (time)
		braid_late_check(&p);
	braid_session_window_check(&p);
	braid_passing_finish(&p);
	take_fingerprints(p.plan, id);
	return p.plan;
}

/* ---------------------------------------------------------------- recomputing */

static bool
is_captured(Oid relid)
{
	char kind = get_rel_relkind(relid);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
		   get_rel_persistence(relid) == RELPERSISTENCE_PERMANENT && relid >= FirstNormalObjectId;
}

/* A node without columns, for whether a relation has changed. */
static void
add_read(Planner *p, Oid relid, List **inputs)
{
	ViewDefinition def;
	ViewNode *node;

	if (braid_definition_find(relid, &def))
	{
		if (list_member_int(p->plan->views, def.id))
			return;
		node = braid_draft_node(p, NODE_VIEW, NIL, 0);
		node->view_id = def.id;
		p->plan->views = lappend_int(p->plan->views, def.id);
	}
	else
	{
		if (list_member_oid(p->plan->tables, relid))
			return;
		node = braid_draft_node(p, NODE_TABLE, NIL, 0);
		p->plan->tables = lappend_oid(p->plan->tables, relid);
	}
	node->relid = relid;
	node->attnums = palloc0(sizeof(AttrNumber));
	*inputs = lappend(*inputs, node);
}

typedef struct ReadSearch
{
	Planner *planner;
	List *inputs;
} ReadSearch;

static bool
find_reads(Node *node, ReadSearch *s)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		ViewPlan *plan = s->planner->plan;
		ViewDefinition def;

		if (rte->rtekind != RTE_RELATION || !rte->inFromCl)
			return false;
		if (braid_stream_is(rte->relid))
			braid_refuse_stream(s->planner->pstate, rte->relid,
								"a schedule for a query that reads a stream");
		if (is_captured(rte->relid) || braid_definition_find(rte->relid, &def))
			add_read(s->planner, rte->relid, &s->inputs);
		else if (get_rel_relkind(rte->relid) != RELKIND_VIEW)
			plan->is_ageing = true;
		else if (!list_member_oid(plan->watched, rte->relid))
		{
			plan->watched = lappend_oid(plan->watched, rte->relid);
			(void) find_reads((Node *) braid_definition_query(rte->relid), s);
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_reads, s, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, find_reads, s);
}

/* The columns of the rows kept, under the user's names. */
static List *
recomputed_targets(Draft *draft, Query *query)
{
	List *targets = NIL;
	ListCell *lc;
	int n = 0;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
			continue;
		n++;
		targets = lappend(targets, makeTargetEntry((Expr *) braid_draft_column(draft, 1, n), n,
												   tle->resname, false));
	}
	return targets;
}

/*
 * What tells one query from another, for the fingerprint.  Putting it into words
 * would lock its tables.  A rule names its own view too, which does not matter.
 */
static char *
image_of(Query *query)
{
	Query *copy = copyObject(query);
	ListCell *lc;

	foreach (lc, copy->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && !rte->inFromCl)
			rte->relid = InvalidOid;
	}
	return nodeToString(copy);
}

ViewPlan *
braid_plan_recompute(Query *query, int id, ParseState *pstate)
{
	Planner p = {palloc0(sizeof(ViewPlan)), id, pstate};
	ReadSearch s = {&p};
	Draft *draft;
	ViewNode *node;
	ListCell *lc;
	int n = 0;

	(void) find_reads((Node *) query, &s);
	if (s.inputs == NIL)
		braid_refuse(pstate, exprLocation((Node *) query->targetList), "a query without a table");
	p.plan->is_recomputed = true;
	p.plan->is_ageing |= contain_mutable_functions((Node *) query);
	node = braid_draft_node(&p, NODE_QUERY, s.inputs, 0);
	node->select = psprintf("SELECT * FROM %s", braid_definition_query_name(id));
	node->definition = image_of(query);
	node->columns = palloc0(sizeof(NodeColumn) * (list_length(query->targetList) + 1));
	draft = braid_draft_new(&p);
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			braid_draft_set_column(node, node->ncolumns = ++n, (Node *) tle->expr);
	}
	(void) braid_draft_add_node(draft, node);
	for (int i = 1; i <= n; i++)
	{
		TargetEntry *tle = list_nth(query->targetList, i - 1);

		braid_draft_provide(draft, (Node *) tle, (Node *) braid_draft_column(draft, 1, i));
	}
	draft = keep_entries(draft);
	p.plan->top = linitial(draft->nodes);
	p.plan->visible = braid_draft_visible(draft, recomputed_targets(draft, query), NULL);
	finish_graph(p.plan);
	braid_passing_finish(&p);
	take_fingerprints(p.plan, id);
	return p.plan;
}

Bitmapset *
braid_plan_columns(ViewPlan *plan, Oid relid)
{
	Bitmapset *columns = NULL;
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind != NODE_TABLE || node->relid != relid)
			continue;
		columns = bms_add_members(columns, node->policy_columns);
		for (int i = 0; i < node->ncolumns; i++)
			columns = bms_add_member(columns, node->attnums[i]);
	}
	return columns;
}

void
braid_plan_set_weight(ViewPlan *plan, Oid relid, const char *weight)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind == NODE_TABLE && node->relid == relid)
			node->weight = pstrdup(weight);
	}
}
