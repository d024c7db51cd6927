/*
 * query.c
 *	  Queries of background workers, which have no transaction of their own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/query.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

MemoryContext
braid_query_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	return caller;
}

void
braid_query_end(MemoryContext caller)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

void
braid_query_execute(const char *sql, int expected)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc != expected)
		elog(ERROR, "SPI_execute returned %s for \"%s\"", SPI_result_code_string(rc), sql);
}
