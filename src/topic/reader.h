/*
 * reader.h
 *	  Reads the messages of a partition, in order, from a position on.
 *
 * The order is that of commits, by intervals between snapshots, and within an interval
 * that of ids.  Whoever has stored the position after a message gets the rest the
 * next time, and nothing twice.
 */
#ifndef BRAID_READER_H
#define BRAID_READER_H

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "topic/position.h"

typedef struct BraidReader BraidReader;

/* Where a message is; the id says whether it is still there. */
typedef struct BraidPlace
{
	int64 id;
	ItemPointerData tid;
	int16 segment;
} BraidPlace;

/*
 * What is visible in the snapshot, which is to be registered, and was not consumed as
 * of the position.  nwanted tells about how many messages will be asked for.
 * Allocates in the current memory context.
 */
extern BraidReader *braid_reader_open(BraidTopic *topic, int part, const BraidPosition *start,
									  Snapshot snapshot, int nwanted);

/*
 * The next message, in the columns of MessageColumn, until the next call; NULL if
 * there is none.  The same one again if it was not accepted.
 */
extern TupleTableSlot *braid_reader_next(BraidReader *reader);

/* Its transaction's id, and where it is. */
extern uint64 braid_reader_xid(BraidReader *reader);
extern BraidPlace braid_reader_place(BraidReader *reader);

/* It has been consumed. */
extern void braid_reader_accept(BraidReader *reader);

/* The position after the last message that was accepted, or after all if there is no other. */
extern const BraidPosition *braid_reader_position(BraidReader *reader);

/* How many entries of indexes were looked at in vain: a reason to store where one has come to. */
extern int64 braid_reader_effort(BraidReader *reader);

/* About the highest id that was given to a message of the topic; 0 if there are few. */
extern int64 braid_reader_newest_id(BraidReader *reader);

/* Values of a slot that are to outlive this were to be copied, and fetched from where they are toasted. */
extern void braid_reader_close(BraidReader *reader);

#endif /* BRAID_READER_H */
