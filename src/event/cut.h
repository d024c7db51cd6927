/*
 * cut.h
 *	  How the line of event times is cut into windows, by arguments of SQL.
 */
#ifndef BRAID_EVENT_CUT_H
#define BRAID_EVENT_CUT_H

#include "event/clock.h"
#include "event/grid.h"

/*
 * With a clock the boundaries of the grid are times that it shows; without one
 * they are event times.  A boundary comes into effect when the clock first shows
 * it or something later, so that windows neither overlap nor leave gaps.
 */
typedef struct Cut
{
	Grid grid;
	Clock *clock;
} Cut;

/*
 * Makes a cut follow the clock of a time zone, if it has to; if has_origin the origin
 * was given, as an instant.
 */
extern void braid_cut_set_clock(Cut *cut, Clock *clock, Datum zone, bool has_origin);

/*
 * Reads the optional arguments, origin and time zone, that stand from noptional
 * on; clock is not NULL if there is a time zone.
 */
static inline Cut
braid_cut_read(FunctionCallInfo fcinfo, EventType type, Span span, int noptional, Clock *clock)
{
	Cut cut = {{type, span, 0}, NULL};
	bool has_origin = PG_NARGS() > noptional + (clock ? 1 : 0);

	cut.grid.origin = has_origin ? braid_event_origin(type, PG_GETARG_DATUM(noptional))
								 : braid_span_origin(type, span);
	if (clock)
		braid_cut_set_clock(&cut, clock, PG_GETARG_DATUM(PG_NARGS() - 1), has_origin);
	return cut;
}

extern int64 braid_cut_floor_by_clock(const Cut *cut, int64 at);

/* The last boundary that is in effect at the time. */
static inline int64
braid_cut_floor(const Cut *cut, int64 at)
{
	return cut->clock ? braid_cut_floor_by_clock(cut, at) : braid_grid_floor(&cut->grid, at);
}

/* The event time from which on a boundary is in effect. */
static inline int64
braid_cut_instant(const Cut *cut, int64 boundary)
{
	return cut->clock ? braid_clock_first(cut->clock, boundary) : boundary;
}

#endif /* BRAID_EVENT_CUT_H */
