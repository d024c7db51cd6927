/*
 * source.c
 *	  The captured tables of this worker, and where rows of theirs go.
 *
 * NOTES
 *	  The rows of a decoded transaction go, table by table, to one of three
 *	  places.  F is the table's frontier, S the snapshot of the cycle:
 *
 *		in F							nowhere: they have been merged
 *		in S, and the table is locked	the table's delta of this cycle
 *		else							a piece, held for a later cycle
 *
 *	  A transaction that is not in S although its commit record was decoded is
 *	  about to become visible.  One whose table could not be locked is visible,
 *	  but the table may be in the middle of being rewritten, and its other
 *	  readers queue behind whoever waits for it.  Both wait in the same way, so
 *	  that a table behind ALTER TABLE holds back itself and nothing else: its
 *	  frontier stays, other tables' frontiers move on.
 *
 *	  A table without a frontier is going to be read under S as a whole when it
 *	  is first locked: what is in S then needs no delta, and while it cannot be
 *	  locked it needs no pieces.  Of a stream nothing can be read: its views
 *	  begin with what is not in S, by the same rule.
 *
 *	  A set of sources lives in its own memory context until the next set; where
 *	  rows live says rows.c, what becomes of pieces piece.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "capture/large.h"
#include "capture/latency.h"
#include "capture/message.h"
#include "capture/piece.h"
#include "capture/rows.h"
#include "capture/source.h"
#include "capture/tap.h"
#include "catalog/pg_type.h"
#include "stream/stream.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"

typedef struct SourceSet
{
	MemoryContext context;
	List *sources; /* BraidSource */
	HTAB *members; /* by relid: SourceMember */
} SourceSet;

static SourceSet *current = NULL;
static SourceSet *next = NULL;
static SourceMember *last_member = NULL;

/* Of the running cycle, and the transaction whose rows come. */
static BraidFrontier cycle_frontier;
static SourceTransaction txn;
static bool txn_in_s;
static bool txn_has_gid;
static union
{
	char bytes[VARHDRSZ + GIDSIZE];
	int32 align;
} txn_gid; /* as text */

/* Where its rows of one source go; desc: see braid_piece_share(). */
static struct
{
	BraidSource *source;
	BraidDelta *delta; /* NULL: nowhere */
	RowsOwner owner;
	TupleDesc desc;
} target;

void
braid_source_setup(void)
{
	braid_rows_setup();
	braid_piece_setup();
	braid_latency_setup();
}

/* ---------------------------------------------------------------- the set */

