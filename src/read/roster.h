/*
 * roster.h
 *	  The continuous views of the database, as this backend knows them.
 */
#ifndef BRAID_READ_ROSTER_H
#define BRAID_READ_ROSTER_H

#include "datatype/timestamp.h"
#include "read/settings.h"
#include "view/view.h"

typedef struct RosterView
{
	Oid view;				/* key */
	bool is_there;			/* the rest is worth something */
	ViewStanding *standing; /* until the roster is brought up to date again */
	ReadMode option;
	uint64 commits;		/* of this session, which it has for sure */
	TimestampTz warned; /* when the statement began in which there was a warning */

	/* When it was looked into; until the roster is brought up to date again. */
	bool was_looked_into;
	List *tables;
	List *ids; /* of views, itself included */
} RosterView;

/*
 * Brings the roster up to date, if an invalidation has come.  False if there are no
 * views.  Entries stay where they are until the end of the process.
 */
extern bool braid_roster_update(void);

/* NULL if it is not a continuous view.  The roster is up to date. */
extern RosterView *braid_roster_find(Oid view);

/* All views. */
extern List *braid_roster_list(void);

/* What it stands on is in the entry from now on. */
extern void braid_roster_look_into(RosterView *view);

/* One that is not live, of it and the views that it reads; NULL if all are. */
extern RosterView *braid_roster_not_live(RosterView *view);

/* Why it is broken; NULL if there is nothing that the reader may know. */
extern const char *braid_roster_error(const RosterView *view);

/* What the setting, and else the view's option, promises. */
extern ReadMode braid_roster_mode(const RosterView *view);

#endif /* BRAID_READ_ROSTER_H */
