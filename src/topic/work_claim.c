/*
 * work_claim.c
 *	  What the running transaction has taken, acknowledged and rejected.
 *
 * NOTES
 *	  A list in the order in which it happened, with the nesting level of the subtransaction.
 *	  A rollback undoes the end of the list; the commit decides all of it, after the
 *	  transaction has become visible, so that nobody finds in the window what he cannot see.
 *
 *	  The entries of a prepared transaction have its xid from then on, and those who load look whether
 *	  it has ended.
 *
 *	  Nothing here throws at the end of a transaction.  A window that has entries that are TAKEN does not
 *	  go away.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/xact.h"
#include "miscadmin.h"
#include "topic/waiters.h"
#include "topic/work_claim.h"
#include "utils/memutils.h"

typedef enum ClaimKind
{
	CLAIM_TAKEN,
	CLAIM_CHANGED, /* one that was claimed before */
	CLAIM_MOVED,
	CLAIM_CARRIED
} ClaimKind;

typedef struct Claim
{
	ClaimKind kind;
	int level;
	WorkWindow *window;
	int entry;
	int topic;
	int group;

	/* CHANGED: what it was; MOVED, CARRIED: what it is. */
	bool is_hold;
	int64 id;
	int64 number;
	TimestampTz due;
} Claim;

static Claim *claims = NULL;
static int nclaims = 0;
static int capacity = 0;

/* Of a transaction that is being prepared. */
static TransactionId prepared_xid;

void
braid_work_claims_reserve(int n)
{
	int wanted = nclaims + n;

	if (wanted <= capacity)
		return;
	wanted = Max(wanted, 2 * capacity);
	if (claims == NULL)
		claims = MemoryContextAlloc(TopMemoryContext, wanted * sizeof(Claim));
	else
		claims = repalloc_huge(claims, wanted * sizeof(Claim));
	capacity = wanted;
}

static Claim *
new_claim(ClaimKind kind, WorkWindow *w)
{
	Claim *c;

	Assert(nclaims < capacity);
	c = &claims[nclaims++];
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->level = GetCurrentTransactionNestLevel();
	c->window = w;
	return c;
}

void
braid_work_claim(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	Claim *c = new_claim(CLAIM_TAKEN, w);

	Assert(e->state == WORK_TAKEN);
	c->entry = (int) (e - a->entries);
	c->topic = w->topic;
	c->group = w->group;
}

void
braid_work_reclaim(WorkWindow *w, WorkArrays *a, WorkEntry *e, int64 next_number,
				   TimestampTz next_due)
{
	Claim *c = new_claim(CLAIM_CHANGED, w);

	c->entry = (int) (e - a->entries);
	c->is_hold = e->is_hold;
	c->number = e->next_number;
	c->due = e->next_due;
	e->is_hold = false;
	e->next_number = next_number;
	e->next_due = next_due;
}

bool
braid_work_is_mine(WorkWindow *w, WorkArrays *a, const WorkEntry *e)
{
	for (int i = 0; i < nclaims; i++)
		if (claims[i].kind == CLAIM_TAKEN && claims[i].window == w &&
			&a->entries[claims[i].entry] == e)
			return true;
	return false;
}

void
braid_work_claim_moved(WorkWindow *w, int group, int64 id, int64 number, TimestampTz due)
{
	Claim *c = new_claim(CLAIM_MOVED, w);

	c->group = group;
	c->id = id;
	c->number = number;
	c->due = due;
}

void
braid_work_claim_carried(int topic, int group, TimestampTz due, int64 number)
{
	Claim *c = new_claim(CLAIM_CARRIED, NULL);

	c->topic = topic;
	c->group = group;
	c->due = due;
	c->number = number;
}

/* ---------------------------------------------------------------- the end of transactions */

