/*
 * grid.h
 *	  A line of event times, cut at regular boundaries.
 *
 * Event times of all types are int64 here: microseconds since 2000 of timestamps,
 * days since 2000 of dates, integers as they are.  What leaves the range of the
 * type raises an error.
 */
#ifndef BRAID_EVENT_GRID_H
#define BRAID_EVENT_GRID_H

#include "fmgr.h"

typedef enum EventType
{
	EVENT_TIMESTAMPTZ,
	EVENT_TIMESTAMP,
	EVENT_DATE,
	EVENT_INT4,
	EVENT_INT8
} EventType;

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

/* The last boundary that is not after the time. */
extern int64 braid_grid_floor(const Grid *grid, int64 at);

/*
 * A boundary plus a span.  If both are of months these are counted from the
 * origin: a month after February 28 is March 31 if the origin is on a 31st.
 */
extern int64 braid_grid_add(const Grid *grid, int64 boundary, Span span);

/*
 * Reads the argument that is called name: integer or interval, as the type wants
 * it.  An error if it is not positive, or no such span.
 */
extern Span braid_span_read(EventType type, Datum value, const char *name);

/* Where boundaries are counted from unless the user says it. */
extern int64 braid_span_origin(EventType type, Span span);

/* Values of SQL.  An infinite one has no place in any grid. */
extern int64 braid_event_read(EventType type, Datum value);
extern Datum braid_event_datum(EventType type, int64 value);
extern bool braid_event_is_infinite(EventType type, int64 value);
extern int64 braid_event_origin(EventType type, Datum value);

/* A sum or difference, within int64. */
extern int64 braid_event_add(EventType type, int64 a, int64 b);
extern int64 braid_event_subtract(EventType type, int64 a, int64 b);

extern void braid_event_out_of_range(EventType type) pg_attribute_noreturn();

#endif /* BRAID_EVENT_GRID_H */
