/*
 * guard.h
 *	  Keeps users' statements off the parts of continuous views.
 */
#ifndef BRAID_GUARD_H
#define BRAID_GUARD_H

#include "nodes/parsenodes.h"

/* Error 55006 if the statement would change a state or a query of a continuous view. */
extern void braid_guard_check(Node *stmt);

/*
 * Whether the statement is a COPY into a state, as in a dump with data only: the
 * view is kept, so its rows are to be read and forgotten.
 */
extern bool braid_guard_is_copy(Node *stmt);

extern void braid_guard_init(void);

#endif /* BRAID_GUARD_H */
