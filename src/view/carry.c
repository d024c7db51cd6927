/*
 * carry.c
 *	  Closed groups go over to the states of a new plan.
 *
 * NOTES
 *	  A view whose closed groups stay as they are may get another query.  Then its
 *	  closed groups cannot be computed by the new one: their rows may be gone, or
 *	  have been late.  So they are copied, before the new states are populated with
 *	  the groups that are open.
 *
 *	  A value kept by the old plan is that of the new plan which is computed in the
 *	  same way from the same columns of tables.  Columns of nodes have other
 *	  numbers in another plan, so expressions are compared by images, in which each
 *	  column stands for what it is.  A value that the old plan did not keep is null
 *	  in the closed groups, and stays null.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "view/accumulator.h"
#include "view/carry.h"
#include "view/definition.h"
#include "view/operators.h"
#include "view/text.h"
#include "view/watermark.h"

/* ---------------------------------------------------------------- images */

/* Constants in place of columns; NULL if one has no image. */
static Node *
put_images(Node *node, Draft *draft)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;
		ViewNode *input = list_nth(draft->nodes, var->varno - 1);
		uint64 image = 0;

		if (input && var->varattno > 0)
			image = input->columns[var->varattno - 1].image;
		else if (input == NULL)
			image = hash_combine64(var->varno, var->varattno);
		return (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
								  Int64GetDatum((int64) image), false, true);
	}
	return expression_tree_mutator(node, put_images, draft);
}

uint64
braid_carry_image(Draft *draft, Node *expression)
{
	Var *var = (Var *) expression;

	if (IsA(expression, Var) && var->varattno > 0 && list_nth(draft->nodes, var->varno - 1))
		return ((ViewNode *) list_nth(draft->nodes, var->varno - 1))
			->columns[var->varattno - 1]
			.image;
	if (checkExprHasSubLink(expression))
		return 0;
	return braid_text_hash(deparse_expression(put_images(expression, draft), NIL, false, false));
}

/* A text over i1, with images for its columns. */
static char *
text_image(ViewNode *input, const char *text)
{
	StringInfoData s;
	const char *found;

	initStringInfo(&s);
	while (text && (found = strstr(text, "i1.c")) != NULL)
	{
		char *end;
		long column = strtol(found + strlen("i1.c"), &end, 10);

		appendBinaryStringInfo(&s, text, (int) (found - text));
		appendStringInfo(&s, UINT64_FORMAT,
						 column > 0 && column <= input->ncolumns ? input->columns[column - 1].image
																 : 0);
		text = end;
	}
	appendStringInfoString(&s, text ? text : "-");
	return s.data;
}

static char *
accumulator_image(ViewNode *group, Accumulator *a)
{
	ViewNode *input = linitial(group->inputs);

	return psprintf("%d %d %d %s %s %s", a->kind, a->has_scale, a->is_squares,
					text_image(input, a->argument), text_image(input, a->filter),
					text_image(input, a->aggregate));
}

static Accumulator *
find_accumulator(ViewNode *from, ViewNode *to, Accumulator *wanted)
{
	char *image = accumulator_image(to, wanted);
	ListCell *lc;

	foreach (lc, from->accumulators)
		if (strcmp(accumulator_image(from, lfirst(lc)), image) == 0)
			return lfirst(lc);
	return NULL;
}

/* ---------------------------------------------------------------- groups */

/* Also the event times and the gap of sessions. */
static bool
has_same_keys(ViewNode *a, ViewNode *b)
{
	ViewNode *x = linitial(a->inputs);
	ViewNode *y = linitial(b->inputs);
	int ncolumns = a->nkeys + (a->kind == NODE_SESSION ? 1 : 0);

	if (a->kind != b->kind || a->nkeys != b->nkeys || (a->gap && strcmp(a->gap, b->gap) != 0))
		return false;
	for (int i = 0; i < ncolumns; i++)
		if (x->columns[i].image != y->columns[i].image || x->columns[i].type != y->columns[i].type)
			return false;
	return true;
}

static bool
keeps_closed(ViewNode *node)
{
	return (node->kind == NODE_GROUP || node->kind == NODE_SESSION) && node->time &&
		   node->time->is_policy;
}

static ViewNode *
find_group(ViewPlan *plan, ViewNode *like)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (keeps_closed(lfirst(lc)) && has_same_keys(lfirst(lc), like))
			return lfirst(lc);
	return NULL;
}

static void
execute(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
}

/*
 * Closed groups.  Sessions that are open too: they are computed again, but tell
 * which late rows are theirs.
 */
