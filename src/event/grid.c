/*
 * grid.c
 *	  Boundaries of windows, and the arithmetic of event times.
 *
 * NOTES
 *	  A fixed length is a matter of remainders.  Months are counted on the
 *	  calendar: boundary k lies in the month k * months after that of the origin,
 *	  on the origin's day, or on the last day of a month that is too short.  So
 *	  boundaries never drift, and each is in a month of its own.
 */
#include "postgres.h"

#include "common/int.h"
#include "event/grid.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define MONDAY 2 /* January 3, 2000, in days since January 1 */

/* ---------------------------------------------------------------- values */

void
braid_event_out_of_range(EventType type)
{
	static const char *const names[] = {"timestamp", "timestamp", "date", "integer", "bigint"};
	bool is_number = type == EVENT_INT4 || type == EVENT_INT8;

	ereport(ERROR, (errcode(is_number ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
									  : ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					errmsg("%s out of range", names[type]),
					errdetail("A window begins or ends outside the range of the type.")));
}

int64
braid_event_add(EventType type, int64 a, int64 b)
{
	int64 sum;

	if (pg_add_s64_overflow(a, b, &sum))
		braid_event_out_of_range(type);
	return sum;
}

int64
braid_event_subtract(EventType type, int64 a, int64 b)
{
	int64 difference;

	if (pg_sub_s64_overflow(a, b, &difference))
		braid_event_out_of_range(type);
	return difference;
}

int64
braid_event_read(EventType type, Datum value)
{
	switch (type)
	{
		case EVENT_DATE:
			return DatumGetDateADT(value);
		case EVENT_INT4:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

bool
braid_event_is_infinite(EventType type, int64 value)
{
	switch (type)
	{
		case EVENT_TIMESTAMPTZ:
		case EVENT_TIMESTAMP:
			return TIMESTAMP_NOT_FINITE(value);
		case EVENT_DATE:
			return DATE_NOT_FINITE(value);
		default:
			return false;
	}
}

Datum
braid_event_datum(EventType type, int64 value)
{
	bool is_valid = true;

	switch (type)
	{
		case EVENT_TIMESTAMPTZ:
		case EVENT_TIMESTAMP:
			is_valid = IS_VALID_TIMESTAMP(value) || TIMESTAMP_NOT_FINITE(value);
			break;
		case EVENT_DATE:
			is_valid = value == (DateADT) value &&
					   (IS_VALID_DATE((DateADT) value) || DATE_NOT_FINITE((DateADT) value));
			break;
		case EVENT_INT4:
			is_valid = value == (int32) value;
			break;
		case EVENT_INT8:
			break;
	}
	if (!is_valid)
		braid_event_out_of_range(type);
	switch (type)
	{
		case EVENT_DATE:
			return DateADTGetDatum((DateADT) value);
		case EVENT_INT4:
			return Int32GetDatum((int32) value);
		default:
			return Int64GetDatum(value);
	}
}

int64
braid_event_origin(EventType type, Datum value)
{
	int64 origin = braid_event_read(type, value);

	if (braid_event_is_infinite(type, origin))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("origin of windows cannot be infinite")));
	return origin;
}

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

/* Weeks begin on Mondays. */
int64
braid_span_origin(EventType type, Span span)
{
	if (span.months > 0)
		return 0;
	switch (type)
	{
		case EVENT_TIMESTAMPTZ:
		case EVENT_TIMESTAMP:
			return span.length % (7 * USECS_PER_DAY) == 0 ? MONDAY * USECS_PER_DAY : 0;
		case EVENT_DATE:
			return span.length % 7 == 0 ? MONDAY : 0;
		default:
			return 0;
	}
}

/* ---------------------------------------------------------------- months */

static inline int64
floor_divide(int64 a, int64 b)
{
	int64 quotient = a / b;

	return a % b < 0 ? quotient - 1 : quotient;
}

static inline int64
day_length(EventType type)
{
	return type == EVENT_DATE ? 1 : USECS_PER_DAY;
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
	int64 days = floor_divide(at, day_length(type));
	int year;
	int month;
	Moment m;

	m.time = at - days * day_length(type);
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
	if (pg_mul_s64_overflow(date2j((int) year, month, day) - POSTGRES_EPOCH_JDATE, day_length(type),
							&at))
		braid_event_out_of_range(type);
	return braid_event_add(type, at, m->time);
}

static int64
floor_of_months(const Grid *grid, int64 at)
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

static inline int64
remainder_of(int64 a, int64 b)
{
	int64 r = a % b;

	return r < 0 ? r + b : r;
}

int64
braid_grid_floor(const Grid *grid, int64 at)
{
	int64 past;

	if (grid->span.months > 0)
		return floor_of_months(grid, at);

	/* at - origin may not fit into int64. */
	past = remainder_of(at, grid->span.length);
	if (grid->origin != 0)
	{
		past -= remainder_of(grid->origin, grid->span.length);
		if (past < 0)
			past += grid->span.length;
	}
	return braid_event_subtract(grid->type, at, past);
}

int64
braid_grid_add(const Grid *grid, int64 boundary, Span span)
{
	if (span.months > 0)
		return add_months(grid, boundary, span.months);
	return braid_event_add(grid->type, boundary, span.length);
}
