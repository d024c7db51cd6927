/*
 * promise.h
 *	  What is owed to a reader of a view.
 */
#ifndef BRAID_READ_PROMISE_H
#define BRAID_READ_PROMISE_H

#include "read/roster.h"

/* Whether more is promised of the view than that it shows what is there. */
extern bool braid_promise_is_made(const RosterView *view);

/* Whether there is something to wait for, unless all is there by chance. */
extern bool braid_promise_is_open(const RosterView *view);

/* Error 0A000 on a standby, where only some promises can be kept. */
extern void braid_promise_check_server(const RosterView *view);

/* Keeps the promises made of these views (oids): waits, or raises an error. */
extern void braid_promise_keep(List *views);

#endif /* BRAID_READ_PROMISE_H */
