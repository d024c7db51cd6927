/*
 * snapshot.h
 *	  One snapshot over this server and others: what the rest of braid may call.
 *
 * A transaction of REPEATABLE READ or SERIALIZABLE gets it before its first query,
 * and reads all of the servers by it from then on; see gate.c for why it is
 * consistent.
 */
#ifndef BRAID_XA_SNAPSHOT_H
#define BRAID_XA_SNAPSHOT_H

#include "nodes/pg_list.h"

/*
 * Takes the snapshot here and on these servers (oids), on behalf of the current
 * user.  Throws 25001 if the transaction has one, 55000 if it is of READ COMMITTED or a
 * server is not ready, 40001 or 55P03 if it was not to be had in time: another
 * attempt may succeed.
 */
extern void braid_xa_snapshot_take(List *serverids);

/*
 * The servers (oids) that the current transaction has a snapshot over; NIL, and
 * *taken false, if it has none.
 */
extern List *braid_xa_snapshot_servers(bool *taken);

/* Is the current transaction to have one without being asked (braid.default_snapshot)? */
extern bool braid_xa_snapshot_is_default(void);

/*
 * To be called when the transaction begins to use a server on behalf of a user:
 * throws 55000 if its snapshot does not cover what would be seen there.
 */
extern void braid_xa_snapshot_check_access(Oid serverid, Oid userid);

extern void braid_xa_snapshot_init(void);

#endif /* BRAID_XA_SNAPSHOT_H */
