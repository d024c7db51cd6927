/*
 * alarm.c
 *	  Warns of the WAL that continuous views keep.
 *
 * NOTES
 *	  What the capture worker has not merged, and what transactions have written
 *	  that are still running, stays on disk until the worker's slot lets it go.
 *	  So the log warns when that is more than braid.capture_wal_warning, or more
 *	  than half of what max_slot_wal_keep_size grants before the slot is lost; and
 *	  again each time that it has doubled.
 *
 *	  The launcher looks, and not the worker: that one may be stopped, or busy
 *	  with a cycle that takes an hour.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "capture/alarm.h"
#include "capture/doorbell.h"
#include "common/worker.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MB (UINT64CONST(1024) * 1024)

static int wal_warning = 4096; /* MB */

/* A slot that was warned of. */
typedef struct Warned
{
	NameData name;
	uint64 kept; /* then */
	bool seen;	 /* the slot is still there */
} Warned;

/* A slot of a capture worker now. */
typedef struct SlotFigures
{
	NameData name;
	Oid dbid;
	uint64 kept;   /* WAL that it keeps */
	uint64 behind; /* WAL of which the worker has not said that it is done */
} SlotFigures;

static HTAB *warned = NULL;

/* ---------------------------------------------------------------- figures */

/* What is kept when a warning is due; UINT64_MAX for never. */
static uint64
threshold(void)
{
	uint64 bytes = wal_warning > 0 ? wal_warning * MB : UINT64_MAX;

	if (max_slot_wal_keep_size_mb >= 0)
		bytes = Min(bytes, max_slot_wal_keep_size_mb * MB / 2);
	return bytes;
}

/* False if the slot is none of a capture worker, or was lost. */
static bool
look(ReplicationSlot *slot, XLogRecPtr end, SlotFigures *f)
{
	XLogRecPtr restart;
	XLogRecPtr confirmed;
	bool is_ours;

	SpinLockAcquire(&slot->mutex);
	is_ours = slot->in_use && strcmp(NameStr(slot->data.plugin), "braid") == 0;
	f->name = slot->data.name;
	f->dbid = slot->data.database;
	restart = slot->data.restart_lsn;
	confirmed = slot->data.confirmed_flush;
	SpinLockRelease(&slot->mutex);
	if (!is_ours || XLogRecPtrIsInvalid(restart))
		return false;
	f->kept = end > restart ? end - restart : 0;
	f->behind = end > confirmed ? end - confirmed : 0;
	return true;
}

/* ---------------------------------------------------------------- warning */

/* Why it keeps so much, as a sentence. */
static const char *
reason(SlotFigures *f)
{
	TimestampTz when;
	int pid = braid_doorbell_worker_of(f->dbid, &when);

	if (pid == 0)
		return "No capture worker runs in the database.";
	if (f->behind < f->kept / 2)
		return psprintf("All but %llu MB of it are merged: a transaction that has run for long "
						"keeps the rest.",
						(unsigned long long) (f->behind / MB));
	if (when == 0)
		return psprintf("The capture worker (PID %d) has not ended a cycle yet.", pid);
	return psprintf("The capture worker (PID %d) has all that was committed %.0f s ago.", pid,
					(GetCurrentTimestamp() - when) / 1000000.0);
}

static const char *
limit_sentence(void)
{
	if (max_slot_wal_keep_size_mb < 0)
		return "";
	return psprintf(" Beyond %d MB (\"max_slot_wal_keep_size\") the slot is lost, and the views "
					"are made anew.",
					max_slot_wal_keep_size_mb);
}

static void
warn(SlotFigures *f)
{
	ereport(WARNING, (errmsg("continuous views of database %u keep %llu MB of WAL", f->dbid,
							 (unsigned long long) (f->kept / MB)),
					  errdetail("Replication slot \"%s\" needs it. %s%s", NameStr(f->name),
								reason(f), limit_sentence()),
					  errhint("See braid.stat_capture in the database, and \"When WAL grows\" in "
							  "docs/operations.md.")));
}

static void
compare(SlotFigures *f)
{
	bool found;
	Warned *w = hash_search(warned, &f->name, HASH_FIND, &found);

	if (found && f->kept < threshold() / 2)
	{
		ereport(LOG, (errmsg("continuous views of database %u keep %llu MB of WAL again", f->dbid,
							 (unsigned long long) (f->kept / MB))));
		hash_search(warned, &f->name, HASH_REMOVE, NULL);
		return;
	}
	if (found)
		w->seen = true;
	if (found ? f->kept / 2 >= w->kept : f->kept >= threshold())
	{
		warn(f);
		w = hash_search(warned, &f->name, HASH_ENTER, NULL);
		w->kept = f->kept;
		w->seen = true;
	}
}

/* Those whose slots have gone, so that another of that name begins anew. */
static void
forget_unseen(void)
{
	HASH_SEQ_STATUS status;
	Warned *w;

	hash_seq_init(&status, warned);
	while ((w = hash_seq_search(&status)) != NULL)
	{
		if (!w->seen)
			hash_search(warned, &w->name, HASH_REMOVE, NULL);
		w->seen = false;
	}
}

static void
make_table(void)
{
	HASHCTL ctl = {.keysize = NAMEDATALEN, .entrysize = sizeof(Warned), .hcxt = TopMemoryContext};

	warned =
		hash_create("braid slots warned of", 16, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* In the launcher. */
static void
watch(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid alarm", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	if (warned == NULL)
		make_table();
	for (int i = 0; i < max_replication_slots; i++)
	{
		SlotFigures f;
		bool is_ours;

		LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
		is_ours = look(&ReplicationSlotCtl->replication_slots[i], end, &f);
		LWLockRelease(ReplicationSlotControlLock);
		if (is_ours)
			compare(&f);
	}
	forget_unseen();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
braid_alarm_init(void)
{
	DefineCustomIntVariable(
		"braid.capture_wal_warning",
		"Sets how much WAL continuous views may keep until the log warns.",
		"It warns at half of \"max_slot_wal_keep_size\" too. 0 warns only of that.", &wal_warning,
		4096, 0, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	braid_worker_register_watch(watch);
}
