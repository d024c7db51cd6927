/*
 * span.c
 *	  The rows of a node's input whose event times are in given spans.
 *
 * NOTES
 *	  Spans of a key do not overlap.  A join with them is a join by keys, whatever
 *	  the planner makes of the times: if an index has the time it reads what it
 *	  needs; if not, it compares all rows of a key with all spans of the key, which
 *	  is bad for many.  Then what is joined is the hull of all spans of a key, of
 *	  which there is one, and the rows in it are told by going through them in the
 *	  order of time, with the spans as rows among them: a row is in the span that
 *	  began last before it, unless that has ended.
 *
 *	  Rows without an event time are in a span without one; a key has one at most.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/span.h"
#include "view/text.h"

#define FEW_SPANS 8 /* of a key: all of its rows are compared with each */

static bool
is_timeless(Spans *s, int64 pattern)
{
	return (pattern & INT64CONST(1) << s->node->nkeys) != 0;
}

/* Rows that match some of the spans: a list of columns, of those that are in a relation. */
static char *
matching_rows(Spans *s, const char *columns, const char *relation, int64 pattern)
{
	ViewNode *node = s->node;
	char *time = psprintf("i1.c%d", node->nkeys + 1);
	char *within = psprintf("%s >= r.first AND %s <= r.last", time, time);

	if (is_timeless(s, pattern))
		within = psprintf("%s IS NULL AND r.first IS NULL", time);
	return psprintf("SELECT %s FROM %s i1, %s r WHERE %s AND %s", columns,
					braid_node_new(braid_node_input(node)), relation,
					braid_match_pattern(node, "i1", 'c', "r", pattern), within);
}

static char *
unite(char *all, char *one)
{
	return all ? psprintf("%s UNION ALL %s", all, one) : one;
}

/* ---------------------------------------------------------------- many spans of a key */

static bool
are_many(Spans *s)
{
	int n;

	if (s->nspans <= FEW_SPANS)
		return false;
	return braid_run_values(
			   psprintf("SELECT coalesce(max(x.n), 0) FROM (SELECT count(*) AS n FROM %s r "
						"GROUP BY %s) x",
						s->relation, braid_text_list(braid_text_keys("r", s->node->nkeys))),
			   s->nspans, &n)[0] > FEW_SPANS;
}

static char *
make_hulls(Spans *s)
{
	char *name = psprintf("hulls_of_%s", s->relation);
	char *keys = braid_text_keys("r", s->node->nkeys);

	braid_run_into(name,
				   psprintf("SELECT %s, min(r.first) AS first, max(r.last) AS last FROM %s r "
							"WHERE r.first IS NOT NULL GROUP BY %s",
							braid_text_list(keys), s->relation, braid_text_list(keys)),
				   s->nspans);
	return name;
}

/* ", z.c4, z.c5": what the input has beside keys and time */
static char *
other_columns(ViewNode *node)
{
	Bitmapset *columns = braid_text_all_columns(braid_node_input(node));

	for (int i = 1; i <= node->nkeys + 1; i++)
		columns = bms_del_member(columns, i);
	return braid_text_some_columns("z", columns);
}

/* Of rows, which is a SELECT, those that are in a span, with its number. */
static char *
rows_told_apart(Spans *s, const char *rows)
{
	ViewNode *node = s->node;
	ViewNode *input = braid_node_input(node);
	char *columns = braid_text_columns("x", input->ncolumns);
	int time = node->nkeys + 1;

	return psprintf(
		"SELECT x.chain%s FROM (SELECT max(x.opens) OVER w AS chain, max(x.until) OVER w AS until, "
		"x.opens%s FROM (SELECT r.chain AS opens, r.last AS until%s, r.first AS c%d%s "
		"FROM %s r, (SELECT %s) z WHERE r.first IS NOT NULL UNION ALL %s) x (opens, until%s) "
		"WINDOW w AS (PARTITION BY %s ORDER BY x.c%d, x.opens ROWS UNBOUNDED PRECEDING)) x "
		"WHERE x.opens IS NULL AND x.c%d <= x.until",
		columns, columns, braid_text_keys("r", node->nkeys), time, other_columns(node), s->relation,
		braid_text_list(braid_text_nulls(input, 1)), rows, braid_text_names(input->ncolumns),
		braid_text_list(braid_text_columns("x", node->nkeys)), time, time);
}

/* ---------------------------------------------------------------- all rows */

char *
braid_span_rows(Spans *s)
{
	char *hulls = are_many(s) ? make_hulls(s) : NULL;
	char *in_hulls = NULL;
	char *all = NULL;

	for (int i = 0; i < s->npatterns; i++)
	{
		int64 pattern = s->patterns[i];

		if (hulls && !is_timeless(s, pattern))
			in_hulls = unite(in_hulls, matching_rows(s, "NULL, NULL, i1.*", hulls, pattern));
		else
			all = unite(all, matching_rows(s, "r.chain, i1.*", s->relation, pattern));
	}
	if (in_hulls)
		all = unite(all, rows_told_apart(s, in_hulls));
	return psprintf("(%s)", all);
}
