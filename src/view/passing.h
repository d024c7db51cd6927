/*
 * passing.h
 *	  Nodes whose rows pass by: those of streams.
 */
#ifndef BRAID_PASSING_H
#define BRAID_PASSING_H

#include "view/definition.h"
#include "view/draft.h"

/* Whether what happens to the input changes the reader. */
extern bool braid_passing_heeds(ViewNode *reader, ViewNode *input);

/* Whether no row of the node ever goes again: of a stream, and what is made of it. */
extern bool braid_passing_only_grows(ViewNode *node);

/*
 * When the graph is complete: finds out which nodes are changed by streams alone, and
 * what the plan heeds; raises an error if the plan would need rows that have passed.
 */
extern void braid_passing_finish(Planner *planner);

/*
 * Whether the view's query reads a stream, be it by way of ordinary views, but not by
 * that of continuous ones.
 */
extern bool braid_passing_is_read(const ViewDefinition *def);

#endif /* BRAID_PASSING_H */
