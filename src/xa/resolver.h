/*
 * resolver.h
 *	  The background worker that finishes and recovers global transactions.
 */
#ifndef BRAID_XA_RESOLVER_H
#define BRAID_XA_RESOLVER_H

extern void braid_xa_resolver_main(void);

#endif /* BRAID_XA_RESOLVER_H */
