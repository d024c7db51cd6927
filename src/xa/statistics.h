/*
 * statistics.h
 *	  Cumulative statistics of global transactions, in shared memory.
 *
 * Nothing here throws, takes a lock that anybody holds for long, or waits,
 * unless it says so; all may be called after the commit record.
 */
#ifndef BRAID_XA_STATISTICS_H
#define BRAID_XA_STATISTICS_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "xa/gid.h"

/* What is counted for a database. */
typedef enum XaStatCounter
{
	XA_STAT_BEGUN, /* first write through a server */
	XA_STAT_ONE_PHASE,
	XA_STAT_TWO_PHASES,
	XA_STAT_ABORTED,
	XA_STAT_LEFT, /* committed, with a branch left to recovery */
	XA_STAT_RECOVERY_COMMITS,
	XA_STAT_RECOVERY_ROLLBACKS,
	XA_STAT_HEURISTIC_COMMITS,	 /* branches that were finished by hand, as decided */
	XA_STAT_HEURISTIC_ROLLBACKS, /* the same */
	XA_STAT_HEURISTIC_MIXED,	 /* not as decided, or it is not known how */
	XA_STAT_DEADLOCKS,			 /* victims of deadlocks over several servers */
	XA_STAT_WAIT_CANCELED,
	XA_STAT_WAIT_TIMED_OUT,
	XA_STAT_WAIT_TERMINATED,
	XA_STAT_NCOUNTERS
} XaStatCounter;

/* The phases of a commit whose durations are kept. */
typedef enum XaStatPhase
{
	XA_PHASE_ENLIST,	   /* COMMIT begun -> branches enlisted, decision inserted */
	XA_PHASE_PREPARE,	   /* -> postgres_fdw has all answers, the gate is entered */
	XA_PHASE_LOCAL_COMMIT, /* -> decision flushed, here and on synchronous standbys */
	XA_PHASE_WAIT,		   /* -> the client can be told */
	XA_PHASE_TOTAL,		   /* COMMIT begun -> the client can be told */
	XA_PHASE_FINISH,	   /* handed over to the resolver -> all branches committed */
	XA_STAT_NPHASES
} XaStatPhase;

/* Other durations, of snapshots over servers. */
typedef enum XaStatTime
{
	XA_TIME_SNAPSHOT = XA_STAT_NPHASES, /* to get one */
	XA_TIME_GATE_CLOSED,				/* of that, with the gate closed */
	XA_TIME_GATE_WAIT,					/* of a commit that has found it closed */
	XA_STAT_NTIMES
} XaStatTime;

/* What a command that finishes a branch has done. */
typedef enum XaStatBranch
{
	XA_STAT_BRANCH_COMMITTED,			 /* of a transaction under way */
	XA_STAT_BRANCH_RECOVERY_COMMITTED,	 /* of one that a sweep has found */
	XA_STAT_BRANCH_RECOVERY_ROLLED_BACK, /* the same */
} XaStatBranch;

/* By XaStatPhase and XaStatTime. */
extern const char *const braid_xa_stat_phase_names[XA_STAT_NTIMES];

/* One more of these, in this process's database. */
extern void braid_xa_stat_count(XaStatCounter counter);

/* This took so long. */
extern void braid_xa_stat_duration(XaStatTime time, int64 us);

/* ---- for the coordinating backend */

/* The transaction has its first branch.  May throw. */
extern void braid_xa_stat_transaction_begins(void);

/* COMMIT has begun in a transaction with branches; times are kept from here. */
extern void braid_xa_stat_commit_begins(void);

/*
 * The phase, which the end of the one before it (or the begin) began, has ended.
 * Returns the microseconds that it took.
 */
extern int64 braid_xa_stat_phase_ends(XaStatPhase phase);

/* All branches (XaBranch) have answered the COMMIT that prepares them, and the gate is entered. */
extern void braid_xa_stat_prepared(List *branches);

/*
 * The client can be told.  gid: of a commit in two phases; NULL: in one.  Only
 * from here are the times of this commit seen.  Logs it if it was slow.
 */
extern void braid_xa_stat_commit_ends(const BraidGid *gid);

/* ---- for the resolver */

/* All branches of a transaction decided then have ended; left: not all are committed. */
extern void braid_xa_stat_finished(TimestampTz decided, bool left);

/* Enters a server, so that its branches are counted.  In a transaction; may throw. */
extern void braid_xa_stat_add_server(Oid serverid);

/* It was dropped. */
extern void braid_xa_stat_remove_server(Oid serverid);

/*
 * A command that finishes a branch has done so, after this time.  Counts what
 * recovery does for the database as well.
 */
extern void braid_xa_stat_branch_finished(Oid serverid, XaStatBranch what, int64 round_trip_us);

/* It has failed, or has had no answer. */
extern void braid_xa_stat_branch_failed(Oid serverid, const char *error);

/* It is sent again. */
extern void braid_xa_stat_branch_retried(Oid serverid);

extern void braid_xa_stat_init(void);

#endif /* BRAID_XA_STATISTICS_H */
