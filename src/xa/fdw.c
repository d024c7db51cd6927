/*
 * fdw.c
 *	  The foreign data wrapper braid_fdw: postgres_fdw, watched.
 *
 * NOTES
 *	  The handler hands out postgres_fdw's own routine with the callbacks
 *	  replaced through which a write begins.  Each notes the write and calls the
 *	  original.  Planning, execution, push-down and the connections are
 *	  postgres_fdw's, from the library that is installed.
 *
 *	  Where the remote statement is at hand, it gets the tag that names the
 *	  transaction and enlists the branch (tag.h): it is the first element of
 *	  fdw_private, in copies of the list and of the plan node, as plans are
 *	  shared and cached.  A branch counts as tagged once such a statement has
 *	  been executed.  COPY, rows routed to partitions and TRUNCATE make their
 *	  statements out of sight.
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
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "xa/branch.h"
#include "xa/coordinator.h"
#include "xa/fdw.h"
#include "xa/gid.h"
#include "xa/origin.h"
#include "xa/server.h"
#include "xa/snapshot.h"
#include "xa/tag.h"
#include "xa/unfinished.h"

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
	EState *estate = node->ss.ps.state;
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Bitmapset *relids = plan->fs_relids;
	int rti = -1;

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

/* To be called before postgres_fdw connects to the server, or uses a connection. */
static void
begin_access(Oid serverid)
{
	braid_xa_unfinished_await(serverid);
	braid_xa_branch_note_access(serverid);
}

/* The same where it is known on whose behalf. */
static void
begin_access_as(Oid serverid, Oid userid)
{
	braid_xa_snapshot_check_access(serverid, userid);
	begin_access(serverid);
}

static XaBranch *
note_write(Oid serverid, Oid userid)
{
	begin_access_as(serverid, userid);
	return braid_xa_branch_note_write(serverid, userid);
}

/* With use_remote_estimate, planning takes the remote snapshot. */
static void
estimate_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	begin_access(rel->serverid);
	original->GetForeignRelSize(root, rel, relid);
}

static bool
analyze_table(Relation rel, AcquireSampleRowsFunc *func, BlockNumber *pages)
{
	begin_access(server_of(rel));
	return original->AnalyzeForeignTable(rel, func, pages);
}

static List *
import_schema(ImportForeignSchemaStmt *stmt, Oid serverid)
{
	begin_access(serverid);
	return original->ImportForeignSchema(stmt, serverid);
}

/*
 * fdw_private with a tag in the remote statement, which names the current
 * transaction and, unless gid is NULL, enlists a branch; unchanged if there is
 * no statement where it is expected.
 */
static List *
tag_statement(List *fdw_private, const char *gid)
{
	List *tagged;
	char *text;

	if (fdw_private == NIL || !IsA(linitial(fdw_private), String))
		return fdw_private;
	text = braid_xa_tag_format(gid, braid_xa_origin_own());
	tagged = list_copy(fdw_private);
	linitial(tagged) = makeString(braid_xa_tag_append(strVal(linitial(fdw_private)), text));
	return tagged;
}

/*
 * Begins a scan.  Of a transaction that writes, all statements carry its name:
 * a mere reader, too, can be in somebody's way.
 */
static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	ForeignScan *copy;
	XaBranch *branch = NULL;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
	{
		original->BeginForeignScan(node, eflags);
		return;
	}
	begin_access_as(plan->fs_server, braid_compat_scan_user(node));
	if (scan_locks_rows(node))
		branch = note_write(plan->fs_server, braid_compat_scan_user(node));
	if (branch)
	{
		braid_xa_coordinator_introduce(branch, false);
		branch->named = braid_xa_branch_may_tag(branch);
	}
	if (braid_xa_origin_own() && !braid_xa_branch_enlisting())
	{
		copy = makeNode(ForeignScan);
		memcpy(copy, plan, sizeof(ForeignScan));
		copy->fdw_private = tag_statement(plan->fdw_private, NULL);
		node->ss.ps.plan = (Plan *) copy;
	}
	original->BeginForeignScan(node, eflags);
	node->ss.ps.plan = (Plan *) plan;
	move_in_front();
}

