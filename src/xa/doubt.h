/*
 * doubt.h
 *	  Which servers have, or may have, branches that are not finished.
 */
#ifndef BRAID_XA_DOUBT_H
#define BRAID_XA_DOUBT_H

/*
 * Has the server a branch that is not finished, or may it have one?  Looks at
 * what this database knows, and at nothing else.  In a transaction, with an
 * active snapshot.
 */
extern bool braid_xa_doubt_on_server(Oid serverid);

/*
 * The same after a sweep of the server, if it is ready: waits for that at most
 * braid.xa_ready_timeout.
 */
extern bool braid_xa_doubt_remains_on_server(Oid serverid);

/* Gid of a branch that is prepared in this database; NULL if there is none. */
extern char *braid_xa_doubt_prepared_here(void);

extern void braid_xa_doubt_init(void);

#endif /* BRAID_XA_DOUBT_H */
