/*
 * version.h
 *	  The version of the loaded library, and that of the extension.
 */
#ifndef BRAID_VERSION_H
#define BRAID_VERSION_H

/* In a transaction: the extension's version in this database; NULL without it. */
extern char *braid_version_installed(void);

/* The same: what to say if that is not the library's, else NULL. */
extern char *braid_version_problem(void);

extern void braid_version_init(void);

#endif /* BRAID_VERSION_H */
