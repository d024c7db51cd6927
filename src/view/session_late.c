/*
 * session_late.c
 *	  What a view with a watermark lets through to its sessions.
 *
 * NOTES
 *	  A session is closed when the watermark has reached its end, which is its last
 *	  event time plus the gap.  Unlike that of other windows the end moves as rows
 *	  come; so which rows are late does not follow from their keys.
 *
 *	  A row is *behind* if the session that it would make alone is closed.  A row
 *	  that is behind is late unless it is within an open session, at its first
 *	  event time, its last, or between.  All others are not late: they join the
 *	  open sessions that they touch, or begin one.
 *
 *	                     watermark - gap          watermark
 *	    closed   closed         |                     |
 *	    [----]   [--]     [-----|---------]      [----|-]      sessions of a key
 *	                      open  |                 open
 *	  late  late late  late     |
 *	                       not  |  not    not   not
 *
 *	  Why no row before the first of an open session joins it when it is behind,
 *	  though it may be near enough: then no open session ever comes to cover what
 *	  was late.  Open sessions grow only by rows that are not behind, which are later
 *	  than watermark - gap; what is late is earlier, and was outside of all open
 *	  sessions.  Since the watermark never goes back, it stays so.  It follows:
 *
 *	  -	All rows of the input that are within an open session belong to it.  So an
 *		open session can be computed again from the rows in its span when something
 *		goes from it, and it is what the query makes of the rows that were not late.
 *	  -	Closed sessions of a key come before its open ones, and do not overlap
 *		them.  At most one open session, the straddling one, has rows that are behind.
 *	  -	When the view is made anew the rows of its open sessions are known: those
 *		that are not behind, and those within the straddling sessions.
 *
 *	  Rows that are not behind never join a closed session, even if they are less
 *	  than the gap from its last row: closed is closed.
 *
 *	  What is closed to rows depends on the policy.  With drop, divert and keep it is
 *	  what the watermark has closed.  With update it is what is no longer retained;
 *	  then the same holds of the moment up to which that is.  Without retain all
 *	  sessions follow all rows, and late ones are counted only.
 *
 *	  With keep and update, and when rows that were diverted are merged, late rows
 *	  go into closed sessions.  They touch closed sessions alone, by the same
 *	  statements as other rows touch open ones.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/session.h"
#include "view/text.h"
#include "view/watermark.h"

static bool
keeps_deleted(ViewNode *node)
{
	return braid_options_keeps_deleted(node->time->options);
}

/* Whether there are sessions that no row reaches any more; and by what moment. */
static bool
seals(ViewNode *node, Moment *moment)
{
	EventTime *t = node->time;

	if (t == NULL)
		return false;
	*moment = braid_options_freezes(t->options) ? MOMENT_BEFORE : MOMENT_EXPIRED_BEFORE;
	return *moment == MOMENT_BEFORE || t->options->retain;
}

/* ---------------------------------------------------------------- conditions */

/* Whether a session with this last event time is closed; null if it never is. */
static char *
closed(ViewNode *node, const char *last, Moment moment)
{
	return psprintf("(%s)",
					braid_watermark_closed(node->time, braid_session_reach(node, last), moment));
}

static char *
time_of(ViewNode *node, const char *alias)
{
	return psprintf("%s.c%d", alias, node->nkeys + 1);
}

/* Sessions that rows can touch which are not late; and those for late rows. */
static char *
is_open(ViewNode *node, const char *last)
{
	Moment moment = MOMENT_BEFORE;

	(void) seals(node, &moment);
	return psprintf("%s IS NOT TRUE", closed(node, last, moment));
}

static char *
is_closed(ViewNode *node, const char *last)
{
	if (node->time->options->retain == NULL)
		return closed(node, last, MOMENT_BEFORE);
	return psprintf("%s AND %s IS NOT TRUE", closed(node, last, MOMENT_BEFORE),
					closed(node, last, MOMENT_EXPIRED_BEFORE));
}

/* Of a row that is behind, b: whether it is late. */
static char *
is_late(ViewNode *node)
{
	return psprintf("%s IS NOT FALSE", closed(node, "b.until", MOMENT_BEFORE));
}

