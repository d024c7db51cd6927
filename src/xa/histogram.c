/*
 * histogram.c
 *	  A distribution of durations in shared memory, updated without a lock.
 *
 * NOTES
 *	  The buckets are log-linear, as in HdrHistogram (G. Tene,
 *	  http://hdrhistogram.org): durations below 32 microseconds have a bucket
 *	  each, and every power of two above is divided into 16 buckets of the same
 *	  width.
 *
 *		 0   1   2  ... 31 | 32-33  34-35 ... 62-63 | 64-67  68-71 ... | ...
 *		 width 1           | width 2                | width 4          |
 *
 *	  A bucket is at most 1/16 as wide as the durations in it are long, and is
 *	  represented by its middle: what is read is at most 1/32, or 3.1 %, off.
 *
 *	  Each number is exact by itself.  A reader that comes while others write may
 *	  see a duration in the sum and not yet in its bucket; nothing is lost.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "xa/histogram.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_percentiles);

#define SUB_BUCKETS 16 /* of each power of two */
#define SUB_BITS 4	   /* its logarithm */
#define EXACT (2 * SUB_BUCKETS)
#define LONGEST PG_UINT32_MAX

StaticAssertDecl(BRAID_XA_HISTOGRAM_BUCKETS == (32 - SUB_BITS) * SUB_BUCKETS + SUB_BUCKETS,
				 "a bucket for each duration");

static int
bucket_of(uint32 us)
{
	int shift;

	if (us < EXACT)
		return us;
	shift = pg_leftmost_one_pos32(us) - SUB_BITS;
	return shift * SUB_BUCKETS + (us >> shift);
}

/* The middle of what the bucket holds, rounded down. */
static uint64
middle_of(int bucket)
{
	int shift;

	if (bucket < EXACT)
		return bucket;
	shift = bucket / SUB_BUCKETS - 1;
	return ((uint64) (bucket - shift * SUB_BUCKETS) << shift) + ((UINT64CONST(1) << shift) - 1) / 2;
}

void
braid_xa_histogram_init(XaHistogram *h)
{
	pg_atomic_init_u64(&h->total, 0);
	pg_atomic_init_u64(&h->max, 0);
	for (int i = 0; i < BRAID_XA_HISTOGRAM_BUCKETS; i++)
		pg_atomic_init_u64(&h->buckets[i], 0);
}

void
braid_xa_histogram_reset(XaHistogram *h)
{
	pg_atomic_write_u64(&h->total, 0);
	pg_atomic_write_u64(&h->max, 0);
	for (int i = 0; i < BRAID_XA_HISTOGRAM_BUCKETS; i++)
		pg_atomic_write_u64(&h->buckets[i], 0);
}

void
braid_xa_histogram_add(XaHistogram *h, int64 us)
{
	uint64 max;

	/* A clock that was set back makes a duration negative. */
	us = Max(us, 0);
	us = Min(us, LONGEST);
	pg_atomic_fetch_add_u64(&h->buckets[bucket_of((uint32) us)], 1);
	pg_atomic_fetch_add_u64(&h->total, us);
	max = pg_atomic_read_u64(&h->max);
	while (max < us && !pg_atomic_compare_exchange_u64(&h->max, &max, us))
		;
}

void
braid_xa_histogram_read(XaHistogram *h, XaDistribution *copy)
{
	copy->n = 0;
	for (int i = 0; i < BRAID_XA_HISTOGRAM_BUCKETS; i++)
	{
		copy->buckets[i] = pg_atomic_read_u64(&h->buckets[i]);
		copy->n += copy->buckets[i];
	}
	copy->total = pg_atomic_read_u64(&h->total);
	copy->max = pg_atomic_read_u64(&h->max);
}

uint64
braid_xa_distribution_quantile(const XaDistribution *d, double share)
{
	uint64 rank = Max((uint64) ceil(share * d->n), 1);
	uint64 below = 0;

	for (int i = 0; i < BRAID_XA_HISTOGRAM_BUCKETS; i++)
	{
		below += d->buckets[i];
		if (below >= rank)
			return Min(middle_of(i), d->max);
	}
	return d->max;
}

/*
 * xa_percentiles(us bigint[], shares float8[]) returns bigint[]: what the
 * statistics would say of these durations.
 */
Datum
braid_sql_xa_percentiles(PG_FUNCTION_ARGS)
{
	XaHistogram *h = palloc(sizeof(XaHistogram));
	XaDistribution *d = palloc(sizeof(XaDistribution));
	Datum *durations;
	Datum *shares;
	bool *nulls;
	int ndurations;
	int nshares;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &durations, &nulls, &ndurations);
	braid_xa_histogram_init(h);
	for (int i = 0; i < ndurations; i++)
		if (!nulls[i])
			braid_xa_histogram_add(h, DatumGetInt64(durations[i]));
	braid_xa_histogram_read(h, d);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &shares, &nulls, &nshares);
	if (d->n == 0)
		PG_RETURN_NULL();
	for (int i = 0; i < nshares; i++)
	{
		if (nulls[i])
			PG_RETURN_NULL();
		shares[i] = Int64GetDatum(braid_xa_distribution_quantile(d, DatumGetFloat8(shares[i])));
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(shares, nshares, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
