/*
 * fdw.h
 *	  The foreign data wrapper braid_fdw: postgres_fdw, watched.
 */
#ifndef BRAID_XA_FDW_H
#define BRAID_XA_FDW_H

extern void braid_xa_fdw_init(void);

#endif /* BRAID_XA_FDW_H */
