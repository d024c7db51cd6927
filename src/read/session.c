/*
 * session.c
 *	  What this session has committed.
 *
 * NOTES
 *	  A number is enough: the commit is visible when it is counted, and its record
 *	  is in WAL, flushed or not.  The capture worker reads up to the end of WAL and
 *	  flushes it before, so that asynchronous commits are no exception.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/xact.h"
#include "read/session.h"

static uint64 commits = 0;
static XLogRecPtr last_commit = InvalidXLogRecPtr;
static bool commits_prepared = false;

static void
end_of_transaction(XactEvent event)
{
	if (event == XACT_EVENT_COMMIT &&
		(commits_prepared || TransactionIdIsValid(GetTopTransactionIdIfAny())))
	{
		commits++;
		last_commit = XactLastCommitEnd;
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		commits_prepared = false;
}

uint64
braid_read_session_commits(void)
{
	return commits;
}

XLogRecPtr
braid_read_session_last_commit(void)
{
	return last_commit;
}

void
braid_read_session_commits_prepared(void)
{
	commits_prepared = true;
}

void
braid_read_session_init(void)
{
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
}
