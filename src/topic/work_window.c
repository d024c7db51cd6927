/*
 * work_window.c
 *	  What the consumers of a group of mode work share: a window of its messages.
 *
 * NOTES
 *	  The window is a cache: what is durable is in tables (work_store.c), and a window is built
 *	  again from them when it was lost, by a crash or for want of room.  What it has alone is who
 *	  has which message now, and that ends with whoever has it.  So one in which nothing is
 *	  taken or held can give way to that of another group.
 *
 *	  Within the window: a heap of those that can be taken, a heap of those that wait for a
 *	  time, chains by id and by key.  All of it is under one lock, which is held for
 *	  the time that these take.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/shmem.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "topic/work_window.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define NSEGMENT_FLAGS 64
#define AREA_SIZE (256 * 1024)
#define NONE (-1)

static int max_windows = 64;
static int window_capacity = 1024;

typedef struct Windows
{
	LWLock lock; /* guards which groups the windows are for, with the window's own */
	int tranche;
	uint32 segments[NSEGMENT_FLAGS]; /* by database; a hint, see work_tidy.c */
	WorkWindow windows[FLEXIBLE_ARRAY_MEMBER];
} Windows;

static Windows *windows = NULL;
static dsa_area *area = NULL;

static Size
area_offset(void)
{
	return MAXALIGN(offsetof(Windows, windows) + max_windows * sizeof(WorkWindow));
}

static Size
windows_size(void)
{
	return area_offset() + AREA_SIZE;
}

static void
windows_init(void *memory)
{
	Windows *all = memory;
	dsa_area *dsa;

	braid_shmem_init_lock(&all->lock);
	all->tranche = all->lock.tranche;
	for (int i = 0; i < max_windows; i++)
	{
		braid_shmem_init_lock(&all->windows[i].lock);
		ConditionVariableInit(&all->windows[i].loaded);
	}
	dsa = dsa_create_in_place((char *) memory + area_offset(), AREA_SIZE, all->tranche, NULL);
	dsa_pin(dsa);
	dsa_detach(dsa);
}

static const BraidShmemArea windows_area = {"braid work", windows_size, windows_init,
											(void **) &windows};

dsa_area *
braid_work_window_dsa(void)
{
	MemoryContext caller;

	if (area)
		return area;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	area = dsa_attach_in_place((char *) windows + area_offset(), NULL);
	dsa_pin_mapping(area);
	MemoryContextSwitchTo(caller);
	return area;
}

int
braid_work_window_capacity(void)
{
	return window_capacity;
}

int
braid_work_window_max(void)
{
	return max_windows;
}

bool
braid_work_window_is_crowded(const WorkWindow *w)
{
	return w->ndelayed > w->capacity / 2;
}

int
braid_work_window_segment(void)
{
	return windows->segments[MyDatabaseId % NSEGMENT_FLAGS] & 1;
}

void
braid_work_window_set_segment(int segment)
{
	windows->segments[MyDatabaseId % NSEGMENT_FLAGS] = segment;
}

/* ---------------------------------------------------------------- arrays */

static Size
arrays_size(int capacity)
{
	return capacity * (sizeof(WorkEntry) + 4 * sizeof(int));
}

static void
map(const WorkWindow *w, WorkArrays *a)
{
	char *memory = dsa_get_address(area, w->memory);

	a->entries = (WorkEntry *) memory;
	a->ready = (int *) (memory + w->capacity * sizeof(WorkEntry));
	a->timed = a->ready + w->capacity;
	a->ids = a->timed + w->capacity;
	a->keys = a->ids + w->capacity;
}

static void
clear_arrays(WorkWindow *w, WorkArrays *a)
{
	for (int i = 0; i < w->capacity; i++)
	{
		memset(&a->entries[i], 0, sizeof(WorkEntry));
		a->entries[i].id_next = i + 1 < w->capacity ? i + 1 : NONE;
		a->ids[i] = NONE;
		a->keys[i] = NONE;
	}
	w->free = 0;
}