void
braid_source_begin_set(void)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid sources", ALLOCSET_DEFAULT_SIZES);
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(SourceMember), .hcxt = context};

	if (next)
		MemoryContextDelete(next->context);
	next = MemoryContextAllocZero(context, sizeof(SourceSet));
	next->context = context;
	next->members =
		hash_create("braid source members", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static BraidSource *
find(SourceSet *set, Oid relid)
{
	ListCell *lc;

	foreach (lc, set->sources)
		if (((BraidSource *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

/* Columns of a source that are none of its table. */
enum
{
	LOG_COMMIT = -101,
	LOG_CHANGE = -102,
	LOG_GID = -103
};

/* A name that no column of the table has. */
static char *
unused_name(TupleDesc table, const char *like)
{
	char *name = pstrdup(like);

	for (int i = 0; i < table->natts; i++)
		if (strcmp(name, NameStr(TupleDescAttr(table, i)->attname)) == 0)
		{
			name = psprintf("%s_", name);
			i = -1;
		}
	return name;
}

static void
describe(BraidSource *source, TupleDesc table, Bitmapset *attnums)
{
	int n = bms_num_members(attnums) + (source->is_logged ? BRAID_LOG_COLUMNS : 0);
	int attnum = -1;
	int i = 0;

	source->attnums = palloc(sizeof(AttrNumber) * (n + 1));
	source->desc = CreateTemplateTupleDesc(n + 1);
	TupleDescInitEntry(source->desc, 1, unused_name(table, "weight"), INT8OID, -1, 0);
	while ((attnum = bms_next_member(attnums, attnum)) >= 0)
	{
		source->attnums[i++] = attnum;
		TupleDescCopyEntry(source->desc, i + 1, table, attnum);
	}
	if (!source->is_logged)
		return;
	source->attnums[i++] = LOG_COMMIT;
	TupleDescInitEntry(source->desc, i + 1, unused_name(table, "commit_lsn"), LSNOID, -1, 0);
	source->attnums[i++] = LOG_CHANGE;
	TupleDescInitEntry(source->desc, i + 1, unused_name(table, "change_lsn"), LSNOID, -1, 0);
	source->attnums[i++] = LOG_GID;
	TupleDescInitEntry(source->desc, i + 1, unused_name(table, "gid"), TEXTOID, -1, 0);
}

static void
add_member(SourceSet *set, BraidSource *source, Oid relid)
{
	bool found;
	SourceMember *m = hash_search(set->members, &relid, HASH_ENTER, &found);
	int n = source->desc->natts - 1;

	if (!found)
	{
		m->source = source;
		m->also = NULL;
	}
	while (m->source != source)
	{
		if (m->also == NULL)
		{
			m->also = palloc0(sizeof(SourceMember));
			m->also->relid = relid;
			m->also->source = source;
		}
		m = m->also;
	}
	m->attnums = palloc(sizeof(AttrNumber) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		/* Attributes of a partition may have other numbers, never other names. */
		const char *name = NameStr(TupleDescAttr(source->desc, i + 1)->attname);

		m->attnums[i] = relid == source->relid || source->attnums[i] < 0 ? source->attnums[i]
																		 : get_attnum(relid, name);
	}
}

static Bitmapset *
all_columns(TupleDesc desc)
{
	Bitmapset *all = NULL;

	for (int i = 1; i <= desc->natts; i++)
		if (!TupleDescAttr(desc, i - 1)->attisdropped)
			all = bms_add_member(all, i);
	return all;
}

static const char *
want(Oid relid, Bitmapset *attnums, bool is_logged)
{
	MemoryContext old = MemoryContextSwitchTo(next->context);
	BraidSource *source = find(next, relid);
	Relation rel = braid_capture_look_at(relid);
	TupleDesc desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	Bitmapset *all = is_logged ? all_columns(desc) : bms_copy(attnums);
	ListCell *lc;

	RelationClose(rel);
	if (source)
	{
		for (int i = 0; i < source->desc->natts - 1; i++)
			if (source->attnums[i] > 0)
				all = bms_add_member(all, source->attnums[i]);
	}
	else
	{
		source = palloc0(sizeof(BraidSource));
		source->relid = relid;
		source->is_stream = braid_stream_is(relid);
		next->sources = lappend(next->sources, source);
	}
	source->is_logged |= is_logged;
	describe(source, desc, all);
	source->members = braid_capture_members(relid);
	list_sort(source->members, list_oid_cmp);
	foreach (lc, source->members)
		add_member(next, source, lfirst_oid(lc));
	MemoryContextSwitchTo(old);
	return NameStr(TupleDescAttr(source->desc, 0)->attname);
}

const char *
braid_source_want(Oid relid, Bitmapset *attnums)
{
	return want(relid, attnums, false);
}

void
braid_source_want_log(Oid relid)
{
	(void) want(relid, NULL, true);
}

void
braid_source_want_deletes(Oid relid)
{
	find(next, relid)->tells_deletes = true;
}

bool
braid_source_next_tells_deletes(Oid relid)
{
	return find(next, relid)->tells_deletes;
}

BraidSource *
braid_source_representative(BraidSource *source)
{
	while (source->tie)
		source = source->tie;
	return source;
}

void
braid_source_tie(Oid a, Oid b)
{
	BraidSource *one = braid_source_representative(find(next, a));
	BraidSource *other = braid_source_representative(find(next, b));

	if (one != other)
		one->tie = other;
}

bool
braid_source_next_member(Oid relid)
{
	return hash_search(next->members, &relid, HASH_FIND, NULL) != NULL;
}

List *
braid_source_next_list(void)
{
	return next->sources;
}

/* Whether rows held for this source have the form that the new set wants; messages have all. */
static bool
fits(BraidSource *old)
{
	BraidSource *s = find(next, old->relid);

	return s == NULL || s->is_stream ||
		   (equalTupleDescs(s->desc, old->desc) && s->tells_deletes == old->tells_deletes);
}

/* Whether the new set has a table that the old has not, or had as part of another. */
static bool
has_new_table(void)
{
	HASH_SEQ_STATUS status;
	SourceMember *m;
	ListCell *lc;
	bool has = false;

	foreach (lc, next->sources)
		has |= !current || find(current, ((BraidSource *) lfirst(lc))->relid) == NULL;
	hash_seq_init(&status, next->members);
	while ((m = hash_seq_search(&status)) != NULL)
		has |= !current || hash_search(current->members, &m->relid, HASH_FIND, NULL) == NULL;
	return has;
}

/* Whether messages may have been let go that a stream of the new set wants. */
static bool
has_missed_messages(void)
{
	ListCell *lc;

	foreach (lc, next->sources)
	{
		BraidSource *s = lfirst(lc);

		if (s->is_stream && (!current || find(current, s->relid) == NULL) &&
			braid_message_any_missed())
			return true;
	}
	return false;
}

/* Marks what has another form in the new set than in the old. */
static void
mark_reshaped(void)
{
	ListCell *lc;

	foreach (lc, current->sources)
	{
		BraidSource *old = lfirst(lc);
		BraidSource *s = find(next, old->relid);

		if (s)
			s->reshaped = old->reshaped || !fits(old);
	}
}

bool
braid_source_use_set(void)
{
	ListCell *lc;

	/*
	 * A table that was not captured has no pieces of the transactions held, nor
	 * rows of those in progress: with none of these, all that was decoded so far
	 * is visible in the snapshot under which the table will first be read.
	 */
	if ((braid_piece_any() || braid_large_any()) && current)
	{
		if (has_new_table())
			return false;
		foreach (lc, current->sources)
			if (!fits(lfirst(lc)))
				return false;
	}
	if (has_missed_messages())
		return false;
	if (current)
	{
		mark_reshaped();
		MemoryContextDelete(current->context);
	}
	current = next;
	next = NULL;
	last_member = NULL;
	return true;
}

List *
braid_source_list(void)
{
	return current ? current->sources : NIL;
}

BraidSource *
braid_source_find(Oid relid)
{
	return current ? find(current, relid) : NULL;
}

SourceMember *
braid_source_member(Oid relid)
{
	if (last_member && last_member->relid == relid)
		return last_member;
	last_member = hash_search(current->members, &relid, HASH_FIND, NULL);
	return last_member;
}

/* ---------------------------------------------------------------- rows */

void
braid_source_begin_transaction(TransactionId xid, XLogRecPtr commit, TimestampTz committed)
{
	txn.xid = xid;
	txn.commit = commit;
	txn.committed = committed;
	txn_in_s = braid_frontier_contains(&cycle_frontier, xid);
	target.source = NULL;
}

static void
choose_target(BraidSource *source)
{
	target.owner = ROWS_OF_TRANSACTION;
	target.desc = NULL;
	target.delta = braid_piece_find(&txn, source);
	if (target.delta)
		return;
	if (source->has_frontier && braid_frontier_contains(&source->frontier, txn.xid))
		return;
	if (!source->has_frontier && (txn_in_s || !source->locked))
		return;
	if (!txn_in_s)
		target.delta = braid_piece_make(&txn, source);
	else if (source->locked)
	{
		target.owner = ROWS_OF_CYCLE;
		target.delta = &source->delta;
	}
	else
	{
		target.owner = ROWS_OF_MANY;
		target.delta = braid_piece_share(&txn, source, &target.desc);
	}
}

/* Where this transaction's rows of the source go; NULL for nowhere. */
BraidDelta *
braid_source_target(BraidSource *source)
{
	if (target.source != source)
	{
		choose_target(source);
		target.source = source;
	}
	return target.delta;
}

/* A row of the delta of the running cycle. */
void
braid_source_bring(BraidSource *source, const SourceTransaction *t, Datum *values, bool *nulls)
{
	if (source->delta.recompute)
		return;
	braid_rows_put(&source->delta, ROWS_OF_CYCLE, source->desc, values, nulls);
	braid_latency_note(source, t->xid, t->committed);
	if (source->taps != NIL)
		braid_tap_put(source, t->xid, values, nulls);
}

void
braid_source_set_gid(const char *gid)
{
	txn_has_gid = gid != NULL;
	if (gid == NULL)
		return;
	SET_VARSIZE(txn_gid.bytes, VARHDRSZ + strlen(gid));
	memcpy(VARDATA(txn_gid.bytes), gid, strlen(gid));
}

void
braid_source_note_change(BraidSource *source, XLogRecPtr change, Datum *values, bool *nulls)
{
	int first = source->desc->natts - BRAID_LOG_COLUMNS;

	values[first + 1] = LSNGetDatum(change);
	nulls[first + 1] = false;
	nulls[first] = nulls[first + 2] = true;
}

/* Only now it is known of rows of large transactions. */
static void
note_commit(TupleDesc desc, Datum *values, bool *nulls)
{
	int first = desc->natts - BRAID_LOG_COLUMNS;

	values[first] = LSNGetDatum(txn.commit);
	nulls[first] = false;
	values[first + 2] = PointerGetDatum(txn_gid.bytes);
	nulls[first + 2] = !txn_has_gid;
}

/* Appends a row to a delta of a cycle or to a piece. */
void
braid_source_put(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls)
{
	Assert(delta == target.delta);
	if (delta->recompute)
		return;
	if (target.source->is_logged)
		note_commit(desc, values, nulls);
	if (target.owner == ROWS_OF_CYCLE)
		braid_source_bring(target.source, &txn, values, nulls);
	else if (target.desc)
		braid_piece_put_shared(delta, target.desc, &txn, values, nulls);
	else
		braid_rows_put(delta, target.owner, desc, values, nulls);
}

static void
bring_each(BraidSource *source, const SourceTransaction *t, Tuplestorestate *rows)
{
	RowReader r;

	braid_rows_begin_reading(&r, rows, source->desc);
	while (braid_rows_next(&r))
		braid_source_bring(source, t, r.values, r.nulls);
}

void
braid_source_bring_all(BraidSource *source, const SourceTransaction *t, BraidDelta *from)
{
	if (from->rows == NULL || source->delta.recompute)
		return;
	if (source->taps != NIL)
	{
		bring_each(source, t, from->rows);
		return;
	}
	braid_rows_join(&source->delta, from, source->desc);
	braid_latency_note(source, t->xid, t->committed);
}

static void
put_each(BraidSource *source, BraidDelta *to, Tuplestorestate *rows)
{
	RowReader r;

	braid_rows_begin_reading(&r, rows, source->desc);
	while (braid_rows_next(&r))
		braid_source_put(to, source->desc, r.values, r.nulls);
}

void
braid_source_put_all(BraidSource *source, BraidDelta *from)
{
	BraidDelta *to = braid_source_target(source);

	if (from->rows == NULL || to->recompute)
		return;
	if (source->is_logged)
		put_each(source, to, from->rows);
	else if (target.owner == ROWS_OF_CYCLE)
		braid_source_bring_all(source, &txn, from);
	else if (target.desc)
		put_each(source, to, from->rows);
	else
		braid_rows_join(to, from, source->desc);
}

void
braid_source_bring_message(BraidSource *source, const SourceMessage *m)
{
	braid_rows_put_message(&source->delta, ROWS_OF_CYCLE, m);
	braid_latency_note(source, m->xid, m->committed);
	if (source->taps != NIL)
		braid_tap_put_message(source, m);
}

void
braid_source_put_message(BraidSource *source, SourceMessage *m)
{
	BraidDelta *delta = braid_source_target(source);

	if (delta == NULL)
		return;
	m->xid = txn.xid;
	m->committed = txn.committed;
	if (target.owner == ROWS_OF_CYCLE)
		braid_source_bring_message(source, m);
	else
		braid_rows_put_message(delta, target.owner, m);
}

/* ---------------------------------------------------------------- the cycle */

/* The current memory context must live as long as the cycle. */
void
braid_source_begin_cycle(Snapshot s)
{
	ListCell *lc;

	braid_frontier_from_snapshot(&cycle_frontier, s);
	foreach (lc, current->sources)
		memset(&((BraidSource *) lfirst(lc))->delta, 0, sizeof(BraidDelta));
	braid_latency_begin_cycle();
	braid_piece_release(&cycle_frontier);
	target.source = NULL;
}

void
braid_source_end_cycle(void)
{
	ListCell *lc;

	foreach (lc, current->sources)
		braid_rows_free(&((BraidSource *) lfirst(lc))->delta);
	if (braid_piece_any())
		braid_piece_join(&cycle_frontier);
}
