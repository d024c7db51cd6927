/*
 * work_load.c
 *	  Brings messages into the window of a group.
 *
 * NOTES
 *	  One process at a time loads, in whatever transaction it is in, from snapshots of its own;
 *	  what it has loaded is in the window, and how far it has come, whatever becomes of the
 *	  transaction.
 *
 *	  Messages of the topic come interval by interval from the reader, so each is loaded once. How
 *	  far that is is kept with the window.  The positions in the table are behind, and where a
 *	  window that is built anew begins: what was loaded before and is done is then
 *	  found in work_done, until all that was there at that time was loaded (is_catching_up).
 *
 *	  Carried messages are loaded when they are due.  The clock says how far: what is due
 *	  until then is in the window or done, what is due later is not in the window.  A
 *	  transaction that carries something decides that when it has committed,
 *	  by the clock of that moment (go_on() in work_window.c).  Moving the clock:
 *
 *		1. see what is due, and how much of it there is room for
 *		2. set the clock to the last of these
 *		3. take a snapshot, and load what is between the old clock and the new one
 *
 *	  Who has committed before 2. and found itself after the clock is visible in 3.  Who commits after
 *	  2. and is not after the clock keeps what it carries in the window; if 3. sees it as well, it is
 *	  there, by its id; or it was done meanwhile: for that, entries stay until the scan
 *	  is through (WORK_DONE).  A scan that was cut short by an error is done again, by the next process.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/wait.h"
#include "common/xact.h"
#include "miscadmin.h"
#include "topic/reader.h"
#include "topic/rotate.h"
#include "topic/waiters.h"
#include "topic/work_load.h"
#include "topic/work_store.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LOAD_AT_ONCE 1024

/* Of this process. */
static WorkWindow *loading = NULL;
static int loading_group;

typedef struct Load
{
	BraidTopic *topic;
	const BraidGroup *group;
	WorkArrays a;
	int room;
	HTAB *done; /* if something of what is loaded may be */
} Load;

/* ---------------------------------------------------------------- positions in shared memory */

static int
frontier_words(const BraidFrontier *f)
{
	return 3 + f->nxip;
}

static uint64 *
pack_frontier(uint64 *to, const BraidFrontier *f)
{
	*to++ = f->xmin;
	*to++ = f->xmax;
	*to++ = f->nxip;
	memcpy(to, f->xip, f->nxip * sizeof(uint64));
	return to + f->nxip;
}

static const uint64 *
unpack_frontier(const uint64 *from, BraidFrontier *f)
{
	f->xmin = *from++;
	f->xmax = *from++;
	f->nxip = (int) *from++;
	f->xip = palloc(Max(f->nxip, 1) * sizeof(uint64));
	memcpy(f->xip, from, f->nxip * sizeof(uint64));
	return from + f->nxip;
}

/* The first word is the number of all. */
static uint64 *
pack_positions(const BraidPosition *p, int n)
{
	int words = 1;
	uint64 *packed;
	uint64 *to;

	for (int i = 0; i < n; i++)
		words += 3 + frontier_words(&p[i].done) + (p[i].has_todo ? frontier_words(&p[i].todo) : 0) +
				 (p[i].below > 0 ? frontier_words(&p[i].as_of) : 0);
	to = packed = palloc(words * sizeof(uint64));
	*to++ = words;
	for (int i = 0; i < n; i++)
	{
		*to++ = p[i].has_todo;
		*to++ = p[i].upto;
		*to++ = p[i].below;
		to = pack_frontier(to, &p[i].done);
		if (p[i].has_todo)
			to = pack_frontier(to, &p[i].todo);
		if (p[i].below > 0)
			to = pack_frontier(to, &p[i].as_of);
	}
	Assert(to == packed + words);
	return packed;
}

void
braid_work_unpack_positions(const uint64 *packed, BraidPosition *positions, int n)
{
	const uint64 *from = packed + 1;

	for (int i = 0; i < n; i++)
	{
		BraidPosition *p = &positions[i];

		memset(p, 0, sizeof(*p));
		p->has_todo = *from++ != 0;
		p->upto = *from++;
		p->below = *from++;
		from = unpack_frontier(from, &p->done);
		if (p->has_todo)
			from = unpack_frontier(from, &p->todo);
		if (p->below > 0)
			from = unpack_frontier(from, &p->as_of);
	}
}

