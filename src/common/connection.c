/*
 * connection.c
 *	  An asynchronous connection of a worker to another server.
 *
 * Nothing here waits but braid_connection_wait(), and libpq for the name service.  Errors are returned, never
 * thrown: one bad connection must not disturb the others.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "common/compat.h"
#include "common/connection.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

/* ---------------------------------------------------------------- options */

static bool
is_libpq_option(const PQconninfoOption *known, const char *name)
{
	/* The caller's to say. */
	if (strcmp(name, "options") == 0 || strcmp(name, "application_name") == 0 ||
		strcmp(name, "fallback_application_name") == 0 || strcmp(name, "client_encoding") == 0)
		return false;
	for (; known->keyword; known++)
		if (strcmp(known->keyword, name) == 0)
			return true;
	return false;
}

void
braid_connection_add_option(BraidConnectionOptions *o, const char *keyword, const char *value)
{
	if (o->n + 1 >= o->room)
	{
		Size size;

		o->room = Max(16, o->room * 2);
		size = o->room * sizeof(char *);
		o->keywords = o->keywords ? repalloc(o->keywords, size) : palloc(size);
		o->values = o->values ? repalloc(o->values, size) : palloc(size);
	}
	o->keywords[o->n] = pstrdup(keyword);
	o->values[o->n++] = pstrdup(value);
	o->keywords[o->n] = NULL;
	o->values[o->n] = NULL;
}

void
braid_connection_add_given(BraidConnectionOptions *o, List *given)
{
	PQconninfoOption *known = PQconndefaults();
	ListCell *lc;

	if (known == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	foreach (lc, given)
	{
		DefElem *def = lfirst(lc);

		if (strcmp(def->defname, "password") == 0 && defGetString(def)[0] != '\0')
			o->has_password = true;
		if (is_libpq_option(known, def->defname))
			braid_connection_add_option(o, def->defname, defGetString(def));
	}
	PQconninfoFree(known);
}

bool
braid_connection_same_options(const BraidConnectionOptions *a, const BraidConnectionOptions *b)
{
	if (a->n != b->n || a->needs_password != b->needs_password)
		return false;
	for (int i = 0; i < a->n; i++)
		if (strcmp(a->keywords[i], b->keywords[i]) != 0 || strcmp(a->values[i], b->values[i]) != 0)
			return false;
	return true;
}

/* ---------------------------------------------------------------- life */

bool
braid_connection_open(BraidConnection *c, const BraidConnectionOptions *options, const char **error)
{
	static char message[256];
	static uint32 openings = 0;

	Assert(c->state == BRAID_CONNECTION_CLOSED);
	*error = message;
	if (!AcquireExternalFD())
	{
		strlcpy(message, "too many open files", sizeof(message));
		return false;
	}
	c->pg = PQconnectStartParams(options->keywords, options->values, 0);
	if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD)
	{
		strlcpy(message, c->pg ? PQerrorMessage(c->pg) : "out of memory", sizeof(message));
		PQfinish(c->pg);
		c->pg = NULL;
		ReleaseExternalFD();
		return false;
	}
	c->serial = ++openings;
	c->state = BRAID_CONNECTION_CONNECTING;
	c->began = GetCurrentTimestamp();
	c->wanted = WL_SOCKET_WRITEABLE;
	c->result = NULL;
	c->job = NULL;
	return true;
}

void
braid_connection_close(BraidConnection *c)
{
	if (c->state == BRAID_CONNECTION_CLOSED)
		return;
	PQclear(c->result);
	PQfinish(c->pg);
	ReleaseExternalFD();
	memset(c, 0, sizeof(*c));
}

/* Sends what is buffered; sets what to wait for. */
static bool
flush(BraidConnection *c)
{
	int rest = PQflush(c->pg);

	c->wanted = WL_SOCKET_READABLE | (rest > 0 ? WL_SOCKET_WRITEABLE : 0);
	return rest >= 0;
}

static void
begin_command(BraidConnection *c)
{
	Assert(c->state == BRAID_CONNECTION_IDLE);
	c->state = BRAID_CONNECTION_BUSY;
	c->began = GetCurrentTimestamp();
}

bool
braid_connection_send(BraidConnection *c, const char *sql)
{
	begin_command(c);
	return PQsendQuery(c->pg, sql) && flush(c);
}

bool
braid_connection_send_params(BraidConnection *c, const char *sql, int n, const char *const *values,
							 bool binary)
{
	begin_command(c);
	return PQsendQueryParams(c->pg, sql, n, NULL, values, NULL, NULL, binary) && flush(c);
}

