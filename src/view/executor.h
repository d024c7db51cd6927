/*
 * executor.h
 *	  Running a plan of ours, whose rows go to a receiver of ours.
 */
#ifndef BRAID_EXECUTOR_H
#define BRAID_EXECUTOR_H

#include "executor/execdesc.h"

/*
 * Starts a plan, in a snapshot that sees what this transaction has written so far;
 * braid_compat_executor_run_once() runs it.
 */
extern QueryDesc *braid_executor_start(PlannedStmt *plan, const char *sql,
									   QueryEnvironment *environment, DestReceiver *receiver);

/* Ends it; what its receiver has written is visible to the next command. */
extern void braid_executor_end(QueryDesc *query);

#endif /* BRAID_EXECUTOR_H */
