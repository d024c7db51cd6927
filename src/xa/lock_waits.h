/*
 * lock_waits.h
 *	  Who waits for whom on one server: the form in which it is told.
 */
#ifndef BRAID_XA_LOCK_WAITS_H
#define BRAID_XA_LOCK_WAITS_H

/* The first character of a name says what kind it is of. */
#define XA_NAME_LOCAL 'L'  /* a transaction of that server; always the first name */
#define XA_NAME_ORIGIN 'O' /* see origin.h */
#define XA_NAME_GID 'G'	   /* a global transaction, without a branch */

/* Columns of braid_internal.lock_waits(). */
enum XaLockWaitsColumn
{
	XA_WAITS_WAITER_PID,
	XA_WAITS_WAITER, /* names */
	XA_WAITS_BLOCKER_PID,
	XA_WAITS_BLOCKER,	  /* names */
	XA_WAITS_BLOCKER_GID, /* of a prepared transaction */
	XA_WAITS_SINCE,		  /* µs; compared with itself only */
	XA_WAITS_AGE,		  /* ms */
	XA_WAITS_LOCK,
	XA_WAITS_NCOLUMNS
};

extern void braid_xa_lock_waits_init(void);

#endif /* BRAID_XA_LOCK_WAITS_H */
