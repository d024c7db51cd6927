/*
 * late.c
 *	  What becomes of rows whose group is closed.
 *
 * NOTES
 *	  A group is closed when its window is, by the watermark that held before the
 *	  cycle.  So whether a row is late depends on its keys alone: all rows of a
 *	  group in a delta are late or none is, and late groups can be told apart when
 *	  the delta has been grouped, which is cheaper than to look at each row.
 *
 *	  With late = drop or divert a closed group is frozen.  The watermark never
 *	  goes back, so an open group has never missed a row: it is the query, also
 *	  when it is recomputed.  A closed one is not, and is never computed again:
 *	  not when the view is made anew, and not by any retraction.
 *
 *	  base_deletes = keep ignores deletions of rows whose group is closed, and no
 *	  others: capture gives them a higher weight, which joins multiply (capture's
 *	  delta.h).  An update of such a row is merged, or late, as a whole.  Since
 *	  rows of the table may have gone, a closed group cannot be recomputed; where a
 *	  retraction would need that, the value stays.
 *
 *	  retain: groups are deleted that expired before the cycle.  Nothing reaches
 *	  these any more, whatever the policy, so what they show is retracted without
 *	  asking what else the cycle did.
 *
 *	  DIVERT is a node that puts rows into its state as they come to the group.
 *	  When they are merged they join the delta of the group, and are not asked
 *	  again whether they are late.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/run.h"
#include "view/session.h"
#include "view/text.h"
#include "view/watermark.h"

#define EXPIRE_INTERVAL_MS 1000

/* ---------------------------------------------------------------- taking a query apart */

/* Whether a group below has the policy: then what comes here is right as it is. */
static bool
has_policy_below(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, node->inputs)
	{
		ViewNode *input = lfirst(lc);

		if ((input->time && input->time->is_policy) || has_policy_below(input))
			return true;
	}
	return false;
}

static void
refuse_type(Planner *p, Oid type)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the watermark is of type %s, but the windows of the view are of type %s",
					format_type_be(p->plan->watermark->columns[0].type), format_type_be(type)),
			 errhint("Cast one of them.")));
}

/* The first key that is a window of the watermark's type; 0 if there is none. */
static int
find_window(Planner *p, ViewNode *group)
{
	Oid type = p->plan->watermark->columns[0].type;
	const ColumnWindow *other = NULL;

	for (int i = 1; i <= group->nkeys; i++)
	{
		const ColumnWindow *window = braid_node_input(group)->columns[i - 1].window;

		if (window && window->type == type)
			return i;
		if (window)
			other = window;
	}
	if (other)
		refuse_type(p, other->type);
	return 0;
}

/* The end of a window rather than its start, which is computed for each comparison. */
static int
prefer_end(ViewNode *group, int column)
{
	const ColumnWindow *first = braid_node_input(group)->columns[column - 1].window;

	for (int i = 1; i <= group->nkeys && first->inclusive; i++)
	{
		const ColumnWindow *window = braid_node_input(group)->columns[i - 1].window;

		if (window && window->inclusive && window->type == first->type &&
			strcmp(window->limit, "$1") == 0)
			return i;
	}
	return column;
}

static EventTime *
new_time(Planner *p)
{
	EventTime *t = palloc0(sizeof(EventTime));

	t->options = p->time->options;
	t->watermark = p->plan->watermark;
	return t;
}

/* NULL if the group is by no window. */
static EventTime *
time_of_group(Planner *p, ViewNode *group)
{
	int column = find_window(p, group);
	EventTime *t;

	if (column == 0)
		return NULL;
	t = new_time(p);
	t->column = prefer_end(group, column);
	t->window = *braid_node_input(group)->columns[t->column - 1].window;
	return t;
}

/* A session is closed when the latest event time that would belong to it has passed. */
static EventTime *
time_of_session(Planner *p, ViewNode *session)
{
	EventTime *t = new_time(p);
	Oid type = braid_node_input(session)->columns[session->nkeys].type;

	if (type != t->watermark->columns[0].type)
		refuse_type(p, type);
	t->window = (ColumnWindow){type, "$1", false};
	return t;
}

