/*
 * deadlock.h
 *	  Finds and breaks deadlocks over several servers; part of the resolver.
 */
#ifndef BRAID_XA_DEADLOCK_H
#define BRAID_XA_DEADLOCK_H

#include "libpq-fe.h"
#include "nodes/pg_list.h"

/*
 * Does what is due, given the resolver's sessions (session.h).  Returns the
 * milliseconds until it wants to be called again at the latest.  In no
 * transaction.
 */
extern long braid_xa_deadlock_tend(List *sessions, uint64 coordinator);

/*
 * A participant's answer to braid_xa_errand_ask_waits(), or NULL if there will
 * be none.
 */
extern void braid_xa_deadlock_receive(Oid serverid, const char *server, uint32 round, PGresult *r);

extern void braid_xa_deadlock_init(void);

#endif /* BRAID_XA_DEADLOCK_H */
