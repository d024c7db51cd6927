/*
 * arguments.h
 *	  What functions of topics check about their arguments.
 */
#ifndef BRAID_ARGUMENTS_H
#define BRAID_ARGUMENTS_H

#include "fmgr.h"
#include "topic/topic.h"

/*
 * Raises 22004 if one of the first n arguments, of these names, is null; one without a name here may
 * be null.
 */
extern void braid_refuse_nulls(FunctionCallInfo fcinfo, const char *const *names, int n);

/* When a wait that begins at now is over; 22023 if it is negative. */
extern TimestampTz braid_end_of_wait(TimestampTz now, Datum wait);

/*
 * Functions that return payloads exist for each type: raises 42804 unless this is the topic's, with
 * the name that is right.
 */
extern void braid_topic_require_payload(const BraidTopic *topic, Oid type, const char *function);

#endif /* BRAID_ARGUMENTS_H */
