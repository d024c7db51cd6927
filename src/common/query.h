/*
 * query.h
 *	  Queries of background workers, which have no transaction of their own.
 */
#ifndef BRAID_QUERY_H
#define BRAID_QUERY_H

/* Begins a transaction with a snapshot and SPI; returns the caller's memory context. */
extern MemoryContext braid_query_begin(void);

/* Commits it, and goes back to the caller's memory context. */
extern void braid_query_end(MemoryContext caller);

/* Runs a command by SPI, which is connected; throws if SPI returns anything else. */
extern void braid_query_execute(const char *sql, int expected);

#endif /* BRAID_QUERY_H */
