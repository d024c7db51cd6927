/*
 * heuristic.h
 *	  Coordinators: branches that were finished by hand (heuristic outcomes).
 */
#ifndef BRAID_XA_HEURISTIC_H
#define BRAID_XA_HEURISTIC_H

#include "libpq-fe.h"

#include "xa/gid.h"

/* What is to be made of a branch that has gone. */
typedef enum XaVerdict
{
	XA_VERDICT_NONE,		/* finished by us, or it never was prepared */
	XA_VERDICT_VOID,		/* the same; the participant has a row to be removed */
	XA_VERDICT_UNDER_WAY,	/* somebody is finishing it now */
	XA_VERDICT_AGREES,		/* finished by hand as decided; kept */
	XA_VERDICT_CONTRADICTS, /* finished by hand the other way; kept */
	XA_VERDICT_UNKNOWN		/* finished by hand, which way is not known; kept */
} XaVerdict;

/*
 * Columns of braid_internal.branches_of(), which a sweep asks, and of
 * braid_internal.branch_fate(), which is asked about one branch.
 */
enum
{
	XA_COLUMN_GID,
	XA_COLUMN_PREPARED, /* microseconds since the epoch; null: is not prepared */
	XA_COLUMN_XID,		/* xid8 */
	XA_COLUMN_LOCKS,	/* null: not looked at */
	XA_COLUMN_XID_AGE,
	XA_COLUMN_STATUS,	  /* of the xid: committed, aborted, in progress; null: not known */
	XA_COLUMN_OUTCOME,	  /* what was asked for by hand; null: nothing */
	XA_COLUMN_DECIDED_BY, /* role */
	XA_COLUMN_DECIDED_AT  /* microseconds since the epoch */
};

/*
 * Judges a branch that is not prepared any more by a row of one of those two,
 * and makes a heuristic outcome durable.  For the resolver, in a transaction,
 * and after the transaction of the branch was seen to have ended.
 */
extern XaVerdict braid_xa_heuristic_judge(Oid serverid, const BraidGid *gid, PGresult *r, int row);

/*
 * The server has no rows of interventions but those in the result: drops what
 * the operator wants forgotten.  For the resolver, in a transaction.
 */
extern void braid_xa_heuristic_forget(Oid serverid, PGresult *r);

#endif /* BRAID_XA_HEURISTIC_H */
