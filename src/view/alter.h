/*
 * alter.h
 *	  A new query for a continuous view that exists.
 */
#ifndef BRAID_ALTER_H
#define BRAID_ALTER_H

#include "nodes/parsenodes.h"
#include "parser/parse_node.h"
#include "view/definition.h"

/*
 * Gives the view another query, analyzed, or makes it anew from its own if that
 * is NULL.  Returns whether it shows it already; if not, what is needed is being
 * populated, and is exchanged for what there is when that is done.
 */
extern bool braid_alter(const ViewDefinition *def, Query *query, ParseState *pstate);

/*
 * Gives it other options, and the expressions of its watermark if these are others
 * (NULL: those that it has).  Returns the same.
 */
extern bool
braid_alter_to(const ViewDefinition *def, const ContinuousOptions *options, Query *sources);

/* The worker's: makes the view anew from its own query. */
extern void braid_alter_anew(const ViewDefinition *def);

#endif /* BRAID_ALTER_H */
