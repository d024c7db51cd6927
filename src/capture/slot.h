/*
 * slot.h
 *	  The replication slot of this database, whose name is its identity.
 */
#ifndef BRAID_SLOT_H
#define BRAID_SLOT_H

/* Acquires the slot; false if it is missing, lost, or not this database's. */
extern bool braid_slot_acquire(const char *name);

/*
 * Makes and acquires a new slot, with a new name that is returned.  Waits for
 * all running transactions.  Not from within a transaction.
 */
extern char *braid_slot_create(void);

extern void braid_slot_release(void);

/* Drops this database's slots of braid except the one named, which may be NULL. */
extern void braid_slot_drop_others(const char *keep);

/*
 * Drops those of a database that was moved to another tablespace: WAL names files
 * by their tablespace, and decoding would not find the tables of what is older.
 */
extern void braid_slot_drop_unreadable(Oid dbid);

#endif /* BRAID_SLOT_H */
