/*
 * collected.c
 *	  Places of the first messages of an interval, by id, and what a session keeps of them.
 *
 * NOTES
 *	  While there is room places are appended, mostly in order.  When there is none
 *	  they become a heap with the highest id on top, which makes way for a lower one.
 *
 *	  What is kept from one reader to the next are places in tables, which are good
 *	  until a table is written anew (VACUUM FULL): it is in another file then.  All
 *	  transactions of an interval have ended, so nothing can have been added to it.
 */
#include "postgres.h"

#include "topic/collected.h"
#include "utils/memutils.h"

#define NKEPT 8
#define MIN_KEPT 32 /* fewer are sooner read again */

typedef struct Kept
{
	MemoryContext context; /* NULL: nothing is kept */
	BraidPosition position;
	BraidCollected collected;
} Kept;

static Kept kept[NKEPT];
static int next_kept = 0;

void
braid_collected_begin(BraidCollected *c, const BraidTopic *topic, int part, int capacity)
{
	c->topic = topic->id;
	c->part = part;
	c->capacity = capacity;
	c->places = palloc(capacity * sizeof(BraidPlace));
	braid_collected_clear(c);
}

void
braid_collected_clear(BraidCollected *c)
{
	c->n = 0;
	c->next = 0;
	c->is_cut = false;
}

/* ---------------------------------------------------------------- the heap */

static void
sift_down(BraidPlace *places, int n, int i)
{
	BraidPlace moving = places[i];

	for (;;)
	{
		int child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && places[child + 1].id > places[child].id)
			child++;
		if (places[child].id <= moving.id)
			break;
		places[i] = places[child];
		i = child;
	}
	places[i] = moving;
}

bool
braid_collected_add(BraidCollected *c, const BraidPlace *place)
{
	if (c->n < c->capacity)
	{
		c->places[c->n++] = *place;
		return true;
	}
	if (!c->is_cut)
	{
		for (int i = c->n / 2 - 1; i >= 0; i--)
			sift_down(c->places, c->n, i);
		c->is_cut = true;
	}
	if (place->id >= c->places[0].id)
		return false;
	c->places[0] = *place;
	sift_down(c->places, c->n, 0);
	return true;
}

static int
compare_places(const void *a, const void *b)
{
	int64 x = ((const BraidPlace *) a)->id;
	int64 y = ((const BraidPlace *) b)->id;

	return x < y ? -1 : x > y ? 1 : 0;
}

void
braid_collected_sort(BraidCollected *c)
{
	qsort(c->places, c->n, sizeof(BraidPlace), compare_places);
}

/* ---------------------------------------------------------------- from reader to reader */

static bool
is_same(const BraidFrontier *a, const BraidFrontier *b)
{
	return a->xmax == b->xmax && a->nxip == b->nxip &&
		   memcmp(a->xip, b->xip, a->nxip * sizeof(uint64)) == 0;
}

static bool
is_same_interval(const BraidPosition *a, const BraidPosition *b)
{
	return a->has_todo && b->has_todo && is_same(&a->done, &b->done) &&
		   is_same(&a->todo, &b->todo) && a->below == b->below &&
		   (a->below == 0 || is_same(&a->as_of, &b->as_of));
}

static bool
files_are_same(const BraidCollected *then, const BraidCollected *now)
{
	for (int i = 0; i < BRAID_MAX_SEGMENTS; i++)
		if (OidIsValid(then->files[i]) && OidIsValid(now->files[i]) &&
			then->files[i] != now->files[i])
			return false;
	return true;
}

static void
forget(Kept *k)
{
	if (k->context)
		MemoryContextDelete(k->context);
	k->context = NULL;
}

/* What is kept of a partition, NULL if nothing. */
static Kept *
find_kept(int topic, int part)
{
	for (int i = 0; i < NKEPT; i++)
		if (kept[i].context && kept[i].collected.topic == topic && kept[i].collected.part == part)
			return &kept[i];
	return NULL;
}

void
braid_collected_keep(const BraidCollected *c, const BraidPosition *position)
{
	Kept *k = find_kept(c->topic, c->part);
	MemoryContext context;
	MemoryContext caller;
	int left = c->n - c->next;

	if (k)
		forget(k);
	if (left < MIN_KEPT)
		return;
	if (!k)
	{
		k = &kept[next_kept];
		next_kept = (next_kept + 1) % NKEPT;
		forget(k);
	}
	context =
		AllocSetContextCreate(TopMemoryContext, "braid places of messages", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	braid_position_copy(&k->position, position);
	k->collected = *c;
	k->collected.places = palloc(left * sizeof(BraidPlace));
	memcpy(k->collected.places, &c->places[c->next], left * sizeof(BraidPlace));
	k->collected.n = left;
	k->collected.next = 0;
	MemoryContextSwitchTo(caller);
	k->context = context;
}

bool
braid_collected_take_over(BraidCollected *c, const BraidPosition *position)
{
	Kept *k = find_kept(c->topic, c->part);
	BraidCollected *from;

	if (!k || !is_same_interval(&k->position, position) || position->upto < k->position.upto ||
		!files_are_same(&k->collected, c))
		return false;
	from = &k->collected;
	while (from->next < from->n && from->places[from->next].id <= position->upto)
		from->next++;
	if (from->n - from->next > c->capacity)
	{
		c->capacity = from->n - from->next;
		c->places = repalloc(c->places, c->capacity * sizeof(BraidPlace));
	}
	c->n = from->n - from->next;
	c->next = 0;
	c->is_cut = from->is_cut;
	memcpy(c->places, &from->places[from->next], c->n * sizeof(BraidPlace));
	return c->n > 0 || !c->is_cut;
}
