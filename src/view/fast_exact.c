/*
 * fast_exact.c
 *	  Sums of floats, exact, in a window of 256 bits.
 *
 * NOTES
 *	  A finite double is m * 2^e with an integer m of 53 bits, the product of two
 *	  one of 106.  What is added to a group mostly has exponents near each other:
 *	  the first value places the window, with room below for smaller and above for
 *	  larger ones.  What does not fit, and what is not finite, is added as a numeric
 *	  as exact.c makes it, which is slow and right.
 *
 *	  HEADROOM bits above the highest that a value may have are for as many values
 *	  as there can be, and for the sign.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "view/exact.h"
#include "view/fast_exact.h"

#define LIMBS 4
#define HEADROOM 40
#define BIAS 10000 /* so that no base is zero */
#define BELOW 90   /* bits of room for smaller values */
#define BELOW_PRODUCT 60

/* |x| = mantissa * 2 ^ exponent; x is finite */
static inline uint64
split(float8 x, int *exponent)
{
	uint64 bits;
	uint64 fraction;
	int e;

	memcpy(&bits, &x, sizeof(bits));
	fraction = bits & ((UINT64CONST(1) << 52) - 1);
	e = (bits >> 52) & 0x7ff;
	*exponent = (e > 0 ? e : 1) - 1075;
	return e > 0 ? fraction | UINT64CONST(1) << 52 : fraction;
}

static void
add_rest(FastExact *sum, Numeric value, bool negate)
{
	Numeric old = sum->rest ? sum->rest : int64_to_numeric(0);

	sum->rest = DatumGetNumeric(DirectFunctionCall2(negate ? numeric_sub : numeric_add,
													NumericGetDatum(old), NumericGetDatum(value)));
	pfree(old);
	pfree(value);
}

static inline void
add_limbs(uint64 *sum, const uint64 *x)
{
	uint128 carry = 0;

	for (int i = 0; i < LIMBS; i++)
	{
		carry += (uint128) sum[i] + x[i];
		sum[i] = (uint64) carry;
		carry >>= 64;
	}
}

static inline void
negate_limbs(uint64 *x)
{
	uint128 carry = 1;

	for (int i = 0; i < LIMBS; i++)
	{
		carry += (uint64) ~x[i];
		x[i] = (uint64) carry;
		carry >>= 64;
	}
}

/* Adds mantissa * 2 ^ exponent.  False: it does not fit the window. */
static inline bool
add_scaled(FastExact *sum, uint128 mantissa, int nbits, int exponent, int below, bool negate)
{
	uint64 x[LIMBS + 2] = {0};
	int shift;
	int limb;
	int bit;

	if (mantissa == 0)
		return true;
	if (sum->base == 0)
		sum->base = exponent - below + BIAS;
	shift = exponent - (int) (sum->base - BIAS);
	if (shift < 0 || shift + nbits > LIMBS * 64 - HEADROOM)
		return false;
	limb = shift / 64;
	bit = shift % 64;
	x[limb] = (uint64) mantissa << bit;
	x[limb + 1] = (uint64) (mantissa >> 64) << bit;
	if (bit > 0)
	{
		x[limb + 1] |= (uint64) mantissa >> (64 - bit);
		x[limb + 2] = (uint64) (mantissa >> 64) >> (64 - bit);
	}
	if (negate)
		negate_limbs(x);
	add_limbs(sum->sum, x);
	return true;
}

void
braid_fast_exact_add(FastExact *sum, float8 x, bool negate)
{
	uint64 mantissa;
	int exponent;

	mantissa = split(x, &exponent);
	if (!isfinite(x) || !add_scaled(sum, mantissa, 53, exponent, BELOW, negate != (x < 0)))
		add_rest(sum, braid_exact(x), negate);
}

void
braid_fast_exact_add_product(FastExact *sum, float8 x, float8 y, bool negate)
{
	uint128 mantissa;
	int exponent;
	int other;

	if (!isfinite(x) || !isfinite(y))
		return;
	mantissa = split(x, &exponent);
	mantissa *= split(y, &other);
	if (!add_scaled(sum, mantissa, 106, exponent + other, BELOW_PRODUCT,
					negate != ((x < 0) != (y < 0))))
		add_rest(sum, braid_exact_product(x, y), negate);
}

Numeric
braid_fast_exact_result(const FastExact *sum)
{
	uint64 x[LIMBS];
	bool is_negative = sum->sum[LIMBS - 1] >> 63;
	Numeric result;

	memcpy(x, sum->sum, sizeof(x));
	if (is_negative)
		negate_limbs(x);
	result =
		braid_exact_words(is_negative, x, LIMBS, sum->base == 0 ? 0 : (int) (sum->base - BIAS));
	if (sum->rest == NULL)
		return result;
	return DatumGetNumeric(
		DirectFunctionCall2(numeric_add, NumericGetDatum(result), NumericGetDatum(sum->rest)));
}

/* If both have the same window, which the first value has placed; else as what does not fit. */
void
braid_fast_exact_combine(FastExact *sum, const FastExact *other)
{
	if (sum->base == 0 && other->base != 0)
		sum->base = other->base;
	if (other->base == sum->base)
	{
		add_limbs(sum->sum, other->sum);
		if (other->rest)
			add_rest(sum, DatumGetNumeric(datumCopy(NumericGetDatum(other->rest), false, -1)),
					 false);
	}
	else
		add_rest(sum, braid_fast_exact_result(other), false);
}
