/*
 * coordinator.h
 *	  The coordinator's side of a commit.
 */
#ifndef BRAID_XA_COORDINATOR_H
#define BRAID_XA_COORDINATOR_H

#include "xa/branch.h"

/*
 * The gid with which statements of the branch are to be tagged, into a buffer
 * of BRAID_GID_LEN; false if they are not to be.  Registers the transaction.
 */
extern bool braid_xa_coordinator_tag(const XaBranch *branch, char *gid);

/*
 * Before a write to one branch: makes all other ones, and with all_branches set
 * this one too, known to their participants if no tag does.  Then a detector of
 * deadlocks knows them.  That is for a transaction that will commit in two
 * phases, which needs the statement in any case.
 */
extern void braid_xa_coordinator_introduce(const XaBranch *branch, bool all_branches);

extern void braid_xa_coordinator_init(void);

#endif /* BRAID_XA_COORDINATOR_H */
