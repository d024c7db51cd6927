/*
 * direct.c
 *	  Rows that many are logged of in one record, from the log to the sources.
 *
 * NOTES
 *	  COPY, and what else inserts many rows, logs them by the page.  Decoding makes
 *	  of each row a change, which it keeps until the commit, and looks up the table of
 *	  each, as catalogs were then.  That takes several times what is done with
 *	  the row here.  So such records go past the reorder buffer, if it is certain
 *	  to which table they belong: their rows are taken at once, and kept with those
 *	  of large transactions (large.c), by subtransaction, until the commit.
 *
 *	  Whose file is it?  A record names a file.  In a cycle all tables are locked, and
 *	  nobody is rewriting them: so it is noted which file the table has, and the
 *	  position P where the log ends.  What is inserted into this file after P is
 *	  inserted into the table: who gives the table another file needs it alone, and
 *	  then the old file is gone, with the commit that does it.  If that is rolled back the
 *	  table has this file again.
 *
 *		P: t has file 7        TRUNCATE t: file 8        P': t has file 8
 *		|--- file 7: rows of t ----|--- file 8: decoded ---|--- file 8: rows of t ---
 *
 *	  How are rows read?  As long as a table has the same file its columns
 *	  are where they were: they may be added and dropped, which leaves their
 *	  widths and places known, and become types that look the same.  So the columns that
 *	  the table had when it was locked last do for rows from before and after.
 *
 *	  What is left out?  The order of the changes of a transaction, which is of no
 *	  concern: rows of a delta are a sum, and TRUNCATE has it forgotten, whenever
 *	  it comes.  Values that are out of line come in records of their own, before those of
 *	  the rows: records of rows with such are decoded, and those that belong together with
 *	  them.  So are transactions with few rows.
 *
 *	  The reorder buffer and the slot know no difference: the transaction is made known
 *	  to them, with the snapshot for its first change, as if the record was decoded.
 *	  For after a restart, when no file is known yet, it will be.
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "capture/capture.h"
#include "capture/decoder.h"
#include "capture/direct.h"
#include "capture/large.h"
#include "capture/record.h"
#include "capture/source.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "executor/tuptable.h"
#include "replication/origin.h"
#include "replication/snapbuild.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* A transaction with fewer rows is decoded: to keep rows takes memory, and time, of its own. */
#define FEW 32

typedef struct KnownFile
{
	BraidFile file; /* key */
	Oid relid;
	XLogRecPtr from; /* what is inserted into the file from here on are rows of relid */
	TupleDesc desc;
	TupleTableSlot *slot; /* of desc */
	bool is_current;	  /* found since old files were last forgotten */
} KnownFile;

static HTAB *files = NULL;

/* What is known may not be all. */
static bool is_stale = true;

/* ---------------------------------------------------------------- files */

