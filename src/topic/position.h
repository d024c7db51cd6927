/*
 * position.h
 *	  How far a group has come in a partition.
 */
#ifndef BRAID_POSITION_H
#define BRAID_POSITION_H

#include "topic/topic.h"

/*
 * A message has been consumed if its transaction
 *
 *	1. is part of done; or
 *	2. is part of todo, and its id is not above upto; or
 *	3. is part of as_of, and its id is less than below.
 *
 * 2. is an interval, from done to todo, of which the group has had some: it is read
 * by id.  When it is through, todo becomes done.  3. is what was skipped when somebody
 * sought an id.
 */
typedef struct BraidPosition
{
	BraidFrontier done;
	bool has_todo;
	BraidFrontier todo;
	int64 upto;
	int64 below; /* 0: nothing was skipped, as_of is not set */
	BraidFrontier as_of;
} BraidPosition;

/* The same as it is stored: with its number, which grows, and what it came from. */
typedef struct BraidStoredPosition
{
	BraidPosition position;
	int64 number;
	int64 consumed; /* messages, since the group was made */
	TimestampTz moved_at;
	int segment; /* of the table */
} BraidStoredPosition;

/* All that is retained is still to come. */
extern void braid_position_at_beginning(BraidPosition *p);

/* Only what becomes visible after the snapshot is to come. */
extern void braid_position_at(BraidPosition *p, const BraidTopic *topic, Snapshot snapshot);

/* Copies into the current memory context. */
extern void braid_position_copy(BraidPosition *to, const BraidPosition *from);

extern bool braid_position_has_consumed(const BraidPosition *p, uint64 xid, int64 id);

/* The lowest xid that a row may have that has not been consumed, and is visible now. */
extern uint64 braid_position_first_xid(const BraidPosition *p, const BraidFrontier *now);

/* As the SQL type braid_internal.position, for functions that pass it on. */
extern Datum braid_position_to_datum(const BraidPosition *p);
extern void braid_position_from_datum(BraidPosition *p, Datum datum);

/* ---- storage: braid_internal.positions */

/*
 * Only one transaction at a time may move the position of a group in a partition: the one
 * that has the lock, until it ends, however long it is prepared.  False if
 * somebody else has it and it is not to be waited for.
 */
extern bool braid_position_lock(int group, int part, bool wait);
extern void braid_position_unlock(int group, int part); /* again; nothing was moved */

/*
 * The newest one that is visible in the snapshot; false if there is none.  With the
 * lock and a snapshot taken since, that is the position.
 */
extern bool
braid_position_read(int group, int part, Snapshot snapshot, BraidStoredPosition *stored);

/* Moves it, with the lock, as part of the running transaction; stored->number is the one before. */
extern void braid_position_write(int group, int part, BraidStoredPosition *stored);

/* Whether another transaction has moved it on from number, as the snapshot has it. */
extern bool braid_position_was_overtaken(int group, int part, Snapshot snapshot, int64 number);

/* Empties what has only positions that were moved since; for the worker, with SPI connected. */
extern void braid_position_rotate(void);

extern void braid_position_init(void);

#endif /* BRAID_POSITION_H */
