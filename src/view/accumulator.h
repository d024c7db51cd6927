/*
 * accumulator.h
 *	  The SQL of an accumulator, in the statements that keep groups.
 */
#ifndef BRAID_ACCUMULATOR_H
#define BRAID_ACCUMULATOR_H

#include "lib/stringinfo.h"
#include "view/node.h"

/* Each appends to a list that is not empty: ", ..." */

/* its columns in the state table, with their types; and their names */
extern void braid_accumulator_define(StringInfo s, Accumulator *a);
extern void braid_accumulator_name(StringInfo s, Accumulator *a);

/* expressions for these columns, over all rows of a group */
extern void braid_accumulator_state(StringInfo s, Accumulator *a);

/*
 * columns of what a delta does to a group: of any delta; and the same columns
 * of one that retracts nothing
 */
extern void braid_accumulator_change(StringInfo s, Accumulator *a);
extern void braid_accumulator_insertion(StringInfo s, Accumulator *a);

/* expressions for the columns of the state, of a group that is new: g is the change */
extern void braid_accumulator_begin(StringInfo s, Accumulator *a);

/* "a1 = ..." of a group that is there: s is the state, excluded what begin made of the change */
extern void braid_accumulator_merge(StringInfo s, Accumulator *a);

/* "a1 = excluded.a1" */
extern void braid_accumulator_replace(StringInfo s, Accumulator *a);

/*
 * A condition under which a group must be computed from all its rows: s is the
 * state, g the change.  NULL if it need not be, ever.
 */
extern char *braid_accumulator_redo(Accumulator *a);

#endif /* BRAID_ACCUMULATOR_H */
