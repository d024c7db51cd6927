/*
 * turn.c
 *	  Rows of one input that got their first match in the other, or lost their
 *	  last one.
 *
 * NOTES
 *	  Let a row of input A have n matches in B now, and had m less before: m is
 *	  the sum of the weights of its matches in the delta of B.  With [x] being 1
 *	  if x holds, else 0, it turned by
 *
 *		f = [n = 0] - [n - m = 0]
 *
 *	  so B's old rows are not needed, and neither are rows whose m is zero.  As
 *	  n and n - m are not negative, f = [n = 0] for m < 0, and f = -[n = m] for
 *	  m > 0.  The steps:
 *
 *		net		the delta of B, columns of the condition only, with equal rows
 *				added up.  Updates of other columns end here.
 *		hit		old rows of A that match some row of net.  Each is found once,
 *				by the first row that it matches, so it needs no identity.
 *				k: what the condition reads of it.
 *		probe	the different k of hit.
 *		moved	those with m other than zero.
 *		lost	those with f = 1.
 *		found	those with f = -1.
 *
 *	  A row can have any number of matches, and n need not be known beyond m + 1.
 *	  Counting by a subquery with a LIMIT stops there, but runs once for each k,
 *	  which is bad for many of them if there is no index; then B is joined.
 *
 *	  Equal means being the same value here, not what the type's operator says.
 */
#include "postgres.h"

#include "view/lookup.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/text.h"
#include "view/turn.h"

/* Up to that many rows in the delta matches are looked up by an index... */
#define MANY_LOOKUPS 20000

/* ... and without one, up to that many times. */
#define FEW_SCANS 4

/* Rows of a turn because of a change in b; their aliases in the condition. */
typedef struct Turn
{
	ViewNode *node;
	ViewNode *a;
	ViewNode *b;
	int b_side;
	const char *a_alias;
	const char *b_alias;
	Bitmapset *a_columns; /* in the condition */
	Bitmapset *b_columns;
} Turn;

static Turn
make_turn(ViewNode *node, int side)
{
	Turn t = {.node = node, .b_side = 3 - side};

	t.a = list_nth(node->inputs, side - 1);
	t.b = list_nth(node->inputs, 2 - side);
	t.a_alias = side == 1 ? "i1" : "i2";
	t.b_alias = side == 1 ? "i2" : "i1";
	t.a_columns = braid_text_columns_in(node->condition, t.a_alias);
	t.b_columns = braid_text_columns_in(node->condition, t.b_alias);
	return t;
}

/* n, which numbers the rows; w; the columns of b in the condition. */
static char *
net(Turn *t)
{
	return psprintf("SELECT row_number() OVER () AS n, x.n AS w%s FROM (%s) x",
					braid_text_some_columns("x", t->b_columns),
					braid_text_net(t->b, t->b_columns, braid_text_shared_delta(t->b)));
}

/* Rows of a, once for each row of net that they match: n, v, columns. */
static char *
matches(Turn *t, const char *v, const char *rows)
{
	return psprintf("SELECT %s.n, %s AS v%s FROM net %s, %s %s WHERE %s", t->b_alias, v,
					braid_text_columns(t->a_alias, t->a->ncolumns), t->b_alias, rows, t->a_alias,
					t->node->condition);
}

/* k, v, columns. */
static char *
hit(Turn *t)
{
	const char *a = t->a_alias;
	const char *b = t->b_alias;
	char *all = matches(t, "1::int8", braid_node_new(t->a));

	if (t->a->changed)
		all = psprintf("%s UNION ALL %s", all,
					   matches(t, psprintf("-%s.w", a), braid_text_shared_delta(t->a)));
	return psprintf("SELECT %s AS k, %s.v%s FROM (%s) %s WHERE NOT EXISTS "
					"(SELECT FROM net %s WHERE %s.n < %s.n AND (%s))",
					braid_text_image(a, t->a_columns), a, braid_text_columns(a, t->a->ncolumns),
					all, a, b, b, a, t->node->condition);
}

/* k, columns of a in the condition. */
static char *
probe(Turn *t)
{
	return psprintf("SELECT DISTINCT ON (x.k) x.k%s FROM hit x",
					braid_text_some_columns("x", t->a_columns));
}

/* k, m, columns of a in the condition. */
static char *
moved(Turn *t)
{
	const char *a = t->a_alias;
	const char *b = t->b_alias;
	char *columns = braid_text_some_columns("x", t->a_columns);

	return psprintf("SELECT x.k, x.m%s FROM (SELECT DISTINCT ON (%s.k) %s.k, sum(%s.w) OVER "
					"(PARTITION BY %s.k)::int8 AS m%s FROM probe %s, net %s WHERE %s) x "
					"WHERE x.m <> 0",
					columns, a, a, b, a, braid_text_some_columns(a, t->a_columns), a, b,
					t->node->condition);
}

/* k of those that have no match any more. */
static char *
lost(Turn *t)
{
	const char *a = t->a_alias;

	return psprintf("SELECT %s.k FROM moved %s WHERE %s.m < 0 AND NOT EXISTS "
					"(SELECT FROM %s %s WHERE %s)",
					a, a, a, braid_node_new(t->b), t->b_alias, t->node->condition);
}

/* k of those that have no match but new ones: by counting for each, up to m + 1. */
static char *
found_by_lookup(Turn *t, const char *condition)
{
	const char *a = t->a_alias;

	return psprintf("SELECT %s.k FROM moved %s WHERE %s%s.m > 0 AND (SELECT count(*) FROM "
					"(SELECT FROM %s %s WHERE %s LIMIT greatest(%s.m, 0) + 1) x) = %s.m",
					a, a, condition, a, braid_node_new(t->b), t->b_alias, t->node->condition, a, a);
}

/* The same, by a join. */
static char *
found_by_join(Turn *t, const char *condition)
{
	const char *a = t->a_alias;

	return psprintf("SELECT %s.k FROM moved %s, %s %s WHERE %s%s.m > 0 AND (%s) "
					"GROUP BY %s.k, %s.m HAVING count(*) = %s.m",
					a, a, braid_node_new(t->b), t->b_alias, condition, a, t->node->condition, a, a,
					a);
}

static char *
found(Turn *t)
{
	if (braid_run_delta_rows(t->b) <= MANY_LOOKUPS && braid_lookup_is_indexed(t->node, t->b_side))
		return found_by_lookup(t, "");
	return psprintf(
		"%s UNION ALL %s",
		found_by_lookup(t, psprintf("(SELECT count(*) <= %d FROM moved) AND ", FEW_SCANS)),
		found_by_join(t, psprintf("(SELECT count(*) > %d FROM moved) AND ", FEW_SCANS)));
}

/*
 * f by looking k up in hashed subqueries, not by a join: the number of hits of a
 * k can be far from what the planner thinks.  OFFSET keeps it in one place.
 */
char *
braid_turn_rows(ViewNode *node, int side)
{
	Turn t = make_turn(node, side);

	Assert(t.b->changed);
	return psprintf("(WITH net AS MATERIALIZED (%s), hit AS MATERIALIZED (%s), "
					"probe AS MATERIALIZED (%s), moved AS MATERIALIZED (%s) "
					"SELECT x.* FROM (SELECT h.v, CASE WHEN h.k IN (%s) THEN 1::int8 "
					"WHEN h.k IN (%s) THEN -1::int8 END AS f%s FROM hit h OFFSET 0) x "
					"WHERE x.f IS NOT NULL)",
					net(&t), hit(&t), probe(&t), moved(&t), lost(&t), found(&t),
					braid_text_columns("h", t.a->ncolumns));
}
