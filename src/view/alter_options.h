/*
 * alter_options.h
 *	  Options of a continuous view that can be changed.
 */
#ifndef BRAID_ALTER_OPTIONS_H
#define BRAID_ALTER_OPTIONS_H

#include "nodes/parsenodes.h"

/* Whether ALTER ... SET or RESET names an option of braid's. */
extern bool braid_alter_options_are_named(const AlterTableStmt *alter);

/*
 * Changes the options of the view that the statement names, and takes them out of
 * it.  Returns whether anything is left to do.
 */
extern bool braid_alter_options(Oid view, AlterTableStmt *alter);

/* The same of a table, which the user owns. */
extern bool braid_alter_options_of_table(Oid table, AlterTableStmt *alter);

#endif /* BRAID_ALTER_OPTIONS_H */
