/*
 * fast_exact.h
 *	  Sums of floats, exact, in a window of 256 bits.
 */
#ifndef BRAID_FAST_EXACT_H
#define BRAID_FAST_EXACT_H

#include "utils/numeric.h"

/* A sum of numbers m * 2^e: sum * 2^base in two's complement, and what does not fit. */
typedef struct FastExact
{
	uint64 sum[4];
	int64 base; /* 0: none yet; else with FAST_EXACT_BIAS */
	Numeric rest;
} FastExact;

extern void braid_fast_exact_add(FastExact *sum, float8 x, bool negate);
extern void braid_fast_exact_add_product(FastExact *sum, float8 x, float8 y, bool negate);
extern Numeric braid_fast_exact_result(const FastExact *sum);

/* Adds another sum, which stays as it is. */
extern void braid_fast_exact_combine(FastExact *sum, const FastExact *other);

#endif /* BRAID_FAST_EXACT_H */
