/*
 * doorbell.h
 *	  How writers and readers call the capture worker, and what it tells them.
 */
#ifndef BRAID_DOORBELL_H
#define BRAID_DOORBELL_H

#include "capture/capture.h"

/* Worker: takes the database's bell; gives it back at exit. */
extern void braid_doorbell_attach(void);
extern void braid_doorbell_detach(void);

/* Worker: from here on writers ring again; call before the snapshot. */
extern void braid_doorbell_listen(void);

/* Worker: whether somebody has rung since. */
extern bool braid_doorbell_is_rung(void);

/* Worker: the number of the last request, and whether it is unanswered. */
extern uint64 braid_doorbell_requested(void);
extern bool braid_doorbell_urgent(void);

/*
 * Worker: all requests up to this number are answered by a cycle that reached
 * the position, except for the tables that were held back.  holds: some
 * transactions below the position wait for a later cycle.  nresting: so many at
 * the end of the list only rest, see component.c.
 */
extern void braid_doorbell_answer(uint64 request, XLogRecPtr position, bool holds, TimestampTz when,
								  List *held_back, int nresting);

/* Worker: whether somebody waits for a table that has rested, since it was asked last. */
extern bool braid_doorbell_presses(void);

/* Worker: there is nothing to do.  Cycles say so by their answer. */
extern void braid_doorbell_all_done(void);

/* Worker: the relations (oids) whose changes it wants. */
extern void braid_doorbell_set_captured(List *relids);

/*
 * Anybody: for how long the oldest commit has waited for a cycle to bring it into
 * views, and how much WAL was not decoded yet; 0 where nothing is known.  May count
 * commits that are of no concern to views.
 */
extern double braid_doorbell_lag_ms(void);
extern uint64 braid_doorbell_lag_bytes(void);

/* Anybody: false if the worker does not want the relation; true if it may. */
extern bool braid_doorbell_may_capture(Oid relid);

/* The worker of a database: its process id, 0 if none runs, and its last snapshot. */
extern int braid_doorbell_worker_of(Oid dbid, TimestampTz *when);

/* Anybody: makes a request and waits until it is answered with these tables. */
extern bool braid_doorbell_ask(List *relids, TimestampTz deadline);

/* Anybody: the same in steps, see capture.h. */
extern uint64 braid_doorbell_request(void);
extern bool braid_doorbell_await(uint64 request, TimestampTz deadline);
extern bool braid_doorbell_holds_back(List *relids);
extern void braid_doorbell_look(BraidCaptureStatus *status);

/* At commit: wakes the worker although the transaction has no id. */
extern void braid_doorbell_ring_at_commit(void);

extern void braid_doorbell_init(void);

#endif /* BRAID_DOORBELL_H */
