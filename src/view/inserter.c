/*
 * inserter.c
 *	  Rows for a table and its indexes, inserted many at a time.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "common/compat.h"
#include "executor/executor.h"
#include "utils/rel.h"
#include "view/inserter.h"

#define INSERTER_BYTES (512 * 1024)

bool
braid_inserter_can_take(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_att->constr == NULL &&
		   rel->trigdesc == NULL;
}

BraidInserter *
braid_inserter_begin(Relation rel)
{
	BraidInserter *inserter = palloc0(sizeof(BraidInserter));

	inserter->rel = rel;
	inserter->estate = CreateExecutorState();
	inserter->result = makeNode(ResultRelInfo);
	InitResultRelInfo(inserter->result, rel, 0, NULL, 0);
	ExecOpenIndices(inserter->result, false);
	inserter->bulk = GetBulkInsertState();
	(void) GetCurrentTransactionId();
	inserter->cid = GetCurrentCommandId(true);
	return inserter;
}

TupleTableSlot *
braid_inserter_next(BraidInserter *inserter)
{
	TupleTableSlot **slot = &inserter->slots[inserter->nslots];

	if (*slot == NULL)
		*slot = table_slot_create(inserter->rel, NULL);
	ExecClearTuple(*slot);
	memset((*slot)->tts_isnull, true, (*slot)->tts_tupleDescriptor->natts);
	return *slot;
}

static void
insert(BraidInserter *inserter)
{
	for (int i = 0; i < inserter->nslots; i++)
		inserter->slots[i]->tts_tableOid = RelationGetRelid(inserter->rel);
	table_multi_insert(inserter->rel, inserter->slots, inserter->nslots, inserter->cid, 0,
					   inserter->bulk);
	for (int i = 0; i < inserter->nslots; i++)
	{
		ResetPerTupleExprContext(inserter->estate);
		if (inserter->result->ri_NumIndices > 0)
			braid_compat_insert_index_tuples(inserter->result, inserter->slots[i],
											 inserter->estate);
		ExecClearTuple(inserter->slots[i]);
	}
	inserter->nrows += inserter->nslots;
	inserter->nslots = 0;
	inserter->size = 0;
}

void
braid_inserter_add(BraidInserter *inserter)
{
	TupleTableSlot *slot = inserter->slots[inserter->nslots++];
	bool should_free;

	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	inserter->size += ExecFetchSlotHeapTuple(slot, true, &should_free)->t_len;
	if (inserter->nslots == INSERTER_ROWS || inserter->size > INSERTER_BYTES)
		insert(inserter);
}

uint64
braid_inserter_end(BraidInserter *inserter)
{
	uint64 nrows;

	if (inserter->nslots > 0)
		insert(inserter);
	for (int i = 0; i < INSERTER_ROWS && inserter->slots[i]; i++)
		ExecDropSingleTupleTableSlot(inserter->slots[i]);
	FreeBulkInsertState(inserter->bulk);
	table_finish_bulk_insert(inserter->rel, 0);
	ExecCloseIndices(inserter->result);
	FreeExecutorState(inserter->estate);
	nrows = inserter->nrows;
	pfree(inserter);
	return nrows;
}
