/*
 * latency.h
 *	  When the transactions of a cycle were committed.
 */
#ifndef BRAID_LATENCY_H
#define BRAID_LATENCY_H

#include "capture/capture.h"

/* Once S was taken.  Forgets the cycle before. */
extern void braid_latency_begin_cycle(void);

/*
 * Rows of the transaction are in the source's delta of this cycle.  Those of one
 * transaction should come one after the other.
 */
extern void braid_latency_note(BraidSource *source, TransactionId xid, TimestampTz committed);

/* Transactions of this cycle so far. */
extern uint64 braid_latency_transactions(void);

extern void braid_latency_setup(void);

#endif /* BRAID_LATENCY_H */
