/*
 * clock.c
 *	  The local clock of a time zone, and when it shows what.
 *
 * NOTES
 *	  No clock is further than 16 hours from UTC.  So if an offset has held for two
 *	  days, everything before these two days was shown as an earlier time than
 *	  everything now, whatever happened then.
 */
#include "postgres.h"

#include "common/int.h"
#include "event/clock.h"
#include "event/type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MOST_OFFSET (16 * USECS_PER_HOUR)
#define SETTLED (2 * USECS_PER_DAY)

/* Longer than summer or winter: the segment is found in few steps, and whole. */
#define LOOK_BACK (400 * USECS_PER_DAY)

#define UNIX_EPOCH ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

static pg_time_t
seconds_of(int64 instant)
{
	int64 seconds = instant / USECS_PER_SEC;

	if (instant % USECS_PER_SEC < 0)
		seconds--;
	return seconds + UNIX_EPOCH;
}

static ClockSegment
segment_from(Clock *clock, int64 from)
{
	pg_time_t seconds = seconds_of(from);
	ClockSegment segment = {from, PG_INT64_MAX, 0};
	pg_time_t boundary;
	long int before;
	long int after;
	int is_dst;

	if (pg_next_dst_boundary(&seconds, &before, &is_dst, &boundary, &after, &is_dst, clock->zone) >
		0)
	{
		int64 until = boundary - UNIX_EPOCH;

		if (!pg_mul_s64_overflow(until, USECS_PER_SEC, &until))
			segment.until = until;
	}
	segment.offset = before * USECS_PER_SEC;
	return segment;
}

/* Makes the clock's segment the one around the instant. */
static void
seek(Clock *clock, int64 instant)
{
	ClockSegment *s = &clock->segment;

	if (instant >= s->from && instant < s->until)
		return;
	*s = segment_from(clock, braid_event_subtract(EVENT_TIMESTAMPTZ, instant, LOOK_BACK));
	while (instant >= s->until)
		*s = segment_from(clock, s->until);
}

void
braid_clock_set(Clock *clock, Datum zone)
{
	text *name = DatumGetTextPP(zone);
	int length = VARSIZE_ANY_EXHDR(name);
	char *terminated;
	pg_tz *tz = NULL;

	if (clock->zone && strncmp(clock->name, VARDATA_ANY(name), length) == 0 &&
		clock->name[length] == '\0')
		return;
	terminated = text_to_cstring(name);
	if (length <= TZ_STRLEN_MAX)
		tz = pg_tzset(terminated);
	if (tz == NULL || !pg_tz_acceptable(tz))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", terminated),
				 errhint("See pg_timezone_names. To give an origin of windows, name the argument: "
						 "origin => '2000-01-01'.")));
	memset(clock, 0, sizeof(Clock));
	strlcpy(clock->name, terminated, sizeof(clock->name));
	clock->zone = tz;
	pfree(terminated);
}

int64
braid_clock_at(Clock *clock, int64 instant)
{
	seek(clock, instant);
	return instant + clock->segment.offset;
}

int64
braid_clock_first(Clock *clock, int64 local)
{
	ClockSegment *s = &clock->segment;
	int64 first;

	if (local < PG_INT64_MIN + SETTLED || local > PG_INT64_MAX - SETTLED)
		braid_event_out_of_range(EVENT_TIMESTAMPTZ);
	first = local - s->offset;
	if (first < s->until && first >= s->from && first - s->from >= SETTLED)
		return first;
	seek(clock, local - MOST_OFFSET - USECS_PER_HOUR);
	for (;;)
	{
		first = Max(local - s->offset, s->from);
		if (first < s->until)
			return first;
		*s = segment_from(clock, s->until);
	}
}

bool
braid_clock_may_have_gone_back(Clock *clock, int64 instant)
{
	seek(clock, instant);
	return instant - clock->segment.from < SETTLED;
}

/* Without disturbing the segment, which is far from the origin. */
static int64
origin(Clock *clock, int64 value, bool is_local)
{
	ClockSegment segment = clock->segment;

	if (clock->has_origin && clock->origin == value && clock->origin_is_local == is_local)
		return clock->converted;
	clock->converted = is_local ? braid_clock_first(clock, value) : braid_clock_at(clock, value);
	clock->origin = value;
	clock->origin_is_local = is_local;
	clock->has_origin = true;
	clock->segment = segment;
	return clock->converted;
}

int64
braid_clock_origin_at(Clock *clock, int64 instant)
{
	return origin(clock, instant, false);
}

int64
braid_clock_origin_first(Clock *clock, int64 local)
{
	return origin(clock, local, true);
}
