/*
 * dedup.h
 *	  Keys of de-duplication.
 */
#ifndef BRAID_DEDUP_H
#define BRAID_DEDUP_H

#include "topic/topic.h"

/*
 * Claims the key for a message of the running transaction.  Returns its id, or
 * that of the message that has the key already.  Waits for another transaction
 * that has claimed the key and is in progress.
 */
extern int64 braid_dedup_claim(BraidTopic *topic, struct varlena *key, int64 id);

#endif /* BRAID_DEDUP_H */
