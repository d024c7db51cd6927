/*
 * resolver.c
 *	  The background worker that finishes and recovers global transactions.
 *
 * NOTES
 *	  One per database with foreign servers of braid.  It holds connections to
 *	  all of them (session.c), takes committed transactions from the queue
 *	  (transaction.c) and spreads their branches over the sessions.  It keeps
 *	  nothing that its successor could not find again: what it had taken from
 *	  the queue is queued anew, everything else is found by sweeps.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "common/failpoint.h"
#include "common/query.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "xa/finish.h"
#include "xa/deadlock.h"
#include "xa/decision.h"
#include "xa/identity.h"
#include "xa/resolver.h"
#include "xa/server.h"
#include "xa/session.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/transaction.h"

#define MAX_NAP_MS 1000
#define QUEUE_BATCH 256			/* transactions handed over by one flush */
#define ROTATION_LIMIT_MS 30000 /* how long a rotation waits for sweeps */
#define ROTATION_RETRY_MS 200	/* pause when a table is in use */

static XaIdentity identity;
static List *sessions = NIL; /* of XaSession */
static bool servers_changed = true;

/* The rotation of decisions that waits for sweeps. */
static bool rotation_waits = false;
static List *rotation_servers = NIL;
static TimestampTz rotation_decided_before;
static TimestampTz rotation_deadline;
static TimestampTz rotation_retry_at = 0;

/* ---------------------------------------------------------------- servers */

static void
note_change(Datum arg, int cacheid, uint32 hashvalue)
{
	servers_changed = true;
}

static XaSession *
find_session(Oid serverid)
{
	ListCell *lc;

	foreach (lc, sessions)
		if (((XaSession *) lfirst(lc))->serverid == serverid)
			return lfirst(lc);
	return NULL;
}

static void
forget_session(XaSession *s, const char *reason)
{
	braid_xa_session_close(s, reason, NULL);
	sessions = list_delete_ptr(sessions, s);
	MemoryContextDelete(s->context);
}

/* false if there is no room for it. */
static bool
add_session(Oid serverid, const char *name, const BraidConnectionOptions *options)
{
	MemoryContext old;

	if (!braid_xa_node_add(serverid, braid_xa_server_address(serverid)))
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("server \"%s\" cannot be written to: there are too many servers", name),
				 errhint("Raise \"braid.xa_max_servers\" and restart the server.")));
		return false;
	}
	braid_xa_stat_add_server(serverid);
	old = MemoryContextSwitchTo(TopMemoryContext);
	sessions = lappend(sessions, NULL);
	MemoryContextSwitchTo(old);
	llast(sessions) = braid_xa_session_create(serverid, name, &identity, options);
	return true;
}

/* Opens a session to a server that is new or has other options now. */
static void
follow_server(Oid serverid)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid session", ALLOCSET_SMALL_SIZES);
	XaSession *s = find_session(serverid);
	BraidConnectionOptions options;
	MemoryContext old;
	const char *name;

	braid_xa_server_create_hidden_tables(serverid);
	name = GetForeignServer(serverid)->servername;
	old = MemoryContextSwitchTo(context);
	options = braid_xa_connection_options(serverid, identity.coordinator);
	if (s && (strcmp(s->name, name) != 0 || !braid_connection_same_options(&s->options, &options)))
	{
		forget_session(s, "its options have changed");
		s = NULL;
	}
	if (s || !add_session(serverid, name, &options))
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		return;
	}
	MemoryContextSwitchTo(old);
}

