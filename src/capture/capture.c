/*
 * capture.c
 *	  The capture worker: from the definitions to cycles.
 *
 * NOTES
 *	  One cycle is one REPEATABLE READ transaction:
 *
 *	  1.	Lock the tables, conditionally; take snapshot S; then L, where WAL
 *			ends.  The lock comes first, because TRUNCATE and rewrites do not
 *			respect snapshots: whoever did that has committed, and is in S.  L
 *			comes after S, because whoever is in S has written its commit
 *			record before it became visible.
 *	  2.	Decode up to L (source.c says where the rows go).
 *	  3.	Apply the deltas to all that stands on the tables, store S as the
 *			frontier of each table that was advanced, and commit.
 *	  4.	Now and then confirm the slot, up to L or the oldest held transaction.
 *
 *	  A crash before the commit of step 3 leaves the old state with the old
 *	  frontier; after it, the new state with the new one: what is decoded twice
 *	  is skipped.  The commit may be asynchronous for the same reason.  The slot
 *	  is confirmed only when the commit that covers it is flushed; else a crash
 *	  could take back the frontier, but not what the slot has let go.
 *
 *	  An error ends the worker, which starts again from what is stored.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "capture/alarm.h"
#include "capture/brake.h"
#include "capture/capture.h"
#include "capture/component.h"
#include "capture/decoder.h"
#include "capture/definitions.h"
#include "capture/direct.h"
#include "capture/doorbell.h"
#include "capture/piece.h"
#include "capture/settings.h"
#include "capture/slot.h"
#include "capture/source.h"
#include "capture/statistics.h"
#include "capture/stored.h"
#include "capture/tap.h"
#include "common/compat.h"
#include "common/database.h"
#include "common/failpoint.h"
#include "common/wait.h"
#include "common/wal.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#define CONFIRM_INTERVAL_MS 300
#define MAX_LOADS 3
#define CYCLES_PART 20 /* cycles take no more than this part of the time, */
#define MAX_STRETCH 4  /* unless batch_delay would be multiplied by more than this */
#define HELD_NAP_MS 2  /* first nap while transactions are held; doubles */
#define HELD_NAP_MAX_MS 100

static int worker_kind;
static const BraidConsumer *consumer = NULL;

static char *slot_name = NULL;
static bool slot_given_up = false; /* there is nothing to decode for */
static bool any_held_back = false; /* a table could not be locked */

/* Worker: progress. */
static XLogRecPtr reached = InvalidXLogRecPtr;		   /* decoded up to here */
static XLogRecPtr commit_to_flush = InvalidXLogRecPtr; /* of the last frontier */
static XLogRecPtr confirmed = InvalidXLogRecPtr;
static TimestampTz snapshot_time = 0;

void
braid_capture_set_consumer(const BraidConsumer *c)
{
	consumer = c;
}

/* ---------------------------------------------------------------- frontiers */

static void
load_frontiers(void)
{
	ListCell *lc;

	braid_stored_begin();
	braid_stored_forget_others();
	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);

		source->has_frontier = braid_stored_find(source, slot_name);
		if (!source->has_frontier)
			consumer->lost(source);
	}
	braid_stored_end();
}

/* Frees the slot and its traces, when no view is left. */
static void
give_up_slot(bool extension_dropped)
{
	braid_decoder_close();
	braid_piece_forget_all();
	braid_slot_release();
	braid_slot_drop_others(NULL);
	slot_name = NULL;
	if (extension_dropped)
		return;
	braid_stored_begin();
	SPI_execute("DELETE FROM braid_internal.frontiers", false, 0);
	braid_stored_end();
}

/* ---------------------------------------------------------------- the slot */

/* Name of the slot that stored frontiers go with; NULL if there is none. */
static char *
recorded_slot(void)
{
	char *name = NULL;

	braid_stored_begin();
	SPI_execute("SELECT slot FROM braid_internal.frontiers ORDER BY advanced DESC LIMIT 1", false,
				1);
	if (SPI_processed == 1)
		name = MemoryContextStrdup(TopMemoryContext,
								   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	braid_stored_end();
	return name;
}

/* Tells before anything is waited for: a new slot waits for all running transactions. */
static void
lose_all(const char *name)
{
	ListCell *lc;

	ereport(LOG, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				  errmsg("replication slot \"%s\" is missing or lost", name),
				  errdetail("All continuous views of the database are rebuilt.")));
	braid_stored_begin();
	foreach (lc, braid_source_list())
		consumer->lost(lfirst(lc));
	braid_stored_end();
}

