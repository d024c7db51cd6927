/*
 * snapshot_fix.h
 *	  The participant's side of a snapshot over servers.
 */
#ifndef BRAID_XA_SNAPSHOT_FIX_H
#define BRAID_XA_SNAPSHOT_FIX_H

extern void braid_xa_snapshot_fix_init(void);

#endif /* BRAID_XA_SNAPSHOT_FIX_H */
