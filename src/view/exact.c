/*
 * exact.c
 *	  Floats as exact numbers, whose sums do not depend on their order.
 *
 * NOTES
 *	  A finite double is m * 2^e, with integers m and e.  If e is negative, that
 *	  is m * 5^-e * 10^e: a decimal fraction, of at most 1074 places.  The product
 *	  of two has twice as many.  Sums of such numerics are exact, so that what was
 *	  added can be taken back, and one rounding gives the result.
 *
 *	  Infinities and NaN can be taken back as well: they become numbers that no
 *	  sum of finite doubles comes near,
 *
 *		Infinity 10^400    -Infinity 10^450    NaN 10^500
 *
 *	  and the digits of a sum say how many of each are in it.  A product with one
 *	  of them is nothing: what the sums of the factors say decides.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "fmgr.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/numeric.h"
#include "view/exact.h"

#define MANTISSA_BITS 53
#define BASE 1000000000 /* of a limb */
#define BASE_DIGITS 9
#define MAX_LIMBS 180 /* of (2^53)^2 * 5^2148 */

#define INFINITY_PLACE 400
#define MINUS_INFINITY_PLACE 450
#define NAN_PLACE 500

#define ARITHMETIC(function, a, b)                                                                 \
	DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a), NumericGetDatum(b)))

/* A natural number; the last limb is the highest, and not zero but in zero itself. */
typedef struct Natural
{
	int n;
	uint32 limbs[MAX_LIMBS];
} Natural;

/* ---------------------------------------------------------------- natural numbers */

static void
set_natural(Natural *x, uint64 value)
{
	x->n = 0;
	do
		x->limbs[x->n++] = value % BASE;
	while ((value /= BASE) > 0);
}

static void
scale_natural(Natural *x, uint32 factor)
{
	uint64 carry = 0;

	for (int i = 0; i < x->n; i++)
	{
		carry += (uint64) x->limbs[i] * factor;
		x->limbs[i] = carry % BASE;
		carry /= BASE;
	}
	for (; carry > 0; carry /= BASE)
	{
		Assert(x->n < MAX_LIMBS);
		x->limbs[x->n++] = carry % BASE;
	}
}

static void
add_to_natural(Natural *x, uint32 value)
{
	uint64 carry = value;

	for (int i = 0; i < x->n && carry > 0; i++)
	{
		carry += x->limbs[i];
		x->limbs[i] = carry % BASE;
		carry /= BASE;
	}
	if (carry > 0)
		x->limbs[x->n++] = carry;
}

/* x *= factor ^ exponent; bulk is factor ^ nbulk */
static void
scale_by_power(Natural *x, uint32 factor, uint32 bulk, int nbulk, int exponent)
{
	for (; exponent >= nbulk; exponent -= nbulk)
		scale_natural(x, bulk);
	for (; exponent > 0; exponent--)
		scale_natural(x, factor);
}

static void
multiply_naturals(Natural *x, const Natural *y)
{
	Natural product = {.n = x->n + y->n};

	for (int i = 0; i < x->n; i++)
	{
		uint64 carry = 0;

		for (int j = 0; j < y->n; j++)
		{
			carry += product.limbs[i + j] + (uint64) x->limbs[i] * y->limbs[j];
			product.limbs[i + j] = carry % BASE;
			carry /= BASE;
		}
		product.limbs[i + y->n] = carry;
	}
	while (product.n > 1 && product.limbs[product.n - 1] == 0)
		product.n--;
	*x = product;
}

/* ---------------------------------------------------------------- numerics */

static Numeric
parse_numeric(char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static Numeric
power_of_ten(int exponent)
{
	return parse_numeric(psprintf("1e%d", exponent));
}

/* x * 2 ^ exponent, and its sign */
static Numeric
make_numeric(bool is_negative, Natural *x, int exponent)
{
	char text[MAX_LIMBS * BASE_DIGITS + 16];
	char *end = text;

	if (exponent >= 0)
		scale_by_power(x, 2, 1 << 30, 30, exponent);
	else
		scale_by_power(x, 5, 1220703125, 13, -exponent);
	if (is_negative)
		*end++ = '-';
	end = pg_ultostr(end, x->limbs[x->n - 1]);
	for (int i = x->n - 2; i >= 0; i--)
		end = pg_ultostr_zeropad(end, x->limbs[i], BASE_DIGITS);
	*end = '\0';
	if (exponent < 0)
		snprintf(end, text + sizeof(text) - end, "e%d", exponent);
	return parse_numeric(text);
}

/* What is common is quick. */
static bool
is_small_integer(float8 x)
{
	return fabs(x) < (float8) (UINT64CONST(1) << MANTISSA_BITS) && x == rint(x);
}

static Numeric
integer_numeric(float8 x)
{
	return DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum((int64) x)));
}

/* |x| = mantissa * 2 ^ exponent, with an odd mantissa, unless x is zero */
static uint64
split(float8 x, int *exponent)
{
	uint64 mantissa = (uint64) ldexp(frexp(fabs(x), exponent), MANTISSA_BITS);
	int zeros = mantissa == 0 ? 0 : pg_rightmost_one_pos64(mantissa);

	*exponent = mantissa == 0 ? 0 : *exponent - MANTISSA_BITS + zeros;
	return mantissa >> zeros;
}

Numeric
braid_exact(float8 x)
{
	Natural natural;
	int exponent;

	if (is_small_integer(x))
		return integer_numeric(x);
	if (isnan(x))
		return power_of_ten(NAN_PLACE);
	if (isinf(x))
		return power_of_ten(x > 0 ? INFINITY_PLACE : MINUS_INFINITY_PLACE);
	set_natural(&natural, split(x, &exponent));
	return make_numeric(x < 0, &natural, exponent);
}

