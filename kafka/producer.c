/*
 * producer.c
 *	  Writing to Kafka, in transactions.
 */
#include <stdio.h>

#include "broker.h"
#include "producer.h"
#include "stop.h"

/* How long to wait for what Kafka answers; longer than its own limits for transactions and messages. */
#define ANSWER_MS 90000

static void
on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *session)
{
	Session *s = session;

	(void) kafka;
	if (message->err && !s->delivery_error)
		s->delivery_error = message->err;
}

/* Calls until there is an answer: NULL if that is that it was done. */
static rd_kafka_error_t *
call_until_done(rd_kafka_t *kafka, rd_kafka_error_t *(*call)(rd_kafka_t *, int) )
{
	int64_t began = stop_clock();

	for (;;)
	{
		rd_kafka_error_t *error = call(kafka, 1000);

		if (!error || !rd_kafka_error_is_retriable(error) || stop_is_overdue() ||
			stop_clock() - began > ANSWER_MS)
			return error;
		rd_kafka_error_destroy(error);
	}
}

bool
producer_open(Session *s)
{
	char id[128];
	const Setting settings[] = {
		{"transactional.id", id, false},
		{"partitioner", "murmur2_random", true},
		/* The last transaction is being ended when the next one begins, which is asked for again so soon. */
		{"retry.backoff.ms", "10", true},
		{NULL, NULL, false},
	};
	rd_kafka_error_t *error;

	snprintf(id, sizeof(id), "braid-kafka %s", s->options->name);
	s->kafka = broker_connect(s, RD_KAFKA_PRODUCER, settings, on_delivery);
	if (!s->kafka)
		return false;
	error = call_until_done(s->kafka, rd_kafka_init_transactions);
	return !error || broker_fail_error(s, "could not begin to write to Kafka", error);
}

bool
producer_begin(Session *s)
{
	rd_kafka_error_t *error = rd_kafka_begin_transaction(s->kafka);

	if (error)
		return broker_fail_error(s, "could not begin a transaction in Kafka", error);
	s->in_transaction = true;
	return true;
}

bool
producer_commit(Session *s)
{
	rd_kafka_error_t *error = call_until_done(s->kafka, rd_kafka_commit_transaction);

	if (error)
		return broker_fail_error(s, "could not commit in Kafka", error);
	s->in_transaction = false;
	return true;
}

bool
producer_write(Session *s, const rd_kafka_vu_t *message, size_t n)
{
	for (;;)
	{
		rd_kafka_error_t *error = rd_kafka_produceva(s->kafka, message, n);

		if (!error)
			return true;
		if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL || stop_is_overdue())
		{
			if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
				session_fail(
					s, OUTCOME_DECISION,
					"a message is larger than Kafka takes: raise -X message.max.bytes, and the limit of Kafka's topic");
			return broker_fail_error(s, "could not write to Kafka", error);
		}
		rd_kafka_error_destroy(error);
		rd_kafka_poll(s->kafka, 100);
	}
}

bool
producer_wait(Session *s)
{
	int64_t began = stop_clock();

	while (rd_kafka_flush(s->kafka, 500) == RD_KAFKA_RESP_ERR__TIMED_OUT)
		if (stop_is_overdue() || stop_clock() - began > ANSWER_MS)
			return broker_fail(s, "could not write to Kafka", RD_KAFKA_RESP_ERR__TIMED_OUT, NULL);
	if (s->delivery_error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return session_fail(
			s, OUTCOME_DECISION,
			"a message is larger than Kafka takes: raise max.message.bytes of Kafka's topic");
	return !s->delivery_error ||
		   broker_fail(s, "could not write to Kafka", s->delivery_error, NULL);
}

void
producer_close(Session *s)
{
	rd_kafka_error_t *error;

	if (!s->kafka)
		return;
	error = s->in_transaction ? rd_kafka_abort_transaction(s->kafka, 2000) : NULL;
	if (error)
		rd_kafka_error_destroy(error);
	rd_kafka_destroy(s->kafka);
	s->kafka = NULL;
}
