/*
 * inward.c
 *	  From a topic of Kafka to one of braid.
 *
 * NOTES
 *	  The messages of a batch and the offsets after it are one transaction of PostgreSQL.  Offsets in
 *	  Kafka play no part: a session reads from those that PostgreSQL has, of all partitions, and belongs to no group of
 *	  Kafka's.  The lock of the session in PostgreSQL is what keeps a second process out.
 *
 *	  A message that PostgreSQL does not take (no JSON, no UTF-8, a zero) fails the whole batch.  It is
 *	  looked for by halves, so that what is around it stays in order, and goes to the dead letters, in the
 *	  same transaction.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "buffer.h"
#include "headers.h"
#include "log.h"
#include "memory.h"
#include "offsets.h"
#include "server.h"
#include "step.h"
#include "stop.h"

#define WAIT_MS 500

/* A batch ends when nothing has come for so long. */
#define PAUSE_MS 2

/* How often to look whether the topic has got more partitions. */
#define COUNT_MS 30000

typedef struct Inward
{
	Session *session;
	Offsets offsets;
	char *insert;		/* the statement that sends */
	char *dead_letters; /* the one that sends to the dead letters; NULL if there are none */
	rd_kafka_message_t **messages;
	int n;
	int64_t counted; /* when partitions were counted last */
} Inward;

/* ---- storing */

/* The batch as arrays: keys, payloads, headers, partitions; or a part of it. */
static bool
insert_range(Inward *in, int first, int n, char **error)
{
	Session *s = in->session;
	bool same = s->kafka_partitions == s->topic_partitions;
	Buffer arrays[4] = {{0}, {0}, {0}, {0}};
	Buffer headers = {0};
	Parameter parameters[4];
	PGresult *result;

	buffer_begin_array(&arrays[0], TYPE_BYTEA, n);
	buffer_begin_array(&arrays[1], TYPE_BYTEA, n);
	buffer_begin_array(&arrays[2], TYPE_TEXT, n);
	buffer_begin_array(&arrays[3], TYPE_INT4, n);
	for (int i = first; i < first + n; i++)
	{
		const rd_kafka_message_t *message = in->messages[i];

		buffer_clear(&headers);
		headers_to_json(&headers, message, s->options->origin_header);
		buffer_add_element(&arrays[0], message->key, message->key_len);
		buffer_add_element(&arrays[1], message->payload, message->len);
		buffer_add_element(&arrays[2], headers.length > 0 ? headers.data : NULL, headers.length);
		if (same)
			buffer_add_int32_element(&arrays[3], message->partition);
		else
			buffer_add_element(&arrays[3], NULL, 0);
	}
	for (int i = 0; i < 4; i++)
		parameters[i] = (Parameter){arrays[i].data, (int) arrays[i].length};
	result = server_query(s, s->conn, in->insert, 4, parameters, false, error);
	for (int i = 0; i < 4; i++)
		buffer_free(&arrays[i]);
	buffer_free(&headers);
	PQclear(result);
	return result != NULL;
}

/* What is known of the message, for its headers. */
static void
describe(Buffer *buffer, const rd_kafka_message_t *message, const char *error)
{
	const char *topic = rd_kafka_topic_name(message->rkt);
	char text[96];

	buffer_add_text(buffer, "{\"error\": ");
	headers_add_string(buffer, error, strlen(error));
	buffer_add_text(buffer, ", \"topic\": ");
	headers_add_string(buffer, topic, strlen(topic));
	snprintf(text, sizeof(text),
			 ", \"partition\": %" PRId32 ", \"offset\": %" PRId64 ", \"key\": ", message->partition,
			 message->offset);
	buffer_add_text(buffer, text);
}

static bool
bury(Inward *in, const rd_kafka_message_t *message, const char *error)
{
	Session *s = in->session;
	Buffer headers = {0};
	Parameter parameters[3];
	bool ok;

	if (!in->dead_letters)
		return session_fail(
			s, OUTCOME_DECISION,
			"offset %" PRId64 " of partition %" PRId32
			" is no message for topic \"%s\": %s; --dead-letters puts such messages aside",
			message->offset, message->partition, s->options->topic, error);
	log_line(LOG_LEVEL_WARNING, "dead letter: offset %" PRId64 " of partition %" PRId32 ": %s",
			 message->offset, message->partition, error);
	describe(&headers, message, error);
	buffer_add(&headers, "", 1);
	parameters[0] = (Parameter){message->payload, (int) message->len};
	parameters[1] = (Parameter){headers.data, SERVER_TEXT};
	parameters[2] = (Parameter){message->key, (int) message->key_len};
	ok = server_run(s, in->dead_letters, 3, parameters);
	buffer_free(&headers);
	return ok;
}