/* Brings the sessions in line with the catalog. */
static void
follow_servers(void)
{
	List *servers;
	List *gone = NIL;
	ListCell *lc;

	servers_changed = false;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	servers = braid_xa_server_list(InvalidOid);
	foreach (lc, servers)
		follow_server(lfirst_oid(lc));
	foreach (lc, sessions)
		if (!list_member_oid(servers, ((XaSession *) lfirst(lc))->serverid))
			gone = lappend(gone, lfirst(lc));
	foreach (lc, gone)
	{
		XaSession *s = lfirst(lc);

		braid_xa_node_remove(s->serverid);
		braid_xa_stat_remove_server(s->serverid);
		forget_session(s, "it was dropped");
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
}

static void
warn_of_copy(void)
{
	StartTransactionCommand();
	ereport(WARNING,
			(errmsg("this server is a copy of the coordinator that database \"%s\" belongs "
					"to: it neither writes to servers nor finishes transactions",
					get_database_name(MyDatabaseId)),
			 errhint("See braid.participants.")));
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* An adopted wrapper that a dump has restored without its handler is not atomic. */
static void
warn_of_lost_adoptions(void)
{
	MemoryContext caller = braid_query_begin();

	braid_query_execute("SELECT wrapper FROM braid_internal.xa_lost_adoptions()", SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *wrapper = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		ereport(WARNING,
				(errmsg("foreign-data wrapper \"%s\" is not adopted any more: writes through it "
						"are not atomic",
						wrapper),
				 errhint("Run SELECT braid.adopt(%s) in database \"%s\".",
						 quote_literal_cstr(wrapper), get_database_name(MyDatabaseId))));
	}
	braid_query_end(caller);
}

/* ---------------------------------------------------------------- queue */

/* Hands the branches of a transaction to their sessions. */
static void
spread(int slot)
{
	XaTransaction *t = braid_xa_transaction_slot(slot);
	int nbranches = t->nbranches;

	/* When the last branch has ended, the slot is another's. */
	for (int i = 0; i < nbranches; i++)
	{
		XaSession *s;

		if (t->branches[i].state != XA_BRANCH_QUEUED)
			continue;
		s = find_session(t->branches[i].serverid);
		if (s)
			braid_xa_finish_branch(s, slot, i);
		else
			braid_xa_transaction_branch_end(slot, i, "its server was dropped");
	}
}

/* One flush makes the decisions of all that are queued durable. */
static void
take_queue(void)
{
	int slots[QUEUE_BATCH];
	int n;

	do
	{
		XLogRecPtr end = InvalidXLogRecPtr;

		for (n = 0; n < QUEUE_BATCH; n++)
		{
			slots[n] = braid_xa_transaction_dequeue(MyDatabaseId);
			if (slots[n] < 0)
				break;
			end = Max(end, braid_xa_transaction_slot(slots[n])->commit_end);
		}
		if (n > 0)
			XLogFlush(end);
		for (int i = 0; i < n; i++)
			spread(slots[i]);
	} while (n == QUEUE_BATCH);
}

/* ---------------------------------------------------------------- rotation */

/* Servers of the rotation that were swept clean; *waiting: some may still be. */
static List *
clean_servers(bool *waiting)
{
	List *clean = NIL;
	XaNode node;

	*waiting = false;
	for (int i = 0; braid_xa_node_read(i, &node); i++)
	{
		if (node.dbid != MyDatabaseId || !list_member_oid(rotation_servers, node.serverid))
			continue;
		if (node.clean && node.clean_before >= rotation_decided_before)
			clean = lappend_oid(clean, node.serverid);
		else if (node.ready)
			*waiting = true;
	}
	return clean;
}

static void
tend_rotation(void)
{
	TimestampTz now = GetCurrentTimestamp();
	List *clean;
	bool waiting;
	bool ended;
	ListCell *lc;

	if (!rotation_waits)
	{
		if (!braid_xa_decision_rotation_begin(&rotation_servers, &rotation_decided_before))
			return;
		foreach (lc, rotation_servers)
			(void) braid_xa_node_request_sweep(MyDatabaseId, lfirst_oid(lc));
		rotation_deadline = TimestampTzPlusMilliseconds(now, ROTATION_LIMIT_MS);
		rotation_waits = true;
	}
	if (now < rotation_retry_at)
		return;
	clean = clean_servers(&waiting);
	if (waiting && now < rotation_deadline)
		return;
	ended = braid_xa_decision_rotation_end(clean);
	list_free(clean);
	if (!ended)
	{
		rotation_retry_at = TimestampTzPlusMilliseconds(now, ROTATION_RETRY_MS);
		return;
	}
	list_free(rotation_servers);
	rotation_servers = NIL;
	rotation_waits = false;
}

/* ---------------------------------------------------------------- waiting */

static void
advance_connection(BraidConnection *c)
{
	ListCell *lc;

	foreach (lc, sessions)
	{
		XaSession *s = lfirst(lc);

		if (c >= s->connections && c < s->connections + BRAID_XA_MAX_CONNECTIONS)
			braid_xa_session_advance(s, c);
	}
}

static void
wait_for_events(long nap)
{
	List *connections = NIL;
	ListCell *lc;

	foreach (lc, sessions)
		for (int i = 0; i < BRAID_XA_MAX_CONNECTIONS; i++)
			connections = lappend(connections, &((XaSession *) lfirst(lc))->connections[i]);
	braid_connection_wait(connections, nap, BRAID_WAIT_RESOLVER_MAIN, advance_connection);
}

/* ---------------------------------------------------------------- main */

static void
resolver_exit(int code, Datum arg)
{
	braid_xa_node_remove_all(MyDatabaseId);
}

static void
begin(void)
{
	MemoryContextSwitchTo(TopMemoryContext);
	before_shmem_exit(resolver_exit, 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_change, 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, note_change, 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_change, 0);

	/*
	 * What this worker commits of its own need not be on a standby: a promoted
	 * one finds it out again.  Waiting for one would keep decided transactions
	 * from being finished.
	 */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	identity = braid_xa_identity_begin();
	if (identity.is_copy)
		warn_of_copy();
	warn_of_lost_adoptions();
	follow_servers();
	braid_xa_transaction_requeue(MyDatabaseId);
	BRAID_FAILPOINT("xa-resolver-start");
}

void
braid_xa_resolver_main(void)
{
	MemoryContext turn =
		AllocSetContextCreate(TopMemoryContext, "braid resolver turn", ALLOCSET_DEFAULT_SIZES);

	begin();
	for (;;)
	{
		long nap = MAX_NAP_MS;
		ListCell *lc;

		if (!braid_worker_begin_turn())
			return;
		if (servers_changed)
			follow_servers();
		MemoryContextReset(turn);
		MemoryContextSwitchTo(turn);
		take_queue();
		if (sessions == NIL)
			return;
		nap = Min(nap, braid_xa_deadlock_tend(sessions, identity.coordinator));
		foreach (lc, sessions)
			nap = Min(nap, braid_xa_session_tend(lfirst(lc)));
		tend_rotation();
		MemoryContextSwitchTo(turn);
		wait_for_events(nap);
		MemoryContextSwitchTo(TopMemoryContext);
	}
}
