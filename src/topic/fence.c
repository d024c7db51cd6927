/*
 * fence.c
 *	  No member of a group commits what another one has read in its stead.
 *
 * NOTES
 *	  A consumer without membership locks the position before it reads, and keeps the lock
 *	  until its transaction has ended.  If it is stopped in the middle, nobody else gets
 *	  any further.  Members are to be replaced in that case, so they have two locks:
 *
 *	  The working lock, from reading to the end of the transaction.  It is a courtesy: when
 *			a partition has got another owner, he waits for the transaction
 *			of the one before, but no longer than a session time-out; then he reads without
 *			the lock.
 *	  The lock of the position (position.c), taken when the transaction is about to commit.  Under
 *			it the member looks whether the position is still the one that it has
 *			read from.
 *
 *		A: reads 10, works ......................................... commits: 10 was overtaken
 *		B:                    is given the partition, waits, reads 10, works, commits 11
 *
 *	  Whoever moves a position holds its lock until that is visible, so of two that have
 *	  read from the same one the second finds it overtaken.  A prepared transaction
 *	  keeps the lock, and whoever would read meanwhile cannot (braid_position_lock() is asked
 *	  for that when reading): it has been promised that it can commit.
 */
#include "postgres.h"

#include "common/failpoint.h"
#include "common/lock.h"
#include "common/xact.h"
#include "topic/fence.h"
#include "topic/position.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct Moved
{
	int group;
	int part;
	int64 number;
	int64 member;
	struct Moved *next;
} Moved;

static Moved *moved = NULL; /* in TopTransactionContext */

bool
braid_fence_enter(int group, int part, const BraidMembership *membership, bool *is_held)
{
	*is_held = braid_fence_is_free(group, part);
	return *is_held || TimestampDifferenceExceeds(membership->since, GetCurrentTimestamp(),
												  membership->timeout_ms);
}

bool
braid_fence_is_free(int group, int part)
{
	return braid_lock_acquire(BRAID_LOCK_WORKING, group, part, ExclusiveLock, false);
}

void
braid_fence_leave(int group, int part)
{
	braid_lock_release(BRAID_LOCK_WORKING, group, part, ExclusiveLock);
}

/*
 * The first number counts.  After the rollback of a savepoint it may be one that the
 * transaction has read and not moved any more, which does no harm.
 */
void
braid_fence_note(int group, int part, int64 number, int64 member)
{
	Moved *m;

	for (m = moved; m != NULL; m = m->next)
		if (m->group == group && m->part == part)
			return;
	m = MemoryContextAlloc(TopTransactionContext, sizeof(Moved));
	*m = (Moved){group, part, number, member, moved};
	moved = m;
}

static void
check(const Moved *m)
{
	bool may = braid_member_is_alive(m->member) && braid_position_lock(m->group, m->part, true);

	if (may)
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

		may = !braid_position_was_overtaken(m->group, m->part, snapshot, m->number);
		UnregisterSnapshot(snapshot);
	}
	if (!may)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not commit what was received from partition %d", m->part),
				 errdetail("This member was away for longer than its session time-out, or the "
						   "partition went to another one, which has received the same messages."),
				 errhint("Roll back and receive again; if that fails, join the group again with "
						 "braid.join_group().")));
}

static void
end_of_transaction(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			for (Moved *m = moved; m != NULL; m = m->next)
				check(m);
			if (moved)
				BRAID_FAILPOINT("topic-fence-checked");
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			moved = NULL;
			break;
		default:
			break;
	}
}

void
braid_fence_init(void)
{
	/* Before foreign transactions are committed. */
	braid_xact_register(BRAID_XACT_FIRST, end_of_transaction);
}
