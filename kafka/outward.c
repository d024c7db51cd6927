/*
 * outward.c
 *	  From a topic of braid to one of Kafka.
 *
 * NOTES
 *	  A batch is a transaction on each side, and there is no way to commit both at once.  Kafka's is first:
 *
 *		PostgreSQL   BEGIN  receive                                          COMMIT
 *		                      | flush what was received                        |
 *		Kafka                 begin  messages  record of the position  commit  |
 *
 *	  Whoever dies before Kafka's commit has done nothing.  Whoever dies after it leaves a group that has not
 *	  received what Kafka has; the record says what that is.  It has the number of messages that the
 *	  group will have received, and the ids of those that are in Kafka beyond what it has.  The next
 *	  process receives them again, together with others or in another order, and leaves them out.
 *
 *	  What makes this right:
 *	  - rd_kafka_init_transactions() ends the last transaction of the bridge in Kafka, one way or the
 *		other, and keeps its process from committing anything more; only then the record is read.
 *	  - The lock of the session in PostgreSQL is had only when the session of that process has ended, so what the group has
 *		received does not change any more either.
 *	  - What is sent is flushed first, and synchronous standbys have it: a message that is in Kafka has its id for good.
 *	  - Ids that were left out are in the next record, until the group has received them.
 *	  - A record that does not fit the group's number is of another history: that is for somebody to decide.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "headers.h"
#include "log.h"
#include "memory.h"
#include "position.h"
#include "producer.h"
#include "server.h"
#include "step.h"
#include "stop.h"

/* A snapshot is held while waiting for messages, so not for long. */
#define WAIT "1 s"

typedef enum Column
{
	COLUMN_PARTITION,
	COLUMN_ID,
	COLUMN_SENT_AT,
	COLUMN_KEY,
	COLUMN_PAYLOAD,
	COLUMN_HEADERS,
} Column;

typedef struct Outward
{
	Session *session;
	PGconn *flusher;  /* a second session in PostgreSQL */
	char *server;	  /* which server, with which history, has which group */
	int64_t consumed; /* by the group, as it is committed */
	Pending pending;  /* what Kafka has beyond that */
	char *receive;	  /* the statement that receives */
	PGresult **parts; /* a batch: what its calls have returned ... */
	int n_parts;
	int64_t *ids; /* ... the ids, in order ... */
	int n;
	int repeated; /* ... and how many of them Kafka has */
} Outward;

/* ---- where to go on */

static bool
make_group(Session *s)
{
	Parameter group[] = {{s->topic_oid, SERVER_TEXT},
						 {s->options->group, SERVER_TEXT},
						 {s->options->start, SERVER_TEXT}};
	PGresult *result = server_query(
		s, s->conn,
		"SELECT mode FROM braid.groups WHERE topic = $1::regclass AND group_name = $2::text", 2,
		group, false, NULL);
	bool exists;
	bool fits;

	if (!result)
		return false;
	exists = PQntuples(result) > 0;
	fits = exists && strcmp(PQgetvalue(result, 0, 0), "log") == 0;
	PQclear(result);
	if (!exists)
		return server_run(s, "SELECT braid.create_group($1::regclass, $2, 'log', $3)", 3, group);
	return fits || session_fail(s, OUTCOME_DECISION, "consumer group \"%s\" is not of mode log",
								s->options->group);
}

/* How many messages the group has received, and which group of which server that is. */
static bool
read_group(Outward *o)
{
	Session *s = o->session;
	Parameter group[] = {{s->topic_oid, SERVER_TEXT}, {s->options->group, SERVER_TEXT}};
	PGresult *result = server_query(
		s, s->conn,
		"SELECT (SELECT sum(p.consumed)::bigint FROM braid.group_positions p WHERE p.topic = g.topic AND p.group_name = g.group_name),"
		" format('%s %s %s %s', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),"
		" (SELECT oid FROM pg_database WHERE datname = current_database()), extract(epoch FROM g.created))"
		" FROM braid.groups g WHERE g.topic = $1::regclass AND g.group_name = $2::text",
		2, group, false, NULL);

	if (!result)
		return false;
	if (PQntuples(result) != 1)
	{
		PQclear(result);
		return session_fail(s, OUTCOME_RETRY, "consumer group \"%s\" was dropped",
							s->options->group);
	}
	o->consumed = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	o->server = copy_text(PQgetvalue(result, 0, 1));
	PQclear(result);
	return true;
}

