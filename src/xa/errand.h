/*
 * errand.h
 *	  What else a participant is asked for, over the control connection.
 */
#ifndef BRAID_XA_ERRAND_H
#define BRAID_XA_ERRAND_H

#include "xa/session.h"

/*
 * Asks the participant who waits for whom (deadlock.h), soon; false if it
 * cannot be asked now.
 */
extern bool braid_xa_errand_ask_waits(XaSession *s, uint32 round, int min_age_ms);

/* Sends what is asked for, if the connection is idle. */
extern void braid_xa_errand_tend(XaSession *s);

/* The connection is lost: answers what has not been sent. */
extern void braid_xa_errand_end_all(XaSession *s);

#endif /* BRAID_XA_ERRAND_H */
