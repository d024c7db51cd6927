/*
 * position_segment.c
 *	  The segments that positions are written to in turn.
 *
 * NOTES
 *	  Any segment will do for a new position, and readers look at all; so which is
 *	  written to is known in shared memory alone, where databases may share a cell, and
 *	  is the first one after a restart.
 *
 *	  The worker moves on when the current segment has grown.  From the others it
 *	  takes what still counts, by writing it once more, under the lock of the
 *	  position; when nothing there counts any more they are truncated.  The lock
 *	  for that is only tried for: whoever writes a position keeps his until his
 *	  transaction ends, so that no position is in the segment unseen.
 *
 *	  Somebody who took his snapshot before a position was written anew, and opens the
 *	  old segment after it was truncated, finds no position.  Not so with the
 *	  lock of the position and a snapshot taken since: he cannot have the lock
 *	  between the old one and the new one.
 */
#include "postgres.h"

#include "access/table.h"
#include "common/hashfn.h"
#include "common/query.h"
#include "common/shmem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "topic/catalog.h"
#include "topic/fence.h"
#include "topic/group.h"
#include "topic/position.h"
#include "topic/position_segment.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define CELLS 64
#define MIN_BLOCKS 16	  /* a segment is written to until it has so many, and */
#define ROWS_PER_BLOCK 40 /* four times what the positions that count need */
#define MOVES_AT_ONCE 64  /* as each needs a lock until the transaction ends */

static pg_atomic_uint32 *cells = NULL;

static Size
cells_size(void)
{
	return CELLS * sizeof(pg_atomic_uint32);
}

static void
cells_init(void *area)
{
	for (int i = 0; i < CELLS; i++)
		pg_atomic_init_u32((pg_atomic_uint32 *) area + i, 0);
}

static const BraidShmemArea area = {"braid position segments", cells_size, cells_init,
									(void **) &cells};

static pg_atomic_uint32 *
my_cell(void)
{
	return &cells[murmurhash32(MyDatabaseId) % CELLS];
}

Oid
braid_position_segment(int segment)
{
	char name[NAMEDATALEN];

	snprintf(name, sizeof(name), "positions_%d", segment);
	return braid_topic_relation(name);
}

Oid
braid_position_index(int segment)
{
	char name[NAMEDATALEN];

	snprintf(name, sizeof(name), "positions_%d_order", segment);
	return braid_topic_relation(name);
}

int
braid_position_current_segment(void)
{
	return (int) (pg_atomic_read_u32(my_cell()) % BRAID_POSITION_SEGMENTS);
}

/* ---------------------------------------------------------------- the worker's part */

static BlockNumber
blocks_of(int segment)
{
	Relation rel = table_open(braid_position_segment(segment), AccessShareLock);
	BlockNumber n = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return n;
}

static int
segment_of(int group, int part, Snapshot snapshot, BraidStoredPosition *stored)
{
	return braid_position_read(group, part, snapshot, stored) ? stored->segment : -1;
}

typedef struct Tally
{
	int64 npositions; /* of all groups */
	int nmoved;
	bool left; /* the segment still has some that count */
} Tally;

/* Writes a position anew if it is in the segment, and nobody is about to. */
static void
move_from(int segment, int group, int part, Tally *tally)
{
	BraidStoredPosition stored;
	Snapshot snapshot;

	if (tally->nmoved >= MOVES_AT_ONCE || !braid_fence_is_free(group, part) ||
		!braid_position_lock(group, part, false))
	{
		tally->left = true;
		return;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (segment_of(group, part, snapshot, &stored) == segment)
	{
		braid_position_write(group, part, &stored);
		tally->nmoved++;
	}
	UnregisterSnapshot(snapshot);
}

/* With segment -1 counts only. */
static void
move_all_from(int segment, Tally *tally)
{
	List *groups = braid_group_list(0);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell *lc;

	memset(tally, 0, sizeof(Tally));
	foreach (lc, groups)
	{
		BraidGroup *group = lfirst(lc);
		BraidTopic *topic = braid_topic_by_id(group->topic);
		BraidStoredPosition stored;

		for (int part = 0; topic != NULL && part < topic->npartitions; part++)
		{
			CHECK_FOR_INTERRUPTS();
			tally->npositions++;
			if (segment >= 0 && segment_of(group->id, part, snapshot, &stored) == segment)
				move_from(segment, group->id, part, tally);
		}
	}
	UnregisterSnapshot(snapshot);
}

/* If nothing in it counts, and nobody writes to it any more. */
static void
truncate_segment(int segment)
{
	char command[128];
	Tally tally;

	if (!ConditionalLockRelationOid(braid_position_segment(segment), AccessExclusiveLock))
		return;
	move_all_from(segment, &tally);
	if (tally.left)
		return;
	snprintf(command, sizeof(command), "TRUNCATE " BRAID_TOPIC_SCHEMA ".positions_%d", segment);
	braid_query_execute(command, SPI_OK_UTILITY);
}

/* Has new positions written to the next segment if the current one is large, and the next one empty. */
static void
move_on(void)
{
	int current = braid_position_current_segment();
	int next = (current + 1) % BRAID_POSITION_SEGMENTS;
	Tally tally;

	if (blocks_of(current) < MIN_BLOCKS || blocks_of(next) > 0)
		return;
	move_all_from(-1, &tally);
	if (blocks_of(current) >= MIN_BLOCKS + 4 * tally.npositions / ROWS_PER_BLOCK)
		pg_atomic_write_u32(my_cell(), next);
}

void
braid_position_rotate(void)
{
	int current;
	Tally tally;

	move_on();
	current = braid_position_current_segment();
	for (int i = 1; i < BRAID_POSITION_SEGMENTS; i++)
	{
		int segment = (current + i) % BRAID_POSITION_SEGMENTS;

		if (blocks_of(segment) == 0)
			continue;
		move_all_from(segment, &tally);
		if (!tally.left)
			truncate_segment(segment);
	}
}

void
braid_position_init(void)
{
	braid_shmem_register(&area);
}
