/*
 * scale.c
 *	  The aggregate braid_internal.scale_count(): how many values have the
 *	  highest scale among all.
 *
 * NOTES
 *	  The state is one number, scale * 2^48 + count.  The count may be below zero,
 *	  as values have weights.  Of a scale that was seen it may also be zero: that
 *	  is another state than that of a lower scale.  NaN and infinities, which have
 *	  no scale, are not counted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define COUNT_BITS 48

static int64
state_of(int64 scale, int64 count)
{
	return (scale << COUNT_BITS) + count;
}

static int64
scale_in(int64 state)
{
	return (state + (INT64CONST(1) << (COUNT_BITS - 1))) >> COUNT_BITS;
}

/* Of two states. */
static int64
combined(int64 a, int64 b)
{
	int64 scale = scale_in(a);

	if (scale != scale_in(b))
		return scale > scale_in(b) ? a : b;
	return a + b - state_of(scale, 0);
}

PG_FUNCTION_INFO_V1(braid_sql_scale_count_step);

/* braid_internal.scale_count_step(state bigint, value numeric, weight bigint) */
Datum
braid_sql_scale_count_step(PG_FUNCTION_ARGS)
{
	int64 state = PG_GETARG_INT64(0);
	Numeric value = PG_GETARG_NUMERIC(1);
	int64 weight = PG_GETARG_INT64(2);
	int32 scale;

	if (numeric_is_nan(value) || numeric_is_inf(value))
		PG_RETURN_INT64(state);
	scale = DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(value)));
	PG_RETURN_INT64(combined(state, state_of(scale, weight)));
}

PG_FUNCTION_INFO_V1(braid_sql_scale_count_combine);

/* braid_internal.scale_count_combine(state bigint, other bigint) */
Datum
braid_sql_scale_count_combine(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(combined(PG_GETARG_INT64(0), PG_GETARG_INT64(1)));
}

PG_FUNCTION_INFO_V1(braid_sql_scale_count_final);

/* braid_internal.scale_count_final(state bigint) */
Datum
braid_sql_scale_count_final(PG_FUNCTION_ARGS)
{
	int64 state = PG_GETARG_INT64(0);

	PG_RETURN_INT64(state - state_of(scale_in(state), 0));
}
