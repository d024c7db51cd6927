/*
 * bulk.c
 *	  Filling a table by a query that may run in parallel.
 *
 * NOTES
 *	  PostgreSQL runs no INSERT in parallel, but any SELECT, whoever takes its
 *	  rows.  So the SELECT of an INSERT ... SELECT is run for itself, as CREATE
 *	  TABLE AS does, into a receiver that inserts many rows at a time.  In
 *	  parallel mode a transaction cannot get its id, so it has one before.
 *
 *	  Progress is told in blocks, since a query that aggregates gives its first
 *	  row when it has read the last.  Each sequential scan of the plan is stepped
 *	  in on when it returns a row.  Where workers take part, the leader sees in
 *	  the scan that they share how far all of them are.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/compat.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "storage/bufmgr.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "view/bulk.h"
#include "view/executor.h"
#include "view/inserter.h"
#include "view/population.h"
#include "view/run.h"

#define REPORT_CALLS 256 /* rows between reports of progress */

static bool is_begun = false;
static bool is_parallel = false;

void
braid_bulk_begin(bool may_be_parallel)
{
	is_begun = true;
	is_parallel = may_be_parallel;
}

/* ---------------------------------------------------------------- the statement */

/* What a statement fills, and with what. */
typedef struct Filling
{
	Oid relid;
	Query *select;
	int ncolumns;
	AttrNumber *to;	  /* column of the table, */
	AttrNumber *from; /* and of the query */
} Filling;

/* The only item of FROM if it is a query; else NULL. */
static RangeTblEntry *
only_subquery(Query *insert, int *rtindex)
{
	List *from = insert->jointree->fromlist;
	RangeTblEntry *rte;

	if (list_length(from) != 1 || !IsA(linitial(from), RangeTblRef))
		return NULL;
	*rtindex = linitial_node(RangeTblRef, from)->rtindex;
	rte = rt_fetch(*rtindex, insert->rtable);
	return rte->rtekind == RTE_SUBQUERY ? rte : NULL;
}

/* False if the statement is more than a table filled from a query's columns. */
static bool
take_apart(Query *insert, Filling *f)
{
	RangeTblEntry *rte;
	int rtindex;
	ListCell *lc;

	if (insert->commandType != CMD_INSERT || insert->onConflict || insert->returningList ||
		insert->cteList || insert->jointree->quals)
		return false;
	rte = only_subquery(insert, &rtindex);
	if (rte == NULL)
		return false;
	f->relid = rt_fetch(insert->resultRelation, insert->rtable)->relid;
	f->select = rte->subquery;
	f->ncolumns = 0;
	f->to = palloc(sizeof(AttrNumber) * (list_length(insert->targetList) + 1));
	f->from = palloc(sizeof(AttrNumber) * (list_length(insert->targetList) + 1));
	foreach (lc, insert->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Var *var = (Var *) tle->expr;

		if (!IsA(var, Var) || var->varno != rtindex || var->varattno <= 0)
			return false;
		f->to[f->ncolumns] = tle->resno;
		f->from[f->ncolumns++] = var->varattno;
	}
	return true;
}

static bool
is_plain(Oid relid)
{
	Relation rel = table_open(relid, RowExclusiveLock);
	bool plain = braid_inserter_can_take(rel);

	table_close(rel, NoLock);
	return plain;
}

/* ---------------------------------------------------------------- the receiver */

typedef struct Receiver
{
	DestReceiver pub;
	Filling *filling;
	Relation rel;
	BraidInserter *inserter;
} Receiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc type)
{
}

static bool
receive(TupleTableSlot *row, DestReceiver *self)
{
	Receiver *r = (Receiver *) self;
	TupleTableSlot *slot = braid_inserter_next(r->inserter);
	uint64 before = r->inserter->nrows;

	slot_getallattrs(row);
	for (int i = 0; i < r->filling->ncolumns; i++)
	{
		slot->tts_values[r->filling->to[i] - 1] = row->tts_values[r->filling->from[i] - 1];
		slot->tts_isnull[r->filling->to[i] - 1] = row->tts_isnull[r->filling->from[i] - 1];
	}
	braid_inserter_add(r->inserter);
	if (r->inserter->nrows > before)
		braid_population_report_rows(r->inserter->nrows);
	return true;
}

static void
receiver_shutdown(DestReceiver *self)
{
}

static void
receiver_destroy(DestReceiver *self)
{
}

static void
open_receiver(Receiver *r, Filling *f)
{
	memset(r, 0, sizeof(*r));
	r->pub =
		(DestReceiver){receive, receiver_startup, receiver_shutdown, receiver_destroy, DestNone};
	r->filling = f;
	r->rel = table_open(f->relid, RowExclusiveLock);
	r->inserter = braid_inserter_begin(r->rel);
}

