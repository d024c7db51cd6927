/*
 * histogram.h
 *	  A distribution of durations in shared memory, updated without a lock.
 */
#ifndef BRAID_XA_HISTOGRAM_H
#define BRAID_XA_HISTOGRAM_H

#include "port/atomics.h"

/* Durations from 0 to 2^32 - 1 microseconds (71 minutes); longer ones count as that. */
#define BRAID_XA_HISTOGRAM_BUCKETS 464

typedef struct XaHistogram
{
	pg_atomic_uint64 total; /* sum, in microseconds */
	pg_atomic_uint64 max;
	pg_atomic_uint64 buckets[BRAID_XA_HISTOGRAM_BUCKETS];
} XaHistogram;

/* A copy, to compute with. */
typedef struct XaDistribution
{
	uint64 n;
	uint64 total;
	uint64 max;
	uint64 buckets[BRAID_XA_HISTOGRAM_BUCKETS];
} XaDistribution;

/* Once, before anybody else knows of it. */
extern void braid_xa_histogram_init(XaHistogram *h);

/* Begins anew; what others add meanwhile may be lost. */
extern void braid_xa_histogram_reset(XaHistogram *h);

/* Does not throw, takes no lock. */
extern void braid_xa_histogram_add(XaHistogram *h, int64 us);

extern void braid_xa_histogram_read(XaHistogram *h, XaDistribution *copy);

/*
 * The duration that this share (0 to 1) of all does not exceed: nearest rank,
 * at most 1/32 off, never above the maximum.  Undefined if there are none.
 */
extern uint64 braid_xa_distribution_quantile(const XaDistribution *d, double share);

#endif /* BRAID_XA_HISTOGRAM_H */
