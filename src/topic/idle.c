/*
 * idle.c
 *	  Waiting in the middle of a statement without holding back vacuum.
 *
 * NOTES
 *	  A statement has a snapshot from its start to its end, and with it holds back the
 *	  removal of dead rows in the whole database; one that waits for messages
 *	  for a minute does so for a minute.  If it is a SELECT that reads functions alone,
 *	  at the top level, in READ COMMITTED, then nobody has looked at anything with that
 *	  snapshot yet who would be surprised by another one.  So it is exchanged:
 *	  the portal's query has it three times, as the active one and twice registered
 *	  with the portal's owner, by whoever made the query and by the executor.
 *
 *	  After an error in between the portal has failed, and its query is not looked at again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "tcop/pquery.h"
#include "topic/idle.h"
#include "utils/snapmgr.h"

static bool
reads_functions_alone(PlannedStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->rtable)
	{
		RTEKind kind = lfirst_node(RangeTblEntry, lc)->rtekind;

		if (kind != RTE_FUNCTION && kind != RTE_RESULT && kind != RTE_VALUES)
			return false;
	}
	return stmt->subplans == NIL;
}

/* The portal whose query has called, and has one snapshot for all. */
static Portal
find_portal(void)
{
	Portal portal = ActivePortal;
	QueryDesc *query = portal ? portal->queryDesc : NULL;

	if (!query || portal->strategy != PORTAL_ONE_SELECT || IsolationUsesXactSnapshot() ||
		!query->estate || !reads_functions_alone(query->plannedstmt))
		return NULL;
	if (!ActiveSnapshotSet() || GetActiveSnapshot() != query->snapshot ||
		query->estate->es_snapshot != query->snapshot)
		return NULL;
	return portal;
}

void
braid_idle_begin(BraidIdle *idle)
{
	Portal portal = find_portal();
	QueryDesc *query;
	Snapshot snapshot;

	idle->portal = NULL;
	InvalidateCatalogSnapshot();
	if (!portal)
		return;
	query = portal->queryDesc;
	snapshot = query->snapshot;
	PopActiveSnapshot();
	if (ActiveSnapshotSet())
	{
		/* A statement around this one has its own. */
		PushActiveSnapshot(snapshot);
		return;
	}
	query->snapshot = InvalidSnapshot;
	query->estate->es_snapshot = InvalidSnapshot;
	UnregisterSnapshotFromOwner(snapshot, portal->resowner);
	UnregisterSnapshotFromOwner(snapshot, portal->resowner);
	idle->portal = portal;
}

void
braid_idle_end(BraidIdle *idle)
{
	QueryDesc *query;

	if (!idle->portal)
		return;
	query = idle->portal->queryDesc;
	PushActiveSnapshot(GetTransactionSnapshot());
	query->snapshot = RegisterSnapshotOnOwner(GetActiveSnapshot(), idle->portal->resowner);
	query->estate->es_snapshot = RegisterSnapshotOnOwner(query->snapshot, idle->portal->resowner);
	idle->portal = NULL;
}
