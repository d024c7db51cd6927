/*
 * single.h
 *	  Transactions of one row, decoded several at a time.
 */
#ifndef BRAID_CAPTURE_SINGLE_H
#define BRAID_CAPTURE_SINGLE_H

#include "replication/logical.h"
#include "replication/reorderbuffer.h"

/*
 * Before the record that was just read is decoded: brings what is gathered, if it must be
 * brought before that.  True if the record was the commit of another one to gather; the decoder
 * must not see it then.
 */
extern bool braid_single_take(LogicalDecodingContext *decoding);

/* Brings what is gathered; to be called when all that is wanted has been read. */
extern void braid_single_bring(LogicalDecodingContext *decoding);

/* From the callback for a change: begins its transaction, if it is one of those that were gathered. */
extern void braid_single_begin(ReorderBufferChange *change);

#endif /* BRAID_CAPTURE_SINGLE_H */