/* Stores a part of a batch in the order in which it came, and puts aside what cannot be stored. */
static bool
store_range(Inward *in, int first, int n)
{
	Session *s = in->session;
	char *error = NULL;
	bool ok;

	if (!server_run(s, "SAVEPOINT part", 0, NULL))
		return false;
	if (insert_range(in, first, n, &error))
		return server_run(s, "RELEASE SAVEPOINT part", 0, NULL);
	if (!error)
		return false;
	ok = server_run(s, "ROLLBACK TO SAVEPOINT part", 0, NULL) &&
		 server_run(s, "RELEASE SAVEPOINT part", 0, NULL);
	if (n == 1)
		ok = ok && bury(in, in->messages[first], error);
	else
		ok = ok && store_range(in, first, n / 2) && store_range(in, first + n / 2, n - n / 2);
	free(error);
	return ok;
}

/* Most batches have nothing wrong. */
static bool
store_messages(Inward *in)
{
	Session *s = in->session;
	const char *begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
	char *error = NULL;

	if (!server_run(s, begin, 0, NULL))
		return false;
	if (insert_range(in, 0, in->n, &error))
		return true;
	if (!error)
		return false;
	free(error);
	return server_run(s, "ROLLBACK", 0, NULL) && server_run(s, begin, 0, NULL) &&
		   store_range(in, 0, in->n);
}

static bool
store_batch(Inward *in)
{
	Session *s = in->session;

	if (in->n == 0)
		return true;
	if (!store_messages(in))
		return false;
	for (int i = 0; i < in->n; i++)
		offsets_advance(&in->offsets, in->messages[i]->partition, in->messages[i]->offset + 1);
	if (!offsets_store(s, &in->offsets))
		return false;
	step("stored");
	if (!server_run(s, "COMMIT", 0, NULL))
		return false;
	step("committed");
	session_count(s, in->n);
	return true;
}

/* ---- reading */

/* False if it is an error that ends the session; the end of a partition and errors that librdkafka deals with are none. */
static bool
is_harmless(Session *s, rd_kafka_resp_err_t error)
{
	switch (error)
	{
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		case RD_KAFKA_RESP_ERR__RESOLVE:
			return true;
		default:
			return broker_fail(s, "could not read from Kafka", error, NULL);
	}
}

/* Waits for the first message, and takes what else comes soon; headers are not counted. */
static bool
read_batch(Inward *in)
{
	Session *s = in->session;
	int64_t bytes = 0;
	int64_t until = stop_clock() + WAIT_MS;

	while (in->n < s->options->batch_rows && bytes < s->options->batch_bytes)
	{
		int64_t left = until - stop_clock();
		int wait = in->n > 0 && left > PAUSE_MS ? PAUSE_MS : left > 0 ? (int) left : 0;
		rd_kafka_message_t *message = rd_kafka_consumer_poll(s->kafka, wait);

		if (!message)
			break;
		if (message->err)
		{
			bool harmless = is_harmless(s, message->err);

			rd_kafka_message_destroy(message);
			if (!harmless)
				return false;
			continue;
		}
		if (in->n == 0)
			until = stop_clock() + GATHER_MS;
		in->messages[in->n++] = message;
		bytes += 64 + (int64_t) message->len + (int64_t) message->key_len;
	}
	if (in->n > 0)
		step("read");
	return true;
}

static void
clear_batch(Inward *in)
{
	for (int i = 0; i < in->n; i++)
		rd_kafka_message_destroy(in->messages[i]);
	in->n = 0;
}

/* More partitions than before are read by a new session. */
static bool
count_partitions(Inward *in)
{
	Session *s = in->session;
	int count;

	if (stop_clock() - in->counted < COUNT_MS)
		return true;
	in->counted = stop_clock();
	if (!broker_count_partitions(s, s->kafka, s->options->kafka_topic, &count))
		return false;
	return count == s->kafka_partitions ||
		   session_fail(s, OUTCOME_RETRY, "Kafka's topic has %d partitions now", count);
}

