/*
 * query.c
 *	  A view's query, taken apart into what can be kept up to date.
 *
 * NOTES
 *	  The result is made from the query tree alone, each time it is needed: by
 *	  CREATE, and by the worker from the rule of the stored query.  Nothing of
 *	  it is stored, so renamed columns and tables need no care.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "view/query.h"
#include "view/refusal.h"

#define MAX_KEYS 32 /* columns of an index */

/* ---------------------------------------------------------------- the table */

/* The one table of the query becomes range table entry 1. */
static Oid
find_table(Query *query, ParseState *pstate)
{
	RangeTblRef *ref;
	RangeTblEntry *rte;

	if (list_length(query->jointree->fromlist) == 0)
		braid_refuse(pstate, braid_refusal_location(pstate, 0), "a query without a table");
	if (list_length(query->jointree->fromlist) > 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		braid_refuse(pstate, braid_refusal_location(pstate, 1), "a join");
	ref = linitial_node(RangeTblRef, query->jointree->fromlist);
	rte = rt_fetch(ref->rtindex, query->rtable);
	braid_refuse_table(pstate, rte);
	if (ref->rtindex != 1)
		ChangeVarNodes((Node *) query, ref->rtindex, 1, 0);
	return rte->relid;
}

static bool
collect_columns(Node *node, ViewQuery *vq)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		vq->attnums = bms_add_member(vq->attnums, ((Var *) node)->varattno);
	return expression_tree_walker(node, collect_columns, vq);
}

/* ---------------------------------------------------------------- keys */

static void
take_keys(ViewQuery *vq, ParseState *pstate)
{
	ListCell *lc;

	foreach (lc, vq->query->groupClause)
	{
		TargetEntry *tle = get_sortgroupclause_tle(lfirst(lc), vq->query->targetList);
		Oid type = exprType((Node *) tle->expr);
		TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);

		if (!OidIsValid(entry->lt_opr) || !OidIsValid(entry->eq_opr))
			braid_refuse(pstate, exprLocation((Node *) tle->expr),
						 psprintf("a key of type %s, which has no order,", format_type_be(type)));
		vq->keys = lappend(vq->keys, tle->expr);
		if (list_length(vq->keys) > MAX_KEYS)
			braid_refuse(pstate, exprLocation((Node *) tle->expr), "more than 32 keys");
	}
}

/* ---------------------------------------------------------------- aggregates */

static Accumulator *
accumulate(ViewQuery *vq, AccumulatorKind kind, Expr *argument, Aggref *aggregate)
{
	Accumulator *a;
	ListCell *lc;

	foreach (lc, vq->accumulators)
	{
		a = lfirst(lc);
		if (a->kind == kind && equal(a->argument, argument) &&
			equal(a->filter, aggregate->aggfilter) &&
			(kind != ACCUMULATE_OPAQUE || equal(a->aggregate, aggregate)))
			return a;
	}
	a = palloc0(sizeof(Accumulator));
	a->kind = kind;
	a->argument = argument;
	a->filter = aggregate->aggfilter;
	a->aggregate = aggregate;
	a->number = list_length(vq->accumulators) + 1;
	vq->accumulators = lappend(vq->accumulators, a);
	return a;
}

/* Sums that can be taken back: of exact numbers. */
static bool
is_exact(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID;
}

static Accumulator *
accumulate_sum(ViewQuery *vq, Expr *argument, Aggref *aggregate)
{
	Oid type = exprType((Node *) argument);
	Accumulator *a;

	if (!is_exact(type))
	{
		vq->strategy = STRATEGY_AFFECTED_KEYS;
		return accumulate(vq, ACCUMULATE_OPAQUE, argument, aggregate);
	}
	a = accumulate(vq, ACCUMULATE_SUM, argument, aggregate);
	a->count = accumulate(vq, ACCUMULATE_COUNT, argument, aggregate);
	a->is_numeric = type == NUMERICOID;
	a->has_scale = exprTypmod((Node *) argument) >= (int32) VARHDRSZ;
	return a;
}

/* Name of an aggregate of PostgreSQL itself, or NULL. */
static char *
builtin_name(Oid function)
{
	HeapTuple tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tup);
	char *name = NULL;

	if (proc->pronamespace == PG_CATALOG_NAMESPACE)
		name = pstrdup(NameStr(proc->proname));
	ReleaseSysCache(tup);
	return name;
}

static void
take_aggregate(ViewQuery *vq, Aggref *agg, ParseState *pstate)
{
	char *name = builtin_name(agg->aggfnoid);
	Expr *argument = agg->args ? ((TargetEntry *) linitial(agg->args))->expr : NULL;
	ViewAggregate *r = palloc0(sizeof(ViewAggregate));
	bool combine = false;

	braid_refuse_aggregate(pstate, agg, name);
	r->aggregate = agg;
	if (strcmp(name, "count") == 0)
	{
		if (argument || agg->aggfilter)
			r->accumulator = accumulate(vq, ACCUMULATE_COUNT, argument, agg);
	}
	else if (strcmp(name, "min") == 0 || strcmp(name, "max") == 0)
	{
		r->accumulator =
			accumulate(vq, name[1] == 'i' ? ACCUMULATE_MIN : ACCUMULATE_MAX, argument, agg);
		combine = true;
	}
	else
	{
		r->is_average = strcmp(name, "avg") == 0;
		r->accumulator = accumulate_sum(vq, argument, agg);
		combine = r->accumulator->is_numeric;
	}
	if (combine)
		vq->strategy = Max(vq->strategy, STRATEGY_COMBINE);
	vq->aggregates = lappend(vq->aggregates, r);
}

typedef struct TakeContext
{
	ViewQuery *vq;
	ParseState *pstate;
} TakeContext;

/* Finds aggregates, and columns that are neither in one nor in a key. */
static bool
take_aggregates(Node *node, TakeContext *c)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	foreach (lc, c->vq->keys)
		if (equal(node, lfirst(lc)))
			return false;
	if (IsA(node, Aggref))
	{
		foreach (lc, c->vq->aggregates)
			if (equal(node, ((ViewAggregate *) lfirst(lc))->aggregate))
				return false;
		take_aggregate(c->vq, (Aggref *) node, c->pstate);
		return false;
	}
	if (IsA(node, Var))
		braid_refuse(c->pstate, exprLocation(node),
					 "a column that is neither aggregated nor in GROUP BY");
	return expression_tree_walker(node, take_aggregates, c);
}

ViewQuery *
braid_query_take_apart(Query *query, ParseState *pstate)
{
	ViewQuery *vq = palloc0(sizeof(ViewQuery));
	TakeContext c = {vq, pstate};
	ListCell *lc;

	vq->query = query;
	braid_compat_flatten_group_exprs(query);
	braid_refuse_constructs(pstate, query);
	vq->relid = find_table(query, pstate);
	take_keys(vq, pstate);
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			take_aggregates((Node *) tle->expr, &c);
	}
	take_aggregates(query->havingQual, &c);
	if (vq->keys == NIL && !query->hasAggs)
		braid_refuse(pstate, exprLocation((Node *) query->targetList),
					 "a query without GROUP BY and aggregates");
	braid_refuse_columns(pstate, query, vq->relid);
	collect_columns((Node *) query->targetList, vq);
	collect_columns(query->havingQual, vq);
	collect_columns(query->jointree->quals, vq);
	return vq;
}