uint64 *
braid_work_copy_positions(WorkWindow *w)
{
	uint64 *shared;
	uint64 *copy;

	if (!w->is_built || !DsaPointerIsValid(w->positions))
		return NULL;
	shared = dsa_get_address(braid_work_window_dsa(), w->positions);
	copy = palloc(shared[0] * sizeof(uint64));
	memcpy(copy, shared, shared[0] * sizeof(uint64));
	return copy;
}

static dsa_pointer
share_positions(const BraidPosition *positions, int n)
{
	uint64 *packed = pack_positions(positions, n);
	dsa_area *area = braid_work_window_dsa();
	dsa_pointer shared = dsa_allocate(area, packed[0] * sizeof(uint64));

	memcpy(dsa_get_address(area, shared), packed, packed[0] * sizeof(uint64));
	pfree(packed);
	return shared;
}

/* ---------------------------------------------------------------- the window */

static WorkWindow *
relock(Load *l)
{
	WorkWindow *w = loading;

	braid_work_window_relock(w, &l->a); /* it stays while it has a loader */
	return w;
}

/* What is durable: how far was loaded for sure. */
static void
build(Load *l)
{
	int n = l->topic->npartitions;
	BraidPosition *positions = palloc0(n * sizeof(BraidPosition));
	Snapshot snapshot;
	dsa_pointer shared;
	WorkWindow *w;

	/* Positions and tables move together. */
	braid_work_lock_tables();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int part = 0; part < n; part++)
	{
		BraidStoredPosition stored;

		if (braid_position_read(l->group->id, part, snapshot, &stored))
			positions[part] = stored.position;
		else
			braid_position_at_beginning(&positions[part]);
	}
	UnregisterSnapshot(snapshot);
	shared = share_positions(positions, n);
	w = relock(l);
	w->positions = shared;
	w->is_built = true;
	w->is_catching_up = true;
	w->built_at = GetCurrentTimestamp();
	braid_work_window_unlock(w);
	braid_work_unlock_tables();
}

static const WorkDone *
find_done(Load *l, int64 number)
{
	return l->done ? hash_search(l->done, &number, HASH_FIND, NULL) : NULL;
}

/* Puts what was loaded where it belongs; it may be that of a transaction from before. */
static void
place(Load *l, WorkWindow *w, WorkEntry *e, TimestampTz due, TimestampTz now)
{
	const WorkDone *d = find_done(l, e->number);

	if (d)
		e->attempts += d->attempts;
	if (d && d->is_done)
	{
		e->xid = d->xid;
		e->before = WORK_READY;
		e->is_unknown = true;
		braid_work_window_put(w, &l->a, e, WORK_TAKEN);
		return;
	}
	e->time = due;
	braid_work_window_put(w, &l->a, e, due > now ? WORK_DELAYED : WORK_READY);
}

/* ---------------------------------------------------------------- messages of the topic */

typedef struct Candidate
{
	BraidPlace place;
	TimestampTz deliver_at;
	uint32 key;
	int priority;
} Candidate;

static void
read_candidate(Candidate *c, BraidReader *reader, TupleTableSlot *slot)
{
	bool is_null;
	Datum d;

	c->place = braid_reader_place(reader);
	c->priority = DatumGetInt16(slot_getattr(slot, MESSAGE_PRIORITY, &is_null));
	d = slot_getattr(slot, MESSAGE_DELIVER_AT, &is_null);
	c->deliver_at = is_null ? DT_NOBEGIN : DatumGetTimestampTz(d);
	d = slot_getattr(slot, MESSAGE_KEY, &is_null);
	c->key = braid_work_key_hash(d, is_null);
}

static bool
is_done_for_good(Load *l, int64 number)
{
	const WorkDone *d = find_done(l, number);

	return d && d->is_done && !TransactionIdIsValid(d->xid);
}

