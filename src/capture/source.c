/*
 * source.c
 *	  The captured tables of this worker, their deltas and held transactions.
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
 *	  Nothing is lost by a crash: the slot is never confirmed past the oldest
 *	  piece, so all of them are decoded again, and F tells what to skip.
 *
 *	  The wait for a lock can be long, and other tables that are tied to the one
 *	  that is locked are written on; and one cycle can bring what was written in
 *	  an hour.  So of what is visible there is one piece for each table, to which
 *	  rows come as they are decoded, and at the end of a cycle from pieces whose
 *	  transactions have become visible.
 *
 *	  A table without a frontier is going to be read under S as a whole when it
 *	  is first locked: what is in S then needs no delta, and while it cannot be
 *	  locked it needs no pieces.
 *
 *	  Memory: a set of sources lives in its own context until the next set.
 *	  Pieces live in held_context, with a resource owner that outlives
 *	  transactions, because their rows may be in temporary files.  Deltas of a
 *	  cycle belong to its transaction.  How much of the rows is kept in memory
 *	  says memory.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "capture/latency.h"
#include "capture/source.h"
#include "capture/tap.h"
#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#define PIECE_MEM_KB 256 /* of one transaction: there can be many */

typedef struct SourceSet
{
	MemoryContext context;
	List *sources; /* BraidSource */
	HTAB *members; /* by relid: SourceMember */
} SourceSet;

/*
 * The rows that one transaction brought to one table, held back; or those of many
 * that are visible, while the table cannot be locked: then their desc has the
 * transaction and the time of its commit in front, and xid is invalid.
 */
typedef struct Piece
{
	TransactionId xid;
	XLogRecPtr commit;	   /* start of the commit record, of the first */
	Oid relid;			   /* of the source */
	TupleDesc desc;		   /* of many */
	TimestampTz committed; /* of many: the first */
	int ntransactions;
	TransactionId latest; /* of many: whose rows came last */
	BraidDelta delta;
} Piece;

#define MANY_LEAD 2 /* columns in front of those of many */

static SourceSet *current = NULL;
static SourceSet *next = NULL;
static SourceMember *last_member = NULL;

static MemoryContext held_context;
static ResourceOwner held_owner;
static List *pieces = NIL; /* those of many, the others in commit order */

/* Of the running cycle and the transaction being decoded. */
static BraidFrontier cycle_frontier;
static TransactionId txn_xid;
static XLogRecPtr txn_commit;
static TimestampTz txn_committed;
static bool txn_in_s;
static BraidSource *target_source;
static BraidDelta *target;
static TupleDesc target_desc; /* of a piece of many, else NULL */

void
braid_source_setup(void)
{
	held_context =
		AllocSetContextCreate(TopMemoryContext, "braid held transactions", ALLOCSET_DEFAULT_SIZES);
	held_owner = ResourceOwnerCreate(NULL, "braid held transactions");
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

/* A name for the weight that no column of the table has. */
static char *
weight_name(TupleDesc table)
{
	char *name = pstrdup("weight");

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
	int n = bms_num_members(attnums);
	int attnum = -1;
	int i = 0;

	source->attnums = palloc(sizeof(AttrNumber) * (n + 1));
	source->desc = CreateTemplateTupleDesc(n + 1);
	TupleDescInitEntry(source->desc, 1, weight_name(table), INT8OID, -1, 0);
	while ((attnum = bms_next_member(attnums, attnum)) >= 0)
	{
		source->attnums[i++] = attnum;
		TupleDescCopyEntry(source->desc, i + 1, table, attnum);
	}
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

		m->attnums[i] = relid == source->relid ? source->attnums[i] : get_attnum(relid, name);
	}
}

