/*
 * xa.h
 *	  Atomic commit over several nodes: what the rest of braid may call.
 */
#ifndef BRAID_XA_H
#define BRAID_XA_H

extern void braid_xa_init(void);

#endif /* BRAID_XA_H */
