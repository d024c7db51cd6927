/*
 * merge.h
 *	  One view's state follows one delta.
 */
#ifndef BRAID_MERGE_H
#define BRAID_MERGE_H

#include "view/keeper.h"

/*
 * Both run as the view's owner within SPI, the snapshot of the cycle active,
 * and throw what the view's expressions throw.
 */
extern void braid_merge_delta(KeptView *view, BraidSource *source);
extern void braid_merge_populate(KeptView *view);

extern void braid_merge_free_plans(KeptView *view);

#endif /* BRAID_MERGE_H */
