/*
 * xa.h
 *	  Atomic commit over several nodes: what the rest of braid may call.
 */
#ifndef BRAID_XA_H
#define BRAID_XA_H

extern void braid_xa_init(void);

/*
 * After all other modules: their hooks run before the commands that take a snapshot,
 * and may still wait for what it is to show.
 */
extern void braid_xa_init_commands(void);

#endif /* BRAID_XA_H */
