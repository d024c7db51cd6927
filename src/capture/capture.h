/*
 * capture.h
 *	  From WAL to deltas: all that other modules use of capture.
 *
 * A consumer (the continuous views) declares the tables that it wants; the
 * capture worker of the database hands it their deltas, cycle by cycle.
 */
#ifndef BRAID_CAPTURE_H
#define BRAID_CAPTURE_H

#include "capture/delta.h"
#include "capture/waiting.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

/*
 * What capture calls, all in the worker.  load and lost run in a transaction
 * of their own; lock and apply in the cycle's.  What they throw ends the
 * worker, which then starts again from what is stored.
 */
typedef struct BraidConsumer
{
	/*
	 * Calls braid_capture_want() for each table needed.  Returns whether there
	 * are definitions at all; the worker ends if not.
	 */
	bool (*load)(void);

	/* What the consumer has of the table is worth nothing: rebuild it later. */
	void (*lost)(BraidSource *source);

	/*
	 * Locks, without waiting, what apply will use for this table.  False: not
	 * this time, nor any of the tables that it is tied to.
	 */
	bool (*lock)(BraidSource *source);

	/* A cycle is needed even if no WAL was written. */
	bool (*has_work)(void);

	/*
	 * Brings all that stands on the locked sources to snapshot S, which is the
	 * active one: once in each cycle, when the deltas of all of them are ready.
	 */
	void (*apply)(void);

	/* The cycle has committed: what it brought is visible since then.  Must not throw. */
	void (*committed)(TimestampTz visible);
} BraidConsumer;

extern void braid_capture_set_consumer(const BraidConsumer *consumer);

/*
 * From load: columns of the table that deltas must have, as attribute numbers.
 * Returns the name of the column with the weight.
 */
extern const char *braid_capture_want(Oid relid, Bitmapset *attnums);

/*
 * From load: something reads both tables, which were wanted before.  They, and
 * what else these are tied to, take part in a cycle all or none, since the state
 * of what reads them has them under the same S.
 */
extern void braid_capture_tie(Oid a, Oid b);

/*
 * Opens a relation to look at its definition, without a lock: loading must not
 * wait behind somebody's ACCESS EXCLUSIVE lock, or all views would.  It shows
 * what is committed; should that change, an invalidation makes us load again,
 * at the latest when a cycle takes its locks.  What is needed must be copied at
 * once.  Close it by RelationClose().
 */
extern Relation braid_capture_look_at(Oid relid);

/* From load: something could not be done now; load again soon. */
extern void braid_capture_load_again(void);

/* From load: load again when one of these relations is changed or dropped. */
extern void braid_capture_watch(Oid relid);

/* From apply: the tables, as BraidSource, those that take no part included. */
extern List *braid_capture_sources(void);
extern BraidSource *braid_capture_source(Oid relid); /* NULL if it is not wanted */

/* From apply: whether the table takes part in the cycle, and is at S. */
extern bool braid_capture_is_locked(Oid relid);

/* From apply: the position in WAL that was decoded up to; elsewhere, where WAL ends. */
extern XLogRecPtr braid_capture_position(void);

/* From apply: whether there is anything new in a table that takes part. */
extern bool braid_capture_any_news(void);

/*
 * Changes set aside for what is made beside the worker, from the end of this
 * cycle on; see tap.c.  From apply: begin, add the tables, which must be locked,
 * with the columns wanted, and end in that of a later cycle.
 */
typedef struct BraidTap BraidTap;

extern BraidTap *braid_capture_tap_begin(void);
extern void braid_capture_tap_add(BraidTap *tap, Oid relid, Bitmapset *attnums);
extern void braid_capture_tap_end(BraidTap *tap);

/* Rows do not tell all that has changed: end it and begin anew. */
extern bool braid_capture_tap_is_broken(BraidTap *tap);

/*
 * From apply, the table being locked: what brings it from s0 to S, as a delta of
 * its source would.  s0 was taken after the tap was begun.  For this cycle.
 */
extern BraidDelta *braid_capture_tap_delta(BraidTap *tap, Oid relid, const BraidFrontier *s0);

/* From apply: what is made of the table, and of those tied to it, has taken so long. */
extern void braid_capture_charge(Oid relid, int64 microseconds);

/*
 * What a tuplestore may keep in memory, in kB, as part of the worker's budget
 * (memory.c), and its return when the tuplestore has been freed.
 */
extern int braid_capture_take_memory(int at_most);
extern void braid_capture_return_memory(int kb);

/* The settings under which views are evaluated, in this process. */
extern void braid_capture_use_settings(void);

/* The relations that carry the rows of a table: itself, or its leaf partitions. */
extern List *braid_capture_members(Oid relid);

/*
 * Sees to it that updates and deletes of the table write whole old rows, which
 * the current user must be entitled to change, and remembers what was before.
 * Keeps the worker from undoing that until the transaction ends.
 */
extern void braid_capture_claim(Oid relid);

/* Raises an error that says the mend if WAL is not written for decoding. */
extern void braid_capture_require_wal(void);

/* Makes the worker start, and load again, once this transaction commits. */
extern void braid_capture_request_at_commit(Oid changed_relid);

/* As after a writer's commit, for commits that carry no transaction id. */
extern void braid_capture_wake_at_commit(void);

extern void braid_capture_init(void);

#endif /* BRAID_CAPTURE_H */
