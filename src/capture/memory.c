/*
 * memory.c
 *	  The memory of a capture worker: one budget, and who has what of it.
 *
 * NOTES
 *	  A cycle has to reach its snapshot, however much there is to decode and to
 *	  merge.  So what it needs is bounded not by taking less, but by putting the
 *	  rest on disk.  PostgreSQL's parts each know how to do that, and each has to
 *	  be told its limit beforehand:
 *
 *		decoding	1/8		the reorder buffer: logical_decoding_work_mem; what
 *							it hands over to large.c are rows
 *		messages	1/8		of streams, until their transactions end: message.c
 *		rows		1/2		deltas, held pieces, large transactions, taps, what
 *							statements leave to each other: tuplestores
 *		statements	1/4		sorts and hash tables: work_mem, a sixteenth of the
 *							share, since one statement can have several, and a
 *							hash table has twice of it
 *
 *	  A tuplestore keeps its limit for life, and how many there will be is not
 *	  known.  So each gets at most half of what is left of the share; when that is
 *	  used up they get the least that a tuplestore works with.  The first in a
 *	  cycle is that of the first table that has changed, and most of the time
 *	  there is no other that is large.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "capture/memory.h"

#define LEAST_KB 64 /* of a tuplestore, and of work_mem */
#define OPERATORS 16

int braid_capture_memory = 524288;

/* What tuplestores have of their share, in kB. */
static int taken = 0;

int
braid_memory_for_decoding(void)
{
	return braid_capture_memory / 8;
}

int
braid_memory_for_messages(void)
{
	return braid_capture_memory / 8;
}

int
braid_memory_for_operator(void)
{
	return Max(braid_capture_memory / 4 / OPERATORS, LEAST_KB);
}

int
braid_capture_take_memory(int at_most)
{
	int left = braid_capture_memory / 2 - taken;
	int kb = Max(Min(left / 2, at_most), LEAST_KB);

	taken += kb;
	return kb;
}

void
braid_capture_return_memory(int kb)
{
	taken -= kb;
	Assert(taken >= 0);
}
