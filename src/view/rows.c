/*
 * rows.c
 *	  Rows as they are, with duplicates: the state of a view that only filters
 *	  and joins.
 *
 * NOTES
 *	  Each row of the result is a row of the table.  A row that went is found by
 *	  a digest of all its columns as text, d: there are types without equality,
 *	  and others where equal is not the same (1.0 and 1.00).  Of rows that are the
 *	  same it does not matter which one is removed.
 *
 *	  Rows of which none ever goes, those of streams, need no digest: d is null.
 *
 *	  A delta can have a row come and go several times, in any order, so weights
 *	  are added up first.
 */
#include "postgres.h"

#include "view/operators.h"
#include "view/passing.h"
#include "view/run.h"
#include "view/text.h"

static char *
digest(ViewNode *node, const char *alias)
{
	if (braid_passing_only_grows(braid_node_input(node)))
		return "NULL::bytea";
	return psprintf("substr(sha256(convert_to(ROW(%s)::text, 'UTF8')), 1, 16)",
					braid_text_list(braid_text_columns(alias, node->ncolumns)));
}

/* "c1, c2, ..., d". */
static char *
state_names(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->ncolumns; i++)
		appendStringInfo(&s, "c%d, ", i);
	appendStringInfoChar(&s, 'd');
	return s.data;
}

/* INSERT of all rows of a FROM item. */
static char *
insert_all(ViewNode *node, const char *rows)
{
	const char *columns = braid_text_columns("x", node->ncolumns);

	return psprintf("INSERT INTO %s (%s) SELECT %s FROM %s x", node->state, state_names(node),
					braid_text_list(psprintf("%s, %s", columns, digest(node, "x"))), rows);
}

/* What went and what came, for readers of the delta. */
static void
leave_delta(ViewNode *node, const char *went, const char *came, int64 nrows)
{
	const char *columns = braid_text_list(braid_text_columns("x", node->ncolumns));

	braid_run_into(psprintf("before_%d", node->number),
				   psprintf("SELECT %s FROM %s", columns, went), nrows);
	braid_run_into(psprintf("after_%d", node->number), psprintf("SELECT %s FROM %s", columns, came),
				   nrows);
}

/* Rows came, and none went. */
static void
follow_inserts(ViewNode *node, int64 nrows, bool is_read)
{
	char *delta = braid_node_delta(braid_node_input(node));

	if (is_read)
	{
		char *came = psprintf("%s x", delta);

		leave_delta(node, psprintf("%s x WHERE false", node->state), came, nrows);
		delta = psprintf("after_%d", node->number);
	}
	braid_run(insert_all(node, delta), nrows);
}

/*
 * How often each row came more than it went: d, n, columns.  Returns how many rows.
 * Digests are made of what is left only: of a delta that joins old rows and new
 * ones, almost all can cancel each other out.
 */
static int64
find_net(ViewNode *node, int64 nrows)
{
	return braid_run_into(braid_node_net_name(node),
						  psprintf("SELECT %s AS d, x.n%s FROM (%s) x", digest(node, "x"),
								   braid_text_columns("x", node->ncolumns),
								   braid_text_net(node, braid_text_all_columns(node),
												  braid_node_delta(braid_node_input(node)))),
						  nrows);
}

static void
follow_net(ViewNode *node, int64 nrows, bool is_read)
{
	char *net = braid_node_net_name(node);
	char *columns = braid_text_columns("x", node->ncolumns);
	int64 nnet = find_net(node, nrows);

	if (is_read)
		leave_delta(node, psprintf("%s x, generate_series(1, -x.n)", net),
					psprintf("%s x, generate_series(1, x.n)", net), nnet);
	if (nnet == 0)
		return;
	braid_run(
		psprintf(
			"DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT s.ctid FROM %s x, LATERAL "
			"(SELECT s.ctid FROM %s s WHERE s.d = x.d LIMIT greatest(-x.n, 0)) s WHERE x.n < 0))",
			node->state, net, node->state),
		nnet);
	braid_run(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s x, generate_series(1, x.n)",
					   node->state, state_names(node),
					   braid_text_list(psprintf("%s, x.d", columns)), net),
			  nnet);
}

void
braid_rows_follow(ViewNode *node)
{
	int64 nrows = braid_run_delta_rows(braid_node_input(node));
	bool is_read = braid_run_delta_is_read(node);

	if (braid_run_retracts(braid_node_input(node)))
		follow_net(node, nrows, is_read);
	else
		follow_inserts(node, nrows, is_read);
}

void
braid_rows_populate(ViewNode *node)
{
	braid_run(psprintf("DELETE FROM %s", node->state), 0);
	braid_run(insert_all(node, braid_node_new(braid_node_input(node))), 0);
}

char *
braid_rows_new(ViewNode *node)
{
	return psprintf("(SELECT %s FROM %s x)",
					braid_text_list(braid_text_columns("x", node->ncolumns)), node->state);
}

char *
braid_rows_state_columns(ViewNode *node)
{
	return psprintf("%s%sd bytea", braid_column_definitions(node->columns, node->ncolumns, 'c'),
					node->ncolumns > 0 ? ", " : "");
}

char *
braid_rows_state_index(ViewNode *node, const char *index)
{
	return psprintf("INDEX %s ON %s (d)%s", index, node->state,
					braid_passing_only_grows(braid_node_input(node)) ? " WHERE d IS NOT NULL" : "");
}
