/*
 * hop.c
 *	  Windows that overlap: braid.hop() and braid.cumulate().
 *
 * NOTES
 *	  Both are called for every row of a table, and return few rows each.  So what
 *	  they need is made once for a query and not, as the macros for set-returning
 *	  functions do, for each call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/int.h"
#include "datatype/timestamp.h"
#include "event/cut.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/execnodes.h"

/* The windows around an event time, as far as they have been returned. */
typedef struct WindowSet
{
	bool is_begun;
	Clock clock;
	TupleDesc row;

	EventType type;
	bool has_zone;
	int64 at;
	Span size; /* hop */
	Span step; /* cumulate */
	Cut cut;   /* at starts of windows; of cumulate, at those that differ */
	bool is_done;
	int64 boundary;	  /* where the next window starts */
	int64 last;		  /* hop: where the last one does; cumulate: where all end */
	int64 nsteps;	  /* cumulate: of the next window */
	int64 shown_from; /* the window returned last */
	int64 shown_until;
} WindowSet;

typedef void (*BeginWindows)(FunctionCallInfo fcinfo, WindowSet *w);
typedef bool (*NextWindow)(WindowSet *w, int64 *from, int64 *until);

/* ---------------------------------------------------------------- sets of rows */

/* A query may stop reading before all windows were returned, and begin anew. */
static void
forget(Datum w)
{
	((WindowSet *) DatumGetPointer(w))->is_begun = false;
}

static WindowSet *
window_set_of(FunctionCallInfo fcinfo, EventType type, bool has_zone)
{
	MemoryContext old;
	Oid column;
	WindowSet *w;

	if (fcinfo->flinfo->fn_extra)
		return fcinfo->flinfo->fn_extra;
	column = get_fn_expr_argtype(fcinfo->flinfo, 0);
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	w = palloc0(sizeof(WindowSet));
	w->type = type;
	w->has_zone = has_zone;
	w->row = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(w->row, 1, "window_start", column, -1, 0);
	TupleDescInitEntry(w->row, 2, "window_end", column, -1, 0);
	w->row = BlessTupleDesc(w->row);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = w;
	return w;
}

static bool
next_infinite(WindowSet *w, int64 *from, int64 *until)
{
	*from = *until = w->at;
	w->is_done = true;
	return true;
}

static Datum
return_next(FunctionCallInfo fcinfo, WindowSet *w, BeginWindows begin, NextWindow next)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	bool nulls[2] = {false, false};
	Datum values[2];
	int64 from;
	int64 until;

	if (set == NULL || !IsA(set, ReturnSetInfo) || !(set->allowedModes & SFRM_ValuePerCall))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	if (!w->is_begun)
	{
		w->at = braid_event_read(w->type, PG_GETARG_DATUM(0));
		w->is_done = false;
		begin(fcinfo, w);
		w->is_begun = true;
		RegisterExprContextCallback(set->econtext, forget, PointerGetDatum(w));
	}
	if (braid_event_is_infinite(w->type, w->at))
		next = next_infinite;
	if (w->is_done || !next(w, &from, &until))
	{
		UnregisterExprContextCallback(set->econtext, forget, PointerGetDatum(w));
		w->is_begun = false;
		set->isDone = ExprEndResult;
		PG_RETURN_NULL();
	}
	values[0] = braid_event_datum(w->type, from);
	values[1] = braid_event_datum(w->type, until);
	set->isDone = ExprMultipleResult;
	return HeapTupleGetDatum(heap_form_tuple(w->row, values, nulls));
}

static void
refuse(const char *what, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s of windows", what),
					errdetail_internal("%s", detail), errhint("%s", hint)));
}

/* ---------------------------------------------------------------- hop */

static void
check_slide(EventType type, Span size, Span slide)
{
	bool is_longer;

	/* Months have 28 to 31 days. */
	if (size.months > 0 && slide.months > 0)
		is_longer = slide.months > size.months;
	else if (size.months > 0)
		is_longer = (slide.length - 1) / braid_day_length(type) >= (int64) size.months * 28;
	else if (slide.months > 0)
		is_longer = (int64) slide.months * 31 > size.length / braid_day_length(type);
	else
		is_longer = slide.length > size.length;
	if (is_longer)
		refuse("slide", "It is longer than the size, so that some times would be in no window.",
			   "The arguments of braid.hop() are the event time, the size and the slide.");
}

/* Where the window ends that starts at a boundary. */
static int64
end_of_hop(WindowSet *w, int64 boundary)
{
	bool is_whole_days = w->size.months > 0 || w->size.length % USECS_PER_DAY == 0;
	int64 local;

	if (w->cut.clock || !w->has_zone || !is_whole_days)
		return braid_cut_instant(&w->cut, braid_grid_add(&w->cut.grid, boundary, w->size));

	/* Starts at fixed distances, but days and months of the local clock. */
	local = braid_clock_at(&w->clock, boundary);
	return braid_clock_first(&w->clock, braid_grid_add(&w->cut.grid, local, w->size));
}

/* The first boundary whose window is around the event time; last is one. */
static int64
first_hop(WindowSet *w)
{
	Grid *grid = &w->cut.grid;
	int64 first = w->last;

	if (!w->has_zone && grid->span.months == 0 && w->size.months == 0)
	{
		int64 n = (w->size.length - 1 - (w->at - w->last)) / grid->span.length;

		return braid_event_subtract(w->type, w->last, n * grid->span.length);
	}
	for (;;)
	{
		int64 before = braid_grid_floor(grid, first - 1);

		if (end_of_hop(w, before) <= w->at)
			return first;
		first = before;
	}
}