/* Sets what is pending, as the record has it; says what does not fit. */
static const char *
apply_record(Outward *o, const PGresult *record)
{
	int64_t consumed = strtoll(PQgetvalue(record, 0, 1), NULL, 10);
	int64_t left = consumed - o->consumed;

	o->pending.ids = position_parse_ids(PQgetvalue(record, 0, 2), &o->pending.n);
	if (PQgetisnull(record, 0, 1) || !o->pending.ids)
		return "the record is not one of a position";
	if (left == 0)
		return NULL;
	if (left < 0)
		return "the group has received messages that Kafka does not have from this bridge";
	if (left > o->pending.n)
		return "Kafka has messages from this bridge that the group has not received";
	if (strcmp(PQgetvalue(record, 0, 0), o->server) != 0)
		return "the last messages that Kafka has came from another server, or from before a fail-over, or from another group";
	o->pending.left = left;
	return NULL;
}

/* What does not fit; NULL if all does. */
static const char *
compare_record(Outward *o, const char *record)
{
	Parameter text = {record, SERVER_TEXT};
	char *error = NULL;
	const char *reason = NULL;
	PGresult *result;

	if (!record)
		return o->consumed > 0 ? "Kafka has no record of it" : NULL;
	result = server_query(
		o->session, o->session->conn,
		"SELECT r ->> 'server', (r ->> 'consumed')::bigint, r ->> 'ids' FROM (SELECT $1::jsonb AS r) s",
		1, &text, false, &error);
	if (result)
		reason = apply_record(o, result);
	else if (error)
		reason = "the record is not one of a position";
	PQclear(result);
	free(error);
	return reason;
}

static bool send_record(Outward *o);

/* Compares both sides, after which it is known where to go on; or what to decide on. */
static bool
compare_sides(Outward *o, rd_kafka_t *reader)
{
	Session *s = o->session;
	char *record;
	const char *reason;

	if (!position_read(s, reader, &record) || !read_group(o))
		return false;
	reason = compare_record(o, record);
	free(record);
	if (s->outcome != OUTCOME_NONE)
		return false;
	if (s->accept)
	{
		log_line(LOG_LEVEL_WARNING, "the group's position is accepted%s%s", reason ? ": " : "",
				 reason ? reason : "");
		o->pending.left = 0;
		s->accept = false;
		return send_record(o);
	}
	if (reason)
		return session_fail(
			s, OUTCOME_DECISION,
			"the position in Kafka does not fit that of group \"%s\": %s; --accept goes on from the group's",
			s->options->group, reason);
	if (o->pending.left > 0)
		log_line(LOG_LEVEL_INFO, "Kafka has the next %" PRId64 " messages already",
				 o->pending.left);
	return true;
}

/* ---- batches */

static rd_kafka_headers_t *
make_headers(const Session *s, const PGresult *result, int row)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
	const char *id_header = s->options->id_header;

	if (!PQgetisnull(result, row, COLUMN_HEADERS))
		headers_from_sql(headers, PQgetvalue(result, row, COLUMN_HEADERS),
						 PQgetlength(result, row, COLUMN_HEADERS));
	if (id_header)
	{
		char id[24];

		snprintf(id, sizeof(id), "%" PRId64, server_int64(result, row, COLUMN_ID));
		rd_kafka_header_remove(headers, id_header);
		rd_kafka_header_add(headers, id_header, -1, id, -1);
	}
	return headers;
}

/* A null stays one. */
static const char *
get_bytes(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static bool
produce_row(Session *s, const PGresult *result, int row)
{
	bool same = s->kafka_partitions == s->topic_partitions;
	rd_kafka_headers_t *headers = make_headers(s, result, row);
	/* The queue copies, and the list of headers is its own if it has taken the message. */
	rd_kafka_vu_t message[] = {
		{.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = s->options->kafka_topic},
		{.vtype = RD_KAFKA_VTYPE_PARTITION,
		 .u.i32 = same ? server_int32(result, row, COLUMN_PARTITION) : RD_KAFKA_PARTITION_UA},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY,
		 .u.mem = {(void *) get_bytes(result, row, COLUMN_KEY),
				   PQgetlength(result, row, COLUMN_KEY)}},
		{.vtype = RD_KAFKA_VTYPE_VALUE,
		 .u.mem = {(void *) get_bytes(result, row, COLUMN_PAYLOAD),
				   PQgetlength(result, row, COLUMN_PAYLOAD)}},
		{.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = server_int64(result, row, COLUMN_SENT_AT)},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
	};

	if (producer_write(s, message, sizeof(message) / sizeof(message[0])))
		return true;
	rd_kafka_headers_destroy(headers);
	return session_fail(s, OUTCOME_RETRY, "message %" PRId64 " was not written",
						server_int64(result, row, COLUMN_ID));
}

