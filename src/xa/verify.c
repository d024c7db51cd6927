/*
 * verify.c
 *	  Is a participant what it has to be, and may this coordinator act on it?
 *
 * NOTES
 *	  A server's options say where to connect to, and may be changed while
 *	  branches are prepared at the old address.  If another node answers at the
 *	  new one, a sweep of it finds nothing, and the decisions would be taken for
 *	  settled.  So each node is known by the system identifier of its cluster and the
 *	  oid of its database, which a promoted standby shares with its primary and
 *	  nothing else does.  If it is another one than before, and a branch on the
 *	  server may be unfinished, the server does not get ready.
 *
 *	  Whether the coordinator may act is the participant's decision
 *	  (braid_internal.claim() in failover.sql); README.md has the argument.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/query.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "xa/doubt.h"
#include "xa/settings.h"
#include "xa/verify.h"

/* Columns of the answer. */
enum
{
	VERSION,
	PROTOCOL,
	MAX_PREPARED,
	IN_RECOVERY,
	SYSTEM_IDENTIFIER,
	DATABASE
};

const char *
braid_xa_verify_query(void)
{
	return "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'braid'), "
		   "pg_catalog.current_setting('braid.xa_protocol', true), "
		   "pg_catalog.current_setting('max_prepared_transactions'), "
		   "pg_catalog.pg_is_in_recovery(), "
		   "(SELECT system_identifier FROM pg_catalog.pg_control_system()), "
		   "(SELECT oid FROM pg_catalog.pg_database "
		   "WHERE datname = pg_catalog.current_database())";
}

/*
 * Compares the node with the one that was known as this server; false if it is
 * another one although a branch of the server may be unfinished.
 */
static bool
recognize_node(Oid serverid, const char *system_identifier, const char *dbid)
{
	braid_query_execute(psprintf("SELECT (system_identifier, dbid) = (%s, %s) "
								 "FROM braid_internal.server_nodes WHERE server = %u",
								 system_identifier, dbid, serverid),
						SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		bool isnull;

		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
			return true;
		if (braid_xa_doubt_on_server(serverid))
			return false;
	}
	braid_query_execute(
		psprintf("INSERT INTO braid_internal.server_nodes (server, system_identifier, dbid) "
				 "VALUES (%u, %s, %s) ON CONFLICT (server) DO UPDATE "
				 "SET (system_identifier, dbid, since) = (%s, %s, pg_catalog.now())",
				 serverid, system_identifier, dbid, system_identifier, dbid),
		SPI_OK_INSERT);
	return true;
}

/* Both texts came from the participant: numbers, or nothing. */
static bool
is_the_node(Oid serverid, PGresult *r)
{
	MemoryContext caller;
	char *system_identifier =
		psprintf("%lld", strtoll(PQgetvalue(r, 0, SYSTEM_IDENTIFIER), NULL, 10));
	char *dbid = psprintf("%lu", strtoul(PQgetvalue(r, 0, DATABASE), NULL, 10));
	bool recognized;

	caller = braid_query_begin();
	recognized = recognize_node(serverid, system_identifier, dbid);

	/* Nothing may be prepared there before this is durable. */
	ForceSyncCommit();
	braid_query_end(caller);
	return recognized;
}

const char *
braid_xa_verify_fault(Oid serverid, PGresult *r, const char **hint)
{
	if (PQgetisnull(r, 0, PROTOCOL))
	{
		*hint = "Add braid to \"shared_preload_libraries\" in its postgresql.conf and restart it.";
		return "braid is not loaded there";
	}
	if (PQgetisnull(r, 0, VERSION))
	{
		*hint = "Run CREATE EXTENSION braid in that database.";
		return "the extension braid is not installed in its database";
	}
	if (strcmp(PQgetvalue(r, 0, PROTOCOL), BRAID_XA_PROTOCOL) != 0)
	{
		*hint = "Install the same version of braid on both.";
		return psprintf("it speaks version %s of the commit protocol, this server version %s",
						PQgetvalue(r, 0, PROTOCOL), BRAID_XA_PROTOCOL);
	}
	if (strcmp(PQgetvalue(r, 0, MAX_PREPARED), "0") == 0)
	{
		*hint =
			"Set \"max_prepared_transactions\" in its postgresql.conf to at least its \"max_connections\" and restart it.";
		return "prepared transactions are disabled there";
	}
	if (strcmp(PQgetvalue(r, 0, IN_RECOVERY), "t") == 0)
	{
		*hint = "Let the server's options point to the primary.";
		return "it is a standby";
	}
	if (!is_the_node(serverid, r))
	{
		*hint =
			"Let the server's options point to the node where they are prepared, or, if that is lost for good, give them up with braid.accept_node().";
		return "another database answers there than the one on which branches may be prepared";
	}
	return NULL;
}

char *
braid_xa_verify_claim(Oid serverid, const XaIdentity *identity)
{
	return psprintf("SELECT braid_internal.claim(%lld, %lld, %lld, %u), "
					"(SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'braid')",
					(long long) identity->coordinator, (long long) identity->epoch,
					(long long) identity->line, serverid);
}

const char *
braid_xa_verify_claim_fault(PGresult *r, const char **hint)
{
	const char *verdict = PQgetvalue(r, 0, 0);

	if (strcmp(verdict, "granted") == 0)
		return NULL;
	if (strcmp(verdict, "superseded") == 0)
	{
		*hint =
			"Stop this server, or make it a standby of its successor; only if that is lost for good, run braid.take_over().";
		return "another server has taken over from this one there, which is an old primary or a clone";
	}
	*hint =
		"Stop the other one, or give this database an identity of its own with braid_internal.new_identity().";
	return "another server with the identity of this one, a clone or an old primary, is connected to it";
}

const char *
braid_xa_verify_version(PGresult *r)
{
	return PQgetvalue(r, 0, 1);
}
