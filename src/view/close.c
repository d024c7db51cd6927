/*
 * close.c
 *	  Groups that are shown when their window is closed, and not before.
 *
 * NOTES
 *	  What is late does not reach a closed group (late.c), so a group is shown
 *	  once, when the watermark passes its end, and stays.  The delta is made of the
 *	  state alone: the groups between the watermark before the cycle and the one
 *	  after it.  What the cycle did to the groups that are open does not matter.
 *
 *	  Nothing goes but what is deleted when it expires, and what rows that were
 *	  diverted change when they are merged: then all that was closed before and is
 *	  changed is exchanged for what it is now.  An open session that loses rows may
 *	  split off one that is closed at once; it comes in the same way.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/text.h"
#include "view/watermark.h"

/* A column of the group that shows its window. */
static int
window_column(ViewNode *group)
{
	char *key = psprintf("k%d", group->time->column);
	ListCell *lc;

	if (group->kind == NODE_SESSION)
		return braid_session_add_reach(group);

	foreach (lc, group->outputs)
		if (strcmp(lfirst(lc), key) == 0)
			return foreach_current_index(lc) + 1;
	elog(ERROR, "a group does not show its window");
}

ViewNode *
braid_close_take(Planner *p, ViewNode *group)
{
	ViewNode *node;
	int column;

	if (group->time == NULL || !group->time->is_policy ||
		!braid_options_emits_on_close(group->time->options))
		return group;
	column = window_column(group);
	node = braid_draft_node(p, NODE_CLOSE, list_make1(group), group->ncolumns);
	memcpy(node->columns, group->columns, sizeof(NodeColumn) * group->ncolumns);
	node->time = palloc(sizeof(EventTime));
	*node->time = *group->time;
	node->time->is_policy = false;
	node->time->group = group;
	node->time->column = column;
	node->condition = psprintf("closed %s", group->time->window.limit);
	return node;
}

char *
braid_close_new(ViewNode *node)
{
	return psprintf("(SELECT %s FROM %s x WHERE %s)",
					braid_text_list(braid_text_columns("x", node->ncolumns)),
					braid_node_new(node->time->group),
					braid_watermark_closes(node->time, "x", 'c', MOMENT_NOW));
}

/* " UNION ALL SELECT ..." of rows that the group has put into a relation, if it has. */
static void
add_rows(StringInfo s, ViewNode *node, const char *name, int weight)
{
	char *relation = psprintf("%s_%d", name, node->time->group->number);

	if (braid_run_count(relation) > 0)
		appendStringInfo(s, " UNION ALL SELECT %d::int8%s FROM %s x WHERE %s", weight,
						 braid_text_columns("x", node->ncolumns), relation,
						 braid_watermark_closes(node->time, "x", 'c', MOMENT_BEFORE));
}

/*
 * "... AND " of groups that were not closed before the cycle.  An index is read from
 * there on, and not from the first group that was ever closed.
 */
static char *
not_before(ViewNode *node)
{
	EventTime *t = node->time;

	if (braid_run_into(
			psprintf("reached_%d", node->number),
			psprintf("SELECT w.before FROM %s w WHERE w.before IS NOT NULL", t->watermark->state),
			1) == 0)
		return "";
	return psprintf("x.c%d %s (SELECT %s FROM %s w) AND ", t->column,
					t->window.inclusive ? ">" : ">=", braid_window_limit(&t->window, "w.before"),
					t->watermark->state);
}

char *
braid_close_delta(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT 1::int8 AS w%s FROM %s x WHERE %s%s",
					 braid_text_columns("x", node->ncolumns), braid_node_new(node->time->group),
					 not_before(node), braid_watermark_closes(node->time, "x", 'c', MOMENT_NOW));
	add_rows(&s, node, "expired", -1);
	add_rows(&s, node, "before", -1);
	add_rows(&s, node, "after", 1);
	return psprintf("(%s)", s.data);
}
