/*
 * waiting.h
 *	  Waiting for the capture worker; part of capture.h.
 */
#ifndef BRAID_WAITING_H
#define BRAID_WAITING_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/*
 * Asks for a cycle that begins after now and in which all of the tables (oids)
 * take part, and waits until it has ended.  False if that is not so by the
 * deadline.
 */
extern bool braid_capture_wait(List *relids, TimestampTz deadline);

/*
 * The same in steps: asks for a cycle that begins after now; waits for the cycle
 * that was asked for, false at the deadline; says whether the last cycle had to do
 * without one of the tables.
 */
extern uint64 braid_capture_request(void);
extern bool braid_capture_await(uint64 request, TimestampTz deadline);
extern bool braid_capture_holds_back(List *relids);

/*
 * Whether the last cycle has all that is committed by now: then there is nothing
 * to wait for.
 */
extern bool braid_capture_is_current(void);

/* The worker of this database, and its last cycle. */
typedef struct BraidCaptureStatus
{
	int pid;			 /* 0 if none runs */
	XLogRecPtr position; /* decoded up to here */
	bool is_complete;	 /* and no table or transaction is held back */
	TimestampTz when;	 /* the snapshot was taken; 0: never */
} BraidCaptureStatus;

extern void braid_capture_look(BraidCaptureStatus *status);

#endif /* BRAID_WAITING_H */
