/*
 * grid.h
 *	  A line of event times, cut at regular boundaries.
 *
 * What leaves the range of the type raises an error.
 */
#ifndef BRAID_EVENT_GRID_H
#define BRAID_EVENT_GRID_H

#include "event/type.h"

/* A distance: months of the calendar, or else a fixed length.  Positive. */
typedef struct Span
{
	int32 months;
	int64 length;
} Span;

/* The boundaries are origin + k * span, for any integer k. */
typedef struct Grid
{
	EventType type;
	Span span;
	int64 origin;
} Grid;

/*
 * Reads the argument that is called name: integer or interval, as the type wants
 * it.  An error if it is not positive, or no such span.
 */
extern Span braid_span_read(EventType type, Datum value, const char *name);

/* In the unit of the type, which is no integer. */
static inline int64
braid_day_length(EventType type)
{
	return type == EVENT_DATE ? 1 : USECS_PER_DAY;
}

/* The same of the gap of a session, which has no months either. */
extern Span braid_gap_read(EventType type, Datum value);

/* Where boundaries are counted from unless the user says it: weeks begin on Mondays. */
static inline int64
braid_span_origin(EventType type, Span span)
{
	const int64 monday = 2; /* January 3, 2000 */

	if (type == EVENT_INT4 || type == EVENT_INT8 || span.months > 0)
		return 0;
	if (type == EVENT_DATE)
		return span.length % 7 == 0 ? monday : 0;
	return span.length % (7 * USECS_PER_DAY) == 0 ? monday * USECS_PER_DAY : 0;
}

extern int64 braid_grid_floor_months(const Grid *grid, int64 at);

static inline int64
braid_remainder(int64 a, int64 b)
{
	int64 r = a % b;

	return r < 0 ? r + b : r;
}

/* The last boundary that is not after the time. */
static inline int64
braid_grid_floor(const Grid *grid, int64 at)
{
	int64 past;

	if (grid->span.months > 0)
		return braid_grid_floor_months(grid, at);

	/* at - origin may not fit into int64. */
	past = braid_remainder(at, grid->span.length);
	if (grid->origin != 0)
	{
		past -= braid_remainder(grid->origin, grid->span.length);
		if (past < 0)
			past += grid->span.length;
	}
	return braid_event_subtract(grid->type, at, past);
}

/*
 * A boundary plus a span.  If both are of months these are counted from the
 * origin: a month after February 28 is March 31 if the origin is on a 31st.
 */
extern int64 braid_grid_add(const Grid *grid, int64 boundary, Span span);

#endif /* BRAID_EVENT_GRID_H */
