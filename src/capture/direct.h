/*
 * direct.h
 *	  Rows that many are logged of in one record, from the log to the sources.
 */
#ifndef BRAID_CAPTURE_DIRECT_H
#define BRAID_CAPTURE_DIRECT_H

#include "access/xlogdefs.h"
#include "replication/logical.h"

/*
 * The record that was just read: true if its rows were taken, and the decoder must not
 * see it.
 */
extern bool braid_direct_take(LogicalDecodingContext *decoding);

/* The sources are others than before. */
extern void braid_direct_look_again(void);

/*
 * In a cycle, when its tables are locked: notes which files they have, if that may have
 * changed.  from: a position behind all that was logged before they were locked.
 */
extern void braid_direct_learn(XLogRecPtr from);

extern void braid_direct_setup(void);

#endif /* BRAID_CAPTURE_DIRECT_H */
