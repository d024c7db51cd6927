/*
 * branch.h
 *	  The branches of this session's current global transaction.
 */
#ifndef BRAID_XA_BRANCH_H
#define BRAID_XA_BRANCH_H

#include "nodes/pg_list.h"

typedef struct XaBranch
{
	Oid			umid;			/* user mapping: one connection, one branch */
	Oid			serverid;
	Oid			userid;			/* a local user with that mapping */
} XaBranch;

/*
 * Notes that the current transaction writes to the server on behalf of the
 * user.  Waits until the server is ready for two-phase commit and throws 55000
 * if it does not become so.  Before the write.
 */
extern void braid_xa_branch_note_write(Oid serverid, Oid userid);

/* Branches that write, in the order of their first writes. */
extern List *braid_xa_branches(void);

extern void braid_xa_branches_forget(void);

/* Makes the participant prepare the branch under this gid when it is committed. */
extern void braid_xa_branch_enlist(const XaBranch *branch, const char *gid);

/* Are we within braid_xa_branch_enlist()? */
extern bool braid_xa_branch_enlisting(void);

#endif							/* BRAID_XA_BRANCH_H */
