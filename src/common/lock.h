/*
 * lock.h
 *	  Locks on things that are not tables, by the server's lock manager: with its queues, its deadlock
 *	  detection and its names in pg_locks.
 */
#ifndef BRAID_LOCK_H
#define BRAID_LOCK_H

#include "storage/lockdefs.h"

/*
 * What is locked by two numbers, in one database.  In pg_locks these are advisory locks, with the
 * kind as objsubid; users' have 1 or 2 there, so nobody else can take them.
 */
typedef enum BraidLockKind
{
	BRAID_LOCK_POSITION = 17,	   /* group and partition; topic/position.c */
	BRAID_LOCK_WORKING = 18,	   /* group and partition; topic/fence.c */
	BRAID_LOCK_RELAY_SESSION = 19, /* hash of topic and group; topic/relay_open.c */
	BRAID_LOCK_GATE = 20,		   /* 0 and 0: one of the database; xa/gate.c */
} BraidLockKind;

/* Until the transaction ends; false if it should not wait and would have to. */
extern bool braid_lock_acquire(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode, bool wait);

/* The same until the session ends, or it is released. */
extern bool
braid_lock_acquire_for_session(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode, bool wait);
extern void braid_lock_release_for_session(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode);

/* Before the transaction ends: what is done under the lock must be visible or undone by then. */
extern void braid_lock_release(BraidLockKind kind, uint32 a, uint32 b, LOCKMODE mode);

/* What a row of one of our tables describes, exclusively, as braid_lock_acquire(). */
extern bool braid_lock_acquire_object(Oid table, uint32 id, bool wait);

/*
 * From here to the other one, waits for locks end after this time at the latest, with 55P03; after
 * lock_timeout, if that is shorter.  An error ends it as well.
 */
extern int braid_lock_limit_begin(int ms);
extern void braid_lock_limit_end(int level);

#endif /* BRAID_LOCK_H */
