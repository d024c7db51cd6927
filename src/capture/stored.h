/*
 * stored.h
 *	  Frontiers as they are stored, in braid_internal.frontiers.
 *
 * All of it within SPI.
 */
#ifndef BRAID_STORED_H
#define BRAID_STORED_H

#include "capture/delta.h"

/* A transaction of its own, with SPI and a snapshot. */
extern void braid_stored_begin(void);
extern void braid_stored_end(void);

/*
 * Takes the frontier that is stored for the source; false if there is none.  It
 * counts only with the slot that it was stored with, and for the partitions that
 * there were.
 */
extern bool braid_stored_find(BraidSource *source, const char *slot);

/* Makes S the frontier of the source, in memory and in the catalog. */
extern void braid_stored_put(BraidSource *source, const BraidFrontier *s, const char *slot);

/*
 * A table that is not captured any more has changes that nobody has seen: should
 * it be captured again, its frontier must not count, or these changes would be
 * taken for new ones if WAL were decoded again from before them.
 */
extern void braid_stored_forget_others(void);

#endif /* BRAID_STORED_H */