/* Deletions reach the group with their weight through nothing but joins. */
static void
refuse_keeping(Planner *p, ViewNode *node)
{
	ListCell *lc;

	if (node->kind != NODE_TABLE && node->kind != NODE_BLOCK)
		braid_refuse(p->pstate, -1,
					 "base_deletes = keep over anything but tables and their inner joins");
	foreach (lc, node->inputs)
		refuse_keeping(p, lfirst(lc));
}

static void
tell_deletes(ViewNode *node)
{
	ListCell *lc;

	node->tells_deletes = true;
	foreach (lc, node->inputs)
		tell_deletes(lfirst(lc));
}

static void
take_keeping(Planner *p, ViewNode *group)
{
	refuse_keeping(p, braid_node_input(group));
	if (group->strategy == STRATEGY_AFFECTED_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("continuous views do not support base_deletes = keep with aggregates "
						"that are computed from all rows of a group"),
				 errdetail("Rows of a closed group may be gone when the group changes."),
				 errhint("count, sum, avg, min, max and what else can be merged is supported: see "
						 "braid.explain() of the view without the option.")));
	tell_deletes(braid_node_input(group));
}

static void
take_diverted(Planner *p, ViewNode *group)
{
	ViewNode *input = braid_node_input(group);
	ViewNode *node = braid_draft_node(p, NODE_DIVERT, list_make1(input), input->ncolumns);

	memcpy(node->columns, input->columns, sizeof(NodeColumn) * input->ncolumns);
	node->time = palloc(sizeof(EventTime));
	*node->time = *group->time;
	node->time->group = group;
	group->time->diverted = node;
	braid_draft_give_state(p, node);
}

void
braid_late_take(Planner *p, ViewNode *group, const char *counts)
{
	EventTime *t = NULL;

	if (p->time)
		t = group->kind == NODE_SESSION ? time_of_session(p, group) : time_of_group(p, group);
	if (t == NULL || has_policy_below(group))
		return;
	p->has_window = true;
	group->time = t;
	group->time->is_policy = true;
	group->time->late = braid_options_late(p->time->options);
	group->time->counts = counts;
	if (braid_options_keeps_deleted(p->time->options))
		take_keeping(p, group);
	if (group->time->late == LATE_DIVERT)
		take_diverted(p, group);
}

void
braid_late_take_below(Planner *p, ViewNode *group)
{
	if (p->time && p->time->options->retain)
		group->time = time_of_group(p, group);
}

/* Whoever else reads a node below would not know what its weights mean. */
static void
refuse_other_readers(Planner *p)
{
	ListCell *lc;
	ListCell *input;

	foreach (lc, p->plan->nodes)
	{
		ViewNode *reader = lfirst(lc);

		if (reader->time || reader->tells_deletes)
			continue;
		foreach (input, reader->inputs)
			if (((ViewNode *) lfirst(input))->tells_deletes)
				braid_refuse(p->pstate, -1, "base_deletes = keep over a WITH query read twice");
	}
}

static void
check_retain(Planner *p)
{
	Oid type = p->plan->watermark->columns[0].type;
	char *retain = p->time->options->retain;

	if (type == INT4OID || type == INT8OID)
		(void) DirectFunctionCall1(int8in, CStringGetDatum(retain));
	else
		(void) DirectFunctionCall3(interval_in, CStringGetDatum(retain),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

void
braid_late_check(Planner *p)
{
	const TimeOptions *o = p->time->options;

	if (o->retain)
		check_retain(p);
	refuse_other_readers(p);
	if (p->has_window || !(o->late || o->emit || o->retain || o->base_deletes))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("continuous views support late, emit, retain and base_deletes only with "
					"groups by a window"),
			 errdetail("No GROUP BY of the query has a key that is a window of event time."),
			 errhint("Windows are braid.tumble(), braid.hop() and braid.cumulate(), date_trunc(), "
					 "date_bin() and casts to date; and sessions, if these and their keys are "
					 "all that is grouped by.")));
}

/* ---------------------------------------------------------------- closed groups */

char *
braid_late_closed(ViewNode *group, Moment moment)
{
	if (group->kind == NODE_SESSION)
		return braid_watermark_closed(group->time, braid_session_reach(group, "s.last"), moment);
	return braid_watermark_closes(group->time, "s", 'k', moment);
}

