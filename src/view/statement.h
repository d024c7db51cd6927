/*
 * statement.h
 *	  SQL statements on continuous views.
 */
#ifndef BRAID_STATEMENT_H
#define BRAID_STATEMENT_H

#include "nodes/parsenodes.h"

/* The query in a text that was passed to a function: one SELECT, or an error. */
extern Query *braid_statement_analyze(const char *text);

/*
 * Error context callback, with the text: positions of errors are in the query,
 * not in the caller's statement.
 */
extern void braid_statement_move_error_position(void *arg);

extern void braid_statement_init(void);

#endif /* BRAID_STATEMENT_H */
