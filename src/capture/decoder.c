/*
 * decoder.c
 *	  Logical decoding in this process, into the sources' deltas.
 *
 * NOTES
 *	  The slot's output plugin is this library, and its callbacks write into
 *	  memory.  What has to be right and does not show when it is not:
 *
 *	  - The context is made inside a transaction.  Outside, PostgreSQL marks the
 *		process as one that only decodes, and then ignores the snapshots and
 *		transaction ids of its ordinary transactions.
 *	  - It is made in TopMemoryContext, and the reader runs in the context's
 *		memory, as it allocates buffers on demand that it keeps.
 *	  - read_local_xlog_page_no_wait writes through the reader's private_data,
 *		where logical.c puts the decoding context.
 *	  - While a callback runs, catalogs are seen as of the decoded change.
 *		Entries that this leaves in the caches are wrong for ordinary commands
 *		if the catalogs have changed since, and the other way round.  So the
 *		caches are flushed around decoding when a relation cache invalidation
 *		was seen, and only then: it costs more than an ordinary cycle.
 *	  - Our own commits carry DoNotReplicateId as their origin, and are filtered.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "capture/decoder.h"
#include "capture/direct.h"
#include "capture/large.h"
#include "capture/message.h"
#include "capture/move.h"
#include "capture/record.h"
#include "capture/source.h"
#include "common/compat.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "replication/slot.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

static LogicalDecodingContext *decoding = NULL;
static ReadLocalXLogPageNoWaitPrivate reader_private;

/* A relation was invalidated since the caches were last flushed. */
static bool catalog_changed = false;
static bool flushing = false;
static bool allowed = false;

/* Values that are detoasted on their way into a delta; reset for each row. */
static MemoryContext row_context;

/* ---------------------------------------------------------------- callbacks */

static void
startup_cb(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
	ctx->streaming = braid_capture_in_progress;
}

static bool
filter_by_origin_cb(LogicalDecodingContext *ctx, RepOriginId origin)
{
	return origin == DoNotReplicateId;
}

static void
begin_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	braid_source_begin_transaction(txn->xid, txn->final_lsn, txn->xact_time.commit_time);
}

static void
commit_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	braid_large_commit(txn);
}

/*
 * One column of a row, as it may be stored away.  old is the row before an
 * update: a value that is toasted and did not change is only there, as the old
 * row was flattened when it was logged.
 */
static Datum
stored_value(Form_pg_attribute att, Datum value, bool *isnull, Datum old, bool old_isnull)
{
	struct varlena *v;

	if (*isnull || att->attlen != -1)
		return value;
	v = (struct varlena *) DatumGetPointer(value);
	if (VARATT_IS_EXTERNAL_ONDISK(v))
	{
		*isnull = old_isnull;
		return old;
	}
	if (VARATT_IS_EXTERNAL(v))
		return PointerGetDatum(detoast_external_attr(v));
	return value;
}

/* The columns that the source wants of a row, after the weight. */
static void
extract(SourceMember *m, TupleDesc desc, HeapTuple tuple, int64 weight, Datum *values, bool *nulls)
{
	TupleDesc want = m->source->desc;

	values[0] = Int64GetDatum(weight);
	nulls[0] = false;
	for (int i = 1; i < want->natts; i++)
	{
		AttrNumber attnum = m->attnums[i - 1];

		nulls[i] = true;
		values[i] = (Datum) 0;
		if (attnum > 0 && attnum <= desc->natts)
			values[i] = heap_getattr(tuple, attnum, desc, &nulls[i]);
	}
}

static bool
same_row(TupleDesc desc, Datum *a, bool *anull, Datum *b, bool *bnull)
{
	for (int i = 1; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (anull[i] != bnull[i])
			return false;
		if (!anull[i] && !datumIsEqual(a[i], b[i], att->attbyval, att->attlen))
			return false;
	}
	return true;
}

static void
put_row(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls)
{
	if (braid_large_is_coming())
		braid_large_put(delta, desc, values, nulls);
	else
		braid_source_put(delta, desc, values, nulls);
}

