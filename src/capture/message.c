/*
 * message.c
 *	  Messages of streams, from the log to the sources.
 *
 * NOTES
 *	  Rows of a stream are logged as messages (stream/pack.h), each under the id
 *	  of the subtransaction that wrote its rows.  To decode them would be to do
 *	  for each transaction what is needed to look at catalogs as they were, which
 *	  is dear and which a message that describes itself has no use for.  So they
 *	  go past the reorder buffer: they are kept here, by transaction, and brought
 *	  to their sources when the commit record comes, which names all
 *	  subtransactions that count; messages of others are passed over.  A transaction
 *	  that was aborted is thrown away with its abort record; what a crash has ended
 *	  without one, when a record tells that such old transactions do not run any
 *	  more.
 *
 *	  The reorder buffer is told of the transaction, and of nothing else.  It has
 *	  to know it: the slot's restart_lsn is the begin of the oldest transaction
 *	  that it knows to be running, and after a restart all messages must be read
 *	  again of what was running.  It also has to be told, here, which transaction
 *	  a subtransaction belongs to, since only the first record of a
 *	  subtransaction says that; and it tells us if that was another one.  A transaction that has written nothing but
 *	  messages has no snapshot in the reorder buffer, and is dropped at its
 *	  commit without a subtransaction having been made for it.
 *
 *	  Nothing but a message passes by: invalidations, snapshots, commits and all
 *	  else are decoded as ever.  What a transaction wrote to tables comes by
 *	  itself, at the same commit record.
 *
 *	  Transactions that were committed before the slot's confirmed position are
 *	  skipped as the decoder does it.  Those after it are complete, whatever state
 *	  the decoder's snapshot is in: the slot does not let go of WAL from which
 *	  on they have written.
 *
 *	  What nobody wants is not kept.  But it is noted: if the stream is wanted
 *	  later, of a transaction that still runs all or nothing must be seen.
 *
 *	  Memory: what transactions have written that have not ended.  If that is
 *	  more than memory.c allows, those who have most go to temporary files.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/transam.h"
#include "access/xlogreader.h"
#include "capture/memory.h"
#include "capture/message.h"
#include "capture/record.h"
#include "capture/rows.h"
#include "capture/source.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "replication/snapbuild.h"
#include "stream/pack.h"
#include "stream/seal.h"
#include "stream/stream.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* A message in memory. */
typedef struct Kept
{
	struct Kept *next;
	SourceMessage message; /* bytes: behind this */
} Kept;

/* A transaction that has written messages, itself or by subtransactions, and has not ended. */
typedef struct Writer
{
	TransactionId xid; /* the key: top-level, as far as the log that is read tells */
	bool has_missed;   /* some were let go */
	Kept *first;	   /* those in memory */
	Kept *last;
	Size size;			/* of these */
	BraidDelta spilled; /* those before */
} Writer;

static MemoryContext message_context = NULL;
static HTAB *writers = NULL;
static Size in_memory = 0;

/* ---------------------------------------------------------------- writers */

