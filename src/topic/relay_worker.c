/*
 * relay_worker.c
 *	  The background worker that runs the relays into the topics of a database.
 *
 * NOTES
 *	  It keeps nothing that its successor could not find again.  Nothing waits but
 *	  the main loop: for all connections at once, and the latch.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "common/worker.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "topic/relay_link.h"
#include "topic/relay_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(braid_sql_relay_problem);

#define MAX_NAP_MS 5000

int braid_relay_worker_kind = -1;

static List *links = NIL; /* RelayLink */

/* ---------------------------------------------------------------- definitions */

static RelayLink *
find_link(int relay)
{
	ListCell *lc;

	foreach (lc, links)
		if (((RelayLink *) lfirst(lc))->relay.id == relay)
			return lfirst(lc);
	return NULL;
}

static bool
is_listed(List *relays, int id)
{
	ListCell *lc;

	foreach (lc, relays)
		if (((BraidRelay *) lfirst(lc))->id == id)
			return true;
	return false;
}

static void
forget_dropped(List *relays)
{
	List *gone = NIL;
	ListCell *lc;

	foreach (lc, links)
		if (!is_listed(relays, ((RelayLink *) lfirst(lc))->relay.id))
			gone = lappend(gone, lfirst(lc));
	foreach (lc, gone)
	{
		links = list_delete_ptr(links, lfirst(lc));
		braid_relay_link_forget(lfirst(lc));
	}
	list_free(gone);
}

/* Brings the links in line with the catalog. */
static void
follow_relays(void)
{
	MemoryContext turn = CurrentMemoryContext;
	List *relays;
	ListCell *lc;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	braid_relay_expect_changes();
	MemoryContextSwitchTo(turn);
	relays = braid_relay_list();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn);

	forget_dropped(relays);
	foreach (lc, relays)
	{
		BraidRelay *relay = lfirst(lc);
		RelayLink *l = find_link(relay->id);

		if (l == NULL)
		{
			l = braid_relay_link_create(relay);
			MemoryContextSwitchTo(TopMemoryContext);
			links = lappend(links, l);
			MemoryContextSwitchTo(turn);
		}
		braid_relay_link_follow(l, relay);
	}
}

/* ---------------------------------------------------------------- waiting */

static void
advance(BraidConnection *c)
{
	ListCell *lc;

	foreach (lc, links)
		if (&((RelayLink *) lfirst(lc))->connection == c)
			braid_relay_link_advance(lfirst(lc));
}

static void
wait_for_events(long nap)
{
	List *connections = NIL;
	ListCell *lc;

	foreach (lc, links)
		connections = lappend(connections, &((RelayLink *) lfirst(lc))->connection);
	braid_connection_wait(connections, nap, BRAID_WAIT_RELAY_MAIN, advance);
}

/* ---------------------------------------------------------------- main */

static void
forget_statuses(int code, Datum arg)
{
	braid_relay_status_forget_all();
}

static void
begin(void)
{
	pgstat_report_appname("braid relay");
	pgstat_report_activity(STATE_IDLE, NULL);
	before_shmem_exit(forget_statuses, 0);
	braid_relay_watch();
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);

	/* One target that somebody has locked must not hold up the others for long. */
	SetConfigOption("lock_timeout", "1s", PGC_USERSET, PGC_S_OVERRIDE);

	/* The source is told that a batch is stored: it must not be lost then. */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
}

void
braid_relay_worker_main(void)
{
	MemoryContext turn =
		AllocSetContextCreate(TopMemoryContext, "braid relay turn", ALLOCSET_DEFAULT_SIZES);

	begin();
	for (;;)
	{
		long nap = MAX_NAP_MS;
		ListCell *lc;

		if (!braid_worker_begin_turn())
			return;
		MemoryContextReset(turn);
		MemoryContextSwitchTo(turn);
		if (braid_relay_has_changed())
			follow_relays();
		if (links == NIL)
			return;
		foreach (lc, links)
			nap = Min(nap, braid_relay_link_tend(lfirst(lc)));
		braid_relay_rotate_positions();
		MemoryContextSwitchTo(turn);
		(void) pgstat_report_stat(false);
		if (!braid_relay_has_changed())
			wait_for_events(nap);
		MemoryContextSwitchTo(TopMemoryContext);
	}
}

/* braid_internal.relay_problem() */
Datum
braid_sql_relay_problem(PG_FUNCTION_ARGS)
{
	char *problem = braid_worker_problem(braid_relay_worker_kind, MyDatabaseId);

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

static const BraidWorkerKind kind = {"braid relay", braid_relay_worker_main, NULL, 0};

static const BraidTopicFollower follower = {.drop = braid_relay_target_dropped};

void
braid_relay_init(void)
{
	DefineCustomIntVariable("braid.topic_relay_timeout",
							"Sets how long a relay waits for an answer of its source.",
							"Then it connects anew.", &braid_relay_timeout, 10000, 100, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	braid_relay_worker_kind = braid_worker_register_kind(&kind);
	braid_relay_status_init();
	braid_relay_command_init();
	braid_topic_register(&follower);
}
