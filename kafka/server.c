/*
 * server.c
 *	  PostgreSQL.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "server.h"
#include "stop.h"

#define MAX_PARAMETERS 8

/* How often to look whether the bridge is free. */
#define LOCK_MS 500

bool
server_check_dsn(const char *dsn)
{
	PQconninfoOption *parsed = PQconninfoParse(dsn, NULL);

	PQconninfoFree(parsed);
	return parsed != NULL;
}

bool
server_connect(Session *s, PGconn **conn)
{
	char application[128];
	/* What comes later overrides: the connection string has the last word, but on the encoding. */
	const char *keywords[] = {"connect_timeout",
							  "keepalives_idle",
							  "tcp_user_timeout",
							  "application_name",
							  "dbname",
							  "client_encoding",
							  NULL};
	const char *values[] = {"10", "10", "30000", application, s->options->dsn, "UTF8", NULL};

	snprintf(application, sizeof(application), "braid-kafka %s", s->options->name);
	*conn = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(*conn) != CONNECTION_OK)
		return session_fail(s, OUTCOME_RETRY, "could not connect to PostgreSQL: %s",
							PQerrorMessage(*conn));
	return true;
}

bool
server_send(Session *s, PGconn *conn, const char *sql, int n, const Parameter *parameters,
			bool binary)
{
	const char *values[MAX_PARAMETERS];
	int lengths[MAX_PARAMETERS];
	int formats[MAX_PARAMETERS];

	for (int i = 0; i < n; i++)
	{
		values[i] = parameters[i].value;
		lengths[i] = parameters[i].length;
		formats[i] = parameters[i].length != SERVER_TEXT;
	}
	if (!PQsendQueryParams(conn, sql, n, NULL, values, lengths, formats, binary))
		return session_fail(s, OUTCOME_RETRY, "connection to PostgreSQL: %s", PQerrorMessage(conn));
	return true;
}

/* Waits until a result can be had without waiting. */
static bool
wait_for_result(Session *s, PGconn *conn)
{
	while (PQisBusy(conn))
	{
		if (stop_is_overdue())
			return session_fail(s, OUTCOME_STOP, "PostgreSQL takes too long");
		stop_wait(PQsocket(conn), 200);
		if (!PQconsumeInput(conn))
			return session_fail(s, OUTCOME_RETRY, "connection to PostgreSQL: %s",
								PQerrorMessage(conn));
	}
	return true;
}

/* Is it an error of the data that was sent, or a limit that they exceed?  Then what it says is the caller's. */
static bool
is_data_error(const PGresult *result, char **error)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	size_t size;

	if (!error || !state || (strncmp(state, "22", 2) != 0 && strncmp(state, "54", 2) != 0))
		return false;
	size = strlen(text ? text : "") + 16;
	*error = get_memory(NULL, size);
	snprintf(*error, size, "%s: %s", state, text ? text : "");
	return true;
}

PGresult *
server_receive(Session *s, PGconn *conn, char **error)
{
	PGresult *result;
	ExecStatusType status;

	if (!wait_for_result(s, conn))
		return NULL;
	result = PQgetResult(conn);
	status = PQresultStatus(result);
	/* The end of the answer is behind its result. */
	while (wait_for_result(s, conn))
	{
		PGresult *next = PQgetResult(conn);

		if (!next)
			break;
		PQclear(next);
	}
	if (s->outcome == OUTCOME_NONE && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK))
		return result;
	if (s->outcome == OUTCOME_NONE && !is_data_error(result, error))
		session_fail(s, OUTCOME_RETRY, "PostgreSQL: %s",
					 PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
						 ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
						 : PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

PGresult *
server_query(Session *s, PGconn *conn, const char *sql, int n, const Parameter *parameters,
			 bool binary, char **error)
{
	return server_send(s, conn, sql, n, parameters, binary) ? server_receive(s, conn, error) : NULL;
}

bool
server_run(Session *s, const char *sql, int n, const Parameter *parameters)
{
	PGresult *result = server_query(s, s->conn, sql, n, parameters, false, NULL);

	PQclear(result);
	return result != NULL;
}

int
server_int32(const PGresult *result, int row, int column)
{
	uint32_t value;

	memcpy(&value, PQgetvalue(result, row, column), sizeof(value));
	return (int) ntohl(value);
}

int64_t
server_int64(const PGresult *result, int row, int column)
{
	uint64_t value;

	memcpy(&value, PQgetvalue(result, row, column), sizeof(value));
	return (int64_t) be64toh(value);
}

/*
 * The lock is the session's.  So who has it knows that no transaction of another process for this
 * bridge is open any more; a server that has lost its client gives it up soon.  Statements are short, and
 * compiling them would take longer than they do.
 */
static bool
take_lock(Session *s)
{
	char key[160];
	Parameter name = {key, SERVER_TEXT};
	PGresult *result;
	bool mine;

	snprintf(key, sizeof(key), "braid-kafka %s %s", s->options->out ? "out" : "in",
			 s->options->name);
	result = server_query(
		s, s->conn,
		"SELECT pg_catalog.set_config('tcp_keepalives_idle', '10', false),"
		" pg_catalog.set_config('tcp_keepalives_interval', '5', false), pg_catalog.set_config('tcp_keepalives_count', '3', false), pg_catalog.set_config('jit', 'off', false)",
		0, NULL, false, NULL);
	PQclear(result);
	if (!result)
		return false;
	for (bool waiting = false; session_goes_on(s); waiting = true)
	{
		result = server_query(
			s, s->conn,
			"SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1::pg_catalog.text, 0))",
			1, &name, false, NULL);
		if (!result)
			return false;
		mine = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
		PQclear(result);
		if (mine)
			return true;
		if (!waiting)
			log_line(LOG_LEVEL_INFO,
					 "another process is at work for bridge \"%s\"; waiting for its end",
					 s->options->name);
		stop_wait(-1, LOCK_MS);
	}
	return false;
}

/* The name is looked up as the user's search_path has it; nothing else is. */
static bool
find_oid(Session *s)
{
	Parameter name = {s->options->topic, SERVER_TEXT};
	PGresult *result = server_query(
		s, s->conn, "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid", 1, &name,
		false, NULL);

	if (!result)
		return false;
	snprintf(s->topic_oid, sizeof(s->topic_oid), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return server_run(s, "SET search_path = pg_catalog, pg_temp", 0, NULL);
}

static bool
find_topic(Session *s)
{
	Parameter oid = {s->topic_oid, SERVER_TEXT};
	PGresult *result = server_query(
		s, s->conn,
		"SELECT format('%I.%I', n.nspname, c.relname), t.payload, t.partitions"
		" FROM braid.topics t JOIN pg_class c ON c.oid = t.topic"
		" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.topic = nullif($1, '')::oid",
		1, &oid, false, NULL);

	if (!result)
		return false;
	if (PQntuples(result) != 1)
	{
		PQclear(result);
		return session_fail(s, OUTCOME_RETRY, "topic \"%s\" does not exist", s->options->topic);
	}
	s->topic_view = copy_text(PQgetvalue(result, 0, 0));
	snprintf(s->payload, sizeof(s->payload), "%s", PQgetvalue(result, 0, 1));
	s->topic_partitions = atoi(PQgetvalue(result, 0, 2));
	PQclear(result);
	return true;
}

bool
server_open(Session *s)
{
	return server_connect(s, &s->conn) && take_lock(s) && find_oid(s) && find_topic(s);
}
