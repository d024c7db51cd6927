/*
 * statement.h
 *	  Statements that read continuous views.
 */
#ifndef BRAID_READ_STATEMENT_H
#define BRAID_READ_STATEMENT_H

/* From here on statements may have to wait, so that it matters which run within others. */
extern void braid_read_watch_statements(void);

extern void braid_read_statement_init(void);

#endif /* BRAID_READ_STATEMENT_H */
