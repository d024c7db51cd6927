/*
 * block.c
 *	  Inner joins, conditions and a projection.
 *
 * NOTES
 *	  With the new rows N and the deltas D of the inputs, the old rows being
 *	  N - D,
 *
 *		N1 x N2 - (N1 - D1) x (N2 - D2)  =  D1 x N2  +  N1 x D2  -  D1 x D2
 *
 *	  and so on: a term for each set of inputs that changed, which takes their
 *	  deltas and the others' new rows, and is added if the set is odd, and
 *	  subtracted if it is even.  Each term is a join of plain relations, that the
 *	  planner can begin with the smallest delta.
 *
 *	  The number of terms doubles with each input.  If many changed the terms are
 *	  one for each: D of that input, the old rows of those before it, the new
 *	  rows of those behind it.  The old rows are a UNION ALL, of whose columns the
 *	  planner knows nothing, so it is likely to read whole tables; that is right,
 *	  but slow.
 *
 *	  Terms may hold pairs of rows that were never there at the same time, and
 *	  that cancel each other out.  If rows only came to the inputs, none can have
 *	  gone from the result; then weights are added up, since a delta that retracts
 *	  nothing is cheaper to follow for whoever reads it.
 *
 *	  A stream has one term, its delta with the others' new rows: see passing.c.
 */
#include "postgres.h"

#include "view/operators.h"
#include "view/passing.h"
#include "view/run.h"
#include "view/text.h"

/* Up to that many changed inputs there is a term for each set of them. */
#define MAX_SETS_OF 5

char *
braid_block_new(ViewNode *node)
{
	char **texts = palloc(sizeof(char *) * list_length(node->inputs));
	ListCell *lc;

	foreach (lc, node->inputs)
		texts[foreach_current_index(lc)] = braid_node_new(lfirst(lc));
	return psprintf("(%s)", braid_text_fill(node, texts, NULL));
}

/* Indexes of the inputs that changed, of those that matter. */
static List *
changed_inputs(ViewNode *node)
{
	List *changed = NIL;
	ListCell *lc;

	foreach (lc, node->inputs)
		if (((ViewNode *) lfirst(lc))->changed && braid_passing_heeds(node, lfirst(lc)))
			changed = lappend_int(changed, foreach_current_index(lc));
	return changed;
}

static void
add_weight(StringInfo weight, int input)
{
	appendStringInfo(weight, "%si%d.w", weight->len > 0 ? " * " : "", input + 1);
}

/* The only term. */
static char *
single_term(ViewNode *node, int changed)
{
	char **texts = palloc(sizeof(char *) * list_length(node->inputs));
	ListCell *lc;

	foreach (lc, node->inputs)
	{
		int i = foreach_current_index(lc);

		texts[i] = i == changed ? braid_node_delta(lfirst(lc)) : braid_node_new(lfirst(lc));
	}
	return braid_text_fill(node, texts, psprintf("i%d.w", changed + 1));
}

/* The term for the inputs in a set, given as bits over the list of changed ones. */
static char *
set_term(ViewNode *node, List *changed, int set)
{
	char **texts = palloc(sizeof(char *) * list_length(node->inputs));
	StringInfoData weight;
	ListCell *lc;
	int bit = 0;
	bool odd = false;

	initStringInfo(&weight);
	foreach (lc, node->inputs)
	{
		int i = foreach_current_index(lc);
		bool in_set = list_member_int(changed, i) && (set & (1 << bit++));

		texts[i] = in_set ? braid_text_shared_delta(lfirst(lc)) : braid_node_new(lfirst(lc));
		if (in_set)
			add_weight(&weight, i);
		odd ^= in_set;
	}
	return braid_text_fill(node, texts, odd ? weight.data : psprintf("-(%s)", weight.data));
}

/* The term for one changed input, with old rows of the changed ones before it. */
static char *
telescope_term(ViewNode *node, int changed)
{
	char **texts = palloc(sizeof(char *) * list_length(node->inputs));
	StringInfoData weight;
	ListCell *lc;

	initStringInfo(&weight);
	foreach (lc, node->inputs)
	{
		int i = foreach_current_index(lc);
		ViewNode *input = lfirst(lc);

		if (!input->changed || i > changed)
		{
			texts[i] = braid_node_new(input);
			continue;
		}
		texts[i] = i == changed ? braid_text_shared_delta(input) : braid_text_shared_old(input);
		add_weight(&weight, i);
	}
	return braid_text_fill(node, texts, weight.data);
}

static List *
terms(ViewNode *node, List *changed)
{
	List *result = NIL;
	ListCell *lc;

	if (list_length(changed) > MAX_SETS_OF)
		foreach (lc, changed)
			result = lappend(result, telescope_term(node, lfirst_int(lc)));
	else
		for (int set = 1; set < 1 << list_length(changed); set++)
			result = lappend(result, set_term(node, changed, set));
	return result;
}

/* Whether nothing has gone from any input. */
static bool
only_grows(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, node->inputs)
		if (braid_run_retracts(lfirst(lc)))
			return false;
	return true;
}

/* Rows of a delta, as often as they came more than they went. */
static char *
added_up(ViewNode *node, const char *delta)
{
	return psprintf("(SELECT 1::int8 AS w%s FROM (%s) x, generate_series(1, x.n))",
					braid_text_columns("x", node->ncolumns),
					braid_text_net(node, braid_text_all_columns(node), delta));
}

char *
braid_block_delta(ViewNode *node)
{
	List *changed = changed_inputs(node);
	StringInfoData s;
	ListCell *lc;
	char *delta;

	Assert(changed != NIL);
	if (list_length(changed) == 1)
		return psprintf("(%s)", single_term(node, linitial_int(changed)));
	initStringInfo(&s);
	foreach (lc, terms(node, changed))
		appendStringInfo(&s, "%s%s", s.len > 0 ? " UNION ALL " : "", (char *) lfirst(lc));
	delta = psprintf("(%s%s)", braid_text_with_deltas(node), s.data);
	return only_grows(node) ? added_up(node, delta) : delta;
}
