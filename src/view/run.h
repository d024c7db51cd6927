/*
 * run.h
 *	  Running the statements of nodes within a cycle.
 *
 * All of it is called as the view's owner, connected to SPI, with S as the
 * active snapshot.  Ephemeral relations made here can be read by name by every
 * statement of the same view in the same cycle.
 */
#ifndef BRAID_RUN_H
#define BRAID_RUN_H

#include "view/node.h"

/*
 * Runs a statement.  Its plan is kept, by text and by the order of magnitude of
 * nrows, which says how many rows the ephemeral relations in it have.
 */
extern void braid_run(const char *sql, int64 nrows);

/* The same for a SELECT; its rows can be read as name.  Returns their number. */
extern int64 braid_run_into(const char *name, const char *sql, int64 nrows);

/* How many rows are in the delta of a node, at most, if it can be told; else a guess. */
extern int64 braid_run_delta_rows(ViewNode *node);

/* Whether there can be a negative weight in the delta of a node. */
extern bool braid_run_retracts(ViewNode *node);

/* Whether somebody reads the delta of the node, so that it has to be made. */
extern bool braid_run_delta_is_read(ViewNode *node);

#endif /* BRAID_RUN_H */
