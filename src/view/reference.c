/*
 * reference.c
 *	  What a view is compared with: its query, with floats added exactly.
 *
 * NOTES
 *	  PostgreSQL's aggregates of floats round after every row.  The variance of
 *	  equal numbers may then be something tiny instead of zero, their correlation
 *	  with others anything from -1 to 1 instead of null, and what is left of
 *	  numbers that cancel each other out is off by any factor.  No tolerance tells
 *	  that from a mistake.  A view has no such errors (exact.c).  So its reference
 *	  has none either: it is the same query, planned and run by PostgreSQL, but
 *	  with aggregates that do not round in between,
 *
 *		stddev(x)	as	float8_stddev_samp(braid_internal.exact_moments(x))
 *
 *	  and so on, also in ordinary views that it reads.  What a view does not keep
 *	  exactly rounds here as it does there: window functions, subqueries that read
 *	  no table, sum(float4).
 *
 *	  Types within the expressions made here need not be right: they are found
 *	  when the text is parsed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/syscache.h"
#include "view/deparse.h"
#include "view/operators.h"
#include "view/reference.h"
#include "view/take.h"

static Oid
internal_function(const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString("braid_internal"), makeString(pstrdup(name))),
						  nargs, types, false);
}

static Oid
final_function(Oid aggregate)
{
	HeapTuple tup = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Oid final = ((Form_pg_aggregate) GETSTRUCT(tup))->aggfinalfn;

	ReleaseSysCache(tup);
	return final;
}

/* The result, from transition values that were not rounded before. */
static Node *
exact_aggregate(Aggref *aggregate)
{
	Oid floats[] = {FLOAT8OID, FLOAT8OID};
	Oid array = FLOAT8ARRAYOID;
	Oid final = final_function(aggregate->aggfnoid);

	if (!OidIsValid(final))
		final = internal_function("sum_of_moments", 1, &array);
	aggregate->aggfnoid =
		internal_function("exact_moments", list_length(aggregate->aggargtypes), floats);
	aggregate->aggtype = FLOAT8ARRAYOID;
	return (Node *) makeFuncExpr(final, FLOAT8OID, list_make1(aggregate), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

static Node *make_exact(Node *node, void *found);

/* An ordinary view becomes a subquery. */
static void
expand_view(RangeTblEntry *rte, bool *found)
{
	ViewDefinition def;

	if (rte->rtekind != RTE_RELATION || rte->relkind != RELKIND_VIEW || !rte->inFromCl ||
		braid_definition_find(rte->relid, &def))
		return;
	rte->subquery = (Query *) make_exact((Node *) braid_definition_query(rte->relid), found);
	rte->rtekind = RTE_SUBQUERY;
	rte->alias = copyObject(rte->eref);
}

static Node *
make_exact(Node *node, void *found)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query *query;
		ListCell *lc;

		if (!braid_take_reads_table(node))
			return node;
		query = query_tree_mutator((Query *) node, make_exact, found, 0);
		foreach (lc, query->rtable)
			expand_view(lfirst(lc), found);
		return (Node *) query;
	}
	node = expression_tree_mutator(node, make_exact, found);
	if (!IsA(node, Aggref) || !braid_aggregate_is_of_floats((Aggref *) node))
		return node;
	*(bool *) found = true;
	return exact_aggregate((Aggref *) node);
}

char *
braid_reference(ViewDefinition *def)
{
	bool found = false;
	Node *query = make_exact((Node *) braid_definition_query(def->query), &found);

	if (!found)
		return braid_definition_query_name(def->id);
	return psprintf("(%s)", braid_deparse_query((Query *) query));
}
