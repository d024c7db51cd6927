/*
 * relay_server.c
 *	  Where a relay's source is, and as whom it is connected to.
 *
 * NOTES
 *	  The worker runs as the operating system's user of the server, and a server file or
 *	  a peer authentication may let that one in as anybody.  So as in postgres_fdw the
 *	  connection of a role that is no superuser needs a password, and has to use it.
 *	  Only wrappers are accepted that check who may set which option of libpq.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "common/compat.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "topic/relay_server.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static bool
is_postgres(const ForeignServer *server)
{
	Oid handler = GetForeignDataWrapper(server->fdwid)->fdwhandler;
	char *name = OidIsValid(handler) ? get_func_name(handler) : NULL;

	return name &&
		   (strcmp(name, "braid_fdw_handler") == 0 || strcmp(name, "postgres_fdw_handler") == 0);
}

static ForeignServer *
usable_server(const char *name, Oid role)
{
	ForeignServer *server = GetForeignServerByName(name, false);

	if (!is_postgres(server))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" is none that a relay can read from", name),
						errhint("Its foreign-data wrapper has to be braid_fdw, or postgres_fdw.")));
	if (!braid_compat_may_use_server(server->serverid, role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not use server \"%s\"",
							   GetUserNameFromId(role, false), name),
						errdetail("A relay connects as the owner of its target."),
						errhint("GRANT USAGE ON FOREIGN SERVER.")));
	return server;
}

void
braid_relay_check_server(const char *server, Oid role)
{
	(void) GetUserMapping(role, usable_server(server, role)->serverid);
}

/* Whether the mapping says that it needs no password, which only a superuser can. */
static bool
waives_password(const UserMapping *mapping)
{
	ListCell *lc;

	foreach (lc, mapping->options)
	{
		DefElem *def = lfirst(lc);

		if (strcmp(def->defname, "password_required") == 0)
			return !defGetBoolean(def);
	}
	return false;
}

BraidConnectionOptions
braid_relay_connection_options(const char *server_name, Oid role)
{
	ForeignServer *server = usable_server(server_name, role);
	UserMapping *mapping = GetUserMapping(role, server->serverid);
	BraidConnectionOptions o = {0};

	braid_connection_add_option(&o, "keepalives_idle", "10");
	braid_connection_add_option(&o, "keepalives_interval", "5");
	braid_connection_add_option(&o, "keepalives_count", "3");
	braid_connection_add_given(&o, server->options);
	braid_connection_add_given(&o, mapping->options);
	braid_connection_add_option(&o, "application_name", "braid relay");
	braid_connection_add_option(
		&o, "options",
		"-c search_path=pg_catalog -c statement_timeout=0 "
		"-c default_transaction_isolation=read\\ committed "
		"-c lock_timeout=0 -c idle_session_timeout=0 -c default_transaction_read_only=off "
		"-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3");
	o.needs_password = !superuser_arg(role) && !waives_password(mapping);
	return o;
}

Oid
braid_relay_owner(const BraidTopic *topic)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(topic->view));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", topic->view);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}
