/*
 * executor.c
 *	  Running a plan of ours, whose rows go to a receiver of ours.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/snapmgr.h"
#include "view/executor.h"

QueryDesc *
braid_executor_start(PlannedStmt *plan, const char *sql, QueryEnvironment *environment,
					 DestReceiver *receiver)
{
	QueryDesc *query;

	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	query = CreateQueryDesc(plan, sql, GetActiveSnapshot(), InvalidSnapshot, receiver, NULL,
							environment, 0);
	ExecutorStart(query, 0);
	return query;
}

void
braid_executor_end(QueryDesc *query)
{
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
	PopActiveSnapshot();
	CommandCounterIncrement();
}
