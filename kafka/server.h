/* server.h: PostgreSQL. */
#ifndef BRAID_KAFKA_SERVER_H
#define BRAID_KAFKA_SERVER_H

#include "session.h"

/* A value of a statement. */
typedef struct Parameter
{
	const char *value; /* NULL: null */
	int length;		   /* of a binary value; SERVER_TEXT: it is a text */
} Parameter;

#define SERVER_TEXT (-1)

/* Whether the session's connection string can be parsed: what libpq says of one that cannot quotes it. */
extern bool server_check_dsn(const char *dsn);

/* A connection; *conn is to be closed by PQfinish() in any case. */
extern bool server_connect(Session *s, PGconn **conn);

/* s->conn, of which no other process has one for a bridge of the name, and the topic. */
extern bool server_open(Session *s);

/*
 * Runs a statement; the result has binary columns if asked for.  An error ends the session and NULL is
 * returned; or, if it is one of the data (classes 22 and 54) and error is not NULL, *error is what it says.
 * Ends with the session if the program has been asked to end for too long.
 */
extern PGresult *server_query(Session *s, PGconn *conn, const char *sql, int n,
							  const Parameter *parameters, bool binary, char **error);

/* The same in two halves. */
extern bool server_send(Session *s, PGconn *conn, const char *sql, int n,
						const Parameter *parameters, bool binary);
extern PGresult *server_receive(Session *s, PGconn *conn, char **error);

/* A statement whose result does not matter. */
extern bool server_run(Session *s, const char *sql, int n, const Parameter *parameters);

/* Values of binary columns. */
extern int server_int32(const PGresult *result, int row, int column);
extern int64_t server_int64(const PGresult *result, int row, int column);

#endif
