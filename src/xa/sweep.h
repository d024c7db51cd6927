/*
 * sweep.h
 *	  Looks for prepared branches on a participant that nobody is going to finish.
 */
#ifndef BRAID_XA_SWEEP_H
#define BRAID_XA_SWEEP_H

#include "xa/heuristic.h"
#include "xa/session.h"

/* A connection stands, or is lost: nothing is under way. */
extern void braid_xa_sweep_start(XaSession *s);

/* Begins a sweep if one is due; returns the milliseconds until the next is. */
extern long braid_xa_sweep_tend(XaSession *s, TimestampTz now);

/* Something is left to recovery: do not make it wait for its turn. */
extern void braid_xa_sweep_soon(XaSession *s);

/* The command for a branch that the sweep has found has ended. */
extern void braid_xa_sweep_branch_ends(XaSession *s, bool settled);

/* What follows from the fate of a branch that is gone. */
extern void braid_xa_sweep_note_verdict(XaSession *s, const BraidGid *gid, XaVerdict verdict);

#endif /* BRAID_XA_SWEEP_H */
