/*
 * lock.c
 *	  Locks on things that are not tables.
 */
#include "postgres.h"

#include "common/lock.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/guc.h"

static LOCKTAG
pair_tag(BraidLockKind kind, uint32 a, uint32 b)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, a, b, kind);
	return tag;
}

static bool
acquire(const LOCKTAG *tag, LOCKMODE mode, bool for_session, bool wait)
{
	return LockAcquire(tag, mode, for_session, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

bool
braid_lock_acquire(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode, bool wait)
{
	LOCKTAG tag = pair_tag(kind, a, b);

	return acquire(&tag, mode, false, wait);
}

bool
braid_lock_acquire_for_session(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode, bool wait)
{
	LOCKTAG tag = pair_tag(kind, a, b);

	return acquire(&tag, mode, true, wait);
}

void
braid_lock_release_for_session(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode)
{
	LOCKTAG tag = pair_tag(kind, a, b);

	(void) LockRelease(&tag, mode, true);
}

void
braid_lock_release(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode)
{
	LOCKTAG tag = pair_tag(kind, a, b);

	(void) LockRelease(&tag, mode, false);
}

bool
braid_lock_acquire_object(Oid table, uint32 id, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, table, id, 0);
	return acquire(&tag, ExclusiveLock, false, wait);
}

int
braid_lock_limit_begin(int ms)
{
	int level = NewGUCNestLevel();
	int limit = Max(ms, 1);
	char text[16];

	if (LockTimeout > 0)
		limit = Min(limit, LockTimeout);
	snprintf(text, sizeof(text), "%d", limit);
	(void) set_config_option("lock_timeout", text, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

void
braid_lock_limit_end(int level)
{
	AtEOXact_GUC(false, level);
}