/* The same: whether it is for a session that is no longer retained. */
static char *
is_expired(ViewNode *node)
{
	if (node->time->options->retain == NULL)
		return "false";
	return psprintf("(%s IS TRUE AND %s IS NOT FALSE)",
					closed(node, time_of(node, "b"), MOMENT_EXPIRED_BEFORE),
					closed(node, "b.until", MOMENT_EXPIRED_BEFORE));
}

/* The same: whether it comes to no open session. */
static char *
stays_out(ViewNode *node)
{
	return braid_options_freezes(node->time->options) ? is_late(node) : is_expired(node);
}

/* Late rows, b, that count: deletions do not if they are ignored. */
static char *
counted(ViewNode *node)
{
	return psprintf("%s%s", is_late(node), keeps_deleted(node) ? " AND abs(b.w) = 1" : "");
}

/* ---------------------------------------------------------------- rows that are behind */

static char *
relation(ViewNode *node, const char *name)
{
	return psprintf("%s_%d", name, node->number);
}

/* ", i1.w, i1.c1, ..., i1.c1 AS k1, ..." */
static char *
row_columns(ViewNode *node)
{
	return psprintf(", i1.w%s%s", braid_text_columns("i1", braid_node_input(node)->ncolumns),
					braid_text_key_targets(node->nkeys));
}

/* Of rows with this pattern of nulls in their keys, until is the end of the session around them. */
static char *
told_statement(ViewNode *node, const char *rows, int64 nulls)
{
	char *time = time_of(node, "b");

	return psprintf("SELECT b.place, b.w%s, (SELECT CASE WHEN y.last >= %s THEN y.last END "
					"FROM (SELECT x.last FROM %s x WHERE %s AND x.first <= %s ORDER BY %s LIMIT 1) "
					"y) AS until FROM %s b WHERE %s = " INT64_FORMAT,
					braid_text_columns("b", braid_node_input(node)->ncolumns), time, node->state,
					braid_match_pattern(node, "x", 'k', "b", nulls), time,
					braid_session_backwards(node), rows, braid_match_null_pattern(node, "b"),
					nulls);
}

/*
 * Makes a relation of those of some rows, i1, that meet a condition: place, w, c1,
 * ..., and until, the last event time of the session that they are within, or null.
 */
static int64
find_within(ViewNode *node, const char *name, const char *place, const char *from,
			const char *condition, int64 nrows)
{
	char *found = psprintf("%s_found", name);
	char *all = NULL;
	int64 *patterns;
	int npatterns;
	int64 n;

	n = braid_run_into(found,
					   psprintf("SELECT %s AS place%s FROM %s i1 WHERE %s", place,
								row_columns(node), from, condition),
					   nrows);
	if (n == 0)
		return 0;
	patterns = braid_run_values(
		psprintf("SELECT DISTINCT %s FROM %s b", braid_match_null_pattern(node, "b"), found), n,
		&npatterns);
	for (int i = 0; i < npatterns; i++)
	{
		char *one = told_statement(node, found, patterns[i]);

		all = all ? psprintf("%s UNION ALL %s", all, one) : one;
	}
	return braid_run_into(name, all, n);
}

/* ---------------------------------------------------------------- a delta */

/* Counts late rows; returns how many there are. */
static int64
count_late(ViewNode *node, int64 nbehind)
{
	const char *ignored = node->time->late != LATE_UPDATE ? "true" : is_expired(node);
	int64 nlate =
		braid_run_into(relation(node, "late"),
					   psprintf("SELECT 1::int8 AS nrows, %s AS is_ignored FROM %s b WHERE %s",
								ignored, relation(node, "behind"), counted(node)),
					   nbehind);

	if (nlate > 0)
		braid_watermark_count(node);
	return nlate;
}

