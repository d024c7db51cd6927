/*
 * connection.h
 *	  An asynchronous connection of a worker to another server.
 */
#ifndef BRAID_CONNECTION_H
#define BRAID_CONNECTION_H

#include "common/wait.h"
#include "datatype/timestamp.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"

typedef enum BraidConnectionState
{
	BRAID_CONNECTION_CLOSED,
	BRAID_CONNECTION_CONNECTING,
	BRAID_CONNECTION_IDLE,
	BRAID_CONNECTION_BUSY /* a command is under way */
} BraidConnectionState;

typedef struct BraidConnection
{
	BraidConnectionState state;
	PGconn *pg;
	uint32 serial;	   /* of the opening: no two have the same */
	PGresult *result;  /* of the command under way, as far as it came */
	uint32 wanted;	   /* WL_SOCKET_*: what to wait for */
	TimestampTz began; /* connecting or command */
	void *job;		   /* the caller's */
} BraidConnection;

typedef enum BraidConnectionOutcome
{
	BRAID_OUTCOME_NONE, /* nothing new */
	BRAID_OUTCOME_CONNECTED,
	BRAID_OUTCOME_RESULT, /* the command has ended; take the result */
	BRAID_OUTCOME_FAILED  /* close it; PQerrorMessage() says why */
} BraidConnectionOutcome;

/* Where to connect to, and as whom: arrays for PQconnectStartParams(). Begin with zeroes. */
typedef struct BraidConnectionOptions
{
	int n;
	int room;
	const char **keywords;
	const char **values;
	bool needs_password; /* the connection must use one: see the callers */
	bool has_password;
} BraidConnectionOptions;

/* In the current memory context.  A later keyword overrides an earlier one. */
extern void
braid_connection_add_option(BraidConnectionOptions *o, const char *keyword, const char *value);

/* Options of servers and user mappings (DefElem), those that libpq knows. */
extern void braid_connection_add_given(BraidConnectionOptions *o, List *given);

extern bool
braid_connection_same_options(const BraidConnectionOptions *a, const BraidConnectionOptions *b);

/* false if it could not even begin; the reason is in *error (static). */
extern bool braid_connection_open(BraidConnection *c, const BraidConnectionOptions *options,
								  const char **error);
extern void braid_connection_close(BraidConnection *c);

/* Sends a command on an idle connection; false if it failed. */
extern bool braid_connection_send(BraidConnection *c, const char *sql);

/* The same with parameters, as texts; the result comes as texts as well, or in binary form. */
extern bool braid_connection_send_params(BraidConnection *c, const char *sql, int n,
										 const char *const *values, bool binary);

/* Does what can be done without waiting. */
extern BraidConnectionOutcome braid_connection_advance(BraidConnection *c);

/* Makes the connection idle and returns the result; the caller clears it. */
extern PGresult *braid_connection_take_result(BraidConnection *c);

/*
 * Waits for the sockets of those connections that are open, for the latch, which is reset, and no longer
 * than nap milliseconds.  `advance` is called for each connection that has something; it may close any, and
 * free none.  For the main loop of a worker: a process has one set of what it waits for.
 */
extern void braid_connection_wait(List *connections, long nap, BraidWait wait,
								  void (*advance)(BraidConnection *c));

/* libpq's message as one line, in the current memory context. */
extern char *braid_connection_line(const char *message);

#endif /* BRAID_CONNECTION_H */
