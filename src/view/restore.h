/*
 * restore.h
 *	  Dumps and restores, in which the parts of a continuous view come one by one.
 */
#ifndef BRAID_RESTORE_H
#define BRAID_RESTORE_H

#include "nodes/parsenodes.h"
#include "view/definition.h"

/*
 * Whether a CREATE OR REPLACE VIEW has a query of nothing but nulls: with such
 * ones pg_dump --clean takes views apart that depend on each other.
 */
extern bool braid_restore_is_placeholder(const ViewStmt *stmt);

/* After that was run: what was the view's becomes ordinary, so that it can be dropped. */
extern void braid_restore_take_apart(const ViewDefinition *def);

/*
 * Whether a CREATE VIEW or CREATE INDEX names anything in braid_internal: it may
 * have completed the parts of a view, and after it the worker is to look.
 */
extern bool braid_restore_is_about_parts(Node *stmt);
extern void braid_restore_follow(void);

/*
 * Raises an error with the way out if a CREATE VIEW reads a state that is not
 * there, as in the dump of a single view.
 */
extern void braid_restore_require_states(const ViewStmt *stmt);

/*
 * In the worker, within SPI: defines the views whose parts are there, but whose
 * rows in braid_internal.views are not.
 */
extern void braid_restore_define_all(void);

#endif /* BRAID_RESTORE_H */
