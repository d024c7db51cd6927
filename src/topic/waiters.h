/*
 * waiters.h
 *	  Those who wait for messages, and how they are woken.
 */
#ifndef BRAID_WAITERS_H
#define BRAID_WAITERS_H

#include "datatype/timestamp.h"
#include "topic/topic.h"

/* Partitions, a bit for each one modulo 64. */
typedef uint64 BraidParts;
#define BRAID_ALL_PARTS (~UINT64CONST(0))
#define BRAID_PART(part) (UINT64CONST(1) << ((part) % 64))

/* ---- senders */

/*
 * The running transaction has sent n messages to these partitions: whoever waits for
 * them is woken when it has committed, or when it was prepared and is committed by
 * whomever.
 */
extern void braid_waiters_note_sent(int topic, BraidParts parts, int n);

/* ---- consumers */

/*
 * How to wait:
 *
 *		braid_waiter_enlist(topic, group, parts, each);
 *		while (!look() && braid_waiter_sleep(deadline))
 *			;
 *		braid_waiter_leave(parts of which messages were found);
 *
 * What becomes visible after the look wakes the waiter.  With each, a group's waiters
 * are woken one for each message, as they share a partition's messages; otherwise
 * one for each partition.
 */
extern void braid_waiter_enlist(int topic, int group, BraidParts parts, bool each);

/* Of one who is enlisted: waits for these from now on. */
extern void braid_waiter_change_parts(BraidParts parts);

/*
 * True if it is time to look again, false if until has passed.  May be true for no
 * reason.  Throws if the process is to cancel or end.
 */
extern bool braid_waiter_sleep(TimestampTz until);

/*
 * Ends waiting, which the end of the transaction does as well.  If the waiter was
 * woken for messages that it has not found, another one is in its stead.
 */
extern void braid_waiter_leave(BraidParts found);

/* ---- whoever lets go of something that others wait for */

/* Wakes up to n waiters of a group, now; of each group if it is 0. */
extern void braid_waiters_wake(int topic, int group, BraidParts parts, int n);

/* All waiters of a group, as what they wait for may be another now. */
extern void braid_waiters_wake_all(int topic, int group);

/* The same as the first when this transaction has ended, however that is, and has given up its locks. */
extern void braid_waiters_wake_at_end(int topic, int group, BraidParts parts, int n);

extern void braid_waiters_init(void);

#endif /* BRAID_WAITERS_H */