Numeric
braid_exact_product(float8 x, float8 y)
{
	Natural natural;
	Natural other;
	int exponent;
	int other_exponent;

	if (!isfinite(x) || !isfinite(y))
		return integer_numeric(0);
	if (is_small_integer(x) && is_small_integer(y) && is_small_integer(x * y))
		return integer_numeric(x * y);
	set_natural(&natural, split(x, &exponent));
	set_natural(&other, split(y, &other_exponent));
	multiply_naturals(&natural, &other);
	return make_numeric((x < 0) != (y < 0), &natural, exponent + other_exponent);
}

/* Bits that are zero below the lowest one that is not; 0 of a zero. */
static int
trailing_zeros(const uint64 *x, int nwords)
{
	for (int i = 0; i < nwords; i++)
		if (x[i] != 0)
			return i * 64 + pg_rightmost_one_pos64(x[i]);
	return 0;
}

/* The 16 bits of x that begin at one. */
static uint32
bits_at(const uint64 *x, int nwords, int bit)
{
	int word = bit / 64;
	int shift = bit % 64;
	uint64 result = word < nwords ? x[word] >> shift : 0;

	if (shift > 48 && word + 1 < nwords)
		result |= x[word + 1] << (64 - shift);
	return result & 0xffff;
}

Numeric
braid_exact_words(bool is_negative, const uint64 *x, int nwords, int exponent)
{
	int zeros = trailing_zeros(x, nwords);
	Natural natural = {.n = 1, .limbs = {0}};

	for (int bit = nwords * 64 - 16; bit > -16; bit -= 16)
	{
		uint32 digit = bits_at(x, nwords, bit + zeros);

		if (natural.n > 1 || natural.limbs[0] > 0)
			scale_natural(&natural, 1 << 16);
		add_to_natural(&natural, digit);
	}
	if (natural.n == 1 && natural.limbs[0] == 0)
		return integer_numeric(0);
	return make_numeric(is_negative, &natural, exponent + zeros);
}

/* ---------------------------------------------------------------- results */

/* Whether one of the digits from one place to another, from the right, is not zero. */
static bool
has_digits(const char *digits, int from, int to)
{
	int length = strlen(digits);

	for (int i = from; i < Min(to, length); i++)
		if (digits[length - 1 - i] != '0')
			return true;
	return false;
}

static float8
nearest_float(Numeric number)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));
}

/* Of a sum that no float is large enough for. */
static float8
beyond_floats(Numeric sum, bool may_overflow)
{
	char *digits = DatumGetCString(
		DirectFunctionCall1(numeric_out, DirectFunctionCall2(numeric_round, NumericGetDatum(sum),
															 Int32GetDatum(-INFINITY_PLACE))));
	bool plus = has_digits(digits, INFINITY_PLACE, MINUS_INFINITY_PLACE);
	bool minus = has_digits(digits, MINUS_INFINITY_PLACE, NAN_PLACE);

	if (has_digits(digits, NAN_PLACE, PG_INT32_MAX) || (plus && minus))
		return get_float8_nan();
	if (!plus && !minus)
	{
		if (!may_overflow)
			float_overflow_error();
		return nearest_float(sum);
	}
	return plus ? get_float8_infinity() : -get_float8_infinity();
}

float8
braid_exact_sum(Numeric sum, bool may_overflow)
{
	float8 result = nearest_float(sum);

	return isinf(result) ? beyond_floats(sum, may_overflow) : result;
}

float8
braid_exact_comoment(int64 n, Numeric x, Numeric y, Numeric xy, bool may_overflow)
{
	Numeric numeric_n = DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(n)));
	Numeric times_n;
	float8 result;

	if (n == 0)
		return 0;
	if (!isfinite(braid_exact_sum(x, may_overflow)) || !isfinite(braid_exact_sum(y, may_overflow)))
		return get_float8_nan();
	times_n = ARITHMETIC(numeric_sub, ARITHMETIC(numeric_mul, numeric_n, xy),
						 ARITHMETIC(numeric_mul, x, y));
	result = nearest_float(times_n);
	if (result == 0 || (isfinite(result) && fabs(result) >= DBL_MIN))
		result /= n;
	else
		result = nearest_float(ARITHMETIC(numeric_div, times_n, numeric_n));
	if (isinf(result) && !may_overflow)
		float_overflow_error();
	return result;
}

/* ---------------------------------------------------------------- SQL functions */

PG_FUNCTION_INFO_V1(braid_sql_exact);

/* braid_internal.exact(x float8) */
Datum
braid_sql_exact(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(braid_exact(PG_GETARG_FLOAT8(0)));
}

PG_FUNCTION_INFO_V1(braid_sql_exact_product);

/* braid_internal.exact_product(x float8, y float8); 0 if one of them is not finite */
Datum
braid_sql_exact_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(braid_exact_product(PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1)));
}

PG_FUNCTION_INFO_V1(braid_sql_exact_sum);

/* braid_internal.exact_sum(sum numeric) */
Datum
braid_sql_exact_sum(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(braid_exact_sum(PG_GETARG_NUMERIC(0), false));
}

PG_FUNCTION_INFO_V1(braid_sql_comoment);

/*
 * braid_internal.comoment(n int8, x numeric, y numeric, xy numeric), of sums of
 * x, y and their product: the sum of (x - avg(x)) * (y - avg(y)).
 */
Datum
braid_sql_comoment(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(braid_exact_comoment(PG_GETARG_INT64(0), PG_GETARG_NUMERIC(1),
										  PG_GETARG_NUMERIC(2), PG_GETARG_NUMERIC(3), false));
}
