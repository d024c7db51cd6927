/*
 * relay_failure.c
 *	  Why a relay fails, and what is to be done about it.
 *
 * NOTES
 *	  An error's own hint is the best advice.  Where there is none, the error's code says who has to
 *	  do something.  Whatever it is: the relay is tried again by itself.
 */
#include "postgres.h"

#include "common/connection.h"
#include "mb/pg_wchar.h"
#include "topic/relay_failure.h"

typedef struct Advice
{
	int code; /* 0: for all others */
	const char *text;
} Advice;

static const char same_version[] = "Install the same version of braid at the source.";
static const char unreachable[] =
	"See whether the source runs, and can be reached as the server and the user mapping say; if it "
	"has moved, ALTER SERVER or braid.alter_relay().";

static const Advice for_source[] = {
	{ERRCODE_INSUFFICIENT_PRIVILEGE,
	 "At the source, the user of the mapping has to own the topic."},
	{ERRCODE_UNDEFINED_TABLE,
	 "Make the topic there, or drop the relay with braid.drop_relay() and make one from the right "
	 "topic."},
	{ERRCODE_UNDEFINED_SCHEMA,
	 "The source needs the extension, and the topic; or drop the relay with braid.drop_relay() "
	 "and make one from the right topic."},
	{ERRCODE_UNDEFINED_FUNCTION, same_version},
	{ERRCODE_ADMIN_SHUTDOWN, "The source was shut down, or its session was ended."},
	{0, "See the source's log; it is tried again by itself."},
};

static const Advice for_target[] = {
	{ERRCODE_CONNECTION_FAILURE, unreachable},
	{ERRCODE_UNDEFINED_OBJECT,
	 "Make the server or user mapping that is missing, or name another server with "
	 "braid.alter_relay()."},
	{ERRCODE_LOCK_NOT_AVAILABLE,
	 "Somebody has locked the target, or is changing the relay: see pg_locks."},
	{0, "Mend the cause on this server; it is tried again by itself."},
};

static const char *
advice_for(const Advice *advices, int code)
{
	while (advices->code != 0 && advices->code != code)
		advices++;
	return advices->text;
}

/* Of another server: it may be in any encoding. */
static char *
foreign_line(const char *text)
{
	char *line = braid_connection_line(text);

	if (!pg_verifymbstr(line, strlen(line), true))
		for (char *c = line; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	return line;
}

static char *
join(const char *message, const char *detail)
{
	return detail ? psprintf("%s; %s", message, detail) : pstrdup(message);
}

RelayFailure
braid_relay_failure_of_connection(const char *message)
{
	char *line = foreign_line(message);

	return (RelayFailure){line[0] != '\0' ? line : pstrdup("the connection was lost"),
						  pstrdup(unreachable)};
}

/* 0 if there is none. */
static int
code_of(const PGresult *answer)
{
	const char *c = PQresultErrorField(answer, PG_DIAG_SQLSTATE);

	return c && strlen(c) == 5 ? MAKE_SQLSTATE(c[0], c[1], c[2], c[3], c[4]) : 0;
}

RelayFailure
braid_relay_failure_of_source(const PGresult *answer)
{
	const char *message = PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(answer, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(answer, PG_DIAG_MESSAGE_HINT);

	if (message == NULL && PQresultErrorMessage(answer)[0] != '\0')
		return braid_relay_failure_of_connection(PQresultErrorMessage(answer));
	if (message == NULL)
		return (RelayFailure){pstrdup("its answer is not what was asked for"),
							  pstrdup(same_version)};
	if (hint == NULL)
		hint = advice_for(for_source, code_of(answer));
	return (RelayFailure){foreign_line(join(message, detail)), foreign_line(hint)};
}

RelayFailure
braid_relay_failure_here(const ErrorData *e)
{
	const char *hint = e->hint ? e->hint : advice_for(for_target, e->sqlerrcode);

	return (RelayFailure){braid_connection_line(join(e->message, e->detail)),
						  braid_connection_line(hint)};
}
