/*
 * work_load.h
 *	  Brings messages into the window of a group.
 */
#ifndef BRAID_WORK_LOAD_H
#define BRAID_WORK_LOAD_H

#include "topic/group.h"
#include "topic/position.h"
#include "topic/work_window.h"

/*
 * Loads, or waits for whoever does. True if there may be something to take since.  The
 * caller has no lock.
 */
extern bool braid_work_load(BraidTopic *topic, const BraidGroup *group);

/*
 * How far was loaded, as position by partition, in the current memory context; NULL if the
 * window is not built.  With the window's lock.
 */
extern uint64 *braid_work_copy_positions(WorkWindow *w);
extern void braid_work_unpack_positions(const uint64 *packed, BraidPosition *positions, int n);

extern void braid_work_load_init(void);

#endif /* BRAID_WORK_LOAD_H */
