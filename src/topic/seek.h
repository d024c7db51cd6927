/*
 * seek.h
 *	  Putting a group somewhere else.
 */
#ifndef BRAID_SEEK_H
#define BRAID_SEEK_H

#include "topic/group.h"

/*
 * To "beginning", to "end", or to messages that were sent at a time, as a user has
 * written it (22023, 22007); in one partition, or (-1) in all.  Waits for transactions that
 * have received there.
 */
extern void
braid_seek_text(BraidTopic *topic, const BraidGroup *group, const char *target, int part);

#endif /* BRAID_SEEK_H */
