/*
 * grid.c
 *	  Boundaries of windows.
 *
 * NOTES
 *	  A fixed length is a matter of remainders.  Months are counted on the
 *	  calendar: boundary k lies in the month k * months after that of the origin,
 *	  on the origin's day, or on the last day of a month that is too short.  So
 *	  boundaries never drift, and each is in a month of its own.
 */
#include "postgres.h"

#include "event/grid.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* ---------------------------------------------------------------- spans */

static void
refuse_span(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s of windows", name),
					errdetail_internal("%s", detail), hint ? errhint("%s", hint) : 0));
}

static Span
read_interval(EventType type, const Interval *interval, const char *name)
{
	Span span = {interval->month, 0};

	if (interval->month != 0 && (interval->day != 0 || interval->time != 0))
		refuse_span(
			name, "It has months, and days or a time.",
			"Months differ in length: give months and years, or else days, hours and less.");
	if (pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &span.length) ||
		pg_add_s64_overflow(span.length, interval->time, &span.length))
		refuse_span(name, "It is too long.", NULL);
	if (type == EVENT_DATE)
	{
		if (span.length % USECS_PER_DAY != 0)
			refuse_span(name, "Windows of dates last whole days.", "Cast the date to timestamp.");
		span.length /= USECS_PER_DAY;
	}
	return span;
}

Span
braid_span_read(EventType type, Datum value, const char *name)
{
	Span span = {0, 0};

	if (type == EVENT_INT4 || type == EVENT_INT8)
		span.length = braid_event_read(type, value);
	else
		span = read_interval(type, DatumGetIntervalP(value), name);
	if (span.months < 0 || span.length < 0 || (span.months == 0 && span.length == 0))
		refuse_span(name, "It must be greater than zero.", NULL);
	return span;
}

Span
braid_gap_read(EventType type, Datum value)
{
	Span gap = braid_span_read(type, value, "gap");

	if (gap.months > 0)
		refuse_span("gap", "It has months, which differ in length.", "Give days, hours and less.");
	return gap;
}

/* ---------------------------------------------------------------- months */

static inline int64
floor_divide(int64 a, int64 b)
{
	int64 quotient = a / b;

	return a % b < 0 ? quotient - 1 : quotient;
}

/* A time as the number of its month, the day in it, and the time of the day. */
typedef struct Moment
{
	int64 month;
	int day;
	int64 time;
} Moment;

static Moment
split(EventType type, int64 at)
{
	int64 days = floor_divide(at, braid_day_length(type));
	int year;
	int month;
	Moment m;

	m.time = at - days * braid_day_length(type);
	days += POSTGRES_EPOCH_JDATE;
	if (days < 0 || days > PG_INT32_MAX)
		braid_event_out_of_range(type);
	j2date((int) days, &year, &month, &m.day);
	m.month = (int64) year * MONTHS_PER_YEAR + month - 1;
	return m;
}

/* The same day and time in another month, or on its last day. */
static int64
in_month(EventType type, const Moment *m, int64 number)
{
	int64 year = floor_divide(number, MONTHS_PER_YEAR);
	int month = (int) (number - year * MONTHS_PER_YEAR) + 1;
	int64 at;
	int day;

	if (year < JULIAN_MINYEAR || year > JULIAN_MAXYEAR || !IS_VALID_JULIAN(year, month, 1))
		braid_event_out_of_range(type);
	day = Min(m->day, day_tab[isleap(year)][month - 1]);
	if (pg_mul_s64_overflow(date2j((int) year, month, day) - POSTGRES_EPOCH_JDATE,
							braid_day_length(type), &at))
		braid_event_out_of_range(type);
	return braid_event_add(type, at, m->time);
}

int64
braid_grid_floor_months(const Grid *grid, int64 at)
{
	Moment origin = split(grid->type, grid->origin);
	int64 distance = split(grid->type, at).month - origin.month;
	int64 k = floor_divide(distance, grid->span.months);
	int64 boundary = in_month(grid->type, &origin, origin.month + k * grid->span.months);

	/* Only in the month of the boundary itself can it be later. */
	if (boundary > at)
		boundary = in_month(grid->type, &origin, origin.month + (k - 1) * grid->span.months);
	return boundary;
}

static int64
add_months(const Grid *grid, int64 boundary, int32 months)
{
	Moment at = split(grid->type, boundary);
	Moment day = grid->span.months > 0 ? split(grid->type, grid->origin) : at;

	return in_month(grid->type, &day, at.month + months);
}

/* ---------------------------------------------------------------- boundaries */

int64
braid_grid_add(const Grid *grid, int64 boundary, Span span)
{
	if (span.months > 0)
		return add_months(grid, boundary, span.months);
	return braid_event_add(grid->type, boundary, span.length);
}