/* From one partition; how many. */
static int
read_part(Load *l, int part, BraidPosition *position, Snapshot snapshot, Candidate *candidates,
		  int room)
{
	BraidReader *reader = braid_reader_open(l->topic, part, position, snapshot, room);
	TupleTableSlot *slot;
	int n = 0;

	while (n < room && (slot = braid_reader_next(reader)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		read_candidate(&candidates[n], reader, slot);
		braid_reader_accept(reader);
		if (!is_done_for_good(l, candidates[n].place.id))
			n++;
	}
	braid_position_copy(position, braid_reader_position(reader));
	braid_reader_close(reader);
	return n;
}

static void
add_candidates(Load *l, WorkWindow *w, const Candidate *candidates, int n)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < n; i++)
	{
		const Candidate *c = &candidates[i];
		WorkEntry *e = braid_work_window_add(w, &l->a, c->place.id, c->key);

		Assert(e != NULL); /* nobody else adds */
		e->tid = c->place.tid;
		e->segment = c->place.segment;
		e->priority = c->priority;
		place(l, w, e, c->deliver_at, now);
	}
}

/* From all partitions; the first one is another each time. */
static int
load_topic(Load *l, const uint64 *packed)
{
	static int first = 0;
	int nparts = l->topic->npartitions;
	BraidPosition *positions = palloc0(nparts * sizeof(BraidPosition));
	Candidate *candidates = palloc((l->room + 1) * sizeof(Candidate));
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	dsa_pointer shared;
	dsa_pointer old;
	WorkWindow *w;
	int n = 0;

	braid_work_unpack_positions(packed, positions, nparts);
	first = (first + 1) % nparts;
	for (int i = 0; i < nparts && n < l->room; i++)
	{
		int part = (first + i) % nparts;

		n += read_part(l, part, &positions[part], snapshot, &candidates[n], l->room - n);
	}
	UnregisterSnapshot(snapshot);
	shared = share_positions(positions, nparts);
	w = relock(l);
	add_candidates(l, w, candidates, n);
	old = w->positions;
	w->positions = shared;
	w->is_cut = n >= l->room;
	if (!w->is_cut)
		w->is_catching_up = false;
	w->loaded_at = GetCurrentTimestamp();
	braid_work_window_unlock(w);
	dsa_free(braid_work_window_dsa(), old);
	return n;
}

/* ---------------------------------------------------------------- what was carried */

static bool
add_carried(Load *l, WorkWindow *w, const WorkCarried *c)
{
	WorkEntry *e = braid_work_window_find(w, &l->a, c->id);

	if (e != NULL || is_done_for_good(l, c->number))
		return true;
	e = braid_work_window_add(w, &l->a, c->id, c->key);
	if (e == NULL)
		return false;
	e->number = c->number;
	e->segment = WORK_CARRIED;
	e->priority = c->priority;
	e->attempts = c->attempts;
	place(l, w, e, DT_NOBEGIN, GetCurrentTimestamp());
	return true;
}

/*
 * What is due between the clock's last place and the one it was set to.  What is done is read
 * after the clock was set: who is done later stays in the window until the scan is through.
 */
static void
scan_carried(Load *l, WorkTime from, WorkTime to, TimestampTz built_at)
{
	List *list;
	WorkWindow *w;
	bool is_all = true;
	ListCell *lc;

	if (from.due <= built_at)
		l->done = braid_work_read_done(l->group->id, -1);
	list = braid_work_read_carried(l->group->id, from, to, INT_MAX);
	w = relock(l);
	foreach (lc, list)
		is_all = add_carried(l, w, lfirst(lc)) && is_all;
	if (is_all)
	{
		w->scanned = w->clock;
		braid_work_window_end_scan(w, &l->a);
	}
	braid_work_window_unlock(w);
}

/* Nothing is due. */
static void
set_next_due(Load *l, WorkTime clock)
{
	WorkTime end = {DT_NOEND, PG_INT64_MAX};
	List *list = braid_work_read_carried(l->group->id, clock, end, 1);
	WorkWindow *w = relock(l);

	if (list != NIL)
		w->next_due = Min(w->next_due, ((WorkCarried *) linitial(list))->due);
	braid_work_window_unlock(w);
}

static void
load_carried(Load *l)
{
	WorkTime now = {GetCurrentTimestamp(), PG_INT64_MAX};
	WorkWindow *w = relock(l);
	WorkTime from = w->scanned;
	WorkTime clock = w->clock;
	TimestampTz built_at = w->built_at;
	bool is_open = from.due != clock.due || from.number != clock.number;
	List *list;

	/* What commits from here on says itself when it is due. */
	if (!is_open)
		w->next_due = DT_NOEND;
	braid_work_window_unlock(w);
	if (!is_open)
	{
		list = braid_work_read_carried(l->group->id, from, now, Max(l->room, 1));
		if (list == NIL)
		{
			set_next_due(l, clock);
			return;
		}
		w = relock(l);
		w->clock.due = ((WorkCarried *) llast(list))->due;
		w->clock.number = ((WorkCarried *) llast(list))->number;
		clock = w->clock;
		w->next_due = DT_NOBEGIN; /* there may be more */
		braid_work_window_unlock(w);
	}
	scan_carried(l, from, clock, built_at);
}

