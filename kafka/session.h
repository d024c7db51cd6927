/* session.h: one try to do the work: connections to both sides, and why it ended. */
#ifndef BRAID_KAFKA_SESSION_H
#define BRAID_KAFKA_SESSION_H

#include <stdint.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>

#include "options.h"

/* How long messages are gathered for a batch, if there are not as many as it can have at once. */
#define GATHER_MS 20

/*
 * Why a session has ended.  All errors end the session: the next one connects anew, and finds out from
 * what is committed on both sides where to go on.
 */
typedef enum Outcome
{
	OUTCOME_NONE,	  /* it goes on */
	OUTCOME_RETRY,	  /* begin anew, after a while */
	OUTCOME_STOP,	  /* the program was asked to end */
	OUTCOME_DECISION, /* somebody has to decide */
	OUTCOME_FENCED,	  /* another process is at work */
} Outcome;

typedef struct Session
{
	const Options *options;
	Outcome outcome;
	bool accept; /* what --accept says, until it was done */
	PGconn *conn;
	rd_kafka_t *kafka;	  /* NULL while there is none */
	char topic_oid[32];	  /* braid's topic: its view ... */
	char *topic_view;	  /* ... as it is written in SQL ... */
	char payload[8];	  /* ... the type of its payloads ... */
	int topic_partitions; /* ... and its partitions */
	int kafka_partitions;
	bool in_transaction;				/* in Kafka */
	rd_kafka_resp_err_t delivery_error; /* of the first message that Kafka did not take */
	int64_t messages;					/* that have come to the other side ... */
	int64_t batches;					/* ... and in how many transactions */
	int64_t reported;					/* when that was last said, and what it was then */
	int64_t reported_messages;
} Session;

/* Says why, and ends the session; returns false for the caller to return. The first reason counts. */
extern bool session_fail(Session *s, Outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* False if the session is over, or the program was asked to end. */
extern bool session_goes_on(Session *s);

/* Counts a batch, and says once a minute how many there were. */
extern void session_count(Session *s, int messages);

/* From braid's topic to Kafka's, and back, until the session's end; both close what they have opened. */
extern void outward_run(Session *s);
extern void inward_run(Session *s);

#endif
