/*
 * estimate.c
 *	  How many windows the planner expects of braid.hop() and braid.cumulate().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/primnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/timestamp.h"

/* A length that can be compared with that of other arguments; 0 if it is not known. */
static double
length_of(PlannerInfo *root, Node *argument)
{
	Const *c = (Const *) estimate_expression_value(root, argument);

	if (!IsA(c, Const) || c->constisnull)
		return 0;
	switch (c->consttype)
	{
		case INT4OID:
			return DatumGetInt32(c->constvalue);
		case INT8OID:
			return (double) DatumGetInt64(c->constvalue);
		case INTERVALOID:
		{
			Interval *i = DatumGetIntervalP(c->constvalue);

			return ((double) i->month * DAYS_PER_MONTH + i->day) * USECS_PER_DAY + i->time;
		}
		default:
			return 0;
	}
}

/* The quotient of two arguments, if they are known and make sense. */
static bool
estimate(SupportRequestRows *request, int dividend, int divisor, double *quotient)
{
	List *arguments;
	double a;
	double b;

	if (request->node == NULL || !IsA(request->node, FuncExpr))
		return false;
	arguments = ((FuncExpr *) request->node)->args;
	a = length_of(request->root, list_nth(arguments, dividend));
	b = length_of(request->root, list_nth(arguments, divisor));
	if (a <= 0 || b <= 0)
		return false;
	*quotient = Max(a / b, 1);
	return true;
}

PG_FUNCTION_INFO_V1(braid_sql_hop_support);

/* braid_internal.hop_support(internal): each time is in size / slide windows */
Datum
braid_sql_hop_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestRows) || !estimate(request, 1, 2, &request->rows))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(request);
}

PG_FUNCTION_INFO_V1(braid_sql_cumulate_support);

/* braid_internal.cumulate_support(internal): half of the steps lie ahead, on average */
Datum
braid_sql_cumulate_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	double nsteps;

	if (!IsA(request, SupportRequestRows) || !estimate(request, 2, 1, &nsteps))
		PG_RETURN_POINTER(NULL);
	request->rows = (nsteps + 1) / 2;
	PG_RETURN_POINTER(request);
}
