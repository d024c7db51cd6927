/*
 * statement.h
 *	  SQL statements on continuous views.
 */
#ifndef BRAID_STATEMENT_H
#define BRAID_STATEMENT_H

extern void braid_statement_init(void);

#endif /* BRAID_STATEMENT_H */