static void
put_change(SourceMember *m, BraidDelta *delta, TupleDesc desc, HeapTuple before, HeapTuple after,
		   int64 went, XLogRecPtr lsn)
{
	TupleDesc want = m->source->desc;
	Datum old[MaxTupleAttributeNumber];
	Datum new[MaxTupleAttributeNumber];
	bool old_null[MaxTupleAttributeNumber];
	bool new_null[MaxTupleAttributeNumber];
	MemoryContext old_context = MemoryContextSwitchTo(row_context);

	MemoryContextReset(row_context);
	if (before)
		extract(m, desc, before, went, old, old_null);
	if (after)
	{
		extract(m, desc, after, 1, new, new_null);
		for (int i = 1; i < want->natts; i++)
			new[i] = stored_value(TupleDescAttr(want, i), new[i], &new_null[i],
								  before ? old[i] : (Datum) 0, before ? old_null[i] : true);
	}
	if (m->source->is_logged && before)
		braid_source_note_change(m->source, lsn, old, old_null);
	if (m->source->is_logged && after)
		braid_source_note_change(m->source, lsn, new, new_null);
	MemoryContextSwitchTo(old_context);
	if (before && after && same_row(want, old, old_null, new, new_null))
		return;
	if (before)
	{
		put_row(delta, want, old, old_null);
		delta->retracts = true;
	}
	if (after)
		put_row(delta, want, new, new_null);
}

/* The weight of a row that goes. */
static int64
weight_of(SourceMember *m, ReorderBufferChange *change)
{
	bool deleted = change->action == REORDER_BUFFER_CHANGE_DELETE && !braid_move_is(change->lsn);

	return deleted && m->source->tells_deletes ? BRAID_DELETED : -1;
}

static BraidDelta *
target_of(SourceMember *m, ReorderBufferChange *change)
{
	if (braid_large_is_coming())
		return braid_large_target(m->source, change->txn->xid);
	return braid_source_target(m->source);
}

static void
put_change_of(SourceMember *m, Relation rel, ReorderBufferChange *change)
{
	BraidDelta *delta = target_of(m, change);
	HeapTuple before;
	HeapTuple after;

	if (!delta || delta->recompute)
		return;
	before = braid_compat_old_tuple(change);
	after = braid_compat_new_tuple(change);
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			put_change(m, delta, RelationGetDescr(rel), NULL, after, 0, change->lsn);
			break;
		case REORDER_BUFFER_CHANGE_UPDATE:
		case REORDER_BUFFER_CHANGE_DELETE:
			if (before == NULL || rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
				delta->incomplete = true;
			else
				put_change(m, delta, RelationGetDescr(rel), before,
						   change->action == REORDER_BUFFER_CHANGE_UPDATE ? after : NULL,
						   weight_of(m, change), change->lsn);
			break;
		default:
			break;
	}
}

static void
change_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
		  ReorderBufferChange *change)
{
	for (SourceMember *m = braid_source_member(RelationGetRelid(rel)); m; m = m->also)
		put_change_of(m, rel, change);
	if (change->action == REORDER_BUFFER_CHANGE_DELETE)
		braid_move_forget(change->lsn);
}

static void
truncate_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
			Relation relations[], ReorderBufferChange *change)
{
	for (int i = 0; i < nrelations; i++)
		for (SourceMember *m = braid_source_member(RelationGetRelid(relations[i])); m; m = m->also)
		{
			BraidDelta *delta = target_of(m, change);

			if (delta)
				delta->recompute = true;
		}
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	if (!allowed)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("output plugin \"braid\" cannot be used outside braid's capture worker"),
				 errhint("Read a continuous view instead, or use another output plugin.")));
	cb->startup_cb = startup_cb;
	cb->filter_by_origin_cb = filter_by_origin_cb;
	cb->begin_cb = begin_cb;
	cb->change_cb = change_cb;
	cb->truncate_cb = truncate_cb;
	cb->commit_cb = commit_cb;
	cb->stream_change_cb = change_cb;
	cb->stream_truncate_cb = truncate_cb;
	braid_large_set_callbacks(cb);
}

