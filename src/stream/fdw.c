/*
 * fdw.c
 *	  The foreign data wrapper braid_stream: rows come in, and none are read.
 *
 * NOTES
 *	  The executor leaves it to a wrapper to check constraints, as the data are
 *	  elsewhere; those of a stream are nowhere else, and are checked here, as are the
 *	  policies of a partitioned table whose rows are routed to one.
 *
 *	  Rows are taken one by one: they are copied into the pack as they are, whereas
 *	  the executor's batches would copy each before that.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "stream/pending.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(braid_sql_stream_handler);
PG_FUNCTION_INFO_V1(braid_sql_stream_validator);

/* ri_FdwState */
typedef struct StreamInsert
{
	BraidStreamWriter writer;
	WCOKind policy; /* which policies of a partitioned table hold */
	bool check_constraints;
	bool check_partition; /* rows may not have been routed here by their values */
} StreamInsert;

/* ---------------------------------------------------------------- what is refused */

/* Planning of whatever would read the stream: SELECT, and UPDATE and DELETE of it. */
static void
refuse_scan(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	bool is_target = bms_is_member(rel->relid, root->all_result_relids);

	if (is_target && root->parse->commandType != CMD_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg(root->parse->commandType == CMD_DELETE ? "cannot delete from stream \"%s\""
															   : "cannot update stream \"%s\"",
						get_rel_name(relid)),
				 errdetail("A stream keeps no rows: what was inserted is in the views on it."),
				 errhint("Rows that are to change belong into a table, which continuous views can "
						 "be made on as well.")));
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot read from stream \"%s\"", get_rel_name(relid)),
					errdetail("A stream keeps no rows: what is inserted goes to the views on it."),
					errhint("Make the query a continuous view, by CREATE MATERIALIZED VIEW ... "
							"WITH (braid.continuous) AS ..., and read that: it has what is "
							"inserted from then on.")));
}

static void
refuse_truncate(List *rels, DropBehavior behavior, bool restart_seqs)
{
	Relation rel = linitial(rels);

	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot truncate stream \"%s\"", RelationGetRelationName(rel)),
					errdetail("A stream keeps no rows: what was inserted is in the views on it."),
					errhint("Drop these views and create them anew to begin without rows.")));
}

static int
permitted_commands(Relation rel)
{
	return 1 << CMD_INSERT;
}

/* ---------------------------------------------------------------- rows */

static void
begin(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	Relation rel = rri->ri_RelationDesc;
	bool is_routed = rri->ri_RootResultRelInfo != NULL;
	bool may_change = rri->ri_TrigDesc && rri->ri_TrigDesc->trig_insert_before_row;
	StreamInsert *insert = palloc0(sizeof(StreamInsert));

	braid_pending_begin(&insert->writer, rel);
	insert->policy = mtstate->operation == CMD_UPDATE ? WCO_RLS_UPDATE_CHECK : WCO_RLS_INSERT_CHECK;
	insert->check_constraints = RelationGetDescr(rel)->constr != NULL;
	insert->check_partition = rel->rd_rel->relispartition && (!is_routed || may_change);
	rri->ri_FdwState = insert;
}

/* INSERT. */
static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *rri, List *fdw_private, int subplan_index,
			 int eflags)
{
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		begin(mtstate, rri);
}

static TupleTableSlot *
insert_row(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	StreamInsert *insert = rri->ri_FdwState;
	MemoryContext old;

	if (rri->ri_WithCheckOptions != NIL)
		ExecWithCheckOptions(insert->policy, rri, slot, estate);
	if (insert->check_constraints)
		ExecConstraints(rri, slot, estate);
	if (insert->check_partition)
		ExecPartitionCheck(rri, slot, estate, true);
	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	braid_pending_add(&insert->writer, slot->tts_values, slot->tts_isnull);
	MemoryContextSwitchTo(old);
	return slot;
}

Datum
braid_sql_stream_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = refuse_scan;
	routine->ExecForeignTruncate = refuse_truncate;
	routine->IsForeignRelUpdatable = permitted_commands;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin;
	routine->ExecForeignInsert = insert_row;
	PG_RETURN_POINTER(routine);
}

/* There is nothing to choose: neither of the wrapper, nor a server, a stream or a column. */
Datum
braid_sql_stream_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	DefElem *def;

	if (options == NIL)
		PG_RETURN_VOID();
	def = linitial(options);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", def->defname), errhint("Streams have no options.")));
}
