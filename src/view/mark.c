/*
 * mark.c
 *	  Rows of one input by whether they have a match in the other: semi joins,
 *	  anti joins, and EXISTS as a column.
 *
 * NOTES
 *	  The delta is dL, looked up in the new R, and the old rows of L that turned
 *	  when R changed, see turn.c; f is 1 if a row lost its last match, -1 if it
 *	  got its first one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "view/operators.h"
#include "view/passing.h"
#include "view/text.h"
#include "view/turn.h"

/* Rows of L, a FROM item, with the mode's condition or column. */
static char *
marked_rows(ViewNode *node, const char *weight, const char *rows)
{
	ViewNode *l = linitial(node->inputs);
	char *columns = psprintf("%s%s", weight, braid_text_renamed_columns("i1", l->ncolumns, 1));
	char *exists = psprintf("EXISTS (SELECT FROM %s i2 WHERE %s)",
							braid_node_new(lsecond(node->inputs)), node->condition);

	if (node->mark == MARK_COLUMN)
		return psprintf(
			"SELECT %s FROM %s i1",
			braid_text_list(psprintf("%s, %s AS c%d", columns, exists, l->ncolumns + 1)), rows);
	return psprintf("SELECT %s FROM %s i1 WHERE %s%s", braid_text_list(columns), rows,
					node->mark == MARK_ANTI ? "NOT " : "", exists);
}

char *
braid_mark_new(ViewNode *node)
{
	return psprintf("(%s)", marked_rows(node, "", braid_node_new(linitial(node->inputs))));
}

static char *
turned_rows(ViewNode *node)
{
	ViewNode *l = linitial(node->inputs);
	char *columns = braid_text_renamed_columns("h", l->ncolumns, 1);
	char *turned = braid_turn_rows(node, 1);

	switch (node->mark)
	{
		case MARK_SEMI:
			return psprintf("SELECT -(h.v * h.f) AS w%s FROM %s h", columns, turned);
		case MARK_ANTI:
			return psprintf("SELECT h.v * h.f AS w%s FROM %s h", columns, turned);
		case MARK_COLUMN:
			/* Out with the old mark, in with the new one. */
			return psprintf("SELECT h.v * s.s AS w%s, (h.f * s.s < 0) AS c%d FROM %s h, "
							"(VALUES (1::int8), (-1::int8)) s (s)",
							columns, l->ncolumns + 1, turned);
	}
	pg_unreachable();
}

char *
braid_mark_delta(ViewNode *node)
{
	ViewNode *l = linitial(node->inputs);
	ViewNode *r = lsecond(node->inputs);
	StringInfoData s;

	initStringInfo(&s);
	if (l->changed)
		appendStringInfoString(&s, marked_rows(node, ", i1.w", braid_text_shared_delta(l)));
	if (r->changed && braid_passing_heeds(node, r))
		appendStringInfo(&s, "%s%s", s.len > 0 ? " UNION ALL " : "", turned_rows(node));
	return psprintf("(%s%s)", braid_text_with_deltas(node), s.data);
}
