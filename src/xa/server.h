/*
 * server.h
 *	  Which foreign servers are braid's, and the hidden foreign tables of each.
 */
#ifndef BRAID_XA_SERVER_H
#define BRAID_XA_SERVER_H

#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

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

/* Oids of all servers of braid in this database, or of one wrapper (InvalidOid: any). */
extern List *braid_xa_server_list(Oid fdwid);

/*
 * Makes the hidden foreign tables of the server, unless it has them or is not
 * there any more.  For the resolver, in a transaction.
 */
extern void braid_xa_server_create_hidden_tables(Oid serverid);

/* Removes them again, so that the server can be dropped. */
extern void braid_xa_server_drop_hidden_tables(Oid serverid);

/* Qualified and quoted name of the table through which a branch is enlisted. */
extern char *braid_xa_server_enlist_table(Oid serverid);

/* The same for the table through which commands are run. */
extern char *braid_xa_server_execute_table(Oid serverid);

/* The same for those that say whether the transaction there has a snapshot, and export it. */
extern char *braid_xa_server_snapshot_table(Oid serverid);
extern char *braid_xa_server_export_table(Oid serverid);

/* Is it a table through which commands are run? */
extern bool braid_xa_server_is_execute_table(Relation rel);

/* A hash of the options that say where the server is. */
extern uint32 braid_xa_server_address(Oid serverid);

/* A row (name of the server, NULL for this one; value) of a function's materialized result. */
extern void braid_xa_server_return(ReturnSetInfo *rsi, const char *server, Datum value);

#endif /* BRAID_XA_SERVER_H */
