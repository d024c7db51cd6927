/*
 * index.h
 *	  Indexes that users make on continuous views.
 */
#ifndef BRAID_INDEX_H
#define BRAID_INDEX_H

#include "nodes/parsenodes.h"

/*
 * Turns CREATE INDEX on a continuous view into one on its state, whose name and
 * columns it puts into the statement, or raises an error that says why not.  It
 * is to be run as superuser then; the current user owns the view.
 */
extern void braid_index_retarget(IndexStmt *stmt, Oid view);

#endif /* BRAID_INDEX_H */
