/*
 * branch.h
 *	  The branches of this session's current global transaction.
 */
#ifndef BRAID_XA_BRANCH_H
#define BRAID_XA_BRANCH_H

#include "nodes/pg_list.h"

typedef struct XaBranch
{
	Oid umid; /* user mapping: one connection, one branch */
	Oid serverid;
	Oid userid;		/* a local user with that mapping */
	int number;		/* in the order of first writes, from 0 */
	uint32 address; /* where the branch is: see braid_xa_server_address() */
	bool tagged;	/* a statement with its tag has been executed */
	bool named;		/* a statement with the name of the transaction was sent */
	bool told;		/* has been enlisted by a statement of its own */
} XaBranch;

/*
 * Notes that the current transaction writes to the server on behalf of the
 * user.  Waits until the server is ready for two-phase commit and throws 55000
 * if it does not become so.  Before the write.  Returns the branch, which lives as
 * long as the transaction; NULL for the statement that enlists one.
 */
extern XaBranch *braid_xa_branch_note_write(Oid serverid, Oid userid);

/* Notes that the current transaction is about to use the server. */
extern void braid_xa_branch_note_access(Oid serverid);

/* Branches that write, in the order of their first writes. */
extern List *braid_xa_branches(void);

extern void braid_xa_branches_forget(void);

/*
 * Throws 40001 if one of their servers was given another address since: the
 * branch is where nobody will look for it.  To be called when the transaction
 * and its servers are known in shared memory; from then on the resolver accepts
 * no other node in their place (verify.h).
 */
extern void braid_xa_branches_check_addresses(void);

/* Makes the participant prepare the branch under this gid when it is committed. */
extern void braid_xa_branch_enlist(XaBranch *branch, const char *gid);

/*
 * May the branch be enlisted by tags in its statements?  Not once it has turned
 * out in this session that tags do not arrive on its server.
 */
extern bool braid_xa_branch_may_tag(const XaBranch *branch);

/*
 * Is the branch enlisted by a statement of its own, or by a tag, and have tags
 * been seen to arrive on its server?
 */
extern bool braid_xa_branch_is_enlisted(const XaBranch *branch);

/* Are we within braid_xa_branch_enlist()? */
extern bool braid_xa_branch_enlisting(void);

extern void braid_xa_branch_init(void);

#endif /* BRAID_XA_BRANCH_H */