static void
open_slot(void)
{
	char *name = recorded_slot();

	if (name && braid_slot_acquire(name))
	{
		slot_name = name;
		braid_slot_drop_others(name);
		return;
	}
	if (name)
		lose_all(name);
	braid_slot_drop_others(NULL);
	slot_name = braid_slot_create();
}

/*
 * Confirms what is stored durably, so that WAL can go.  Starts a transaction.
 */
static void
confirm(bool now)
{
	static TimestampTz last = 0;
	XLogRecPtr upto = braid_piece_oldest(reached);
	TimestampTz t = GetCurrentTimestamp();

	if (upto <= confirmed || commit_to_flush > GetFlushRecPtr(NULL))
		return;
	if (!now && !TimestampDifferenceExceeds(last, t, CONFIRM_INTERVAL_MS))
		return;
	StartTransactionCommand();
	LogicalConfirmReceivedLocation(upto);
	ReplicationSlotMarkDirty(); /* so that the next checkpoint saves it */
	CommitTransactionCommand();
	pgstat_report_stat(false);
	confirmed = upto;
	last = t;
}

/* ---------------------------------------------------------------- the cycle */

List *
braid_capture_sources(void)
{
	return braid_source_list();
}

BraidSource *
braid_capture_source(Oid relid)
{
	return braid_source_find(relid);
}

bool
braid_capture_is_locked(Oid relid)
{
	BraidSource *source = braid_source_find(relid);

	return source && source->locked;
}

XLogRecPtr
braid_capture_position(void)
{
	return braid_decoder_is_open() ? reached : braid_wal_end();
}

/*
 * Whether S has anything of the table that its frontier has not.  If not, the
 * table is the same under both: its frontier may stay, although what reads it
 * together with other tables goes on to S.
 *
 * The same as far as the columns go that were wanted.  An update of others left no
 * trace, and is not in the frontier.  Who wants one of these now has it already,
 * from reading the table under S, and would get it again when the WAL is decoded
 * once more, after a restart: so the frontier moves when the columns change.
 */
static bool
is_new(BraidSource *source)
{
	BraidDelta *d = &source->delta;

	return !source->has_frontier || source->reshaped || !braid_delta_is_empty(d) || d->recompute ||
		   d->incomplete;
}

/* Returns whether any frontier has moved. */
bool
braid_capture_any_news(void)
{
	ListCell *lc;

	foreach (lc, braid_source_list())
		if (((BraidSource *) lfirst(lc))->locked && is_new(lfirst(lc)))
			return true;
	return false;
}

static bool
apply(const BraidFrontier *s)
{
	bool any = false;
	ListCell *lc;

	SPI_connect();
	consumer->apply();
	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);

		if (source->locked && is_new(source))
		{
			braid_component_note_news(source);
			braid_stored_put(source, s, slot_name);
			any = true;
		}
	}
	SPI_finish();
	return any;
}

/*
 * False, and nothing done, if the definitions have changed since they were
 * loaded.  Once the tables are locked they do not change until the end.
 */
static bool
cycle(uint64 request)
{
	BraidFrontier s;
	List *held_back;
	int nresting;
	XLogRecPtr from = reached;
	XLogRecPtr upto;
	MemoryContext old;
	bool advanced;

	SetCurrentStatementStartTimestamp();
	braid_capture_stat_begin();
	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	held_back = braid_component_lock(consumer->lock, braid_doorbell_presses, &nresting);
	any_held_back = held_back != NIL;
	if (braid_definitions_have_changed())
	{
		CommitTransactionCommand();
		return false;
	}
	snapshot_time = GetCurrentTimestamp();
	PushActiveSnapshot(GetTransactionSnapshot());
	upto = braid_wal_end();
	braid_direct_learn(upto);
	XLogFlush(upto);
	BRAID_FAILPOINT("capture-snapshot");

	old = MemoryContextSwitchTo(TopTransactionContext);
	braid_source_begin_cycle(GetActiveSnapshot());
	braid_frontier_from_snapshot(&s, GetActiveSnapshot());
	reached = braid_decoder_read(upto);
	braid_capture_stat_decoded(from, reached);
	braid_tap_end_of_decoding();
	BRAID_FAILPOINT("capture-decoded");
	advanced = apply(&s);
	BRAID_FAILPOINT("capture-applied");
	braid_capture_stat_applied();
	braid_tap_end_cycle();
	braid_source_end_cycle();
	braid_component_end_cycle();
	MemoryContextSwitchTo(TopMemoryContext);
	held_back = list_copy(held_back);
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();
	consumer->committed(GetCurrentTimestamp());
	BRAID_FAILPOINT("capture-committed");

	if (advanced)
		commit_to_flush = XactLastCommitEnd;
	braid_capture_stat_committed(advanced, list_length(held_back) - nresting);
	braid_doorbell_answer(request, reached, braid_piece_any(), snapshot_time, held_back, nresting);
	list_free(held_back);
	return true;
}