static bool
produce_rows(Outward *o)
{
	for (int i = 0; i < o->n_parts; i++)
		for (int row = 0; row < PQntuples(o->parts[i]); row++)
			if (!position_is_pending(&o->pending, server_int64(o->parts[i], row, COLUMN_ID)) &&
				!produce_row(o->session, o->parts[i], row))
				return false;
	return true;
}

/* The ids of the batch, and of what is pending, each once; frees neither. */
static int64_t *
join_ids(const Outward *o, int *n)
{
	int pending = o->pending.left > 0 ? o->pending.n : 0;
	int64_t *ids = get_memory(NULL, (o->n + pending) * sizeof(int64_t));

	*n = 0;
	for (int i = 0; i < o->n; i++)
		if (!position_is_pending(&o->pending, o->ids[i]))
			ids[(*n)++] = o->ids[i];
	for (int i = 0; i < pending; i++)
		ids[(*n)++] = o->pending.ids[i];
	position_sort(ids, *n);
	return ids;
}

/* What the group will have received, when it has received all that Kafka has after this transaction. */
static bool
produce_record(Outward *o)
{
	Session *s = o->session;
	int n;
	int64_t *ids = join_ids(o, &n);
	char *text =
		position_make(s, o->server, o->consumed + o->pending.left + o->n - o->repeated, ids, n);
	rd_kafka_vu_t message[] = {
		{.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = s->options->position_topic},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY,
		 .u.mem = {(void *) s->options->name, strlen(s->options->name)}},
		{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {text, strlen(text)}},
	};
	bool ok = producer_write(s, message, sizeof(message) / sizeof(message[0]));

	free(ids);
	free(text);
	return ok;
}

static bool
send_record(Outward *o)
{
	return producer_begin(o->session) && produce_record(o) && producer_wait(o->session) &&
		   producer_commit(o->session);
}

/*
 * A commit that flushes all of the log before it, on synchronous standbys as well.  What was received
 * may have been committed without.  It takes its time while Kafka gets the messages.
 */
static bool
begin_flush(Outward *o)
{
	return server_send(o->session, o->flusher,
					   "SELECT pg_logical_emit_message(true, 'braid-kafka', '')", 0, NULL, false);
}

static bool
end_flush(Outward *o)
{
	PGresult *result = server_receive(o->session, o->flusher, NULL);

	PQclear(result);
	return result != NULL;
}

static bool
send_batch(Outward *o)
{
	if (o->n == o->repeated)
		return true;
	if (!begin_flush(o) || !producer_begin(o->session) || !produce_rows(o) || !produce_record(o) ||
		!producer_wait(o->session) || !end_flush(o))
		return false;
	step("produced");
	if (!producer_commit(o->session))
		return false;
	step("kafka-committed");
	return true;
}

/* Takes a result into the batch. */
static void
add_part(Outward *o, PGresult *result)
{
	int rows = PQntuples(result);

	o->parts = get_memory(o->parts, (o->n_parts + 1) * sizeof(PGresult *));
	o->parts[o->n_parts++] = result;
	o->ids = get_memory(o->ids, (o->n + rows) * sizeof(int64_t));
	for (int row = 0; row < rows; row++)
	{
		o->ids[o->n] = server_int64(result, row, COLUMN_ID);
		o->repeated += position_is_pending(&o->pending, o->ids[o->n]);
		o->n++;
	}
}

/* Receives once; returns how many bytes, 0 if there is nothing, and -1 if the session has ended. */
static int64_t
receive_once(Outward *o, int64_t bytes_left)
{
	Session *s = o->session;
	char rows[16];
	char bytes[24];
	Parameter call[] = {{s->topic_oid, SERVER_TEXT},
						{s->options->group, SERVER_TEXT},
						{rows, SERVER_TEXT},
						{bytes, SERVER_TEXT},
						{o->n > 0 ? "0" : WAIT, SERVER_TEXT}};
	PGresult *result;
	int64_t received = 0;

	snprintf(rows, sizeof(rows), "%d", s->options->batch_rows - o->n);
	snprintf(bytes, sizeof(bytes), "%" PRId64, bytes_left);
	result = server_query(s, s->conn, o->receive, 5, call, true, NULL);
	if (!result)
		return -1;
	for (int row = 0; row < PQntuples(result); row++)
		received += 64 + PQgetlength(result, row, COLUMN_KEY) +
					PQgetlength(result, row, COLUMN_PAYLOAD) +
					PQgetlength(result, row, COLUMN_HEADERS);
	add_part(o, result);
	return received;
}

