/*
 * lookup.h
 *	  Whether matches can be looked up by an index.
 */
#ifndef BRAID_LOOKUP_H
#define BRAID_LOOKUP_H

#include "view/node.h"

/*
 * Of an OUTER or MARK: whether indexes lead to those rows of input side (1 or 2)
 * that match a given row of the other.  Asks the planner once, and remembers the
 * answer in the node.  Within SPI.
 */
extern bool braid_lookup_is_indexed(ViewNode *node, int side);

#endif /* BRAID_LOOKUP_H */
