/*
 * component.h
 *	  Tables that take part in a cycle all or none.
 */
#ifndef BRAID_COMPONENT_H
#define BRAID_COMPONENT_H

#include "capture/source.h"

/*
 * Says of each source whether it takes part in the cycle, and locks those that
 * do, without waiting.  Returns the tables (oids) that do not: those that could
 * not be locked, then as many as told that rest.  It asks whether somebody waits
 * for such a table when one is to rest: then none does.
 */
extern List *
braid_component_lock(bool (*lock)(BraidSource *source), bool (*is_waited_for)(void), int *nresting);

/* Changes of the source are in the cycle. */
extern void braid_component_note_news(BraidSource *source);

/* The cycle has ended: decides who is to rest. */
extern void braid_component_end_cycle(void);

#endif /* BRAID_COMPONENT_H */