/* The entry is now where the copy is, if it is still to be done and not in somebody's hands otherwise. */
static void
finish_moved(const Claim *c)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock_existing(c->group, &a);
	int topic;
	bool has_left = false;
	WorkEntry *e;

	if (w == NULL)
		return;
	topic = w->topic;
	e = braid_work_window_find(w, &a, c->id);
	if (e && e->number == c->number && e->state != WORK_DONE)
	{
		e->segment = WORK_CARRIED;
		if (e->state == WORK_DELAYED && braid_work_window_is_after_clock(w, c->due, c->number))
		{
			w->next_due = Min(w->next_due, c->due);
			braid_work_window_claim(w, &a, e);
			braid_work_window_put(w, &a, e, WORK_DONE);
			has_left = true;
		}
	}
	braid_work_window_unlock(w);
	if (has_left)
		braid_waiters_wake(topic, c->group, BRAID_ALL_PARTS, 1); /* there is room */
}

static void
finish_carried(const Claim *c)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock_existing(c->group, &a);

	if (w == NULL)
		return;
	if (!braid_work_window_is_after_clock(w, c->due, c->number))
		w->rescan = true;
	w->next_due = Min(w->next_due, c->due);
	braid_work_window_unlock(w);
	braid_waiters_wake(c->topic, c->group, BRAID_ALL_PARTS, 1);
}

/* At the end of the transaction, or of the subtransaction in which it was taken. */
static void
finish_taken(const Claim *c, bool is_commit)
{
	WorkArrays a;
	bool is_ready;

	braid_work_window_relock(c->window, &a);
	is_ready = braid_work_window_end(c->window, &a, &a.entries[c->entry], is_commit);
	braid_work_window_unlock(c->window);
	if (is_ready)
		braid_waiters_wake(c->topic, c->group, BRAID_ALL_PARTS, 1);
}

static void
undo_changed(const Claim *c)
{
	WorkArrays a;
	WorkEntry *e;

	braid_work_window_relock(c->window, &a);
	e = &a.entries[c->entry];
	e->is_hold = c->is_hold;
	e->next_number = c->number;
	e->next_due = c->due;
	braid_work_window_unlock(c->window);
}

static void
undo(const Claim *c)
{
	if (c->kind == CLAIM_TAKEN)
		finish_taken(c, false);
	else if (c->kind == CLAIM_CHANGED)
		undo_changed(c);
}

static void
commit(const Claim *c)
{
	switch (c->kind)
	{
		case CLAIM_TAKEN:
			finish_taken(c, true);
			break;
		case CLAIM_MOVED:
			finish_moved(c);
			break;
		case CLAIM_CARRIED:
			finish_carried(c);
			break;
		case CLAIM_CHANGED:
			break; /* as the entry says */
	}
}

static void
hand_over_to_prepared(const Claim *c)
{
	WorkArrays a;
	WorkEntry *e;

	if (c->kind != CLAIM_TAKEN)
		return;
	braid_work_window_relock(c->window, &a);
	e = &a.entries[c->entry];
	e->xid = prepared_xid;
	c->window->nprepared++;
	braid_work_window_unlock(c->window);
}

/* Whether what was carried for windows is loaded cannot be told once the transaction is another's. */
static void
refuse_prepare(void)
{
	for (int i = 0; i < nclaims; i++)
		if (claims[i].kind == CLAIM_CARRIED)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has called braid.redeliver()")));
}

static void
at_end(XactEvent event)
{
	if (nclaims == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			prepared_xid = GetTopTransactionId();
			break;
		case XACT_EVENT_COMMIT:
			for (int i = 0; i < nclaims; i++)
				commit(&claims[i]);
			nclaims = 0;
			break;
		case XACT_EVENT_PREPARE:
			for (int i = 0; i < nclaims; i++)
				hand_over_to_prepared(&claims[i]);
			nclaims = 0;
			break;
		case XACT_EVENT_ABORT:
			while (nclaims > 0)
				undo(&claims[--nclaims]);
			break;
		default:
			break;
	}
}

static void
at_subxact_end(SubXactEvent event)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (nclaims > 0 && claims[nclaims - 1].level >= level)
			undo(&claims[--nclaims]);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = nclaims - 1; i >= 0 && claims[i].level >= level; i--)
			claims[i].level = level - 1;
}

void
braid_work_claim_init(void)
{
	braid_xact_register(BRAID_XACT_LAST, at_end);
	braid_xact_register_subxact(at_subxact_end);
}
