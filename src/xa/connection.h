/*
 * connection.h
 *	  An asynchronous connection of the resolver to a participant.
 */
#ifndef BRAID_XA_CONNECTION_H
#define BRAID_XA_CONNECTION_H

#include "datatype/timestamp.h"
#include "libpq-fe.h"

typedef enum XaConnectionState
{
	XA_CONNECTION_CLOSED,
	XA_CONNECTION_CONNECTING,
	XA_CONNECTION_IDLE,
	XA_CONNECTION_BUSY /* a command is under way */
} XaConnectionState;

typedef struct XaConnection
{
	XaConnectionState state;
	PGconn *pg;
	uint32 serial;	   /* of the opening: no two have the same */
	PGresult *result;  /* of the command under way, as far as it came */
	uint32 wanted;	   /* WL_SOCKET_*: what to wait for */
	TimestampTz began; /* connecting or command */
	void *job;		   /* the caller's */
} XaConnection;

typedef enum XaConnectionOutcome
{
	XA_OUTCOME_NONE, /* nothing new */
	XA_OUTCOME_CONNECTED,
	XA_OUTCOME_RESULT, /* the command has ended; take the result */
	XA_OUTCOME_FAILED  /* close it; PQerrorMessage() says why */
} XaConnectionOutcome;

/* Where to connect to, and as whom: arrays for PQconnectStartParams(). */
typedef struct XaConnectionOptions
{
	int n;
	const char **keywords;
	const char **values;
	bool needs_password; /* see braid_xa_connection_options() */
	bool has_password;
} XaConnectionOptions;

/*
 * Options of the server and of the resolver's user mapping, allocated in the
 * current context.  In a transaction.
 *
 * The resolver runs as the operating system's user of the server.  Whoever made
 * the server or the mapping and is no superuser must not connect in that name:
 * as in postgres_fdw, such a connection needs a password, and must use it.
 */
extern XaConnectionOptions braid_xa_connection_options(Oid serverid, uint64 coordinator);

/* false if it could not even begin; the reason is in *error (static). */
extern bool
braid_xa_connection_open(XaConnection *c, const XaConnectionOptions *options, const char **error);
extern void braid_xa_connection_close(XaConnection *c);

/* Sends a command on an idle connection; false if it failed. */
extern bool braid_xa_connection_send(XaConnection *c, const char *sql);

/* Does what can be done without waiting. */
extern XaConnectionOutcome braid_xa_connection_advance(XaConnection *c);

/* Makes the connection idle and returns the result; the caller clears it. */
extern PGresult *braid_xa_connection_take_result(XaConnection *c);

/* libpq's message as one line, in the current memory context. */
extern char *braid_xa_connection_line(const char *message);

#endif /* BRAID_XA_CONNECTION_H */
