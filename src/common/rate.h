/*
 * rate.h
 *	  How many there were in the last minute, in shared memory, without a lock.
 */
#ifndef BRAID_RATE_H
#define BRAID_RATE_H

#include "port/atomics.h"
#include "portability/instr_time.h"

#define BRAID_RATE_SECONDS 64 /* a minute, and some room */

typedef struct BraidRate
{
	pg_atomic_uint64 seconds[BRAID_RATE_SECONDS]; /* second << 32 | events in it */
} BraidRate;

/* Once, before anybody else knows of it. */
extern void braid_rate_init(BraidRate *r);

extern void braid_rate_reset(BraidRate *r);

/* So many more, now.  Does not throw. */
extern void braid_rate_add(BraidRate *r, instr_time now, uint32 n);

/* In the 60 seconds before this one. */
extern uint64 braid_rate_last_minute(BraidRate *r);

#endif /* BRAID_RATE_H */
