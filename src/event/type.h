/*
 * type.h
 *	  Event times of all types as int64: microseconds since 2000 of timestamps, days
 *	  since 2000 of dates, integers as they are.
 *
 * What is done for every row is inline, so that it comes to little where the type is
 * a constant.
 */
#ifndef BRAID_EVENT_TYPE_H
#define BRAID_EVENT_TYPE_H

#include "common/compat.h"
#include "common/int.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/date.h"

typedef enum EventType
{
	EVENT_TIMESTAMPTZ,
	EVENT_TIMESTAMP,
	EVENT_DATE,
	EVENT_INT4,
	EVENT_INT8
} EventType;

/* The error for a window that begins or ends where no value of the type is. */
BRAID_NORETURN extern void braid_event_out_of_range(EventType type);

static inline int64
braid_event_read(EventType type, Datum value)
{
	return type == EVENT_DATE	? DatumGetDateADT(value)
		   : type == EVENT_INT4 ? DatumGetInt32(value)
								: DatumGetInt64(value);
}

static inline Datum
braid_event_datum(EventType type, int64 value)
{
	if (type == EVENT_DATE)
	{
		if (value != (DateADT) value ||
			!(IS_VALID_DATE((DateADT) value) || DATE_NOT_FINITE((DateADT) value)))
			braid_event_out_of_range(type);
		return DateADTGetDatum((DateADT) value);
	}
	if (type == EVENT_INT4)
	{
		if (value != (int32) value)
			braid_event_out_of_range(type);
		return Int32GetDatum((int32) value);
	}
	if (type != EVENT_INT8 && !IS_VALID_TIMESTAMP(value) && !TIMESTAMP_NOT_FINITE(value))
		braid_event_out_of_range(type);
	return Int64GetDatum(value);
}

/* An infinite time has no place in any grid. */
static inline bool
braid_event_is_infinite(EventType type, int64 value)
{
	if (type == EVENT_DATE)
		return DATE_NOT_FINITE(value);
	return (type == EVENT_TIMESTAMPTZ || type == EVENT_TIMESTAMP) && TIMESTAMP_NOT_FINITE(value);
}

static inline int64
braid_event_add(EventType type, int64 a, int64 b)
{
	int64 sum;

	if (pg_add_s64_overflow(a, b, &sum))
		braid_event_out_of_range(type);
	return sum;
}

static inline int64
braid_event_subtract(EventType type, int64 a, int64 b)
{
	int64 difference;

	if (pg_sub_s64_overflow(a, b, &difference))
		braid_event_out_of_range(type);
	return difference;
}

/* The origin of windows, as it was given; an error if it is infinite. */
extern int64 braid_event_origin(EventType type, Datum value);

#endif /* BRAID_EVENT_TYPE_H */
