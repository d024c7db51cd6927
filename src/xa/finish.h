/*
 * finish.h
 *	  Commits and rolls back prepared branches on a participant.
 */
#ifndef BRAID_XA_FINISH_H
#define BRAID_XA_FINISH_H

#include "xa/job.h"

/* Commits a branch of a decided transaction (see transaction.h) soon. */
extern void braid_xa_finish_branch(XaSession *s, int slot, int branch);

/*
 * Kind of the job that finishes a branch found by a sweep.  Its fields: gid,
 * commit, xid; asking if it is known to be gone.
 */
extern const XaJobKind braid_xa_recover_job;

#endif /* BRAID_XA_FINISH_H */
