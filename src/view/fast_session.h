/*
 * fast_session.h
 *	  Sessions of the rows of a delta, without SQL for each row.
 */
#ifndef BRAID_FAST_SESSION_H
#define BRAID_FAST_SESSION_H

#include "utils/tuplestore.h"
#include "view/fast_path.h"

/* Has the statement select what sessions need beside the keys and arguments. */
extern void braid_fast_session_select(FastPath *path);

/*
 * Puts the sessions into rows, in the order of the state's index: keys, first, last, n, whether
 * one of their rows went, and the columns of accumulators.  False: run the statement.
 */
extern bool
braid_fast_session_make(FastPath *path, PlannedStmt *stmt, Tuplestorestate *rows, TupleDesc desc);

#endif /* BRAID_FAST_SESSION_H */