/*
 * Commands are run through a table that everybody may update (execute.c), so it
 * is here that USAGE on the server is asked for.
 */
static void
check_execute_privilege(Relation rel, Oid userid)
{
	if (braid_xa_server_is_execute_table(rel) &&
		!braid_compat_may_use_server(server_of(rel), userid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER,
					   GetForeignServer(server_of(rel))->servername);
}

/*
 * fdw_private of a statement that writes, with the tag of the branch; *enlists
 * says whether that has the gid.
 */
static List *
tag_write(List *fdw_private, XaBranch *branch, bool *enlists)
{
	char gid[BRAID_GID_LEN];
	List *tagged;

	*enlists = false;
	if (!branch)
		return fdw_private;
	braid_xa_coordinator_introduce(branch, false);
	*enlists = braid_xa_coordinator_tag(branch, gid);
	tagged = tag_statement(fdw_private, *enlists ? gid : NULL);
	if (tagged == fdw_private)
		*enlists = false;
	else
		branch->named = braid_xa_branch_may_tag(branch);
	return tagged;
}

/* Tagged statements that were not executed yet; in TopTransactionContext. */
typedef struct PendingTag
{
	void *state; /* ForeignScanState or ResultRelInfo */
	XaBranch *branch;
} PendingTag;

static List *pending_tags = NIL;

static void
add_pending_tag(void *state, XaBranch *branch)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	PendingTag *tag = palloc(sizeof(PendingTag));

	tag->state = state;
	tag->branch = branch;
	pending_tags = lappend(pending_tags, tag);
	MemoryContextSwitchTo(old);
}

/* The statement was executed, or (executed false) never will be. */
static void
settle_pending_tag(void *state, bool executed)
{
	ListCell *lc;

	foreach (lc, pending_tags)
	{
		PendingTag *tag = lfirst(lc);

		if (tag->state != state)
			continue;
		if (executed)
			tag->branch->tagged = true;
		pending_tags = foreach_delete_current(pending_tags, lc);
	}
}

static void
begin_direct_modify(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	ForeignScan *copy;
	XaBranch *branch;
	bool enlists;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
	{
		original->BeginDirectModify(node, eflags);
		return;
	}
	check_execute_privilege(node->resultRelInfo->ri_RelationDesc, braid_compat_scan_user(node));
	branch = note_write(plan->fs_server, braid_compat_scan_user(node));
	copy = makeNode(ForeignScan);
	memcpy(copy, plan, sizeof(ForeignScan));
	copy->fdw_private = tag_write(plan->fdw_private, branch, &enlists);
	if (enlists)
		add_pending_tag(node, branch);
	node->ss.ps.plan = (Plan *) copy;
	original->BeginDirectModify(node, eflags);

	/* EXPLAIN shows the plan's own statement. */
	node->ss.ps.plan = (Plan *) plan;
	move_in_front();
}

static TupleTableSlot *
iterate_direct_modify(ForeignScanState *node)
{
	TupleTableSlot *slot = original->IterateDirectModify(node);

	if (pending_tags != NIL)
		settle_pending_tag(node, true);
	return slot;
}

