/*
 * coordinator.h
 *	  The coordinator's side of a commit.
 */
#ifndef BRAID_XA_COORDINATOR_H
#define BRAID_XA_COORDINATOR_H

extern void braid_xa_coordinator_init(void);

#endif							/* BRAID_XA_COORDINATOR_H */
