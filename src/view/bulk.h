/*
 * bulk.h
 *	  Filling a table by a query that may run in parallel.
 */
#ifndef BRAID_BULK_H
#define BRAID_BULK_H

/*
 * From now on braid_bulk_run() takes statements; may_be_parallel: the order in
 * which rows are read does not matter.
 */
extern void braid_bulk_begin(bool may_be_parallel);

/*
 * Runs an INSERT ... SELECT that fills a plain table: as the current user, under
 * the active snapshot, reporting progress.  False if it is another statement,
 * or braid_bulk_begin() was not called.  Adds the number of rows.
 */
extern bool braid_bulk_run(const char *sql, int64 *processed);

#endif /* BRAID_BULK_H */
