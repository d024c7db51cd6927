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

Cut
braid_cut_read(FunctionCallInfo fcinfo, EventType type, Span span, int noptional, Clock *clock)
{
	Cut cut = {{type, span, 0}, NULL};
	bool has_origin = PG_NARGS() > noptional + (clock ? 1 : 0);
	int64 *origin = &cut.grid.origin;

	*origin = has_origin ? braid_event_origin(type, PG_GETARG_DATUM(noptional))
						 : braid_span_origin(type, span);
	if (clock == NULL)
		return cut;
	braid_clock_set(clock, PG_GETARG_DATUM(PG_NARGS() - 1));
	if (follows_clock(span))
	{
		cut.clock = clock;
		if (has_origin)
			*origin = braid_clock_origin_at(clock, *origin);
	}
	else if (!has_origin)
		*origin = braid_clock_origin_first(clock, *origin);
	return cut;
}

int64
braid_cut_floor(const Cut *cut, int64 at)
{
	int64 boundary;
	int64 next;

	if (cut->clock == NULL)
		return braid_grid_floor(&cut->grid, at);
	boundary = braid_grid_floor(&cut->grid, braid_clock_at(cut->clock, at));
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
