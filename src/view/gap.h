/*
 * gap.h
 *	  Rows of streams that a view may have missed.
 */
#ifndef BRAID_GAP_H
#define BRAID_GAP_H

#include "view/keeper.h"

/*
 * In the worker, within SPI, as superuser: the view goes on although rows of its streams,
 * or what would have been made of them, may be missing.  Shown by braid.views, and
 * said in the log.  Does nothing for a view that reads no stream.
 */
extern void braid_gap_note(const KeptView *view, const char *reason);

/* From apply, when the view was rebuilt and is not live yet: the same, if the cycle shows it. */
extern void braid_gap_look(const KeptView *view);

#endif /* BRAID_GAP_H */
