/*
 * session.c
 *	  A group for each session of a key follows the delta of its input.
 *
 * NOTES
 *	  Two rows of a key whose event times are less than the gap apart are in one
 *	  session, and so are their neighbours.  State table: keys k1, k2, ...; first
 *	  and last, the event times of the session's first and last row; n; and the
 *	  columns of the accumulators.  Rows without an event time are in no session,
 *	  and are a group of their own for each key, with first and last null.
 *
 *	  Sessions of a key are at least the gap apart, but for those that were closed
 *	  when what would have joined them came.  session_chain.c has what a delta does
 *	  to them, session_late.c what is not let through.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "view/accumulator.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/run.h"
#include "view/session.h"
#include "view/text.h"
#include "view/watermark.h"

#define MAX_KEYS 31 /* columns of an index, less one */

/* ---------------------------------------------------------------- pieces of text */

char *
braid_session_value_names(ViewNode *node)
{
	return psprintf("first, last, n%s", braid_accumulator_texts(node, braid_accumulator_name));
}

char *
braid_session_time(ViewNode *node)
{
	return psprintf("i1.c%d", node->nkeys + 1);
}

char *
braid_session_reach(ViewNode *node, const char *last)
{
	return psprintf("braid_internal.session_reach(%s, %s)", last, node->gap);
}

char *
braid_session_told(ViewNode *node, const char *rows, const char *by)
{
	return psprintf("(SELECT i1.*, braid.session(%s, %s) OVER (PARTITION BY %s ORDER BY %s) AS "
					"session FROM %s i1) i1",
					braid_session_time(node), node->gap, braid_text_list(by),
					braid_session_time(node), rows);
}

char *
braid_session_backwards(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->nkeys; i++)
		appendStringInfo(&s, "x.k%d DESC, ", i);
	return psprintf("%sx.first DESC", s.data);
}

/* ---------------------------------------------------------------- settings */

static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

int
braid_session_prefer_sorting(void)
{
	int level = NewGUCNestLevel();

	set_locally("enable_hashagg", "off");
	set_locally("work_mem", psprintf("%d", Max(work_mem, maintenance_work_mem)));
	return level;
}

/* ---------------------------------------------------------------- the state */

char *
braid_session_state_columns(ViewNode *node)
{
	NodeColumn *columns = braid_node_input(node)->columns;
	char *type = strchr(braid_column_definition(&columns[node->nkeys], 'k', 1), ' ');

	return psprintf("%s, first%s, last%s, n int8%s",
					braid_column_definitions(columns, node->nkeys, 'k'), type, type,
					braid_accumulator_texts(node, braid_accumulator_define));
}

char *
braid_session_state_index(ViewNode *node, const char *index)
{
	if (node->nkeys > MAX_KEYS)
		braid_refuse(NULL, -1, "sessions by more than 31 keys");
	return psprintf("UNIQUE INDEX %s ON %s (%s, first) NULLS NOT DISTINCT", index, node->state,
					braid_text_list(braid_text_key_names(node->nkeys)));
}

char *
braid_session_closing_index(ViewNode *node, const char *index)
{
	if (node->time == NULL)
		return NULL;
	return psprintf("INDEX %s ON %s (%s)", index, node->state, braid_session_reach(node, "last"));
}

char *
braid_session_new(ViewNode *node)
{
	return psprintf("(%s)", braid_text_outputs(node, node->state));
}

static NodeColumn
time_column(ViewNode *node)
{
	NodeColumn column = braid_node_input(node)->columns[node->nkeys];

	column.window = NULL;
	return column;
}

int
braid_session_add_start(ViewNode *node)
{
	return braid_aggregate_add_output(node, "first", time_column(node));
}

/* Rows of the end or later are not in the session. */
int
braid_session_add_end(ViewNode *node)
{
	NodeColumn column = time_column(node);
	ColumnWindow *window = palloc(sizeof(ColumnWindow));

	*window = (ColumnWindow){column.type, "$1", true};
	column.window = window;
	return braid_aggregate_add_output(
		node, psprintf("braid_internal.session_end_after(last, %s)", node->gap), column);
}

int
braid_session_add_reach(ViewNode *node)
{
	return braid_aggregate_add_output(node, braid_session_reach(node, "last"), time_column(node));
}

