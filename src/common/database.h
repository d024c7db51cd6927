/*
 * database.h
 *	  Commands on whole databases, as far as braid's workers are in their way.
 */
#ifndef BRAID_DATABASE_H
#define BRAID_DATABASE_H

#include "postgres_ext.h"

/*
 * Has a function called when a database, without its workers, was moved to another
 * tablespace: before they come back.
 */
extern void braid_database_when_moved(void (*moved)(Oid dbid));

extern void braid_database_init(void);

#endif /* BRAID_DATABASE_H */
