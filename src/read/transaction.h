/*
 * transaction.h
 *	  Transactions with one snapshot, which have to wait before they take it.
 */
#ifndef BRAID_READ_TRANSACTION_H
#define BRAID_READ_TRANSACTION_H

#include "nodes/pg_list.h"

/* Raises an error unless the transaction has waited for all of these views (oids). */
extern void braid_read_transaction_check(List *views);

/* Whether its snapshot is that of another transaction. */
extern bool braid_read_transaction_is_foreign(void);

extern void braid_read_transaction_init(void);

#endif /* BRAID_READ_TRANSACTION_H */