/* ---------------------------------------------------------------- from all rows */

/* A FROM item with the columns of the state: the sessions of rows. */
static char *
sessions_of(ViewNode *node, const char *rows)
{
	char *by = braid_text_columns("i1", node->nkeys);

	return psprintf("(SELECT %s, i1.session AS first, max(%s) AS last, count(*) AS n%s FROM %s "
					"GROUP BY %s, i1.session)",
					braid_text_list(braid_text_key_targets(node->nkeys)), braid_session_time(node),
					braid_accumulator_texts(node, braid_accumulator_state),
					braid_session_told(node, rows, by), braid_text_list(by));
}

void
braid_session_populate(ViewNode *node)
{
	const char *keys = braid_text_list(braid_text_key_names(node->nkeys));
	char *rows = braid_session_late_begin(node);
	char *enters = braid_session_late_enters(node);
	int level;

	level = braid_session_prefer_sorting();
	braid_run(psprintf("INSERT INTO %s (%s, %s) SELECT %s, %s FROM %s s%s", node->state, keys,
					   braid_session_value_names(node), keys, braid_session_value_names(node),
					   sessions_of(node, rows), enters ? psprintf(" WHERE %s", enters) : ""),
			  PG_INT64_MAX);
	AtEOXact_GUC(false, level);
	node->path = 0;
}

/* Open sessions: of the state, and computed from all rows. */
char *
braid_session_difference(ViewNode *node)
{
	char *compared = braid_session_late_compared(node);
	char *kept = psprintf("%s WHERE %s", braid_text_outputs(node, node->state), compared);
	char *computed = psprintf(
		"%s WHERE %s",
		braid_text_outputs(node, sessions_of(node, braid_session_late_rows(node, node->state))),
		compared);

	return psprintf("SELECT true, to_jsonb(d) FROM (%s EXCEPT ALL %s) d "
					"UNION ALL SELECT false, to_jsonb(d) FROM (%s EXCEPT ALL %s) d",
					computed, kept, kept, computed);
}

/* ---------------------------------------------------------------- following */

/* A relation of the rows of all that changed; a condition on sessions, s, is optional. */
static void
remember(ViewNode *node, const char *name, const char **sessions, const char *condition)
{
	char *sql = NULL;

	for (int i = 0; sessions[i]; i++)
	{
		char *one = braid_text_outputs(node, sessions[i]);

		if (condition)
			one = psprintf("%s WHERE %s", one, condition);
		sql = sql ? psprintf("%s UNION ALL %s", sql, one) : one;
	}
	if (sql == NULL)
		sql = psprintf("%s WHERE false", braid_text_outputs(node, node->state));
	braid_run_into(psprintf("%s_%d", name, node->number), sql, 0);
}

/*
 * Makes before_<i> and after_<i>.  If sessions are shown when they are closed, these
 * are the ones that were closed before the cycle: rows that were put aside and are
 * merged change them, and an open one may split off what is closed at once.
 */
static void
remember_changes(ViewNode *node, SessionChange *changes)
{
	const char *touched[3] = {NULL};
	const char *results[3] = {NULL};
	char *condition = node->time ? braid_session_late_shown(node) : NULL;
	int n = 0;

	for (int i = 0; i < 2; i++)
		if (changes[i].result)
		{
			touched[n] = changes[i].touched;
			results[n++] = changes[i].result;
		}
	remember(node, "before", touched, condition);
	remember(node, "after", results, condition);
}

void
braid_session_follow(ViewNode *node)
{
	SessionChange changes[2] = {{.node = node, .suffix = ""}, {.node = node, .suffix = "_closed"}};

	if (node->time)
	{
		braid_session_late_expire(node);
		braid_session_late_split(node, &changes[0], &changes[1]);
	}
	else
	{
		changes[0].rows = braid_node_delta(braid_node_input(node));
		changes[0].nrows = braid_run_delta_rows(braid_node_input(node));
		changes[0].retracts = braid_run_retracts(braid_node_input(node));
	}
	for (int i = 0; i < 2; i++)
		if (changes[i].rows)
			braid_session_change(&changes[i]);
	if (braid_run_delta_is_read(node) || (node->time && braid_session_late_is_shown(node, changes)))
		remember_changes(node, changes);
}