/* ---------------------------------------------------------------- the worker */

static void
wait_for(long ms, BraidWait wait)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 braid_wait_begin(wait));
	braid_wait_end();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * From the begin of one cycle to that of the next.  Each costs something besides what it brings, which
 * writers could do with: so if cycles would take more than a part of the time, they are
 * made fewer, up to a limit.
 */
static long
batch_delay(TimestampTz cycle_took)
{
	long delay = braid_capture_batch_delay;
	long wanted = (long) (cycle_took * CYCLES_PART / 1000);

	return Min(Max(delay, wanted), delay * MAX_STRETCH);
}

/* Lets commits gather since the last cycle began, unless somebody waits. */
static void
batch(TimestampTz last_cycle, TimestampTz took)
{
	long delay = batch_delay(took);
	TimestampTz until = TimestampTzPlusMilliseconds(last_cycle, delay);

	while (!braid_doorbell_urgent())
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0 || left > delay)
			return;
		wait_for(left, BRAID_WAIT_CAPTURE_BATCH);
	}
}

static void
setup(void)
{
	pgstat_report_appname("braid capture");
	pgstat_report_activity(STATE_IDLE, NULL);
	braid_settings_apply();
	replorigin_session_origin = DoNotReplicateId;
	braid_source_setup();
	braid_decoder_setup();
	braid_direct_setup();
	braid_definitions_setup();
	braid_doorbell_attach();
}

static void
tell_captured(void)
{
	List *relids = NIL;
	ListCell *lc;

	foreach (lc, braid_source_list())
		relids = list_concat(relids, ((BraidSource *) lfirst(lc))->members);
	braid_doorbell_set_captured(relids);
	list_free(relids);
}

/* Brings sources and decoder to the definitions.  False if there are none. */
static bool
load(void)
{
	/* Again at once, if loading has changed something itself. */
	for (int i = 0; i < MAX_LOADS; i++)
	{
		if (!braid_definitions_load(consumer->load))
			return false;
		if (!braid_definitions_have_changed())
			break;
	}
	if (!braid_source_use_set())
	{
		/* Held rows do not fit: read them again, in the form that is wanted now. */
		braid_piece_forget_all();
		braid_decoder_close();
		(void) braid_source_use_set();
	}
	if (braid_source_list() == NIL)
	{
		/* What is kept is broken or paused: no WAL need be held for it. */
		if (!slot_given_up)
			give_up_slot(false);
		slot_given_up = true;
		return true;
	}
	if (slot_name == NULL)
		open_slot();
	slot_given_up = false;
	load_frontiers();
	tell_captured();
	braid_direct_look_again();
	braid_tap_rebind();
	if (!braid_decoder_is_open())
		braid_decoder_open();
	return true;
}

static void
reload_settings(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	braid_settings_apply();
}

/* How long to sleep without being woken. */
static long
nap_time(long last)
{
	/* A commit wakes us when it becomes visible, a prepared one may not. */
	if (braid_piece_any() || any_held_back)
		return Min(last < HELD_NAP_MAX_MS ? Max(last * 2, HELD_NAP_MS) : HELD_NAP_MS,
				   HELD_NAP_MAX_MS);
	if (reached > confirmed)
		return Min(CONFIRM_INTERVAL_MS, braid_capture_idle_interval);
	return braid_capture_idle_interval;
}

/* Whether a cycle would find anything to do. */
static bool
is_needed(void)
{
	return reached != braid_wal_end() || braid_piece_any() || braid_doorbell_urgent() ||
		   consumer->has_work();
}

/* Tables were captured, before somebody has set wal_level back. */
static void
tell_missing_wal(void)
{
	braid_stored_begin();
	SPI_execute("SELECT FROM braid_internal.frontiers", true, 1);
	if (SPI_processed > 0)
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("continuous views are not followed, as \"wal_level\" is not \"logical\""),
				 errhint("Put this line into postgresql.conf and restart the server: "
						 "wal_level = logical")));
	braid_stored_end();
}

