/*
 * partition.c
 *	  Any query that can be computed for each key by itself: window functions,
 *	  DISTINCT ON, the first rows of each key.
 *
 * NOTES
 *	  The keys in the delta are removed from the state and computed anew.  The
 *	  restriction to these keys is put into the query in the place of its input,
 *	  so that the planner begins with the keys.
 */
#include "postgres.h"

#include "view/operators.h"
#include "view/run.h"
#include "view/text.h"

/* All columns of the state, by name. */
static const char *
state_names(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, braid_text_key_names(node->nkeys));
	for (int i = 1; i <= node->ncolumns; i++)
		appendStringInfo(&s, ", c%d", i);
	return braid_text_list(s.data);
}

/* The query over all of the input, or over the keys in redo only. */
static char *
rows_of(ViewNode *node, const char *input)
{
	char *texts[1];

	texts[0] = pstrdup(input);
	return psprintf("SELECT %s FROM (%s) x", state_names(node), braid_text_fill(node, texts, NULL));
}

/* The rows of a FROM item, a, whose keys are in redo, by columns of a letter. */
static char *
touched(ViewNode *node, const char *columns, const char *rows, char letter)
{
	char *redo = psprintf("redo_%d", node->number);

	return psprintf("SELECT %s FROM %s a WHERE %s UNION ALL SELECT %s FROM %s a WHERE %s", columns,
					rows, braid_match_keys(node, "a", letter, redo, false), columns, rows,
					braid_match_keys(node, "a", letter, redo, true));
}

/* The keys in the delta.  Returns how many. */
static int64
find_keys(ViewNode *node, int64 nrows)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->nkeys; i++)
		appendStringInfo(&s, "%sd.c%d AS k%d", i > 1 ? ", " : "", i, i);
	return braid_run_into(
		psprintf("redo_%d", node->number),
		psprintf("SELECT DISTINCT %s FROM %s d", s.data, braid_node_delta(braid_node_input(node))),
		nrows);
}

void
braid_partition_follow(ViewNode *node)
{
	bool is_read = braid_run_delta_is_read(node);
	int64 nrows = find_keys(node, braid_run_delta_rows(braid_node_input(node)));
	char *touched_input =
		psprintf("(%s)", touched(node, "a.*", braid_node_new(braid_node_input(node)), 'c'));
	char *query = rows_of(node, touched_input);

	if (nrows == 0 && !is_read)
		return;
	if (is_read)
	{
		const char *columns = braid_text_list(braid_text_columns("a", node->ncolumns));

		braid_run_into(psprintf("before_%d", node->number),
					   touched(node, columns, node->state, 'k'), nrows);
		braid_run_into(psprintf("after_%d", node->number), query, nrows);
		query = psprintf("SELECT %s FROM after_%d", state_names(node), node->number);
	}
	if (nrows == 0)
		return;
	braid_run(psprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(%s))", node->state,
					   touched(node, "a.ctid", node->state, 'k')),
			  nrows);
	braid_run(psprintf("INSERT INTO %s (%s) %s", node->state, state_names(node), query), nrows);
}

void
braid_partition_populate(ViewNode *node)
{
	braid_run(psprintf("DELETE FROM %s", node->state), 0);
	braid_run(psprintf("INSERT INTO %s (%s) %s", node->state, state_names(node),
					   rows_of(node, braid_node_new(braid_node_input(node)))),
			  0);
}

char *
braid_partition_new(ViewNode *node)
{
	return psprintf("(SELECT %s FROM %s x)",
					braid_text_list(braid_text_columns("x", node->ncolumns)), node->state);
}

char *
braid_partition_state_columns(ViewNode *node)
{
	char *key_columns = braid_column_definitions(braid_node_input(node)->columns, node->nkeys, 'k');

	return psprintf("%s%s%s", key_columns, node->ncolumns > 0 ? ", " : "",
					braid_column_definitions(node->columns, node->ncolumns, 'c'));
}

char *
braid_partition_state_index(ViewNode *node, const char *index)
{
	return psprintf("INDEX %s ON %s (%s)", index, node->state,
					braid_text_list(braid_text_key_names(node->nkeys)));
}
