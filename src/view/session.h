/*
 * session.h
 *	  What the files that keep sessions share.
 */
#ifndef BRAID_SESSION_H
#define BRAID_SESSION_H

#include "view/node.h"

/* ---- pieces of text */

/* The columns of the state, but for keys: "first, last, n, a1, ..." */
extern char *braid_session_value_names(ViewNode *node);

/* The event time of a row of the input, "i1.c3". */
extern char *braid_session_time(ViewNode *node);

/* The latest event time at which a session goes on whose last row so far is at this one. */
extern char *braid_session_reach(ViewNode *node, const char *last);

/* Rows with the start of their session, as i1; by is a list of columns. */
extern char *braid_session_told(ViewNode *node, const char *rows, const char *by);

/* "x.k1 DESC, x.k2 DESC, x.first DESC": the index of the state backwards */
extern char *braid_session_backwards(ViewNode *node);

/*
 * Until settings are put back: rows of a key are sorted by their times already, so
 * that grouping them by their sessions needs no hash table; and what is made in the
 * order of keys and times goes into the index of the state in this order.  Sorting
 * may take as much memory as for an index.  Returns what AtEOXact_GUC() wants.
 */
extern int braid_session_prefer_sorting(void);

/* ---- session_chain.c */

/* Rows that came and went, and the sessions that they may touch. */
typedef struct SessionChange
{
	ViewNode *node;
	const char *suffix; /* of the names of its relations */
	const char *rows;	/* a FROM item: w, c1, ...; NULL: there are none */
	int64 nrows;		/* about how many */
	bool retracts;
	bool is_final; /* rows may be gone: nothing is computed again */
	/* a condition on the last event time of sessions that can be touched; or NULL */
	char *(*is_within)(ViewNode *node, const char *last);

	/* What it made of the state; both NULL if there were no rows. */
	const char *touched; /* a FROM item: sessions as they were */
	const char *result;	 /* the same: those that took their place */
} SessionChange;

extern void braid_session_change(SessionChange *change);

/* ---- session_late.c */

/*
 * Tells the rows of a cycle apart: those for sessions that are open, and those that
 * go into closed ones nevertheless.  Counts what is late.
 */
extern void braid_session_late_split(ViewNode *node, SessionChange *open, SessionChange *closed);

/*
 * Of sessions that are shown when they are closed: which of those that a cycle has
 * touched or made are shown, s; and whether there can be any.
 */
extern char *braid_session_late_shown(ViewNode *node);
extern bool braid_session_late_is_shown(ViewNode *node, const SessionChange *changes);

/* Sessions whose time has come are deleted; their rows are kept for readers as expired_<i>. */
extern void braid_session_late_expire(ViewNode *node);

/*
 * Populating: deletes what does not stay, and returns the rows of the input that
 * make sessions anew, a FROM item; and a condition for these sessions, s, or NULL.
 */
extern char *braid_session_late_begin(ViewNode *node);
extern char *braid_session_late_enters(ViewNode *node);

/*
 * Rows of the input whose sessions are open, a FROM item.  The sessions that are
 * there are in the given relation; NULL if none straddles the watermark.
 */
extern char *braid_session_late_rows(ViewNode *node, const char *sessions);

#endif /* BRAID_SESSION_H */