static void
make_table(void)
{
	HASHCTL ctl = {
		.keysize = sizeof(BraidFile), .entrysize = sizeof(KnownFile), .hcxt = TopMemoryContext};

	files = hash_create("braid known files", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
free_description(KnownFile *f)
{
	if (f->slot)
		ExecDropSingleTupleTableSlot(f->slot);
	if (f->desc)
		FreeTupleDesc(f->desc);
	f->slot = NULL;
	f->desc = NULL;
}

/*
 * Files that no table has any more: their names may come again, as those of others.  What they
 * have in the log that was not read yet is decoded.
 */
static void
forget_old_files(void)
{
	HASH_SEQ_STATUS status;
	KnownFile *f;

	hash_seq_init(&status, files);
	while ((f = hash_seq_search(&status)) != NULL)
	{
		if (f->is_current)
		{
			f->is_current = false; /* until it is found again */
			continue;
		}
		free_description(f);
		(void) hash_search(files, &f->file, HASH_REMOVE, NULL);
	}
}

static void
describe(KnownFile *f, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	free_description(f);
	f->desc = CreateTupleDescCopy(desc);
	f->slot = MakeSingleTupleTableSlot(f->desc, &TTSOpsHeapTuple);
	MemoryContextSwitchTo(old);
}

static void
learn(Oid relid, XLogRecPtr from)
{
	Relation rel = RelationIdGetRelation(relid);
	BraidFile file;
	KnownFile *f;
	bool found;

	if (!RelationIsValid(rel))
		return;
	if (RELKIND_HAS_TABLE_AM(rel->rd_rel->relkind))
	{
		file = braid_compat_file(rel);
		f = hash_search(files, &file, HASH_ENTER, &found);
		if (!found)
		{
			f->relid = InvalidOid;
			f->desc = NULL;
			f->slot = NULL;
		}
		f->is_current = true;
		if (f->relid != relid)
		{
			f->relid = relid;
			f->from = from;
		}
		describe(f, RelationGetDescr(rel));
	}
	RelationClose(rel);
}

void
braid_direct_learn(XLogRecPtr from)
{
	bool all = true;
	ListCell *lc;
	ListCell *lc2;

	if (!is_stale)
		return;
	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);

		if (source->is_stream)
			continue;
		all &= source->locked;
		if (source->locked)
			foreach (lc2, source->members)
				learn(lfirst_oid(lc2), from);
	}
	if (all)
		forget_old_files();
	is_stale = !all;
}

void
braid_direct_look_again(void)
{
	is_stale = true;
}

/* What is known stays true, but may not be all any more. */
static void
note_invalidation(Datum arg, Oid relid)
{
	if (!braid_decoder_is_flushing() &&
		(!OidIsValid(relid) || (braid_source_list() != NIL && braid_source_member(relid))))
		is_stale = true;
}

void
braid_direct_setup(void)
{
	make_table();
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
}

/* ---------------------------------------------------------------- rows */

/* Rows in the record, one after the other. */
typedef struct Rows
{
	char *at;
	int left;
	HeapTupleData tuple; /* the current one, in room */
	union
	{
		HeapTupleHeaderData header;
		PGAlignedBlock block;
	} room;
} Rows;

static void
begin_rows(Rows *rows, XLogReaderState *record)
{
	Size size;

	rows->at = XLogRecGetBlockData(record, 0, &size);
	rows->left = ((xl_heap_multi_insert *) XLogRecGetData(record))->ntuples;
}

/* NULL: there are no more. */
static xl_multi_insert_tuple *
next_row(Rows *rows)
{
	xl_multi_insert_tuple *row;

	if (rows->left-- == 0)
		return NULL;
	row = (xl_multi_insert_tuple *) SHORTALIGN(rows->at);
	rows->at = (char *) row + SizeOfMultiInsertTuple + row->datalen;
	return row;
}

static bool
has_external(XLogReaderState *record)
{
	xl_multi_insert_tuple *row;
	Rows rows;

	begin_rows(&rows, record);
	while ((row = next_row(&rows)) != NULL)
		if (row->t_infomask & HEAP_HASEXTERNAL)
			return true;
	return false;
}

static HeapTuple
next_tuple(Rows *rows)
{
	HeapTuple tuple = &rows->tuple;
	xl_multi_insert_tuple *row = next_row(rows);

	if (row == NULL)
		return NULL;
	Assert(SizeofHeapTupleHeader + row->datalen <= BLCKSZ);
	tuple->t_data = &rows->room.header;
	tuple->t_len = SizeofHeapTupleHeader + row->datalen;
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	memset(tuple->t_data, 0, SizeofHeapTupleHeader);
	memcpy((char *) tuple->t_data + SizeofHeapTupleHeader, (char *) row + SizeOfMultiInsertTuple,
		   row->datalen);
	tuple->t_data->t_infomask = row->t_infomask;
	tuple->t_data->t_infomask2 = row->t_infomask2;
	tuple->t_data->t_hoff = row->t_hoff;
	return tuple;
}

/* The last of the columns that are wanted. */
static int
last_column(SourceMember *m)
{
	int last = 0;

	for (int i = 0; i < m->source->desc->natts - 1; i++)
		last = Max(last, m->attnums[i]);
	return last;
}

