/*
 * message.h
 *	  Messages of streams, from the log to the sources.
 */
#ifndef BRAID_CAPTURE_MESSAGE_H
#define BRAID_CAPTURE_MESSAGE_H

#include "capture/record.h"
#include "replication/logical.h"

/*
 * The record that was just read: true if it was a message of a stream, which the decoder
 * must not see.
 */
extern bool braid_message_take(LogicalDecodingContext *decoding);

/* Whether messages are kept of transactions that have not ended. */
extern bool braid_message_any(void);

/* If any are: a transaction has ended, and those older than that have as well. */
extern void braid_message_end(LogicalDecodingContext *decoding, const RecordedEnd *end);
extern void braid_message_forget_older(TransactionId oldest);

/*
 * Whether running transactions have written messages that were let go, because
 * nobody wanted the stream.
 */
extern bool braid_message_any_missed(void);

/* The decoder is closed: who reads the log again finds them all again. */
extern void braid_message_forget_all(void);

#endif /* BRAID_CAPTURE_MESSAGE_H */
