/*
 * explain.h
 *	  How a view is kept, for braid.explain(), and the worker's figures of it.
 */
#ifndef BRAID_EXPLAIN_H
#define BRAID_EXPLAIN_H

#include "portability/instr_time.h"

/* What a node did when its view was last brought up, in the worker. */
typedef struct NodeFigures
{
	bool is_new; /* since they were last shown */
	int64 rows;	 /* of its state that were written, or of its delta */
	instr_time time;
	char path; /* of the node */
	int slot;  /* where they are shown; a guess */
} NodeFigures;

/* Shows those that are new; figures[i] are those of node i. */
extern void braid_explain_show(int view, NodeFigures *figures, int highest);

extern void braid_explain_init(void);

#endif /* BRAID_EXPLAIN_H */
