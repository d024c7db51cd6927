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
#include "common/histogram.h"

PG_FUNCTION_INFO_V1(braid_sql_percentiles);

#define SUB_BUCKETS 16 /* of each power of two */
#define SUB_BITS 4	   /* its logarithm */
#define EXACT (2 * SUB_BUCKETS)
#define LONGEST ((int64) PG_UINT32_MAX)
#define US_PER_MS 1000.0

StaticAssertDecl(BRAID_HISTOGRAM_BUCKETS == (32 - SUB_BITS) * SUB_BUCKETS + SUB_BUCKETS,
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
braid_histogram_init(BraidHistogram *h)
{
	pg_atomic_init_u64(&h->total, 0);
	pg_atomic_init_u64(&h->max, 0);
	for (int i = 0; i < BRAID_HISTOGRAM_BUCKETS; i++)
		pg_atomic_init_u64(&h->buckets[i], 0);
}

void
braid_histogram_reset(BraidHistogram *h)
{
	pg_atomic_write_u64(&h->total, 0);
	pg_atomic_write_u64(&h->max, 0);
	for (int i = 0; i < BRAID_HISTOGRAM_BUCKETS; i++)
		pg_atomic_write_u64(&h->buckets[i], 0);
}

/* A clock that was set back makes a duration negative. */
static int64
limit(int64 us)
{
	return Min(Max(us, 0), LONGEST);
}

static void
raise_max(BraidHistogram *h, uint64 us)
{
	uint64 max = pg_atomic_read_u64(&h->max);

	while (max < us && !pg_atomic_compare_exchange_u64(&h->max, &max, us))
		;
}

void
braid_histogram_add(BraidHistogram *h, int64 us)
{
	us = limit(us);
	pg_atomic_fetch_add_u64(&h->buckets[bucket_of((uint32) us)], 1);
	pg_atomic_fetch_add_u64(&h->total, us);
	raise_max(h, us);
}

void
braid_histogram_add_all(BraidHistogram *h, const BraidDistribution *d, int64 us)
{
	us = limit(us);
	for (int i = 0; i < BRAID_HISTOGRAM_BUCKETS; i++)
		if (d->buckets[i] > 0)
			pg_atomic_fetch_add_u64(&h->buckets[bucket_of((uint32) limit(middle_of(i) + us))],
									d->buckets[i]);
	pg_atomic_fetch_add_u64(&h->total, d->total + d->n * us);
	raise_max(h, limit(d->max + us));
}

void
braid_histogram_read(BraidHistogram *h, BraidDistribution *copy)
{
	copy->n = 0;
	for (int i = 0; i < BRAID_HISTOGRAM_BUCKETS; i++)
	{
		copy->buckets[i] = pg_atomic_read_u64(&h->buckets[i]);
		copy->n += copy->buckets[i];
	}
	copy->total = pg_atomic_read_u64(&h->total);
	copy->max = pg_atomic_read_u64(&h->max);
}

void
braid_distribution_add(BraidDistribution *d, int64 us)
{
	us = limit(us);
	d->buckets[bucket_of((uint32) us)]++;
	d->n++;
	d->total += us;
	d->max = Max(d->max, us);
}

uint64
braid_distribution_quantile(const BraidDistribution *d, double share)
{
	uint64 rank = Max((uint64) ceil(share * d->n), 1);
	uint64 below = 0;

	for (int i = 0; i < BRAID_HISTOGRAM_BUCKETS; i++)
	{
		below += d->buckets[i];
		if (below >= rank)
			return Min(middle_of(i), d->max);
	}
	return d->max;
}

void
braid_histogram_put(BraidHistogram *h, Datum *values, bool *nulls)
{
	BraidDistribution *d = palloc(sizeof(BraidDistribution));

	braid_histogram_read(h, d);
	values[0] = Int64GetDatum((int64) d->n);
	values[1] = Float8GetDatum(d->total / US_PER_MS);
	if (d->n == 0)
		memset(&nulls[2], true, sizeof(bool) * (BRAID_HISTOGRAM_COLUMNS - 2));
	else
	{
		values[2] = Float8GetDatum(d->total / US_PER_MS / d->n);
		values[3] = Float8GetDatum(braid_distribution_quantile(d, 0.50) / US_PER_MS);
		values[4] = Float8GetDatum(braid_distribution_quantile(d, 0.95) / US_PER_MS);
		values[5] = Float8GetDatum(braid_distribution_quantile(d, 0.99) / US_PER_MS);
		values[6] = Float8GetDatum(d->max / US_PER_MS);
	}
	pfree(d);
}

/*
 * percentiles(us bigint[], shares float8[]) returns bigint[]: what the
 * statistics would say of these durations.
 */
Datum
braid_sql_percentiles(PG_FUNCTION_ARGS)
{
	BraidHistogram *h = palloc(sizeof(BraidHistogram));
	BraidDistribution *d = palloc(sizeof(BraidDistribution));
	Datum *durations;
	Datum *shares;
	bool *nulls;
	int ndurations;
	int nshares;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &durations, &nulls, &ndurations);
	braid_histogram_init(h);
	for (int i = 0; i < ndurations; i++)
		if (!nulls[i])
			braid_histogram_add(h, DatumGetInt64(durations[i]));
	braid_histogram_read(h, d);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &shares, &nulls, &nshares);
	if (d->n == 0)
		PG_RETURN_NULL();
	for (int i = 0; i < nshares; i++)
	{
		if (nulls[i])
			PG_RETURN_NULL();
		shares[i] = Int64GetDatum(braid_distribution_quantile(d, DatumGetFloat8(shares[i])));
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(shares, nshares, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