/* Returns the number of rows. */
static uint64
close_receiver(Receiver *r)
{
	uint64 nrows = braid_inserter_end(r->inserter);

	braid_population_report_rows(nrows);
	table_close(r->rel, NoLock);
	return nrows;
}

/* ---------------------------------------------------------------- progress */

/* The sequential scans of the running plan; in the memory of the statement. */
static List *scans = NIL;
static List *ended = NIL; /* of these */
static uint64 blocks_total = 0;
static int calls = 0;

static uint64
blocks_done(ScanState *scan)
{
	TableScanDesc desc = scan->ss_currentScanDesc;
	HeapScanDesc heap = (HeapScanDesc) desc;

	if (list_member_ptr(ended, scan))
		return RelationGetNumberOfBlocks(scan->ss_currentRelation);
	if (desc == NULL)
		return 0;
	if (desc->rs_parallel)
	{
		ParallelBlockTableScanDesc parallel = (ParallelBlockTableScanDesc) desc->rs_parallel;

		return Min(pg_atomic_read_u64(&parallel->phs_nallocated), parallel->phs_nblocks);
	}
	if (!heap->rs_inited)
		return 0;
	return heap->rs_cblock < heap->rs_startblock
			   ? heap->rs_nblocks - heap->rs_startblock + heap->rs_cblock
			   : heap->rs_cblock - heap->rs_startblock;
}

static void
report_blocks(void)
{
	uint64 done = 0;
	ListCell *lc;

	foreach (lc, scans)
		done += blocks_done(lfirst(lc));
	braid_population_report_blocks(Min(done, blocks_total), blocks_total);
}

/* In place of a scan's own function. */
static TupleTableSlot *
next_row(PlanState *scan)
{
	TupleTableSlot *slot = scan->ExecProcNodeReal(scan);

	if (TupIsNull(slot))
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(scans));

		ended = list_append_unique_ptr(ended, scan);
		MemoryContextSwitchTo(old);
		report_blocks();
	}
	else if (++calls % REPORT_CALLS == 0)
		report_blocks();
	return slot;
}

static bool
find_scans(PlanState *state, void *arg)
{
	if (IsA(state, SeqScanState))
	{
		Relation rel = ((ScanState *) state)->ss_currentRelation;

		if (rel->rd_tableam == GetHeapamTableAmRoutine())
		{
			state->ExecProcNode = next_row;
			scans = lappend(scans, state);
			blocks_total += RelationGetNumberOfBlocks(rel);
		}
	}
	return planstate_tree_walker(state, find_scans, arg);
}

static void
watch(QueryDesc *query)
{
	scans = ended = NIL;
	blocks_total = 0;
	braid_population_report_step((int64) query->plannedstmt->planTree->plan_rows);
	(void) find_scans(query->planstate, NULL);
	report_blocks();
}

/* ---------------------------------------------------------------- running */

static PlannedStmt *
plan_select(Query *select, const char *sql)
{
	List *rewritten = pg_rewrite_query(copyObject(select));

	if (list_length(rewritten) != 1)
		elog(ERROR, "could not rewrite \"%s\"", sql);
	return pg_plan_query(linitial(rewritten), sql, is_parallel ? CURSOR_OPT_PARALLEL_OK : 0, NULL);
}

/* Returns the number of rows. */
static int64
fill(Filling *f, const char *sql, QueryEnvironment *environment)
{
	PlannedStmt *plan = plan_select(f->select, sql);
	Receiver *receiver = palloc(sizeof(Receiver));
	QueryDesc *query;
	uint64 nrows;

	open_receiver(receiver, f);
	query = braid_executor_start(plan, sql, environment, &receiver->pub);
	watch(query);
	braid_compat_executor_run_once(query);
	nrows = close_receiver(receiver);
	braid_executor_end(query);
	return nrows;
}

bool
braid_bulk_run(const char *sql, int64 *processed)
{
	MemoryContext context;
	MemoryContext old;
	List *parsed;
	Query *query;
	QueryEnvironment *environment;
	Filling f;
	bool done = false;

	if (!is_begun)
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "braid bulk", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	parsed = pg_parse_query(sql);
	environment = braid_run_environment();
	if (list_length(parsed) == 1 && IsA(linitial_node(RawStmt, parsed)->stmt, InsertStmt))
	{
		query = parse_analyze_fixedparams(linitial(parsed), sql, NULL, 0, environment);
		if (take_apart(query, &f) && is_plain(f.relid))
		{
			*processed += fill(&f, sql, environment);
			done = true;
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return done;
}