static BraidConnectionOutcome
advance_connecting(BraidConnection *c)
{
	switch (PQconnectPoll(c->pg))
	{
		case PGRES_POLLING_READING:
			c->wanted = WL_SOCKET_READABLE;
			return BRAID_OUTCOME_NONE;
		case PGRES_POLLING_WRITING:
			c->wanted = WL_SOCKET_WRITEABLE;
			return BRAID_OUTCOME_NONE;
		case PGRES_POLLING_OK:
			if (PQsetnonblocking(c->pg, 1) != 0)
				return BRAID_OUTCOME_FAILED;
			c->state = BRAID_CONNECTION_IDLE;
			c->wanted = WL_SOCKET_READABLE;
			return BRAID_OUTCOME_CONNECTED;
		default:
			return BRAID_OUTCOME_FAILED;
	}
}

static BraidConnectionOutcome
advance_command(BraidConnection *c)
{
	if (!flush(c))
		return BRAID_OUTCOME_FAILED;
	while (!PQisBusy(c->pg))
	{
		PGresult *r = PQgetResult(c->pg);

		if (!r)
			return PQstatus(c->pg) == CONNECTION_OK && c->result ? BRAID_OUTCOME_RESULT
																 : BRAID_OUTCOME_FAILED;
		PQclear(c->result);
		c->result = r;
	}
	return BRAID_OUTCOME_NONE;
}

BraidConnectionOutcome
braid_connection_advance(BraidConnection *c)
{
	if (c->state == BRAID_CONNECTION_CLOSED)
		return BRAID_OUTCOME_NONE;
	if (c->state == BRAID_CONNECTION_CONNECTING)
		return advance_connecting(c);
	if (!PQconsumeInput(c->pg))
		return BRAID_OUTCOME_FAILED;
	if (c->state == BRAID_CONNECTION_BUSY)
		return advance_command(c);
	return BRAID_OUTCOME_NONE;
}

PGresult *
braid_connection_take_result(BraidConnection *c)
{
	PGresult *r = c->result;

	Assert(c->state == BRAID_CONNECTION_BUSY);
	c->result = NULL;
	c->state = BRAID_CONNECTION_IDLE;
	return r;
}

/* ---------------------------------------------------------------- waiting */

/* Of what is waited for: changes whenever that does, as libpq may change a socket. */
static uint64
fingerprint(List *connections)
{
	uint64 sum = 17;
	ListCell *lc;

	foreach (lc, connections)
	{
		BraidConnection *c = lfirst(lc);

		if (c->state != BRAID_CONNECTION_CLOSED)
			sum = ((sum * 31 + c->serial) * 31 + PQsocket(c->pg)) * 31 + c->wanted;
	}
	return sum;
}

static WaitEventSet *
make_wait_set(List *connections)
{
	WaitEventSet *set = braid_compat_create_wait_event_set(2 + list_length(connections));
	ListCell *lc;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	foreach (lc, connections)
	{
		BraidConnection *c = lfirst(lc);

		if (c->state != BRAID_CONNECTION_CLOSED)
			AddWaitEventToSet(set, c->wanted, PQsocket(c->pg), NULL, c);
	}
	return set;
}

void
braid_connection_wait(List *connections, long nap, BraidWait wait,
					  void (*advance)(BraidConnection *c))
{
	static WaitEventSet *set = NULL;
	static uint64 made_for = 0;
	WaitEvent events[64];
	uint64 now = fingerprint(connections);
	int n;

	if (set == NULL || now != made_for)
	{
		if (set)
			FreeWaitEventSet(set);
		set = make_wait_set(connections);
		made_for = now;
	}
	n = WaitEventSetWait(set, nap, events, lengthof(events), braid_wait_begin(wait));
	braid_wait_end();
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (events[i].user_data)
			advance(events[i].user_data);
	}
}

/* ---------------------------------------------------------------- messages */

char *
braid_connection_line(const char *message)
{
	char *copy = palloc(strlen(message) + 1);
	char *to = copy;

	for (const char *from = message; *from; from++)
	{
		char c = *from == '\n' || *from == '\t' ? ' ' : *from;

		if (c != ' ' || (to > copy && to[-1] != ' '))
			*to++ = c;
	}
	while (to > copy && to[-1] == ' ')
		to--;
	*to = '\0';
	return copy;
}
