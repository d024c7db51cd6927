/*
 * definitions.h
 *	  What the consumer wants of tables, and when it has to be asked again.
 */
#ifndef BRAID_CAPTURE_DEFINITIONS_H
#define BRAID_CAPTURE_DEFINITIONS_H

/* Once, in a worker. */
extern void braid_definitions_setup(void);

/*
 * Has the consumer declare what it wants, into a new set of sources.  In a transaction of its own.  False if it has no definitions.
 */
extern bool braid_definitions_load(bool (*load)(void));

/* Whether they may be others than those that were loaded. */
extern bool braid_definitions_have_changed(void);

/* They are to be loaded again; the second one, if something could not be done when they were. */
extern void braid_definitions_note_change(void);
extern void braid_definitions_note_pending(void);

#endif /* BRAID_CAPTURE_DEFINITIONS_H */