/* A call returns messages of one partition; if they come one by one, this is no reason to wait for more of them. */
static bool
receive_batch(Outward *o)
{
	int64_t bytes = 0;
	int64_t until = 0;

	while (o->n < o->session->options->batch_rows && bytes < o->session->options->batch_bytes &&
		   (o->n == 0 || stop_clock() < until))
	{
		int64_t received = receive_once(o, o->session->options->batch_bytes - bytes);

		if (received < 0)
			return false;
		if (received == 0)
			break;
		if (bytes == 0)
			until = stop_clock() + GATHER_MS;
		bytes += received;
	}
	if (o->n > 0)
		step("received");
	return true;
}

static void
clear_batch(Outward *o)
{
	for (int i = 0; i < o->n_parts; i++)
		PQclear(o->parts[i]);
	o->n_parts = o->n = o->repeated = 0;
}

static bool
move_batch(Outward *o)
{
	Session *s = o->session;
	bool ok;

	rd_kafka_poll(s->kafka, 0);
	ok = server_run(s, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL) &&
		 receive_batch(o) && send_batch(o);
	ok = ok && server_run(s, "COMMIT", 0, NULL);
	if (ok && o->n > 0)
	{
		step("committed");
		o->consumed += o->n;
		o->pending.left -= o->repeated;
		session_count(s, o->n - o->repeated);
	}
	clear_batch(o);
	return ok;
}

/* ---- sessions */

/* Everything that goes to Kafka is bytes. */
static char *
make_receive(const Session *s)
{
	bool is_jsonb = strcmp(s->payload, "jsonb") == 0;
	bool is_bytea = strcmp(s->payload, "bytea") == 0;
	size_t size = strlen(headers_sql) + 512;
	char *sql = get_memory(NULL, size);

	snprintf(
		sql, size,
		"SELECT r.partition, r.id, floor(extract(epoch FROM r.sent_at) * 1000)::bigint, %s, %s, %s FROM braid.receive%s($1::regclass, $2, $3::int, $4::bigint, $5::interval) r",
		s->options->base64_keys ? "decode(r.key, 'base64')" : "convert_to(r.key, 'UTF8')",
		is_bytea   ? "r.payload"
		: is_jsonb ? "convert_to(r.payload::text, 'UTF8')"
				   : "convert_to(r.payload, 'UTF8')",
		headers_sql,
		is_bytea   ? "_bytea"
		: is_jsonb ? ""
				   : "_text");
	return sql;
}

static bool
open_flusher(Outward *o)
{
	PGresult *result;

	if (!server_connect(o->session, &o->flusher))
		return false;
	result = server_query(
		o->session, o->flusher,
		"SELECT pg_catalog.set_config('synchronous_commit', 'on', false), pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)",
		0, NULL, false, NULL);
	PQclear(result);
	return result != NULL;
}

static bool
open_sides(Outward *o)
{
	Session *s = o->session;
	rd_kafka_t *reader;
	bool ok;

	if (!server_open(s) || !make_group(s) || !open_flusher(o))
		return false;
	o->receive = make_receive(s);
	reader = broker_connect_reader(s);
	ok = reader && position_make_topic(s, reader) &&
		 broker_count_partitions(s, reader, s->options->kafka_topic, &s->kafka_partitions) &&
		 producer_open(s) && compare_sides(o, reader);
	if (reader)
		rd_kafka_destroy(reader);
	return ok;
}

/* The transaction in PostgreSQL ends with the connection. */
static void
close_sides(Outward *o)
{
	producer_close(o->session);
	PQfinish(o->flusher);
	PQfinish(o->session->conn);
	clear_batch(o);
	free(o->parts);
	free(o->ids);
	free(o->pending.ids);
	free(o->receive);
	free(o->server);
	free(o->session->topic_view);
}

void
outward_run(Session *s)
{
	Outward outward = {.session = s};

	if (open_sides(&outward))
	{
		log_line(LOG_LEVEL_INFO, "connected; %d partitions here, %d in Kafka", s->topic_partitions,
				 s->kafka_partitions);
		while (session_goes_on(s) && move_batch(&outward))
			;
	}
	close_sides(&outward);
}
