/*
 * window.h
 *	  Columns that are windows of event time.
 */
#ifndef BRAID_WINDOW_H
#define BRAID_WINDOW_H

#include "view/draft.h"

/*
 * A column that is a window, or the beginning or end of one.  The limit is SQL over
 * $1, an event time of the type: rows of that time or later are in none of the
 * windows whose column is below the limit (inclusive: or equal to it).
 */
typedef struct ColumnWindow
{
	Oid type;
	const char *limit;
	bool inclusive;
} ColumnWindow;

/* What an expression over a draft's inputs is; NULL if it is no window. */
extern const ColumnWindow *braid_window_find(Draft *draft, Node *expression);

/* The window's limit for an event time, given as SQL. */
extern char *braid_window_limit(const ColumnWindow *window, const char *time);

/* Columns of UNION ALL are windows if all inputs have the same ones. */
extern void braid_window_unite(ViewNode *node);

#endif /* BRAID_WINDOW_H */