/* ---------------------------------------------------------------- one load */

static void
load(Load *l)
{
	WorkWindow *w = relock(l);
	bool is_built = w->is_built;
	bool is_catching_up;
	bool reads_carried;
	uint64 *packed;
	bool is_ready;
	bool is_crowded;

	braid_work_window_unlock(w);
	if (!is_built)
		build(l);
	w = relock(l);
	is_ready = braid_work_window_end_prepared(w, &l->a);
	if (w->rescan && w->scanned.due == w->clock.due && w->scanned.number == w->clock.number)
	{
		w->rescan = false;
		w->built_at = GetCurrentTimestamp();
		w->clock.due = w->scanned.due = w->next_due = DT_NOBEGIN;
		w->clock.number = w->scanned.number = 0;
		braid_work_window_end_scan(w, &l->a);
	}
	reads_carried = w->next_due <= GetCurrentTimestamp();
	is_catching_up = w->is_catching_up;
	packed = braid_work_copy_positions(w);
	l->room = Min(w->capacity - w->nused, LOAD_AT_ONCE);
	braid_work_window_unlock(w);
	if (is_ready)
		braid_waiters_wake(l->topic->id, l->group->id, BRAID_ALL_PARTS, 1);
	if (l->room > 0 && reads_carried)
		load_carried(l);
	if (is_catching_up && l->room > 0 && l->done == NULL)
		l->done = braid_work_read_done(l->group->id, -1);
	w = relock(l);
	l->room = Min(w->capacity - w->nused, LOAD_AT_ONCE);
	braid_work_window_unlock(w);
	if (l->room > 0)
		(void) load_topic(l, packed);
	w = relock(l);
	is_crowded = braid_work_window_is_crowded(w);
	braid_work_window_unlock(w);
	if (is_crowded)
		braid_rotate_wake();
}

/* Others may load; in any context. */
static void
end_loading(void)
{
	WorkArrays a;
	WorkWindow *w = loading;

	if (w == NULL)
		return;
	loading = NULL;
	braid_work_window_relock(w, &a);
	w->loader = 0;
	braid_work_window_unlock(w);
	ConditionVariableBroadcast(&w->loaded);
}

static void
wait_for_loader(const BraidGroup *group)
{
	WorkArrays a;
	WorkWindow *w = braid_work_window_lock_existing(group->id, &a);
	bool is_over;

	if (w == NULL)
		return;
	ConditionVariablePrepareToSleep(&w->loaded);
	for (;;)
	{
		is_over = w->loader == 0;
		braid_work_window_unlock(w);
		if (is_over)
			break;
		(void) ConditionVariableTimedSleep(&w->loaded, 1000,
										   braid_wait_begin(BRAID_WAIT_WORK_LOAD));
		braid_wait_end();
		w = braid_work_window_lock_existing(group->id, &a);
		if (w == NULL)
			break;
	}
	ConditionVariableCancelSleep();
}

bool
braid_work_load(BraidTopic *topic, const BraidGroup *group)
{
	Load l = {.topic = topic, .group = group};
	MemoryContext context;
	MemoryContext caller;
	WorkWindow *w;
	bool is_ready;

	w = braid_work_window_lock(topic->id, group->id, &l.a);
	if (w->loader != 0)
	{
		braid_work_window_unlock(w);
		wait_for_loader(group);
		return true;
	}
	w->loader = MyProcPid;
	loading = w;
	loading_group = group->id;
	braid_work_window_unlock(w);

	context = AllocSetContextCreate(CurrentMemoryContext, "braid work", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	load(&l);
	w = relock(&l);
	is_ready = w->nready > 0;
	braid_work_window_unlock(w);
	end_loading();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return is_ready;
}

static void
at_end(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		end_loading();
}

static void
at_subxact_end(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_loading();
}

void
braid_work_load_init(void)
{
	braid_xact_register(BRAID_XACT_LAST, at_end);
	braid_xact_register_subxact(at_subxact_end);
}