static void
begin_hop(FunctionCallInfo fcinfo, WindowSet *w)
{
	Span slide = braid_span_read(w->type, PG_GETARG_DATUM(2), "slide");

	w->size = braid_span_read(w->type, PG_GETARG_DATUM(1), "size");
	check_slide(w->type, w->size, slide);
	w->cut = braid_cut_read(fcinfo, w->type, slide, 3, w->has_zone ? &w->clock : NULL);
	if (braid_event_is_infinite(w->type, w->at))
		return;
	w->last = braid_cut_floor(&w->cut, w->at);
	w->boundary = first_hop(w);
	w->shown_from = w->shown_until = PG_INT64_MIN;
}

static bool
next_hop(WindowSet *w, int64 *from, int64 *until)
{
	bool is_shown;

	do
	{
		if (w->is_done)
			return false;
		*from = braid_cut_instant(&w->cut, w->boundary);
		*until = end_of_hop(w, w->boundary);
		w->is_done = w->boundary == w->last;
		if (!w->is_done)
			w->boundary = braid_grid_add(&w->cut.grid, w->boundary, w->cut.grid.span);

		/* When the clock skips several boundaries they are one. */
		is_shown = *from == w->shown_from && *until == w->shown_until;
	} while (is_shown || *until <= w->at);
	w->shown_from = *from;
	w->shown_until = *until;
	return true;
}

/* ---------------------------------------------------------------- cumulate */

static void
check_step(EventType type, Span step, Span size)
{
	bool divides;

	if (size.months > 0 && step.months > 0)
		divides = size.months % step.months == 0;
	else if (size.months > 0)
		divides = braid_day_length(type) % step.length == 0;
	else
		divides = step.months == 0 && size.length % step.length == 0;
	if (!divides)
		refuse(
			"step", "The size is not a multiple of it.",
			"The arguments of braid.cumulate() are the event time, the step and the size. Months are multiples of a day and of what divides a day.");
}

/* Where the window of so many steps ends, at most where all do. */
static int64
end_of_steps(WindowSet *w, int64 nsteps)
{
	Span all = {w->step.months * nsteps, 0};

	if (w->step.months == 0 && pg_mul_s64_overflow(w->step.length, nsteps, &all.length))
		braid_event_out_of_range(w->type);
	return Min(w->last, braid_grid_add(&w->cut.grid, w->boundary, all));
}

static void
begin_cumulate(FunctionCallInfo fcinfo, WindowSet *w)
{
	int64 at = w->at;

	w->step = braid_span_read(w->type, PG_GETARG_DATUM(1), "step");
	w->size = braid_span_read(w->type, PG_GETARG_DATUM(2), "size");
	check_step(w->type, w->step, w->size);
	w->cut = braid_cut_read(fcinfo, w->type, w->size, 3, w->has_zone ? &w->clock : NULL);
	if (braid_event_is_infinite(w->type, at))
		return;
	w->boundary = braid_cut_floor(&w->cut, at);
	w->last = braid_grid_add(&w->cut.grid, w->boundary, w->size);
	if (w->cut.clock)
		at = braid_clock_at(w->cut.clock, at);
	w->nsteps = 1;
	if (w->step.months == 0 && at > w->boundary)
		w->nsteps += (at - w->boundary) / w->step.length;
	w->shown_until = w->at;
}

static bool
next_cumulate(WindowSet *w, int64 *from, int64 *until)
{
	*from = braid_cut_instant(&w->cut, w->boundary);
	do
	{
		int64 end;

		if (w->is_done)
			return false;
		end = end_of_steps(w, w->nsteps++);
		w->is_done = end == w->last;
		*until = braid_cut_instant(&w->cut, end);
	} while (*until <= w->shown_until);
	w->shown_until = *until;
	return true;
}

/* ---------------------------------------------------------------- entry points */

/* For each type braid.hop(ts, size, slide [, origin]) and braid.cumulate(ts, step, size [, origin]). */
#define WINDOWS(name, type, has_zone)                                                              \
	PG_FUNCTION_INFO_V1(braid_sql_hop_##name);                                                     \
	Datum braid_sql_hop_##name(PG_FUNCTION_ARGS)                                                   \
	{                                                                                              \
		return return_next(fcinfo, window_set_of(fcinfo, type, has_zone), begin_hop, next_hop);    \
	}                                                                                              \
	PG_FUNCTION_INFO_V1(braid_sql_cumulate_##name);                                                \
	Datum braid_sql_cumulate_##name(PG_FUNCTION_ARGS)                                              \
	{                                                                                              \
		return return_next(fcinfo, window_set_of(fcinfo, type, has_zone), begin_cumulate,          \
						   next_cumulate);                                                         \
	}                                                                                              \
	extern int no_such_variable

WINDOWS(timestamptz, EVENT_TIMESTAMPTZ, false);
WINDOWS(timestamp, EVENT_TIMESTAMP, false);
WINDOWS(date, EVENT_DATE, false);
WINDOWS(int4, EVENT_INT4, false);
WINDOWS(int8, EVENT_INT8, false);

/* The same with a last argument timezone. */
WINDOWS(zone, EVENT_TIMESTAMPTZ, true);
