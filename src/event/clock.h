/*
 * clock.h
 *	  The local clock of a time zone.
 */
#ifndef BRAID_EVENT_CLOCK_H
#define BRAID_EVENT_CLOCK_H

#include "fmgr.h"
#include "pgtime.h"

/*
 * A stretch of time within which the clock has one offset.  The offset may be
 * the same just before it; it changes at its end, if it has one.
 */
typedef struct ClockSegment
{
	int64 from;
	int64 until; /* exclusive; PG_INT64_MAX: for ever */
	int64 offset;
} ClockSegment;

/* Kept from row to row: most are near the one before. */
typedef struct Clock
{
	char name[TZ_STRLEN_MAX + 1];
	pg_tz *zone;
	ClockSegment segment; /* the last one used */

	/* The last origin that was converted: the same for all rows, as a rule. */
	bool has_origin;
	bool origin_is_local;
	int64 origin;
	int64 converted;
} Clock;

/*
 * The clock of the zone (a text), kept in *clock.  Only names of the time zone
 * database and POSIX rules are zones here: abbreviations depend on a setting.
 */
extern void braid_clock_set(Clock *clock, Datum zone);

/* What the clock shows at an instant. */
extern int64 braid_clock_at(Clock *clock, int64 instant);

/*
 * The first instant at which the clock shows this time or a later one.  A time
 * that is shown twice is the first of the two; one that is skipped is the instant
 * at which it is.
 */
extern int64 braid_clock_first(Clock *clock, int64 local);

/* Whether the clock can have shown a later time before than it shows at the instant. */
extern bool braid_clock_may_have_gone_back(Clock *clock, int64 instant);

/* Both conversions, for origins. */
extern int64 braid_clock_origin_at(Clock *clock, int64 instant);
extern int64 braid_clock_origin_first(Clock *clock, int64 local);

#endif /* BRAID_EVENT_CLOCK_H */
