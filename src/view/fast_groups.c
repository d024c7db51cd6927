/*
 * fast_groups.c
 *	  Groups of rows, by keys whose values are equal if their bits are.
 *
 * NOTES
 *	  A group is a row of words: which keys are null, the keys, then what is kept
 *	  for it.  All are in one array, in the order in which they were found; a
 *	  hash table leads from keys to places in it.  Rows are looked up some at a
 *	  time, so that what follows are short loops over columns and groups.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "view/fast_group.h"

#define FIRST_GROUPS 16
#define NO_GROUP PG_UINT32_MAX
#define NEAR_BITS 17	/* of places of keys that are near each other, */
#define FEW_ROWS 500	/* unless there are only so many rows, */
#define MAX_NEAR_KEYS 4 /* or more keys */
#define FAR_AWAY (1U << 31)

typedef struct FastEntry
{
	uint32 hash;
	uint32 group;
	char status;
} FastEntry;

/* What is looked up: the keys of the row, and where groups are. */
typedef struct FastLookup
{
	FastGroups *groups;
	const uint64 *keys;
} FastLookup;

static inline bool
is_group(void *private_data, uint32 group)
{
	FastLookup *lookup = private_data;
	const uint64 *a = braid_fast_group(lookup->groups, group);
	const uint64 *b = lookup->keys;

	for (int i = 0; i < lookup->groups->nkey_words; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

#define SH_PREFIX fast
#define SH_ELEMENT_TYPE FastEntry
#define SH_KEY_TYPE uint32
#define SH_KEY group
#define SH_HASH_KEY(table, key) (key)
#define SH_EQUAL(table, group, key) is_group((table)->private_data, group)
#define SH_SCOPE static inline
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* ---------------------------------------------------------------- begin */

static int
words_of(FastColumn *column)
{
	return (column->length + sizeof(uint64) - 1) / sizeof(uint64);
}

static void
place_keys(FastGroups *groups)
{
	groups->nkey_words = 1;
	for (int i = 0; i < groups->nkeys; i++)
	{
		FastKey *key = &groups->keys[i];

		key->word = groups->nkey_words;
		key->nwords = words_of(key->column);
		groups->nkey_words += key->nwords;
	}
}

void
braid_fast_groups_open(FastGroups *groups, int nstate_words, Size limit)
{
	FastLookup *lookup = palloc0(sizeof(FastLookup));

	lookup->groups = groups;
	groups->table = fast_create(CurrentMemoryContext, FIRST_GROUPS, lookup);
	place_keys(groups);
	groups->nwords = groups->nkey_words + nstate_words;
	groups->room = FIRST_GROUPS;
	groups->words = palloc((Size) groups->room * groups->nwords * sizeof(uint64));
	groups->limit = limit;
}

static void
make_row_room(FastGroups *groups, int nrows)
{
	if (nrows <= groups->nroom)
		return;
	groups->nroom = nrows;
	groups->found = palloc(sizeof(uint32) * nrows);
	groups->hashes = palloc(sizeof(uint32) * nrows);
	groups->row_keys = palloc(sizeof(uint64) * nrows * groups->nkey_words);
}

/* ---------------------------------------------------------------- keys of rows */

/* One of a few lengths, with its sign. */
static inline uint64
by_value_word(Datum value, int length)
{
	switch (length)
	{
		case 1:
			return (uint64) (int64) (int8) value;
		case 2:
			return (uint64) (int64) (int16) value;
		case 4:
			return (uint64) (int64) (int32) value;
		default:
			return (uint64) value;
	}
}

static void
take_by_value(FastGroups *groups, FastKey *key, int nrows)
{
	const Datum *values = key->column->values;
	uint64 *to = groups->row_keys + key->word;
	int length = key->column->length;

	for (int i = 0; i < nrows; i++, to += groups->nkey_words)
		*to = by_value_word(values[i], length);
}

static void
take_by_reference(FastGroups *groups, FastKey *key, int nrows)
{
	uint64 *to = groups->row_keys + key->word;

	for (int i = 0; i < nrows; i++, to += groups->nkey_words)
	{
		to[key->nwords - 1] = 0;
		if (!key->column->nulls[i])
			memcpy(to, DatumGetPointer(key->column->values[i]), key->column->length);
	}
}

static void
mark_nulls(FastGroups *groups, int nth, int nrows)
{
	FastKey *key = &groups->keys[nth];
	uint64 *row = groups->row_keys;

	for (int i = 0; i < nrows; i++, row += groups->nkey_words)
		if (key->column->nulls[i])
		{
			row[0] |= UINT64CONST(1) << nth;
			memset(row + key->word, 0, sizeof(uint64) * key->nwords);
		}
}

static void
take_keys(FastGroups *groups, int nrows)
{
	for (int i = 0; i < nrows; i++)
		groups->row_keys[(Size) i * groups->nkey_words] = 0;
	for (int i = 0; i < groups->nkeys; i++)
	{
		FastKey *key = &groups->keys[i];

		if (key->column->by_value)
			take_by_value(groups, key, nrows);
		else
			take_by_reference(groups, key, nrows);
		if (key->column->any_null)
			mark_nulls(groups, i, nrows);
	}
}

static inline uint32
hash_of(const uint64 *keys, int nwords)
{
	uint64 hash = keys[0];

	for (int w = 1; w < nwords; w++)
		hash = (hash ^ keys[w]) * UINT64CONST(0x9E3779B97F4A7C15);
	return (uint32) (hash >> 32) ^ (uint32) hash;
}

static void
hash_keys(FastGroups *groups, int nrows)
{
	const uint64 *row = groups->row_keys;

	for (int i = 0; i < nrows; i++, row += groups->nkey_words)
		groups->hashes[i] = hash_of(row, groups->nkey_words);
}

/* ---------------------------------------------------------------- looking up */

static bool
grow(FastGroups *groups)
{
	Size width = groups->nwords * sizeof(uint64);
	uint32 room = groups->room * 2;

	if (groups->n < groups->room)
		return true;
	if (room > PG_INT32_MAX || room * (width + 2 * sizeof(FastEntry)) > groups->limit)
		return false;
	groups->words = repalloc_huge(groups->words, room * width);
	groups->room = room;
	return true;
}

static void
add_group(FastGroups *groups, const uint64 *keys)
{
	uint64 *group = braid_fast_group(groups, groups->n++);

	memcpy(group, keys, sizeof(uint64) * groups->nkey_words);
	memset(group + groups->nkey_words, 0, sizeof(uint64) * (groups->nwords - groups->nkey_words));
}

/* The group of a key, which may be new; NO_GROUP: there is no memory for it. */
static uint32
look_up(FastGroups *groups, const uint64 *keys, uint32 hash)
{
	FastEntry *entry;
	bool found;

	((FastLookup *) groups->table->private_data)->keys = keys;
	entry = fast_insert_hash(groups->table, groups->n, hash, &found);
	if (found)
		return entry->group;
	entry->group = groups->n;
	if (!grow(groups))
		return NO_GROUP;
	add_group(groups, keys);
	return entry->group;
}

/* Of rows without a key. */
static bool
find_only_group(FastGroups *groups, int nrows)
{
	uint64 no_key = 0;

	if (nrows <= groups->nroom)
		return true;
	make_row_room(groups, nrows);
	memset(groups->found, 0, sizeof(uint32) * nrows);
	return look_up(groups, &no_key, 0) != NO_GROUP;
}

static bool
find_by_hash(FastGroups *groups, int nrows)
{
	const uint64 *keys;

	make_row_room(groups, nrows);
	take_keys(groups, nrows);
	hash_keys(groups, nrows);
	keys = groups->row_keys;
	for (int i = 0; i < nrows; i++, keys += groups->nkey_words)
		if ((groups->found[i] = look_up(groups, keys, groups->hashes[i])) == NO_GROUP)
			return false;
	return true;
}

/* ---------------------------------------------------------------- integers near each other */

/* Bits that tell numbers apart that are not further from each other than that. */
static int
bits_for(uint64 distance)
{
	return distance == 0 ? 0 : pg_leftmost_one_pos64(distance) + 1;
}

/* The least value, and in *distance how far the greatest one is from it. */
static int64
find_least(const FastColumn *c, int nrows, uint64 *distance)
{
	int64 least = (int64) by_value_word(c->values[0], c->length);
	int64 greatest = least;

	for (int i = 1; i < nrows; i++)
	{
		int64 value = (int64) by_value_word(c->values[i], c->length);

		least = Min(least, value);
		greatest = Max(greatest, value);
	}
	*distance = (uint64) greatest - (uint64) least;
	return least;
}

/*
 * Keys that are near to those of the first rows are places in an array, made of the
 * distances from the least ones.  A single key has some room around.
 */
static void
begin_near(FastGroups *groups, int nrows)
{
	int nbits = 0;

	for (int i = 0; i < groups->nkeys; i++)
	{
		FastKey *key = &groups->keys[i];
		uint64 distance;

		key->least = find_least(key->column, nrows, &distance);
		key->shift = nbits;
		key->bits = bits_for(distance);
		nbits += key->bits;
		if (nbits > NEAR_BITS)
		{
			groups->is_scattered = true;
			return;
		}
	}
	if (groups->nkeys == 1)
	{
		groups->keys[0].bits = Min(nbits + 2, NEAR_BITS);
		groups->keys[0].least -=
			(INT64CONST(1) << groups->keys[0].bits >> 1) - (INT64CONST(1) << nbits >> 1);
		nbits = groups->keys[0].bits;
	}
	groups->near = palloc(sizeof(uint32) << nbits);
	memset(groups->near, 0xff, sizeof(uint32) << nbits);
}

/* The places of rows, in hashes; FAR_AWAY of those that have none. */
static void
find_places(FastGroups *groups, int nrows)
{
	uint32 *places = groups->hashes;

	memset(places, 0, sizeof(uint32) * nrows);
	for (int k = 0; k < groups->nkeys; k++)
	{
		FastKey *key = &groups->keys[k];
		const Datum *values = key->column->values;
		int length = key->column->length;
		uint64 least = (uint64) key->least;
		uint64 limit = UINT64CONST(1) << key->bits;
		int shift = key->shift;

		for (int i = 0; i < nrows; i++)
		{
			uint64 distance = by_value_word(values[i], length) - least;

			places[i] |= distance < limit ? (uint32) distance << shift : FAR_AWAY;
		}
	}
}

/* The group of one row, by the hash of its keys. */
static uint32
find_far(FastGroups *groups, int row)
{
	uint64 keys[MAX_NEAR_KEYS + 1] = {0};

	for (int k = 0; k < groups->nkeys; k++)
		keys[k + 1] =
			by_value_word(groups->keys[k].column->values[row], groups->keys[k].column->length);
	return look_up(groups, keys, hash_of(keys, groups->nkey_words));
}

static void
note_scattering(FastGroups *groups, int nfar, int nrows)
{
	groups->is_scattered = nfar > nrows / 2 && groups->n > 1 << (NEAR_BITS - 2);
}

/* By one key, of this length. */
static pg_attribute_always_inline bool
find_near_by(FastGroups *groups, int nrows, int length)
{
	const Datum *values = groups->keys[0].column->values;
	const uint64 least = (uint64) groups->keys[0].least;
	const uint64 limit = UINT64CONST(1) << groups->keys[0].bits;
	uint32 *near = groups->near;
	uint32 *found = groups->found;
	int nfar = 0;

	for (int i = 0; i < nrows; i++)
	{
		uint64 place = by_value_word(values[i], length) - least;
		uint32 group = place < limit ? near[place] : NO_GROUP;

		if (unlikely(group == NO_GROUP))
		{
			group = find_far(groups, i);
			if (group == NO_GROUP)
				return false;
			if (place < limit)
				near[place] = group;
			nfar++;
		}
		found[i] = group;
	}
	note_scattering(groups, nfar, nrows);
	return true;
}

/* By several. */
static bool
find_near_by_all(FastGroups *groups, int nrows)
{
	int nfar = 0;

	find_places(groups, nrows);
	for (int i = 0; i < nrows; i++)
	{
		uint32 place = groups->hashes[i];
		uint32 group = place < FAR_AWAY ? groups->near[place] : NO_GROUP;

		if (unlikely(group == NO_GROUP))
		{
			group = find_far(groups, i);
			if (group == NO_GROUP)
				return false;
			if (place < FAR_AWAY)
				groups->near[place] = group;
			nfar++;
		}
		groups->found[i] = group;
	}
	note_scattering(groups, nfar, nrows);
	return true;
}

static bool
find_near(FastGroups *groups, int nrows)
{
	make_row_room(groups, nrows);
	if (groups->nkeys > 1)
		return find_near_by_all(groups, nrows);
	switch (groups->keys[0].column->length)
	{
		case 4:
			return find_near_by(groups, nrows, 4);
		case 8:
			return find_near_by(groups, nrows, 8);
		default:
			return find_near_by(groups, nrows, groups->keys[0].column->length);
	}
}

/* Whether all keys are numbers without nulls, and may be near each other. */
static bool
can_be_near(FastGroups *groups, int nrows)
{
	if (groups->nkeys == 0 || groups->nkeys > MAX_NEAR_KEYS || groups->is_scattered ||
		nrows < FEW_ROWS)
		return false;
	for (int i = 0; i < groups->nkeys; i++)
		if (!groups->keys[i].column->by_value || groups->keys[i].column->any_null)
			return false;
	if (groups->near == NULL)
		begin_near(groups, nrows);
	return !groups->is_scattered;
}

/* The groups that others have found. */
static bool
find_alike(FastGroups *groups)
{
	FastGroups *alike = groups->alike;

	groups->found = alike->found;
	while (groups->n < alike->n)
	{
		if (!grow(groups))
			return false;
		add_group(groups, braid_fast_group(alike, groups->n));
	}
	return true;
}

bool
braid_fast_groups_find(FastGroups *groups, FastRows *rows)
{
	if (groups->alike)
		return find_alike(groups);
	if (groups->nkeys == 0)
		return find_only_group(groups, rows->nrows);
	if (can_be_near(groups, rows->nrows))
		return find_near(groups, rows->nrows);
	return find_by_hash(groups, rows->nrows);
}

uint64 *
braid_fast_groups_find_one(FastGroups *groups, const uint64 *keys)
{
	uint32 group = look_up(groups, keys, hash_of(keys, groups->nkey_words));

	return group == NO_GROUP ? NULL : braid_fast_group(groups, group);
}

/* ---------------------------------------------------------------- results */

typedef struct SortOrder
{
	FastGroups *groups;
	int first;
} SortOrder;

/* Of two groups by one key; nulls come last. */
static int
compare_key(FastGroups *groups, int nth, const uint64 *a, const uint64 *b)
{
	FastKey *key = &groups->keys[nth];
	int nulls = (int) (a[0] >> nth & 1) - (int) (b[0] >> nth & 1);

	if (nulls != 0 || (a[0] >> nth & 1))
		return nulls;
	if (!key->column->by_value)
		return memcmp(a + key->word, b + key->word, key->column->length);
	return (int64) a[key->word] < (int64) b[key->word]
			   ? -1
			   : (int64) a[key->word] > (int64) b[key->word];
}

static int
compare_groups(const void *a, const void *b, void *arg)
{
	SortOrder *order = arg;
	FastGroups *groups = order->groups;
	const uint64 *x = braid_fast_group(groups, *(const uint32 *) a);
	const uint64 *y = braid_fast_group(groups, *(const uint32 *) b);
	int result = compare_key(groups, order->first, x, y);

	for (int i = 0; i < groups->nkeys && result == 0; i++)
		result = compare_key(groups, i, x, y);
	return result;
}

uint32 *
braid_fast_groups_sort(FastGroups *groups, int first)
{
	SortOrder order = {groups, first};
	uint32 *sorted =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * Max(groups->n, 1));

	for (uint32 i = 0; i < groups->n; i++)
		sorted[i] = i;
	if (groups->nkeys > 0)
		qsort_arg(sorted, groups->n, sizeof(uint32), compare_groups, &order);
	return sorted;
}

Datum
braid_fast_groups_key(FastGroups *groups, uint32 group, int key, bool *isnull)
{
	const uint64 *words = braid_fast_group(groups, group);
	FastKey *k = &groups->keys[key];

	*isnull = words[0] >> key & 1;
	return k->column->by_value ? (Datum) words[k->word] : PointerGetDatum(words + k->word);
}
