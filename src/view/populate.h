/*
 * populate.h
 *	  Populating views beside the capture worker: the worker's side.
 */
#ifndef BRAID_POPULATE_H
#define BRAID_POPULATE_H

#include "view/keeper.h"

/* What is to be done in this cycle for a view that has to be populated. */
typedef enum PopulateStep
{
	POPULATE_HERE,	/* it is small: within the cycle */
	POPULATE_WAIT,	/* it is done beside: nothing in this cycle */
	POPULATE_FOLLOW /* it was done beside: bring it from then to S */
} PopulateStep;

/*
 * From apply, once in a cycle for each such view that takes part: begins, or
 * looks how far it has come.  If it has failed for a reason that lies in the
 * view, error is set.
 */
extern PopulateStep braid_populate_look(KeptView *view, char **error);

/* For POPULATE_FOLLOW: what brings a table of the view to S. */
extern BraidDelta *braid_populate_delta(KeptView *view, Oid relid);

/* It is live, or broken. */
extern void braid_populate_end(KeptView *view);

/*
 * From apply, before looking: ends what is of no use any more, and what stands
 * in the way of somebody who waits for a lock on a table.
 */
extern void braid_populate_tidy(void);

/* From load, first of all: nobody else populates in this database. */
extern void braid_populate_start(void);

extern void braid_populate_init(void);

#endif /* BRAID_POPULATE_H */
