/*
 * server.h
 *	  Which foreign servers are braid's, and the hidden foreign table of each.
 */
#ifndef BRAID_XA_SERVER_H
#define BRAID_XA_SERVER_H

#include "nodes/pg_list.h"

/* Is the function braid's handler? */
extern bool braid_xa_handler_is_ours(Oid funcid);

/* Does the wrapper use braid's handler? */
extern bool braid_xa_wrapper_is_ours(Oid fdwid);

/*
 * Waits until no other transaction that has written, or locked rows, through the
 * wrapper's foreign tables is open, and keeps others from doing so until the
 * current one ends.  Reading goes on.
 */
extern void braid_xa_wrapper_wait_for_writers(Oid fdwid);

/* Makes all sessions look up the wrapper's handler anew, from our commit on. */
extern void braid_xa_wrapper_invalidate(Oid fdwid);

/*
 * Oids of all servers of braid in this database, of one wrapper, or of one
 * owner (InvalidOid: any).
 */
extern List *braid_xa_server_list(Oid fdwid, Oid owner);

/*
 * Makes the hidden foreign table through which a branch is enlisted, if the
 * server still is there and has none.  For the resolver, in a transaction.
 */
extern void braid_xa_server_create_enlist_table(Oid serverid);

/* Removes it again, so that the server can be dropped. */
extern void braid_xa_server_drop_enlist_table(Oid serverid);

/* The table's qualified and quoted name. */
extern char *braid_xa_server_enlist_table(Oid serverid);

#endif /* BRAID_XA_SERVER_H */
