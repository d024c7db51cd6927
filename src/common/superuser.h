/*
 * superuser.h
 *	  Commands on braid's own objects, which users' commands make necessary.
 */
#ifndef BRAID_SUPERUSER_H
#define BRAID_SUPERUSER_H

/*
 * Runs a command by SPI, which must be connected, as the superuser who owns the
 * extension's objects.  An error restores the user with its transaction.
 */
extern void braid_superuser_execute(const char *sql);

/* The same with arguments, as SPI_execute_with_args() has them. */
extern void braid_superuser_execute_with_args(const char *sql, int nargs, Oid *types, Datum *values,
											  const char *nulls);

/*
 * The first column of the first row that a statement of ours, which finds names in pg_catalog,
 * returns: a value passed by value, or null; connects to SPI by itself.
 */
extern Datum braid_superuser_ask(const char *sql, bool *isnull);

/*
 * Has SQL of ours find operators and functions in pg_catalog, and none of its caller's, until
 * AtEOXact_GUC(false, the result), or an error.
 */
extern int braid_superuser_fix_search_path(void);

#endif /* BRAID_SUPERUSER_H */
