/*
 * fence.h
 *	  No member of a group commits what another one has read in its stead.
 */
#ifndef BRAID_FENCE_H
#define BRAID_FENCE_H

#include "topic/member.h"

/*
 * For a member that is going to read a partition of its own: false if another
 * transaction has it, and is still given time to end.  *is_held says whether
 * braid_fence_leave() is to be called if nothing was read.
 */
extern bool
braid_fence_enter(int group, int part, const BraidMembership *membership, bool *is_held);
extern void braid_fence_leave(int group, int part);

/* True if no member's transaction has the partition; none gets it then until this one ends. */
extern bool braid_fence_is_free(int group, int part);

/*
 * The running transaction has moved a position, from the one with that number, for a
 * member: it can only commit (40001) if nobody else has done so by then, and
 * the member still belongs to the group.
 */
extern void braid_fence_note(int group, int part, int64 number, int64 member);

extern void braid_fence_init(void);

#endif /* BRAID_FENCE_H */
