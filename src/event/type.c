/*
 * type.c
 *	  What is said of event times that cannot be.
 */
#include "postgres.h"

#include "event/type.h"

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
braid_event_origin(EventType type, Datum value)
{
	int64 origin = braid_event_read(type, value);

	if (braid_event_is_infinite(type, origin))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("origin of windows cannot be infinite")));
	return origin;
}
