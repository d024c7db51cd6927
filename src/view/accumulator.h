/*
 * accumulator.h
 *	  A value kept for each group, and its SQL in the statements that keep groups.
 */
#ifndef BRAID_ACCUMULATOR_H
#define BRAID_ACCUMULATOR_H

#include "lib/stringinfo.h"
#include "view/node.h"

typedef enum AccumulatorKind
{
	ACCUMULATE_COUNT,	/* rows whose argument is not null */
	ACCUMULATE_SUM,		/* of int2, int4, int8, numeric */
	ACCUMULATE_XOR,		/* of the bits of integers */
	ACCUMULATE_EXTREME, /* min, max and their like: the first by an operator */
	ACCUMULATE_COMBINE, /* by the aggregate's combine function, which is an SQL function */
	ACCUMULATE_OPAQUE	/* the aggregate's result, only ever recomputed */
} AccumulatorKind;

/* A value kept for each group, in a column of the state table.  Texts are SQL over i1. */
typedef struct Accumulator
{
	AccumulatorKind kind;
	int number;		 /* column a<number> */
	char *argument;	 /* NULL: rows, for count(*); not used by COMBINE and OPAQUE */
	char *filter;	 /* NULL if there is none */
	char *aggregate; /* EXTREME, COMBINE, OPAQUE: without its FILTER */
	char *function;	 /* EXTREME: operator that is true if the left value is before
						the right one; COMBINE: name of the combine function */
	bool is_strict;	 /* of COMBINE: the function is */
	NodeColumn column;
	bool is_numeric;		   /* of SUM: the argument is numeric */
	bool has_scale;			   /* of SUM: all arguments have the same scale */
	bool is_squares;		   /* of SUM: of squares, there is one of their roots as well */
	struct Accumulator *count; /* of SUM: how many there are */
} Accumulator;

/* The groups of the node are only ever recomputed. */
extern bool braid_accumulators_are_opaque(ViewNode *node);

typedef void (*BraidAppendText)(StringInfo s, Accumulator *a);

/* What one of those below says of all accumulators of a node; begins with a comma unless there are none. */
extern char *braid_accumulator_texts(ViewNode *node, BraidAppendText append);

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

/*
 * expressions for the columns of the state, of two parts of a group: s and excluded;
 * the latter may be missing, when its n is null
 */
extern void braid_accumulator_combine(StringInfo s, Accumulator *a);

/* "a1 = excluded.a1" */
extern void braid_accumulator_replace(StringInfo s, Accumulator *a);

/*
 * A condition under which a group must be computed from all its rows: s is the
 * state, g the change.  NULL if it need not be, ever.
 */
extern char *braid_accumulator_redo(Accumulator *a);

#endif /* BRAID_ACCUMULATOR_H */
