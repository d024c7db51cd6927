/*
 * node.c
 *	  The three texts of a node: its rows now, before, and what changed.
 *
 * NOTES
 *	  Names are looked up when a text is made, in the catalogs and without a
 *	  lock: the caller has locked what the view reads.
 *
 *	  The texts are made so that the planner can see through them.  It flattens
 *	  a UNION ALL in FROM if the types of the columns are the same in all parts,
 *	  and reaches the index of a part if that is one relation without a
 *	  condition.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "common/name.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "view/operators.h"
#include "view/policy.h"
#include "view/text.h"
#include "view/watermark.h"

char *
braid_node_table_delta_name(Oid relid)
{
	return psprintf("delta_%u", relid);
}

char *
braid_node_view_delta_name(int view_id)
{
	return psprintf("view_%d", view_id);
}

char *
braid_node_delta_name(ViewNode *node)
{
	return psprintf("node_%d", node->number);
}

char *
braid_node_net_name(ViewNode *node)
{
	return psprintf("net_%d", node->number);
}

bool
braid_node_is_stateful(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_GROUP:
		case NODE_SESSION:
		case NODE_PARTITION:
		case NODE_ROWS:
		case NODE_WATERMARK:
		case NODE_DIVERT:
			return true;
		default:
			return false;
	}
}

/* ---------------------------------------------------------------- relations */

static const char *
attribute(ViewNode *node, int i)
{
	return quote_identifier(get_attname(node->relid, node->attnums[i], false));
}

/* Nothing, with the columns of the node: rows of a stream are there in its delta only. */
static char *
stream_new(ViewNode *node)
{
	return psprintf("(SELECT %s WHERE false)", braid_text_list(braid_text_nulls(node, 1)));
}

static char *
relation_new(ViewNode *node)
{
	StringInfoData s;

	if (node->is_stream)
		return stream_new(node);

	initStringInfo(&s);
	appendStringInfoString(&s, "(SELECT");
	for (int i = 0; i < node->ncolumns; i++)
		appendStringInfo(&s, "%s t.%s AS c%d", i > 0 ? "," : "", attribute(node, i), i + 1);
	appendStringInfo(&s, " FROM %s%s t)",
					 get_rel_relkind(node->relid) == RELKIND_RELATION ? "ONLY " : "",
					 braid_relation_name(node->relid));
	return s.data;
}

static char *
table_delta(ViewNode *node)
{
	StringInfoData s;

	Assert(node->weight);
	initStringInfo(&s);
	appendStringInfo(&s,
					 node->are_told && !node->tells_deletes ? "(SELECT sign(d.%s)::int8 AS w"
															: "(SELECT d.%s AS w",
					 quote_identifier(node->weight));
	for (int i = 0; i < node->ncolumns; i++)
		appendStringInfo(&s, ", d.%s AS c%d", attribute(node, i), i + 1);
	appendStringInfo(&s, " FROM %s d", braid_node_table_delta_name(node->relid));

	/* OFFSET 0: conditions of the query, which may tell, are not evaluated before it. */
	if (node->policy)
		appendStringInfo(&s, " WHERE %s OFFSET 0", braid_policy_text(node));
	appendStringInfoChar(&s, ')');
	return s.data;
}

static char *
view_delta(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, "(SELECT d.w");
	for (int i = 0; i < node->ncolumns; i++)
		appendStringInfo(&s, ", d.c%d AS c%d", node->attnums[i], i + 1);
	appendStringInfo(&s, " FROM %s d)", braid_node_view_delta_name(node->view_id));
	return s.data;
}

/* Any query, with its columns renamed. */
static char *
query_new(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->ncolumns; i++)
		appendStringInfo(&s, "%sc%d", i > 1 ? ", " : "", i);
	return psprintf("(SELECT * FROM (%s) q (%s))", node->select, s.data);
}

/* ---------------------------------------------------------------- the texts */