/* The delta without the rows that stay out; deletions lose their weight. */
static char *
open_rows(ViewNode *node, const char *delta, bool is_behind)
{
	bool is_signed = keeps_deleted(node) && braid_run_retracts(braid_node_input(node));
	char *columns = braid_text_columns("x", braid_node_input(node)->ncolumns);
	char *weight = is_signed ? "sign(x.w)::int8 AS w" : "x.w";
	Moment moment;

	if (!is_behind || !seals(node, &moment))
		return is_signed ? psprintf("(SELECT %s%s FROM %s x)", weight, columns, delta)
						 : pstrdup(delta);
	return psprintf("(SELECT %s%s FROM %s x WHERE %s IS NOT TRUE UNION ALL "
					"SELECT %s%s FROM (SELECT b.* FROM %s b WHERE (%s) IS NOT TRUE) x)",
					weight, columns, delta, closed(node, time_of(node, "x"), MOMENT_BEFORE), weight,
					columns, relation(node, "behind"), stays_out(node));
}

/* What is merged into closed sessions of the late rows of the delta. */
static char *
late_rows(ViewNode *node)
{
	return psprintf("(SELECT b.w%s FROM %s b WHERE %s AND NOT %s)",
					braid_text_columns("b", braid_node_input(node)->ncolumns),
					relation(node, "behind"), counted(node), is_expired(node));
}

static void
split_delta(ViewNode *node, SessionChange *open, SessionChange *late)
{
	char *delta = braid_node_delta(braid_node_input(node));
	int64 nlate = 0;
	int64 nbehind;

	open->nrows = braid_run_delta_rows(braid_node_input(node));
	open->retracts = braid_run_retracts(braid_node_input(node));
	nbehind = find_within(node, relation(node, "behind"), "NULL::tid", delta,
						  closed(node, braid_session_time(node), MOMENT_BEFORE), open->nrows);
	if (nbehind > 0)
		nlate = count_late(node, nbehind);
	open->rows = open_rows(node, delta, nbehind > 0);
	if (nlate > 0 && keeps_deleted(node) && node->time->late == LATE_UPDATE)
	{
		late->rows = late_rows(node);
		late->nrows = nlate;
		late->retracts = open->retracts;
	}
}

/* Rows that were put aside: as merging_<i>, but for those that have expired. */
static void
take_merged(ViewNode *node, SessionChange *late)
{
	char *merging = relation(node, "merging");

	late->nrows = find_within(node, merging, "i1.ctid", node->time->diverted->state, "i1.merge", 0);
	if (late->nrows == 0)
		return;
	late->rows = psprintf("(SELECT b.w%s FROM %s b WHERE NOT %s)",
						  braid_text_columns("b", braid_node_input(node)->ncolumns), merging,
						  is_expired(node));
	late->retracts = true;
}

void
braid_session_late_split(ViewNode *node, SessionChange *open, SessionChange *late)
{
	Moment moment;

	open->is_within = seals(node, &moment) ? is_open : NULL;
	late->is_within = is_closed;
	late->is_final = keeps_deleted(node);
	if (braid_node_input(node)->changed)
		split_delta(node, open, late);
	if (braid_late_merges(node))
		take_merged(node, late);
}

char *
braid_session_late_shown(ViewNode *node)
{
	if (!braid_options_emits_on_close(node->time->options))
		return NULL;
	return closed(node, "s.last", MOMENT_BEFORE);
}

/* Of sessions that are shown when they are closed: whether some may have changed. */
bool
braid_session_late_is_shown(ViewNode *node, const SessionChange *changes)
{
	return braid_options_emits_on_close(node->time->options) &&
		   (changes[0].retracts || changes[1].result);
}

/* ---------------------------------------------------------------- rows put aside */

void
braid_session_late_divert(ViewNode *node)
{
	ViewNode *sessions = node->time->group;
	char *merging = relation(sessions, "merging");
	int64 nlate = braid_run_count(relation(sessions, "late"));

	if (braid_run_count(merging) > 0)
	{
		braid_run(psprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT b.place FROM %s b "
						   "WHERE NOT %s))",
						   node->state, merging, is_expired(sessions)),
				  0);
		braid_run(psprintf("UPDATE %s x SET merge = false, reason = 'expired' WHERE x.merge",
						   node->state),
				  0);
	}
	if (nlate > 0)
		braid_run(psprintf("INSERT INTO %s SELECT b.w, clock_timestamp(), (SELECT before FROM %s), "
						   "CASE WHEN %s THEN 'expired' ELSE 'closed' END, false%s FROM %s b "
						   "WHERE %s",
						   node->state, node->time->watermark->state, is_expired(sessions),
						   braid_text_columns("b", node->ncolumns), relation(sessions, "behind"),
						   counted(sessions)),
				  nlate);
}

