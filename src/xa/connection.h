/*
 * connection.h
 *	  How the resolver connects to a participant.
 */
#ifndef BRAID_XA_CONNECTION_H
#define BRAID_XA_CONNECTION_H

#include "common/connection.h"

/*
 * Options of the server and of the resolver's user mapping, allocated in the
 * current context.  In a transaction.
 *
 * The resolver runs as the operating system's user of the server.  Whoever made
 * the server or the mapping and is no superuser must not connect in that name:
 * as in postgres_fdw, such a connection needs a password, and must use it.
 */
extern BraidConnectionOptions braid_xa_connection_options(Oid serverid, uint64 coordinator);

#endif /* BRAID_XA_CONNECTION_H */