/* ---------------------------------------------------------------- reading */

static void
note_invalidation(Datum arg, Oid relid)
{
	if (!flushing)
		catalog_changed = true;
}

static void
flush_caches(void)
{
	flushing = true;
	InvalidateSystemCaches();
	flushing = false;
}

bool
braid_decoder_is_flushing(void)
{
	return flushing;
}

void
braid_decoder_setup(void)
{
	allowed = true;
	row_context =
		AllocSetContextCreate(TopMemoryContext, "braid decoded row", ALLOCSET_DEFAULT_SIZES);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
}

void
braid_decoder_open(void)
{
	MemoryContext old;

	StartTransactionCommand();
	old = MemoryContextSwitchTo(TopMemoryContext);
	decoding = CreateDecodingContext(InvalidXLogRecPtr, NIL, false,
									 XL_ROUTINE(.page_read = read_local_xlog_page_no_wait,
												.segment_open = wal_segment_open,
												.segment_close = wal_segment_close),
									 NULL, NULL, NULL);
	decoding->reader->private_data = &reader_private;
	XLogBeginRead(decoding->reader, MyReplicationSlot->data.restart_lsn);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
}

void
braid_decoder_close(void)
{
	if (decoding)
		FreeDecodingContext(decoding);
	decoding = NULL;
	braid_large_forget();
	braid_message_forget_all();
}

bool
braid_decoder_is_open(void)
{
	return decoding != NULL;
}

/* Those who keep something of transactions in progress hear of their ends. */
static void
tell_ends(void)
{
	XLogReaderState *record = decoding->reader;
	bool any_message = braid_message_any();
	bool any_large = braid_large_any();
	TransactionId oldest;
	RecordedEnd end;

	if (!any_message && !any_large)
		return;
	if (braid_record_is_end(record, &end))
	{
		if (any_message)
			braid_message_end(decoding, &end);
		if (any_large)
			braid_large_end(&end);
	}
	else if (braid_record_tells_oldest(record, &oldest))
	{
		if (any_message)
			braid_message_forget_older(oldest);
		if (any_large)
			braid_large_forget_older(oldest);
	}
}

/* False at the end of WAL. */
static bool
read_record(void)
{
	XLogReaderState *reader = decoding->reader;
	MemoryContext old = MemoryContextSwitchTo(decoding->context);
	XLogRecord *record;
	char *message = NULL;

	reader_private.end_of_wal = false;
	record = XLogReadRecord(reader, &message);
	MemoryContextSwitchTo(old);
	if (record)
	{
		braid_move_note(reader);
		braid_source_set_gid(braid_record_gid(reader));
		if (!braid_message_take(decoding) && !braid_direct_take(decoding))
		{
			LogicalDecodingProcessRecord(decoding, reader);
			tell_ends();
			braid_large_mend(decoding);
		}
		return true;
	}
	if (reader_private.end_of_wal)
		return false;
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("could not read WAL at %X/%X: %s", LSN_FORMAT_ARGS(reader->EndRecPtr),
						   message ? message : "no record")));
}

XLogRecPtr
braid_decoder_read(XLogRecPtr upto)
{
	bool flush = catalog_changed || braid_large_any_ddl();

	catalog_changed = false;
	if (flush)
		flush_caches();
	while (decoding->reader->EndRecPtr < upto)
	{
		/* Who is visible but was not read would be taken for merged. */
		if (!read_record())
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("WAL ends at %X/%X, and not at %X/%X",
							LSN_FORMAT_ARGS(decoding->reader->EndRecPtr), LSN_FORMAT_ARGS(upto))));
		CHECK_FOR_INTERRUPTS();
	}
	if (flush || catalog_changed)
		flush_caches();
	catalog_changed = false;
	return decoding->reader->EndRecPtr;
}
