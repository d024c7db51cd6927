/*
 * statistics.h
 *	  What has been done for each continuous view, in shared memory.
 */
#ifndef BRAID_VIEW_STATISTICS_H
#define BRAID_VIEW_STATISTICS_H

#include "view/keeper.h"

/* Worker: the view has an entry from now on, if there is room. */
extern void braid_view_stat_enter(KeptView *view);

/* Worker: entries of this database's views that are not among these (KeptView) go. */
extern void braid_view_stat_keep(List *views);

/* Worker: the cycle in which the view was followed has committed. */
extern void braid_view_stat_committed(KeptView *view, TimestampTz visible);

extern void braid_view_stat_init(void);

#endif /* BRAID_VIEW_STATISTICS_H */
