/*
 * pending.c
 *	  Rows that the running transaction has written to streams, until they are in the WAL.
 *
 * NOTES
 *	  Rows are packed by stream and nesting level, and logged as a transactional
 *	  message when a pack has grown to MESSAGE_SIZE, and before the transaction
 *	  commits or is prepared.
 *
 *	  A message belongs to the subtransaction under whose xid it is logged, and so
 *	  must its rows.  Rows of a level are therefore logged while it is the current
 *	  one, with one exception below.  When it commits, its rows become its
 *	  parent's, as its xid would: most subtransactions log nothing and get no xid.
 *	  When it is rolled back they are forgotten.
 *
 *		level 1    r1 ----------------- r1 r2 ------- r1 r2 ---> message, at commit
 *		level 2        r2 -- RELEASE ->        r3 -- ROLLBACK
 *
 *	  At RELEASE the packs change hands and nothing else, since nothing may fail
 *	  then.  Those of the same stream and level are put together by whoever next
 *	  needs one for the stream.
 *
 *	  The exception: a loop whose every iteration is a subtransaction, as by an
 *	  EXCEPTION clause, leaves its rows to a level that is never the current one when
 *	  rows are added, and its pack would grow without end.  So when a
 *	  subtransaction is about to commit into a parent with a large pack, that pack
 *	  is logged, too, under the xid of the child, which shares its parent's fate from then on.
 *	  Only when the child has committed is the message forgotten; should it be
 *	  rolled back after all, it waits for the parent to be logged again.
 *
 *	  The first row gives the transaction an xid, so that all who ask whether it
 *	  has written something know it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "common/xact.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "stream/pack.h"
#include "stream/pending.h"
#include "stream/seal.h"
#include "stream/stream.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

/* A pack of this size is logged.  From 16 kB to 1 MB neither WAL nor the reader's time differ by more than 2 %. */
#define MESSAGE_SIZE (64 * 1024)

/* If all packs are larger than that, all are logged.  Packs take up to three times the memory of their rows. */
#define PENDING_SIZE ((Size) 8 * 1024 * 1024)

/* What the pack of a transaction with a few small rows takes. */
#define MAX_SPARE_MEMORY (16 * 1024)

/* Readers of the WAL need the record, and more, in memory. */
#define MAX_MESSAGE_SIZE ((Size) 512 * 1024 * 1024)

/* A message whose subtransaction has logged it, or that has yet to be logged. */
typedef struct Message
{
	slist_node node;
	int logged_by; /* level; 0: it is not logged */
	Size size;
	char *bytes;
} Message;

/* What a level has written to a stream. */
struct BraidPending
{
	dlist_node node;
	Oid stream;
	int level;
	Size size; /* of the pack, as it is part of the total */
	BraidPack *pack;
	slist_head messages; /* rows before those of the pack */
	bool is_torn;		 /* an error has come when another pack was appended */
};

/* BraidPending, higher levels first; in TopTransactionContext, like all that is in them. */
static dlist_head pendings = DLIST_STATIC_INIT(pendings);

/* Changes when pendings are no longer the current level's, or are gone. */
static uint64 generation = 1;

/*
 * An empty pack for the next transaction, since to make one takes as long as to add a
 * row to it; NULL if there is none.  In TopMemoryContext.
 */
static BraidPack *spare_pack = NULL;

/* Of all packs, and when all those of the current level are logged. */
static Size total = 0;
static Size next_total = PENDING_SIZE;

/* Oids of the streams written to; in TopTransactionContext. */
static List *written = NIL;

/* All is logged, the transaction is about to end. */
static bool closed = false;

/* ---------------------------------------------------------------- logging */

static void
set_size(BraidPending *p)
{
	Size size = braid_pack_size(p->pack);

	total += size - p->size;
	p->size = size;
}

/*
 * Logs a message under the xid of the current subtransaction.  Only a row that is large
 * by itself makes a large one: packs are logged when they have reached MESSAGE_SIZE.
 */
static void
log_message(BraidPending *p, char *bytes, Size size)
{
	if (size > MAX_MESSAGE_SIZE)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("row is too large for stream \"%s\"", get_rel_name(p->stream)),
						errdetail("A message of %zu bytes would be written, and %zu are the most.",
								  size, MAX_MESSAGE_SIZE)));
	braid_seal_put(bytes, size, GetCurrentTransactionId());
	braid_compat_log_message(BRAID_STREAM_PREFIX, bytes, size);
}

/* The pack's rows as a message; the pack is empty then. */
static char *
take_message(BraidPending *p, Size *size)
{
	char *bytes;

	/* In a subtransaction that was rolled back since. */
	if (p->is_torn)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("rows written to stream \"%s\" were lost for lack of memory",
							   get_rel_name(p->stream)),
						errhint("Run the transaction again.")));
	bytes = braid_pack_message(p->pack, size);
	set_size(p);
	return bytes;
}