/* ---- sessions */

static void
make_statements(Inward *in, const char *dead_letters)
{
	const Session *s = in->session;
	const char *payload = strcmp(s->payload, "bytea") == 0 ? "r.payload"
						  : strcmp(s->payload, "jsonb") == 0
							  ? "convert_from(r.payload, 'UTF8')::jsonb"
							  : "convert_from(r.payload, 'UTF8')";
	const char *key = s->options->base64_keys ? "translate(encode(r.key, 'base64'), E'\\n', '')"
											  : "convert_from(r.key, 'UTF8')";
	size_t size = strlen(s->topic_view) + 512;

	in->insert = get_memory(NULL, size);
	snprintf(
		in->insert, size,
		"INSERT INTO %s (key, payload, headers, partition) SELECT %s, %s, r.headers::jsonb, r.partition FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::int[]) r(key, payload, headers, partition)",
		s->topic_view, key, payload);
	if (!dead_letters)
		return;
	size = strlen(dead_letters) + 512;
	in->dead_letters = get_memory(NULL, size);
	/* The description ends where the key is to come. */
	snprintf(
		in->dead_letters, size,
		"INSERT INTO %s (payload, headers) SELECT $1::bytea, ($2 || coalesce(to_json(encode($3::bytea, 'base64'))::text, 'null') || '}')::jsonb",
		dead_letters);
}

/* The dead letters' view as it is written in SQL: it is another topic, of payloads that can be anything. */
static bool
find_dead_letters(Session *s, char **view)
{
	Parameter name = {s->options->dead_letters, SERVER_TEXT};
	PGresult *result;

	*view = NULL;
	if (!s->options->dead_letters)
		return true;
	result = server_query(
		s, s->conn,
		"SELECT format('%I.%I', n.nspname, c.relname) FROM braid.topics t JOIN pg_class c ON c.oid = t.topic JOIN pg_namespace n ON n.oid = c.relnamespace"
		" WHERE t.topic = to_regclass($1) AND t.payload = 'bytea'::regtype",
		1, &name, false, NULL);
	if (!result)
		return false;
	if (PQntuples(result) == 1)
		*view = copy_text(PQgetvalue(result, 0, 0));
	PQclear(result);
	return *view ||
		   session_fail(
			   s, OUTCOME_RETRY,
			   "topic \"%s\" with payloads of type bytea does not exist; its schema has to be named",
			   s->options->dead_letters);
}

static void
assign(Inward *in)
{
	Session *s = in->session;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(in->offsets.n);

	for (int i = 0; i < in->offsets.n; i++)
		rd_kafka_topic_partition_list_add(list, s->options->kafka_topic, i)->offset =
			in->offsets.next[i];
	rd_kafka_assign(s->kafka, list);
	rd_kafka_topic_partition_list_destroy(list);
}

static bool
open_sides(Inward *in)
{
	Session *s = in->session;
	char *dead_letters;

	if (!server_open(s) || !find_dead_letters(s, &dead_letters))
		return false;
	make_statements(in, dead_letters);
	free(dead_letters);
	s->kafka = broker_connect_reader(s);
	if (!s->kafka ||
		!broker_count_partitions(s, s->kafka, s->options->kafka_topic, &s->kafka_partitions) ||
		!offsets_open(s, s->kafka, &in->offsets))
		return false;
	in->messages = get_memory(NULL, s->options->batch_rows * sizeof(rd_kafka_message_t *));
	in->counted = stop_clock();
	assign(in);
	return true;
}

static void
close_sides(Inward *in)
{
	clear_batch(in);
	if (in->session->kafka)
		rd_kafka_destroy(in->session->kafka);
	PQfinish(in->session->conn);
	offsets_free(&in->offsets);
	free(in->messages);
	free(in->insert);
	free(in->dead_letters);
	free(in->session->topic_view);
}

void
inward_run(Session *s)
{
	Inward inward = {.session = s};

	if (open_sides(&inward))
	{
		log_line(LOG_LEVEL_INFO, "connected; %d partitions in Kafka, %d here", s->kafka_partitions,
				 s->topic_partitions);
		while (session_goes_on(s) && count_partitions(&inward) && read_batch(&inward) &&
			   store_batch(&inward))
			clear_batch(&inward);
	}
	close_sides(&inward);
}
