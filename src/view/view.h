/*
 * view.h
 *	  Continuous views: all that other modules use of them.
 */
#ifndef BRAID_VIEW_H
#define BRAID_VIEW_H

#include "nodes/pg_list.h"

typedef enum ViewState
{
	VIEW_POPULATING, /* new: -> LIVE, BROKEN, PAUSED */
	VIEW_LIVE,		 /* -> REBUILDING, BROKEN, PAUSED */
	VIEW_REBUILDING, /* the slot was lost, or REFRESH, or another plan: -> LIVE, BROKEN, PAUSED */
	VIEW_BROKEN,	 /* an expression failed: -> REBUILDING, by REFRESH */
	VIEW_PAUSED		 /* by braid.pause(): -> REBUILDING, by braid.resume() */
} ViewState;

/* A view as its readers see it. */
typedef struct ViewStanding
{
	int id;
	Oid view;
	ViewState state;
	bool was_populated;	 /* it shows its query as of some time */
	bool is_new;		 /* it was made in the current transaction */
	bool has_schedule;	 /* recomputed as a whole now and then */
	bool is_replaced;	 /* another one is being made that takes its place */
	bool is_replacement; /* it is one of these */
	const char *error;	 /* why it is broken */
	const char *read;	 /* option braid.read, NULL if it is not set */
} ViewStanding;

/*
 * All views of the database as ViewStanding, in the current memory context: what is
 * committed now, and what this transaction has done.
 */
extern List *braid_view_standings(void);

/*
 * The relations whose invalidation tells that standings have changed; both
 * InvalidOid if the extension is not installed.
 */
extern void braid_view_catalogs(Oid *definitions, Oid *states);

/*
 * What a view stands on: oids of the tables, ids of continuous views, itself
 * included, and oids of the views that were looked into.  Takes no locks.
 */
extern void braid_view_inputs(Oid view, List **tables, List **ids, List **looked_into);

/*
 * Whether the current user may see why a view is broken: an error can say what is
 * in rows that only its owner may read.
 */
extern bool braid_view_error_is_visible(Oid view);

/* Oids of the tables in which the capture worker keeps the view with this id. */
extern List *braid_view_parts(int id);

extern void braid_view_init(void);

#endif /* BRAID_VIEW_H */
