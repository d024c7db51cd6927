/*
 * session.c
 *	  Session windows: the window functions braid.session() and braid.session_end().
 *
 * NOTES
 *	  A session ends where no row follows for a time as long as the gap: two rows
 *	  that follow one another at a distance of the gap or more are in different
 *	  sessions, as in Flink.
 *
 *	  Rows come in the order of their event times.  So the start of a session is
 *	  known from the row before; its end is found by reading ahead, once for each
 *	  session.  Rows without an event time, all first or all last, are in none.
 */
#include "postgres.h"

#include "event/grid.h"
#include "windowapi.h"

/* Of a partition; all zero when it begins. */
typedef struct SessionState
{
	bool has_gap;
	Span gap;
	bool has_last;
	int64 last;	   /* event time of the last row that was looked at */
	int64 start;   /* session: event time of the first row of its session */
	int64 nlooked; /* session_end: rows of the partition up to the session's last one */
} SessionState;

/* Reads the gap into the state; false if it is null. */
static bool
read_gap(FunctionCallInfo fcinfo, SessionState *state, EventType type)
{
	bool isnull;
	Datum value;
	Span gap;

	if (state->has_gap && get_fn_expr_arg_stable(fcinfo->flinfo, 1))
		return true;
	value = WinGetFuncArgCurrent(PG_WINDOW_OBJECT(), 1, &isnull);
	if (isnull)
		return false;
	gap = braid_gap_read(type, value);
	if (state->has_gap && gap.length != state->gap.length)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid gap of windows"),
						errdetail("It differs between rows of one partition.")));
	state->gap = gap;
	state->has_gap = true;
	return true;
}

/* Whether a row belongs to the session of the row before it. */
static bool
goes_on(SessionState *state, EventType type, int64 at)
{
	if (at < state->last)
		ereport(
			ERROR,
			(errcode(ERRCODE_WINDOWING_ERROR),
			 errmsg("sessions need rows in the order of their event time"),
			 errhint("Order the window by the event time: OVER (PARTITION BY ... ORDER BY ts).")));
	if (at == state->last)
		return true;
	if (braid_event_is_infinite(type, at) || braid_event_is_infinite(type, state->last))
		return false;
	return (uint64) at - (uint64) state->last < (uint64) state->gap.length;
}

static Datum
session(FunctionCallInfo fcinfo, EventType type)
{
	WindowObject window = PG_WINDOW_OBJECT();
	SessionState *state = WinGetPartitionLocalMemory(window, sizeof(SessionState));
	bool isnull;
	Datum value = WinGetFuncArgCurrent(window, 0, &isnull);
	int64 at;

	WinSetMarkPosition(window, WinGetCurrentPosition(window));
	if (isnull || !read_gap(fcinfo, state, type))
		PG_RETURN_NULL();
	at = braid_event_read(type, value);
	if (!state->has_last || !goes_on(state, type, at))
		state->start = at;
	state->last = at;
	state->has_last = true;
	return braid_event_datum(type, state->start);
}

/* Moves the state to the last row of the session of the current row. */
static void
look_ahead(WindowObject window, SessionState *state, EventType type)
{
	for (int ahead = 1;; ahead++)
	{
		bool isnull;
		bool is_outside;
		Datum value = WinGetFuncArgInPartition(window, 0, ahead, WINDOW_SEEK_CURRENT, false,
											   &isnull, &is_outside);

		if (is_outside || isnull || !goes_on(state, type, braid_event_read(type, value)))
			return;
		state->last = braid_event_read(type, value);
		state->nlooked++;
	}
}

static Datum
session_end(FunctionCallInfo fcinfo, EventType type)
{
	WindowObject window = PG_WINDOW_OBJECT();
	SessionState *state = WinGetPartitionLocalMemory(window, sizeof(SessionState));
	int64 position = WinGetCurrentPosition(window);
	bool isnull;
	Datum value = WinGetFuncArgCurrent(window, 0, &isnull);

	WinSetMarkPosition(window, position);
	if (isnull || !read_gap(fcinfo, state, type))
		PG_RETURN_NULL();
	if (position >= state->nlooked)
	{
		state->last = braid_event_read(type, value);
		state->nlooked = position + 1;
		look_ahead(window, state, type);
	}
	if (braid_event_is_infinite(type, state->last))
		return braid_event_datum(type, state->last);
	return braid_event_datum(type, braid_event_add(type, state->last, state->gap.length));
}

/* For each type braid.session(ts, gap) and braid.session_end(ts, gap). */
#define SESSION(name, type)                                                                        \
	PG_FUNCTION_INFO_V1(braid_sql_session_##name);                                                 \
	Datum braid_sql_session_##name(PG_FUNCTION_ARGS)                                               \
	{                                                                                              \
		return session(fcinfo, type);                                                              \
	}                                                                                              \
	PG_FUNCTION_INFO_V1(braid_sql_session_end_##name);                                             \
	Datum braid_sql_session_end_##name(PG_FUNCTION_ARGS)                                           \
	{                                                                                              \
		return session_end(fcinfo, type);                                                          \
	}                                                                                              \
	extern int no_such_variable

SESSION(timestamptz, EVENT_TIMESTAMPTZ);
SESSION(timestamp, EVENT_TIMESTAMP);
SESSION(date, EVENT_DATE);
SESSION(int4, EVENT_INT4);
SESSION(int8, EVENT_INT8);