const char *
braid_source_want(Oid relid, Bitmapset *attnums)
{
	MemoryContext old = MemoryContextSwitchTo(next->context);
	BraidSource *source = find(next, relid);
	Relation rel = braid_capture_look_at(relid);
	TupleDesc desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	Bitmapset *all = bms_copy(attnums);
	ListCell *lc;

	RelationClose(rel);
	if (source)
	{
		for (int i = 0; i < source->desc->natts - 1; i++)
			all = bms_add_member(all, source->attnums[i]);
	}
	else
	{
		source = palloc0(sizeof(BraidSource));
		source->relid = relid;
		next->sources = lappend(next->sources, source);
	}
	describe(source, desc, all);
	source->members = braid_capture_members(relid);
	list_sort(source->members, list_oid_cmp);
	foreach (lc, source->members)
		add_member(next, source, lfirst_oid(lc));
	MemoryContextSwitchTo(old);
	return NameStr(TupleDescAttr(source->desc, 0)->attname);
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

/* Whether rows held for this source have the form that the new set wants. */
static bool
fits(BraidSource *old)
{
	BraidSource *s = find(next, old->relid);

	return s == NULL ||
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
	 * A table that was not captured has no pieces of the transactions held:
	 * with none held, all that was decoded so far is visible in the snapshot
	 * under which the table will first be read.
	 */
	if (pieces != NIL && current)
	{
		if (has_new_table())
			return false;
		foreach (lc, current->sources)
			if (!fits(lfirst(lc)))
				return false;
	}
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

void
braid_source_free_delta(BraidDelta *delta)
{
	if (delta->rows)
		tuplestore_end(delta->rows);
	braid_capture_return_memory(delta->memory);
	memset(delta, 0, sizeof(*delta));
}

static void
free_piece(Piece *p)
{
	braid_source_free_delta(&p->delta);
	if (p->desc)
		FreeTupleDesc(p->desc);
	pfree(p);
}

void
braid_source_forget_held(void)
{
	ListCell *lc;

	foreach (lc, pieces)
		free_piece(lfirst(lc));
	list_free(pieces);
	pieces = NIL;
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

/* The owner of what is held must survive the transaction. */
static void
begin_rows(BraidDelta *delta, bool held, int at_most)
{
	MemoryContext old = MemoryContextSwitchTo(held ? held_context : TopTransactionContext);
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = held ? held_owner : TopTransactionResourceOwner;
	delta->memory = braid_capture_take_memory(at_most);
	delta->rows = tuplestore_begin_heap(false, held, delta->memory);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
}

/* A row of a piece of many, from the running transaction. */
static void
put_with_transaction(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls)
{
	int n = desc->natts - MANY_LEAD;
	Datum row[MaxTupleAttributeNumber];
	bool row_nulls[MaxTupleAttributeNumber];

	if (!delta->rows)
		begin_rows(delta, true, INT_MAX);
	row[0] = TransactionIdGetDatum(txn_xid);
	row[1] = TimestampTzGetDatum(txn_committed);
	row_nulls[0] = row_nulls[1] = false;
	memcpy(row + MANY_LEAD, values, sizeof(Datum) * n);
	memcpy(row_nulls + MANY_LEAD, nulls, sizeof(bool) * n);
	tuplestore_putvalues(delta->rows, desc, row, row_nulls);
	delta->nrows++;
}

/* Appends a row to a delta of a cycle or to a piece. */
void
braid_source_put(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls)
{
	bool held = delta != &target_source->delta;

	if (delta->recompute)
		return;
	if (target_desc)
	{
		put_with_transaction(delta, target_desc, values, nulls);
		return;
	}
	if (!delta->rows)
		begin_rows(delta, held, held ? PIECE_MEM_KB : INT_MAX);
	tuplestore_putvalues(delta->rows, desc, values, nulls);
	delta->nrows++;
	if (held)
		return;
	braid_latency_note(target_source, txn_xid, txn_committed);
	if (target_source->taps != NIL)
		braid_tap_put(target_source, txn_xid, values, nulls);
}

static void
keep_piece(List **list, Piece *p)
{
	MemoryContext old = MemoryContextSwitchTo(held_context);

	*list = lappend(*list, p);
	MemoryContextSwitchTo(old);
}

static Piece *
hold(BraidSource *source)
{
	Piece *p = MemoryContextAllocZero(held_context, sizeof(Piece));

	p->xid = txn_xid;
	p->commit = txn_commit;
	p->committed = txn_committed;
	p->ntransactions = 1;
	p->relid = source->relid;
	keep_piece(&pieces, p);
	return p;
}

/* The source's columns behind the transaction and its time. */
static TupleDesc
describe_many(BraidSource *source)
{
	TupleDesc desc = CreateTemplateTupleDesc(source->desc->natts + MANY_LEAD);

	TupleDescInitEntry(desc, 1, "transaction", XIDOID, -1, 0);
	TupleDescInitEntry(desc, 2, "committed", TIMESTAMPTZOID, -1, 0);
	for (int i = 1; i <= source->desc->natts; i++)
		TupleDescCopyEntry(desc, i + MANY_LEAD, source->desc, i);
	return desc;
}

static Piece *
make_piece_of_many(BraidSource *source, XLogRecPtr commit, TimestampTz committed)
{
	MemoryContext old = MemoryContextSwitchTo(held_context);
	Piece *p = palloc0(sizeof(Piece));

	p->xid = InvalidTransactionId;
	p->commit = commit;
	p->committed = committed;
	p->relid = source->relid;
	p->desc = describe_many(source);
	MemoryContextSwitchTo(old);
	return p;
}

static Piece *
find_piece_of_many(List *list, Oid relid)
{
	ListCell *lc;

	foreach (lc, list)
	{
		Piece *p = lfirst(lc);

		if (p->desc == NULL)
			break;
		if (p->relid == relid)
			return p;
	}
	return NULL;
}

/* Where rows of the table go that are visible while it cannot be locked. */
static BraidDelta *
hold_with_others(BraidSource *source)
{
	Piece *p = find_piece_of_many(pieces, source->relid);

	if (p == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(held_context);

		p = make_piece_of_many(source, txn_commit, txn_committed);
		pieces = lcons(p, pieces);
		MemoryContextSwitchTo(old);
	}
	p->ntransactions += p->latest != txn_xid;
	p->latest = txn_xid;
	target_desc = p->desc;
	return &p->delta;
}

static BraidDelta *
choose_target(BraidSource *source)
{
	if (source->has_frontier && braid_frontier_contains(&source->frontier, txn_xid))
		return NULL;
	if (!source->has_frontier && (txn_in_s || !source->locked))
		return NULL;
	if (txn_in_s)
		return source->locked ? &source->delta : hold_with_others(source);
	return &hold(source)->delta;
}

void
braid_source_begin_transaction(TransactionId xid, XLogRecPtr commit, TimestampTz committed)
{
	txn_xid = xid;
	txn_commit = commit;
	txn_committed = committed;
	txn_in_s = braid_frontier_contains(&cycle_frontier, xid);
	target_source = NULL;
}

/* Where this transaction's rows of the source go; NULL for nowhere. */
BraidDelta *
braid_source_target(BraidSource *source)
{
	if (target_source != source)
	{
		target = NULL;
		target_desc = NULL;
		/* Changes of two tables may alternate: one piece for each, the last ones made. */
		for (int i = list_length(pieces) - 1; i >= 0 && !target; i--)
		{
			Piece *p = list_nth(pieces, i);

			if (p->xid != txn_xid || p->commit != txn_commit)
				break;
			if (p->relid == source->relid)
				target = &p->delta;
		}
		target_source = source;
		if (!target)
			target = choose_target(source);
	}
	return target;
}

/* ---------------------------------------------------------------- the cycle */

static void
add_flags(BraidDelta *to, BraidDelta *from)
{
	to->retracts |= from->retracts;
	to->recompute |= from->recompute;
	to->incomplete |= from->incomplete;
}

/* Appends what a piece holds to the delta of its source. */
static void
release_piece(Piece *p, BraidSource *source)
{
	BraidDelta *d = &source->delta;
	int lead = p->desc ? MANY_LEAD : 0;

	add_flags(d, &p->delta);
	if (p->delta.rows && !d->recompute)
	{
		TupleTableSlot *slot =
			MakeSingleTupleTableSlot(p->desc ? p->desc : source->desc, &TTSOpsMinimalTuple);

		target_source = source;
		target_desc = NULL;
		txn_xid = p->xid;
		txn_committed = p->committed;
		while (tuplestore_gettupleslot(p->delta.rows, true, false, slot))
		{
			slot_getallattrs(slot);
			if (lead > 0)
			{
				txn_xid = DatumGetTransactionId(slot->tts_values[0]);
				txn_committed = DatumGetTimestampTz(slot->tts_values[1]);
			}
			braid_source_put(d, source->desc, slot->tts_values + lead, slot->tts_isnull + lead);
		}
		ExecDropSingleTupleTableSlot(slot);
	}
}

static bool
is_visible(Piece *p)
{
	return p->desc || braid_frontier_contains(&cycle_frontier, p->xid);
}

/* Lets go of the pieces whose time has come. */
static void
release_pieces(void)
{
	List *left = NIL;
	ListCell *lc;

	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);
		BraidSource *source = find(current, p->relid);

		if (source && !(source->locked && is_visible(p)))
		{
			keep_piece(&left, p);
			continue;
		}

		/* A table read as a whole under S has all that is visible in S. */
		if (source && source->has_frontier)
			release_piece(p, source);
		free_piece(p);
	}
	list_free(pieces);
	pieces = left;
}

static void
join_rows(Piece *many, Piece *p, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	txn_xid = p->xid;
	txn_committed = p->committed;
	while (tuplestore_gettupleslot(p->delta.rows, true, false, slot))
	{
		slot_getallattrs(slot);
		put_with_transaction(&many->delta, many->desc, slot->tts_values, slot->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static void
join_piece(Piece *many, Piece *p, BraidSource *source)
{
	add_flags(&many->delta, &p->delta);
	many->commit = Min(many->commit, p->commit);
	many->committed = Min(many->committed, p->committed);
	many->ntransactions++;
	if (p->delta.rows && !many->delta.recompute)
		join_rows(many, p, source->desc);
	free_piece(p);
}

/* Of each table that is not locked, makes one piece of those that are visible. */
static void
join_pieces(void)
{
	List *many = NIL;
	List *single = NIL;
	ListCell *lc;

	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);
		BraidSource *source = find(current, p->relid);
		Piece *other;

		if (p->desc)
			keep_piece(&many, p);
		else if (!is_visible(p) || !source || source->locked)
			keep_piece(&single, p);
		else
		{
			other = find_piece_of_many(many, p->relid);
			if (other == NULL)
			{
				other = make_piece_of_many(source, p->commit, p->committed);
				keep_piece(&many, other);
			}
			join_piece(other, p, source);
		}
	}
	list_free(pieces);
	foreach (lc, single)
		keep_piece(&many, lfirst(lc));
	list_free(single);
	pieces = many;
}

/* The current memory context must live as long as the cycle. */
void
braid_source_begin_cycle(Snapshot s)
{
	ListCell *lc;

	braid_frontier_from_snapshot(&cycle_frontier, s);
	foreach (lc, current->sources)
		memset(&((BraidSource *) lfirst(lc))->delta, 0, sizeof(BraidDelta));
	braid_latency_begin_cycle();
	release_pieces();
	target_source = NULL;
}

void
braid_source_end_cycle(void)
{
	ListCell *lc;

	foreach (lc, current->sources)
		braid_source_free_delta(&((BraidSource *) lfirst(lc))->delta);
	if (pieces != NIL)
		join_pieces();
}

bool
braid_source_any_held(void)
{
	return pieces != NIL;
}

int
braid_source_count_held(TimestampTz *oldest)
{
	TransactionId last = InvalidTransactionId;
	int n = 0;
	ListCell *lc;

	*oldest = 0;
	foreach (lc, pieces)
	{
		Piece *p = lfirst(lc);

		/* Pieces of one transaction are side by side. */
		if (p->desc || p->xid != last)
			n += p->ntransactions;
		last = p->xid;
		if (*oldest == 0 || p->committed < *oldest)
			*oldest = p->committed;
	}
	return n;
}

XLogRecPtr
braid_source_oldest_held(XLogRecPtr limit)
{
	ListCell *lc;

	foreach (lc, pieces)
		limit = Min(limit, ((Piece *) lfirst(lc))->commit);
	return limit;
}