static void
put_rows(SourceMember *m, KnownFile *f, XLogReaderState *record)
{
	BraidDelta *delta = braid_large_target(m->source, XLogRecGetXid(record));
	TupleDesc want = m->source->desc;
	int last = last_column(m);
	Datum values[MaxTupleAttributeNumber];
	bool nulls[MaxTupleAttributeNumber];
	Rows rows;

	if (delta == NULL || delta->recompute)
		return;
	values[0] = Int64GetDatum(1);
	nulls[0] = false;
	begin_rows(&rows, record);
	for (HeapTuple tuple; (tuple = next_tuple(&rows)) != NULL;)
	{
		ExecStoreHeapTuple(tuple, f->slot, false);
		slot_getsomeattrs(f->slot, last);
		for (int i = 1; i < want->natts; i++)
		{
			AttrNumber attnum = m->attnums[i - 1];

			if (attnum < 0)
				continue;
			nulls[i] = f->slot->tts_isnull[attnum - 1];
			values[i] = f->slot->tts_values[attnum - 1];
		}
		if (m->source->is_logged)
			braid_source_note_change(m->source, record->ReadRecPtr, values, nulls);
		braid_large_put(delta, want, values, nulls);
	}
	ExecClearTuple(f->slot);
}

/* ---------------------------------------------------------------- records */

/* The file, if the rows in the record are certain to be its table's, and can be taken. */
static KnownFile *
known_file(XLogReaderState *record)
{
	xl_heap_multi_insert *insert = (xl_heap_multi_insert *) XLogRecGetData(record);
	BraidFile file;
	KnownFile *f;

	if (!(insert->flags & XLH_INSERT_CONTAINS_NEW_TUPLE) ||
		XLogRecGetOrigin(record) == DoNotReplicateId)
		return NULL;
	XLogRecGetBlockTag(record, 0, &file, NULL, NULL);
	f = hash_search(files, &file, HASH_FIND, NULL);
	if (f == NULL || record->ReadRecPtr < f->from || has_external(record))
		return NULL;
	return f;
}

/*
 * Whoever wants the rows.  None, if somebody wants a column that was added since the table
 * was locked last.
 */
static SourceMember *
known_member(KnownFile *f)
{
	SourceMember *member = braid_source_member(f->relid);

	for (SourceMember *m = member; m; m = m->also)
		if (last_column(m) > f->desc->natts)
			return NULL;
	return member;
}

/*
 * Not of few rows; nor while parts of values that are out of line wait in the reorder buffer for
 * the last record of those that belong together.
 */
static bool
is_worth_it(XLogReaderState *record, ReorderBufferTXN *txn)
{
	ReorderBufferTXN *top = braid_record_top(txn);
	int nrows = ((xl_heap_multi_insert *) XLogRecGetData(record))->ntuples;

	return !rbtxn_has_partial_change(top) &&
		   (braid_large_has(top->xid) || txn->nentries + nrows >= FEW);
}

bool
braid_direct_take(LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	ReorderBufferTXN *txn;
	SourceMember *member;
	KnownFile *f;

	if (XLogRecGetRmid(record) != RM_HEAP2_ID ||
		(XLogRecGetInfo(record) & XLOG_HEAP_OPMASK) != XLOG_HEAP2_MULTI_INSERT ||
		!decoding->streaming ||
		SnapBuildCurrentState(decoding->snapshot_builder) != SNAPBUILD_CONSISTENT)
		return false;
	f = known_file(record);
	member = f ? known_member(f) : NULL;
	if (member == NULL)
		return false;
	txn = braid_record_register(decoding);
	if (!is_worth_it(record, txn) ||
		!SnapBuildProcessChange(decoding->snapshot_builder, txn->xid, record->ReadRecPtr))
		return false;
	BRAID_FAILPOINT("capture-direct");
	braid_large_begin(braid_record_top(txn)->xid);
	for (; member; member = member->also)
		if (!member->source->is_stream)
			put_rows(member, f, record);
	braid_large_stop();
	return true;
}