/* ---------------------------------------------------------------- windows */

static bool
is_of(const WorkWindow *w, int group)
{
	return w->dbid == MyDatabaseId && w->group == group;
}

/* Nothing in it that is not in tables as well. */
static bool
may_go(const WorkWindow *w)
{
	return w->ntaken == 0 && w->nheld == 0 && w->loader == 0;
}

/* The lock on all windows is held. */
static WorkWindow *
find_window(int group)
{
	for (int i = 0; i < max_windows; i++)
		if (is_of(&windows->windows[i], group))
			return &windows->windows[i];
	return NULL;
}

/* A window that nobody has, or that can go, longest unused; locked. The lock on all is held. */
static WorkWindow *
find_room(void)
{
	WorkWindow *best = NULL;

	for (int i = 0; i < max_windows; i++)
	{
		WorkWindow *w = &windows->windows[i];

		if (!OidIsValid(w->dbid))
		{
			best = w;
			break;
		}
		if (may_go(w) && (best == NULL || w->used_at < best->used_at))
			best = w;
	}
	if (best == NULL)
		return NULL;
	LWLockAcquire(&best->lock, LW_EXCLUSIVE);
	if (!OidIsValid(best->dbid) || may_go(best))
		return best;
	LWLockRelease(&best->lock);
	return NULL;
}

/* Both locks are held. */
static void
set_up(WorkWindow *w, int topic, int group, dsa_pointer memory, WorkArrays *a)
{
	memset((char *) w + offsetof(WorkWindow, dbid), 0, sizeof(*w) - offsetof(WorkWindow, dbid));
	w->dbid = MyDatabaseId;
	w->group = group;
	w->topic = topic;
	w->capacity = window_capacity;
	w->memory = memory;
	w->used_at = GetCurrentTimestamp();
	w->next_due = DT_NOBEGIN;
	w->clock.due = w->scanned.due = DT_NOBEGIN;
	map(w, a);
	clear_arrays(w, a);
}

static WorkWindow *
make_window(int topic, int group, WorkArrays *a)
{
	dsa_pointer memory = dsa_allocate(area, arrays_size(window_capacity));
	dsa_pointer old[2];
	WorkWindow *w;

	(void) dsa_get_address(area, memory); /* maps it, which may throw */
	LWLockAcquire(&windows->lock, LW_EXCLUSIVE);
	if (find_window(group) || (w = find_room()) == NULL)
	{
		bool exists = find_window(group) != NULL;

		LWLockRelease(&windows->lock);
		dsa_free(area, memory);
		if (exists)
			return NULL;
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many consumer groups of mode work are in use"),
						errhint("You might need to increase braid.topic_work_groups.")));
	}
	old[0] = OidIsValid(w->dbid) ? w->memory : InvalidDsaPointer;
	old[1] = OidIsValid(w->dbid) ? w->positions : InvalidDsaPointer;
	set_up(w, topic, group, memory, a);
	LWLockRelease(&windows->lock);
	LWLockRelease(&w->lock);
	for (int i = 0; i < lengthof(old); i++)
		if (DsaPointerIsValid(old[i]))
			dsa_free(area, old[i]);
	return w;
}

WorkWindow *
braid_work_window_lock_existing(int group, WorkArrays *a)
{
	WorkWindow *w;

	(void) braid_work_window_dsa();
	LWLockAcquire(&windows->lock, LW_SHARED);
	w = find_window(group);
	LWLockRelease(&windows->lock);
	if (w == NULL)
		return NULL;
	LWLockAcquire(&w->lock, LW_EXCLUSIVE);
	if (!is_of(w, group))
	{
		LWLockRelease(&w->lock);
		return NULL;
	}
	map(w, a);
	return w;
}

WorkWindow *
braid_work_window_lock(int topic, int group, WorkArrays *a)
{
	WorkWindow *w;

	while ((w = braid_work_window_lock_existing(group, a)) == NULL)
		(void) make_window(topic, group, a);
	w->used_at = GetCurrentTimestamp();
	return w;
}

