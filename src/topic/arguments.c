/*
 * arguments.c
 *	  What functions of topics check about their arguments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "topic/arguments.h"
#include "topic/follow.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

void
braid_refuse_nulls(FunctionCallInfo fcinfo, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (names[i] && PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", names[i])));
}

TimestampTz
braid_end_of_wait(TimestampTz now, Datum wait)
{
	TimestampTz end = DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), wait));

	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("wait must not be negative")));
	return end;
}

void
braid_topic_require_payload(const BraidTopic *topic, Oid type, const char *function)
{
	if (type == topic->payload)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("payloads of topic \"%s\" are of type %s, and not %s", braid_topic_name(topic),
					format_type_be(topic->payload), format_type_be(type)),
			 errhint("Use braid.%s%s().", function,
					 topic->payload == TEXTOID	  ? "_text"
					 : topic->payload == BYTEAOID ? "_bytea"
												  : "")));
}
