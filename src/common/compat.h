/*
 * compat.h
 *	  Everything that differs between PostgreSQL 15, 16, 17 and 18.
 *
 * PG_VERSION_NUM appears in compat.[ch] and in no other file.
 */
#ifndef BRAID_COMPAT_H
#define BRAID_COMPAT_H

#include "nodes/execnodes.h"
#include "storage/latch.h"
#include "storage/proc.h"

/* Index of this backend's PGPROC, 0 .. MaxBackends + auxiliary - 1. */
extern int	braid_compat_proc_number(void);

/* User id on whose behalf a foreign scan runs. */
extern Oid	braid_compat_scan_user(ForeignScanState *node);

/* User id on whose behalf a foreign table is modified. */
extern Oid	braid_compat_modify_user(EState *estate, ResultRelInfo *rri);

/*
 * Id of a named wait event.  Before 17 extensions share one event, so that the
 * name is lost there.  Needs shared memory; may take an LWLock.
 */
extern uint32 braid_compat_wait_event(const char *name);

/* Does the current user own the object (of catalog class classid)? */
extern bool braid_compat_owns(Oid classid, Oid objid);

/* A wait event set that lives until it is freed. */
extern WaitEventSet *braid_compat_create_wait_event_set(int nevents);

#endif							/* BRAID_COMPAT_H */
