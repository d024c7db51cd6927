/*
 * fast_path.h
 *	  What has to be known of the rows of a delta to group them.
 */
#ifndef BRAID_FAST_PATH_H
#define BRAID_FAST_PATH_H

#include "view/fast_group.h"
#include "view/node.h"

/* What an accumulator asks of the rows: numbers of targets, 0 for none. */
typedef struct FastTargets
{
	int value;
	int filter;
} FastTargets;

/* One delta of one node. */
typedef struct FastPath
{
	ViewNode *node;
	const char *from;	   /* the rows, a FROM item */
	StringInfoData select; /* what is selected */
	int ntargets;
	FastTargets *targets; /* of each accumulator */
	FastTask task;
	int nwords; /* of a group, behind its keys */
} FastPath;

/* Says in select what a statement has to select; false if there is an accumulator that is not for here. */
extern bool braid_fast_path_select(FastPath *path);

/* Has it select one more; returns its number among the targets. */
extern int braid_fast_path_select_more(FastPath *path, const char *text);

/* The scan that the statement's plan is; NULL if it is more. */
extern Scan *braid_fast_path_scan(FastPath *path, PlannedStmt *stmt);

/* The keys and steps of the task, of what is scanned; false if one of them is not for here. */
extern bool braid_fast_path_take(FastPath *path, Scan *scan, bool retracts);

/* The expression that a target is, of what is scanned; and its values. */
extern Expr *braid_fast_path_target(FastPath *path, int n);
extern FastColumn *braid_fast_path_column(FastPath *path, int n);

/* Its groups, with that much memory. */
extern void braid_fast_path_open_groups(FastPath *path, Size limit);

#endif /* BRAID_FAST_PATH_H */
