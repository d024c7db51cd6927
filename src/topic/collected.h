/*
 * collected.h
 *	  Places of the first messages of an interval, by id, and what a session keeps of them.
 */
#ifndef BRAID_COLLECTED_H
#define BRAID_COLLECTED_H

#include "topic/reader.h"

typedef struct BraidCollected
{
	int topic;
	int part;
	int capacity;
	int n;
	int next;	 /* those before were used */
	bool is_cut; /* the interval has more than there is room for */
	BraidPlace *places;
	Oid files[BRAID_MAX_SEGMENTS]; /* of the segments when they were read; 0: none */
} BraidCollected;

/* Empty; allocates in the current memory context. */
extern void
braid_collected_begin(BraidCollected *c, const BraidTopic *topic, int part, int capacity);

extern void braid_collected_clear(BraidCollected *c);

/* False if it is not one of the first and there is no room for it. */
extern bool braid_collected_add(BraidCollected *c, const BraidPlace *place);

/* After the last one was added. */
extern void braid_collected_sort(BraidCollected *c);

/* Keeps what was not used for the next reader that comes to the position. */
extern void braid_collected_keep(const BraidCollected *c, const BraidPosition *position);

/* Finds what was kept; false if there is nothing. */
extern bool braid_collected_take_over(BraidCollected *c, const BraidPosition *position);

#endif /* BRAID_COLLECTED_H */
