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

/* Worker: the number of the last request, and whether it is unanswered. */
extern uint64 braid_doorbell_requested(void);
extern bool braid_doorbell_urgent(void);

/*
 * Worker: all requests up to this number are answered by a cycle that reached
 * the position, except for the tables that were held back.  holds: some
 * transactions below the position wait for a later cycle.
 */
extern void braid_doorbell_answer(uint64 request, XLogRecPtr position, bool holds, TimestampTz when,
								  List *held_back);

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