static void
make_table(void)
{
	HASHCTL ctl = {.keysize = sizeof(TransactionId), .entrysize = sizeof(Writer)};

	message_context =
		AllocSetContextCreate(TopMemoryContext, "braid messages", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = message_context;
	writers = hash_create("braid writers", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Writer *
find_or_make_writer(TransactionId xid)
{
	bool found;
	Writer *w;

	if (writers == NULL)
		make_table();
	w = hash_search(writers, &xid, HASH_ENTER, &found);
	if (!found)
	{
		memset(w, 0, sizeof(*w));
		w->xid = xid;
	}
	return w;
}

static Writer *
find_writer(TransactionId xid)
{
	return hash_search(writers, &xid, HASH_FIND, NULL);
}

static void
free_kept(Writer *w)
{
	while (w->first)
	{
		Kept *k = w->first;

		w->first = k->next;
		pfree(k);
	}
	w->last = NULL;
	in_memory -= w->size;
	w->size = 0;
}

static void
free_writer(Writer *w)
{
	free_kept(w);
	braid_rows_free(&w->spilled);
	(void) hash_search(writers, &w->xid, HASH_REMOVE, NULL);
}

static void
forget(TransactionId xid)
{
	Writer *w = find_writer(xid);

	if (w)
		free_writer(w);
}

bool
braid_message_any_missed(void)
{
	HASH_SEQ_STATUS status;
	Writer *w;
	bool any = false;

	if (writers == NULL)
		return false;
	hash_seq_init(&status, writers);
	while ((w = hash_seq_search(&status)) != NULL)
		any |= w->has_missed;
	return any;
}

void
braid_message_forget_all(void)
{
	HASH_SEQ_STATUS status;
	Writer *w;

	if (writers == NULL)
		return;
	hash_seq_init(&status, writers);
	while ((w = hash_seq_search(&status)) != NULL)
		free_writer(w);
	Assert(in_memory == 0);
}

/* ---------------------------------------------------------------- keeping */

static void
spill(Writer *w)
{
	for (Kept *k = w->first; k; k = k->next)
		braid_rows_put_message(&w->spilled, ROWS_OF_TRANSACTION, &k->message);
	free_kept(w);
}

static Writer *
largest_writer(void)
{
	HASH_SEQ_STATUS status;
	Writer *w;
	Writer *largest = NULL;

	hash_seq_init(&status, writers);
	while ((w = hash_seq_search(&status)) != NULL)
		if (largest == NULL || w->size > largest->size)
			largest = w;
	return largest;
}

static void
keep(Writer *w, TransactionId xid, XLogRecPtr lsn, Oid stream, int nrows, const char *bytes,
	 Size size)
{
	Size room = MAXALIGN(sizeof(Kept)) + VARHDRSZ + size;
	Kept *k = MemoryContextAlloc(message_context, room);

	k->next = NULL;
	k->message.lsn = lsn;
	k->message.committed = 0;
	k->message.xid = xid;
	k->message.stream = stream;
	k->message.nrows = nrows;
	k->message.bytes = (struct varlena *) ((char *) k + MAXALIGN(sizeof(Kept)));
	SET_VARSIZE(k->message.bytes, VARHDRSZ + size);
	memcpy(VARDATA(k->message.bytes), bytes, size);
	if (w->last)
		w->last->next = k;
	else
		w->first = k;
	w->last = k;
	w->size += room;
	in_memory += room;
	while (in_memory > braid_memory_for_messages() * (Size) 1024)
		spill(largest_writer());
}

/* Somebody may try to pass as a stream; it is said once, so that nobody can fill the log. */
static void
tell_forged(XLogReaderState *record)
{
	static bool told = false;

	if (!told)
		ereport(LOG, (errmsg("message at %X/%X was not written by a stream, and is ignored",
							 LSN_FORMAT_ARGS(record->ReadRecPtr))));
	told = true;
}

static bool
is_wanted(Oid stream)
{
	for (SourceMember *m = braid_source_member(stream); m; m = m->also)
		if (m->source->is_stream)
			return true;
	return false;
}

static void
take(XLogReaderState *record, TransactionId top, const char *bytes, Size size)
{
	TransactionId xid = XLogRecGetXid(record);
	MessagePlace place;
	Oid stream;
	int nrows;

	if (!braid_seal_is_right(bytes, size, xid))
	{
		tell_forged(record);
		return;
	}
	braid_rows_begin_place(&place, record->ReadRecPtr, InvalidOid);
	braid_batch_peek(bytes, size, &stream, &nrows);
	braid_rows_end_place(&place);
	if (is_wanted(stream))
		keep(find_or_make_writer(top), xid, record->ReadRecPtr, stream, nrows, bytes, size);
	else
		find_or_make_writer(top)->has_missed = true;
}

bool
braid_message_take(LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	xl_logical_message *m;
	TransactionId top;

	if (XLogRecGetRmid(record) != RM_LOGICALMSG_ID)
		return false;
	m = (xl_logical_message *) XLogRecGetData(record);
	if (!m->transactional || m->dbId != MyDatabaseId ||
		m->prefix_size != sizeof(BRAID_STREAM_PREFIX) ||
		memcmp(m->message, BRAID_STREAM_PREFIX, sizeof(BRAID_STREAM_PREFIX)) != 0)
		return false;
	top = braid_record_top(braid_record_register(decoding))->xid;
	if (XLogRecGetOrigin(record) != DoNotReplicateId)
		take(record, top, m->message + m->prefix_size, m->message_size);
	return true;
}

/* ---------------------------------------------------------------- bringing */

/* Whether messages of the transaction, or of the subtransaction, count. */
static bool
has_committed(const RecordedEnd *end, TransactionId xid)
{
	return xid == end->xid || (end->nsubxacts > 0 && bsearch(&xid, end->subxacts, end->nsubxacts,
															 sizeof(TransactionId), xidComparator));
}

static void
bring_message(const RecordedEnd *end, SourceMessage *message)
{
	if (!has_committed(end, message->xid))
		return;
	for (SourceMember *m = braid_source_member(message->stream); m; m = m->also)
		if (m->source->is_stream)
			braid_source_put_message(m->source, message);
}

static void
bring_spilled(const RecordedEnd *end, Writer *w)
{
	TupleTableSlot *slot = braid_rows_make_slot();
	SourceMessage m;

	while (braid_rows_next_message(w->spilled.batches, slot, &m))
		bring_message(end, &m);
	ExecDropSingleTupleTableSlot(slot);
}

static void
bring(const RecordedEnd *end)
{
	Writer *w = find_writer(end->xid);

	if (w == NULL)
		return;
	if (w->spilled.batches)
		bring_spilled(end, w);
	for (Kept *k = w->first; k; k = k->next)
		bring_message(end, &k->message);
}

/* ---------------------------------------------------------------- ends of transactions */

void
braid_message_end(LogicalDecodingContext *decoding, const RecordedEnd *end)
{
	XLogRecPtr lsn = decoding->reader->ReadRecPtr;

	if (end->is_commit && !SnapBuildXactNeedsSkip(decoding->snapshot_builder, lsn))
	{
		braid_source_begin_transaction(end->xid, lsn, end->when);
		bring(end);
	}

	/* Whoever of them there is. */
	forget(end->xid);
	for (int i = 0; i < end->nsubxacts; i++)
		forget(end->subxacts[i]);
}

void
braid_message_forget_older(TransactionId oldest)
{
	HASH_SEQ_STATUS status;
	Writer *w;

	hash_seq_init(&status, writers);
	while ((w = hash_seq_search(&status)) != NULL)
		if (TransactionIdPrecedes(w->xid, oldest))
			free_writer(w);
}

bool
braid_message_any(void)
{
	return writers && hash_get_num_entries(writers) > 0;
}
