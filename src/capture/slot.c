/*
 * slot.c
 *	  The replication slot of this database, whose name is its identity.
 *
 * NOTES
 *	  A slot is named braid_<database oid>_<random>.  The name is stored with
 *	  each frontier, in the transaction that makes the frontier.  A slot that
 *	  was dropped and made again, that did not follow a fail-over, a restored
 *	  dump, or a database copied from a template thus never match by accident.
 *
 *	  Making a slot is not transactional: after a crash between that and the
 *	  first frontier that names it, the slot is an orphan which holds back WAL.
 *	  So the worker drops, whenever it starts, what has its database's prefix
 *	  and is not named by a frontier.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogutils.h"
#include "capture/slot.h"
#include "common/compat.h"
#include "miscadmin.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

static char *
name_prefix(Oid dbid)
{
	return psprintf("braid_%u_", dbid);
}

static char *
new_name(void)
{
	uint32 random;

	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate a random name for a replication slot")));
	return psprintf("%s%08x", name_prefix(MyDatabaseId), random);
}

bool
braid_slot_acquire(const char *name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (!slot || slot->data.database != MyDatabaseId)
		return false;
	braid_compat_acquire_slot(name);
	if (!braid_compat_slot_is_lost(MyReplicationSlot) &&
		!XLogRecPtrIsInvalid(MyReplicationSlot->data.restart_lsn) &&
		strcmp(NameStr(MyReplicationSlot->data.plugin), "braid") == 0)
		return true;
	ReplicationSlotRelease();
	return false;
}

char *
braid_slot_create(void)
{
	char *name = MemoryContextStrdup(TopMemoryContext, new_name());
	LogicalDecodingContext *ctx;
	MemoryContext old;

	StartTransactionCommand();
	braid_compat_create_slot(name);
	old = MemoryContextSwitchTo(TopMemoryContext);
	ctx = CreateInitDecodingContext("braid", NIL, false, InvalidXLogRecPtr,
									XL_ROUTINE(.page_read = read_local_xlog_page,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);
	DecodingContextFindStartpoint(ctx);
	FreeDecodingContext(ctx);
	MemoryContextSwitchTo(old);
	ReplicationSlotPersist();
	CommitTransactionCommand();
	return name;
}

void
braid_slot_release(void)
{
	if (MyReplicationSlot)
		ReplicationSlotRelease();
}

/* Names of a database's slots of braid, in the current context. */
static List *
list_slots(Oid dbid)
{
	char *prefix = name_prefix(dbid);
	List *names = NIL;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (slot->in_use && slot->data.database == dbid &&
			strncmp(NameStr(slot->data.name), prefix, strlen(prefix)) == 0)
			names = lappend(names, pstrdup(NameStr(slot->data.name)));
	}
	LWLockRelease(ReplicationSlotControlLock);
	return names;
}

void
braid_slot_drop_others(const char *keep)
{
	List *names = list_slots(MyDatabaseId);
	ListCell *lc;

	foreach (lc, names)
	{
		char *name = lfirst(lc);

		if (keep == NULL || strcmp(name, keep) != 0)
			ReplicationSlotDrop(name, false);
	}
	list_free_deep(names);
}

void
braid_slot_drop_unreadable(Oid dbid)
{
	ListCell *lc;

	foreach (lc, list_slots(dbid))
		ReplicationSlotDrop(lfirst(lc), true);
}