char *
braid_node_new(ViewNode *node)
{
	switch (node->kind)
	{
		case NODE_TABLE:
		case NODE_VIEW:
			return relation_new(node);
		case NODE_BLOCK:
			return braid_block_new(node);
		case NODE_OUTER:
			return braid_outer_new(node);
		case NODE_MARK:
			return braid_mark_new(node);
		case NODE_UNION:
			return braid_union_new(node);
		case NODE_QUERY:
			return query_new(node);
		case NODE_GROUP:
			return braid_group_new(node);
		case NODE_SESSION:
			return braid_session_new(node);
		case NODE_PARTITION:
			return braid_partition_new(node);
		case NODE_ROWS:
			return braid_rows_new(node);
		case NODE_CLOSE:
			return braid_close_new(node);
		case NODE_WATERMARK:
		case NODE_DIVERT:
			break;
	}
	pg_unreachable();
}

static char *
inlined_delta(ViewNode *node)
{
	return node->kind == NODE_BLOCK ? braid_block_delta(node) : braid_union_delta(node);
}

char *
braid_node_delta(ViewNode *node)
{
	Assert(node->changed);
	if (node->is_netted)
		return braid_node_net_name(node);
	switch (node->kind)
	{
		case NODE_TABLE:
			return table_delta(node);
		case NODE_VIEW:
			return view_delta(node);
		case NODE_BLOCK:
		case NODE_UNION:
			return node->inlined ? inlined_delta(node) : braid_node_delta_name(node);
		case NODE_QUERY:
			elog(ERROR, "a query that is run as a whole has no delta");
			pg_unreachable();
		case NODE_GROUP:
		case NODE_SESSION:
		case NODE_PARTITION:
		case NODE_ROWS:
			return braid_state_delta(node);
		case NODE_OUTER:
		case NODE_MARK:
		case NODE_CLOSE:
			return braid_node_delta_name(node);
		case NODE_WATERMARK:
		case NODE_DIVERT:
			break;
	}
	pg_unreachable();
}

/* delta is NULL if nothing changed. */
static char *
old_text(ViewNode *node, const char *delta)
{
	char *columns = braid_text_columns("x", node->ncolumns);
	char *rows = psprintf("SELECT 1::int8 AS w%s FROM %s x", columns, braid_node_new(node));

	if (delta == NULL)
		return psprintf("(%s)", rows);
	return psprintf("(%s UNION ALL SELECT -x.w%s FROM %s x)", rows, columns, delta);
}

char *
braid_node_old(ViewNode *node)
{
	return old_text(node, node->changed ? braid_node_delta(node) : NULL);
}

/* ---------------------------------------------------------------- deltas read more than once */

/* The delta is a query of its own, which is not to be run for each reader. */
static bool
is_query(ViewNode *node)
{
	return node->changed && node->inlined && (node->kind == NODE_BLOCK || node->kind == NODE_UNION);
}

char *
braid_text_shared_delta(ViewNode *input)
{
	return is_query(input) ? braid_node_delta_name(input) : braid_node_delta(input);
}

char *
braid_text_shared_old(ViewNode *input)
{
	return old_text(input, input->changed ? braid_text_shared_delta(input) : NULL);
}

char *
braid_text_with_deltas(ViewNode *node)
{
	List *done = NIL;
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->inputs)
	{
		ViewNode *input = lfirst(lc);

		if (!is_query(input) || list_member_ptr(done, input))
			continue;
		appendStringInfo(&s, "%s%s AS MATERIALIZED (SELECT x.* FROM %s x)",
						 done == NIL ? "WITH " : ", ", braid_node_delta_name(input),
						 inlined_delta(input));
		done = lappend(done, input);
	}
	if (done != NIL)
		appendStringInfoChar(&s, ' ');
	return s.data;
}

const char *
braid_strategy_name(Strategy strategy)
{
	static const char *const names[] = {"algebraic", "combine", "affected keys", "recompute"};

	return names[strategy];
}
