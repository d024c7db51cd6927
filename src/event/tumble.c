/*
 * tumble.c
 *	  Tumbling windows: braid.tumble() and braid.tumble_end().
 */
#include "postgres.h"

#include "event/cut.h"

/* The clock of this call of the function in the query. */
static Clock *
clock_of(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Clock));
	return fcinfo->flinfo->fn_extra;
}

/* The start or the end of the window around an event time; of infinity, itself. */
static pg_attribute_always_inline Datum
tumble(FunctionCallInfo fcinfo, EventType type, Clock *clock, bool is_end)
{
	Span size = braid_span_read(type, PG_GETARG_DATUM(1), "size");
	Cut cut = braid_cut_read(fcinfo, type, size, 2, clock);
	int64 at = braid_event_read(type, PG_GETARG_DATUM(0));
	int64 boundary;

	if (braid_event_is_infinite(type, at))
		return PG_GETARG_DATUM(0);
	boundary = braid_cut_floor(&cut, at);
	if (is_end)
		boundary = braid_grid_add(&cut.grid, boundary, size);
	return braid_event_datum(type, braid_cut_instant(&cut, boundary));
}

/* For each type braid.tumble(ts, size [, origin]) and braid.tumble_end(). */
#define TUMBLE(name, type)                                                                         \
	PG_FUNCTION_INFO_V1(braid_sql_tumble_##name);                                                  \
	Datum braid_sql_tumble_##name(PG_FUNCTION_ARGS)                                                \
	{                                                                                              \
		return tumble(fcinfo, type, NULL, false);                                                  \
	}                                                                                              \
	PG_FUNCTION_INFO_V1(braid_sql_tumble_end_##name);                                              \
	Datum braid_sql_tumble_end_##name(PG_FUNCTION_ARGS)                                            \
	{                                                                                              \
		return tumble(fcinfo, type, NULL, true);                                                   \
	}                                                                                              \
	extern int no_such_variable

TUMBLE(timestamptz, EVENT_TIMESTAMPTZ);
TUMBLE(timestamp, EVENT_TIMESTAMP);
TUMBLE(date, EVENT_DATE);
TUMBLE(int4, EVENT_INT4);
TUMBLE(int8, EVENT_INT8);

PG_FUNCTION_INFO_V1(braid_sql_tumble_zone);

/* braid.tumble(ts timestamptz, size interval [, origin timestamptz], timezone text) */
Datum
braid_sql_tumble_zone(PG_FUNCTION_ARGS)
{
	return tumble(fcinfo, EVENT_TIMESTAMPTZ, clock_of(fcinfo), false);
}

PG_FUNCTION_INFO_V1(braid_sql_tumble_end_zone);

/* braid.tumble_end(ts timestamptz, size interval [, origin timestamptz], timezone text) */
Datum
braid_sql_tumble_end_zone(PG_FUNCTION_ARGS)
{
	return tumble(fcinfo, EVENT_TIMESTAMPTZ, clock_of(fcinfo), true);
}