/* Logs all that is not logged of what belongs to the current level. */
static void
log_pending(BraidPending *p)
{
	Assert(p->level == GetCurrentTransactionNestLevel());
	while (!slist_is_empty(&p->messages))
	{
		Message *m = slist_container(Message, node, slist_pop_head_node(&p->messages));

		Assert(m->logged_by == 0);
		log_message(p, m->bytes, m->size);
		pfree(m->bytes);
		pfree(m);
	}
	if (braid_pack_rows(p->pack) > 0 || p->is_torn)
	{
		Size size;
		char *bytes = take_message(p, &size);

		log_message(p, bytes, size);
		pfree(bytes);
	}
}

/* All has been logged. */
static void
keep_pack(BraidPending *p)
{
	if (braid_pack_memory(p->pack) > MAX_SPARE_MEMORY)
		return;
	if (spare_pack)
		braid_pack_free(spare_pack);
	braid_pack_move(p->pack, TopMemoryContext);
	spare_pack = p->pack;
	p->pack = NULL;
}

static void
free_pending(BraidPending *p)
{
	dlist_delete(&p->node);
	total -= p->size;
	if (p->pack)
		braid_pack_free(p->pack);
	while (!slist_is_empty(&p->messages))
	{
		Message *m = slist_container(Message, node, slist_pop_head_node(&p->messages));

		pfree(m->bytes);
		pfree(m);
	}
	pfree(p);
}

/* Logs all of the current level, and frees its packs, which keep their room otherwise. */
static void
log_level(void)
{
	int level = GetCurrentTransactionNestLevel();
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);

		if (p->level != level)
			break;
		log_pending(p);
		keep_pack(p);
		free_pending(p);
	}
	generation++;
	next_total = total + PENDING_SIZE;
}

/* ---------------------------------------------------------------- adding */

/*
 * Puts together what committed subtransactions have left to one level of this stream.
 * Returns one that is of no more use, or NULL.
 */
static BraidPending *
settle(Relation stream)
{
	BraidPending *younger = NULL;
	BraidPending *spare = NULL;
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);

		if (!braid_pack_fits(p->pack, RelationGetRelid(stream), RelationGetDescr(stream)))
			continue;
		if (younger && younger->level == p->level && !p->is_torn && !younger->is_torn)
		{
			p->is_torn = true;
			BRAID_FAILPOINT("stream-append");
			braid_pack_append(p->pack, younger->pack);
			p->is_torn = false;
			while (!slist_is_empty(&younger->messages))
				slist_push_head(&p->messages, slist_pop_head_node(&younger->messages));
			set_size(p);
			set_size(younger);
			if (spare)
				free_pending(spare);
			spare = younger;
		}
		younger = p;
	}
	return spare;
}

/* Of the current level, with rows of the stream's present shape; NULL if there is none. */
static BraidPending *
find_pending(Relation stream)
{
	int level = GetCurrentTransactionNestLevel();
	dlist_iter iter;

	dlist_foreach (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);

		if (p->level != level)
			break;
		if (braid_pack_fits(p->pack, RelationGetRelid(stream), RelationGetDescr(stream)))
			return p;
	}
	return NULL;
}

/*
 * Before the transaction ends: what its subtransactions have left, as one message for
 * each stream, unless the stream was altered or dropped since.
 */
static void
settle_all(void)
{
	ListCell *lc;

	if (dlist_is_empty(&pendings) || !dlist_has_next(&pendings, dlist_head_node(&pendings)))
		return;
	foreach (lc, written)
	{
		Relation stream = RelationIdGetRelation(lfirst_oid(lc));
		BraidPending *spare;

		if (!RelationIsValid(stream))
			continue;
		spare = settle(stream);
		if (spare)
			free_pending(spare);
		RelationClose(stream);
	}
}

/*
 * Rows of streams that the transaction has dropped, if need be with all of the extension.  For that
 * it has locked them, which is noted where standbys can be.
 */
static void
forget_dropped(void)
{
	dlist_mutable_iter iter;

	if (XLogStandbyInfoActive() && !(MyXactFlags & XACT_FLAGS_ACQUIREDACCESSEXCLUSIVELOCK))
		return;
	dlist_foreach_modify (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);

		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(p->stream)))
			free_pending(p);
	}
	generation++;
}

static void
note_written(Oid stream)
{
	MemoryContext old;

	if (list_member_oid(written, stream))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	written = lappend_oid(written, stream);
	MemoryContextSwitchTo(old);
}

static BraidPack *
make_pack(Relation stream)
{
	Oid relid = RelationGetRelid(stream);
	BraidPack *pack = spare_pack;

	if (pack == NULL || !braid_pack_fits(pack, relid, RelationGetDescr(stream)))
		return braid_pack_make(TopTransactionContext, relid, RelationGetDescr(stream));
	spare_pack = NULL;
	braid_pack_move(pack, TopTransactionContext);
	return pack;
}

