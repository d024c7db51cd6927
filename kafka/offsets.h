/* offsets.h: how far an inward bridge has read, in a table of PostgreSQL. */
#ifndef BRAID_KAFKA_OFFSETS_H
#define BRAID_KAFKA_OFFSETS_H

#include "session.h"

typedef struct Offsets
{
	char *table;
	int n;		   /* partitions of Kafka's topic */
	int64_t *next; /* the offset that each goes on with */
	int64_t *kept; /* offsets below this one are not in the table any more */
	bool *moved;   /* since it was stored */
	int stored;	   /* how often, since old ones were removed */
} Offsets;

/* Finds the table, or makes it, and the offsets; where there are none those that a new bridge has. */
extern bool offsets_open(Session *s, rd_kafka_t *reader, Offsets *offsets);

extern void offsets_advance(Offsets *offsets, int partition, int64_t next);

/* Stores those that have moved, in the transaction that is open. */
extern bool offsets_store(Session *s, Offsets *offsets);

extern void offsets_free(Offsets *offsets);

#endif
