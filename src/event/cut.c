/*
 * cut.c
 *	  How the line of event times is cut into windows, by arguments of SQL.
 *
 * NOTES
 *	  With a time zone the local clock decides: days have 23 to 25 hours, and six
 *	  hours may last five or seven.  But windows that divide an hour always last as
 *	  long as they should: when a clock is set back, what it shows for the second
 *	  time is not put to what it showed first.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "event/cut.h"

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
	if (span.months > 0 || USECS_PER_HOUR % span.length != 0)
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