static BraidPending *
make_pending(Relation stream)
{
	BraidPending *p = settle(stream);

	if (p)
		dlist_delete(&p->node);
	else
	{
		BraidPack *pack = make_pack(stream);

		p = MemoryContextAllocZero(TopTransactionContext, sizeof(BraidPending));
		p->pack = pack;
		p->stream = RelationGetRelid(stream);
		slist_init(&p->messages);
	}
	p->level = GetCurrentTransactionNestLevel();
	dlist_push_head(&pendings, &p->node);
	return p;
}

void
braid_pending_begin(BraidStreamWriter *writer, Relation stream)
{
	writer->stream = stream;
	writer->pending = NULL;
	writer->generation = 0;
}

static void
attach_writer(BraidStreamWriter *writer)
{
	if (closed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot write to stream \"%s\" while the transaction is being committed",
						RelationGetRelationName(writer->stream))));
	(void) GetTopTransactionId();
	note_written(RelationGetRelid(writer->stream));
	writer->pending = find_pending(writer->stream);
	if (!writer->pending)
		writer->pending = make_pending(writer->stream);
	writer->generation = generation;
}

void
braid_pending_add(BraidStreamWriter *writer, Datum *values, bool *nulls)
{
	BraidPending *p;

	if (writer->generation != generation)
		attach_writer(writer);
	p = writer->pending;
	braid_pack_add(p->pack, values, nulls);
	set_size(p);
	if (p->size >= MESSAGE_SIZE)
		log_pending(p);
	else if (total >= next_total)
		log_level();
}

bool
braid_stream_has_written(bool (*is_asked_for)(Oid relid))
{
	ListCell *lc;

	foreach (lc, written)
		if (is_asked_for(lfirst_oid(lc)))
			return true;
	return false;
}

/* ---------------------------------------------------------------- ends of transactions */

/*
 * Before a subtransaction commits: logs the large packs of its parent, and keeps
 * the messages until it has committed.
 */
static void
log_parent(int level)
{
	dlist_iter iter;

	dlist_foreach (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);
		MemoryContext old;
		Message *m;

		if (p->level < level - 1)
			break;
		if (p->level == level || p->size < MESSAGE_SIZE)
			continue;
		old = MemoryContextSwitchTo(TopTransactionContext);
		m = palloc0(sizeof(Message));
		m->bytes = take_message(p, &m->size);
		slist_push_head(&p->messages, &m->node);
		MemoryContextSwitchTo(old);
		log_message(p, m->bytes, m->size);
		m->logged_by = level;
		BRAID_FAILPOINT("stream-parent-logged");
	}
}

/* What the level that ends has logged for its parent is done, or was for nothing.  Must not throw. */
static void
end_messages(BraidPending *p, int level, bool is_commit)
{
	slist_mutable_iter iter;

	slist_foreach_modify(iter, &p->messages)
	{
		Message *m = slist_container(Message, node, iter.cur);

		if (m->logged_by != level)
			continue;
		m->logged_by = 0;
		if (!is_commit)
			continue;
		slist_delete_current(&iter);
		pfree(m->bytes);
		pfree(m);
	}
}

/* Must not throw. */
static void
end_level(int level, bool is_commit)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &pendings)
	{
		BraidPending *p = dlist_container(BraidPending, node, iter.cur);

		if (p->level < level - 1)
			break;
		if (p->level < level)
			end_messages(p, level, is_commit);
		else if (is_commit)
			p->level = level - 1;
		else
			free_pending(p);
	}
}

static void
change_level(SubXactEvent event)
{
	if (dlist_is_empty(&pendings))
		return;
	generation++;
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		log_parent(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		end_level(GetCurrentTransactionNestLevel(), true);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		end_level(GetCurrentTransactionNestLevel(), false);
}

/*
 * First of all, since others decide by what the transaction has written how it is to
 * end; and again last, for what they may have written.
 */
static void
before_end(XactEvent event)
{
	if ((event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE) ||
		dlist_is_empty(&pendings))
		return;
	BRAID_FAILPOINT("stream-before-log");
	forget_dropped();
	settle_all();
	log_level();
	BRAID_FAILPOINT("stream-after-log");
}

/* The memory goes with the transaction. */
static void
forget(void)
{
	dlist_init(&pendings);
	generation++;
	total = 0;
	next_total = PENDING_SIZE;
	written = NIL;
	closed = false;
}

static void
at_end(XactEvent event)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
	{
		before_end(event);
		generation++;
		closed = true;
	}
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT)
		forget();
}

void
braid_pending_init(void)
{
	braid_xact_register(BRAID_XACT_FIRST, before_end);
	braid_xact_register(BRAID_XACT_LAST, at_end);
	braid_xact_register_subxact(change_level);
}
