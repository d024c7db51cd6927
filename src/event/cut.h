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
 * Reads the optional arguments, origin and time zone, that stand from noptional
 * on; clock is not NULL if there is a time zone.
 */
extern Cut
braid_cut_read(FunctionCallInfo fcinfo, EventType type, Span span, int noptional, Clock *clock);

/* The last boundary that is in effect at the time. */
extern int64 braid_cut_floor(const Cut *cut, int64 at);

/* The event time from which on a boundary is in effect. */
static inline int64
braid_cut_instant(const Cut *cut, int64 boundary)
{
	return cut->clock ? braid_clock_first(cut->clock, boundary) : boundary;
}

#endif /* BRAID_EVENT_CUT_H */
