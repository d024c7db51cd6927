/*
 * refusal.h
 *	  What a continuous view cannot be made of, and how it is said.
 */
#ifndef BRAID_REFUSAL_H
#define BRAID_REFUSAL_H

#include "common/compat.h"
#include "nodes/parsenodes.h"
#include "parser/parse_node.h"

/* "continuous views do not support <what>", at the location. */
BRAID_NORETURN extern void braid_refuse(ParseState *pstate, int location, const char *what);

/*
 * Where the nth item of FROM is, from the source text: an analyzed query does
 * not say.  -1 if that cannot be told.
 */
extern int braid_refusal_location(ParseState *pstate, int nth);

/* Each raises an error if there is anything to refuse. */
extern void braid_refuse_constructs(ParseState *pstate, Query *query);
extern void braid_refuse_table(ParseState *pstate, RangeTblEntry *rte);
extern void braid_refuse_aggregate(ParseState *pstate, Aggref *agg, const char *name);
extern void braid_refuse_columns(ParseState *pstate, Query *query, Oid relid);

#endif /* BRAID_REFUSAL_H */
