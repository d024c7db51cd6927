/*
 * decision.h
 *	  The decisions to commit, durable in tables of the coordinator.
 */
#ifndef BRAID_XA_DECISION_H
#define BRAID_XA_DECISION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "xa/gid.h"

/*
 * Adds the current transaction's decision: it is taken when, and only if, this
 * transaction commits.  Holds a RowExclusiveLock on the table from here on.  To be
 * called before a branch is prepared: braid_xa_decision_block() relies on it.
 */
extern void braid_xa_decision_insert(const BraidGid *gid, int nservers, const Oid *serverids);

/*
 * Which of these transactions (array of nasked) were decided to commit, as a
 * new snapshot sees it?  For the resolver, in a transaction.
 */
extern void braid_xa_decision_look_up(int nasked, const BraidGid *asked, bool *committed);

/*
 * Waits until each transaction that has inserted a decision has ended, and keeps
 * others from inserting theirs, until unblocked or the transaction ends.  As a
 * decision is inserted before the first PREPARE, no transaction is then between
 * that and its commit.  Both in the same resource owner.
 */
extern void braid_xa_decision_block(void);
extern void braid_xa_decision_unblock(void);

/* Drops all decisions and heuristic outcomes: for an identity that ends.  Needs SPI to be connected. */
extern void braid_xa_decision_forget_all(void);

/* ---- rotation, by the resolver; see decision.c */

/*
 * Begins a rotation if one is due.  Returns true if so, the servers that must
 * be swept (list in TopMemoryContext) and the time before which all the rows
 * were decided.
 */
extern bool braid_xa_decision_rotation_begin(List **serverids, TimestampTz *decided_before);

/*
 * Ends it once those servers were swept: drops the rows whose servers are all
 * in the list of clean ones, or gone.  false if the table is in use: to be
 * called again.
 */
extern bool braid_xa_decision_rotation_end(List *clean_serverids);

extern void braid_xa_decision_init(void);

/*
 * How long sessions wait for a decision to be flushed: notes one time, and says
 * whether it is short enough lately for the resolver to wait as well.
 */
extern void braid_xa_decision_note_flush(int64 us);
extern bool braid_xa_decision_flush_is_quick(void);

#endif /* BRAID_XA_DECISION_H */
