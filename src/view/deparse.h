/*
 * deparse.h
 *	  A query as SQL that means the same when it is parsed again.
 */
#ifndef BRAID_DEPARSE_H
#define BRAID_DEPARSE_H

#include "nodes/parsenodes.h"

/* Of an analyzed query, which is not changed. */
extern char *braid_deparse_query(Query *query);

#endif /* BRAID_DEPARSE_H */