void
braid_work_window_relock(WorkWindow *w, WorkArrays *a)
{
	LWLockAcquire(&w->lock, LW_EXCLUSIVE);
	map(w, a);
}

void
braid_work_window_unlock(WorkWindow *w)
{
	LWLockRelease(&w->lock);
}

int *
braid_work_window_groups(int *n)
{
	int *groups = palloc(max_windows * sizeof(int));

	*n = 0;
	LWLockAcquire(&windows->lock, LW_SHARED);
	for (int i = 0; i < max_windows; i++)
		if (windows->windows[i].dbid == MyDatabaseId)
			groups[(*n)++] = windows->windows[i].group;
	LWLockRelease(&windows->lock);
	return groups;
}

/* ---------------------------------------------------------------- heaps */

static bool
is_before(const WorkArrays *a, const int *heap, int x, int y)
{
	const WorkEntry *e = &a->entries[x];
	const WorkEntry *f = &a->entries[y];

	if (heap == a->timed)
		return e->time < f->time;
	return e->priority != f->priority ? e->priority > f->priority : e->id < f->id;
}

static void
heap_set(WorkArrays *a, int *heap, int place, int x)
{
	heap[place] = x;
	a->entries[x].heap = place;
}

static void
heap_up(WorkArrays *a, int *heap, int place, int x)
{
	while (place > 0 && is_before(a, heap, x, heap[(place - 1) / 2]))
	{
		heap_set(a, heap, place, heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	heap_set(a, heap, place, x);
}

static void
heap_down(WorkArrays *a, int *heap, int n, int place, int x)
{
	for (;;)
	{
		int child = 2 * place + 1;

		if (child >= n)
			break;
		if (child + 1 < n && is_before(a, heap, heap[child + 1], heap[child]))
			child++;
		if (!is_before(a, heap, heap[child], x))
			break;
		heap_set(a, heap, place, heap[child]);
		place = child;
	}
	heap_set(a, heap, place, x);
}

/* n is that of the entries without it. */
static void
heap_remove(WorkArrays *a, int *heap, int n, int place)
{
	int last = heap[n];

	if (place == n)
		return;
	if (place > 0 && is_before(a, heap, last, heap[(place - 1) / 2]))
		heap_up(a, heap, place, last);
	else
		heap_down(a, heap, n, place, last);
}

/* ---------------------------------------------------------------- entries */

static int
index_of(const WorkArrays *a, const WorkEntry *e)
{
	return (int) (e - a->entries);
}

static int *
id_bucket(const WorkWindow *w, const WorkArrays *a, int64 id)
{
	return &a->ids[(uint64) id % w->capacity];
}

static int *
key_bucket(const WorkWindow *w, const WorkArrays *a, uint32 key)
{
	return &a->keys[key % w->capacity];
}

WorkEntry *
braid_work_window_find(WorkWindow *w, WorkArrays *a, int64 id)
{
	for (int i = *id_bucket(w, a, id); i != NONE; i = a->entries[i].id_next)
		if (a->entries[i].id == id)
			return &a->entries[i];
	return NULL;
}

WorkEntry *
braid_work_window_add(WorkWindow *w, WorkArrays *a, int64 id, uint32 key)
{
	int i = w->free;
	WorkEntry *e = &a->entries[i];
	int *bucket;

	if (i == NONE)
		return NULL;
	w->free = e->id_next;
	w->nused++;
	memset(e, 0, sizeof(*e));
	e->id = e->number = id;
	e->key = key;
	bucket = id_bucket(w, a, id);
	e->id_next = *bucket;
	*bucket = i;
	if (key != 0)
	{
		bucket = key_bucket(w, a, key);
		e->key_next = *bucket;
		*bucket = i;
	}
	return e;
}

static void
release(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	int i = index_of(a, e);
	int *p;

	for (p = id_bucket(w, a, e->id); *p != i; p = &a->entries[*p].id_next)
		;
	*p = e->id_next;
	if (e->key != 0)
	{
		for (p = key_bucket(w, a, e->key); *p != i; p = &a->entries[*p].key_next)
			;
		*p = e->key_next;
	}
	e->state = WORK_FREE;
	e->id_next = w->free;
	w->free = i;
	w->nused--;
}

static bool
is_key_busy(WorkWindow *w, WorkArrays *a, uint32 key)
{
	for (int i = *key_bucket(w, a, key); i != NONE; i = a->entries[i].key_next)
		if (a->entries[i].key == key &&
			(a->entries[i].state == WORK_TAKEN || a->entries[i].state == WORK_HELD))
			return true;
	return false;
}

static void
become_ready(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	e->state = WORK_READY;
	e->time = DT_NOBEGIN;
	heap_up(a, a->ready, w->nready++, index_of(a, e));
}

/* The first of the key that waits for it goes on; true if there is one. */
static bool
unblock(WorkWindow *w, WorkArrays *a, uint32 key)
{
	WorkEntry *first = NULL;

	if (key == 0 || is_key_busy(w, a, key))
		return false;
	for (int i = *key_bucket(w, a, key); i != NONE; i = a->entries[i].key_next)
	{
		WorkEntry *e = &a->entries[i];

		if (e->key == key && e->state == WORK_BLOCKED && (first == NULL || e->id < first->id))
			first = e;
	}
	if (first)
		become_ready(w, a, first);
	return first != NULL;
}

static void
put_timed(WorkWindow *w, WorkArrays *a, WorkEntry *e, WorkState state)
{
	e->state = state;
	if (state == WORK_HELD)
		w->nheld++;
	else
		w->ndelayed++;
	heap_up(a, a->timed, w->ntimed++, index_of(a, e));
}

static void
take_out_timed(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	if (e->state == WORK_HELD)
		w->nheld--;
	else
		w->ndelayed--;
	heap_remove(a, a->timed, --w->ntimed, e->heap);
}

void
braid_work_window_put(WorkWindow *w, WorkArrays *a, WorkEntry *e, WorkState state)
{
	if (e->state == WORK_TAKEN)
	{
		w->ntaken--;
		if (TransactionIdIsValid(e->xid))
			w->nprepared--;
		e->xid = InvalidTransactionId;
	}
	switch (state)
	{
		case WORK_READY:
			become_ready(w, a, e);
			break;
		case WORK_DELAYED:
		case WORK_HELD:
			put_timed(w, a, e, state);
			break;
		case WORK_TAKEN:
			e->state = state;
			w->ntaken++;
			if (TransactionIdIsValid(e->xid))
				w->nprepared++;
			break;
		case WORK_DONE:
			e->state = state;
			if (w->scanned.due == w->clock.due && w->scanned.number == w->clock.number &&
				!w->rescan)
				release(w, a, e);
			else
				w->ndone++;
			break;
		default:
			Assert(false);
	}
}

WorkEntry *
braid_work_window_take(WorkWindow *w, WorkArrays *a)
{
	while (w->nready > 0)
	{
		WorkEntry *e = &a->entries[a->ready[0]];

		heap_remove(a, a->ready, --w->nready, 0);
		if (w->one_per_key && e->key != 0 && is_key_busy(w, a, e->key))
		{
			e->state = WORK_BLOCKED;
			continue;
		}
		e->before = WORK_READY;
		e->is_unknown = e->is_hold = false;
		e->state = WORK_TAKEN;
		w->ntaken++;
		return e;
	}
	return NULL;
}

void
braid_work_window_claim(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	e->before = e->state;
	take_out_timed(w, a, e);
	e->is_unknown = false;
	e->state = WORK_TAKEN;
	w->ntaken++;
}

void
braid_work_window_set_time(WorkWindow *w, WorkArrays *a, WorkEntry *e, TimestampTz time)
{
	take_out_timed(w, a, e);
	e->time = time;
	put_timed(w, a, e, WORK_HELD);
}

void
braid_work_window_expire(WorkWindow *w, WorkArrays *a, TimestampTz now)
{
	while (w->ntimed > 0 && a->entries[a->timed[0]].time <= now)
	{
		WorkEntry *e = &a->entries[a->timed[0]];
		bool was_held = e->state == WORK_HELD;

		take_out_timed(w, a, e);
		if (was_held)
			e->failure = WORK_TIMED_OUT;
		become_ready(w, a, e);
		if (was_held)
			(void) unblock(w, a, e->key);
	}
}

bool
braid_work_window_is_after_clock(const WorkWindow *w, TimestampTz due, int64 number)
{
	return due > w->clock.due || (due == w->clock.due && number > w->clock.number);
}

/* It goes on as what was carried for it. */
static void
go_on(WorkWindow *w, WorkArrays *a, WorkEntry *e)
{
	w->retried++;
	if (braid_work_window_is_after_clock(w, e->next_due, e->next_number))
	{
		w->next_due = Min(w->next_due, e->next_due);
		braid_work_window_put(w, a, e, WORK_DONE);
		return;
	}
	e->number = e->next_number;
	e->next_number = 0;
	e->segment = WORK_CARRIED;
	braid_work_window_put(w, a, e, WORK_READY);
}

bool
braid_work_window_end(WorkWindow *w, WorkArrays *a, WorkEntry *e, bool is_commit)
{
	uint32 key = e->key;
	bool is_ready = false;

	Assert(e->state == WORK_TAKEN);
	if (is_commit && e->is_unknown)
	{
		/* It may have been rejected, and be carried by now. */
		w->rescan = true;
		w->next_due = DT_NOBEGIN;
		braid_work_window_put(w, a, e, WORK_DONE);
	}
	else if (is_commit && e->next_number > 0)
	{
		go_on(w, a, e);
		is_ready = true; /* or will be: who waits looks when */
	}
	else if (is_commit && e->is_hold)
	{
		e->is_hold = false;
		braid_work_window_put(w, a, e, WORK_HELD);
	}
	else if (is_commit)
	{
		w->done++;
		braid_work_window_put(w, a, e, WORK_DONE);
	}
	else
	{
		e->next_number = 0;
		e->is_hold = false;
		if (e->before == WORK_READY)
			e->failure = WORK_ROLLED_BACK;
		is_ready = e->before == WORK_READY;
		braid_work_window_put(w, a, e, e->before);
	}
	return unblock(w, a, key) || is_ready;
}

bool
braid_work_window_end_prepared(WorkWindow *w, WorkArrays *a)
{
	bool is_ready = false;

	for (int i = 0; i < w->capacity && w->nprepared > 0; i++)
	{
		WorkEntry *e = &a->entries[i];

		if (e->state == WORK_TAKEN && TransactionIdIsValid(e->xid) &&
			!TransactionIdIsInProgress(e->xid))
			is_ready |= braid_work_window_end(w, a, e, TransactionIdDidCommit(e->xid));
	}
	return is_ready;
}

void
braid_work_window_end_scan(WorkWindow *w, WorkArrays *a)
{
	for (int i = 0; i < w->capacity && w->ndone > 0; i++)
	{
		if (a->entries[i].state != WORK_DONE)
			continue;
		release(w, a, &a->entries[i]);
		w->ndone--;
	}
}

TimestampTz
braid_work_window_next_time(const WorkWindow *w, const WorkArrays *a)
{
	TimestampTz next = w->next_due;

	if (w->ntimed > 0)
		next = Min(next, a->entries[a->timed[0]].time);
	return next;
}

void
braid_work_window_init(void)
{
	DefineCustomIntVariable("braid.topic_work_groups",
							"Sets how many consumer groups of mode work can be in use at once.",
							"Others take the place of those that are idle.", &max_windows, 64, 1,
							65536, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.topic_work_window",
		"Sets how many messages of a consumer group of mode work are looked at.",
		"Those that are taken or held count, and priority decides among them.", &window_capacity,
		1024, 16, 1048576, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	braid_shmem_register(&windows_area);
}
