/*
 * reach.c
 *	  How far a session reaches, for those who keep sessions without their rows.
 *
 * NOTES
 *	  braid.session() compares a row with the one before it.  Who has of a session
 *	  no more than its first and last event time asks for its reach instead: the
 *	  latest event time at which a row would still belong to it.
 */
#include "postgres.h"

#include "event/grid.h"
#include "utils/date.h"
#include "utils/timestamp.h"

/* The latest value of the type that is not infinite. */
static int64
latest(EventType type)
{
	switch (type)
	{
		case EVENT_TIMESTAMPTZ:
		case EVENT_TIMESTAMP:
			return END_TIMESTAMP - 1;
		case EVENT_DATE:
			return DATE_END_JULIAN - POSTGRES_EPOCH_JDATE - 1;
		case EVENT_INT4:
			return PG_INT32_MAX;
		case EVENT_INT8:
			return PG_INT64_MAX;
	}
	pg_unreachable();
}

/* Rows at infinity are in a session with those that are there too, and with no others. */
static Datum
reach(FunctionCallInfo fcinfo, EventType type)
{
	int64 last = braid_event_read(type, PG_GETARG_DATUM(0));
	int64 beyond = braid_gap_read(type, PG_GETARG_DATUM(1)).length - 1;

	if (braid_event_is_infinite(type, last))
		return braid_event_datum(type, last);
	if (beyond > (uint64) latest(type) - (uint64) last)
		return braid_event_datum(type, latest(type));
	return braid_event_datum(type, last + beyond);
}

/* As braid.session_end() has it. */
static Datum
end(FunctionCallInfo fcinfo, EventType type)
{
	int64 last = braid_event_read(type, PG_GETARG_DATUM(0));
	int64 gap = braid_gap_read(type, PG_GETARG_DATUM(1)).length;

	if (braid_event_is_infinite(type, last))
		return braid_event_datum(type, last);
	return braid_event_datum(type, braid_event_add(type, last, gap));
}

/* For each type braid_internal.session_reach(last, gap) and session_end_after(last, gap). */
#define REACH(name, type)                                                                          \
	PG_FUNCTION_INFO_V1(braid_sql_session_reach_##name);                                           \
	Datum braid_sql_session_reach_##name(PG_FUNCTION_ARGS)                                         \
	{                                                                                              \
		return reach(fcinfo, type);                                                                \
	}                                                                                              \
	PG_FUNCTION_INFO_V1(braid_sql_session_end_after_##name);                                       \
	Datum braid_sql_session_end_after_##name(PG_FUNCTION_ARGS)                                     \
	{                                                                                              \
		return end(fcinfo, type);                                                                  \
	}                                                                                              \
	extern int no_such_variable

REACH(timestamptz, EVENT_TIMESTAMPTZ);
REACH(timestamp, EVENT_TIMESTAMP);
REACH(date, EVENT_DATE);
REACH(int4, EVENT_INT4);
REACH(int8, EVENT_INT8);
