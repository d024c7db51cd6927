/*
 * single.c
 *	  The aggregate braid_internal.single(): the value of the only row.
 *
 * NOTES
 *	  A scalar subquery raises an error if it returns more than one row.  Kept up
 *	  to date it is a group, and this aggregate its value.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

typedef struct SingleState
{
	Datum value;
	bool isnull;
} SingleState;

PG_FUNCTION_INFO_V1(braid_sql_single_step);

/* braid_internal.single_step(state internal, value anyelement) */
Datum
braid_sql_single_step(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext old;
	SingleState *state;
	int16 length;
	bool by_value;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR, (errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
						errmsg("braid_internal.single_step() must be called by an aggregate")));
	if (!PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION),
						errmsg("more than one row returned by a subquery used as an expression")));
	old = MemoryContextSwitchTo(context);
	state = palloc0(sizeof(SingleState));
	state->isnull = PG_ARGISNULL(1);
	if (!state->isnull)
	{
		get_typlenbyval(get_fn_expr_argtype(fcinfo->flinfo, 1), &length, &by_value);
		state->value = datumCopy(PG_GETARG_DATUM(1), by_value, length);
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(braid_sql_single_final);

/* braid_internal.single_final(state internal, value anyelement): value says the type */
Datum
braid_sql_single_final(PG_FUNCTION_ARGS)
{
	SingleState *state = PG_ARGISNULL(0) ? NULL : (SingleState *) PG_GETARG_POINTER(0);

	if (state == NULL || state->isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(state->value);
}
