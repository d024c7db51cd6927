/*
 * rows.c
 *	  Rows and messages that deltas and pieces consist of.
 *
 * NOTES
 *	  What belongs to a cycle goes with its transaction.  What is held must
 *	  outlive it: it has a memory context and a resource owner of its own, since
 *	  it may be in temporary files.  How much of the rows is kept in memory says
 *	  memory.c.
 *
 *	  A message is stored as a row as well, with the transaction that wrote it,
 *	  so that messages of many transactions can be put together.  The columns are
 *	  such that the bytes of the message begin at a multiple of MAXIMUM_ALIGNOF,
 *	  which is what who opens them asks for: the columns before it have 28 bytes,
 *	  and the header of a varlena 4.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "capture/rows.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define TRANSACTION_MEM_KB 256

static MemoryContext held_context;
static ResourceOwner held_owner;

/* Of the rows that messages are stored as; made when it is first needed, in a transaction. */
static TupleDesc message_desc = NULL;

enum
{
	MESSAGE_LSN,
	MESSAGE_COMMITTED,
	MESSAGE_XID,
	MESSAGE_STREAM,
	MESSAGE_NROWS,
	MESSAGE_BYTES,
	MESSAGE_COLUMNS
};

static TupleDesc
describe_messages(void)
{
	MemoryContext old;
	TupleDesc desc;

	if (message_desc)
		return message_desc;
	old = MemoryContextSwitchTo(TopMemoryContext);
	desc = CreateTemplateTupleDesc(MESSAGE_COLUMNS);
	TupleDescInitEntry(desc, MESSAGE_LSN + 1, "lsn", LSNOID, -1, 0);
	TupleDescInitEntry(desc, MESSAGE_COMMITTED + 1, "committed", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(desc, MESSAGE_XID + 1, "xid", XIDOID, -1, 0);
	TupleDescInitEntry(desc, MESSAGE_STREAM + 1, "stream", OIDOID, -1, 0);
	TupleDescInitEntry(desc, MESSAGE_NROWS + 1, "nrows", INT4OID, -1, 0);
	TupleDescInitEntry(desc, MESSAGE_BYTES + 1, "bytes", BYTEAOID, -1, 0);
	braid_compat_store_plain(desc, MESSAGE_BYTES + 1);
	MemoryContextSwitchTo(old);
	message_desc = desc;
	return desc;
}

void
braid_rows_setup(void)
{
	held_context =
		AllocSetContextCreate(TopMemoryContext, "braid held rows", ALLOCSET_DEFAULT_SIZES);
	held_owner = ResourceOwnerCreate(NULL, "braid held rows");
}

Tuplestorestate *
braid_rows_begin(RowsOwner owner, int *memory)
{
	bool held = owner != ROWS_OF_CYCLE;
	int kb = braid_capture_take_memory(owner == ROWS_OF_TRANSACTION ? TRANSACTION_MEM_KB : INT_MAX);
	MemoryContext old_context = MemoryContextSwitchTo(held ? held_context : TopTransactionContext);
	ResourceOwner old_owner = CurrentResourceOwner;
	Tuplestorestate *rows;

	CurrentResourceOwner = held ? held_owner : TopTransactionResourceOwner;
	rows = tuplestore_begin_heap(false, held, kb);
	CurrentResourceOwner = old_owner;
	MemoryContextSwitchTo(old_context);
	*memory += kb;
	return rows;
}

void
braid_rows_put(BraidDelta *delta, RowsOwner owner, TupleDesc desc, Datum *values, bool *nulls)
{
	if (delta->rows == NULL)
		delta->rows = braid_rows_begin(owner, &delta->memory);
	tuplestore_putvalues(delta->rows, desc, values, nulls);
	delta->nrows++;
}

void
braid_rows_begin_reading(RowReader *reader, Tuplestorestate *rows, TupleDesc desc)
{
	reader->rows = rows;
	reader->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	reader->values = reader->slot->tts_values;
	reader->nulls = reader->slot->tts_isnull;
}

bool
braid_rows_next(RowReader *reader)
{
	if (tuplestore_gettupleslot(reader->rows, true, false, reader->slot))
	{
		slot_getallattrs(reader->slot);
		return true;
	}
	braid_rows_end_reading(reader);
	return false;
}

void
braid_rows_end_reading(RowReader *reader)
{
	if (reader->slot)
		ExecDropSingleTupleTableSlot(reader->slot);
	reader->slot = NULL;
}

void
braid_rows_add_flags(BraidDelta *to, const BraidDelta *from)
{
	to->retracts |= from->retracts;
	to->recompute |= from->recompute;
	to->incomplete |= from->incomplete;
}

static void
swap_rows(BraidDelta *a, BraidDelta *b)
{
	BraidDelta was = *a;

	a->rows = b->rows;
	a->nrows = b->nrows;
	a->memory = b->memory;
	b->rows = was.rows;
	b->nrows = was.nrows;
	b->memory = was.memory;
}

/* The fewer are copied to the others. */
void
braid_rows_join(BraidDelta *to, BraidDelta *from, TupleDesc desc)
{
	TupleTableSlot *slot;

	if (from->nrows > to->nrows)
		swap_rows(to, from);
	if (from->rows == NULL)
		return;
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(from->rows, true, false, slot))
		tuplestore_puttupleslot(to->rows, slot);
	ExecDropSingleTupleTableSlot(slot);
	to->nrows += from->nrows;
}

