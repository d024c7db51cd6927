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
 * Waits until the session's earlier transactions, which it did not wait for, are
 * committed on the server, so that it sees its own changes.  Before the remote
 * transaction takes its snapshot.  Throws 55000 after braid.xa_finish_timeout.
 */
extern void braid_xa_coordinator_await_own(Oid serverid);

extern void braid_xa_coordinator_init(void);

#endif /* BRAID_XA_COORDINATOR_H */
