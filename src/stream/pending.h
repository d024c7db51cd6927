/*
 * pending.h
 *	  Rows that the running transaction has written to streams, until they are in the WAL.
 */
#ifndef BRAID_PENDING_H
#define BRAID_PENDING_H

#include "utils/rel.h"

typedef struct BraidPending BraidPending;

/* Where somebody writes to a stream. */
typedef struct BraidStreamWriter
{
	Relation stream;	   /* open as long as the writer is used */
	BraidPending *pending; /* where rows go, as of the generation */
	uint64 generation;
} BraidStreamWriter;

extern void braid_pending_begin(BraidStreamWriter *writer, Relation stream);

/*
 * Adds a row, which is copied, on behalf of the current subtransaction.  May
 * leave rubbish in the current memory context.
 */
extern void braid_pending_add(BraidStreamWriter *writer, Datum *values, bool *nulls);

extern void braid_pending_init(void);

#endif /* BRAID_PENDING_H */
