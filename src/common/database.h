/*
 * database.h
 *	  Commands on whole databases, as far as braid's workers are in their way.
 */
#ifndef BRAID_DATABASE_H
#define BRAID_DATABASE_H

extern void braid_database_init(void);

#endif /* BRAID_DATABASE_H */
