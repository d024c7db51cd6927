/*
 * move.c
 *	  Rows that an UPDATE moves to another partition.
 *
 * NOTES
 *	  Such an update is decoded as a DELETE and an INSERT.  For a source that tells
 *	  deletions from updates it has to be an update, or a consumer that ignores the
 *	  deletion would count the row twice.  The record of the DELETE says it, what
 *	  decoding makes of the record does not.  But both have the same position.
 *
 *	  Positions are remembered from the reading of a record until the change is
 *	  decoded.  Those of transactions that were aborted go when the slot is past
 *	  them.  A new worker reads all records again that it needs.
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "capture/move.h"
#include "replication/slot.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define MANY 10000 /* positions, before those are looked for that are of no use */

static HTAB *moves = NULL; /* XLogRecPtr */
static long limit = MANY;

static void
make_table(void)
{
	HASHCTL ctl = {
		.keysize = sizeof(XLogRecPtr), .entrysize = sizeof(XLogRecPtr), .hcxt = TopMemoryContext};

	moves = hash_create("braid moved rows", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The slot does not go back: what is older will not be decoded any more. */
static void
forget_old(void)
{
	HASH_SEQ_STATUS status;
	XLogRecPtr *lsn;

	hash_seq_init(&status, moves);
	while ((lsn = hash_seq_search(&status)) != NULL)
		if (*lsn < MyReplicationSlot->data.restart_lsn)
			(void) hash_search(moves, lsn, HASH_REMOVE, NULL);
	limit = 2 * hash_get_num_entries(moves) + MANY;
}

static bool
takes_moved_row(XLogReaderState *reader)
{
	return XLogRecGetRmid(reader) == RM_HEAP_ID &&
		   (XLogRecGetInfo(reader) & XLOG_HEAP_OPMASK) == XLOG_HEAP_DELETE &&
		   (((xl_heap_delete *) XLogRecGetData(reader))->flags & XLH_DELETE_IS_PARTITION_MOVE);
}

void
braid_move_note(XLogReaderState *reader)
{
	if (!takes_moved_row(reader))
		return;
	if (moves == NULL)
		make_table();
	if (hash_get_num_entries(moves) >= limit)
		forget_old();
	(void) hash_search(moves, &reader->ReadRecPtr, HASH_ENTER, NULL);
}

bool
braid_move_is(XLogRecPtr lsn)
{
	return moves && hash_search(moves, &lsn, HASH_FIND, NULL) != NULL;
}

void
braid_move_forget(XLogRecPtr lsn)
{
	if (moves && hash_get_num_entries(moves) > 0)
		(void) hash_search(moves, &lsn, HASH_REMOVE, NULL);
}