/* The extension was dropped while no worker ran. */
static void
clear_up(void)
{
	braid_slot_drop_others(NULL);
}

static void
capture_main(void)
{
	TimestampTz last_cycle = 0;
	TimestampTz cycle_took = 0;
	long nap = 0;
	bool dropped;

	if (wal_level < WAL_LEVEL_LOGICAL)
	{
		tell_missing_wal();
		return;
	}
	setup();
	braid_definitions_note_change();
	for (;;)
	{
		uint64 request;

		CHECK_FOR_INTERRUPTS();
		reload_settings();
		dropped = braid_worker_extension_dropped();
		if (dropped || (braid_definitions_have_changed() && !load()))
			break;
		braid_capture_stat_attach();
		if (braid_source_list() == NIL)
		{
			/* No view can be kept: all are broken, or a restore is under way. */
			braid_doorbell_answer(braid_doorbell_requested(), reached, true, GetCurrentTimestamp(),
								  NIL, 0);
			wait_for(braid_capture_idle_interval, BRAID_WAIT_CAPTURE_MAIN);
			braid_definitions_note_change();
			continue;
		}
		batch(last_cycle, cycle_took);
		request = braid_doorbell_requested();
		braid_doorbell_listen();
		if (is_needed())
		{
			last_cycle = GetCurrentTimestamp();
			if (!cycle(request))
				continue;
			cycle_took = GetCurrentTimestamp() - last_cycle;
		}
		else
		{
			braid_doorbell_all_done();
			braid_capture_stat_idle();
			(void) pgstat_report_stat(false); /* what the last cycle was too early for */
		}
		confirm(false);
		nap = nap_time(nap);

		/* Whatever waited in the cycle may have taken our latch for its own. */
		if (!braid_doorbell_is_rung() && !braid_doorbell_urgent())
			wait_for(nap, BRAID_WAIT_CAPTURE_MAIN);
		braid_definitions_note_pending();
	}
	give_up_slot(dropped);
	braid_capture_stat_detach();
	braid_doorbell_detach();
}

/* ---------------------------------------------------------------- backends */

PG_FUNCTION_INFO_V1(braid_sql_capture_problem);

/* braid_internal.capture_problem() */
Datum
braid_sql_capture_problem(PG_FUNCTION_ARGS)
{
	char *problem;

	if (wal_level < WAL_LEVEL_LOGICAL)
		problem = _("\"wal_level\" is not \"logical\"");
	else
		problem = braid_worker_problem(worker_kind, MyDatabaseId);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

void
braid_capture_require_wal(void)
{
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("continuous views need \"wal_level\" to be \"logical\""),
			 errhint(
				 "Put this line into postgresql.conf and restart the server: wal_level = logical")));
}

void
braid_capture_request_at_commit(Oid changed_relid)
{
	CacheInvalidateRelcacheByRelid(changed_relid);
	braid_worker_request_at_commit(worker_kind);
}

void
braid_capture_wake_at_commit(void)
{
	braid_doorbell_ring_at_commit();
}

bool
braid_capture_wait(List *relids, TimestampTz deadline)
{
	return braid_doorbell_ask(relids, deadline);
}

uint64
braid_capture_request(void)
{
	return braid_doorbell_request();
}

bool
braid_capture_await(uint64 request, TimestampTz deadline)
{
	return braid_doorbell_await(request, deadline);
}

bool
braid_capture_holds_back(List *relids)
{
	return braid_doorbell_holds_back(relids);
}

void
braid_capture_look(BraidCaptureStatus *status)
{
	braid_doorbell_look(status);
}

/*
 * Who is committed has written its commit record below the present end of WAL.  If
 * the last cycle has decoded up to there, and holds nothing of it, it has merged
 * all; its own commit was before it told its position, and so is in the snapshot
 * that the caller takes next.
 */
bool
braid_capture_is_current(void)
{
	BraidCaptureStatus status;

	braid_doorbell_look(&status);
	return status.pid != 0 && status.is_complete && status.position == braid_wal_end();
}

static const BraidWorkerKind capture_kind = {"braid capture", capture_main, clear_up, 0};

void
braid_capture_init(void)
{
	braid_settings_init();
	worker_kind = braid_worker_register_kind(&capture_kind);
	braid_database_when_moved(braid_slot_drop_unreadable);
	braid_doorbell_init();
	braid_brake_init();
	braid_alarm_init();
	braid_capture_stat_init();
}
