/*
 * transaction.h
 *	  The global transactions of this server that are under way, in shared memory.
 */
#ifndef BRAID_XA_TRANSACTION_H
#define BRAID_XA_TRANSACTION_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "xa/gid.h"

#define BRAID_XA_MAX_BRANCHES 32

/* How a transaction goes from one to the other is drawn in README.md. */
typedef enum XaState
{
	XA_FREE,
	XA_ACTIVE,	   /* not decided: branches may get prepared */
	XA_COMMITTING, /* decided; the resolver finishes the branches */
	XA_FINISHED,   /* waits for its backend to take notice */
	XA_LEFT		   /* a branch is left to recovery; for display */
} XaState;

typedef enum XaBranchState
{
	XA_BRANCH_OPEN,	  /* not decided */
	XA_BRANCH_QUEUED, /* decided; the resolver's business */
	XA_BRANCH_DONE,
	XA_BRANCH_LEFT /* the next sweep of its server finds it */
} XaBranchState;

typedef struct XaBranchEntry
{
	Oid serverid;
	XaBranchState state;
} XaBranchEntry;

typedef struct XaTransaction
{
	XaState state;
	Oid dbid;
	BraidGid gid;	/* the branch number is the index in branches */
	int pid;		/* of the backend */
	Latch *waiter;	/* set when finished; NULL: nobody waits */
	Latch *watcher; /* set when a branch on watched_server ends; need not be taken notice of */
	Oid watched_server;
	TimestampTz started;
	TimestampTz decided;
	XLogRecPtr commit_end; /* up to here the log is flushed before a branch is committed */
	TimestampTz left_at;   /* when the last branch was left to recovery */
	int attempts;
	bool by_hand; /* a branch was finished by hand, not as decided */
	int next;	  /* in its database's queue; -1: last */
	char last_error[128];
	int nbranches;
	XaBranchEntry branches[BRAID_XA_MAX_BRANCHES];
} XaTransaction;

/* ---- for the coordinating backend */

/*
 * Registers a transaction as active, which keeps recovery away from its
 * branches.  Before the first branch hears of its gid.  Throws 53400 when too
 * many are under way.
 */
extern int braid_xa_transaction_begin(const BraidGid *gid);

/* Says which servers the branches are on, before the transaction commits. */
extern void braid_xa_transaction_set_branches(int slot, int nbranches, const Oid *serverids);

/* Not decided after all: the branches are recovery's now.  Does not throw. */
extern void braid_xa_transaction_abort(int slot);

/*
 * Hands a committed transaction to the resolver.  The log need not have been
 * flushed up to the end of the commit record, commit_end: the resolver does that
 * before it commits a branch, and the caller must before it tells anybody.  If
 * wait, the caller must call braid_xa_transaction_wait() next.  Does not throw.
 * Returns what braid_xa_transaction_recycled() does.
 */
extern uint64 braid_xa_transaction_commit(int slot, XLogRecPtr commit_end, bool wait);

/*
 * Waits until all branches have been committed; warns, and returns false, if
 * some were left to recovery or the wait was cut short.  For use with interrupts
 * held; does not throw.
 */
extern bool braid_xa_transaction_wait(int slot);

/*
 * Sets the latch when the transaction's branches on the server have ended; NULL:
 * no longer.  false if it is not committing.
 */
extern bool braid_xa_transaction_watch(int slot, const BraidGid *gid, Oid serverid, Latch *latch);

/* ---- for the resolver of a database */

/* Takes the next transaction from the queue, -1 if it is empty. */
extern int braid_xa_transaction_dequeue(Oid dbid);

/* Queues what a dead predecessor has taken and not finished. */
extern void braid_xa_transaction_requeue(Oid dbid);

/* Notes the end of one branch; error is NULL for done, else it is left. */
extern void braid_xa_transaction_branch_end(int slot, int branch, const char *error);

/* A branch, whose end is noted next, was finished by hand, and not as decided. */
extern void braid_xa_transaction_by_hand(int slot);

/*
 * Is this branch's fate not recovery's business?  If so, *decided is when its
 * transaction was decided, DT_NOEND if it is not yet.
 */
extern bool braid_xa_transaction_is_live(const BraidGid *gid, TimestampTz *decided);

/* A sweep that began then has settled all that had been left on the server. */
extern void braid_xa_transaction_server_clean(Oid dbid, Oid serverid, TimestampTz began);

/* ---- for everybody */

/* The slot as it is; for the resolver, and for reading under the lock below. */
extern XaTransaction *braid_xa_transaction_slot(int slot);

/*
 * How often a slot was taken from a transaction that had something left to do,
 * and, unless last is NULL, when that was last; 0: never.
 */
extern uint64 braid_xa_transaction_recycled(TimestampTz *last);

/* A copy of slot number i; false if there are no more slots. */
extern bool braid_xa_transaction_read(int slot, XaTransaction *copy);

/*
 * Is a branch on one of these servers of this database handed over, and not
 * committed yet?  Then copies its transaction and says which one; one that is left
 * to recovery, if there is any.
 */
extern bool braid_xa_transaction_find_unfinished(int nservers, const Oid *servers,
												 XaTransaction *copy, int *branch);

/* Does any transaction under way or left have a branch on the server? */
extern bool braid_xa_transaction_uses_server(Oid dbid, Oid serverid);

extern void braid_xa_transaction_init(void);

#endif /* BRAID_XA_TRANSACTION_H */
