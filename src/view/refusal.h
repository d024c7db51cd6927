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

/* The same of what reads a stream as if it kept its rows. */
BRAID_NORETURN extern void braid_refuse_stream(ParseState *pstate, Oid stream, const char *what);

/* For check_functions_in_node(): its result can change while its arguments do not. */
extern bool braid_refusal_is_unfit_function(Oid function, void *context);

/* Location of the first node of a kind in the query; -1 if there is none. */
extern int braid_refusal_location_of(Query *query, NodeTag tag);

/* Each raises an error if there is anything to refuse. */
extern void braid_refuse_constructs(ParseState *pstate, Query *query);
extern void braid_refuse_functions(ParseState *pstate, Query *query);
extern void braid_refuse_table(ParseState *pstate, RangeTblEntry *rte);
extern void braid_refuse_columns(ParseState *pstate, Oid relid, List *vars);

#endif /* BRAID_REFUSAL_H */
