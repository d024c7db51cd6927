/*
 * unfinished.h
 *	  Committed transactions of this session that it did not see finished.
 */
#ifndef BRAID_XA_UNFINISHED_H
#define BRAID_XA_UNFINISHED_H

#include "xa/gid.h"

/* Can another transaction be remembered?  If not, the session must wait for it. */
extern bool braid_xa_unfinished_has_room(void);

/*
 * Remembers a transaction that has been handed to the resolver.  recycled: see
 * transaction.h, from before that.  Without room it is not remembered.
 */
extern void braid_xa_unfinished_remember(int slot, const BraidGid *gid, uint64 recycled);

/*
 * Waits until all remembered transactions are committed on the server, so that
 * the session sees its own changes there.  To be called before a remote
 * transaction takes its snapshot.  Throws 55000 after braid.xa_finish_timeout.
 */
extern void braid_xa_unfinished_await(Oid serverid);

#endif /* BRAID_XA_UNFINISHED_H */
