/*
 * index.h
 *	  Indexes that users make on continuous views.
 */
#ifndef BRAID_INDEX_H
#define BRAID_INDEX_H

#include "nodes/parsenodes.h"
#include "view/definition.h"

/*
 * Turns CREATE INDEX on a continuous view into one on its state, whose name and
 * columns it puts into the statement, or raises an error that says why not.  It
 * is to be run as superuser then; the current user owns the view.
 */
extern void braid_index_retarget(IndexStmt *stmt, Oid view);

/*
 * Makes the users' indexes of one view on another that is to take its place, as
 * far as the columns are kept as they are there too.  Within SPI.
 */
extern void braid_index_copy(const ViewDefinition *from, const ViewDefinition *to);

/* Gives indexes that were so made the names of those that they are copies of. */
extern void braid_index_take_names(const ViewDefinition *view);

#endif /* BRAID_INDEX_H */
