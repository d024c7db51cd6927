/*
 * outer.c
 *	  LEFT and FULL joins.
 *
 * NOTES
 *	  L LEFT JOIN R is the inner join, and the rows of L that have no match,
 *	  padded with nulls.  Of these, dL brings those without a match in the new R;
 *	  and old rows of L turn when R changes, see turn.c.  The inner join changes
 *	  by dL x R + L x dR - dL x dR, all rows but d being the new ones.  So:
 *
 *		dL LEFT JOIN R  +  L x dR  -  dL x dR  +  rows of L that turned
 *
 *	  FULL has R's rows without a match too: those of dR come with L x dR if that
 *	  is an outer join, and rows of R turn when L changes.
 *
 *	  If L passes by, and keeps no rows, only dL LEFT JOIN R is left: see passing.c.
 *
 *	  A condition that is null is one that does not hold, here as there.
 */
#include "postgres.h"

#include "view/operators.h"
#include "view/passing.h"
#include "view/text.h"
#include "view/turn.h"

static ViewNode *
left(ViewNode *node)
{
	return linitial(node->inputs);
}

static ViewNode *
right(ViewNode *node)
{
	return lsecond(node->inputs);
}

/* All columns, of both. */
static char *
join_columns(ViewNode *node)
{
	return psprintf(
		"%s%s", braid_text_renamed_columns("i1", left(node)->ncolumns, 1),
		braid_text_renamed_columns("i2", right(node)->ncolumns, left(node)->ncolumns + 1));
}

char *
braid_outer_new(ViewNode *node)
{
	return psprintf("(SELECT %s FROM %s i1 %s JOIN %s i2 ON (%s))",
					braid_text_list(join_columns(node)), braid_node_new(left(node)),
					node->is_full ? "FULL" : "LEFT", braid_node_new(right(node)), node->condition);
}

static void
add_term(StringInfo s, const char *weight, const char *columns, const char *from)
{
	appendStringInfo(s, "%sSELECT %s AS w%s FROM %s", s->len > 0 ? " UNION ALL " : "", weight,
					 columns, from);
}

static void
add_join(StringInfo s, ViewNode *node, const char *weight, const char *l, const char *join,
		 const char *r)
{
	add_term(s, weight, join_columns(node),
			 psprintf("%s i1 %s %s i2 ON (%s)", l, join, r, node->condition));
}

/* Rows of i1 or i2 that turned, with nulls for the other. */
static void
add_turned(StringInfo s, ViewNode *node, int side)
{
	int nleft = left(node)->ncolumns;
	char *columns;

	if (side == 1)
		columns = psprintf("%s%s", braid_text_renamed_columns("h", nleft, 1),
						   braid_text_nulls(right(node), nleft + 1));
	else
		columns = psprintf("%s%s", braid_text_nulls(left(node), 1),
						   braid_text_renamed_columns("h", right(node)->ncolumns, nleft + 1));
	add_term(s, "h.v * h.f", columns, psprintf("%s h", braid_turn_rows(node, side)));
}

char *
braid_outer_delta(ViewNode *node)
{
	ViewNode *l = left(node);
	ViewNode *r = right(node);
	bool r_changed = r->changed && braid_passing_heeds(node, r);
	StringInfoData s;

	initStringInfo(&s);
	if (l->changed)
		add_join(&s, node, "i1.w", braid_text_shared_delta(l), "LEFT JOIN", braid_node_new(r));
	if (r_changed)
		add_join(&s, node, "i2.w", braid_node_new(l), node->is_full ? "RIGHT JOIN" : "JOIN",
				 braid_text_shared_delta(r));
	if (l->changed && r_changed)
		add_join(&s, node, "-(i1.w * i2.w)", braid_text_shared_delta(l), "JOIN",
				 braid_text_shared_delta(r));
	if (r_changed)
		add_turned(&s, node, 1);
	if (l->changed && node->is_full)
		add_turned(&s, node, 2);
	return psprintf("(%s%s)", braid_text_with_deltas(node), s.data);
}
