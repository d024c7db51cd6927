/*
 * dictionary.c
 *	  The different values of a column, in the order in which they came.
 *
 * It knows where they are in a buffer of somebody else, and finds them by a hash table with
 * linear probing, which is never more than half full.
 */
#include "postgres.h"

#include "stream/dictionary.h"
#include "utils/memutils.h"

#define NSLOTS (2 * DICTIONARY_MAX)
#define FREE_SLOT (-1)

typedef struct Entry
{
	Size offset;
	Size size;
	uint32 hash;
} Entry;

struct Dictionary
{
	int count;
	int16 slots[NSLOTS]; /* codes */
	Entry entries[DICTIONARY_MAX];
};

Dictionary *
dictionary_make(MemoryContext context)
{
	Dictionary *dictionary = MemoryContextAlloc(context, sizeof(Dictionary));

	dictionary_empty(dictionary);
	return dictionary;
}

void
dictionary_empty(Dictionary *dictionary)
{
	dictionary->count = 0;
	for (int i = 0; i < NSLOTS; i++)
		dictionary->slots[i] = FREE_SLOT;
}

int
dictionary_count(Dictionary *dictionary)
{
	return dictionary->count;
}

int
dictionary_find(Dictionary *dictionary, const char *data, const char *bytes, Size size, uint32 hash)
{
	for (uint32 slot = hash % NSLOTS;; slot = (slot + 1) % NSLOTS)
	{
		int code = dictionary->slots[slot];
		Entry *entry;

		if (code == FREE_SLOT)
			return -1;
		entry = &dictionary->entries[code];
		if (entry->hash == hash && entry->size == size &&
			memcmp(data + entry->offset, bytes, size) == 0)
			return code;
	}
}

void
dictionary_add(Dictionary *dictionary, Size offset, Size size, uint32 hash)
{
	uint32 slot = hash % NSLOTS;

	Assert(dictionary->count < DICTIONARY_MAX);

	while (dictionary->slots[slot] != FREE_SLOT)
		slot = (slot + 1) % NSLOTS;
	dictionary->slots[slot] = dictionary->count;
	dictionary->entries[dictionary->count++] = (Entry){offset, size, hash};
}

Size
dictionary_offset(Dictionary *dictionary, int code)
{
	return dictionary->entries[code].offset;
}

Size
dictionary_size(Dictionary *dictionary, int code)
{
	return dictionary->entries[code].size;
}
