/*
 * fdw.c
 *	  The foreign data wrapper braid_fdw: postgres_fdw, watched.
 *
 * NOTES
 *	  The handler hands out postgres_fdw's own routine with the callbacks
 *	  replaced through which a write begins.  Each notes the write and calls the
 *	  original.  Planning, execution, push-down and the connections are
 *	  postgres_fdw's, from the library that is installed.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "common/compat.h"
#include "common/xact.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "xa/branch.h"

PG_FUNCTION_INFO_V1(braid_sql_fdw_handler);
PG_FUNCTION_INFO_V1(braid_sql_fdw_validator);

/* postgres_fdw's routine, as its handler returned it. */
static const FdwRoutine *original = NULL;

/*
 * postgres_fdw registers its transaction callback when it first connects.  Ours
 * must run before it, and is put in front once a statement has begun.
 */
static bool in_front = false;

static void
move_in_front(void)
{
	if (in_front || braid_xa_branch_enlisting())
		return;
	braid_xact_move_first();
	in_front = true;
}

static Oid
server_of(Relation rel)
{
	return GetForeignTable(RelationGetRelid(rel))->serverid;
}

/* Does the scan lock the rows that it reads? */
static bool
scan_locks_rows(ForeignScanState *node)
{
	EState	   *estate = node->ss.ps.state;
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Bitmapset  *relids = plan->fs_relids;
	int			rti = -1;

	if (!estate->es_rowmarks)
		return false;
	if (plan->scan.scanrelid > 0)
		relids = bms_make_singleton(plan->scan.scanrelid);
	while ((rti = bms_next_member(relids, rti)) >= 0)
	{
		ExecRowMark *mark = ExecFindRowMark(estate, rti, true);

		if (mark && mark->strength != LCS_NONE)
			return true;
	}
	return false;
}

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY) && scan_locks_rows(node))
		braid_xa_branch_note_write(plan->fs_server, braid_compat_scan_user(node));
	original->BeginForeignScan(node, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		move_in_front();
}

static void
begin_direct_modify(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		braid_xa_branch_note_write(plan->fs_server, braid_compat_scan_user(node));
	original->BeginDirectModify(node, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		move_in_front();
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *rri, List *fdw_private,
			 int subplan_index, int eflags)
{
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		braid_xa_branch_note_write(server_of(rri->ri_RelationDesc),
								   braid_compat_modify_user(mtstate->ps.state, rri));
	original->BeginForeignModify(mtstate, rri, fdw_private, subplan_index, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		move_in_front();
}

/* COPY, and rows routed to a partition. */
static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	braid_xa_branch_note_write(server_of(rri->ri_RelationDesc),
							   braid_compat_modify_user(mtstate->ps.state, rri));
	original->BeginForeignInsert(mtstate, rri);
	move_in_front();
}

static void
truncate_tables(List *rels, DropBehavior behavior, bool restart_seqs)
{
	ListCell   *lc;

	foreach(lc, rels)
		braid_xa_branch_note_write(server_of(lfirst(lc)), GetUserId());
	original->ExecForeignTruncate(rels, behavior, restart_seqs);
	move_in_front();
}

static PGFunction
postgres_fdw_function(const char *name)
{
	return load_external_function("$libdir/postgres_fdw", name, true, NULL);
}

static const FdwRoutine *
original_routine(void)
{
	LOCAL_FCINFO(fci, 0);
	FdwRoutine *routine;

	InitFunctionCallInfoData(*fci, NULL, 0, InvalidOid, NULL, NULL);
	routine = (FdwRoutine *) DatumGetPointer(postgres_fdw_function("postgres_fdw_handler") (fci));
	Assert(IsA(routine, FdwRoutine));
	return memcpy(MemoryContextAlloc(TopMemoryContext, sizeof(FdwRoutine)), routine, sizeof(FdwRoutine));
}

Datum
braid_sql_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	if (!original)
		original = original_routine();
	memcpy(routine, original, sizeof(FdwRoutine));
	routine->BeginForeignScan = begin_scan;
	routine->BeginDirectModify = begin_direct_modify;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->ExecForeignTruncate = truncate_tables;
	PG_RETURN_POINTER(routine);
}

Datum
braid_sql_fdw_validator(PG_FUNCTION_ARGS)
{
	/* All options are postgres_fdw's. */
	return DirectFunctionCall2(postgres_fdw_function("postgres_fdw_validator"),
							   PG_GETARG_DATUM(0), PG_GETARG_DATUM(1));
}
