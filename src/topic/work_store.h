/*
 * work_store.h
 *	  What is durable of groups of mode work: rows that are inserted, and never changed.
 */
#ifndef BRAID_WORK_STORE_H
#define BRAID_WORK_STORE_H

#include "access/htup.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "topic/group.h"
#include "topic/work_window.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#define WORK_SEGMENTS 2

/* Columns of braid_internal.work_carried_<n>, and, with died_at for due, of dead_letters. */
enum
{
	CARRIED_GROUP = 1,
	CARRIED_NUMBER,
	CARRIED_DUE,
	CARRIED_ATTEMPTS,
	CARRIED_ERROR,
	CARRIED_ID,
	CARRIED_PART,
	CARRIED_PRIORITY,
	CARRIED_SENT_AT,
	CARRIED_DELIVER_AT,
	CARRIED_KEY,
	CARRIED_HEADERS,
	CARRIED_PAYLOAD,
	CARRIED_NCOLUMNS = CARRIED_PAYLOAD
};

/* Options of a group. */
typedef struct WorkOptions
{
	int max_attempts; /* 0: no limit */
	int64 backoff;	  /* of the first attempt, microseconds */
	int64 max_backoff;
	bool one_per_key;
} WorkOptions;

extern void braid_work_options_read(int group, WorkOptions *options);

/* A group of mode work, from which the current user may receive; raises 42704, 42501, 42809. */
extern BraidTopic *braid_work_get_group(Oid view, text *name, BraidGroup *group);

/* The argument visible_for, in microseconds; raises 22023. */
extern int64 braid_work_visible_us(Interval *interval);

/* Until a message that was rejected comes again. */
extern int64 braid_work_backoff(const WorkOptions *options, int attempts);

/* A message, in columns of CARRIED_*; those before CARRIED_ID are for the caller to set. */
typedef struct WorkMessage
{
	Datum values[CARRIED_NCOLUMNS];
	bool nulls[CARRIED_NCOLUMNS];
} WorkMessage;

/*
 * The message of an entry, in the current memory context and without pointers to where
 * its values are toasted; false if it is not retained any more.
 */
extern bool braid_work_fetch(BraidTopic *topic, int group, const WorkEntry *e, WorkMessage *m);

/* Rows of the running transaction. kind: d or t. */
extern void braid_work_write_done(int group, char kind, const int64 *numbers, int n);
extern void braid_work_write_carried(int segment, int group, int64 number, TimestampTz due,
									 int attempts, const char *error, const WorkMessage *m);
extern void braid_work_write_dead(int group, int64 number, int attempts, const char *error,
								  const WorkMessage *m);

/*
 * Keeps what is in the tables from being moved from one to the other, so that it is found
 * once with a snapshot that is taken since.
 */
extern void braid_work_lock_tables(void);
extern void braid_work_unlock_tables(void);

/* Segments: the tables and the indexes of work_carried. */
extern Oid braid_work_done_table(int segment);
extern Oid braid_work_carried_table(int segment);

/* Numbers that are done, or were taken. */
typedef struct WorkDone
{
	int64 number; /* key */
	bool is_done;
	TransactionId xid; /* of the transaction if it is in progress */
	int attempts;	   /* how often it was taken for some time */
} WorkDone;

/*
 * Those of a group, of transactions in progress included, in the current memory context.  With
 * segment -1 of both.
 */
extern HTAB *braid_work_read_done(int group, int segment);

/* A carried message, as the window has it. */
typedef struct WorkCarried
{
	int64 number;
	int64 id;
	TimestampTz due;
	int attempts;
	int priority;
	uint32 key;
} WorkCarried;

/*
 * The first max of those of the group after one time, up to another, in order.  As of a
 * snapshot of now.
 */
extern List *braid_work_read_carried(int group, WorkTime after, WorkTime to, int max);

extern uint32 braid_work_key_hash(Datum key, bool is_null);

#endif /* BRAID_WORK_STORE_H */
