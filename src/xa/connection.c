/*
 * connection.c
 *	  How the resolver connects to a participant.
 */
#include "postgres.h"

#include "catalog/pg_user_mapping.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "xa/connection.h"
#include "xa/settings.h"

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

BraidConnectionOptions
braid_xa_connection_options(Oid serverid, uint64 coordinator)
{
	ForeignServer *server = GetForeignServer(serverid);
	BraidConnectionOptions o = {0};

	/*
	 * A later keyword overrides an earlier one.  Both sides have to notice soon
	 * that the other one is gone: the server because the fence falls with it.
	 */
	braid_connection_add_option(&o, "user", BRAID_XA_RESOLVER_ROLE);
	braid_connection_add_option(&o, "keepalives_idle", "10");
	braid_connection_add_option(&o, "keepalives_interval", "5");
	braid_connection_add_option(&o, "keepalives_count", "3");
	braid_connection_add_given(&o, server->options);
	braid_connection_add_given(&o, resolver_mapping_options(serverid));
	braid_connection_add_option(&o, "application_name",
								psprintf(BRAID_XA_RESOLVER_NAME, (unsigned long long) coordinator));
	braid_connection_add_option(
		&o, "options",
		"-c search_path=pg_catalog -c statement_timeout=0 "
		"-c default_transaction_isolation=read\\ committed "
		"-c lock_timeout=0 -c idle_session_timeout=0 "
		"-c default_transaction_read_only=off "
		"-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3");
	o.needs_password = !superuser_arg(server->owner);
	return o;
}
