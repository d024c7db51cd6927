/*
 * worker.h
 *	  The launcher and the background workers per database.
 *
 * A module registers a kind of worker in its init function.  The launcher then
 * starts one worker of the kind in every database that accepts connections.
 * A worker whose main function returns is not needed there: it is not started
 * again until braid_worker_request() asks for it.  A worker that dies otherwise
 * is started again, after a delay that grows with each death in a row.
 */
#ifndef BRAID_WORKER_H
#define BRAID_WORKER_H

#include "datatype/timestamp.h"

typedef struct BraidWorkerKind
{
	const char *type; /* bgw_type, e.g. "braid resolver" */

	/*
	 * Runs connected to its database as superuser, signals unblocked, in no
	 * transaction.  SIGTERM interrupts it at CHECK_FOR_INTERRUPTS.  Is called
	 * only where the extension is installed.
	 */
	void (*main)(void);

	/* The same where it is not installed, or not any more; NULL: nothing to do. */
	void (*clear_up)(void);

	/* Longest delay before a restart, however often it has died; 0: 30 s. */
	int max_restart_ms;
} BraidWorkerKind;

/* Returns the kind's number.  kind must be static. */
extern int braid_worker_register_kind(const BraidWorkerKind *kind);

/*
 * Has the launcher call a function every few seconds, in no transaction and
 * connected to no database.
 */
extern void braid_worker_register_watch(void (*watch)(void));

/* Asks that a worker of the kind runs in the database. */
extern void braid_worker_request(int kind, Oid dbid);

/* The same for this database, when the current transaction has committed. */
extern void braid_worker_request_at_commit(int kind);

/* The same for all kinds. */
extern void braid_worker_request_all_at_commit(void);

/*
 * Why no worker of the kind runs in the database, in the current context; NULL if
 * one runs, or if nothing is known to be wrong.
 */
extern char *braid_worker_problem(int kind, Oid dbid);

/* Sets the latch of the running worker, if there is one; cheap. */
extern void braid_worker_wake(int kind, Oid dbid);

/*
 * Ends the workers of a database and keeps them away for some seconds, for
 * commands that need a database without connections.
 */
extern void braid_worker_stop_database(Oid dbid);

/* The command has ended. */
extern void braid_worker_let_back(Oid dbid);

/*
 * For the workers' own loops.  braid_worker_extension_dropped() is true when
 * the extension has gone from this database; it starts a transaction, and
 * looks only after relation caches were invalidated.
 */
extern bool braid_worker_extension_dropped(void);

/*
 * The same, at the beginning of each turn of a loop: interrupts, settings that were reloaded,
 * invalidations.  False if the worker is to return, as the extension has gone.
 */
extern bool braid_worker_begin_turn(void);

extern void braid_worker_init(void);

extern PGDLLEXPORT void braid_launcher_main(Datum arg);
extern PGDLLEXPORT void braid_worker_main(Datum arg);

#endif /* BRAID_WORKER_H */
