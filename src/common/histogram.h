/*
 * histogram.h
 *	  A distribution of durations in shared memory, updated without a lock.
 */
#ifndef BRAID_HISTOGRAM_H
#define BRAID_HISTOGRAM_H

#include "port/atomics.h"

/* Durations from 0 to 2^32 - 1 microseconds (71 minutes); longer ones count as that. */
#define BRAID_HISTOGRAM_BUCKETS 464

typedef struct BraidHistogram
{
	pg_atomic_uint64 total; /* sum, in microseconds */
	pg_atomic_uint64 max;
	pg_atomic_uint64 buckets[BRAID_HISTOGRAM_BUCKETS];
} BraidHistogram;

/* A copy, to compute with. */
typedef struct BraidDistribution
{
	uint64 n;
	uint64 total;
	uint64 max;
	uint64 buckets[BRAID_HISTOGRAM_BUCKETS];
} BraidDistribution;

/* Once, before anybody else knows of it. */
extern void braid_histogram_init(BraidHistogram *h);

/* Begins anew; what others add meanwhile may be lost. */
extern void braid_histogram_reset(BraidHistogram *h);

/* Does not throw, takes no lock. */
extern void braid_histogram_add(BraidHistogram *h, int64 us);

extern void braid_histogram_read(BraidHistogram *h, BraidDistribution *copy);

/* Adds to a copy, which was zeroed at first. */
extern void braid_distribution_add(BraidDistribution *d, int64 us);

/*
 * Adds all durations of a copy, each longer by us.  They have been put into
 * buckets twice then: percentiles are at most 1/16 off, the rest is exact.
 */
extern void braid_histogram_add_all(BraidHistogram *h, const BraidDistribution *d, int64 us);

/*
 * The duration that this share (0 to 1) of all does not exceed: nearest rank,
 * at most 1/32 off, never above the maximum.  Undefined if there are none.
 */
extern uint64 braid_distribution_quantile(const BraidDistribution *d, double share);

/*
 * Seven columns of a result: number, sum, mean, percentiles 50, 95 and 99, and
 * maximum, in milliseconds.  The last five are null if there are none.
 */
#define BRAID_HISTOGRAM_COLUMNS 7
extern void braid_histogram_put(BraidHistogram *h, Datum *values, bool *nulls);

#endif /* BRAID_HISTOGRAM_H */
