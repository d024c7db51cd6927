/*
 * idle.h
 *	  Waiting in the middle of a statement without holding back vacuum.
 */
#ifndef BRAID_IDLE_H
#define BRAID_IDLE_H

#include "utils/portal.h"

typedef struct BraidIdle
{
	Portal portal; /* whose snapshot was given up; NULL: it was kept */
} BraidIdle;

/*
 * Gives up the snapshot of the statement that calls, if nothing else of the statement can
 * need it; braid_idle_end() gets a new one.  Between them only waiting, which may throw.
 */
extern void braid_idle_begin(BraidIdle *idle);
extern void braid_idle_end(BraidIdle *idle);

#endif /* BRAID_IDLE_H */
