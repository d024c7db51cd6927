/*
 * deparse.c
 *	  A query as SQL that means the same when it is parsed again.
 *
 * NOTES
 *	  Columns of a query with a single entry in its range table are written
 *	  without its name.  In ORDER BY, DISTINCT ON and GROUP BY that can be the
 *	  name of an output column too, which is what the parser takes then:
 *
 *		SELECT t.b AS a, t.a AS c FROM t ORDER BY t.a
 *	  is written
 *		SELECT b AS a, a AS c FROM t ORDER BY a
 *
 *	  and sorts by b.  A second entry, which nothing refers to, keeps the names.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/ruleutils.h"
#include "view/deparse.h"

static bool
add_second_entry(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query *query = (Query *) node;

		if (list_length(query->rtable) == 1)
		{
			RangeTblEntry *second = makeNode(RangeTblEntry);

			second->rtekind = RTE_RESULT;
			second->eref = makeAlias("unused", NIL);
			query->rtable = lappend(query->rtable, second);
		}
		return query_tree_walker(query, add_second_entry, context, 0);
	}
	return expression_tree_walker(node, add_second_entry, context);
}

char *
braid_deparse_query(Query *query)
{
	Query *copy = copyObject(query);

	(void) add_second_entry((Node *) copy, NULL);
	return pg_get_querydef(copy, false);
}
