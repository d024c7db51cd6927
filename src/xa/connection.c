/*
 * connection.c
 *	  An asynchronous connection of the resolver to a participant.
 *
 * Nothing here waits, but for the name service.  Errors are returned, never
 * thrown: one bad connection must not disturb the others.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "xa/connection.h"
#include "xa/settings.h"

/* ---------------------------------------------------------------- options */

/* Options of the mapping for the role braid_resolver, NIL if there is none. */
static List *
resolver_mapping_options(Oid serverid)
{
	Oid role = get_role_oid(BRAID_XA_RESOLVER_ROLE, true);

	if (!OidIsValid(role) || !SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
													ObjectIdGetDatum(serverid)))
		return NIL;
	return GetUserMapping(role, serverid)->options;
}

static bool
is_libpq_option(const PQconninfoOption *known, const char *name)
{
	/* Ours to say. */
	if (strcmp(name, "options") == 0 || strcmp(name, "application_name") == 0 ||
		strcmp(name, "fallback_application_name") == 0 || strcmp(name, "client_encoding") == 0)
		return false;
	for (; known->keyword; known++)
		if (strcmp(known->keyword, name) == 0)
			return true;
	return false;
}

static void
add_option(XaConnectionOptions *o, const char *keyword, const char *value)
{
	o->keywords[o->n] = pstrdup(keyword);
	o->values[o->n++] = pstrdup(value);
	o->keywords[o->n] = NULL;
	o->values[o->n] = NULL;
}

XaConnectionOptions
braid_xa_connection_options(Oid serverid, uint64 coordinator)
{
	ForeignServer *server = GetForeignServer(serverid);
	List *given = list_concat_copy(server->options, resolver_mapping_options(serverid));
	PQconninfoOption *known = PQconndefaults();
	XaConnectionOptions o = {0};
	Size room = sizeof(char *) * (list_length(given) + 8);
	ListCell *lc;

	o.keywords = palloc(room);
	o.values = palloc(room);

	/*
	 * A later keyword overrides an earlier one.  Both sides have to notice soon
	 * that the other one is gone: the server because the fence falls with it.
	 */
	add_option(&o, "user", BRAID_XA_RESOLVER_ROLE);
	add_option(&o, "keepalives_idle", "10");
	add_option(&o, "keepalives_interval", "5");
	add_option(&o, "keepalives_count", "3");
	foreach (lc, given)
	{
		DefElem *def = lfirst(lc);

		if (strcmp(def->defname, "password") == 0 && defGetString(def)[0] != '\0')
			o.has_password = true;
		if (known && is_libpq_option(known, def->defname))
			add_option(&o, def->defname, defGetString(def));
	}
	add_option(&o, "application_name",
			   psprintf(BRAID_XA_RESOLVER_NAME, (unsigned long long) coordinator));
	add_option(&o, "options",
			   "-c search_path=pg_catalog -c statement_timeout=0 "
			   "-c default_transaction_isolation=read\\ committed "
			   "-c lock_timeout=0 -c idle_session_timeout=0 "
			   "-c default_transaction_read_only=off "
			   "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3");
	PQconninfoFree(known);
	o.needs_password = !superuser_arg(server->owner);
	return o;
}

/* ---------------------------------------------------------------- life */

bool
braid_xa_connection_open(XaConnection *c, const XaConnectionOptions *options, const char **error)
{
	static char message[256];
	static uint32 openings = 0;

	Assert(c->state == XA_CONNECTION_CLOSED);
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
	c->state = XA_CONNECTION_CONNECTING;
	c->began = GetCurrentTimestamp();
	c->wanted = WL_SOCKET_WRITEABLE;
	c->result = NULL;
	c->job = NULL;
	return true;
}

void
braid_xa_connection_close(XaConnection *c)
{
	if (c->state == XA_CONNECTION_CLOSED)
		return;
	PQclear(c->result);
	PQfinish(c->pg);
	ReleaseExternalFD();
	memset(c, 0, sizeof(*c));
}

/* Sends what is buffered; sets what to wait for. */
static bool
flush(XaConnection *c)
{
	int rest = PQflush(c->pg);

	c->wanted = WL_SOCKET_READABLE | (rest > 0 ? WL_SOCKET_WRITEABLE : 0);
	return rest >= 0;
}

bool
braid_xa_connection_send(XaConnection *c, const char *sql)
{
	Assert(c->state == XA_CONNECTION_IDLE);
	c->state = XA_CONNECTION_BUSY;
	c->began = GetCurrentTimestamp();
	return PQsendQuery(c->pg, sql) && flush(c);
}

static XaConnectionOutcome
advance_connecting(XaConnection *c)
{
	switch (PQconnectPoll(c->pg))
	{
		case PGRES_POLLING_READING:
			c->wanted = WL_SOCKET_READABLE;
			return XA_OUTCOME_NONE;
		case PGRES_POLLING_WRITING:
			c->wanted = WL_SOCKET_WRITEABLE;
			return XA_OUTCOME_NONE;
		case PGRES_POLLING_OK:
			if (PQsetnonblocking(c->pg, 1) != 0)
				return XA_OUTCOME_FAILED;
			c->state = XA_CONNECTION_IDLE;
			c->wanted = WL_SOCKET_READABLE;
			return XA_OUTCOME_CONNECTED;
		default:
			return XA_OUTCOME_FAILED;
	}
}

static XaConnectionOutcome
advance_command(XaConnection *c)
{
	if (!flush(c))
		return XA_OUTCOME_FAILED;
	while (!PQisBusy(c->pg))
	{
		PGresult *r = PQgetResult(c->pg);

		if (!r)
			return PQstatus(c->pg) == CONNECTION_OK && c->result ? XA_OUTCOME_RESULT
																 : XA_OUTCOME_FAILED;
		PQclear(c->result);
		c->result = r;
	}
	return XA_OUTCOME_NONE;
}

XaConnectionOutcome
braid_xa_connection_advance(XaConnection *c)
{
	if (c->state == XA_CONNECTION_CLOSED)
		return XA_OUTCOME_NONE;
	if (c->state == XA_CONNECTION_CONNECTING)
		return advance_connecting(c);
	if (!PQconsumeInput(c->pg))
		return XA_OUTCOME_FAILED;
	if (c->state == XA_CONNECTION_BUSY)
		return advance_command(c);
	return XA_OUTCOME_NONE;
}

PGresult *
braid_xa_connection_take_result(XaConnection *c)
{
	PGresult *r = c->result;

	Assert(c->state == XA_CONNECTION_BUSY);
	c->result = NULL;
	c->state = XA_CONNECTION_IDLE;
	return r;
}

char *
braid_xa_connection_line(const char *message)
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
