/*
 * command.h
 *	  Running a command on behalf of another node, in this session.
 */
#ifndef BRAID_XA_COMMAND_H
#define BRAID_XA_COMMAND_H

typedef struct XaCommandResult
{
	int64 processed; /* rows of the last statement */
	char *rows;		 /* of the last statement, as a JSON array; NULL: not asked for */
} XaCommandResult;

/*
 * Runs one or more statements as the current user, in the current transaction.
 * Settings that they make end with them.  own_settings: they run with those that
 * a new session of the user would have, whatever this session has set.  The
 * result is in the caller's context.  Throws what the statements throw, 22023 if
 * there are none, 0A000 for transaction control and COPY from or to the client.
 */
extern XaCommandResult braid_xa_command_run(const char *command, bool own_settings, bool want_rows);

#endif /* BRAID_XA_COMMAND_H */