/* Whether rows of closed groups are ignored: a condition over an alias; NULL if none are. */
static char *
is_ignored(ViewNode *group, const char *alias)
{
	EventTime *t = group->time;

	if (t->late != LATE_UPDATE)
		return braid_watermark_closes(t, alias, 'k', MOMENT_BEFORE);
	if (t->options->retain)
		return braid_watermark_closes(t, alias, 'k', MOMENT_EXPIRED_BEFORE);
	return NULL;
}

char *
braid_late_row_count(ViewNode *group)
{
	EventTime *t = group->time;

	if (t == NULL)
		return "";
	return psprintf(", count(*)%s AS nrows",
					t->counts ? psprintf(" FILTER (WHERE %s)", t->counts) : "");
}

/* Of rows whose group is closed, deletions are left out; others lose their weight. */
static char *
without_deletes(ViewNode *group, const char *delta)
{
	return psprintf("(SELECT sign(x.w)::int8 AS w%s FROM %s x WHERE "
					"(abs(x.w) > 1 AND %s) IS DISTINCT FROM true)",
					braid_text_columns("x", braid_node_input(group)->ncolumns), delta,
					braid_watermark_closes(group->time, "x", 'c', MOMENT_BEFORE));
}

/* The delta of the input, but for deletions that are ignored. */
static char *
input_delta(ViewNode *group)
{
	char *delta = braid_node_delta(braid_node_input(group));

	if (group->time && group->time->is_policy && braid_run_retracts(braid_node_input(group)) &&
		braid_options_keeps_deleted(group->time->options))
		return without_deletes(group, delta);
	return delta;
}

bool
braid_late_merges(ViewNode *group)
{
	return group->time && group->time->merges;
}

/* Of rows that were put aside: those that were asked for and whose group is still there. */
static char *
is_merged(ViewNode *node, const char *alias)
{
	if (node->time->options->retain == NULL)
		return psprintf("%s.merge", alias);
	return psprintf("%s.merge AND (%s) IS DISTINCT FROM true", alias,
					braid_watermark_closes(node->time, alias, 'c', MOMENT_EXPIRED_BEFORE));
}

/* Rows that were put aside, and of the delta what is not late. */
static char *
merged_delta(ViewNode *group)
{
	char *columns = braid_text_columns("x", braid_node_input(group)->ncolumns);
	char *rows = psprintf("SELECT x.w%s FROM %s x WHERE %s", columns, group->time->diverted->state,
						  is_merged(group->time->diverted, "x"));

	if (!braid_node_input(group)->changed)
		return psprintf("(%s)", rows);
	return psprintf("(%s UNION ALL SELECT x.w%s FROM %s x WHERE (%s) IS DISTINCT FROM true)", rows,
					columns, input_delta(group),
					braid_watermark_closes(group->time, "x", 'c', MOMENT_BEFORE));
}

char *
braid_late_delta(ViewNode *group)
{
	return braid_late_merges(group) ? merged_delta(group) : input_delta(group);
}

/* In a cycle that merges: late rows of the delta, which are not in groups_<i>. */
static void
count_beside(ViewNode *group)
{
	if (!braid_node_input(group)->changed)
		return;
	if (braid_run_into(
			psprintf("late_%d", group->number),
			psprintf("SELECT 1::int8 AS nrows, true AS is_ignored FROM %s i1 "
					 "WHERE %s%s",
					 input_delta(group),
					 braid_watermark_closes(group->time, "i1", 'c', MOMENT_BEFORE),
					 group->time->counts ? psprintf(" AND %s", group->time->counts) : ""),
			braid_run_delta_rows(braid_node_input(group))) > 0)
		braid_watermark_count(group);
}

char *
braid_late_split(ViewNode *group, char *groups, int64 *ngroups)
{
	EventTime *t = group->time;
	char *ignored;
	char *open;

	if (braid_late_merges(group))
	{
		count_beside(group);
		return groups;
	}
	if (t == NULL || *ngroups == 0)
		return groups;
	ignored = is_ignored(group, "g");
	if (!t->is_policy && ignored == NULL)
		return groups;
	if (braid_run_into(psprintf("late_%d", group->number),
					   psprintf("SELECT g.nrows, %s AS is_ignored FROM %s g WHERE %s",
								ignored ? ignored : "false", groups,
								braid_watermark_closes(t, "g", 'k', MOMENT_BEFORE)),
					   *ngroups) == 0)
		return groups;
	if (t->is_policy)
		braid_watermark_count(group);
	if (ignored == NULL)
		return groups;
	open = psprintf("open_%d", group->number);
	*ngroups = braid_run_into(
		open, psprintf("SELECT g.* FROM %s g WHERE (%s) IS DISTINCT FROM true", groups, ignored),
		*ngroups);
	return open;
}

