/*
 * gate.h
 *	  The gate through which decisions to commit pass, and that snapshots close.
 */
#ifndef BRAID_XA_GATE_H
#define BRAID_XA_GATE_H

#include "datatype/timestamp.h"

/* ---- for transactions that commit */

/*
 * Waits while the gate is closed; then keeps it from being closed until the
 * transaction has ended.  Before a commit of the transaction becomes visible
 * anywhere, and when it holds all the locks that it will ever wait for.
 */
extern void braid_xa_gate_enter(void);

/* ---- for the resolver */

/* A branch was committed, or left to recovery.  Does not throw. */
extern void braid_xa_gate_branch_ended(void);

/* ---- for snapshots */

/* Closes the gate until braid_xa_gate_open(); throws 55P03 if that cannot be done in time. */
extern void braid_xa_gate_close(TimestampTz deadline);

/*
 * While the gate is closed: waits until what has passed it is visible on these
 * servers.  Throws 40001 if the deadline passes first, or if a branch there was
 * left to recovery.
 */
extern void braid_xa_gate_await_finished(int nservers, const Oid *servers, TimestampTz deadline);

/* Does not throw; may be called if the gate was not closed. */
extern void braid_xa_gate_open(void);

extern void braid_xa_gate_init(void);

#endif /* BRAID_XA_GATE_H */
