/*
 * frontier.h
 *	  The set of transactions that a consumer has seen: a snapshot.
 *
 * All functions that make one allocate in the current memory context.
 */
#ifndef BRAID_FRONTIER_H
#define BRAID_FRONTIER_H

#include "utils/snapshot.h"

typedef struct BraidFrontier
{
	uint64 xmin; /* all below are in the set */
	uint64 xmax; /* none from here on is */
	int nxip;
	uint64 *xip; /* the exceptions in between, sorted */
} BraidFrontier;

/*
 * What is visible in the snapshot.  A backend's own snapshot does not name its own
 * transaction, which may be below xmax: see braid_frontier_exclude().
 */
extern void braid_frontier_from_snapshot(BraidFrontier *f, Snapshot snapshot);

/* As pg_snapshot writes it; what does not look like that is an error (22P02). */
extern void braid_frontier_parse(BraidFrontier *f, const char *text);
extern char *braid_frontier_format(const BraidFrontier *f);
extern void braid_frontier_copy(BraidFrontier *to, const BraidFrontier *from);

/* Takes a transaction out of the set. */
extern void braid_frontier_exclude(BraidFrontier *f, uint64 xid);

/* Whether the set has this top-level transaction, which must have begun. */
extern bool braid_frontier_contains(const BraidFrontier *f, TransactionId xid);
extern bool braid_frontier_contains_full(const BraidFrontier *f, uint64 xid);

/*
 * Less than, equal to or greater than 0 as a is part of b, the same, or b part of
 * a.  Frontiers of one server are always one of that: commits are in an order.
 */
extern int braid_frontier_compare(const BraidFrontier *a, const BraidFrontier *b);

#endif /* BRAID_FRONTIER_H */
