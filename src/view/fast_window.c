/*
 * fast_window.c
 *	  Windows of a fixed length, as what they are for arithmetic.
 *
 * NOTES
 *	  braid.tumble() without a time zone, date_bin(), and date_trunc() of timestamps up to
 *	  weeks: what is the same whatever the settings are.  One of the windows is asked of the
 *	  function itself, the others follow from it.  Times that are infinite, or so near to
 *	  the ends of all time that a window may begin before it, are left to the function.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "view/fast_window.h"

static const struct
{
	const char *unit;
	int64 length;
} units[] = {{"millisecond", 1000},	   {"second", USECS_PER_SEC}, {"minute", USECS_PER_MINUTE},
			 {"hour", USECS_PER_HOUR}, {"day", USECS_PER_DAY},	  {"week", 7 * USECS_PER_DAY}};

/*
 * Below that no time is infinite, and no window of a length below it begins where
 * there are no times.
 */
static int64
limit_of_times(Oid type)
{
	switch (type)
	{
		case INT4OID:
			return INT64CONST(1) << 32; /* more than there are: the result is checked */
		case INT8OID:
			return INT64CONST(1) << 61;
		case DATEOID:
			return INT64CONST(1) << 20;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return INT64CONST(1) << 56;
		default:
			return 0;
	}
}

static bool
is_constant(const Const *argument)
{
	return IsA(argument, Const) && !argument->constisnull;
}

/* The size of windows over times of the type, in its unit; 0 if it is no fixed one. */
static int64
length_of(Oid type, const Const *size)
{
	Interval *interval;
	int64 unit = type == DATEOID ? USECS_PER_DAY : 1;
	int64 length;

	if (!is_constant(size))
		return 0;
	if (size->consttype != INTERVALOID)
		return size->consttype == type ? (int64) size->constvalue : 0;
	interval = DatumGetIntervalP(size->constvalue);
	if (interval->month != 0 || abs(interval->day) > QUOTIENT_LIMIT / USECS_PER_DAY ||
		interval->time < -QUOTIENT_LIMIT || interval->time > QUOTIENT_LIMIT)
		return 0;
	length = interval->day * USECS_PER_DAY + interval->time;
	return length % unit == 0 ? length / unit : 0;
}

/* An origin that is a constant, and not infinite. */
static bool
is_origin(const Const *origin, Oid type, int64 limit)
{
	return is_constant(origin) && origin->consttype == type &&
		   (int64) origin->constvalue > -limit && (int64) origin->constvalue < limit;
}

/* braid.tumble(time, size [, origin]) */
static bool
take_tumble(FuncExpr *call, int64 limit, FastWindow *window)
{
	Const *size = lsecond(call->args);
	Const *origin = list_length(call->args) > 2 ? lthird(call->args) : NULL;

	window->time = linitial(call->args);
	if (list_length(call->args) > 3 || exprType((Node *) window->time) != call->funcresulttype ||
		(origin && !is_origin(origin, call->funcresulttype, limit)))
		return false;
	window->length = length_of(call->funcresulttype, size);
	if (window->length <= 1)
		return false;
	window->begin = (int64) (origin ? OidFunctionCall3(call->funcid, (Datum) 0, size->constvalue,
													   origin->constvalue)
									: OidFunctionCall2(call->funcid, (Datum) 0, size->constvalue));
	return true;
}

/* date_bin(size, time, origin); before the origin it depends on the version of PostgreSQL. */
static bool
take_bin(FuncExpr *call, int64 limit, FastWindow *window)
{
	Const *origin = lthird(call->args);

	if (!is_origin(origin, call->funcresulttype, limit))
		return false;
	window->time = lsecond(call->args);
	window->length = length_of(call->funcresulttype, linitial(call->args));
	window->begin = window->from = (int64) origin->constvalue;
	return true;
}

/* date_trunc(unit, timestamp) */
static bool
take_truncation(FuncExpr *call, FastWindow *window)
{
	Const *unit = linitial(call->args);
	char *name;

	if (!is_constant(unit))
		return false;
	name = TextDatumGetCString(unit->constvalue);
	window->time = lsecond(call->args);
	for (int i = 0; i < lengthof(units); i++)
		if (strcmp(name, units[i].unit) == 0)
			window->length = units[i].length;
	if (window->length > 0)
		window->begin = (int64) OidFunctionCall2(call->funcid, unit->constvalue, (Datum) 0);
	return true;
}

static bool
is_ours(Oid function)
{
	return get_func_namespace(function) == get_namespace_oid("braid", true) &&
		   strcmp(get_func_name(function), "tumble") == 0;
}

bool
braid_fast_window(FuncExpr *call, FastWindow *window)
{
	int64 limit = limit_of_times(call->funcresulttype);
	bool taken = false;

	*window = (FastWindow){.from = -limit, .until = limit};
	if (limit == 0 || list_length(call->args) < 2)
		return false;
	if (call->funcid == F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP ||
		call->funcid == F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ)
		taken = take_bin(call, limit, window);
	else if (call->funcid == F_DATE_TRUNC_TEXT_TIMESTAMP)
		taken = take_truncation(call, window);
	else if (is_ours(call->funcid))
		taken = take_tumble(call, limit, window);
	return taken && window->length > 1 && window->length < Min(limit, QUOTIENT_LIMIT);
}