static char *
copied_groups(ViewNode *from)
{
	if (from->kind == NODE_SESSION)
		return "true";
	return braid_late_closed(from, MOMENT_NOW);
}

static bool
has_closed(ViewNode *group)
{
	execute(psprintf("SELECT FROM %s s WHERE %s LIMIT 1", group->state,
					 braid_late_closed(group, MOMENT_NOW)));
	return SPI_processed > 0;
}

/* Returns whether all values that closed groups show by the new plan were there. */
static bool
copy_groups(ViewNode *from, ViewNode *to)
{
	StringInfoData into;
	StringInfoData select;
	bool complete = true;
	ListCell *lc;

	initStringInfo(&into);
	initStringInfo(&select);
	for (int i = 1; i <= to->nkeys; i++)
	{
		appendStringInfo(&into, "k%d, ", i);
		appendStringInfo(&select, "s.k%d, ", i);
	}
	appendStringInfoString(&into, to->kind == NODE_SESSION ? "first, last, n" : "n");
	appendStringInfoString(&select, to->kind == NODE_SESSION ? "s.first, s.last, s.n" : "s.n");
	foreach (lc, to->accumulators)
	{
		Accumulator *a = lfirst(lc);
		Accumulator *old = find_accumulator(from, to, a);
		StringInfoData names;

		complete &= old != NULL;
		if (old == NULL)
			continue;
		braid_accumulator_name(&into, a);
		initStringInfo(&names);
		braid_accumulator_name(&names, old);
		appendStringInfoString(&select, names.data);
	}
	execute(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s s WHERE %s", to->state, into.data,
					 select.data, from->state, copied_groups(from)));
	return complete || !has_closed(from);
}

/* ---------------------------------------------------------------- rows put aside */

static int
find_column(ViewNode *node, NodeColumn *wanted)
{
	for (int i = 1; i <= node->ncolumns; i++)
		if (node->columns[i - 1].image == wanted->image &&
			node->columns[i - 1].type == wanted->type)
			return i;
	return 0;
}

static void
copy_diverted(ViewNode *from, ViewNode *to)
{
	StringInfoData into;
	StringInfoData select;

	initStringInfo(&into);
	initStringInfo(&select);
	appendStringInfoString(&into, "w, at, watermark, reason, merge");
	appendStringInfoString(&select, "w, at, watermark, reason, false");
	for (int i = 1; i <= to->ncolumns; i++)
	{
		int column = find_column(from, &to->columns[i - 1]);

		if (column == 0)
			continue;
		appendStringInfo(&into, ", c%d", i);
		appendStringInfo(&select, ", c%d", column);
	}
	execute(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", to->state, into.data, select.data,
					 from->state));
}

/* ---------------------------------------------------------------- the watermark */

/* Of other sources, only how far time has come. */
static void
copy_watermark(ViewNode *from, ViewNode *to)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; from->state_hash == to->state_hash && i <= list_length(to->inputs); i++)
		appendStringInfo(&s, ", m%d, s%d", i, i);
	execute(psprintf("INSERT INTO %s (k, before, value, late, dropped, diverted, merged%s) "
					 "SELECT true, value, value, late, dropped, diverted, 0%s FROM %s",
					 to->state, s.data, s.data, from->state));
}

static char *
watermark_of(ViewNode *node, MemoryContext context)
{
	MemoryContext old;
	char *value;

	execute(psprintf("SELECT value::text FROM %s", node->state));
	value =
		SPI_processed > 0 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
	old = MemoryContextSwitchTo(context);
	value = value ? pstrdup(value) : NULL;
	MemoryContextSwitchTo(old);
	return value;
}

char *
braid_carry_over(ViewPlan *from, ViewPlan *to)
{
	MemoryContext context = CurrentMemoryContext;
	bool complete = true;
	ListCell *lc;

	if (from->watermark == NULL || to->watermark == NULL ||
		from->watermark->columns[0].type != to->watermark->columns[0].type)
		return NULL;

	/* The worker must not go on between the statements. */
	LockRelationOid(braid_definition_part(from->watermark->state), ShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	copy_watermark(from->watermark, to->watermark);
	foreach (lc, braid_options_freezes(to->watermark->time->options) ? to->nodes : NIL)
	{
		ViewNode *node = lfirst(lc);
		ViewNode *old = keeps_closed(node) ? find_group(from, node) : NULL;

		if (old == NULL)
			continue;
		complete &= copy_groups(old, node);
		if (old->time->diverted && node->time->diverted)
			copy_diverted(old->time->diverted, node->time->diverted);
	}
	PopActiveSnapshot();
	MemoryContextSwitchTo(context);
	return complete ? NULL : watermark_of(to->watermark, context);
}
