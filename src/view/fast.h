/*
 * fast.h
 *	  What a delta does to groups, without SQL for each row.
 */
#ifndef BRAID_FAST_H
#define BRAID_FAST_H

#include "view/node.h"

/* ViewNode.path */
#define PATH_COLUMNS 'c'
#define PATH_TEAM 't' /* columns, by several processes */
#define PATH_SQL 's'

/*
 * Makes name, what the rows of a FROM item do to the groups or sessions of a node, as the statement
 * would.  Returns how many these are, or -1: then run it.
 */
typedef char *(*FastStatement)(ViewNode *node, bool retracts);
extern int64 braid_fast_follow(ViewNode *node, const char *name, const char *from,
							   FastStatement statement, bool retracts);

/* braid.view_fast_path: whether anything is done without SQL that could be done by it. */
extern bool braid_fast_is_enabled(void);

extern void braid_fast_init(void);

#endif /* BRAID_FAST_H */
