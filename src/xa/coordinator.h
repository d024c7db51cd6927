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

extern void braid_xa_coordinator_init(void);

#endif /* BRAID_XA_COORDINATOR_H */
