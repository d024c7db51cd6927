/*
 * deviation.c
 *	  Standard deviations with the digits that PostgreSQL's aggregates have.
 *
 * NOTES
 *	  These take the square root of the variance and round it once, to the scale
 *	  of the variance.  sqrt(numeric) computes more digits for large numbers, and
 *	  rounding these again may round up what is just below a half.  Rounding
 *	  first to more digits never makes it round down wrongly, so one comparison,
 *	  which is exact, tells.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define ARITHMETIC(function, a, b)                                                                 \
	DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a), NumericGetDatum(b)))

static int32
scale_of(Numeric number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(number)));
}

static Numeric
round_to(Numeric number, int32 scale)
{
	return DatumGetNumeric(
		DirectFunctionCall2(numeric_round, NumericGetDatum(number), Int32GetDatum(scale)));
}

/* digit * 10 ^ -scale */
static Numeric
small_number(int digit, int32 scale)
{
	char *text = psprintf("%de-%d", digit, scale);

	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static bool
is_zero(Numeric number)
{
	Numeric sign = DatumGetNumeric(DirectFunctionCall1(numeric_sign, NumericGetDatum(number)));

	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(sign))) == 0;
}

/* Whether the square root of a number is below another one. */
static bool
is_root_below(Numeric number, Numeric other)
{
	return DatumGetBool(
		DirectFunctionCall2(numeric_lt, NumericGetDatum(number),
							NumericGetDatum(ARITHMETIC(numeric_mul, other, other))));
}

PG_FUNCTION_INFO_V1(braid_sql_deviation);

/* The square root of a variance; NaN of NaN. */
Datum
braid_sql_deviation(PG_FUNCTION_ARGS)
{
	Numeric variance = PG_GETARG_NUMERIC(0);
	Numeric root = DatumGetNumeric(DirectFunctionCall1(numeric_sqrt, NumericGetDatum(variance)));
	Numeric rounded;
	Numeric middle;
	int32 scale;

	if (numeric_is_nan(variance) || numeric_is_inf(variance))
		PG_RETURN_NUMERIC(root);
	scale = scale_of(variance);
	rounded = round_to(root, scale);
	if (scale_of(root) == scale || is_zero(rounded))
		PG_RETURN_NUMERIC(rounded);
	middle = ARITHMETIC(numeric_sub, rounded, small_number(5, scale + 1));
	if (is_root_below(variance, middle))
		rounded = ARITHMETIC(numeric_sub, rounded, small_number(1, scale));
	PG_RETURN_NUMERIC(rounded);
}
