/*
 * name.h
 *	  Names of objects in SQL.
 */
#ifndef BRAID_NAME_H
#define BRAID_NAME_H

#include "postgres_ext.h"

/* With its schema, quoted. */
extern char *braid_relation_name(Oid relid);

#endif /* BRAID_NAME_H */
