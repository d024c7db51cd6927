/*
 * fast_group.h
 *	  Groups of rows, and what is kept for each.
 */
#ifndef BRAID_FAST_GROUP_H
#define BRAID_FAST_GROUP_H

#include "view/fast_rows.h"

/* ---------------------------------------------------------------- groups: fast_groups.c */

/* How often each key is there, and what is kept for it, are words behind the key's. */
typedef struct FastKey
{
	FastColumn *column;
	int word; /* the first one */
	int nwords;
	int64 least; /* of those that are near each other */
	int bits;
	int shift;
} FastKey;

typedef struct FastGroups
{
	int nkeys;
	FastKey *keys;
	int nkey_words; /* the first one: which keys are null */
	int nwords;		/* of a group */
	uint64 *words;	/* of all groups */
	uint32 n;
	uint32 room;
	Size limit;	   /* bytes that may be used */
	uint32 *found; /* the group of each row that is looked at */
	uint32 *hashes;
	uint64 *row_keys;
	int nroom;		   /* of rows */
	uint32 *near;	   /* groups by place, see begin_near() */
	bool is_scattered; /* keys are not near each other */
	struct fast_hash *table;
	struct FastGroups
		*alike; /* others of the same rows by the same keys, which are found first; or NULL */
} FastGroups;

/* The keys have been set. */
extern void braid_fast_groups_open(FastGroups *groups, int nstate_words, Size limit);

/* Finds or makes the group of each row.  False: they need more memory than they may use. */
extern bool braid_fast_groups_find(FastGroups *groups, FastRows *rows);

/* The group with these words of keys, of another process; NULL if there is no memory for it. */
extern uint64 *braid_fast_groups_find_one(FastGroups *groups, const uint64 *keys);

/* All groups, sorted by the keys; first is the key that comes first. */
extern uint32 *braid_fast_groups_sort(FastGroups *groups, int first);

extern Datum braid_fast_groups_key(FastGroups *groups, uint32 group, int key, bool *isnull);

static inline uint64 *
braid_fast_group(FastGroups *groups, uint32 group)
{
	return groups->words + (Size) group * groups->nwords;
}

/* ---------------------------------------------------------------- steps: fast_step.c */

typedef enum FastStepKind
{
	FAST_ROW_COUNT, /* rows, by weight; whether one went */
	FAST_RAW_COUNT, /* rows as such */
	FAST_COUNT,		/* values that are not null, by weight: kept is how many are */
	FAST_SUM,		/* of small integers, which cannot overflow */
	FAST_WIDE_SUM,	/* of int8, as a numeric */
	FAST_EXACT,		/* of floats, as exact numbers */
	FAST_PRODUCT,	/* the same of their products */
	FAST_XOR,
	FAST_MIN,
	FAST_MAX
} FastStepKind;

/* What is kept for each group by one pass over the rows. */
typedef struct FastStep
{
	FastStepKind kind;
	FastColumn *value;
	FastColumn *second; /* of PRODUCT */
	int word;			/* the first one, of a group */
	int rows_word;		/* of COUNT: that of ROW_COUNT */
} FastStep;

/* How many words of a group it takes; they are zero in the beginning. */
extern int braid_fast_step_words(FastStepKind kind);

/* Takes the rows that are looked at; weight is NULL if all are +1. */
extern void braid_fast_step(FastStep *step, FastGroups *groups, FastColumn *weight, int nrows);

/* Adds what was kept of other rows of the group; these come after. */
extern void braid_fast_step_combine(FastStep *step, uint64 *group, const uint64 *other);

/* Puts its columns of a group, and returns how many these are. */
extern int braid_fast_step_result(FastStep *step, uint64 *group, Datum *values, bool *nulls);

/* Whether a minimum or maximum of the type can be kept. */
extern bool braid_fast_has_extremes(Oid type);

/* ---------------------------------------------------------------- all of them: fast.c */

/* What is done with rows. */
typedef struct FastTask
{
	FastRows rows;
	FastGroups groups;
	FastColumn *weight; /* NULL if all are +1 */
	FastStep *steps;
	int nsteps;
	int nhelpers; /* other processes that have had a part in it */
} FastTask;

/* Does it with the rows that are looked at, or with all of them.  False: there are more groups than there is memory for. */
extern bool braid_fast_task_take(FastTask *task);
extern bool braid_fast_task_run(FastTask *task);

#endif /* BRAID_FAST_GROUP_H */
