/*
 * relay_failure.h
 *	  Why a relay fails, and what is to be done about it.
 */
#ifndef BRAID_RELAY_FAILURE_H
#define BRAID_RELAY_FAILURE_H

#include "libpq-fe.h"
#include "utils/elog.h"

/* In words for braid.relays, in the current memory context; each one line. */
typedef struct RelayFailure
{
	char *reason;
	char *advice;
} RelayFailure;

/* The source is not reached, or not any more; the message is libpq's, or our own. */
extern RelayFailure braid_relay_failure_of_connection(const char *message);

/* The source has answered something else than was asked for. */
extern RelayFailure braid_relay_failure_of_source(const PGresult *answer);

/* An error on this side. */
extern RelayFailure braid_relay_failure_here(const ErrorData *e);

#endif /* BRAID_RELAY_FAILURE_H */
