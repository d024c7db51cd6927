/*
 * session_window.h
 *	  GROUP BY the sessions of braid.session(), as one node.
 */
#ifndef BRAID_SESSION_WINDOW_H
#define BRAID_SESSION_WINDOW_H

#include "view/draft.h"

typedef struct SessionWindow SessionWindow;

/* Groups that are the sessions of a window. */
typedef struct SessionGroups
{
	SessionWindow *window;
	List *keys;	 /* Node for each key of the groups: what it is in the window's query */
	Draft *rows; /* the rows of the window; provides what the groups aggregate */
} SessionGroups;

/* Whether the windows of a query are sessions and nothing else. */
extern bool braid_session_window_is(Query *query);

/*
 * Raises an error if a query calls braid.session() or session_end() in a way that
 * would break the view with the first rows: with a constant gap that is none, or
 * over rows from late to early.
 */
extern void braid_session_window_refuse(ParseState *pstate, Query *query);

/*
 * Raises an error if the graph, which is complete, has a PARTITION of sessions
 * without keys: only groups of such sessions can be kept.
 */
extern void braid_session_window_check(Planner *planner);

/*
 * Remembers that a PARTITION, whose columns are the query's target list, computes
 * nothing but the sessions of rows, if that is so.  The first columns of rows are
 * the keys, expressions of the query.
 */
extern void braid_session_window_note(ViewNode *partition, Draft *rows, Query *query, List *keys);

/* The same of a node whose columns are targets over a draft that reads such a PARTITION. */
extern void braid_session_window_pass_on(Draft *draft, List *targets, ViewNode *node);

/*
 * Whether a draft that is to be grouped by these keys, with these aggregates, is
 * grouped by the sessions of such a window; NULL if not.
 */
extern SessionGroups *braid_session_groups_find(Draft *draft, List *keys, List *aggregates);

/* Over the draft rows, what the columns of the node's input begin with. */
extern List *braid_session_groups_columns(SessionGroups *groups);

extern ViewNode *braid_session_groups_node(SessionGroups *groups, ViewNode *input);

/* Adds a key of the groups, counted from 1, as a column; returns its number. */
extern int braid_session_groups_add(SessionGroups *groups, ViewNode *node, int key);

#endif /* BRAID_SESSION_WINDOW_H */
