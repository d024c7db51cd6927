/*
 * merge.c
 *	  The merge of changes into the rows of a state.
 *
 * NOTES
 *	  Changes are merged by INSERT ... ON CONFLICT ... DO UPDATE, as PostgreSQL plans it.
 *	  Its executor has to be prepared for others that write the same rows: it begins a
 *	  scan of the index for each row, locks what it finds, which is logged, and then
 *	  updates it.  Nobody but the worker writes states.  So here the source of the plan is run
 *	  by itself, one scan of the index is sent from key to key, and the row that it finds is
 *	  updated at once.  Rows that are not found are inserted many at a time.  What is
 *	  assigned is evaluated as the plan has it.
 *
 *	  If somebody writes the state all the same (guard.c says who can), it is an error, as
 *	  it is in the executor: a row that was inserted since S violates the index, and one
 *	  that was updated is not updated here.  Nor may one key come twice.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/executor.h"
#include "view/inserter.h"
#include "view/merge.h"

typedef struct Merge
{
	DestReceiver pub;
	ModifyTable *plan;
	Relation rel;
	BraidInserter *inserter;
	Snapshot snapshot;

	Relation index;
	IndexScanDesc scan;
	int nkeys;
	AttrNumber *columns; /* of the keys */
	ScanKeyData keys[INDEX_MAX_KEYS];

	TupleTableSlot *kept; /* the row that is there, */
	TupleTableSlot *merged;
	ProjectionInfo *assignments; /* and what makes the one of the other */
	int64 nupdated;
} Merge;

/* ---------------------------------------------------------------- what is run */

/* Whether the statement is a merge, as far as its plan says. */
static bool
is_merge(PlannedStmt *stmt)
{
	ModifyTable *plan = (ModifyTable *) stmt->planTree;

	return IsA(plan, ModifyTable) && plan->operation == CMD_INSERT &&
		   plan->onConflictAction == ONCONFLICT_UPDATE && plan->onConflictWhere == NULL &&
		   plan->returningLists == NIL && plan->withCheckOptionLists == NIL &&
		   list_length(plan->arbiterIndexes) == 1 && stmt->subplans == NIL &&
		   !stmt->hasModifyingCTE;
}

/* The same without writing: a SELECT of the rows that would be inserted. */
static PlannedStmt *
source_of(PlannedStmt *stmt)
{
	PlannedStmt *source = makeNode(PlannedStmt);

	*source = *stmt;
	source->commandType = CMD_SELECT;
	source->planTree = outerPlan(stmt->planTree);
	source->resultRelations = NIL;
	return source;
}

/* ---------------------------------------------------------------- one row */

/* Finds the row with the keys of another one. */
static bool
find(Merge *m, TupleTableSlot *row)
{
	for (int i = 0; i < m->nkeys; i++)
	{
		ScanKey key = &m->keys[i];
		bool isnull;

		key->sk_argument = slot_getattr(row, m->columns[i], &isnull);
		key->sk_flags = isnull ? SK_ISNULL | SK_SEARCHNULL : 0;
	}
	index_rescan(m->scan, m->keys, m->nkeys, NULL, 0);
	return index_getnext_slot(m->scan, ForwardScanDirection, m->kept);
}

static void
update(Merge *m, TupleTableSlot *row)
{
	ExprContext *context = m->assignments->pi_exprContext;

	context->ecxt_scantuple = m->kept;
	context->ecxt_innertuple = row; /* in the plan: excluded */
	ExecProject(m->assignments);
	braid_compat_update_row(m->inserter->result, &m->kept->tts_tid, m->merged, m->snapshot,
							m->inserter->estate);
	m->nupdated++;
}

static void
insert(Merge *m, TupleTableSlot *row)
{
	TupleTableSlot *slot = braid_inserter_next(m->inserter);
	int n = slot->tts_tupleDescriptor->natts;

	slot_getallattrs(row);
	memcpy(slot->tts_values, row->tts_values, sizeof(Datum) * n);
	memcpy(slot->tts_isnull, row->tts_isnull, sizeof(bool) * n);
	braid_inserter_add(m->inserter);
}

static bool
receive(TupleTableSlot *row, DestReceiver *self)
{
	Merge *m = (Merge *) self;

	CHECK_FOR_INTERRUPTS();
	ResetPerTupleExprContext(m->inserter->estate);
	if (find(m, row))
		update(m, row);
	else
		insert(m, row);
	return true;
}

static void
startup(DestReceiver *self, int operation, TupleDesc type)
{
}

static void
do_nothing(DestReceiver *self)
{
}

/* ---------------------------------------------------------------- begin and end */

static void
begin_search(Merge *m)
{
	Form_pg_index form;

	m->index = index_open(linitial_oid(m->plan->arbiterIndexes), RowExclusiveLock);
	form = m->index->rd_index;
	m->nkeys = form->indnkeyatts;
	m->columns = form->indkey.values;
	for (int i = 0; i < m->nkeys; i++)
	{
		Oid type = m->index->rd_opcintype[i];
		Oid equal =
			get_opfamily_member(m->index->rd_opfamily[i], type, type, BTEqualStrategyNumber);

		if (!OidIsValid(equal) || m->columns[i] <= 0)
			elog(ERROR, "index \"%s\" is none of a state", RelationGetRelationName(m->index));
		ScanKeyEntryInitialize(&m->keys[i], 0, i + 1, BTEqualStrategyNumber, type,
							   m->index->rd_indcollation[i], get_opcode(equal), (Datum) 0);
	}
	m->scan = braid_compat_index_beginscan(m->rel, m->index, m->snapshot, m->nkeys);
}

static void
begin(Merge *m, Relation rel)
{
	ExprContext *context;

	m->pub = (DestReceiver){receive, startup, do_nothing, do_nothing, DestNone};
	m->rel = rel;
	m->snapshot = GetActiveSnapshot();
	m->inserter = braid_inserter_begin(rel);
	begin_search(m);
	context = GetPerTupleExprContext(m->inserter->estate);
	m->kept = table_slot_create(rel, NULL);
	m->merged = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	m->assignments =
		ExecBuildUpdateProjection(m->plan->onConflictSet, true, m->plan->onConflictCols,
								  RelationGetDescr(rel), context, m->merged, NULL);
}

/* Returns the number of rows. */
static int64
end(Merge *m)
{
	index_endscan(m->scan);
	index_close(m->index, NoLock);
	ExecDropSingleTupleTableSlot(m->kept);
	ExecDropSingleTupleTableSlot(m->merged);
	return m->nupdated + (int64) braid_inserter_end(m->inserter);
}

static int64
run(Merge *m, Relation rel, PlannedStmt *stmt, const char *sql, QueryEnvironment *environment)
{
	QueryDesc *query = braid_executor_start(source_of(stmt), sql, environment, &m->pub);
	int64 nrows;

	begin(m, rel);
	braid_compat_executor_run_once(query);
	nrows = end(m);
	braid_executor_end(query);
	return nrows;
}

bool
braid_merge_run(PlannedStmt *stmt, const char *sql, QueryEnvironment *environment, int64 *processed)
{
	Merge m = {.plan = (ModifyTable *) stmt->planTree};
	Relation rel;
	bool can;

	if (!is_merge(stmt))
		return false;
	rel = table_open(rt_fetch(linitial_int(stmt->resultRelations), stmt->rtable)->relid,
					 RowExclusiveLock);
	can = braid_inserter_can_take(rel);
	if (can)
		*processed += run(&m, rel, stmt, sql, environment);
	table_close(rel, NoLock);
	return can;
}
