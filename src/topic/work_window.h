/*
 * work_window.h
 *	  What the consumers of a group of mode work share: a window of its messages.
 *
 * All functions that take a window want its lock held exclusively, unless they say otherwise.
 */
#ifndef BRAID_WORK_WINDOW_H
#define BRAID_WORK_WINDOW_H

#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "topic/work_entry.h"
#include "utils/dsa.h"

/* What carried messages with a time are ordered by. */
typedef struct WorkTime
{
	TimestampTz due;
	int64 number;
} WorkTime;

/*
 * Carried messages that are due after clock are not in the window; all others are, or are
 * done. While scanned differs from it, those in between are looked for.
 */
typedef struct WorkWindow
{
	LWLock lock;			  /* guards all that follows */
	ConditionVariable loaded; /* the loader has ended */
	Oid dbid;				  /* invalid: not in use */
	int group;
	int topic;
	bool is_built;
	bool is_catching_up; /* some of what is still to be loaded may be done */
	bool one_per_key;
	int loader;	 /* pid of the process that loads, or 0 */
	bool is_cut; /* there is more to load than there was room for */
	TimestampTz used_at;
	TimestampTz loaded_at;
	TimestampTz built_at;
	TimestampTz next_due; /* no carried message that is not in the window is due before */
	WorkTime clock;
	WorkTime scanned;
	bool rescan; /* all carried ones, as some may be neither in the window nor after the clock */

	int capacity;
	int nused;
	int ntaken;
	int nheld;
	int nprepared;
	int nready;
	int ndone;
	int ntimed; /* DELAYED and HELD */
	int ndelayed;
	int free;
	dsa_pointer memory;	   /* entries, heaps and buckets */
	dsa_pointer positions; /* how far was loaded in each partition, see work_load.c */
	uint64 taken;		   /* statistics */
	uint64 done;
	uint64 retried;
	uint64 dead;
} WorkWindow;

/* The arrays of a window, in this process. */
typedef struct WorkArrays
{
	WorkEntry *entries;
	int *ready; /* heap by priority and id */
	int *timed; /* heap by time */
	int *ids;	/* buckets */
	int *keys;
} WorkArrays;

/*
 * Locks the window of the group, which is made if there is none (53400 if there is no room).
 * a is set up.  The caller has no lock.
 */
extern WorkWindow *braid_work_window_lock(int topic, int group, WorkArrays *a);
extern void braid_work_window_unlock(WorkWindow *w);

/* The same if there is one; NULL otherwise. */
extern WorkWindow *braid_work_window_lock_existing(int group, WorkArrays *a);

/* Locks again a window that has entries that are TAKEN, which cannot have gone; does not throw. */
extern void braid_work_window_relock(WorkWindow *w, WorkArrays *a);

extern WorkEntry *braid_work_window_find(WorkWindow *w, WorkArrays *a, int64 id);

/* A new entry, to be filled in and put somewhere; NULL if the window is full. */
extern WorkEntry *braid_work_window_add(WorkWindow *w, WorkArrays *a, int64 id, uint32 key);

/* The entry is in no state (new) or TAKEN. */
extern void braid_work_window_put(WorkWindow *w, WorkArrays *a, WorkEntry *e, WorkState state);

/* The best one that is READY, which becomes TAKEN; NULL if there is none. */
extern WorkEntry *braid_work_window_take(WorkWindow *w, WorkArrays *a);

/* One that is HELD or DELAYED becomes TAKEN. */
extern void braid_work_window_claim(WorkWindow *w, WorkArrays *a, WorkEntry *e);

/* Changes the time of one that is HELD. */
extern void
braid_work_window_set_time(WorkWindow *w, WorkArrays *a, WorkEntry *e, TimestampTz time);

/* Those whose time has come become READY. */
extern void braid_work_window_expire(WorkWindow *w, WorkArrays *a, TimestampTz now);

/* The transaction that has TAKEN it has ended. True if others can take it now. */
extern bool braid_work_window_end(WorkWindow *w, WorkArrays *a, WorkEntry *e, bool is_commit);

/* Those of prepared transactions that have ended; true if others can take any now. */
extern bool braid_work_window_end_prepared(WorkWindow *w, WorkArrays *a);

/* The scan up to the clock is through, or was given up. */
extern void braid_work_window_end_scan(WorkWindow *w, WorkArrays *a);

extern bool braid_work_window_is_after_clock(const WorkWindow *w, TimestampTz due, int64 number);

/* When something will happen in the window by itself. */
extern TimestampTz braid_work_window_next_time(const WorkWindow *w, const WorkArrays *a);

/* Of this database: n windows, to be looked at by their groups. */
extern int *braid_work_window_groups(int *n);

/* Too much of it waits for a time: it is to be carried. */
extern bool braid_work_window_is_crowded(const WorkWindow *w);

extern int braid_work_window_max(void); /* number of windows */
extern int braid_work_window_capacity(void);
extern dsa_area *braid_work_window_dsa(void);

/* Which of the two segments rows of this database are written to. */
extern int braid_work_window_segment(void);
extern void braid_work_window_set_segment(int segment);

extern void braid_work_window_init(void);

#endif /* BRAID_WORK_WINDOW_H */
