/*
 * merge.h
 *	  The merge of changes into the rows of a state.
 */
#ifndef BRAID_MERGE_H
#define BRAID_MERGE_H

#include "nodes/plannodes.h"
#include "utils/queryenvironment.h"

/*
 * Runs the plan of "INSERT INTO state ... SELECT ... ON CONFLICT (...) DO UPDATE SET ...", under the
 * active snapshot.  False, and nothing done, if it is any other or the table is no plain one.
 * Adds the number of rows.
 */
extern bool braid_merge_run(PlannedStmt *stmt, const char *sql, QueryEnvironment *environment,
							int64 *processed);

#endif /* BRAID_MERGE_H */