static void
end_direct_modify(ForeignScanState *node)
{
	settle_pending_tag(node, false);
	original->EndDirectModify(node);
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *rri, List *fdw_private, int subplan_index,
			 int eflags)
{
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
	{
		Oid userid = braid_compat_modify_user(mtstate->ps.state, rri);
		XaBranch *branch;
		bool enlists;

		check_execute_privilege(rri->ri_RelationDesc, userid);
		branch = note_write(server_of(rri->ri_RelationDesc), userid);
		fdw_private = tag_write(fdw_private, branch, &enlists);
		if (enlists)
			add_pending_tag(rri, branch);
	}
	original->BeginForeignModify(mtstate, rri, fdw_private, subplan_index, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		move_in_front();
}

static TupleTableSlot *
exec_insert(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	slot = original->ExecForeignInsert(estate, rri, slot, plan_slot);
	if (pending_tags != NIL)
		settle_pending_tag(rri, true);
	return slot;
}

static TupleTableSlot **
exec_batch_insert(EState *estate, ResultRelInfo *rri, TupleTableSlot **slots,
				  TupleTableSlot **plan_slots, int *nslots)
{
	slots = original->ExecForeignBatchInsert(estate, rri, slots, plan_slots, nslots);
	if (pending_tags != NIL)
		settle_pending_tag(rri, true);
	return slots;
}

static TupleTableSlot *
exec_update(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	slot = original->ExecForeignUpdate(estate, rri, slot, plan_slot);
	if (pending_tags != NIL)
		settle_pending_tag(rri, true);
	return slot;
}

static TupleTableSlot *
exec_delete(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	slot = original->ExecForeignDelete(estate, rri, slot, plan_slot);
	if (pending_tags != NIL)
		settle_pending_tag(rri, true);
	return slot;
}

static void
end_modify(EState *estate, ResultRelInfo *rri)
{
	settle_pending_tag(rri, false);
	original->EndForeignModify(estate, rri);
}

/* Statements that an error or the end of the transaction has ended. */
static void
forget_pending_tags(XactEvent event)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		pending_tags = NIL;
}

static void
forget_aborted_tags(SubXactEvent event)
{
	/* Too many at worst: those branches are enlisted by statements. */
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending_tags = NIL;
}

/* COPY, and rows routed to a partition. */
static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	XaBranch *branch = note_write(server_of(rri->ri_RelationDesc),
								  braid_compat_modify_user(mtstate->ps.state, rri));

	braid_xa_coordinator_introduce(branch, true);
	original->BeginForeignInsert(mtstate, rri);
	move_in_front();
}

static void
truncate_tables(List *rels, DropBehavior behavior, bool restart_seqs)
{
	ListCell *lc;

	foreach (lc, rels)
		braid_xa_coordinator_introduce(note_write(server_of(lfirst(lc)), GetUserId()), true);
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
	routine = (FdwRoutine *) DatumGetPointer(postgres_fdw_function("postgres_fdw_handler")(fci));
	Assert(IsA(routine, FdwRoutine));
	return memcpy(MemoryContextAlloc(TopMemoryContext, sizeof(FdwRoutine)), routine,
				  sizeof(FdwRoutine));
}

Datum
braid_sql_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	if (!original)
		original = original_routine();
	memcpy(routine, original, sizeof(FdwRoutine));
	routine->GetForeignRelSize = estimate_size;
	routine->AnalyzeForeignTable = analyze_table;
	routine->ImportForeignSchema = import_schema;
	routine->BeginForeignScan = begin_scan;
	routine->BeginDirectModify = begin_direct_modify;
	routine->IterateDirectModify = iterate_direct_modify;
	routine->EndDirectModify = end_direct_modify;
	routine->BeginForeignModify = begin_modify;
	routine->ExecForeignInsert = exec_insert;
	routine->ExecForeignBatchInsert = exec_batch_insert;
	routine->ExecForeignUpdate = exec_update;
	routine->ExecForeignDelete = exec_delete;
	routine->EndForeignModify = end_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->ExecForeignTruncate = truncate_tables;
	PG_RETURN_POINTER(routine);
}

Datum
braid_sql_fdw_validator(PG_FUNCTION_ARGS)
{
	/* All options are postgres_fdw's. */
	return DirectFunctionCall2(postgres_fdw_function("postgres_fdw_validator"), PG_GETARG_DATUM(0),
							   PG_GETARG_DATUM(1));
}

void
braid_xa_fdw_init(void)
{
	braid_xact_register(BRAID_XACT_LAST, forget_pending_tags);
	braid_xact_register_subxact(forget_aborted_tags);
}
