/*
 * xact.c
 *	  The one transaction callback of the extension.
 *
 * NOTES
 *	  PostgreSQL runs transaction callbacks in the reverse order of their
 *	  registration.  The callback is therefore registered twice: once when the
 *	  library is loaded, which makes it run after those of libraries loaded
 *	  later (postgres_fdw registers its own when it first connects), and once
 *	  more whenever braid_xact_move_first() is called, which makes it run before
 *	  all that exist by then.
 */
#include "postgres.h"

#include "common/xact.h"
#include "nodes/parsenodes.h"
#include "utils/resowner.h"

#define MAX_HANDLERS 24

static BraidXactHandler handlers[BRAID_XACT_NSTAGES][MAX_HANDLERS];
static int nhandlers[BRAID_XACT_NSTAGES];
static BraidSubXactHandler subxact_handlers[MAX_HANDLERS];
static int nsubxact_handlers = 0;
static BraidLocksReleasedHandler released_handlers[MAX_HANDLERS];
static int nreleased_handlers = 0;

static void
run_stage(XactEvent event, void *arg)
{
	BraidXactStage stage = (BraidXactStage) (intptr_t) arg;

	for (int i = 0; i < nhandlers[stage]; i++)
		handlers[stage][i](event);
}

static void
run_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	for (int i = 0; i < nsubxact_handlers; i++)
		subxact_handlers[i](event);
}

static void
run_locks_released(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	/* Portals and subtransactions release their owners with is_top_level off. */
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	for (int i = 0; i < nreleased_handlers; i++)
		released_handlers[i](is_commit);
}

void
braid_xact_register(BraidXactStage stage, BraidXactHandler handler)
{
	Assert(nhandlers[stage] < MAX_HANDLERS);
	handlers[stage][nhandlers[stage]++] = handler;
}

void
braid_xact_register_subxact(BraidSubXactHandler handler)
{
	Assert(nsubxact_handlers < MAX_HANDLERS);
	subxact_handlers[nsubxact_handlers++] = handler;
}

void
braid_xact_on_locks_released(BraidLocksReleasedHandler handler)
{
	Assert(nreleased_handlers < MAX_HANDLERS);
	released_handlers[nreleased_handlers++] = handler;
}

void
braid_xact_move_first(void)
{
	UnregisterXactCallback(run_stage, (void *) (intptr_t) BRAID_XACT_FIRST);
	RegisterXactCallback(run_stage, (void *) (intptr_t) BRAID_XACT_FIRST);
}

bool
braid_xact_may_begin(Node *stmt)
{
	if (IsA(stmt, TransactionStmt))
		return ((TransactionStmt *) stmt)->kind == TRANS_STMT_BEGIN ||
			   ((TransactionStmt *) stmt)->kind == TRANS_STMT_START;
	return IsA(stmt, VariableSetStmt);
}

void
braid_xact_init(void)
{
	RegisterXactCallback(run_stage, (void *) (intptr_t) BRAID_XACT_LAST);
	RegisterXactCallback(run_stage, (void *) (intptr_t) BRAID_XACT_FIRST);
	RegisterSubXactCallback(run_subxact, NULL);
	RegisterResourceReleaseCallback(run_locks_released, NULL);
}