/* ---------------------------------------------------------------- messages */

void
braid_rows_append_message(Tuplestorestate *messages, const SourceMessage *m)
{
	Datum values[MESSAGE_COLUMNS];
	bool nulls[MESSAGE_COLUMNS] = {false};

	values[MESSAGE_LSN] = LSNGetDatum(m->lsn);
	values[MESSAGE_COMMITTED] = TimestampTzGetDatum(m->committed);
	values[MESSAGE_XID] = TransactionIdGetDatum(m->xid);
	values[MESSAGE_STREAM] = ObjectIdGetDatum(m->stream);
	values[MESSAGE_NROWS] = Int32GetDatum(m->nrows);
	values[MESSAGE_BYTES] = PointerGetDatum(m->bytes);
	tuplestore_putvalues(messages, describe_messages(), values, nulls);
}

void
braid_rows_put_message(BraidDelta *delta, RowsOwner owner, const SourceMessage *m)
{
	if (delta->batches == NULL)
		delta->batches = braid_rows_begin(owner, &delta->memory);
	braid_rows_append_message(delta->batches, m);
	delta->nrows += m->nrows;
}

TupleTableSlot *
braid_rows_make_slot(void)
{
	return MakeSingleTupleTableSlot(describe_messages(), &TTSOpsMinimalTuple);
}

bool
braid_rows_next_message(Tuplestorestate *messages, TupleTableSlot *slot, SourceMessage *m)
{
	/* A row that is read from a file is the slot's, which frees it. */
	MemoryContext old = MemoryContextSwitchTo(slot->tts_mcxt);
	bool found = tuplestore_gettupleslot(messages, true, false, slot);

	MemoryContextSwitchTo(old);
	if (!found)
		return false;
	slot_getallattrs(slot);
	m->lsn = DatumGetLSN(slot->tts_values[MESSAGE_LSN]);
	m->committed = DatumGetTimestampTz(slot->tts_values[MESSAGE_COMMITTED]);
	m->xid = DatumGetTransactionId(slot->tts_values[MESSAGE_XID]);
	m->stream = DatumGetObjectId(slot->tts_values[MESSAGE_STREAM]);
	m->nrows = DatumGetInt32(slot->tts_values[MESSAGE_NROWS]);
	m->bytes = (struct varlena *) DatumGetPointer(slot->tts_values[MESSAGE_BYTES]);
	Assert(VARATT_IS_4B_U(m->bytes));
	Assert((uintptr_t) VARDATA(m->bytes) % MAXIMUM_ALIGNOF == 0);
	return true;
}

static void
tell_place(void *arg)
{
	MessagePlace *place = arg;
	char *name = get_rel_name(place->stream);

	if (name)
		errcontext("message of stream \"%s\" at %X/%X", name, LSN_FORMAT_ARGS(place->lsn));
	else
		errcontext("message of a stream at %X/%X", LSN_FORMAT_ARGS(place->lsn));
}

void
braid_rows_begin_place(MessagePlace *place, XLogRecPtr lsn, Oid stream)
{
	place->lsn = lsn;
	place->stream = stream;
	place->callback.callback = tell_place;
	place->callback.arg = place;
	place->callback.previous = error_context_stack;
	error_context_stack = &place->callback;
}

void
braid_rows_end_place(MessagePlace *place)
{
	error_context_stack = place->callback.previous;
}

void
braid_rows_free(BraidDelta *delta)
{
	if (delta->reader)
		ExecDropSingleTupleTableSlot(delta->reader);
	if (delta->rows)
		tuplestore_end(delta->rows);
	if (delta->batches)
		tuplestore_end(delta->batches);
	braid_capture_return_memory(delta->memory);
	memset(delta, 0, sizeof(*delta));
}