/* ---------------------------------------------------------------- retention */

void
braid_session_late_expire(ViewNode *node)
{
	char *expired = braid_late_expired(node);

	if (expired == NULL)
		return;
	if (braid_run_into(relation(node, "expired"),
					   psprintf("%s WHERE %s", braid_text_outputs(node, node->state), expired),
					   0) > 0)
		braid_run(psprintf("DELETE FROM %s s WHERE %s", node->state, expired), 0);
}

/* ---------------------------------------------------------------- from all rows */

/* Of sessions of the state, x: those that are open and have rows that are behind. */
static char *
straddles(ViewNode *node, const char *alias, Moment moment)
{
	return psprintf("%s AND %s IS NOT TRUE", closed(node, psprintf("%s.first", alias), moment),
					closed(node, psprintf("%s.last", alias), moment));
}

/* Rows within them, which a key has one of at most. */
static char *
straddled_rows(ViewNode *node, const char *sessions, Moment moment, bool nulls)
{
	char *time = braid_session_time(node);
	char *only = "";

	if (nulls)
		only = psprintf(" AND (%s)", braid_match_any_null(node, "x", 'k'));
	return psprintf("SELECT %s FROM %s i1, (SELECT x.* FROM %s x WHERE %s%s) x "
					"WHERE %s AND %s AND %s >= x.first AND %s <= x.last",
					braid_text_list(braid_text_columns("i1", braid_node_input(node)->ncolumns)),
					braid_node_new(braid_node_input(node)), sessions, straddles(node, "x", moment),
					only, closed(node, time, moment),
					braid_match_equal(node, "i1", 'c', "x", nulls), time, time);
}

char *
braid_session_late_rows(ViewNode *node, const char *sessions)
{
	Moment moment;
	char *ahead;

	if (!seals(node, &moment))
		return braid_node_new(braid_node_input(node));
	ahead = psprintf("SELECT %s FROM %s i1 WHERE %s IS NOT TRUE",
					 braid_text_list(braid_text_columns("i1", braid_node_input(node)->ncolumns)),
					 braid_node_new(braid_node_input(node)),
					 closed(node, braid_session_time(node), moment));
	if (sessions == NULL)
		return psprintf("(%s)", ahead);
	return psprintf("(%s UNION ALL %s UNION ALL %s)", ahead,
					straddled_rows(node, sessions, moment, false),
					straddled_rows(node, sessions, moment, true));
}

char *
braid_session_late_begin(ViewNode *node)
{
	char *straddling = relation(node, "straddling");
	char *goes = "";
	Moment moment;

	if (!seals(node, &moment))
		straddling = NULL;
	else if (braid_run_into(straddling,
							psprintf("SELECT s.* FROM %s s WHERE %s", node->state,
									 straddles(node, "s", moment)),
							0) == 0)
		straddling = NULL;
	if (node->time && braid_options_freezes(node->time->options))
		goes = psprintf(" WHERE %s IS NOT TRUE", closed(node, "s.last", MOMENT_BEFORE));
	braid_run(psprintf("DELETE FROM %s s%s", node->state, goes), PG_INT64_MAX);
	return braid_session_late_rows(node, straddling);
}

char *
braid_session_late_enters(ViewNode *node)
{
	if (node->time == NULL || node->time->options->retain == NULL)
		return NULL;
	return psprintf("%s IS NOT TRUE", closed(node, "s.last", MOMENT_EXPIRED_NOW));
}

char *
braid_session_late_compared(ViewNode *node)
{
	char *retained = braid_session_late_enters(node);
	char *open;
	Moment moment;

	if (!seals(node, &moment))
		return NULL;
	open = psprintf("%s IS NOT TRUE", closed(node, "s.last", moment));
	return retained ? psprintf("%s AND %s", open, retained) : open;
}
