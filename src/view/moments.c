/*
 * moments.c
 *	  The aggregates braid_internal.exact_moments(): transition values of
 *	  PostgreSQL's aggregates of floats, rounded once.
 *
 * NOTES
 *	  What is too large for a float is infinite here: it may not be asked for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "view/exact.h"

/* Exact sums, in the aggregate's memory context. */
typedef struct Moments
{
	int64 n;
	Numeric x;
	Numeric xx;
	Numeric y;
	Numeric yy;
	Numeric xy;
} Moments;

static void
add(Numeric *sum, Numeric value)
{
	Numeric old = *sum;

	*sum = value;
	if (old == NULL)
		return;
	*sum = DatumGetNumeric(
		DirectFunctionCall2(numeric_add, NumericGetDatum(old), NumericGetDatum(value)));
	pfree(old);
	pfree(value);
}

PG_FUNCTION_INFO_V1(braid_sql_moments_step);

/* braid_internal.exact_moments_step(state internal, x float8), or (state, y float8, x float8) */
Datum
braid_sql_moments_step(PG_FUNCTION_ARGS)
{
	Moments *m = PG_ARGISNULL(0) ? NULL : (Moments *) PG_GETARG_POINTER(0);
	int last = PG_NARGS() - 1;
	MemoryContext context;
	MemoryContext old;
	float8 x;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("braid_internal.exact_moments_step() must be called by an aggregate")));
	old = MemoryContextSwitchTo(context);
	if (m == NULL)
		m = palloc0(sizeof(Moments));
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(last))
	{
		x = PG_GETARG_FLOAT8(last);
		m->n++;
		add(&m->x, braid_exact(x));
		add(&m->xx, braid_exact_product(x, x));
		if (last == 2)
		{
			float8 y = PG_GETARG_FLOAT8(1);

			add(&m->y, braid_exact(y));
			add(&m->yy, braid_exact_product(y, y));
			add(&m->xy, braid_exact_product(x, y));
		}
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(m);
}

/* float8[] of n, the sum of x, ... */
static Datum
transition_values(FunctionCallInfo fcinfo, int nvalues)
{
	Moments *m = PG_ARGISNULL(0) ? NULL : (Moments *) PG_GETARG_POINTER(0);
	Datum values[6];

	for (int i = 0; i < nvalues; i++)
		values[i] = Float8GetDatum(0);
	if (m && m->n > 0)
	{
		values[0] = Float8GetDatum(m->n);
		values[1] = Float8GetDatum(braid_exact_sum(m->x, true));
		values[2] = Float8GetDatum(braid_exact_comoment(m->n, m->x, m->x, m->xx, true));
	}
	if (m && m->n > 0 && nvalues == 6)
	{
		values[3] = Float8GetDatum(braid_exact_sum(m->y, true));
		values[4] = Float8GetDatum(braid_exact_comoment(m->n, m->y, m->y, m->yy, true));
		values[5] = Float8GetDatum(braid_exact_comoment(m->n, m->x, m->y, m->xy, true));
	}
	return PointerGetDatum(construct_array(values, nvalues, FLOAT8OID, sizeof(float8),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

PG_FUNCTION_INFO_V1(braid_sql_moments_final);

/* braid_internal.exact_moments_final(state internal): as float8_accum() leaves them */
Datum
braid_sql_moments_final(PG_FUNCTION_ARGS)
{
	return transition_values(fcinfo, 3);
}

PG_FUNCTION_INFO_V1(braid_sql_moments_of_pairs_final);

/* braid_internal.exact_moments_of_pairs_final(state internal): as float8_regr_accum() does */
Datum
braid_sql_moments_of_pairs_final(PG_FUNCTION_ARGS)
{
	return transition_values(fcinfo, 6);
}
