/*
 * freshness.h
 *	  Waiting until continuous views are as fresh as a reader wants them.
 */
#ifndef BRAID_READ_FRESHNESS_H
#define BRAID_READ_FRESHNESS_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/*
 * Waits until the views (oids) have all that is committed when it is called: whoever
 * takes a snapshot afterwards sees it.  Raises an error, with the reason, if that
 * cannot be, or is not so within braid.read_timeout.
 */
extern void braid_freshness_wait(List *views);

/*
 * The same for those of the views with which it can be; returns them, and raises no
 * error for the others.
 */
extern List *braid_freshness_try(List *views);

/*
 * Whether the views have all whose commit records end at this position or before,
 * which are visible.  May say no although they have.
 */
extern bool braid_freshness_has(List *views, XLogRecPtr position);

/* Whether the views show what was committed braid.read_max_age ago. */
extern bool braid_freshness_is_young(List *views);

#endif /* BRAID_READ_FRESHNESS_H */
