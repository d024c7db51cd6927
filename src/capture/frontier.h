/*
 * frontier.h
 *	  The set of transactions that a consumer has seen: a snapshot.
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

/* All allocate in the current memory context. */
extern void braid_frontier_from_snapshot(BraidFrontier *f, Snapshot snapshot);
extern void braid_frontier_parse(BraidFrontier *f, const char *text);
extern char *braid_frontier_format(const BraidFrontier *f);
extern void braid_frontier_copy(BraidFrontier *to, const BraidFrontier *from);

/* Whether the set has this top-level transaction, which must have begun. */
extern bool braid_frontier_contains(const BraidFrontier *f, TransactionId xid);

#endif /* BRAID_FRONTIER_H */
