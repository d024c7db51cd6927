/*
 * ddl.h
 *	  Commands on foreign servers, as far as atomic commit is concerned.
 */
#ifndef BRAID_XA_DDL_H
#define BRAID_XA_DDL_H

extern void braid_xa_ddl_init(void);

#endif /* BRAID_XA_DDL_H */
