/*
 * cut.c
 *	  How the line of event times is cut into windows, by arguments of SQL.
 *
 * NOTES
 *	  With a time zone the local clock decides, wherever windows fit into days or
 *	  days into windows: a day has 23 to 25 hours, and six hours may last five or
 *	  seven.  Others have a fixed length.  So have those of an hour and less: what a
 *	  clock that is set back shows for the second time is apart from the first.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "event/cut.h"

static bool
follows_clock(Span span)
{
	return span.months > 0 || span.length % USECS_PER_DAY == 0 ||
		   (span.length > USECS_PER_HOUR && USECS_PER_DAY % span.length == 0);
}

void
braid_cut_set_clock(Cut *cut, Clock *clock, Datum zone, bool has_origin)
{
	int64 *origin = &cut->grid.origin;

	braid_clock_set(clock, zone);
	if (follows_clock(cut->grid.span))
	{
		cut->clock = clock;
		if (has_origin)
			*origin = braid_clock_origin_at(clock, *origin);
	}
	else if (!has_origin)
		*origin = braid_clock_origin_first(clock, *origin);
}

int64
braid_cut_floor_by_clock(const Cut *cut, int64 at)
{
	int64 boundary = braid_grid_floor(&cut->grid, braid_clock_at(cut->clock, at));
	int64 next;

	if (!braid_clock_may_have_gone_back(cut->clock, at))
		return boundary;
	for (;;)
	{
		next = braid_grid_add(&cut->grid, boundary, cut->grid.span);
		if (braid_clock_first(cut->clock, next) > at)
			return boundary;
		boundary = next;
	}
}
