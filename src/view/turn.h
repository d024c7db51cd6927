/*
 * turn.h
 *	  Rows of one input that got their first match in the other, or lost their
 *	  last one.
 */
#ifndef BRAID_TURN_H
#define BRAID_TURN_H

#include "view/node.h"

/*
 * An item for FROM: the old rows of the input (1 or 2) that turned, because the
 * other input changed.  Columns v, the row's weight; f, 1 if it has no match any
 * more, -1 if it has one now; c1, c2, ...  Reads the inputs' deltas as
 * braid_text_shared_delta(); begins with a SELECT or WITH of its own.
 */
extern char *braid_turn_rows(ViewNode *node, int side);

#endif /* BRAID_TURN_H */
