/*
 * snapshot_probe.h
 *	  Has other servers take their part of a snapshot.
 */
#ifndef BRAID_XA_SNAPSHOT_PROBE_H
#define BRAID_XA_SNAPSHOT_PROBE_H

#include "nodes/pg_list.h"

typedef struct XaProbe XaProbe;

/*
 * Connects to the servers (oids) and begins a transaction on each, without a
 * snapshot; takes none here either.  Begins a subtransaction, which the other
 * function ends; an error must not be caught between them.
 */
extern XaProbe *braid_xa_probe_begin(List *serverids);

/*
 * Has each of them take its snapshot, and returns when all have.  The local one
 * was taken.
 */
extern void braid_xa_probe_fix(XaProbe *probe);

extern void braid_xa_probe_init(void);

#endif /* BRAID_XA_SNAPSHOT_PROBE_H */
