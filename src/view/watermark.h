/*
 * watermark.h
 *	  Event time in a view: its watermark, windows that are closed, late rows.
 *
 * The watermark is kept by a node of its own, number 0, whose state is one row.
 * From when that node has followed,
 *
 *		before	is the watermark before the cycle, by which it is judged what is late
 *		value	is the watermark after it
 */
#ifndef BRAID_WATERMARK_H
#define BRAID_WATERMARK_H

#include "utils/timestamp.h"
#include "view/definition.h"
#include "view/window.h"

#define WATERMARK_NUMBER 0

/* What a node does about event time. */
typedef struct EventTime
{
	const TimeOptions *options;
	ViewNode *watermark;
	int column; /* of a GROUP: which of its keys is the window; of a CLOSE: which column */
	ColumnWindow window;
	LatePolicy late;
	bool is_policy;		  /* late rows are counted, and the policy is applied */
	const char *counts;	  /* which rows of the input, i1, count; NULL: all */
	ViewNode *group;	  /* DIVERT, CLOSE: whose rows */
	ViewNode *diverted;	  /* of a group: its DIVERT, or NULL */
	bool merges;		  /* of a group, in this cycle: rows that were diverted */
	TimestampTz expired;  /* of a group: when groups were last deleted */
	TimestampTz idle_due; /* WATERMARK: when a source that holds it back is idle; 0: never */
} EventTime;

/* What a window can be compared with: the watermark, or that less what is retained. */
typedef enum Moment
{
	MOMENT_BEFORE,
	MOMENT_NOW,
	MOMENT_EXPIRED_BEFORE,
	MOMENT_EXPIRED_NOW
} Moment;

/* "column < (SELECT ...)": whether the window is closed.  Null if there is no watermark yet. */
extern char *braid_watermark_closed(const EventTime *time, const char *column, Moment moment);

/* The same for a column named by an alias, a letter, and the number of the window's column. */
extern char *
braid_watermark_closes(const EventTime *time, const char *alias, char column, Moment moment);

/* ---- taking a query apart */

/* Makes the node of the watermark. */
extern void braid_watermark_take(Planner *planner);

/* A group that has all of its columns: what it does with late rows, if it is by a window. */
extern void braid_late_take(Planner *planner, ViewNode *group, const char *counts);

/* The same of a group of distinct values below one that has the policy. */
extern void braid_late_take_below(Planner *planner, ViewNode *group);

/* Raises an error if the options need a window and there is none. */
extern void braid_late_check(Planner *planner);

/* What stands for the group to its readers: itself, or a node that shows it when it is closed. */
extern ViewNode *braid_close_take(Planner *planner, ViewNode *group);

/* ---- following; texts are those of operators.h */

extern void braid_watermark_follow(ViewNode *node);
extern void braid_watermark_populate(ViewNode *node);
extern void braid_watermark_begin(ViewNode *node); /* makes the row, if it is not there */
extern char *braid_watermark_state_columns(ViewNode *node);
extern char *braid_watermark_state_index(ViewNode *node, const char *index);

/* Stores that requests to merge have been answered up to this one. */
extern void braid_watermark_set_merged(ViewNode *node, int request);

/* Adds to the counters of the watermark what the relation late_<i> says. */
extern void braid_watermark_count(ViewNode *group);

extern char *braid_close_new(ViewNode *node);
extern char *braid_close_delta(ViewNode *node);

extern void braid_divert_follow(ViewNode *node);
extern char *braid_divert_state_columns(ViewNode *node);
extern char *braid_divert_state_index(ViewNode *node, const char *index);

/* ---- of a group; see late.c */

/* Whether rows that were put aside come to the group in this cycle. */
extern bool braid_late_merges(ViewNode *group);

/* A column of groups_<i>: how many rows it has; begins with a comma.  Nothing without a policy. */
extern char *braid_late_row_count(ViewNode *group);

/* The delta of its input, as far as the policy lets it through whatever its window. */
extern char *braid_late_delta(ViewNode *group);

/*
 * Looks for late groups in the relation groups_<i>, counts them, and returns the
 * name of a relation without those that are ignored.
 */
extern char *braid_late_split(ViewNode *group, char *groups, int64 *ngroups);

/* " AND ..." or " WHERE ..." without closed groups that must not be recomputed: g has the keys. */
extern char *braid_late_not_kept(ViewNode *group, const char *alias);

/* Populating: conditions of groups that stay, and of rows of the input that make groups anew. */
extern char *braid_late_stays(ViewNode *group);
extern char *braid_late_enters(ViewNode *group);

/* Verifying: a condition for groups that have to be the query's; NULL if all have to be. */
extern char *braid_late_compared(ViewNode *group, const char *alias, char column);

/* ---- of a session; see session_late.c */

/* Verifying: a condition for sessions, s, that have to be the query's; NULL if all have to be. */
extern char *braid_session_late_compared(ViewNode *node);

/* Follows a DIVERT for sessions. */
extern void braid_session_late_divert(ViewNode *node);

/* ---- of both */

/* A condition for groups of the state, s, that are closed. */
extern char *braid_late_closed(ViewNode *group, Moment moment);

/* A condition for groups of the state, s, that are to be deleted now; NULL if none are. */
extern char *braid_late_expired(ViewNode *group);

#endif /* BRAID_WATERMARK_H */
