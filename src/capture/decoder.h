/*
 * decoder.h
 *	  Logical decoding in this process, into the sources' deltas.
 */
#ifndef BRAID_DECODER_H
#define BRAID_DECODER_H

#include "access/xlogdefs.h"

/* Once, in a worker: allows the output plugin here. */
extern void braid_decoder_setup(void);

/* For callbacks: the invalidation comes from flushing our own caches. */
extern bool braid_decoder_is_flushing(void);

/* On the slot that is acquired.  Not from within a transaction. */
extern void braid_decoder_open(void);
extern void braid_decoder_close(void);
extern bool braid_decoder_is_open(void);

/*
 * Decodes what was committed up to there, which must be flushed.  In the
 * cycle's transaction; returns the position reached.
 */
extern XLogRecPtr braid_decoder_read(XLogRecPtr upto);

#endif /* BRAID_DECODER_H */
