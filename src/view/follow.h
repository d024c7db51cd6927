/*
 * follow.h
 *	  One view's state is brought to the snapshot of the cycle.
 */
#ifndef BRAID_FOLLOW_H
#define BRAID_FOLLOW_H

#include "view/keeper.h"

/* Once the plan is made, and it is known whether another view reads this one. */
extern void braid_follow_prepare(KeptView *view);

/* Whether the view cannot follow, even if those that it reads can. */
extern bool braid_follow_needs_populating(KeptView *view);

/* Whether it has to follow although nothing has changed: see watermark.h. */
extern bool braid_follow_is_wanted(KeptView *view);

/*
 * Whether there is anything to do for the view in this cycle.  The views that
 * it reads have been brought up.
 */
extern bool braid_follow_is_needed(KeptView *view);

/*
 * Does it: as the view's owner, within SPI, the snapshot of the cycle active.
 * Throws what the view's expressions throw.  Leaves the view's own delta for
 * those that read it, until it is forgotten.
 */
extern void braid_follow(KeptView *view);

/*
 * Makes the state anew, in a process that is not the capture worker: the same,
 * the snapshot being its own.
 */
extern void braid_follow_populate(KeptView *view);

/* At the end of a cycle, or of an attempt that failed. */
extern void braid_follow_forget(KeptView *view);

extern void braid_follow_init(void);

#endif /* BRAID_FOLLOW_H */
