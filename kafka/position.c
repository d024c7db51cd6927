/*
 * position.c
 *	  What of a topic is in Kafka.
 *
 * NOTES
 *	  The record is the last one of a topic of Kafka's that has one partition and belongs to one
 *	  bridge.  It is compacted, so the last record stays for ever.  What is found at the end of the partition
 *	  are also marks of transactions, and aborted records; so who looks for the last record starts a bit before
 *	  the end, and again further back as long as there was none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "memory.h"
#include "position.h"
#include "stop.h"

#define ANSWER_MS 10000

/* More than batches have, of which a record has one or two. */
#define MAX_IDS 1000000

/* 19 digits of each end of a range, and what is between. */
#define RANGE_SIZE 41

static int
compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a;
	int64_t y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

void
position_sort(int64_t *ids, int n)
{
	qsort(ids, n, sizeof(int64_t), compare_ids);
}

bool
position_is_pending(const Pending *pending, int64_t id)
{
	return pending->left > 0 &&
		   bsearch(&id, pending->ids, pending->n, sizeof(int64_t), compare_ids) != NULL;
}

char *
position_make(const Session *s, const char *server, int64_t consumed, const int64_t *ids, int n)
{
	size_t size = strlen(s->options->name) + strlen(server) + 128 + (size_t) n * RANGE_SIZE;
	char *text = get_memory(NULL, size);
	size_t at =
		snprintf(text, size,
				 "{\"bridge\": \"%s\", \"server\": \"%s\", \"consumed\": %" PRId64 ", \"ids\": \"",
				 s->options->name, server, consumed);

	for (int i = 0, end; i < n; i = end)
	{
		for (end = i + 1; end < n && ids[end] == ids[end - 1] + 1; end++)
			;
		at += snprintf(text + at, size - at, "%s%" PRId64, i > 0 ? "," : "", ids[i]);
		if (end > i + 1)
			at += snprintf(text + at, size - at, "-%" PRId64, ids[end - 1]);
	}
	snprintf(text + at, size - at, "\"}");
	return text;
}

int64_t *
position_parse_ids(const char *text, int *n)
{
	int64_t *ids = get_memory(NULL, sizeof(int64_t));
	char *at = (char *) text;

	*n = 0;
	while (*at)
	{
		int64_t first = strtoll(at, &at, 10);
		int64_t last = *at == '-' ? strtoll(at + 1, &at, 10) : first;

		if ((*at != ',' && *at != '\0') || first < 0 || last < first ||
			last - first >= MAX_IDS - *n)
		{
			free(ids);
			return NULL;
		}
		ids = get_memory(ids, (*n + last - first + 1) * sizeof(int64_t));
		for (int64_t id = first; id <= last; id++)
			ids[(*n)++] = id;
		at += *at == ',';
	}
	return ids;
}

/* With records of another bridge, transactions of both would be in each other's way. */
static bool
take_record(Session *s, const rd_kafka_message_t *message, char **record)
{
	const char *name = s->options->name;

	if (message->key_len != strlen(name) || memcmp(message->key, name, message->key_len) != 0)
		return session_fail(s, OUTCOME_DECISION,
							"Kafka's topic \"%s\" has the position of another bridge",
							s->options->position_topic);
	*record = get_memory(*record, message->len + 1);
	if (message->len > 0)
		memcpy(*record, message->payload, message->len);
	(*record)[message->len] = '\0';
	return true;
}

/* Reads from the offset to the end; *record is the last that was met, if any. */
static bool
read_from(Session *s, rd_kafka_t *reader, int64_t offset, char **record)
{
	const char *topic = s->options->position_topic;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t began = stop_clock();

	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
	rd_kafka_assign(reader, list);
	rd_kafka_topic_partition_list_destroy(list);
	while (session_goes_on(s))
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 200);
		rd_kafka_resp_err_t error = message ? message->err : RD_KAFKA_RESP_ERR_NO_ERROR;

		if (message && !error)
			take_record(s, message, record);
		if (message)
			rd_kafka_message_destroy(message);
		if (error == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			return true;
		if (error)
			broker_fail(s, "could not read the position in Kafka", error, NULL);
		else if (stop_clock() - began > 6 * ANSWER_MS)
			broker_fail(s, "could not read the position in Kafka", RD_KAFKA_RESP_ERR__TIMED_OUT,
						NULL);
	}
	return false;
}

bool
position_read(Session *s, rd_kafka_t *reader, char **record)
{
	int64_t low;
	int64_t high;

	*record = NULL;
	if (!broker_bounds(s, reader, s->options->position_topic, 0, &low, &high))
		return false;
	for (int64_t back = 2; high > low; back *= 8)
	{
		int64_t offset = high - back > low ? high - back : low;

		if (!read_from(s, reader, offset, record))
			return false;
		if (*record || offset == low)
			break;
	}
	rd_kafka_assign(reader, NULL);
	return true;
}

/* One partition, compacted in small pieces, with as many replicas as the brokers give by default. */
static rd_kafka_NewTopic_t *
describe_topic(const char *name)
{
	char text[256];
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, 1, -1, text, sizeof(text));

	if (topic)
	{
		rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
		rd_kafka_NewTopic_set_config(topic, "segment.bytes", "16777216");
	}
	return topic;
}

/* That it exists is no error; if it may not be made, it is noticed that it does not exist. */
static bool
read_answer(Session *s, rd_kafka_t *reader, const rd_kafka_CreateTopics_result_t *result)
{
	size_t n;
	const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &n);
	int count;

	for (size_t i = 0; i < n; i++)
		if (rd_kafka_topic_result_error(topics[i]) == RD_KAFKA_RESP_ERR_NO_ERROR)
			return true;
	return broker_count_partitions(s, reader, s->options->position_topic, &count) &&
		   (count == 1 ||
			session_fail(s, OUTCOME_DECISION,
						 "Kafka's topic \"%s\" is not one for a position: it has %d partitions",
						 s->options->position_topic, count));
}

bool
position_make_topic(Session *s, rd_kafka_t *reader)
{
	rd_kafka_NewTopic_t *topic = describe_topic(s->options->position_topic);
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
	rd_kafka_resp_err_t error;

	if (!topic)
		return session_fail(s, OUTCOME_DECISION, "Kafka cannot have a topic \"%s\"",
							s->options->position_topic);
	queue = rd_kafka_queue_new(reader);
	rd_kafka_CreateTopics(reader, &topic, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, 2 * ANSWER_MS);
	error = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (error)
		broker_fail(s, "could not make the topic of the position in Kafka", error,
					event ? rd_kafka_event_error_string(event) : NULL);
	else
		read_answer(s, reader, rd_kafka_event_CreateTopics_result(event));
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
	return s->outcome == OUTCOME_NONE;
}
