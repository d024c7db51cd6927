/*
 * inserter.h
 *	  Rows for a table and its indexes, inserted many at a time.
 */
#ifndef BRAID_INSERTER_H
#define BRAID_INSERTER_H

#include "nodes/execnodes.h"

#define INSERTER_ROWS 1000

typedef struct BraidInserter
{
	Relation rel;
	EState *estate;
	ResultRelInfo *result;
	struct BulkInsertStateData *bulk;
	CommandId cid;
	TupleTableSlot *slots[INSERTER_ROWS];
	int nslots;
	Size size;	  /* of the rows in slots */
	uint64 nrows; /* inserted */
} BraidInserter;

/* Whether rows can be put into the table as they are: it has no triggers, checks or defaults. */
extern bool braid_inserter_can_take(Relation rel);

/*
 * Begins to insert into an open table, as part of the current command, in the current memory
 * context.  For each row next returns an empty slot, whose values are to be set, all null as
 * yet; add takes it.  What is not inserted yet is when it ends, which
 * returns how many there were.
 */
extern BraidInserter *braid_inserter_begin(Relation rel);
extern TupleTableSlot *braid_inserter_next(BraidInserter *inserter);
extern void braid_inserter_add(BraidInserter *inserter);
extern uint64 braid_inserter_end(BraidInserter *inserter);

#endif /* BRAID_INSERTER_H */
