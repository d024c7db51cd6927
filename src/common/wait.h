/*
 * wait.h
 *	  What processes wait for in braid: names of the waits, and who waits now.
 */
#ifndef BRAID_WAIT_H
#define BRAID_WAIT_H

typedef enum BraidWait
{
	BRAID_WAIT_NONE,
	BRAID_WAIT_CAPTURE_ANSWER,
	BRAID_WAIT_CAPTURE_BATCH,
	BRAID_WAIT_CAPTURE_LAG,
	BRAID_WAIT_CAPTURE_MAIN,
	BRAID_WAIT_COMMIT_FINISH,
	BRAID_WAIT_FAILPOINT,
	BRAID_WAIT_GATE,
	BRAID_WAIT_LAUNCHER_MAIN,
	BRAID_WAIT_LOCK_WAITS,
	BRAID_WAIT_MESSAGES,
	BRAID_WAIT_OWN_COMMIT,
	BRAID_WAIT_POPULATION_END,
	BRAID_WAIT_RELAY_MAIN,
	BRAID_WAIT_RESOLVER_MAIN,
	BRAID_WAIT_RESTORE_POINT,
	BRAID_WAIT_SERVER_CHECKUP,
	BRAID_WAIT_SERVER_READY,
	BRAID_WAIT_SERVER_SWEEP,
	BRAID_WAIT_SNAPSHOT,
	BRAID_WAIT_TOPIC_MAIN,
	BRAID_WAIT_VIEW_LIVE,
	BRAID_WAIT_WORK_LOAD,
	BRAID_WAIT_WORKERS_STOP,
	BRAID_NWAITS
} BraidWait;

/*
 * Gives the wait event its name, once in a process.  Throws if the server has
 * no room for another name.  For waits that must not throw: before them.
 */
extern void braid_wait_prepare(BraidWait wait);

/*
 * Says that this process waits, until braid_wait_end() or the abort of its
 * transaction.  Returns the wait event for WaitLatch() and its like.  Does not
 * throw after braid_wait_prepare().
 */
extern uint32 braid_wait_begin(BraidWait wait);
extern void braid_wait_end(void);

extern void braid_wait_init(void);

#endif /* BRAID_WAIT_H */
