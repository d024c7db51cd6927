/*
 * obstacle.h
 *	  What keeps the capture worker from bringing views up to date.
 */
#ifndef BRAID_READ_OBSTACLE_H
#define BRAID_READ_OBSTACLE_H

#include "common/compat.h"
#include "nodes/pg_list.h"

/*
 * Raises an error if the worker cannot go on before this transaction ends, so that
 * it would wait in vain.  views: RosterView, which were looked into.  To be called
 * when a wait takes long, since it looks at all locks of the server.
 */
extern void braid_obstacle_refuse_own(List *views);

/*
 * Raises the error of a wait that has taken too long, with the reason.
 */
BRAID_NORETURN extern void braid_obstacle_report(List *views);

#endif /* BRAID_READ_OBSTACLE_H */