char *
braid_late_not_kept(ViewNode *group, const char *alias)
{
	EventTime *t = group->time;

	if (t == NULL || !t->is_policy || !braid_options_keeps_deleted(t->options))
		return "";
	return psprintf(" AND (%s) IS DISTINCT FROM true",
					braid_watermark_closes(t, alias, 'k', MOMENT_BEFORE));
}

/* ---------------------------------------------------------------- populating */

char *
braid_late_stays(ViewNode *group)
{
	EventTime *t = group->time;

	if (t == NULL || !t->is_policy || !braid_options_freezes(t->options))
		return NULL;
	return braid_watermark_closes(t, "s", 'k', MOMENT_BEFORE);
}

char *
braid_late_enters(ViewNode *group)
{
	EventTime *t = group->time;
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, "true");
	if (braid_late_stays(group))
		appendStringInfo(&s, " AND (%s) IS DISTINCT FROM true",
						 braid_watermark_closes(t, "i1", 'c', MOMENT_BEFORE));
	if (t && t->options->retain)
		appendStringInfo(&s, " AND (%s) IS DISTINCT FROM true",
						 braid_watermark_closes(t, "i1", 'c', MOMENT_EXPIRED_NOW));
	return s.data;
}

/* ---------------------------------------------------------------- verifying */

char *
braid_late_compared(ViewNode *group, const char *alias, char column)
{
	EventTime *t = group->time;
	Moment moment = MOMENT_BEFORE;

	if (t == NULL || !t->is_policy)
		return NULL;
	if (!braid_options_freezes(t->options))
	{
		if (t->options->retain == NULL)
			return NULL;
		moment = MOMENT_EXPIRED_NOW;
	}
	return psprintf("(%s) IS DISTINCT FROM true", braid_watermark_closes(t, alias, column, moment));
}

/* ---------------------------------------------------------------- retention */

char *
braid_late_expired(ViewNode *group)
{
	EventTime *t = group->time;
	TimestampTz now;

	if (t == NULL || t->options->retain == NULL)
		return NULL;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(t->expired, now, EXPIRE_INTERVAL_MS))
		return NULL;
	t->expired = now;
	return braid_late_closed(group, MOMENT_EXPIRED_BEFORE);
}

/* ---------------------------------------------------------------- rows put aside */

char *
braid_divert_state_columns(ViewNode *node)
{
	return psprintf("w int8, at timestamptz, watermark %s, reason text, merge boolean, %s",
					format_type_be(node->time->watermark->columns[0].type),
					braid_column_definitions(node->columns, node->ncolumns, 'c'));
}

char *
braid_divert_state_index(ViewNode *node, const char *index)
{
	return psprintf("INDEX %s ON %s (at)", index, node->state);
}

void
braid_divert_follow(ViewNode *node)
{
	ViewNode *group = node->time->group;
	char *reason = "'closed'";
	int64 nlate = braid_run_count(psprintf("late_%d", group->number));

	if (group->kind == NODE_SESSION)
	{
		braid_session_late_divert(node);
		return;
	}
	if (braid_late_merges(group))
	{
		braid_run(psprintf("DELETE FROM %s x WHERE %s", node->state, is_merged(node, "x")), 0);
		braid_run(psprintf("UPDATE %s x SET merge = false, reason = 'expired' WHERE x.merge",
						   node->state),
				  0);
	}
	if (nlate <= 0)
		return;
	if (node->time->options->retain)
		reason = psprintf("CASE WHEN %s THEN 'expired' ELSE 'closed' END",
						  braid_watermark_closes(node->time, "i1", 'c', MOMENT_EXPIRED_BEFORE));
	braid_run(psprintf("INSERT INTO %s SELECT i1.w, clock_timestamp(), (SELECT before FROM %s), "
					   "%s, false%s FROM %s i1 WHERE %s",
					   node->state, node->time->watermark->state, reason,
					   braid_text_columns("i1", node->ncolumns), input_delta(group),
					   braid_watermark_closes(node->time, "i1", 'c', MOMENT_BEFORE)),
			  nlate);
}
